"""The two judgements that matter most: may the old version be retired now, and is it proven dead. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyturn.engine.decisions.actions import Action, LookAtSinks, LookAtVendor
from keyturn.engine.decisions.looks import DECOY
from keyturn.engine.decisions.view import View, filled, probe, serves
from keyturn.engine.record.state import VersionState
from keyturn.model import Verdict


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Why not to retire: `reasons` need a person, `unknown` may clear up by itself. Both empty: retire."""

    reasons: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def missing_looks(view: View) -> Action | None:
    """The next look that present evidence needs. None when all are fresh."""
    vendor = view.looks.vendor
    if vendor is None or vendor.at < view.fresh_since:
        return LookAtVendor()
    stale = tuple(
        sink.key
        for sink in filled(view)
        if sink.key not in view.looks.sinks or view.looks.sinks[sink.key].at < view.fresh_since
    )
    if stale:
        return LookAtSinks(keys=stale)
    return probe(view, proof_pairs(view, [], view.endpoints), since=view.fresh_since)


def retire_evidence(view: View, old: VersionState) -> Evidence:
    """P3: new accepted at every endpoint, every sink serves new, the vendor keeps another of ours; all *now*."""
    reasons: list[str] = []
    unknown: list[str] = []
    for found in (_endpoints(view), _sinks(view), _vendor(view, old)):
        for sure, text in found:
            (reasons if sure else unknown).append(text)
    return Evidence(reasons=tuple(reasons), unknown=tuple(unknown))


Finding = tuple[bool, str]
"""Whether it is sure, and what it is."""


def _endpoints(view: View) -> Iterable[Finding]:
    for endpoint in view.endpoints:
        verdict = view.looks.verdict(view.to.id, endpoint, since=view.fresh_since)
        if verdict is Verdict.REFUSED:
            yield True, f"version {view.to.number} is refused at {endpoint}"
        elif verdict is not Verdict.ACCEPTED:
            yield False, f"{endpoint} does not say whether it accepts version {view.to.number}"
        elif view.looks.verdict(DECOY, endpoint, since=view.fresh_since) is Verdict.ACCEPTED:
            yield (
                True,
                f"{endpoint} accepts a made-up value, so that it accepts version {view.to.number} proves nothing",
            )


def _sinks(view: View) -> Iterable[Finding]:
    for sink in filled(view):
        look = view.looks.sinks[sink.key]
        if look.error:
            yield False, f"{sink.key} can not be read: {look.error}"
            continue
        if look.ahead:
            yield True, f"{sink.key} was written by this journal later than all that it knows: it is an older copy"
            continue
        held = serves(view, sink, look)
        if held is None or held.id != view.to.id:
            what = f"version {held.number}" if held else "something that Keyturn did not write"
            yield True, f"{sink.key} serves {what}, not version {view.to.number}"


def _vendor(view: View, old: VersionState) -> Iterable[Finding]:
    vendor = view.looks.vendor
    if vendor is None or vendor.error:
        yield False, f"the vendor can not be inspected: {vendor.error if vendor else 'not asked'}"
        return
    for problem in vendor.problems:
        if problem.fatal:
            yield not problem.passing, problem.text
    enabled = {seen.handle for seen in vendor.seen if seen.enabled}
    if view.to.handle and view.to.handle not in enabled:
        yield True, f"{view.to.handle} (version {view.to.number}) is not accepted everywhere at the vendor"
    ours = {v.handle for v in view.state.versions.values() if v.handle and v.id != old.id}
    if not enabled & ours:
        yield True, "the vendor would keep no other version of ours"


@dataclass(frozen=True, kw_only=True)
class ProofNow:
    """What one endpoint shows of an old version. `verdict` None: not decided yet."""

    verdict: str | None
    why: str


def judge_proof(  # noqa: PLR0911 - a decision table, one return a row
    *, old: Verdict | None, new: Verdict | None, decoy: Verdict | None, with_decoy: bool, time_left: bool
) -> ProofNow:
    """P7: dead only when refused *while* the new one was accepted at the same endpoint and a made-up value refused."""
    if new is Verdict.REFUSED:
        return ProofNow(verdict=None, why="the new version is refused here")
    if new is not Verdict.ACCEPTED or old is None:
        return ProofNow(verdict=None, why="the endpoint does not answer for the new version")
    if with_decoy and decoy is Verdict.ACCEPTED:
        return ProofNow(verdict="unproven", why="a made-up value is accepted here, so an answer proves nothing")
    if with_decoy and decoy is not Verdict.REFUSED:
        return ProofNow(verdict=None, why="the endpoint does not answer for a made-up value")
    if old is Verdict.REFUSED:
        controls = "new accepted, made-up value refused" if with_decoy else "new accepted"
        return ProofNow(verdict="dead", why=f"refused while {controls}")
    if old is Verdict.ACCEPTED and not time_left:
        return ProofNow(verdict="contradicted", why="still accepted after the vendor's revocation delay")
    return ProofNow(
        verdict=None, why="still accepted" if old is Verdict.ACCEPTED else "no clear answer for the old one"
    )


def proof_pairs(view: View, olds: Iterable[VersionState], endpoints: Iterable[str]) -> list[tuple[str, str]]:
    """The probes that prove needs: old, new and, where harmless, a made-up value."""
    ids = [view.to.id, *(old.id for old in olds), *([DECOY] if view.traits.decoy else [])]
    return [(id_, endpoint) for endpoint in endpoints for id_ in ids]
