"""Decisions about hold, retire and prove: the old version dies last, and is proven dead. Pure."""

from __future__ import annotations

from keyturn.engine.decisions.actions import Action, Leave, LookAtVendor, Pause, Record, RetireNow, Stop
from keyturn.engine.decisions.guards import ProofNow, judge_proof, missing_looks, proof_pairs, retire_evidence
from keyturn.engine.decisions.issuing import namesake, retire_failure
from keyturn.engine.decisions.looks import DECOY
from keyturn.engine.decisions.view import View, probe, unconfigured
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import VersionState
from keyturn.model import Half, Verdict
from keyturn.states import Move, State
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
        return Leave(step=Step.RETIRE, kind="retry", text="; ".join(evidence.unknown))
    return RetireNow(step=Step.RETIRE, version=old.id, half=Half.REFUSE)


def _guard_next(view: View, reasons: tuple[str, ...]) -> str:
    if any(look.ahead for look in view.looks.sinks.values()):
        return f"point journal: at the newest copy, then: keyturn resume {view.name}"
    if any(" serves " in reason for reason in reasons):
        return f"keyturn repair {view.name}"
    return f"make version {view.to.number} accepted everywhere again, then: keyturn resume {view.name}"


def prove(view: View) -> Action | None:
    """Show at every endpoint that what was retired is refused, while the new version is accepted there."""
    ended_by_vendor = _ended_by_vendor(view)
    if ended_by_vendor:
        return ended_by_vendor
    if view.looks.vendor is None:
        return LookAtVendor()
    olds = [v for v in view.state.versions.values() if v.state is State.RETIRED and v.published and v.id != view.to.id]
    for old in olds:
        endpoints = old.unproven_at(view.endpoints)
        action = _prove_one(view, old, endpoints) if endpoints else None
        if action:
            return action
    return None


def _ended_by_vendor(view: View) -> Action | None:
    """Where issue ends the old version: wait for the vendor's grace, then count it as retired."""
    if view.traits.coexist or not view.state.previous:
        return None
    ends = (view.rotation.issued_at or view.now) + (view.traits.grace_s or 0.0)
    if view.now < ends:
        return Leave(step=Step.PROVE, kind="hold", text="the vendor's grace for the old version runs", until=ends)
    return Record(bodies=tuple(ev.Moved(version=old.id, move=Move.RETIRE.value) for old in view.state.previous))


def _prove_one(view: View, old: VersionState, endpoints: list[str]) -> Action | None:
    shortcut = _no_probe_possible(view, old)
    if shortcut:
        return _proofs(old, dict.fromkeys(endpoints, shortcut))
    since = view.now - view.limits.poll_s
    look = probe(view, proof_pairs(view, [old], endpoints), since=since)
    if look:
        return look
    at_most = max(old.retired_at or 0.0, view.looks.began_at) + view.traits.revocation_s
    now = {e: _judged(view, old, e, time_left=view.now < at_most) for e in endpoints}
    decided = {e: proof for e, proof in now.items() if proof.verdict and not _same(old, e, proof)}
    if decided:
        return _proofs(old, decided)
    if view.now < at_most and not all(proof.verdict for proof in now.values()):
        until = view.now + view.limits.poll_s
        return Pause(
            step=Step.PROVE, until=until, at_most=at_most, text=f"waiting for version {old.number} to be refused"
        )
    return _not_proven(view, old, now)


def _judged(view: View, old: VersionState, endpoint: str, *, time_left: bool) -> ProofNow:
    seen = {id_: view.looks.verdict(id_, endpoint, since=view.fresh_since) for id_ in (old.id, view.to.id, DECOY)}
    return judge_proof(
        old=seen[old.id],
        new=seen[view.to.id],
        decoy=seen[DECOY],
        with_decoy=view.traits.decoy,
        time_left=time_left,
    )


def _same(old: VersionState, endpoint: str, proof: ProofNow) -> bool:
    known = old.proofs.get(endpoint)
    return known is not None and known.verdict == proof.verdict


def _no_probe_possible(view: View, old: VersionState) -> ProofNow | None:
    if old.id in view.looks.valueless:
        return ProofNow(verdict="by-contract", why="its value is not known, so it can not be tried")
    spent = max((n for (id_, _), n in view.looks.probe_counts.items() if id_ == old.id), default=0)
    if spent >= view.traits.probes_max:
        return ProofNow(verdict="unproven", why=f"the probe budget of {view.traits.probes_max} is spent")
    return None


def _proofs(old: VersionState, proofs: dict[str, ProofNow]) -> Record:
    bodies = (
        ev.Proved(version=old.id, endpoint=endpoint, verdict=proof.verdict or "unproven", why=proof.why)
        for endpoint, proof in proofs.items()
    )
    return Record(bodies=tuple(bodies))


def _not_proven(view: View, old: VersionState, now: dict[str, ProofNow]) -> Action:
    endpoint, proof = next((e, p) for e, p in now.items() if p.verdict in (None, "contradicted"))
    if proof.verdict == "contradicted":
        return Stop(
            step=Step.PROVE,
            code="old-still-accepted",
            reason=f"version {old.number} is still accepted at {endpoint}, though it was retired",
            next=f"remove it at the vendor by hand, then: keyturn resume {view.name}",
        )
    refused = view.looks.verdict(view.to.id, endpoint, since=view.fresh_since) is Verdict.REFUSED
    if refused:
        return Stop(
            step=Step.PROVE,
            code="new-refused",
            reason=f"version {view.to.number}, which consumers read, is refused at {endpoint}",
            next=f"make it accepted again at the vendor, then: keyturn resume {view.name}",
        )
    return Leave(step=Step.PROVE, kind="retry", text=f"{endpoint}: {proof.why}")
