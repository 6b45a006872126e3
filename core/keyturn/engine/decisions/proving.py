"""Proof: whether an old version is dead at every endpoint, and what to say where it is not. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.engine.decisions.actions import Action, Leave, LookAtVendor, Pause, Record, Stop
from keyturn.engine.decisions.guards import ProofNow, judge_proof, proof_pairs
from keyturn.engine.decisions.looks import DECOY
from keyturn.engine.decisions.view import View, probe, way_back
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import VersionState
from keyturn.model import Revoke, Verdict
from keyturn.states import State
from keyturn.steps import Step


def prove_retired(view: View) -> Action | None:
    """Show at every endpoint that what was retired is refused, while the new version is accepted there."""
    if view.looks.vendor is None:
        return LookAtVendor()
    olds = [v for v in view.state.versions.values() if v.state is State.RETIRED and v.published and v.id != view.to.id]
    for old in olds:
        endpoints = old.unproven_at(view.endpoints)
        action = _prove_one(view, old, endpoints) if endpoints else None
        if action:
            return action
    return None


def _prove_one(view: View, old: VersionState, endpoints: list[str]) -> Action | None:
    shortcut = no_probe_possible(view, old)
    if shortcut:
        return Record(bodies=proofs(old, dict.fromkeys(endpoints, shortcut)))
    since = view.now - view.limits.poll_s
    look = probe(view, proof_pairs(view, [old], endpoints), since=since)
    if look:
        return look
    at_most = max(old.retired_at or 0.0, view.looks.began_at) + view.traits.revocation_s
    now = {e: judged(view, old, e, time_left=view.now < at_most) for e in endpoints}
    decided = {e: proof for e, proof in now.items() if proof.verdict and not same(old, e, proof)}
    if decided:
        return Record(bodies=proofs(old, decided))
    if view.now < at_most and not all(proof.verdict for proof in now.values()):
        until = view.now + view.limits.poll_s
        return Pause(
            step=Step.PROVE, until=until, at_most=at_most, text=f"waiting for version {old.number} to be refused"
        )
    return not_proven(view, old, now)


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
    """Stuck where the old version is alive or the new one is not; else a later run asks again."""
    undecided = {e: proof for e, proof in now.items() if proof.verdict in (None, "contradicted")}
    endpoint, proof = next(iter((undecided or now).items()))
    if proof.verdict == "contradicted":
        ours = view.traits.revoke is not Revoke.NONE
        ended = "it was retired" if ours else "the vendor should have ended it by now"
        first = "remove it at the vendor by hand" if ours else "have the vendor end it, which offers no call for that"
        return Stop(
            step=Step.PROVE,
            code="old-still-accepted",
            reason=f"version {old.number} is still accepted at {endpoint}, though {ended}",
            next=f"{first}; then: keyturn resume {view.name}",
        )
    refused = view.looks.verdict(view.to.id, endpoint, since=view.fresh_since) is Verdict.REFUSED
    if refused:
        return Stop(
            step=Step.PROVE,
            code="new-refused",
            reason=f"version {view.to.number}, which consumers read, is refused at {endpoint}",
            next=way_back(view, f"make it accepted again at the vendor, then: keyturn resume {view.name}"),
        )
    return Leave(step=Step.PROVE, kind="retry", text=f"{endpoint}: {proof.why}")
