"""Folding the journal's events into the state of a secret: one small function per event type. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from keyturn.engine.record import events as ev
from keyturn.engine.record.frozen import frozen_from
from keyturn.engine.record.state import (
    DONE,
    ENDING,
    ISSUING,
    AttemptState,
    Proof,
    RotationState,
    SecretState,
    VersionState,
)
from keyturn.journal.store import Event
from keyturn.model import Mode, Settled
from keyturn.states import Move, State, moved
from keyturn.steps import Step


def fold(secret: str, history: Iterable[Event], start: SecretState | None = None) -> SecretState:
    """The state after these events, from the beginning or from `start`."""
    state, last = start or SecretState(secret=secret), None
    for last in history:
        body = ev.body(last)
        apply = _APPLY.get(type(body))
        state = apply(state, body, last) if apply else state
    return replace(state, seq=last.seq, at=last.at) if last else state


def _version(state: SecretState, id_: str, /, **changes: object) -> SecretState:
    versions = {**state.versions, id_: replace(state.versions[id_], **changes)}  # type: ignore[arg-type]
    return replace(state, versions=versions)


def _rotation(state: SecretState, /, **changes: object) -> SecretState:
    if state.rotation is None:
        return state
    return replace(state, rotation=replace(state.rotation, **changes))  # type: ignore[arg-type]


def _new_version(state: SecretState, version: VersionState) -> SecretState:
    return replace(state, versions={**state.versions, version.id: version})


def _adopted(state: SecretState, body: ev.Adopted, event: Event) -> SecretState:
    version = VersionState(
        id=body.version,
        number=body.number,
        state=State.CURRENT,
        made_at=event.at,
        slot=body.slot,
        handle=body.handle,
        fingerprints=body.fingerprints,
        artefacts=tuple(body.artefacts),
        expires_at=body.expires_at,
        adopted=True,
        issued=True,
        published=True,
        current_since=event.at,
    )
    state = _checked(_new_version(state, version), ev.Checked(), event)
    return replace(state, unserved=frozenset(body.sinks), untold=frozenset(body.tell))


def _checked(state: SecretState, body: ev.Checked, event: Event) -> SecretState:
    since = {one["code"]: one.get("since", event.at) for one in (*state.problems_before, *state.problems)}
    problems = tuple({**one, "since": since.get(one["code"], event.at)} for one in body.problems)
    state = replace(state, checked_at=event.at, problems=problems)
    if body.expires_at is None or state.current is None:
        return state
    return _version(state, state.current.id, expires_at=body.expires_at)


def _started(state: SecretState, body: ev.Started, event: Event) -> SecretState:
    frozen = frozen_from(body.frozen)
    if body.version not in state.versions:
        pending = VersionState(
            id=body.version,
            number=body.number,
            state=State.PENDING,
            made_at=event.at,
            slot=body.slot,
            artefacts=frozen.traits.wanted,
        )
        state = _new_version(state, pending)
    else:
        # What was seen of it when it was current says nothing of now.
        state = _version(state, body.version, accepted={})
    rotation = RotationState(
        id=event.rotation_id or "",
        mode=Mode(body.mode),
        started_at=event.at,
        to=body.version,
        previous=body.previous,
        frozen=frozen,
        digest=body.digest,
        operator=event.operator,
        reason=body.reason,
        request=body.request,
        compromised=body.compromised,
        knowing=body.knowing,
        done=frozenset({Step.PREFLIGHT}),
    )
    requests = {**state.requests, body.request: rotation.id} if body.request else state.requests
    # Going back to a version: who acknowledged it once has moved on since.
    acks = frozenset(ack for ack in state.acks if ack[0] != body.version)
    tried = state.problems or state.problems_before
    state = replace(_checked(state, ev.Checked(), event), problems_before=tried)  # it passed its preflight
    return replace(state, rotation=rotation, requests=requests, acks=acks)


def _minted(state: SecretState, body: ev.Minted, event: Event) -> SecretState:
    return _version(state, body.version, fingerprints=body.fingerprints)


def _sent(state: SecretState, body: ev.Sent, event: Event) -> SecretState:
    rotation = state.rotation
    if rotation is None:
        return state
    if body.verb in ISSUING:
        attempt = AttemptState(
            id=body.attempt,
            version=body.version,
            sent_at=event.at,
            deadline_at=body.deadline_at,
            witness=body.witness,
            supplied=body.supplied,
        )
        # What a person is shown ends nothing by being shown; what was seen last says when the gap began (`_settled`).
        first = rotation.issue_sent_at or (None if rotation.by_person else event.at)
        state = _version(state, body.version, sent=True)
        attempts = (*rotation.attempts, attempt)
        return _rotation(state, attempts=attempts, issue_sent_at=first, waiting=None, stuck=None)
    if body.verb in ENDING:
        version = state.versions[body.version]
        ends = {**version.ends, body.attempt: body.deadline_at}
        state = _version(state, version.id, refuse_sent=version.refuse_sent or body.verb == "refuse", ends=ends)
    sent = rotation.sent | {(body.verb, body.target, body.version)}
    return _quiesce_sent(_rotation(state, sent=sent), rotation, body, event.at)


def _quiesce_sent(state: SecretState, rotation: RotationState, body: ev.Sent, at: float) -> SecretState:
    """Told once more, a consumer counts as told only when it has heard that too: it may go by the first deadline."""
    if body.verb != "quiesce":
        return state
    until = float(body.witness.get("until", at))
    return _rotation(
        state,
        calls=rotation.calls - {("quiesce", body.target, body.version)},
        drained={**rotation.drained, body.target: at},
        drained_until={**rotation.drained_until, body.target: until},
        drain_at=at if rotation.drain_at is None else rotation.drain_at,
    )


def _answered(state: SecretState, body: ev.Answered, event: Event) -> SecretState:
    rotation = state.rotation
    if rotation is None:
        return state
    if body.verb in ISSUING:
        return _issue_answered(state, rotation, body, event)
    if body.verb in ENDING and body.outcome != "doubt":
        ends = state.versions[body.version].ends
        left = {attempt: until for attempt, until in ends.items() if attempt != body.attempt}
        state = _version(state, body.version, ends=left)
    if body.outcome not in DONE:
        return _rotation(
            state, calls=rotation.calls - {(body.verb, body.target, body.version)}, **_not_done(state, body)
        )
    if body.verb == "renew":
        return _rotation(state, bridged={**rotation.bridged, body.target: event.at})
    if body.verb == "refuse":
        state = _version(state, body.version, refused=True, retired_at=event.at)
    if body.verb == "remove":
        state = _version(state, body.version, refused=True, removed=True)
    calls = rotation.calls | {(body.verb, body.target, body.version)}
    changes: dict[str, object] = {"stuck": None, "calls": calls}
    if body.verb == "promote" and body.step == Step.PUBLISH:
        changes["promoted_at"] = event.at  # artefacts are stored when consumers go on already
    if body.verb == "quiesce":
        changes["undrained"] = _without(rotation.undrained, body.target)
    state = _rotation(state, **changes)
    return _released(state, body, event.at) if body.verb in ("release", "release-early") else state


def _not_done(state: SecretState, body: ev.Answered) -> dict[str, object]:
    """Why a place does not serve the new version, or a consumer was not told to drain."""
    kept = {"promote": "failed", "quiesce": "undrained"}.get(body.verb)
    known: Mapping[str, str] = getattr(state.rotation, kept) if kept else {}
    why = body.why.removeprefix(f"consumer {body.target}: ")
    return {kept: {**known, body.target: why}} if kept else {}


def _without(known: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in known.items() if key != name}


def _released(state: SecretState, body: ev.Answered, at: float) -> SecretState:
    """It goes on. Early and before issue, all that led there is to be done again; after issue there is no need."""
    rotation = state.rotation
    if rotation is None:
        return state
    drained = {name: since for name, since in rotation.drained.items() if name != body.target}
    changes: dict[str, object] = {"drained": drained, "released_at": at}
    if body.verb == "release-early":
        changes["calls"] = rotation.calls - {
            (body.verb, body.target, body.version),
            ("quiesce", body.target, body.version),
        }
    if body.verb == "release-early" and rotation.issue_sent_at is None and rotation.published_at is None:
        changes |= {"done": rotation.done - {Step.QUIESCE, Step.BRIDGE}, "undrained": {}, "released_at": None}
        changes["drain_at"] = rotation.drain_at if drained else None
    return _rotation(state, **changes)


def _issue_answered(state: SecretState, rotation: RotationState, body: ev.Answered, event: Event) -> SecretState:
    attempts = tuple(
        replace(a, outcome=body.outcome, why=body.why, hint=body.hint) if a.id == body.attempt else a
        for a in rotation.attempts
    )
    # Whoever was asked to act has not done so yet: what was seen last says when the gap began (`_settled`).
    nothing_left = all(a.outcome in ("not_sent", "waiting") and not a.took_effect for a in attempts)
    state = _rotation(state, attempts=attempts, issue_sent_at=None if nothing_left else rotation.issue_sent_at)
    if body.outcome not in DONE:
        return state
    return _issued(state, body, event.at)


def _issued(state: SecretState, body: ev.Answered | ev.SettledAs, at: float) -> SecretState:
    version = state.versions[body.version]
    attempts = state.rotation.attempts if state.rotation else ()
    state = _version(
        state,
        body.version,
        issued=True,
        issued_at=max((a.sent_at for a in attempts if a.version == version.id), default=at),
        handle=body.handle or version.handle,
        expires_at=body.expires_at or version.expires_at,
        fingerprints={**version.fingerprints, **body.fingerprints},
    )
    return _rotation(state, issued_at=at, waiting=None, stuck=None)


def _settled(state: SecretState, body: ev.SettledAs, event: Event) -> SecretState:
    rotation = state.rotation
    if rotation is None:
        return state
    attempts = tuple(replace(a, settled=body.outcome) if a.version == body.version else a for a in rotation.attempts)
    gap_from = max((at for at in (rotation.issue_sent_at, body.since) if at), default=event.at)
    applied = body.outcome in (Settled.APPLIED, Settled.APPLIED_GONE)
    state = _rotation(
        state, attempts=attempts, stuck=None, issue_sent_at=gap_from if applied else rotation.issue_sent_at
    )
    if body.outcome == Settled.APPLIED:
        return _issued(state, body, event.at)
    if body.outcome == Settled.APPLIED_GONE:
        return _version(state, body.version, gone=True, issued=True, handle=body.handle)
    return _version(state, body.version, handle=body.handle or state.versions[body.version].handle)


def _supplied(state: SecretState, body: ev.Supplied, event: Event) -> SecretState:
    known = state.versions[body.version].fingerprints
    state = _version(state, body.version, fingerprints={**known, **body.fingerprints})
    state = replace(state, unserved=state.unserved | set(body.sinks))
    return _rotation(state, waiting=None)


def _reissuing(state: SecretState, body: ev.Reissuing, event: Event) -> SecretState:
    rotation = state.rotation
    if rotation is None:
        return state
    version = VersionState(
        id=body.version,
        number=body.number,
        state=State.PENDING,
        made_at=event.at,
        slot=body.slot,
        artefacts=rotation.frozen.traits.wanted,
    )
    done = rotation.done - {Step.MINT, Step.STAGE, Step.ISSUE}
    return _rotation(_new_version(state, version), to=body.version, done=done, reissues=rotation.reissues + 1)


def _moved(state: SecretState, body: ev.Moved, event: Event) -> SecretState:
    version, move = state.versions[body.version], Move(body.move)
    changes: dict[str, object] = {"state": moved(version.state, move)}
    if move is Move.PUBLISH:
        changes |= {"published": True, "current_since": event.at}
        # What was owed of an adopted version before is this rotation's to do.
        state = _rotation(replace(state, unserved=frozenset(), untold=frozenset()), published_at=event.at)
        changes["hold_until"] = state.rotation.hold_ends if state.rotation else None
    if move is Move.REPLACE:
        changes |= {"replaced_at": event.at}
    if move is Move.RETIRE:
        changes |= {"retired_at": version.retired_at or event.at}
    return _version(state, body.version, **changes)


def _accepted(state: SecretState, body: ev.Accepted, event: Event) -> SecretState:
    return _version(state, body.version, accepted={body.endpoint: event.at, **state.versions[body.version].accepted})


def _proved(state: SecretState, body: ev.Proved, event: Event) -> SecretState:
    proofs = {
        **state.versions[body.version].proofs,
        body.endpoint: Proof(verdict=body.verdict, why=body.why, at=event.at, until=body.until),
    }
    return _version(state, body.version, proofs=proofs)


def _step_done(state: SecretState, body: ev.StepDone, event: Event) -> SecretState:
    done = state.rotation.done | {Step(body.step)} if state.rotation else frozenset()
    return _rotation(state, done=done, waiting=None, stuck=None)


def _acknowledged(state: SecretState, body: ev.Acknowledged, event: Event) -> SecretState:
    one = frozenset({(body.version, body.consumer)})
    waived = state.waived | one if body.waived else state.waived
    return replace(_awake(state), acks=state.acks | one, waived=waived)


def _repaired(state: SecretState, body: ev.Repaired, event: Event) -> SecretState:
    """A place that was brought up to the version under way counts as published there."""
    calls = state.rotation.calls if state.rotation else frozenset()
    state = replace(state, unserved=state.unserved - {body.target})
    return _rotation(state, calls=calls | {("promote", body.target, body.version)}, stuck=None)


def _hold_changed(state: SecretState, body: ev.HoldChanged, event: Event) -> SecretState:
    state = _rotation(state, hold_until=body.until, waiting=None)
    version = state.under_way
    return _version(state, version.id, hold_until=body.until) if version else state


def _awake(state: SecretState) -> SecretState:
    """A hold that waits may have nothing to wait for any more: the next run looks."""
    rotation = state.rotation
    return (
        _rotation(state, waiting=None) if rotation and rotation.waiting and rotation.waiting.kind == "hold" else state
    )


def _dropped(state: SecretState, body: ev.Dropped, event: Event) -> SecretState:
    dropped = state.rotation.dropped | {body.what} if state.rotation else frozenset()
    state = replace(state, unserved=state.unserved - {body.what})
    return _rotation(state, dropped=dropped, stuck=None)


def _ended(state: SecretState, body: ev.Ended, event: Event) -> SecretState:
    before = () if body.outcome == "done" else state.problems_before
    return replace(_rotation(state, ended=body, ended_at=event.at, waiting=None, stuck=None), problems_before=before)


_APPLY: dict[type[ev.Body], Callable[[SecretState, Any, Event], SecretState]] = {
    ev.Adopted: _adopted,
    ev.Checked: _checked,
    ev.Started: _started,
    ev.Minted: _minted,
    ev.Sent: _sent,
    ev.Answered: _answered,
    ev.SettledAs: _settled,
    ev.Supplied: _supplied,
    ev.Reissuing: _reissuing,
    ev.Moved: _moved,
    ev.Accepted: _accepted,
    ev.Proved: _proved,
    ev.StepDone: _step_done,
    ev.WaitingFor: lambda state, body, event: _rotation(state, waiting=body),
    ev.BecameStuck: lambda state, body, event: _rotation(state, stuck=body, waiting=None),
    ev.Undoing: lambda state, body, event: _rotation(state, undoing=body, stuck=None, waiting=None),
    ev.Forward: lambda state, body, event: _rotation(state, undoing=None, stuck=None, waiting=None),
    ev.Ended: _ended,
    ev.Acknowledged: _acknowledged,
    ev.HoldChanged: _hold_changed,
    ev.Paused: lambda state, body, event: replace(state, paused_until=body.until),
    ev.Dropped: _dropped,
    ev.Repaired: _repaired,
    ev.Told: lambda state, body, event: replace(state, untold=state.untold - {body.consumer}),
    ev.Alerted: lambda state, body, event: replace(state, alerts=state.alerts | {body.key}),
}
