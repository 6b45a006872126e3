"""The one loop with the effects: decide, record, call, record. Resume is the same loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from keyturn.engine.decisions import actions as act
from keyturn.engine.decisions.decide import decide
from keyturn.engine.decisions.view import View
from keyturn.engine.effects import sinks as sink_effects
from keyturn.engine.effects import vendor as vendor_effects
from keyturn.engine.effects.driver import Driver
from keyturn.engine.record import events as ev
from keyturn.engine.record.receipt import sealed_needed
from keyturn.errors import KeyturnError
from keyturn.model import Verdict
from keyturn.steps import Step

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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is true of one secret after this run, and what to type next."""

    secret: str
    status: str
    text: str
    code: str = ""
    next: str = ""
    until: float | None = None
    missing: tuple[str, ...] = ()
    ended: ev.Ended | None = None
    error: KeyturnError | None = None

    @property
    def exit_code(self) -> int:
        """The process exit code that says the same."""
        return self.error.exit_code if self.error else EXIT[self.status]


def drive(driver: Driver) -> Outcome:
    """Carry the latest rotation, or what it left as debt, as far as it goes now."""
    for _ in range(driver.bench.limits.turns_per_drive):
        driver.held.keep()
        if driver.looks.overran:
            driver.bench.left_alone.add(driver.job.name)
            return _left(driver, _later("a call outlived its deadline, so this process leaves the secret alone"))
        if driver.bench.clock.wait(0.0) and not _in_the_gap(driver):
            return _left(driver, _later("this run was asked to stop"))
        action = decide(_view(driver))
        outcome = _perform(driver, action)
        if outcome:
            return outcome
    message = "the rotation does not settle"
    raise AssertionError(message)


def _view(driver: Driver) -> View:
    return View(
        state=driver.state,
        rotation=driver.rotation,
        looks=driver.looks,
        limits=driver.bench.limits,
        now=driver.now(),
        configured=driver.job.configured,
    )


def _perform(driver: Driver, action: act.Action) -> Outcome | None:
    handler = _EFFECTS.get(type(action))
    if handler:
        handler(driver, action)
        return None
    if isinstance(action, act.Record):
        return _record(driver, action)
    if isinstance(action, act.Pause):
        return _pause(driver, action)
    if isinstance(action, act.Leave):
        return _left(driver, action)
    if isinstance(action, act.Stop):
        return _stuck(driver, action)
    return Outcome(secret=driver.job.name, status="quiet", text="nothing is left to do")


def _record(driver: Driver, action: act.Record) -> Outcome | None:
    driver.append(*action.bodies)
    end = next((body for body in action.bodies if isinstance(body, ev.Ended)), None)
    if end is None:
        return None
    if end.outcome == "undone":
        return _undone(driver, end, driver.rotation.undoing) if _old_seen(driver) else _undone_without_old(driver, end)
    return Outcome(secret=driver.job.name, status=end.outcome, text=end.outcome, ended=end)


