"""Old versions that end without a call of ours: by the vendor's grace, or at an expiry of their own. Pure.

Nothing relies on a grace that the vendor may or may not give: a replaced version is asked for, and while it is accepted
it stays `previous`, with the answer on record, and is asked for again at growing intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from keyturn.clock import iso
from keyturn.engine.decisions.actions import Action, Leave, LookAtVendor, Record, Stop, TidyEscrow
from keyturn.engine.decisions.guards import ProofNow, proof_pairs
from keyturn.engine.decisions.proving import judged, no_probe_possible, not_proven, proofs, same
from keyturn.engine.decisions.view import View, probe
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import VersionState
from keyturn.model import Verdict
from keyturn.states import Move
from keyturn.steps import Step

AGAIN_S_MIN = 60.0
"""The shortest time between two questions about a version that was accepted."""


def ending(view: View) -> Action | None:
    """The next thing to do about replaced versions that end by themselves. None when none is left."""
    if view.traits.coexist and not view.traits.own_expiry:
        return None
    end = _expires if view.traits.own_expiry else _fades
    first = _most_urgent([end(view, old) for old in view.state.previous])
    if isinstance(first, Leave) and not view.looks.tidied:
        return TidyEscrow()  # this hold may be superseded by the next rotation, and that one's by the next again
    return first


def _most_urgent(actions: Sequence[Action]) -> Action | None:
    """What can be done now, then what a person must do, then the wait that is over first."""
    waits = sorted((one for one in actions if isinstance(one, Leave)), key=lambda one: one.until or 0.0)
    stops = [one for one in actions if isinstance(one, Stop)]
    now = [one for one in actions if not isinstance(one, Leave | Stop)]
    return next(iter([*now, *stops, *waits]), None)


def _expires(view: View, old: VersionState) -> Action:
    """A version that nothing but its expiry ends."""
    ends = old.expires_at or _replaced_at(view, old) + view.traits.derived_s
    if view.now < ends:
        what = "the compromised version" if view.rotation.compromised else "version"
        text = f"{what} {old.number} is accepted until its own expiry at {iso(ends)}, and nothing ends it earlier"
        return Leave(step=Step.PROVE, kind="hold", text=text, until=ends)
    why = f"ended by its own expiry at {iso(ends)}"
    return _ended(view, old, ProofNow(verdict="by-contract", why=why))


def _ended(view: View, old: VersionState, proof: ProofNow) -> Record:
    return Record(bodies=(_retired(old), *proofs(old, dict.fromkeys(view.endpoints, proof))))


def _retired(old: VersionState) -> ev.Moved:
    return ev.Moved(version=old.id, move=Move.RETIRE.value)


def _replaced_at(view: View, old: VersionState) -> float:
    return old.replaced_at or view.rotation.issued_at or view.now


def _fades(view: View, old: VersionState) -> Action:
    """A version that the vendor replaced. A stray of ours that was never published is nobody's to ask for."""
    relied_s = view.traits.grace_s or 0.0
    since = _replaced_at(view, old)
    ends = since + max(relied_s, view.traits.grace_max_s)
    if ends <= since or not old.published:
        return Record(bodies=(_retired(old),))
    return _looked_at(view, old, ends=ends)


def _looked_at(view: View, old: VersionState, ends: float) -> Action:
    blind = no_probe_possible(view, old)
    if blind and view.now < ends:
        text = f"version {old.number} may be accepted until {iso(ends)} ({blind.why})"
        return Leave(step=Step.PROVE, kind="hold", text=text, until=ends)
    if blind:
        return _ended(view, old, blind)
    if view.looks.vendor is None:
        return LookAtVendor()
    look = probe(view, proof_pairs(view, [old], view.endpoints), since=view.fresh_since)
    return look or _judge(view, old, ends)


def _judge(view: View, old: VersionState, ends: float) -> Action:
    """Refused everywhere: dead. Accepted somewhere: on record, and alive. Anything else is for a later run to ask."""
    seen = {e: judged(view, old, e, time_left=view.now < ends) for e in view.endpoints}
    if all(proof.verdict == "dead" for proof in seen.values()):
        return Record(bodies=(_retired(old), *proofs(old, seen)))
    if view.now >= ends:
        return _overdue(view, old, seen)
    still = [e for e in view.endpoints if _accepted(view, old, e)]
    return _still_accepted(view, old, still, ends) if still else not_proven(view, old, seen)


def _overdue(view: View, old: VersionState, seen: Mapping[str, ProofNow]) -> Action:
    """The longest grace is over: it counts as ended, unless an endpoint contradicts or does not say."""
    if all(proof.verdict in ("dead", "unproven") for proof in seen.values()):
        return Record(bodies=(_retired(old), *proofs(old, seen)))
    news = {e: proof for e, proof in seen.items() if proof.verdict == "contradicted" and not same(old, e, proof)}
    return Record(bodies=proofs(old, news)) if news else not_proven(view, old, seen)


def _accepted(view: View, old: VersionState, endpoint: str) -> bool:
    return view.looks.verdict(old.id, endpoint, since=view.fresh_since) is Verdict.ACCEPTED


def _still_accepted(view: View, old: VersionState, still: Sequence[str], ends: float) -> Action:
    seen = {e: ProofNow(verdict="accepted", why=view.looks.probes[old.id, e].evidence) for e in still}
    news = {e: proof for e, proof in seen.items() if not same(old, e, proof)}
    if news:
        return Record(bodies=proofs(old, news, until=ends))
    text = _living(view, old, (proof.why for proof in seen.values()), ends)
    # Asked again when it has lived twice as long: soon at first, a dozen times in five days.
    again = view.now + max(AGAIN_S_MIN, view.now - _replaced_at(view, old))
    return Leave(step=Step.PROVE, kind="hold", text=text, until=ends, again=min(ends, again))


def _living(view: View, old: VersionState, evidence: Iterable[str], ends: float) -> str:
    """What is true while the old version is accepted; where it leaked nobody may overlook that."""
    said = "; ".join(dict.fromkeys(evidence))
    if not view.rotation.compromised:
        return f"version {old.number} is still accepted by the vendor ({said}), until {iso(ends)} at most"
    return (
        f"the compromised version {old.number} still works: the vendor accepts it ({said}) until {iso(ends)} at most, "
        "and has no call that ends it"
    )
