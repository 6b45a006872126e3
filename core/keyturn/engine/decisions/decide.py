"""What to do next: one pure function of what the journal says, what this run has seen, and the time.

The frozen step list is walked in order; the first step that is not complete says the next action, but behind a patient
one that only waits the others go on. Everything is decided by level, never by edge: a crash, a resume and a repeated
run all come through here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from keyturn.engine.decisions.actions import (
    WAITS,
    Action,
    IssueNow,
    Leave,
    LookAtVendor,
    Mint,
    Quiet,
    Record,
    RetireNow,
    TidyEscrow,
    most_urgent,
)
from keyturn.engine.decisions.closing import hold, prove, retire
from keyturn.engine.decisions.draining import drain, quiesce, release
from keyturn.engine.decisions.gap import places_seen
from keyturn.engine.decisions.issuing import attempts_in_doubt, before_issue, issue, request_open, retire_failure
from keyturn.engine.decisions.publishing import publish, store, verify
from keyturn.engine.decisions.undo import undo
from keyturn.engine.decisions.view import View, effects, known_effects, unconfigured
from keyturn.engine.record import events as ev
from keyturn.engine.record.receipt import ended, has_debts
from keyturn.engine.record.state import VersionState
from keyturn.model import Half, Revoke, Settled
from keyturn.states import State
from keyturn.steps import Step

DEBT_STEPS = (Step.PUBLISH, Step.RELEASE, Step.STORE, Step.HOLD, Step.RETIRE, Step.PROVE, Step.TIDY)
OWN_STEPS = (Step.PUBLISH, Step.RELEASE, Step.STORE)
"""Owed only for the rotation's own version, not where it was undone and an older one stays."""
PATIENT = (Step.RELEASE, Step.STORE)
"""While one of these only waits the later steps go on: one consumer, or a custody that is down, holds nobody up."""


def decide(view: View) -> Action:
    """The next action for this secret."""
    if not view.rotation.open:
        return _debts(view)
    if view.rotation.undoing:
        return undo(view)
    todo = [step for step in view.plan.steps if step not in view.rotation.done]
    return _walked(view, todo, closing=True) or Record(bodies=(ended(view.state, "done"),))


def _debts(view: View) -> Action:
    if not has_debts(view.state):
        return Quiet()
    own = view.to.id == view.rotation.to
    todo = [step for step in view.plan.steps if step in DEBT_STEPS and (own or step not in OWN_STEPS)]
    return _walked(view, todo) or Quiet()


def _walked(view: View, steps: Iterable[Step], *, closing: bool = False) -> Action | None:
    """What can be done now, else the most urgent wait. None: nothing is left. `closing`: a complete step is recorded.

    Nothing is tidied away while anything waits.
    """
    waits: list[Action] = []
    for step in steps:
        if waits and step is Step.TIDY:
            break
        action = _STEPS[step](view)
        if action is None and closing:
            action = Record(bodies=(ev.StepDone(step=step.value),))
        if action and not isinstance(action, WAITS):
            return action
        if action:
            waits.append(action)
            if step not in PATIENT:
                break
    return most_urgent(waits)


def _mint(view: View) -> Action | None:
    return None if view.to.fingerprints else Mint()


def _stage(view: View) -> Action | None:
    keys = [sink.key for sink in view.plan.sinks if not sink.artefact and not sink.empty]
    gone = unconfigured(view, Step.STAGE)
    if gone:
        return gone
    if not view.rotation.issued_at:
        for key in keys:
            failure = view.looks.failures.get(("stage", key))
            if failure and failure.outcome in ("refused", "conflict"):
                why = failure.why.removeprefix(f"{key}: ")
                return Record(bodies=(ev.Undoing(code="stage-refused", reason=f"{key}: {why}"),))
    return effects(view, Step.STAGE, "stage", keys)


def _bridge(view: View) -> Action | None:
    """Have derived secrets renewed with the old value, so that consumers hold something fresh while that one ends."""
    if attempts_in_doubt(view):
        return None
    since = view.now - view.limits.bridge_fresh_s
    stale = [name for name in view.plan.bridge if view.rotation.bridged.get(name, 0.0) < since]
    action = effects(view, Step.BRIDGE, "renew", stale)
    if isinstance(action, Leave) and not _expires_soon(view):
        failed = next(name for name in stale if ("renew", name) in view.looks.failures)
        hint = f"keyturn status {failed}"
        return Record(bodies=(ev.Undoing(code="bridge-failed", reason=action.text, hint=hint),))
    return None if isinstance(action, Leave) else action


