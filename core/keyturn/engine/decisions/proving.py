"""Proof: whether an old version is dead at every endpoint, and what to say where it is not. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keyturn.engine.decisions.actions import (
    WAITS,
    Action,
    Leave,
    LookAtVendor,
    Pause,
    ProbeNow,
    Record,
    Stop,
    most_urgent,
)
from keyturn.engine.decisions.guards import ProofNow, judge_proof, proof_pairs
from keyturn.engine.decisions.looks import DECOY
from keyturn.engine.decisions.partial import asked, in_place, outstanding, synchronised_by, unsynchronised
from keyturn.engine.decisions.view import View, probe, unconfigured, way_back
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import VersionState
from keyturn.model import Revoke, Verdict
from keyturn.states import State
from keyturn.steps import Step


def prove_retired(view: View) -> Action | None:
    """Show at every endpoint that what was retired is refused, while the new version is accepted there.

    What has to wait, at one endpoint or for one version, keeps nothing else from being shown.
    """
    if view.looks.vendor is None:
        return LookAtVendor()
    gone = unconfigured(view, Step.PROVE)
    if gone:
        return gone
    olds = [v for v in view.state.versions.values() if v.state is State.RETIRED and v.published and v.id != view.to.id]
    unproven = {old.id: endpoints for old in olds if (endpoints := old.unproven_at(view.endpoints))}
    for old in olds:
        blind = no_probe_possible(view, old) if old.id in unproven else None
        if blind:
            return Record(bodies=proofs(old, dict.fromkeys(unproven[old.id], blind)))
    look = _questions(view, unproven)
    if look:
        return look
    waits: list[Action] = []
    for old in olds:
        action = _prove_one(view, old, unproven[old.id]) if old.id in unproven else None
        if action and not isinstance(action, WAITS):
            return action
        waits += [action] if action else []
    return most_urgent(waits) or outstanding(view)


def _prove_one(view: View, old: VersionState, endpoints: list[str]) -> Action:
    at_most = max(old.retired_at or 0.0, view.looks.began_at) + view.traits.revocation_s
    now = {e: judged(view, old, e, time_left=view.now < at_most) for e in endpoints}
    decided = {e: proof for e, proof in now.items() if proof.verdict and not same(old, e, proof)}
    if decided:
        return Record(bodies=proofs(old, decided))
    until = max((_patience(view, e, at_most) for e, proof in now.items() if not proof.verdict), default=0.0)
    if view.now < until:
        again = view.now + view.limits.poll_s
        text = f"waiting for version {old.number} to be refused at {', '.join(e for e in now if not now[e].verdict)}"
        return Pause(step=Step.PROVE, until=again, at_most=until, text=text)
    return not_proven(view, old, now)


def _questions(view: View, unproven: Mapping[str, Sequence[str]]) -> ProbeNow | None:
    """What is to be asked now, of all old versions (by id, with their endpoints) together.

    One after the other the answers for the first would be stale once a slow endpoint had answered for the next. While
    endpoints change one by one none waits for one that hangs.
    """
    asked_of = [proof_pairs(view, [view.state.versions[old]], where) for old, where in unproven.items()]
    pairs, every_s = [*dict.fromkeys(pair for some in asked_of for pair in some)], view.limits.poll_s
    if in_place(view) and view.now < synchronised_by(view):
        return asked(view, pairs, every_s)
    return probe(view, pairs, since=view.now - every_s)


def _patience(view: View, endpoint: str, at_most: float) -> float:
    """How long this process waits for an endpoint (epoch s); for one that has yet to hear of the change only once."""
    accepts = view.looks.verdict(view.to.id, endpoint, since=view.fresh_since) is Verdict.ACCEPTED
    return at_most if accepts or not in_place(view) else synchronised_by(view)


def judged(view: View, old: VersionState, endpoint: str, *, time_left: bool) -> ProofNow:
    """What this run's probes at one endpoint show of an old version."""
    seen = {id_: view.looks.verdict(id_, endpoint, since=view.fresh_since) for id_ in (old.id, view.to.id, DECOY)}
    return judge_proof(
        old=seen[old.id],
        new=seen[view.to.id],
        decoy=seen[DECOY],
        with_decoy=view.traits.decoy,
        time_left=time_left,
    )


def same(old: VersionState, endpoint: str, proof: ProofNow) -> bool:
    """Whether that is on record already."""
    known = old.proofs.get(endpoint)
    return known is not None and known.verdict == proof.verdict


def no_probe_possible(view: View, old: VersionState) -> ProofNow | None:
    """The verdict on a version that can not be tried (any more). None where it can."""
    if old.id in view.looks.valueless:
        return ProofNow(verdict="by-contract", why="its value is not known, so it can not be tried")
    spent = max((n for (id_, _), n in view.looks.probe_counts.items() if id_ == old.id), default=0)
    unheard = all(view.looks.verdict(old.id, e, since=view.fresh_since) is None for e in view.endpoints)
    if spent >= view.traits.probes_max and unheard:
        return ProofNow(verdict="unproven", why=f"the probe budget of {view.traits.probes_max} is spent")
    return None


def proofs(old: VersionState, seen: Mapping[str, ProofNow], until: float | None = None) -> tuple[ev.Proved, ...]:
    """The events that put this on record; `until`: how long what was seen may last at most (epoch s)."""
    return tuple(
        ev.Proved(version=old.id, endpoint=endpoint, verdict=proof.verdict or "unproven", why=proof.why, until=until)
        for endpoint, proof in seen.items()
    )


def not_proven(view: View, old: VersionState, now: Mapping[str, ProofNow]) -> Action:
    """Stuck where the new version is not accepted, or the old one is; else a later run asks again. All are named."""
    undecided = {e: proof for e, proof in now.items() if proof.verdict in (None, "contradicted")} or now
    new = {e: view.looks.verdict(view.to.id, e, since=view.fresh_since) for e in undecided}
    elsewhere = [e for e, verdict in new.items() if verdict is not Verdict.ACCEPTED]
    found = unsynchronised(view, Step.PROVE, elsewhere) if elsewhere and in_place(view) else None
    if found and not isinstance(found, Leave):
        return found
    refusing = [e for e, verdict in new.items() if verdict is Verdict.REFUSED]
    if refusing and not found:
        return Stop(
            step=Step.PROVE,
            code="new-refused",
            reason=f"version {view.to.number}, which consumers read, is refused at {', '.join(refusing)}",
            next=way_back(view, f"make it accepted again at the vendor, then: keyturn resume {view.name}"),
        )
    alive = [e for e, proof in undecided.items() if proof.verdict == "contradicted"]
    why = "; ".join(f"{e}: {proof.why}{_evidence(view, e)}" for e, proof in undecided.items())
    return _contradicted(view, old, alive) if alive else found or Leave(step=Step.PROVE, kind="retry", text=why)


def _evidence(view: View, endpoint: str) -> str:
    look = view.looks.probes.get((view.to.id, endpoint))
    return f" ({look.evidence})" if look and look.verdict is Verdict.UNKNOWN else ""


def _contradicted(view: View, old: VersionState, alive: Sequence[str]) -> Stop:
    ours = view.traits.revoke is not Revoke.NONE
    ended = "it was retired" if ours else "the vendor should have ended it by now"
    first = "remove it at the vendor by hand" if ours else "have the vendor end it, which offers no call for that"
    return Stop(
        step=Step.PROVE,
        code="old-still-accepted",
        reason=f"version {old.number} is still accepted at {', '.join(alive)}, though {ended}",
        next=f"{first}; then: keyturn resume {view.name}",
    )
