"""Decisions about verify and publish: new accepted at the endpoints, and served by every sink. Pure."""

from __future__ import annotations

from keyturn.engine.decisions.actions import Action, Leave, LookAtSinks, LookAtVendor, Pause, Record, Stop
from keyturn.engine.decisions.looks import SinkLook
from keyturn.engine.decisions.partial import enough, in_place, synchronise
from keyturn.engine.decisions.view import (
    View,
    effects,
    evidence,
    filled,
    or_without,
    probe,
    serves,
    unconfigured,
    way_back,
)
from keyturn.engine.plan import somebody_elses
from keyturn.engine.record import events as ev
from keyturn.engine.record.frozen import FrozenSink
from keyturn.model import Verdict
from keyturn.states import Move, State
from keyturn.steps import Step


def verify(view: View) -> Action | None:
    """Poll every endpoint until it accepts the new version, within the vendor's activation delay."""
    if view.looks.vendor is None:
        return LookAtVendor()
    gone = unconfigured(view, Step.VERIFY)
    if gone:
        return gone
    waiting = [endpoint for endpoint in view.endpoints if endpoint not in view.to.accepted]
    if not waiting or (enough(view) if in_place(view) else _partly_is_enough(view, waiting)):
        return None
    seen = _newly_seen(view, waiting)
    return Record(bodies=seen) if seen else _ask(view, waiting)


def _ask(view: View, waiting: list[str]) -> Action:
    """Probe, or wait to probe again, as far as the budget goes; each endpoint in every run, and when its time is over.

    Where a value that is not accepted yet is an attempt with a bad one, the longer that lasts the rarer it is asked.
    """
    # Who has had it synchronised and types resume is about to open the gap at that endpoint.
    code = view.rotation.stuck.code if view.rotation.stuck else ""
    told = code == "new-refused" or (code == "not-synchronised" and view.scheduled)
    began = max(view.rotation.issued_at or view.rotation.started_at, view.looks.began_at)
    at_most = began if told else began + view.traits.activation_s
    asked = [view.looks.probes[view.to.id, e].at for e in waiting if (view.to.id, e) in view.looks.probes]
    gone_by_s = max(asked, default=began) - began if view.traits.probe_every_s else 0.0
    every_s = max(view.limits.poll_s, view.traits.probe_every_s, gone_by_s)
    if in_place(view):
        return synchronise(view, waiting, at_most=at_most, every_s=every_s)
    since = at_most if view.now >= at_most else view.now - every_s
    look = probe(view, [(view.to.id, e) for e in waiting], since=since)
    spent = any(view.looks.probe_counts.get((view.to.id, e), 0) >= view.traits.probes_max for e in waiting)
    if look and not spent:
        return look
    if view.now < at_most and not spent:
        return Pause(
            step=Step.VERIFY,
            until=min(view.now + view.limits.poll_s, at_most),
            at_most=at_most,
            text=f"waiting for {', '.join(waiting)} to accept version {view.to.number}",
        )
    return _not_accepted(view, waiting, over=view.now >= at_most)


def _newly_seen(view: View, waiting: list[str]) -> tuple[ev.Body, ...]:
    """What a probe from before this rotation's first event has shown already: preflight asks an existing version."""
    fresh = {e: view.looks.probes.get((view.to.id, e)) for e in waiting}
    return tuple(
        ev.Accepted(version=view.to.id, endpoint=e, evidence=look.evidence)
        for e, look in fresh.items()
        if look and look.verdict is Verdict.ACCEPTED and look.at >= view.now - view.limits.poll_s
    )


def _partly_is_enough(view: View, waiting: list[str]) -> bool:
    """Where the answer was the commit: new accepted and old refused at one endpoint; the others are verify debts."""
    if view.traits.coexist or view.rotation.previous is None:
        return False
    accepting = [endpoint for endpoint in view.endpoints if endpoint not in waiting]
    old = view.rotation.previous
    return any(view.looks.verdict(old, endpoint, since=0.0) is Verdict.REFUSED for endpoint in accepting)