def _expires_soon(view: View) -> bool:
    """Whether it is better to go without a bridge than to let the secret expire for want of one."""
    ends = view.state.current.expires_at if view.state.current else None
    return ends is not None and ends - view.now < view.limits.bridge_least_s


def _announce(view: View) -> Action | None:
    return known_effects(view, Step.ANNOUNCE, "announce", [one.name for one in view.plan.consumers if one.announce])


def _issue(view: View) -> Action | None:
    if view.looks.vendor is None and not view.to.issued and not request_open(view):
        return LookAtVendor()
    action = issue(view)
    if isinstance(action, IssueNow):
        action = before_issue(view) or action
    if isinstance(action, IssueNow) and _may_bridge(view):
        action = _bridge(view) or action
    return (_held_back(view) or drain(view) or places_seen(view) or action) if isinstance(action, IssueNow) else action


def _held_back(view: View) -> Action | None:
    """Why issue is not sent although it is its turn: the look just before it found something else than preflight did.

    Without a witness nobody could tell later what became of a lost answer.
    """
    look = view.looks.vendor
    if look is None or look.error:
        text = f"the vendor can not be inspected before issue: {look.error if look else 'it was not asked'}"
        return Leave(step=Step.ISSUE, kind="retry", text=text)
    if _ends_anothers(view):
        text = "somebody else rotated the secret since the rotation began, and issue would end theirs"
        return Record(bodies=(ev.Undoing(code="rotated-outside", reason=text),))
    problem = next((one for one in look.problems if one.fatal), None)
    if problem is None or not view.traits.dies_by_issue:
        return None
    if problem.passing or view.rotation.forward_only:
        return Leave(step=Step.ISSUE, kind="retry", text=f"issue is not sent now: {problem.text}")
    return Record(bodies=(ev.Undoing(code=problem.code, reason=problem.text),))


def _ends_anothers(view: View) -> bool:
    """Whether issue would end a value of somebody else; one that may be of a lost issue of ours, it may end."""
    foreign = view.looks.vendor is not None and view.looks.vendor.foreign and not view.rotation.knowing
    lost = [a for a in view.rotation.attempts if a.outcome != "not_sent" and a.settled != Settled.NOT_APPLIED]
    return foreign and view.traits.dies_by_issue and not lost


def _may_bridge(view: View) -> bool:
    """Whether a stale bridge is made anew before issue: never in the gap, nor while consumers are drained."""
    steps = view.plan.steps
    return Step.BRIDGE in steps and Step.QUIESCE not in steps and not view.rotation.forward_only


def _tidy(view: View) -> Action | None:
    """Remove for good what was refused for long enough, empty the escrow, and wait for what is watched still."""
    refused = _removable(view)
    due = next((version for version in refused if _watched_until(view, version) <= view.now), None)
    if due:
        failed = retire_failure(view, Step.TIDY, Half.REMOVE, due.id)
        return failed or RetireNow(step=Step.TIDY, version=due.id, half=Half.REMOVE)
    if not view.looks.tidied:
        return TidyEscrow()
    return _watch(view, refused) if refused else None


def _removable(view: View) -> list[VersionState]:
    """Versions that the vendor refuses and still has; removing a namesake would remove a live one."""
    if view.traits.revoke is not Revoke.REFUSE_REMOVE:
        return []
    retired = (v for v in view.state.versions.values() if v.state is State.RETIRED and v.handle)
    return [v for v in retired if v.refused and not v.removed and not view.state.namesake(v)]


def _watched_until(view: View, version: VersionState) -> float:
    return 0.0 if view.rotation.compromised else (version.retired_at or 0.0) + view.traits.watch_s


def _watch(view: View, refused: Sequence[VersionState]) -> Leave:
    first = min(refused, key=lambda version: _watched_until(view, version))
    text = f"version {first.number} is refused by the vendor, and kept there for a while in case it is missed"
    return Leave(step=Step.TIDY, kind="hold", text=text, until=_watched_until(view, first))


_STEPS: dict[Step, Callable[[View], Action | None]] = {
    Step.MINT: _mint,
    Step.STAGE: _stage,
    Step.BRIDGE: _bridge,
    Step.QUIESCE: quiesce,
    Step.ISSUE: _issue,
    Step.VERIFY: verify,
    Step.PUBLISH: publish,
    Step.RELEASE: release,
    Step.STORE: store,
    Step.ANNOUNCE: _announce,
    Step.HOLD: hold,
    Step.RETIRE: retire,
    Step.PROVE: prove,
    Step.TIDY: _tidy,
}
