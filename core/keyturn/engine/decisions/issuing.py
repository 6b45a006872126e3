"""Decisions about issue: when to send it, and what an attempt in doubt became. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.engine.decisions.actions import (
    Action,
    IssueNow,
    Leave,
    Pause,
    Record,
    ReissueNow,
    RetireNow,
    SettleNow,
    Stop,
)
from keyturn.engine.decisions.approving import decided_at, not_approved, requested, turned_down
from keyturn.engine.decisions.attending import (
    attended_until,
    current_in_force,
    nobody_attends,
    shows_another,
    still_unused,
    unused_until,
    usable_until,
    way_changed,
)
from keyturn.engine.decisions.looks import SettleLook
from keyturn.engine.decisions.view import View
from keyturn.engine.plan import somebody_elses, way_out
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import AttemptState, VersionState
from keyturn.model import Half, Mode, Repeat, Revoke, Settled
from keyturn.states import Move, State
from keyturn.steps import Step

REISSUES_MAX = 1
NEITHER = "neither-in-force"


def issue(view: View) -> Action | None:
    """The next thing to do about issue. None when the new version is issued."""
    if view.to.gone:
        return gone(view)
    if view.to.issued:
        return None
    doubt = attempts_in_doubt(view)
    if doubt and not shows_another(view, doubt):
        return settle(view, doubt)
    attempts = _attempts(view)
    last = attempts[-1] if attempts else None
    if last and last.outcome == "refused":
        return _refused(view, last)
    if last and last.settled == Settled.PARTLY and view.traits.repeat is not Repeat.SAFE:
        return Stop(
            step=Step.ISSUE,
            code="issue-partly",
            reason="the vendor applied a part of issue, and repeating it is not safe",
            next=f"look at the vendor, then: keyturn abandon {view.name} --reason TEXT",
        )
    # What a person is shown ends nothing: pairs are not counted, only who may use one.
    return not_approved(view, last) or _send(view, 0 if view.rotation.by_person else len(attempts))


def before_issue(view: View) -> Action | None:
    """What must be so before consumers drain for issue, and again before it is sent. None: it is.

    Whoever sets versions is still the same, a person attends where one has to act, what issue replaces is in force,
    and nothing sent earlier can still end what it makes.
    """
    ready = way_changed(view) or nobody_attends(view) or _slot_at_rest(view)
    return ready or (None if attempts_in_doubt(view) else current_in_force(view))


def _slot_at_rest(view: View) -> Pause | None:
    """A call that ended the slot's last version, and whose answer was lost, may be late: it would end the new one."""
    mates = [v for v in view.state.versions.values() if v.slot is not None and v.slot == view.to.slot]
    sent = [deadline_at for version in mates for deadline_at in version.ends.values()]
    until = max(sent, default=0.0) + view.traits.settle_s
    if view.now >= until:
        return None
    text = f"the answer to ending what was in the slot {view.to.slot} was lost, and that may still happen"
    return Pause(step=Step.ISSUE, until=until, at_most=until, text=text)


def _refused(view: View, last: AttemptState) -> Action:
    """Undo, unless an earlier issue of this rotation ended the old version, or a pair of it still may.

    Then each run tries once more.
    """
    doubt = attempts_in_doubt(view)
    if not view.rotation.forward_only and not doubt:
        return Record(bodies=(ev.Undoing(code="issue-refused", reason=last.why, hint=last.hint),))
    if ("issue", "vendor") not in view.looks.failures:
        return IssueNow()
    if doubt:
        return Leave(step=Step.ISSUE, kind="retry", text=f"no fresh pair could be made: {last.why}")
    return Stop(
        step=Step.ISSUE,
        code="reissue-refused",
        reason=f"the vendor ended the old version, its new value never reached us, and now it refuses: {last.why}",
        next=f"{last.hint or 'clear that up with the vendor'}; then: keyturn resume {view.name}",
    )