def _not_accepted(view: View, waiting: list[str], *, over: bool) -> Action:
    refusing = [e for e in waiting if view.looks.verdict(view.to.id, e, since=0.0) is Verdict.REFUSED]
    accepting = [endpoint for endpoint in view.endpoints if endpoint in view.to.accepted]
    if not view.traits.coexist and accepting and view.rotation.previous:
        look = probe(view, [(view.rotation.previous, e) for e in accepting], since=view.looks.began_at)
        if look:
            return look
    unpublished = view.rotation.published_at is None
    if refusing and view.traits.coexist and unpublished:
        return _turn_back(view, refusing)
    replaced = over and view.traits.dies_by_issue and refusing == list(view.endpoints)
    if refusing and (unpublished or replaced):
        way = f"keyturn resume {view.name}" if unpublished else somebody_elses(view.name, view.traits)
        return Stop(
            step=Step.VERIFY,
            code="new-refused",
            reason=f"the vendor answered issue, but version {view.to.number} is refused at {', '.join(refusing)}",
            next=way_back(view, way),
        )
    text = f"{evidence(view, view.to, waiting)}: version {view.to.number} is not known to be accepted"
    text += or_without(view, waiting) if view.traits.coexist else ""
    return Leave(step=Step.VERIFY, kind="retry", text=text)


def _turn_back(view: View, refusing: list[str]) -> Record:
    reason = f"version {view.to.number} is refused at {', '.join(refusing)}"
    return Record(bodies=(ev.Undoing(code="new-refused", reason=reason),))


def _accepted_now(view: View) -> Action | None:
    """What `verify` saw may be of an earlier run: unless the answer was the commit it is looked at again."""
    if not view.traits.coexist:
        return _in_force_now(view) if in_place(view) else None
    look = probe(view, [(view.to.id, e) for e in view.endpoints], since=view.fresh_since)
    if look:
        return look
    verdicts = {e: view.looks.verdict(view.to.id, e, since=view.fresh_since) for e in view.endpoints}
    refusing = [e for e, verdict in verdicts.items() if verdict is Verdict.REFUSED]
    if refusing:
        return _turn_back(view, refusing)
    silent = [e for e, verdict in verdicts.items() if verdict is not Verdict.ACCEPTED]
    text = f"{', '.join(silent)} did not say that version {view.to.number} is still accepted"
    return Leave(step=Step.PUBLISH, kind="retry", text=text) if silent else None


def _in_force_now(view: View) -> Action | None:
    """In place one endpoint shows that nobody has replaced it since: what is dead is never published."""
    seen = (view.looks.verdict(view.to.id, endpoint, since=view.fresh_since) for endpoint in view.endpoints)
    return None if Verdict.ACCEPTED in seen else _ask(view, list(view.endpoints))


def _incomplete(view: View) -> Stop | None:
    """Stuck, where the vendor left out a field that a place needs: nothing would be served there."""
    left_out = [sink.key for sink in view.plan.sinks if not sink.artefact and sink not in filled(view)]
    if not left_out:
        return None
    return Stop(
        step=Step.PUBLISH,
        code="value-incomplete",
        reason=f"version {view.to.number} lacks a field that {left_out[0]} stores",
        next=f"keyturn abandon {view.name} --reason TEXT",
    )


def publish(view: View) -> Action | None:
    """Promote in every sink in parallel. A first promote sent counts as published."""
    gone = unconfigured(view, Step.PUBLISH) or _incomplete(view)
    if gone:
        return gone
    sinks = [s for s in filled(view) if not s.artefact and not view.rotation.finished("promote", s.key)]
    action = _promote(view, Step.PUBLISH, sinks) if sinks else None
    if action:
        return action
    return None if view.to.state is State.CURRENT else Record(bodies=_published(view))


