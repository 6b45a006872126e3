"""What a promote leaves to clean up, decided from what was seen. Pure.

Only versions that the ledger names as this journal's are ever destroyed.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.api import Bundle, SinkVersion
from keyturn_vault.records import Entry, Stored
from keyturn_vault.shelf import Look


@dataclass(frozen=True, kw_only=True, eq=False)
class New:
    """The version to write: its value, how the ledger names it, and under which key."""

    version: SinkVersion
    bundle: Bundle
    key: str
    entry: Entry


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What to clean up. `notes` changes the ledger; None takes an entry out."""

    pending: bool
    revisions: tuple[int, ...]
    notes: dict[str, Entry | None]


def leftovers(look: Look, new: New, keep: int) -> Leftovers:
    """What is left of `look`, once `new` is what consumers read, and `keep` earlier versions are to stay."""
    journal = new.entry.journal_id
    pending = look.front.pending
    superseded = tuple(stored.revision for stored in _superseded(look, new, keep))
    noted = look.front.ledger.get(new.key)
    changed: dict[str, Entry | None] = {} if noted == new.entry else {new.key: new.entry}
    return Leftovers(
        pending=bool(pending and pending.entry and pending.entry.journal_id == journal and pending.key == new.key),
        revisions=superseded,
        notes={**changed, **dict.fromkeys(_nameless(look, new))},
    )


def _superseded(look: Look, new: New, keep: int) -> list[Stored]:
    """Our versions that were asked to be kept no longer, and older copies of those that are."""
    kept: set[str] = {new.version.id}
    gone = []
    for stored in look.versions:
        entry = stored.entry
        served = look.current is stored and stored.key == new.key
        if served or entry is None or entry.journal_id != new.entry.journal_id:
            continue
        if entry.version_id in kept or stored.key == new.key or len(kept) > keep:
            gone.append(stored)
        else:
            kept.add(entry.version_id)
    return gone


def _nameless(look: Look, new: New) -> list[str]:
    """Our entries that name nothing any more. What is destroyed now keeps its entry until it is seen gone."""
    if not look.whole:
        return []
    pending = look.front.pending
    named = {new.key, *(stored.key for stored in look.versions), *([pending.key] if pending else [])}
    ledger = look.front.ledger
    return [key for key, entry in ledger.items() if key not in named and entry.journal_id == new.entry.journal_id]
