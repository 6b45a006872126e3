"""What is true at the end of a rotation: the receipt, what remains as debt, and what the escrow must keep. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.engine.record import events as ev
from keyturn.engine.record.state import RotationState, SecretState, VersionState
from keyturn.model import Revoke
from keyturn.states import State
from keyturn.steps import Step


@dataclass(frozen=True, kw_only=True)
class Debt:
    """What remains: publish, announce, release, retire, expire, prove, verify, remove, or a lost artefact."""

    kind: str
    number: int
    where: str = ""


def artefact_next(name: str, field: str) -> str:
    """What to type where an artefact is missing: whoever has it hands it in, else another rotation makes another."""
    return f"keyturn resume {name} --supply {field}=@FILE; where nobody has it: keyturn rotate {name}"


def ended(state: SecretState, outcome: str, reason: str = "") -> ev.Ended:
    """The receipt of the latest rotation."""
    rotation = state.rotation
    if rotation is None:
        return ev.Ended(outcome=outcome, reason=reason)
    to = state.versions[rotation.to]
    olds = _replaced(state, rotation)
    outages = outages_ms(state, rotation, to)
    return ev.Ended(
        outcome=outcome,
        issued=to.issued,
        published=to.published and outcome != "undone",
        retired=bool(olds) and all(old.state is State.RETIRED for old in olds),
        old_refused=_old_refused(olds),
        outage_ms=max(outages.values(), default=rotation.outage_ms),
        outages_ms=outages,
        outstanding=_outstanding(rotation, to) if to.published and outcome != "undone" else (),
        accepted_ms=round(rotation.frozen.outage_s * 1000),
        drained_ms=rotation.drained_ms,
        undrained=dict(rotation.undrained),
        reason=reason,
    )


def outages_ms(state: SecretState, rotation: RotationState, to: VersionState) -> dict[str, int]:
    """How long each endpoint had nothing valid for consumers: until they read what it accepts; empty where that is one.

    Nobody knows when an endpoint ended the old version: since issue at most; and since that of an earlier version
    where it never heard of that one.
    """
    sent, promoted, traits = rotation.issue_sent_at, rotation.promoted_at, rotation.frozen.traits
    if not rotation.outage_ms or sent is None or promoted is None or traits.answer_is_commit:
        return {}
    known = {endpoint: at for endpoint, at in to.accepted.items() if endpoint not in rotation.dropped}
    since = {endpoint: _behind_since(state, rotation, endpoint, sent) for endpoint in known}
    return {e: round((max(promoted, at) - since[e]) * 1000) for e, at in sorted(known.items())}


def _behind_since(state: SecretState, rotation: RotationState, endpoint: str, sent: float) -> float:
    """Since when it may have refused what consumers read (epoch s)."""
    since = sent
    if endpoint not in rotation.frozen.excused:
        return since
    for version in reversed([v for v in state.versions.values() if v.published and v.id != rotation.to]):
        if version.issued_at is None or endpoint in version.accepted:
            return since
        since = version.issued_at
    return since


def unheard(state: SecretState) -> frozenset[str]:
    """Endpoints that have never been seen to accept the current version, though consumers read it: owed, or dropped."""
    rotation, current = state.rotation, state.current
    if rotation is None or current is None or current.adopted or rotation.frozen.traits.coexist:
        return frozenset()
    return frozenset(rotation.frozen.endpoints) - set(current.accepted)


def _outstanding(rotation: RotationState, to: VersionState) -> tuple[str, ...]:
    return tuple(endpoint for endpoint in rotation.plan.endpoints if endpoint not in to.accepted)


def _replaced(state: SecretState, rotation: RotationState) -> list[VersionState]:
    def by_this_one(old: VersionState) -> bool:
        return old.state is State.PREVIOUS or (old.retired_at or 0.0) >= rotation.started_at

    return [v for v in state.versions.values() if v.published and v.id != rotation.to and by_this_one(v)]


def _old_refused(olds: list[VersionState]) -> bool | None:
    verdicts = [proof.verdict for old in olds for proof in old.proofs.values()]
    if any(verdict in ("accepted", "contradicted") for verdict in verdicts):
        return False
    return True if verdicts and all(verdict == "dead" for verdict in verdicts) else None


def debts(state: SecretState) -> tuple[Debt, ...]:
    """What remains after publish, oldest version first; an adopted one may have to be given to places, and told of."""
    rotation, current = state.rotation, state.current
    if current is None or not current.published:
        return ()
    given = [Debt(kind="publish", number=current.number, where=key) for key in sorted(state.unserved)]
    told = [Debt(kind="announce", number=current.number, where=name) for name in sorted(state.untold)]
    lost = [Debt(kind="artefact", number=current.number, where=name) for name in current.lacks]
    return (*given, *told, *(_owed(state, rotation, current) if rotation else ()), *lost)


def _owed(state: SecretState, rotation: RotationState, current: VersionState) -> list[Debt]:
    traits = rotation.frozen.traits
    ends = "expire" if traits.own_expiry else "prove" if traits.revoke is Revoke.NONE else "retire"
    found = [Debt(kind=ends, number=v.number) for v in state.previous]
    for old in state.versions.values():
        if old.state is State.RETIRED and old.published:
            found += [Debt(kind="prove", number=old.number, where=e) for e in _unproven(old, rotation)]
            if old.refused and not old.removed and rotation.frozen.traits.revoke is Revoke.REFUSE_REMOVE:
                found.append(Debt(kind="remove", number=old.number))
    if rotation.to == current.id:
        found += _unfinished(current, rotation)
        found += [Debt(kind="verify", number=current.number, where=e) for e in _outstanding(rotation, current)]
    return found


def _unfinished(current: VersionState, rotation: RotationState) -> list[Debt]:
    """Places that an abandoned rotation left behind, and consumers that it left drained.

    One that is done owes a place an artefact at most, which came later.
    """
    have, done = current.fingerprints, rotation.ended is not None and rotation.ended.outcome == "done"
    stores = Step.STORE in rotation.frozen.steps
    places = [sink for sink in rotation.plan.sinks if (stores if sink.artefact else not done)]
    behind = [sink.key for sink in places if all(name in have for name in sink.fields.values())]
    drained = [one.name for one in rotation.plan.consumers if one.release and one.name in rotation.drained]
    owed = [("publish", "promote", key) for key in behind] + [("release", "release", name) for name in drained]
    return [
        Debt(kind=kind, number=current.number, where=target)
        for kind, verb, target in owed
        if not rotation.finished(verb, target)
    ]


def _unproven(old: VersionState, rotation: RotationState) -> list[str]:
    if Step.PROVE not in rotation.frozen.steps or rotation.frozen.traits.own_expiry:
        return []
    return old.unproven_at(rotation.plan.endpoints)


def has_debts(state: SecretState) -> bool:
    """Whether an ended rotation left work that every run tries again.

    Endpoints that have yet to accept are asked again where old and new do not coexist, by the step that proves.
    """
    frozen = state.rotation.frozen if state.rotation else None
    tried = {"publish", "announce", "release", "retire", "expire", "prove", "remove"}
    if frozen and frozen.traits.dies_by_issue and Step.PROVE in frozen.steps:
        tried.add("verify")
    return any(debt.kind in tried for debt in debts(state))


def sealed_needed(state: SecretState, sealed: Mapping[str, str]) -> frozenset[str]:
    """The version ids whose sealed values must stay, of those in `sealed` (key to version id).

    A value that left the machine, or may be accepted, stays until a later version is proven (is published and every
    version before it was found dead, by contract gone, or recorded as unproven) and lacks no artefact.
    """
    proven = max((v.number for v in state.versions.values() if _proven(state, v)), default=0)
    keep = {v.id for v in state.versions.values() if v.number >= proven or v.live or not _closed(v)}
    return frozenset(id_ for id_ in sealed.values() if id_ in keep or id_ not in state.versions)


def _proven(state: SecretState, version: VersionState) -> bool:
    return version.published and not version.lacks and _all_before_closed(state, version)


def _all_before_closed(state: SecretState, version: VersionState) -> bool:
    return all(_closed(v) for v in state.versions.values() if v.number < version.number)


def _closed(version: VersionState) -> bool:
    if version.state is not State.RETIRED:
        return False
    if not version.published:
        return True
    return bool(version.proofs) and all(proof.closed for proof in version.proofs.values())
