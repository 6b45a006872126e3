"""What the acting commands share: one secret by name, and what is true of each secret afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from keyturn.cli.app import Report, Session
from keyturn.cli.cut_over import cut_over
from keyturn.cli.estate import Estate
from keyturn.cli.render import SEVERITY, error_text, most_severe
from keyturn.clock import iso
from keyturn.config.problems import suggestion
from keyturn.engine.job import Job
from keyturn.engine.outcome import Outcome
from keyturn.engine.rounds import failed
from keyturn.errors import KeyturnError, StuckError, UndoneError, UsageError
from keyturn.journal.store import Summary
from keyturn.steps import Step

NOTHING_DUE, HOLDING = 10, 11
WAITING = ("holding", "waiting")
FAILED = {
    2: "wrong command or configuration, nothing was changed",
    3: "refused, nothing was changed",
    5: "stuck",
    6: "unfinished",
    7: "another runner works on it",
}
"""What an error means for a secret, by exit code."""


def on_one(session: Session, name: str, do: Callable[[Estate, Job], Outcome], *, detailed: bool = False) -> Report:
    """Do something with one secret, named exactly, and say what is true of it then."""
    with session.estate() as estate:
        job = estate.job(known(estate, name))
        return report(session, estate, [attempt(name, lambda: do(estate, job))], detailed=detailed)


def attempt(name: str, do: Callable[[], Outcome]) -> Outcome:
    """Do it; an error becomes the secret's outcome."""
    try:
        return do()
    except KeyturnError as error:
        return failed(name, error)


def known(estate: Estate, name: str) -> str:
    """This very name. Raises UsageError `no-match`."""
    names = estate.names()
    if name not in names:
        hint = suggestion(name, names)
        raise UsageError("no-match", f"there is no secret called {name}", hint=hint)
    return name


def required_reason(reason: str, *options: str) -> None:
    """Raises UsageError `reason-needed` where one of these options was given without a reason."""
    if options and not reason.strip():
        given = " and ".join(options)
        verb = "needs" if len(options) == 1 else "need"
        raise UsageError(
            "reason-needed", f"{given} {verb} a reason", hint="add --reason TEXT; it goes into the journal"
        )


def report(
    session: Session,
    estate: Estate,
    outcomes: Iterable[Outcome],
    *,
    detailed: bool = False,
    more_codes: Iterable[int] = (),
    data: dict[str, object] | None = None,
) -> Report:
    """What is true of each secret now. The most severe error is the report's; the others are said before it."""
    listed = sorted(outcomes, key=lambda one: one.secret)
    rows = estate.summaries() if listed else {}
    errors = sorted(filter(None, map(_error, listed)), key=lambda one: SEVERITY.index(one.exit_code))
    for error in reversed(errors[1:]):
        session.say(error_text(error).rstrip("\n"))
    code = most_severe([*(one.exit_code for one in listed), *more_codes])
    return Report(
        data={"secrets": [as_data(one, rows.get(one.secret)) for one in listed], **(data or {})},
        text="\n".join(as_text(one, rows.get(one.secret)) for one in listed),
        exit_code=_detailed(code, listed) if detailed else code,
        error=errors[0] if errors else None,
    )


def _detailed(code: int, outcomes: list[Outcome]) -> int:
    states = {one.status for one in outcomes if one.exit_code == code}
    if code in (0, 6) and states and states <= {*WAITING, "done", "quiet"} and states & set(WAITING):
        return HOLDING
    return NOTHING_DUE if code == 0 and states <= {"quiet"} else code


def _error(outcome: Outcome) -> KeyturnError | None:
    """What went wrong with one secret, as an error."""
    if outcome.status == "stuck":
        return StuckError(outcome.code, outcome.text, hint=outcome.next, place=outcome.secret)
    if outcome.status == "undone":
        return UndoneError("undone", outcome.text, hint=outcome.next, place=outcome.secret)
    return outcome.error


def as_data(outcome: Outcome, row: Summary | None) -> dict[str, object]:
    """One secret after the command, for --json."""
    error, state = _error(outcome), row.state if row else {}
    return {
        "secret": outcome.secret,
        "status": outcome.status,
        "code": outcome.code,
        "text": outcome.text,
        "next": _next(outcome),
        "until": iso(outcome.until) if outcome.until else None,
        "missing": list(outcome.missing),
        "current": _current(state),
        "previous": [version["number"] for version in _lives(state)],
        "debts": [dict(debt) for debt in _debts(state)],
        "receipt": _receipt(outcome),
        "exit_code": outcome.exit_code,
        "error": error.as_data() if error else None,
    }


def as_text(outcome: Outcome, row: Summary | None) -> str:
    """One secret after the command, for people. What went wrong stands in the error, not here."""
    state = row.state if row else {}
    lines = [f"{outcome.secret}: {_said(outcome)}"]
    current = _current(state)
    lines.append(f"  current: version {current}" if current else "  current: none yet")
    if lives := _lives(state):
        # Only a hold of ours says how long; of what ends by itself the outcome's own text has told it.
        held = outcome.status == "holding" and outcome.until and _step(state) == Step.HOLD.value
        until = f", at least until {iso(outcome.until or 0.0)}" if held else ""
        numbers = ", ".join(str(version["number"]) for version in lives)
        lines.append(f"  still accepted: version {numbers}{until}")
    lines += _receipt_lines(outcome)
    lines += [f"  owed: {debt['kind']} version {debt['number']} {debt['where']}".rstrip() for debt in _debts(state)]
    if outcome.missing:
        lines.append(f"  missing: {', '.join(outcome.missing)}")
    if not _error(outcome):
        lines.append(f"  next: {_next(outcome)}")
    return "\n".join(lines)


def _said(outcome: Outcome) -> str:
    if _error(outcome):
        return FAILED.get(outcome.exit_code, "failed") if outcome.status == "error" else outcome.status
    return outcome.text if outcome.status in ("quiet", outcome.text) else f"{outcome.status}: {outcome.text}"


def _next(outcome: Outcome) -> str:
    return outcome.next or f"keyturn history {outcome.secret}"


def _step(state: Any) -> str:
    """The step that the rotation waits in."""
    rotation = state.get("rotation") or {}
    return str((rotation.get("waiting") or {}).get("step", ""))


def _current(state: Any) -> int | None:
    return next((v["number"] for v in state.get("versions", []) if v["state"] == "current"), None)


def _lives(state: Any) -> list[Any]:
    return [v for v in state.get("versions", []) if v["state"] == "previous" and not v["refused"]]


def _debts(state: Any) -> list[Any]:
    """Debts of a rotation in flight are its next steps: said only once it has ended."""
    rotation = state.get("rotation")
    return [] if rotation and rotation["open"] else list(state.get("debts", []))


def _receipt(outcome: Outcome) -> dict[str, object] | None:
    if outcome.ended is None:
        return None
    return {name: value for name, value in asdict(outcome.ended).items() if name not in ("extra", "reason")}


def _receipt_lines(outcome: Outcome) -> list[str]:
    end = outcome.ended
    if end is None or end.outcome == "undone":
        return []
    lines = []
    if end.retired:
        proof = {True: "and was seen refused", False: "but was still accepted when asked", None: "not proven refused"}
        lines.append(f"  old: retired, {proof[end.old_refused]}".replace(", and", " and"))
    return [*lines, *(f"  {line}" for line in cut_over(asdict(end)))]
