"""`keyturn audit`: verify the chains, take the journal's events and heads elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keyturn.cli.app import Report
from keyturn.cli.estate import Estate
from keyturn.cli.looking.history import as_data
from keyturn.clock import iso
from keyturn.errors import StuckError, UsageError
from keyturn.files import read_private, write_private
from keyturn.journal.chain import Head
from keyturn.journal.store import Broken


def verify(estate: Estate, noted: Path | None) -> Report:
    """The answer of `audit verify`: exit 5 where a chain is broken. Raises UsageError for a bad heads file."""
    kept = read_heads(noted, estate.journal.id) if noted else None
    broken = estate.journal.verify(kept)
    heads = estate.journal.heads()
    events = sum(seq for seq, _ in heads.values())
    return Report(
        data={
            "journal": estate.journal.id,
            "secrets": len(heads),
            "events": events,
            "against_heads": noted is not None,
            "broken": [{"secret": one.secret, "seq": one.seq, "reason": one.reason} for one in broken],
        },
        text="" if broken else _sound(len(heads), events, against=noted is not None),
        exit_code=StuckError.exit_code if broken else 0,
        error=_alarm(broken) if broken else None,
    )


def _sound(secrets: int, events: int, *, against: bool) -> str:
    said = f"every link holds: {events} events, {secrets} {'secret' if secrets == 1 else 'secrets'}"
    if against:
        return f"{said}; nothing that the heads file names is missing"
    return f"{said}\n  next: keyturn audit heads --out FILE, kept on another machine, shows a truncation later"


def _alarm(broken: list[Broken]) -> StuckError:
    lines = "\n".join(f"{one.secret}: event {one.seq}: {one.reason}" for one in broken)
    hint = "keep a copy of the journal as it is; compare with a backup, and with: keyturn check --online"
    return StuckError("chain-broken", f"the journal was changed, or is damaged\n{lines}", hint=hint)


def heads_document(estate: Estate) -> dict[str, Any]:
    """What `--heads` reads: the last event's number and hash of every secret."""
    heads = {name: {"seq": seq, "hash": digest} for name, (seq, digest) in sorted(estate.journal.heads().items())}
    return {"journal": estate.journal.id, "at": iso(estate.journal.now()), "heads": heads}


def heads(estate: Estate, out: Path | None) -> Report:
    """The answer of `audit heads`."""
    made = heads_document(estate)
    text = json.dumps(made, indent=2)
    if out:
        write_private(out, text.encode())
        text = f"written: {out}\n  next: move it to another machine; keyturn audit verify --heads {out}"
    return Report(data={**made, "out": str(out) if out else None}, text=text)


def export(estate: Estate, out: Path | None, *, one_document: bool) -> Report:
    """The answer of `audit export`: JSON lines, the last one the heads. Raises UsageError `out-needed`."""
    if out is None and one_document:
        raise UsageError("out-needed", "--json prints one document, an export is many lines", hint="add --out FILE")
    made = heads_document(estate)
    lines = list(_lines(estate, made))
    text = "\n".join(lines)
    if out:
        write_private(out, f"{text}\n".encode())
        text = f"written: {out}, {len(lines) - 1} events\n  next: keyturn audit verify --heads {out}"
    return Report(data={**made, "out": str(out), "events": len(lines) - 1}, text=text)


def _lines(estate: Estate, made: Mapping[str, Any]) -> Iterator[str]:
    for name in made["heads"]:
        for event in estate.journal.events(name):
            yield json.dumps(as_data(event), sort_keys=True)
    yield json.dumps(made, sort_keys=True)


def read_heads(path: Path, journal_id: str) -> dict[str, Head]:
    """The heads in a heads document, or in the last line of an export. Raises UsageError `heads-unreadable`."""
    text = read_private(path).decode(errors="replace").strip()
    for candidate in (text, text.rpartition("\n")[2]):
        try:
            noted = json.loads(candidate)
            found = {str(name): (int(one["seq"]), str(one["hash"])) for name, one in noted["heads"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if noted.get("journal") != journal_id:
            break
        return found
    raise UsageError(
        "heads-unreadable",
        "expected heads of this journal, as keyturn audit heads or audit export writes them",
        hint="keyturn audit heads --out FILE makes one",
        place=str(path),
    )
