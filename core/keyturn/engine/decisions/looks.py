"""What was seen in this run: observations and failed tries. Never stored; the next run looks again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from keyturn.model import Problem, Settled, Verdict
from keyturn.plugins.provider import Seen, Waiting
from keyturn.plugins.sink import SinkInspectResponse

DECOY = "made-up value"
"""Stands for the made-up value where a version id is expected."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The last failed try of one effect in this run: not_sent, refused, conflict or doubt."""

    outcome: str
    why: str
    code: str
    tries: int
    at: float


@dataclass(frozen=True, kw_only=True)
class VendorLook:
    """The vendor as last inspected; `error`, with its code and what to do, where it could not be.

    `shows`: it shows a value, and `foreign`: that is none of ours.
    """

    at: float
    endpoints: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()
    problems: tuple[Problem, ...] = ()
    witness: Mapping[str, str] = field(default_factory=dict)
    shows: bool = False
    foreign: bool = False
    error: str = ""
    code: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class SinkLook:
    """A sink's place as last inspected; `error`, with its code and what to do, where it could not be.

    `foreign`: another journal writes it. `ahead`: this journal wrote it, at a time that it knows nothing of: what we
    read is an older copy of the journal.
    """

    at: float
    found: SinkInspectResponse | None = None
    error: str = ""
    code: str = ""
    hint: str = ""
    foreign: bool = False
    ahead: bool = False


@dataclass(frozen=True, kw_only=True)
class ProbeLook:
    """The last probe of one value at one endpoint."""

    at: float
    verdict: Verdict
    evidence: str


@dataclass(frozen=True, kw_only=True, eq=False)
class SettleLook:
    """The last look for the truth of an attempt in doubt, where it was not final; so since `since` (epoch s)."""

    at: float
    outcome: Settled
    since: float = 0.0
    handle: str | None = None
    note: str = ""
    waiting: Waiting | None = None
    rejected: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Looks:
    """What was seen in this run since it last changed that; counts and failed tries are for the whole run.

    So are `old_at`, when the current version was last seen in force (epoch s), and `shown`, the attempts by which a
    person was shown something.
    """

    began_at: float
    old_at: float | None = None
    shown: frozenset[str] = frozenset()
    vendor: VendorLook | None = None
    sinks: Mapping[str, SinkLook] = field(default_factory=dict)
    probes: Mapping[tuple[str, str], ProbeLook] = field(default_factory=dict)
    probe_counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    settle: SettleLook | None = None
    failures: Mapping[tuple[str, str], Failure] = field(default_factory=dict)
    valueless: frozenset[str] = frozenset()
    tidied: bool = False
    overran: bool = False

    def changed(self) -> Looks:
        """These looks after an effect: what was seen before it says nothing any more."""
        return replace(self, vendor=None, sinks={}, probes={}, settle=None)

    def issued(self) -> Looks:
        """These looks in the gap after an issue, and after a stage there: the places serve what they served (ADR 0018).

        Of the vendor only its endpoints are known now, and whether it shows values.
        """
        known = self.vendor
        vendor = VendorLook(at=known.at, endpoints=known.endpoints, shows=known.shows) if known else None
        return replace(self, vendor=vendor, probes={}, settle=None)

    def failed(self, verb: str, target: str, *, outcome: str, why: str, code: str, at: float) -> Looks:
        """These looks with one more failed try of an effect."""
        before = self.failures.get((verb, target))
        failure = Failure(outcome=outcome, why=why, code=code, tries=1 + (before.tries if before else 0), at=at)
        return replace(self, failures={**self.failures, (verb, target): failure})

    def with_probes(self, probes: Mapping[tuple[str, str], ProbeLook]) -> Looks:
        """These looks with newer probes, counted."""
        counts = dict(self.probe_counts)
        for pair in probes:
            counts[pair] = counts.get(pair, 0) + 1
        return replace(self, probes={**self.probes, **probes}, probe_counts=counts)

    def verdict(self, version: str, endpoint: str, *, since: float) -> Verdict | None:
        """What this value got at this endpoint, unless that was seen before `since`."""
        look = self.probes.get((version, endpoint))
        return look.verdict if look and look.at >= since else None
