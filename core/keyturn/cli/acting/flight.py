"""`keyturn resume`, `rollback`, `abandon`, `ack`, `hold` and `pause`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from keyturn.cli.acting.attend import check_attended, watched
from keyturn.cli.acting.shared import attempt, on_one, report, required_reason
from keyturn.cli.acting.times import moment
from keyturn.cli.app import Report, Session
from keyturn.cli.estate import Estate
from keyturn.engine import entry, operator
from keyturn.engine.job import Job
from keyturn.engine.outcome import Outcome
from keyturn.errors import UsageError
from keyturn.files import READ_BYTES_MAX, read_private
from keyturn.secret import Bundle, Secret


def resume(
    session: Session,
    name: str,
    supply: Sequence[str],
    drop: str | None,
    reason: str,
    *,
    attending: bool = False,
    detailed: bool,
) -> Report:
    """Carry on; with `drop`, without that part of the rotation; `attending`, with a person at the vendor."""
    if drop and (supply or attending):
        raise UsageError("drop-and-supply", "expected --drop alone", hint="type two commands")
    required_reason(reason, *(["--drop"] if drop else []))
    supplied = read_supplied(supply)
    if drop:
        return on_one(
            session,
            name,
            lambda estate, job: operator.drop(estate.bench, job, what=drop, reason=reason),
            detailed=detailed,
        )
    if attending:
        check_attended(session, name)

    def do(estate: Estate, job: Job) -> Outcome:
        if not attending:
            return entry.resume(estate.bench, job, supplied=supplied)
        with watched(session, name, estate.clock) as attend:
            return entry.resume(estate.bench, job, supplied=supplied, attend=attend)

    return on_one(session, name, do, detailed=detailed)


def rollback(session: Session, name: str, number: int | None, reason: str) -> Report:
    """Rotate back to an earlier version that still lives."""
    ask = entry.Ask(reason=reason, to_number=number)
    return on_one(session, name, lambda estate, job: entry.rollback(estate.bench, job, ask))


def abandon(session: Session, name: str, reason: str) -> Report:
    """Undo, or end."""
    return on_one(session, name, lambda estate, job: operator.abandon(estate.bench, job, reason=reason))


def ack(session: Session, name: str, number: int, consumer: str, reason: str, *, waive: bool) -> Report:
    """Record an acknowledgement."""
    required_reason(reason, *(["--waive"] if waive else []))
    return on_one(
        session,
        name,
        lambda estate, job: operator.acknowledge(
            estate.bench, job, number=number, consumer=consumer, waive=waive, reason=reason
        ),
    )


def hold(session: Session, name: str, until: str | None, reason: str, *, end: bool) -> Report:
    """Move the end of the hold."""
    _one_of(until, end=end)
    return on_one(
        session,
        name,
        lambda estate, job: operator.change_hold(estate.bench, job, until=_at(estate, until), reason=reason),
    )


def pause(session: Session, globs: Iterable[str], until: str | None, reason: str, *, end: bool) -> Report:
    """Pause all that match, or end their pause."""
    _one_of(until, end=end)
    with session.estate() as estate:
        at = _at(estate, until) or 0.0
        jobs = [estate.job(name) for name in estate.names(globs)]
        outcomes = [
            attempt(job.name, lambda job=job: operator.pause(estate.bench, job, until=at, reason=reason))  # type: ignore[misc]
            for job in jobs
        ]
        return report(session, estate, outcomes)


def _one_of(until: str | None, *, end: bool) -> None:
    if bool(until) == end:
        raise UsageError("until-or-end", "expected either --until or --end", hint="add --until 2h, or --end")


def _at(estate: Estate, until: str | None) -> float | None:
    return moment(until, "--until", estate.journal.now()) if until else None


def read_supplied(pairs: Iterable[str]) -> Bundle:
    """Values from private files and standard input."""
    found: dict[str, Secret] = {}
    for pair in pairs:
        field, _, source = pair.partition("=")
        if not field or not (source == "-" or source.startswith("@")):
            raise UsageError(
                "bad-supply",
                "expected FIELD=@FILE or FIELD=- (a value itself never stands on a command line)",
                hint="--supply FIELD=@FILE",
            )
        found[field] = _value(field, standard_input() if source == "-" else read_private(Path(source[1:]), secret=True))
    return Bundle(found)


def standard_input() -> bytes:
    """All of standard input. Raises UsageError where it is a terminal or too large."""
    if sys.stdin.isatty():
        raise UsageError("no-input", "expected a value on standard input, found a terminal", hint="... < FILE")
    data = sys.stdin.buffer.read(READ_BYTES_MAX + 1)
    if len(data) > READ_BYTES_MAX:
        raise UsageError("no-input", "standard input is too large", hint="... < FILE")
    return data


def _value(field: str, raw: bytes) -> Secret:
    return text_of(raw, f"the value of {field}")


def text_of(raw: bytes, what: str) -> Secret:
    """The text without one trailing line end. Raises UsageError where it is empty or not UTF-8."""
    try:
        text = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise UsageError("bad-value", f"{what} is empty or not UTF-8", hint="check the file")
    return Secret(text)
