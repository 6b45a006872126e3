"""Decisions about consumers in a cut-over: told to drain before the old version dies, and to go on after it. Pure.

Whoever is told to drain goes on by himself at the time that he was given, whatever becomes of us. So nothing that ends
the old version is sent unless enough of that time is left; else everybody is told again first.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.engine.decisions.actions import Action, Effects, Leave, Record
from keyturn.engine.decisions.issuing import attempts_in_doubt, before_issue
from keyturn.engine.decisions.view import View, effects, known_effects, unconfigured
from keyturn.engine.limits import Limits
from keyturn.engine.record import events as ev
from keyturn.engine.record.frozen import FrozenConsumer
from keyturn.model import Mode, Traits
from keyturn.steps import Step


def quiesce(view: View) -> Action | None:
    """Tell consumers to drain, unless issue may have been carried out already: then its truth is looked for first."""
    return None if view.to.issued or attempts_in_doubt(view) else before_issue(view) or drain(view)


def drain(view: View) -> Action | None:
    """Have every consumer drained for as long as the cut-over may take. Asked just before issue too.

    One that must, and can not be told, turns the rotation back; any other is recorded, and it goes on without.
    """
    if Step.QUIESCE not in view.plan.steps:
        return None
    lacking = [one for one in view.plan.consumers if one.quiesce and not _drained(view, one)]
    known = [one for one in lacking if one.name in view.configured]
    action = _ask(view, [one.name for one in known if not _left_out(view, one)])
    if isinstance(action, Leave):
        action = _turned_back(view, [one.name for one in known if _must_drain(view, one)])
    return action or (unconfigured(view, Step.QUIESCE) if len(known) < len(lacking) else None)


def _ask(view: View, names: Sequence[str]) -> Action | None:
    told_before = tuple(name for name in names if view.rotation.finished("quiesce", name))
    if told_before:
        return Effects(step=Step.QUIESCE, verb="quiesce", targets=told_before)
    return effects(view, Step.QUIESCE, "quiesce", names)


def _turned_back(view: View, required: Sequence[str]) -> Action | None:
    if not required:
        return None
    name = required[0]
    hint = f"see to {name}, or let it be left out (drain: best-effort)"
    reason = f"{name} was not told to drain: {view.rotation.undrained.get(name, 'no answer')}"
    return Record(bodies=(ev.Undoing(code="quiesce-failed", reason=reason, hint=hint),))


def _must_drain(view: View, consumer: FrozenConsumer) -> bool:
    """Where the old version may be dead already nobody is waited for: going on with it would only meet errors."""
    return consumer.must_drain and view.rotation.mode is not Mode.BREAK_GLASS and not view.rotation.forward_only


def _left_out(view: View, consumer: FrozenConsumer) -> bool:
    """Whether the step was completed without this one: then nobody asks it again."""
    not_told = consumer.name in view.rotation.undrained and not view.rotation.finished("quiesce", consumer.name)
    return not_told and Step.QUIESCE in view.rotation.done and not _must_drain(view, consumer)


def _drained(view: View, consumer: FrozenConsumer) -> bool:
    """Whether it holds back, and will for as long as the cut-over may take."""
    until = view.rotation.drained_until.get(consumer.name, 0.0)
    return view.rotation.finished("quiesce", consumer.name) and until >= view.now + _needed_s(view.limits, view.traits)


def _needed_s(limits: Limits, traits: Traits) -> float:
    """How much of a drain must be left when issue is sent: a person who attends, the call, and a margin."""
    return (limits.attend_s if traits.attended else 0.0) + limits.call_s + limits.margin_s


def drain_until(limits: Limits, traits: Traits, now: float, telling_s: float) -> float:
    """When a consumer that is told now goes on by itself (epoch s). `telling_s`: how long telling all of them may take.

    It covers looking for the truth of a lost answer too, and is always enough for issue to be sent.
    """
    needed_s = _needed_s(limits, traits) + traits.settle_s + limits.margin_s
    return now + telling_s + max(limits.drain_s, needed_s)


def release(view: View) -> Action | None:
    """Tell consumers to go on: all of them, whatever was heard of their draining."""
    return known_effects(view, Step.RELEASE, "release", [one.name for one in view.plan.consumers if one.release])


def held_back(view: View) -> tuple[str, ...]:
    """Those who may be drained and can be told to go on; who did not hear of that in this run hears it in the next."""
    known = [one.name for one in view.plan.consumers if one.release and one.name in view.configured]
    return tuple(name for name in known if name in view.rotation.drained and not _deaf(view, name))


def _deaf(view: View, name: str) -> bool:
    return any((verb, name) in view.looks.failures for verb in ("release", "release-early"))