def _send(view: View, sent: int) -> Action:
    # What ends the old version by being sent is sent anew once at most (docs/contracts/sahamati.md, section 5).
    sent_max = 2 if view.traits.repeat is Repeat.DESTROYS else view.limits.issues_per_rotation
    if sent >= sent_max and not view.rotation.forward_only:
        text = f"issue was sent {sent} times and never took effect"
        return Record(bodies=(ev.Undoing(code="issue-never-applied", reason=text),))
    failure = view.looks.failures.get(("issue", "vendor"))
    if failure and failure.tries >= view.limits.tries_per_run:
        return Leave(step=Step.ISSUE, kind="retry", text=f"issue could not be sent: {failure.why}")
    if failure and view.now < failure.at + view.limits.poll_s:
        until = failure.at + view.limits.poll_s
        return Pause(step=Step.ISSUE, until=until, at_most=until, text="issue is tried again")
    return IssueNow()


def _attempts(view: View) -> tuple[AttemptState, ...]:
    return tuple(a for a in view.rotation.attempts if a.version == view.to.id and a.outcome != "not_sent")


def request_open(view: View) -> bool:
    """Whether a request of ours waits for an approval, as far as is known: then nothing but its truth is looked for."""
    return requested(view, attempts_in_doubt(view))


def attempts_in_doubt(view: View) -> tuple[AttemptState, ...]:
    """Attempts whose outcome is unknown; a refusal after one of those is in doubt too (it may come from our first)."""
    attempts = _attempts(view)
    doubt = tuple(a for a in attempts if a.in_doubt)
    last = attempts[-1] if attempts else None
    after_doubt = any(a.outcome in ("", "doubt", "waiting") for a in attempts[:-1])
    if last and last.outcome == "refused" and not last.settled and after_doubt:
        return (*doubt, last)
    return doubt


def settle(view: View, doubt: Sequence[AttemptState]) -> Action:
    """Look until the truth is final: `not applied` counts only when still so `settle_s` after the last deadline.

    That neither is in force only a person can change: until he asks, no more attempts with bad secrets are spent on it.
    """
    stuck = view.rotation.stuck
    if stuck and stuck.code == NEITHER and view.scheduled and view.traits.probe_every_s:
        return Stop(step=Step.ISSUE, code=stuck.code, reason=stuck.reason, next=stuck.next)
    look = view.looks.settle
    final_at = _final_at(view, doubt)
    neither = look is not None and look.outcome is Settled.REPLACED
    until = final_at if neither else max(final_at, attended_until(view, doubt) or 0.0)
    again_at = min(look.at + _every_s(view, doubt), until) if look else view.now
    if look is None or (look.at < until and again_at <= view.now):
        return SettleNow(final=view.now >= final_at and not _usable(view, doubt))
    if view.now < unused_until(view, doubt, look):
        return still_unused(view, doubt, look, again_at)
    if look.at < until:
        text = "the answer to issue was lost; looking at the vendor"
        return Pause(step=Step.ISSUE, until=again_at, at_most=until, text=text)
    return _found(view, doubt, look)


def _found(view: View, doubt: Sequence[AttemptState], look: SettleLook) -> Action:
    """What the last look of all says."""
    if look.outcome is Settled.UNKNOWN:
        text = f"issue was sent and the vendor does not show what became of it: {look.note or 'no answer'}"
        return Leave(step=Step.ISSUE, kind="retry", text=text)
    if look.outcome is Settled.REPLACED:
        return _neither(view)
    settled = ev.SettledAs(
        version=view.to.id,
        outcome=look.outcome.value,
        handle=look.handle,
        note=look.note,
        since=view.looks.old_at,
    )
    return Record(bodies=(settled, *turned_down(view, doubt, look)))


def _neither(view: View) -> Stop:
    """Neither is in force. An earlier version that was given up may be, by a commit that came late."""
    name, earlier = view.name, [v for v in view.state.versions.values() if v.sent and not v.published]
    given_up = ", ".join(f"version {v.number}" for v in earlier if v.id != view.to.id)
    whose = f", or what was given up: {given_up}" if given_up else ""
    first = f"keyturn adopt {name} --from-escrow; where that finds none: " if given_up else ""
    return Stop(
        step=Step.ISSUE,
        code=NEITHER,
        reason=f"neither version {view.to.number} nor the one before is accepted: somebody else's secret is in force"
        f"{whose}",
        next=f"{first}{somebody_elses(name, view.traits)}",
    )


def _final_at(view: View, doubt: Sequence[AttemptState]) -> float:
    """When a look counts. That neither is in force may be the delay of a change: it has to stay so for a while."""
    last = max(a.deadline_at for a in doubt) + view.traits.settle_s
    look, stuck = view.looks.settle, view.rotation.stuck
    if look is None or (stuck and stuck.code == NEITHER):
        return last
    if look.outcome is not Settled.REPLACED:
        return look.at if look.rejected else max(last, decided_at(view, doubt, look))
    return max(last, look.since + view.traits.activation_s)


