"""The summary row of a secret: what status and the due scan need, without reading history. Pure."""

from __future__ import annotations

from typing import Any

from keyturn.engine.record.receipt import debts, has_debts
from keyturn.engine.record.state import RotationState, SecretState, VersionState
from keyturn.journal.store import Summary
from keyturn.states import State


def summarise(state: SecretState) -> Summary:
    """The row as stored with the latest events. `next_at`: when a run has work here, None where it has none."""
    rotation = state.rotation
    owed = debts(state)
    return Summary(
        secret=state.secret,
        status=_status(state, owed=bool(owed)),
        next_at=_next_at(state, owed=has_debts(state)),
        state={
            "versions": [_version(v) for v in state.versions.values() if v.state is not State.RETIRED],
            "rotation": _rotation(rotation) if rotation else None,
            "debts": [{"kind": d.kind, "number": d.number, "where": d.where} for d in owed],
            "acks": sorted(name for version, name in state.acks if state.current and version == state.current.id),
            "paused_until": state.paused_until,
            "rotated_at": _rotated_at(state),
            "at": state.at,
        },
    )


def _status(state: SecretState, *, owed: bool) -> str:
    rotation = state.rotation
    if rotation and (rotation.open or owed):
        if rotation.stuck:
            return "stuck"
        if rotation.waiting:
            return {"hold": "holding", "retry": "unfinished"}.get(rotation.waiting.kind, "waiting")
        return "rotating" if rotation.open else "debts"
    return "current" if state.current else "unmanaged"


def _next_at(state: SecretState, *, owed: bool) -> float | None:
    rotation = state.rotation
    if rotation is None or not (rotation.open or owed):
        return None
    if rotation.waiting and rotation.waiting.until:
        return rotation.waiting.until
    return state.at


def _rotated_at(state: SecretState) -> float | None:
    """When the current version was rotated in; None where it was adopted."""
    current = state.current
    return current.current_since if current and not current.adopted else None


def _version(version: VersionState) -> dict[str, Any]:
    return {
        "id": version.id,
        "number": version.number,
        "state": version.state.value,
        "slot": version.slot,
        "handle": version.handle,
        "expires_at": version.expires_at,
        "since": version.current_since,
        "accepted": sorted(version.accepted),
        "refused": version.refused,
    }


def _rotation(rotation: RotationState) -> dict[str, Any]:
    waiting, stuck, end = rotation.waiting, rotation.stuck, rotation.ended
    return {
        "id": rotation.id,
        "mode": rotation.mode.value,
        "overlap": rotation.frozen.overlap,
        "started_at": rotation.started_at,
        "published_at": rotation.published_at,
        "hold_until": rotation.hold_ends,
        "hold_max_s": rotation.frozen.hold_max_s,
        "open": rotation.open,
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
        "ended": end
        and {
            "outcome": end.outcome,
            "issued": end.issued,
            "published": end.published,
            "retired": end.retired,
            "old_refused": end.old_refused,
            "outage_ms": end.outage_ms,
            "reason": end.reason,
        },
    }


def _places(rotation: RotationState) -> dict[str, bool]:
    """Whether each place was published to: those of the plan, and those that were repaired since."""
    served = {target for verb, target, version in rotation.calls if verb == "promote" and version == rotation.to}
    return {sink.key: False for sink in rotation.plan.sinks} | dict.fromkeys(sorted(served), True)
