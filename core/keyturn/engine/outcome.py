"""What is true of a secret after a run, and what to type next."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.engine.effects.driver import Driver
from keyturn.engine.plan import recovery_by_file, way_out
from keyturn.engine.record import events as ev
from keyturn.engine.record.receipt import artefact_next
from keyturn.errors import KeyturnError
from keyturn.model import Mode, Verdict

EXIT = {
    "done": 0,
    "quiet": 0,
    "holding": 0,
    "abandoned": 0,
    "undone": 4,
    "stuck": 5,
    "waiting": 6,
    "unfinished": 6,
}

ATTENTION = 8


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is true of one secret after this run, and what to type next. `attention`: though it went well."""

    secret: str
    status: str
    text: str
    code: str = ""
    next: str = ""
    until: float | None = None
    missing: tuple[str, ...] = ()
    ended: ev.Ended | None = None
    error: KeyturnError | None = None
    attention: bool = False

    @property
    def exit_code(self) -> int:
        """The process exit code that says the same."""
        if self.error:
            return self.error.exit_code
        return EXIT[self.status] or (ATTENTION if self.attention else 0)


def ended_as(driver: Driver, end: ev.Ended) -> Outcome:
    """The outcome of a rotation that has just ended."""
    if end.outcome == "undone":
        return _undone(driver, end, driver.rotation.undoing) if _old_seen(driver) else _undone_without_old(driver, end)
    return _lacking(driver, end) or Outcome(secret=driver.job.name, status=end.outcome, text=end.outcome, ended=end)


def _lacking(driver: Driver, end: ev.Ended) -> Outcome | None:
    """Done, but for what nobody may overlook."""
    lacks, name, number = driver.to.lacks, driver.job.name, driver.to.number
    if not lacks:
        return None
    text = f"version {number} is in force, and its {' and '.join(lacks)} never reached us"
    next_ = artefact_next(name, lacks[0])
    return Outcome(secret=name, status=end.outcome, text=text, next=next_, ended=end, attention=True)


UNDONE_NEXT = {
    "abandoned": "keyturn rotate {name}",
    "rotated-outside": "keyturn adopt {name} --from-vendor",
    "nobody-attended": "keyturn rotate {name}; then: keyturn resume {name} --attend",
    "way-changed": "keyturn rotate {name}",
    "quiesce-failed": "see to that consumer; then: keyturn rotate {name}",
}
"""What to do about a rotation that turned back, by code, where nobody gave a hint that fits better."""


def _undone(driver: Driver, end: ev.Ended, undoing: ev.Undoing | None) -> Outcome:
    """It turned back, and the old version was seen accepted."""
    name, code = driver.job.name, undoing.code if undoing else ""
    usual = UNDONE_NEXT.get(code, "keyturn check --online {name}; then: keyturn rotate {name}").format(name=name)
    return Outcome(
        secret=name,
        status="undone",
        code=code,
        text=f"undone; the old version is good: {end.reason}",
        next=f"{undoing.hint}; then: keyturn rotate {name}" if undoing and undoing.hint else usual,
        ended=end,
    )


def _old_seen(driver: Driver) -> bool:
    current = driver.state.current
    excused = driver.rotation.plan.excused
    looks = driver.looks.probes.items()
    seen = [look.verdict for (id_, e), look in looks if current and id_ == current.id and e not in excused]
    return bool(seen) and all(verdict is Verdict.ACCEPTED for verdict in seen)


def _undone_without_old(driver: Driver, end: ev.Ended) -> Outcome:
    """Exit code 4 says that the old version is good; here there is none, or none that was seen accepted."""
    current, name = driver.state.current, driver.job.name
    what = f"version {current.number} was not seen accepted" if current else "there is no current version yet"
    again = way_out(name, driver.job.traits) if current else f"keyturn rotate {name} --first"
    if driver.rotation.mode is Mode.BREAK_GLASS:
        what, again = (
            f"the vendor changed nothing{_tried(driver, end.reason)}",
            recovery_by_file(name, driver.job.traits),
        )
    undoing = driver.rotation.undoing
    return Outcome(
        secret=name,
        status="stuck",
        code=undoing.code if undoing else "",
        text=f"undone, and {what}: {end.reason}",
        next=_with_hint(undoing.hint if undoing else "", again),
        ended=end,
    )


def _with_hint(hint: str, again: str) -> str:
    """What to do first, and then; a hint that names a command is the way itself."""
    if not hint:
        return again
    return hint if "keyturn " in hint else f"{hint}; then: {again}"


def _tried(driver: Driver, reason: str) -> str:
    """What a reset was tried by, and what the vendor said of it the last time."""
    said = next((one.why for one in reversed(driver.rotation.attempts) if one.why), "")
    by = f" (reset by the {' and '.join(driver.proof)} from {driver.proof_from})" if driver.proof else ""
    return f"{by}, and said: {said}" if said and said not in reason else by
