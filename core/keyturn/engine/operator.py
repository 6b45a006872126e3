"""What an operator says: acknowledge, hold, pause, abandon, drop. All may be repeated."""

from __future__ import annotations

from typing import NoReturn

from keyturn.engine.bench import Bench
from keyturn.engine.decisions.undo import may_undo
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.leases import holding
from keyturn.engine.job import Job
from keyturn.engine.loop import drive, let_go
from keyturn.engine.outcome import Outcome
from keyturn.engine.record import events as ev
from keyturn.engine.record.receipt import ended, has_debts
from keyturn.engine.record.state import RotationState, SecretState, VersionState
from keyturn.errors import RefusedError, UsageError
from keyturn.states import State
from keyturn.steps import Step

WAIT_S = 10.0
"""How long a short command waits for the subject."""


def acknowledge(bench: Bench, job: Job, *, number: int, consumer: str, waive: bool, reason: str) -> Outcome:
    """Record that a consumer reads this version (or that a named operator waives it)."""
    with holding(bench, job.name, wait_s=WAIT_S) as held:
        driver = Driver(bench, job, held)
        version = _version(driver.state, number)
        known = [one.name for one in job.consumers]
        if consumer not in known:
            _wrong("consumer-unknown", f"{consumer} is no consumer of {job.name}", f"one of: {', '.join(known)}", job)
        if (version.id, consumer) not in driver.state.acks:
            driver.append(ev.Acknowledged(version=version.id, consumer=consumer, waived=waive, reason=reason))
        said = "waived" if waive else "recorded"
        return quiet(job, f"acknowledgement of version {number} by {consumer} {said}", "keyturn run")


def change_hold(bench: Bench, job: Job, *, until: float | None, reason: str) -> Outcome:
    """Move the end of the hold, or end it now (`until` None). Raises RefusedError `no-hold` where none of ours runs."""
    with holding(bench, job.name, wait_s=WAIT_S) as held:
        driver = Driver(bench, job, held)
        if not _holds(driver.state):
            raise _no_hold(driver)
        at = driver.now() if until is None else until
        driver.append(ev.HoldChanged(until=at, reason=reason))
        return quiet(job, "the hold is over" if until is None else "the hold was moved", "keyturn run")


def pause(bench: Bench, job: Job, *, until: float, reason: str) -> Outcome:
    """No rotation begins by schedule until then; 0 ends the pause."""
    with holding(bench, job.name, wait_s=WAIT_S) as held:
        driver = Driver(bench, job, held)
        driver.append(ev.Paused(until=until, reason=reason))
        return quiet(job, "paused" if until else "no longer paused", "keyturn status")


def drop(bench: Bench, job: Job, *, what: str, reason: str) -> Outcome:
    """Take an endpoint, sink or consumer out of the rotation in flight, then carry on.

    A consumer that was not told of an adopted version is not waited for any more.
    """
    with holding(bench, job.name, wait_s=WAIT_S) as held:
        driver = Driver(bench, job, held)
        if what in driver.state.untold and driver.state.current:
            driver.append(ev.Told(version=driver.state.current.id, consumer=what, reason=reason))
            return quiet(job, f"{what} is not told of the adopted version", "keyturn run")
        rotation = _unfinished_rotation(driver)
        frozen = rotation.frozen
        known = [*frozen.endpoints, *(s.key for s in frozen.sinks), *(c.name for c in frozen.consumers)]
        if what not in known:
            _wrong("drop-unknown", f"the rotation does not know {what}", f"one of: {', '.join(known)}", job)
        left = frozen.without(rotation.dropped | {what})
        if not left.endpoints or all(sink.artefact for sink in left.sinks):
            _wrong("drop-last", f"nothing would be left to look at without {what}", f"keyturn status {job.name}", job)
        driver.append(ev.Dropped(what=what, reason=reason))
        return drive(driver)


def abandon(bench: Bench, job: Job, *, reason: str) -> Outcome:
    """Undo, before the point of no return; after it, end the rotation and leave what remains as debts."""
    with holding(bench, job.name, wait_s=WAIT_S) as held:
        driver = Driver(bench, job, held)
        rotation = driver.state.rotation
        if rotation is None or not rotation.open:
            return quiet(job, "nothing is in flight", f"keyturn status {job.name}")
        if may_undo(rotation, issued=driver.to.issued):
            if not rotation.undoing:
                driver.append(ev.Undoing(code="abandoned", reason=f"abandoned: {reason}"))
            return drive(driver)
        if not rotation.frozen.traits.coexist and Step.PUBLISH not in rotation.done:
            # Issue ended the old version: consumers have nothing until this one is published.
            forward = drive(driver)
            if not driver.rotation.open or driver.rotation.published_at is None:
                return forward
        deaf = let_go(driver)
        end = ended(driver.state, "abandoned", reason)
        driver.append(end)
        text = f"ended; the new version stays, and what remains is owed as debts{deaf}"
        return Outcome(secret=job.name, status="abandoned", text=text, next="keyturn run", ended=end)


def _unfinished_rotation(driver: Driver) -> RotationState:
    rotation = driver.state.rotation
    if rotation is None or not (rotation.open or has_debts(driver.state)):
        _wrong("nothing-in-flight", "no rotation is in flight", f"keyturn status {driver.job.name}", driver.job)
    return rotation


def _holds(state: SecretState) -> bool:
    """Whether an old version is kept alive by us, beside a published one: what a vendor grants is not ours to end."""
    rotation, version = state.rotation, state.under_way
    if rotation is None or version is None or Step.HOLD not in rotation.frozen.steps:
        return False
    over = rotation.open and Step.HOLD in rotation.done
    return version.state is State.CURRENT and bool(state.previous) and not over


def _no_hold(driver: Driver) -> RefusedError:
    """Why there is nothing to end or to move, and what is waited for instead."""
    name, rotation = driver.job.name, driver.state.rotation
    text, hint = "nothing is in flight", f"keyturn status {name}"
    if rotation and (rotation.open or has_debts(driver.state)):
        told = (rotation.stuck.reason if rotation.stuck else "") or (rotation.waiting.text if rotation.waiting else "")
        text = told or "the rotation has not come so far"
        hint = rotation.stuck.next if rotation.stuck else f"keyturn resume {name}"
    return RefusedError("no-hold", f"no hold of ours runs: {text}", hint=hint, place=name)


def _version(state: SecretState, number: int) -> VersionState:
    for version in state.versions.values():
        if version.number == number:
            return version
    known = ", ".join(str(v.number) for v in state.versions.values())
    raise UsageError(
        "version-unknown",
        f"there is no version {number}",
        hint=f"known versions: {known or 'none'}",
        place=state.secret,
    )


def _wrong(code: str, message: str, hint: str, job: Job) -> NoReturn:
    raise UsageError(code, message, hint=hint, place=job.name)


def quiet(job: Job, text: str, next_: str) -> Outcome:
    """The outcome of a short command: what is true now, and what to type next."""
    return Outcome(secret=job.name, status="quiet", text=text, next=next_)