def _usable(view: View, doubt: Sequence[AttemptState]) -> bool:
    """Whether a person may still use what he was shown, as far as was seen: then no look is the last."""
    look = view.looks.settle
    if look and look.outcome is Settled.REPLACED:
        return False  # no pair is of use any more: it names a current version that is not in force
    return view.now < usable_until(view, doubt)


def _every_s(view: View, doubt: Sequence[AttemptState]) -> float:
    """How often to look. One that finds the old version in force is free, any other an attempt with a bad secret.

    The longer nothing comes of it the rarer those are, but where a person attends and may act at any moment.
    """
    look, every_s = view.looks.settle, max(view.limits.poll_s, view.traits.settle_every_s)
    free = view.rotation.mode is Mode.NORMAL and look and look.outcome in (Settled.NOT_APPLIED, Settled.UNKNOWN)
    if look is None or free or not view.traits.probe_every_s:
        return every_s
    gone_by_s = 0.0 if view.attending else look.at - min(one.sent_at for one in doubt)
    return max(every_s, view.traits.probe_every_s, gone_by_s / 2)


def gone(view: View) -> Action:
    """Issued, but the value is lost: withdraw the stray where that is possible, then issue again, once."""
    stray = view.to
    if view.rotation.reissues >= REISSUES_MAX:
        return Stop(
            step=Step.ISSUE,
            code="value-lost-again",
            reason="the vendor issued a value that never reached us, twice in this rotation",
            next=f"check the network path, then: {_way_out(view)}",
        )
    if not view.traits.coexist:
        return Record(bodies=(ev.Moved(version=stray.id, move=Move.STRAND.value),)) if _pending(view) else ReissueNow()
    withdraw_next = withdraw(view, Step.ISSUE)
    if withdraw_next:
        return withdraw_next
    if _pending(view):
        return Record(bodies=(ev.Moved(version=stray.id, move=Move.WITHDRAW.value),))
    return ReissueNow()


def _way_out(view: View) -> str:
    return f"keyturn abandon {view.name} --reason TEXT" if view.traits.coexist else way_out(view.name, view.traits)


def _pending(view: View) -> bool:
    return view.to.state is State.PENDING


def withdraw(view: View, step: Step) -> Action | None:
    """Take the unpublished new version away at the vendor. None when nothing of it is left there."""
    if view.to.published or not view.to.sent or not view.to.handle or view.traits.revoke is Revoke.NONE:
        return None
    for half, done in ((Half.REFUSE, view.to.refused), (Half.REMOVE, view.to.removed)):
        if done or (half is Half.REMOVE and view.traits.revoke is not Revoke.REFUSE_REMOVE):
            continue
        failed = namesake(view, step, view.to) or retire_failure(view, step, half, view.to.id)
        return failed or RetireNow(step=step, version=view.to.id, half=half)
    return None


def namesake(view: View, step: Step, version: VersionState) -> Stop | None:
    """Stuck, where retiring this version would end another live one of the same name."""
    other = view.state.namesake(version)
    if other is None:
        return None
    return Stop(
        step=step,
        code="same-handle",
        reason=f"versions {version.number} and {other.number} are both {version.handle} at the vendor",
        next=f"look at the vendor, then: keyturn rotate {view.name} --force --reason TEXT",
    )


def retire_failure(view: View, step: Step, half: Half, version: str) -> Action | None:
    """What a failed try at retiring means: stuck when refused, later when not sent too often, else try again."""
    failure = view.looks.failures.get((half.value, version))
    if failure is None:
        return None
    if failure.outcome == "refused":
        return Stop(
            step=step,
            code=f"{half.value}-refused",
            reason=f"the vendor would not {half.value} version {view.state.versions[version].number}: {failure.why}",
            next=f"keyturn resume {view.name}",
        )
    if failure.tries >= view.limits.tries_per_run:
        return Leave(step=step, kind="retry", text=f"{half.value} did not work yet: {failure.why}")
    if view.now < failure.at + view.limits.poll_s:
        until = failure.at + view.limits.poll_s
        return Pause(step=step, until=until, at_most=until, text=f"{half.value} is tried again")
    return None