def store(view: View) -> Action | None:
    """Put the artefacts where they are kept, each in sinks of its own; then wait for whoever has those that we lack."""
    sinks = [s for s in filled(view) if s.artefact and not view.rotation.finished("promote", s.key)]
    action = unconfigured(view, Step.STORE) or (_promote(view, Step.STORE, sinks) if sinks else None)
    return action or _not_handed_in(view)


def _not_handed_in(view: View) -> Leave | None:
    """Where a person set the secret at the vendor he has what came out of it; else nobody has, and it is a debt."""
    by_hand = any(a.outcome == "waiting" for a in view.rotation.attempts if a.version == view.to.id)
    until = (view.rotation.published_at or view.now) + view.traits.patience_s
    if not view.to.lacks or not by_hand or not view.rotation.open or view.now >= until:
        return None
    what = " and ".join(view.to.lacks)
    return Leave(
        step=Step.STORE,
        kind="person",
        text=f"version {view.to.number} is in force, and its {what} has not been handed in: it is what the vendor gave "
        f"out when the version was set, and the one of the version before is void (nobody has it: keyturn rotate "
        f"{view.name} makes another)",
        until=until,
        wants=view.to.lacks,
    )


def _promote(view: View, step: Step, sinks: list[FrozenSink]) -> Action | None:
    seen = [key for key, look in view.looks.sinks.items() if look.at >= view.fresh_since]
    stale = tuple(s.key for s in sinks if s.key not in seen)
    if stale:
        return LookAtSinks(keys=stale)
    ready = [s for s in sinks if promotable(view, s, view.looks.sinks[s.key]) is None]
    if not ready:
        sink = sinks[0]
        why = promotable(view, sink, view.looks.sinks[sink.key]) or ""
        if view.looks.sinks[sink.key].error:
            return Leave(step=step, kind="retry", text=f"{sink.key}: {why}")
        return _unwritable(view, step, sink, why)
    if view.to.state is not State.CURRENT:
        return _accepted_now(view) or Record(bodies=_published(view))
    return effects(view, step, "promote", [s.key for s in ready])


def _unwritable(view: View, step: Step, sink: FrozenSink, why: str) -> Stop:
    found, ahead = view.looks.sinks[sink.key].found, view.looks.sinks[sink.key].ahead
    problem = next((one for one in found.problems if one.fatal), None) if found else None
    if problem:
        return Stop(
            step=step,
            code=problem.code,
            reason=f"{sink.key}: {problem.text}",
            next=f"{problem.hint or 'clear that up'}; then: keyturn resume {view.name}",
        )
    first = (
        "point journal: at the newest copy" if ahead else f"put version {view.to.number} or its predecessor back there"
    )
    return Stop(
        step=step,
        code="journal-behind" if ahead else "sink-foreign",
        reason=f"{sink.key} {why}",
        next=f"{first}, then: keyturn resume {view.name}",
    )


def _published(view: View) -> tuple[ev.Body, ...]:
    """The two moves that make the new version current."""
    current = view.state.current
    publish_new = ev.Moved(version=view.to.id, move=Move.PUBLISH.value)
    return (ev.Moved(version=current.id, move=Move.REPLACE.value), publish_new) if current else (publish_new,)


def promotable(view: View, sink: FrozenSink, look: SinkLook) -> str | None:
    """Why this place may not be written now. None: it serves an older one of ours, or nothing, or the new one."""
    if look.error or look.found is None:
        return f"can not be read: {look.error}"
    fatal = [problem.text for problem in look.found.problems if problem.fatal]
    if fatal:
        return fatal[0]
    if look.foreign:
        return "is written by another journal"
    if look.ahead:
        return "was written by this journal later than all that it knows: it is an older copy"
    if look.found.current is None or serves(view, sink, look):
        return None
    return "serves a value that Keyturn did not write"
