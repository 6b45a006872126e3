"""The summary row of a secret: what status and the due scan need, without reading history. Pure."""

from __future__ import annotations

from typing import Any

from keyturn.engine.record.events import NOT_APPROVED, WaitingFor
from keyturn.engine.record.receipt import debts, has_debts
from keyturn.engine.record.state import RotationState, SecretState, VersionState
from keyturn.journal.store import Summary
from keyturn.states import State
from keyturn.steps import Step


def summarise(state: SecretState) -> Summary:
    """The row as stored with the latest events. `next_at`: when a run has work here, None where it has none."""
    rotation = state.rotation
    owed = debts(state)
    return Summary(
        secret=state.secret,
        status=_status(state, owed=bool(owed)),
        next_at=_next_at(state, owed=has_debts(state)),
        state={
            "versions": [
                _version(v, ended=_ended_by_issue(state, v))
                for v in state.versions.values()
                if v.state is not State.RETIRED
            ],
            "rotation": _rotation(rotation, _waited_for(state)) if rotation else None,
            "debts": [{"kind": d.kind, "number": d.number, "where": d.where} for d in owed],
            "acks": sorted(name for version, name in state.acks if state.current and version == state.current.id),
            "paused_until": state.paused_until,
            "rotated_at": _rotated_at(state),
            "checked_at": state.checked_at,
            "problems": [*(dict(problem) for problem in state.problems), *_not_approved(state)],
            "at": state.at,
        },
    )


def _waited_for(state: SecretState) -> WaitingFor | None:
    """What the rotation waits for: nothing any more where it has ended, and owes nothing that a run tries again."""
    rotation = state.rotation
    return rotation.waiting if rotation and (rotation.open or has_debts(state)) else None


def _status(state: SecretState, *, owed: bool) -> str:
    rotation = state.rotation
    if rotation and (rotation.open or owed):
        if rotation.stuck:
            return "stuck"
        if waiting := _waited_for(state):
            return {"hold": "holding", "retry": "unfinished"}.get(waiting.kind, "waiting")
        return "rotating" if rotation.open else "debts"
    if owed:
        return "debts"
    return "current" if state.current else "unmanaged"


def _next_at(state: SecretState, *, owed: bool) -> float | None:
    rotation = state.rotation
    if not (owed or (rotation and rotation.open)):
        return None
    if rotation and rotation.waiting and rotation.waiting.until and not (state.unserved or state.untold):
        return rotation.waiting.again or rotation.waiting.until
    return state.at


def _not_approved(state: SecretState) -> list[dict[str, Any]]:
    """The latest rotation was not approved at the vendor, and all is as before it: a problem until a person goes on."""
    rotation, current = state.rotation, state.current
    undoing = rotation.undoing if rotation and rotation.ended and rotation.ended.outcome == "undone" else None
    if rotation is None or undoing is None or undoing.code != NOT_APPROVED:
        return []
    if rotation.previous != (current.id if current else None):
        return []
    return [
        {
            "code": NOT_APPROVED,
            "text": f"not rotated, and not asked for again by itself: {undoing.reason}",
            "hint": f"{undoing.hint}; then: keyturn rotate {state.secret}",
            "fatal": True,
            "again_s": 0.0,
            "since": rotation.ended_at,
        }
    ]


def _rotated_at(state: SecretState) -> float | None:
    """When the current version came in place of another, by us or by whoever made what was adopted then.

    What is derived from it has to follow. None where the first one was adopted: nothing has changed by that.
    """
    current = state.current
    if current is None:
        return None
    first = current.adopted and not any(v.published and v.number < current.number for v in state.versions.values())
    return None if first else current.current_since


def _ended_by_issue(state: SecretState, version: VersionState) -> bool:
    """Whether the vendor ended it when the next one was issued, at once and by contract."""
    traits = state.rotation.frozen.traits if state.rotation else None
    at_once = traits is not None and traits.dies_by_issue and not max(traits.grace_s or 0.0, traits.grace_max_s)
    return at_once and version.published and version.state is State.PREVIOUS


