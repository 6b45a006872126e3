"""Decisions about hold, retire and prove: the old version dies last, and is proven dead. Pure."""

from __future__ import annotations

from keyturn.engine.decisions.actions import Action, Leave, Record, RetireNow, Stop
from keyturn.engine.decisions.ending import ending
from keyturn.engine.decisions.guards import missing_looks, retire_evidence
from keyturn.engine.decisions.issuing import namesake, retire_failure
from keyturn.engine.decisions.proving import prove_retired
from keyturn.engine.decisions.view import View, or_without, unconfigured
from keyturn.engine.plan import way_back_to
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import VersionState
from keyturn.model import Half, Mode, Verdict
from keyturn.states import Move
from keyturn.steps import Step
from keyturn.windows import in_window, next_open, parse_window


def missing_acks(view: View) -> tuple[str, ...]:
    """Required consumers that have not acknowledged the new version."""
    required = (one.name for one in view.plan.consumers if one.acknowledge)
    return tuple(name for name in required if (view.to.id, name) not in view.state.acks)


def hold(view: View) -> Action | None:
    """Wait for time, acknowledgements and the retire window; no process waits for it."""
    missing = missing_acks(view)
    if view.compromised and missing:
        waived = (
            ev.Acknowledged(version=view.to.id, consumer=name, waived=True, reason="compromised") for name in missing
        )
        return Record(bodies=tuple(waived))
    until = view.hold_ends
    if until is not None and view.now < until:
        return Leave(step=Step.HOLD, kind="hold", text="old and new are both accepted", until=until, missing=missing)
    if missing:
        text = f"no acknowledgement yet from {', '.join(missing)}"
        return Leave(step=Step.HOLD, kind="hold", text=text, until=None, missing=missing)
    window = parse_window(view.plan.retire_window) if view.plan.retire_window else None
    if window and not view.compromised and not in_window(window, view.now):
        return Leave(
            step=Step.HOLD, kind="hold", text="waiting for the retire window", until=next_open(window, view.now)
        )
    return None


def retire(view: View) -> Action | None:
    """Make the vendor refuse every replaced version of ours, one at a time, each with present evidence."""
    gone = unconfigured(view, Step.RETIRE)
    if gone:
        return gone
    for old in view.state.previous:
        if old.refused:
            return Record(bodies=(ev.Moved(version=old.id, move=Move.RETIRE.value),))
        return _retire_one(view, old)
    return None


def _retire_one(view: View, old: VersionState) -> Action:
    if not old.handle:
        return Stop(
            step=Step.RETIRE,
            code="no-handle",
            reason=f"version {old.number} was adopted without its name at the vendor, so it can not be retired",
            next=f"remove it at the vendor by hand, then: keyturn rotate {view.name} --force --reason TEXT",
        )
    failed = namesake(view, Step.RETIRE, old) or retire_failure(view, Step.RETIRE, Half.REFUSE, old.id)
    if failed:
        return failed
    look = missing_looks(view)
    if look:
        return look
    evidence = retire_evidence(view, old)
    if evidence.reasons:
        return Stop(
            step=Step.RETIRE,
            code="retire-refused-by-guard",
            reason="; ".join(evidence.reasons),
            next=_guard_next(view, evidence.reasons),
        )
    if evidence.unknown:
        looks = {e: view.looks.verdict(view.to.id, e, since=view.fresh_since) for e in view.endpoints}
        silent = [e for e, verdict in looks.items() if verdict is Verdict.UNKNOWN]
        text = f"{'; '.join(evidence.unknown)}{or_without(view, silent)}"
        return Leave(step=Step.RETIRE, kind="retry", text=text)
    return RetireNow(step=Step.RETIRE, version=old.id, half=Half.REFUSE)


def _guard_next(view: View, reasons: tuple[str, ...]) -> str:
    if any(look.ahead for look in view.looks.sinks.values()):
        return f"point journal: at the newest copy, then: keyturn resume {view.name}"
    if any(" serves " in reason for reason in reasons):
        return f"keyturn repair {view.name}"
    again = f"make version {view.to.number} accepted everywhere again, then: keyturn resume {view.name}"
    older = view.state.fallback if view.rotation.mode is not Mode.ROLLBACK else None
    return f"{way_back_to(view.state, older)}; or {again}" if older else again


def prove(view: View) -> Action | None:
    """See the end of what nobody retires; show of what was retired that it is refused while the new one is accepted."""
    return ending(view) or (None if view.traits.own_expiry else prove_retired(view))
