"""Turning back, before the point of no return: withdraw new, discard pending, release, and see old accepted. Pure."""

from __future__ import annotations

from keyturn.engine.decisions.actions import Action, Leave, LookAtVendor, Pause, Record, SettleNow, Stop
from keyturn.engine.decisions.issuing import attempts_in_doubt, settle, withdraw
from keyturn.engine.decisions.view import View, heard_of_it, known_effects, or_without, probe, way_back
from keyturn.engine.plan import way_out
from keyturn.engine.record.events import Forward, Moved
from keyturn.engine.record.receipt import ended
from keyturn.engine.record.state import RotationState, VersionState
from keyturn.model import Maker, Mode, Settled, Verdict
from keyturn.states import Move, State
from keyturn.steps import Step


def may_undo(rotation: RotationState, *, issued: bool) -> bool:
    """Whether the point of no return still lies ahead."""
    if rotation.published_at is not None or rotation.forward_only:
        return False
    return rotation.frozen.traits.coexist or not issued


def undo(view: View) -> Action:
    """The next thing to take back; at the end the rotation is undone, with old seen accepted in this run."""
    doubt = attempts_in_doubt(view)
    if doubt and not view.to.issued:
        return settle(view, doubt)
    if view.to.issued and not view.traits.coexist:
        return Record(bodies=(Forward(reason="issue took effect after all, which ended the old version"),))
    return (
        withdraw(view, Step.ISSUE)
        or known_effects(view, Step.RELEASE, "release", _quiesced(view))
        or known_effects(view, Step.STAGE, "discard", _staged(view))
        or _old_is_good(view)
    )


def _staged(view: View) -> list[str]:
    """Places where a stage was asked for, whatever was heard of it."""
    return [sink.key for sink in view.plan.sinks if ("stage", sink.key, view.to.id) in view.rotation.sent]


def _quiesced(view: View) -> list[str]:
    return [
        one.name
        for one in view.plan.consumers
        if one.release and ("quiesce", one.name, view.to.id) in view.rotation.sent
    ]


def _old_is_good(view: View) -> Action:
    current = view.state.current
    dead = view.rotation.mode in (Mode.CURRENT_DEAD, Mode.BREAK_GLASS)
    if current is None or dead or current.id in view.looks.valueless:
        return _end(view)
    if view.looks.vendor is None:
        return LookAtVendor()
    look = probe(view, [(current.id, e) for e in heard_of_it(view)], since=view.fresh_since)
    return look or _judged(view, current)


def _judged(view: View, current: VersionState) -> Action:
    verdicts = {e: view.looks.verdict(current.id, e, since=view.fresh_since) for e in heard_of_it(view)}
    refusing = [e for e, verdict in verdicts.items() if verdict is Verdict.REFUSED]
    silent = [e for e, verdict in verdicts.items() if verdict is not Verdict.ACCEPTED]
    if refusing and view.traits.own_expiry:
        return _end(view)  # it expired, and the next rotation is what helps
    late = _late_commit(view, current) if refusing else None
    if late:
        return late
    if refusing:
        return Stop(
            step=Step.VERIFY,
            code="old-refused",
            reason=f"the rotation was undone, but version {current.number} is refused at {', '.join(refusing)}",
            next=way_back(view, way_out(view.name, view.traits)),
        )
    if not silent:
        return _end(view)
    at_most = view.looks.began_at + view.traits.activation_s
    if view.now < at_most:
        until = view.now + view.limits.poll_s
        return Pause(step=Step.VERIFY, until=until, at_most=at_most, text=f"waiting for {', '.join(silent)} to answer")
    text = f"{', '.join(silent)} did not say that the old version is accepted{or_without(view, silent)}"
    return Leave(step=Step.VERIFY, kind="retry", text=text)


def _late_commit(view: View, current: VersionState) -> Action | None:
    """Old is refused: an issue of the new version that seemed not to be applied, or its pair, may have been so since.

    Where settle finds that it was, the rotation goes forward.
    """
    asks = view.to.sent and not view.to.issued and not view.traits.coexist
    if not asks or view.traits.made_by(Maker.VENDOR):
        return None  # what the vendor shows where it makes the value may be somebody else's
    look, seen = view.looks.settle, [view.looks.probes[current.id, endpoint].at for endpoint in heard_of_it(view)]
    if look is None or look.at < max(seen):
        return SettleNow(final=True)
    if look.outcome is not Settled.UNKNOWN:
        return None
    text = f"the old version is refused, and the vendor does not show whether the new one is in force: {look.note}"
    return Leave(step=Step.ISSUE, kind="retry", text=text)


def _end(view: View) -> Record:
    reason = view.rotation.undoing.reason if view.rotation.undoing else ""
    end = ended(view.state, "undone", reason)
    pending = view.to.state is State.PENDING
    return Record(bodies=(Moved(version=view.to.id, move=Move.WITHDRAW.value), end) if pending else (end,))