def _version(version: VersionState, *, ended: bool) -> dict[str, Any]:
    return {
        "id": version.id,
        "number": version.number,
        "state": version.state.value,
        "slot": version.slot,
        "handle": version.handle,
        "issued_at": version.issued_at,
        "expires_at": version.expires_at,
        "since": version.current_since,
        "accepted": sorted(version.accepted),
        "refused": version.refused or ended,
        "lacks": list(version.lacks),
        "observed": _observed(version) if version.state is State.PREVIOUS else [],
    }


def _observed(version: VersionState) -> list[dict[str, Any]]:
    """Where a replaced version was last seen alive."""
    return [
        {"endpoint": endpoint, "verdict": proof.verdict, "why": proof.why, "at": proof.at, "until": proof.until}
        for endpoint, proof in sorted(version.proofs.items())
        if not proof.closed
    ]


def _rotation(rotation: RotationState, waiting: WaitingFor | None) -> dict[str, Any]:
    stuck, end = rotation.stuck, rotation.ended
    return {
        "id": rotation.id,
        "mode": rotation.mode.value,
        "overlap": rotation.frozen.overlap,
        "started_at": rotation.started_at,
        "published_at": rotation.published_at,
        "hold_until": rotation.hold_ends,
        "hold_max_s": rotation.frozen.hold_max_s,
        "open": rotation.open,
        "gap_since": _gap_since(rotation),
        "look_again_at": _look_again_at(rotation),
        "compromised": rotation.compromised,
        "undoing": rotation.undoing is not None,
        "to": rotation.to,
        "waiting": waiting
        and {
            "step": waiting.step,
            "kind": waiting.kind,
            "text": waiting.text,
            "until": waiting.until,
            "missing": list(waiting.missing),
            "wants": list(waiting.wants),
        },
        "stuck": stuck and {"code": stuck.code, "reason": stuck.reason, "next": stuck.next},
        "required": [one.name for one in rotation.plan.consumers if one.acknowledge],
        "sinks": _places(rotation),
        "failed": dict(rotation.failed),
        "undrained": dict(rotation.undrained),
        "ended": end
        and {
            "outcome": end.outcome,
            "issued": end.issued,
            "published": end.published,
            "retired": end.retired,
            "old_refused": end.old_refused,
            "outage_ms": end.outage_ms,
            "outages_ms": dict(end.outages_ms),
            "outstanding": list(end.outstanding),
            "accepted_ms": end.accepted_ms,
            "drained_ms": end.drained_ms,
            "undrained": dict(end.undrained),
            "reason": end.reason,
        },
    }


LATE_S = 600.0
"""When it is looked whether a call of a rotation that was undone took effect after all; seconds from its end."""


def _gap_since(rotation: RotationState) -> float | None:
    """Since when consumers may have nothing valid: from an issue that ends the old version to the last promote.

    An endpoint that has not heard of it by then is a debt: no run of ours can close its gap.
    """
    between = rotation.open and rotation.frozen.traits.dies_by_issue and Step.PUBLISH not in rotation.done
    return rotation.issue_sent_at if between else None


def _look_again_at(rotation: RotationState) -> float | None:
    sent = any(attempt.outcome != "not_sent" for attempt in rotation.attempts)
    undone = rotation.ended is not None and rotation.ended.outcome == "undone"
    late = undone and sent and rotation.frozen.traits.dies_by_issue
    return rotation.ended_at + LATE_S if late and rotation.ended_at is not None else None


def _places(rotation: RotationState) -> dict[str, bool]:
    """Whether each place was published to: those of the plan, and those that were repaired since."""
    served = {target for verb, target, version in rotation.calls if verb == "promote" and version == rotation.to}
    return {sink.key: False for sink in rotation.plan.sinks} | dict.fromkeys(sorted(served), True)