UNDONE_NEXT = {
    "abandoned": "keyturn rotate {name}",
    "rotated-outside": "keyturn adopt {name} --from-vendor",
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
    seen = [look.verdict for (id_, _), look in driver.looks.probes.items() if current and id_ == current.id]
    return bool(seen) and all(verdict is Verdict.ACCEPTED for verdict in seen)


def _undone_without_old(driver: Driver, end: ev.Ended) -> Outcome:
    """Exit code 4 says that the old version is good; here there is none, or none that was seen accepted."""
    current, name = driver.state.current, driver.job.name
    what = f"version {current.number} was not seen accepted" if current else "there is no current version yet"
    again = f"keyturn rotate {name} {'--current-dead --reason TEXT' if current else '--first'}"
    undoing = driver.rotation.undoing
    return Outcome(
        secret=name,
        status="stuck",
        code=undoing.code if undoing else "",
        text=f"undone, and {what}: {end.reason}",
        next=f"{undoing.hint}; then: {again}" if undoing and undoing.hint else again,
        ended=end,
    )


def _pause(driver: Driver, action: act.Pause) -> Outcome | None:
    """Wait in this process while that is bearable; else leave it to the next run."""
    now, limits = driver.now(), driver.bench.limits
    leave = act.Leave(step=action.step, kind="retry", text=action.text, until=action.until)
    if action.at_most - now > limits.patience_s:
        return _left(driver, leave)
    _tell_wait(driver, action)
    length_s = min(action.until - now, limits.lease_s / 6)
    if not driver.bench.clock.wait(length_s):
        return None
    if not _in_the_gap(driver):
        return _left(driver, leave)
    driver.bench.clock.sit_out(length_s)
    return None


def _tell_wait(driver: Driver, action: act.Pause) -> None:
    """What this process waits for, told once and not journaled: nothing has happened."""
    if driver.waits_for != action.text:
        driver.waits_for = action.text
        told = ev.WaitingFor(step=action.step.value, kind="moment", text=action.text, until=action.at_most)
        driver.bench.tell(driver.job.name, told)


def _later(text: str) -> act.Leave:
    return act.Leave(step=Step.ISSUE, kind="retry", text=text)


def _in_the_gap(driver: Driver) -> bool:
    """Between an issue that ends the old version and the last promote consumers have nothing valid: no stopping."""
    rotation = driver.rotation
    between = rotation.issue_sent_at is not None and Step.PUBLISH not in rotation.done
    return rotation.frozen.traits.dies_by_issue and rotation.open and between


def _left(driver: Driver, leave: act.Leave) -> Outcome:
    _release_early(driver)
    body = ev.WaitingFor(
        step=leave.step.value,
        kind=leave.kind,
        text=leave.text,
        until=leave.until,
        again=leave.again,
        missing=leave.missing,
        wants=leave.wants,
    )
    if driver.rotation.waiting != body:
        driver.append(body)
    status = {"hold": "holding", "retry": "unfinished"}.get(leave.kind, "waiting")
    return Outcome(
        secret=driver.job.name,
        status=status,
        text=leave.text,
        until=leave.until,
        missing=leave.missing,
        next=_next(driver, leave),
    )


def _next(driver: Driver, leave: act.Leave) -> str:
    name, number = driver.job.name, driver.to.number
    if leave.kind == "hold" and leave.missing:
        return f"keyturn ack {name} --version {number} --consumer {leave.missing[0]}"
    if leave.wants:
        return f"keyturn resume {name} --supply {leave.wants[0]}=@FILE"
    return "keyturn run" if leave.kind == "hold" else f"keyturn resume {name}"


def _stuck(driver: Driver, stop: act.Stop) -> Outcome:
    _release_early(driver)
    body = ev.BecameStuck(step=stop.step.value, code=stop.code, reason=stop.reason, next=stop.next)
    if driver.rotation.stuck != body:
        driver.append(body)
    return Outcome(secret=driver.job.name, status="stuck", code=stop.code, text=stop.reason, next=stop.next)


def _release_early(driver: Driver) -> None:
    """Drained consumers do not stay down because a run ends: before issue was sent they are told to go on."""
    rotation = driver.rotation
    if rotation.issue_sent_at or rotation.published_at or not rotation.open:
        return
    known = [one.name for one in rotation.plan.consumers if one.release and one.name in driver.job.configured]
    names = tuple(name for name in known if rotation.finished("quiesce", name))
    if names:
        sink_effects.carry_out(driver, act.Effects(step=Step.RELEASE, verb="release-early", targets=names))


def _tidy_escrow(driver: Driver, action: act.TidyEscrow) -> None:
    kept = {kept.key: kept.version_id for kept in driver.bench.escrow.listing(driver.job.name)}
    needed = sealed_needed(driver.state, kept)
    for version_id in sorted(set(kept.values()) - needed):
        driver.bench.escrow.drop(driver.job.name, version_id, lease=driver.held.lease)
    driver.looks = replace(driver.looks, tidied=True)


_EFFECTS: dict[type[object], Callable[[Driver, Any], object]] = {
    act.Mint: lambda driver, action: vendor_effects.mint(driver),
    act.IssueNow: lambda driver, action: vendor_effects.issue(driver),
    act.SettleNow: lambda driver, action: vendor_effects.settle(driver),
    act.ReissueNow: lambda driver, action: vendor_effects.reissue(driver),
    act.RetireNow: vendor_effects.retire,
    act.LookAtVendor: lambda driver, action: vendor_effects.look_at_vendor(driver),
    act.LookAtSinks: lambda driver, action: sink_effects.look_at_sinks(driver, action.keys),
    act.ProbeNow: vendor_effects.probe,
    act.Effects: sink_effects.carry_out,
    act.TidyEscrow: _tidy_escrow,
}
