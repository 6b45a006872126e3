"""The one loop with the effects: decide, record, call, record. Resume is the same loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from keyturn.clock import iso
from keyturn.engine.decisions import actions as act
from keyturn.engine.decisions.decide import decide
from keyturn.engine.decisions.draining import held_back
from keyturn.engine.decisions.issuing import request_open
from keyturn.engine.decisions.view import View
from keyturn.engine.effects import sinks as sink_effects
from keyturn.engine.effects import vendor as vendor_effects
from keyturn.engine.effects.driver import Driver
from keyturn.engine.outcome import Outcome, ended_as
from keyturn.engine.record import events as ev
from keyturn.engine.record.receipt import sealed_needed
from keyturn.model import Settled
from keyturn.steps import Step


def drive(driver: Driver) -> Outcome:
    """Carry the latest rotation, or what it left as debt, as far as it goes now."""
    for _ in range(driver.bench.limits.turns_per_drive):
        if not driver.holds_back:
            driver.held.keep()
        if driver.looks.overran:
            driver.bench.left_alone.add(driver.job.name)
            return _left(driver, _later("a call outlived its deadline, so this process leaves the secret alone"))
        if driver.bench.clock.wait(0.0) and not _in_the_gap(driver) and not _looks_once_more(driver):
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
        attending=driver.attending,
        scheduled=driver.scheduled,
        attended=driver.job.traits.attended,
    )


def _perform(driver: Driver, action: act.Action) -> Outcome | None:
    handler = _EFFECTS.get(type(action))
    if not isinstance(action, act.Record | act.Effects):
        driver.flush()  # only the intents of what publishes are journaled with what was held back
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
    end = next((body for body in action.bodies if isinstance(body, ev.Ended)), None)
    if driver.holds_back and end is None:
        driver.hold_back(*action.bodies)
        return None
    driver.append(*action.bodies)
    if end is None:
        return None
    return ended_as(driver, end)


def _pause(driver: Driver, action: act.Pause) -> Outcome | None:
    """Wait in this process while that is bearable; else leave it to the next run."""
    now, limits = driver.now(), driver.bench.limits
    leave = act.Leave(step=action.step, kind="retry", text=action.text, until=action.until)
    if action.at_most - now > max(limits.patience_s, limits.attend_s if driver.attending else 0.0):
        return _left(driver, leave)
    _tell_wait(driver, action)
    length_s = min(action.until - now, limits.lease_s / 6)
    if not driver.bench.clock.wait(length_s):
        return None
    if not _in_the_gap(driver):
        return None if _shown(driver) else _left(driver, leave)
    driver.bench.clock.sit_out(length_s)
    return None


def _tell_wait(driver: Driver, action: act.Pause) -> None:
    """What this process waits for, told once and not journaled: nothing has happened."""
    if driver.waits_for != action.text:
        driver.waits_for = action.text
        told = ev.WaitingFor(step=action.step.value, kind="moment", text=action.text, until=action.at_most)
        driver.bench.tell(driver.job.name, told)


def _shown(driver: Driver) -> bool:
    """Whether somebody attends and was shown what he may have used since the last look."""
    return driver.attending and bool(driver.looks.shown) and not driver.to.issued


def _looks_once_more(driver: Driver) -> bool:
    """Whoever attended and stops: what he was shown is looked for once more, and what that finds is acted on."""
    if not _shown(driver):
        return False
    driver.attending = False
    vendor_effects.settle(driver)
    return True


def _later(text: str) -> act.Leave:
    return act.Leave(step=Step.ISSUE, kind="retry", text=text)


def _in_the_gap(driver: Driver) -> bool:
    """Between an issue that ends the old version and the last promote consumers have nothing valid: no stopping."""
    rotation = driver.rotation
    begun = rotation.issue_sent_at is not None or _clicked(driver)
    return rotation.frozen.traits.dies_by_issue and rotation.open and begun and Step.PUBLISH not in rotation.done


def _clicked(driver: Driver) -> bool:
    """Whether a person seems to have used what he was shown: the last look did not see the old version in force."""
    look = driver.looks.settle
    return driver.rotation.by_person and look is not None and look.outcome is not Settled.NOT_APPLIED


def _left(driver: Driver, leave: act.Leave) -> Outcome:
    driver.flush()
    consumers = _stay_drained(driver) if _in_the_gap(driver) else let_go(driver)
    leave = replace(leave, text=f"{leave.text}{consumers}")
    body = ev.WaitingFor(
        step=leave.step.value,
        kind=leave.kind,
        text=leave.text,
        until=leave.until,
        again=leave.again,
        missing=leave.missing,
        wants=leave.wants,
        seen_at=_old_seen_at(driver),
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


def _old_seen_at(driver: Driver) -> float | None:
    """When the old version was last seen in force, where an approval at the vendor may end it between two runs."""
    ends = driver.rotation.frozen.traits.dies_by_issue and not driver.rotation.forward_only
    return driver.looks.old_at if ends and request_open(_view(driver)) else None


def _next(driver: Driver, leave: act.Leave) -> str:
    name, number = driver.job.name, driver.to.number
    if leave.kind == "hold" and leave.missing:
        return f"keyturn ack {name} --version {number} --consumer {leave.missing[0]}"
    if leave.step is Step.ISSUE and waits_for_person(driver):
        return f"keyturn resume {name} --attend"
    if leave.wants:
        return f"keyturn resume {name} --supply {leave.wants[0]}=@FILE"
    return "keyturn run" if leave.kind == "hold" else f"keyturn resume {name}"


def waits_for_person(driver: Driver) -> bool:
    """Whether the rotation goes on once somebody attends."""
    return driver.rotation.by_person and not driver.rotation.undoing and not driver.to.issued


def _stuck(driver: Driver, stop: act.Stop) -> Outcome:
    reason = f"{stop.reason}{let_go(driver)}"
    body = ev.BecameStuck(step=stop.step.value, code=stop.code, reason=reason, next=stop.next)
    if driver.rotation.stuck != body:
        driver.append(body)
    return Outcome(secret=driver.job.name, status="stuck", code=stop.code, text=reason, next=stop.next)


def let_go(driver: Driver) -> str:
    """Tell those who are drained to go on, though the rotation is not at its end; who could not be told, and why."""
    names = held_back(_view(driver))
    if not names:
        return ""
    sink_effects.carry_out(driver, act.Effects(step=Step.RELEASE, verb="release-early", targets=names))
    failed = {name: driver.looks.failures.get(("release-early", name)) for name in names}
    return "".join(f"; {name} was not told to go on: {one.why}" for name, one in failed.items() if one)


def _stay_drained(driver: Driver) -> str:
    """In the gap consumers would only meet errors: they are left drained, until they go on by themselves."""
    until = [driver.rotation.drained_until.get(name, 0.0) for name in driver.rotation.drained]
    return f"; consumers stay drained until {iso(max(until))} at most" if until else ""


def _tidy_escrow(driver: Driver, action: act.TidyEscrow) -> None:
    kept = {kept.key: kept.version_id for kept in driver.bench.escrow.listing(driver.job.name)}
    needed = sealed_needed(driver.state, kept)
    for version_id in sorted(set(kept.values()) - needed):
        driver.bench.escrow.drop(driver.job.name, version_id, lease=driver.held.lease)
    driver.looks = replace(driver.looks, tidied=True)


_EFFECTS: dict[type[object], Callable[[Driver, Any], object]] = {
    act.Mint: lambda driver, action: vendor_effects.mint(driver),
    act.IssueNow: lambda driver, action: vendor_effects.issue(driver),
    act.SettleNow: lambda driver, action: vendor_effects.settle(driver, final=action.final),
    act.ReissueNow: lambda driver, action: vendor_effects.reissue(driver),
    act.RetireNow: vendor_effects.retire,
    act.LookAtVendor: lambda driver, action: vendor_effects.look_at_vendor(
        driver, mode=driver.rotation.mode, knowing=driver.rotation.knowing
    ),
    act.LookAtSinks: lambda driver, action: sink_effects.look_at_sinks(driver, action.keys),
    act.ProbeNow: vendor_effects.probe,
    act.Effects: sink_effects.carry_out,
    act.TidyEscrow: _tidy_escrow,
}
