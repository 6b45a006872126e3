"""What is known of a secret: its versions and its latest rotation, as plain data. `fold` makes it from the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn.engine.record import events as ev
from keyturn.engine.record.frozen import Frozen
from keyturn.model import Mode, Settled
from keyturn.states import State
from keyturn.steps import Step

DONE = ("done", "already")
ISSUING = ("issue", "reset")
ENDING = ("refuse", "remove")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What is known of an old version at one endpoint: dead, by-contract, unproven, accepted or contradicted."""

    verdict: str
    why: str
    at: float
    until: float | None = None

    @property
    def closed(self) -> bool:
        """Whether the search for proof is over; one that is still accepted is looked at again."""
        return self.verdict in ("dead", "by-contract", "unproven")


@dataclass(frozen=True, kw_only=True)
class VersionState:
    """One version as the journal knows it. `sent`: an issue of it left this machine.

    `issued_at` is when the issue that made it was sent; None where it was adopted. `artefacts` are the names of those
    that belong to it. `accepted` says where, and when it was first seen so (epoch s). `ends` are the attempts at ending
    it whose answer was lost, with their deadlines (epoch s): one may still arrive after another one has ended it.
    """

    id: str
    number: int
    state: State
    made_at: float
    slot: str | None = None
    handle: str | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    artefacts: tuple[str, ...] = ()
    expires_at: float | None = None
    adopted: bool = False
    sent: bool = False
    issued: bool = False
    gone: bool = False
    published: bool = False
    issued_at: float | None = None
    current_since: float | None = None
    replaced_at: float | None = None
    accepted: Mapping[str, float] = field(default_factory=dict)
    refuse_sent: bool = False
    refused: bool = False
    removed: bool = False
    ends: Mapping[str, float] = field(default_factory=dict)
    retired_at: float | None = None
    proofs: Mapping[str, Proof] = field(default_factory=dict)
    hold_until: float | None = None

    def unproven_at(self, endpoints: Iterable[str]) -> list[str]:
        """The endpoints where it is still open whether this version is dead."""
        return [e for e in endpoints if e not in self.proofs or not self.proofs[e].closed]

    @property
    def lacks(self) -> tuple[str, ...]:
        """The artefacts that never reached us."""
        return tuple(name for name in self.artefacts if name not in self.fingerprints)

    @property
    def live(self) -> bool:
        """Whether the vendor may still accept it."""
        pending = self.state is State.PENDING and self.sent
        return pending or (self.state in (State.CURRENT, State.PREVIOUS) and not self.refused)


@dataclass(frozen=True, kw_only=True)
class AttemptState:
    """One sent issue. `outcome` is empty while no answer is journaled; `settled` once looking found the truth.

    `supplied` fingerprints what a reset was made by.
    `hint` is what a person should do about a refusal, where whoever refused knows.
    """

    id: str
    version: str
    sent_at: float
    deadline_at: float
    witness: Mapping[str, str]
    supplied: Mapping[str, str] = field(default_factory=dict)
    outcome: str = ""
    why: str = ""
    hint: str = ""
    settled: str = ""

    @property
    def took_effect(self) -> bool:
        """Whether looking found that it did."""
        return self.settled in (Settled.APPLIED, Settled.APPLIED_GONE)

    @property
    def in_doubt(self) -> bool:
        """Sent, outcome unknown."""
        return not self.settled and self.outcome in ("", "doubt", "waiting")


@dataclass(frozen=True, kw_only=True)
class RotationState:
    """The latest rotation, in flight or ended. `calls` are finished effects as (verb, target, version).

    `bridged` says when each derived secret was renewed for it (epoch s), again where too much time went by since;
    `drained` the same of each consumer that was told to drain and not yet to go on, `drained_until` when it does so by
    itself, and `undrained` why one was not told. Consumers were held back from `drain_at` to `released_at`.

    `failed` says of each place where a promote did not work why not, the last time; it may have worked since.
    """

    id: str
    mode: Mode
    started_at: float
    to: str
    previous: str | None
    frozen: Frozen
    digest: str
    operator: str = ""
    reason: str = ""
    request: str = ""
    compromised: bool = False
    knowing: bool = False
    done: frozenset[Step] = frozenset()
    attempts: tuple[AttemptState, ...] = ()
    calls: frozenset[tuple[str, str, str]] = frozenset()
    sent: frozenset[tuple[str, str, str]] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)
    bridged: Mapping[str, float] = field(default_factory=dict)
    drained: Mapping[str, float] = field(default_factory=dict)
    drained_until: Mapping[str, float] = field(default_factory=dict)
    undrained: Mapping[str, str] = field(default_factory=dict)
    drain_at: float | None = None
    released_at: float | None = None
    reissues: int = 0
    issue_sent_at: float | None = None
    issued_at: float | None = None
    published_at: float | None = None
    promoted_at: float | None = None
    hold_until: float | None = None
    dropped: frozenset[str] = frozenset()
    waiting: ev.WaitingFor | None = None
    stuck: ev.BecameStuck | None = None
    undoing: ev.Undoing | None = None
    ended: ev.Ended | None = None
    ended_at: float | None = None

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.ended is None

    @property
    def plan(self) -> Frozen:
        """The frozen plan less what an operator dropped."""
        return self.frozen.without(self.dropped)

    @property
    def hold_ends(self) -> float | None:
        """When the hold is over (epoch s): the operator's word, else published plus the frozen hold."""
        if self.compromised:
            return 0.0
        if self.hold_until is not None:
            return self.hold_until
        return None if self.published_at is None else self.published_at + self.frozen.hold_s

    @property
    def outage_ms(self) -> int:
        """From the sending of an issue that ends the old version to the last promote; 0 where both live together.

        An endpoint that heard of the change later adds to that (`receipt.outages_ms`).
        0 too where it began with a current version that was dead, or that nobody knows to be alive (break-glass): what
        that costs began before, and is not this rotation's.
        """
        if self.frozen.traits.coexist or self.mode is not Mode.NORMAL:
            return 0
        if self.issue_sent_at is None or self.promoted_at is None:
            return 0
        return max(0, round((self.promoted_at - self.issue_sent_at) * 1000))

    @property
    def drained_ms(self) -> int:
        """How long consumers were held back, until the last one was told to go on; 0 while that is not so."""
        if self.drain_at is None or self.released_at is None:
            return 0
        return max(0, round((self.released_at - self.drain_at) * 1000))

    @property
    def by_person(self) -> bool:
        """Whether a person replaces the version at the vendor: what we do then is to show him what he needs."""
        return self.frozen.traits.attended and self.mode not in (Mode.FIRST, Mode.ROLLBACK)

    @property
    def forward_only(self) -> bool:
        """Whether a lost issue of this rotation ended the old version: then there is nothing to go back to."""
        return self.reissues > 0 and not self.frozen.traits.coexist

    def finished(self, verb: str, target: str) -> bool:
        """Whether this effect is done for the version under way."""
        return (verb, target, self.to) in self.calls


@dataclass(frozen=True, kw_only=True)
class SecretState:
    """One secret. `acks` are (version, consumer), waived ones are in both sets; `requests` give rotation ids.

    `checked_at` is when it was last looked at as a whole and that was recorded, `problems` what was found then (as
    `Checked` has them), `problems_before` what stood before rotations since then that were not done; `unserved` are
    the places that have yet to be given an adopted version, `untold` the consumers that have yet to be told of it.
    """

    secret: str
    versions: Mapping[str, VersionState] = field(default_factory=dict)
    rotation: RotationState | None = None
    acks: frozenset[tuple[str, str]] = frozenset()
    waived: frozenset[tuple[str, str]] = frozenset()
    alerts: frozenset[str] = frozenset()
    requests: Mapping[str, str] = field(default_factory=dict)
    paused_until: float = 0.0
    checked_at: float | None = None
    problems: tuple[Mapping[str, Any], ...] = ()
    problems_before: tuple[Mapping[str, Any], ...] = ()
    unserved: frozenset[str] = frozenset()
    untold: frozenset[str] = frozenset()
    seq: int = 0
    at: float = 0.0

    @property
    def current(self) -> VersionState | None:
        """The version consumers are meant to read."""
        return next((v for v in self.versions.values() if v.state is State.CURRENT), None)

    @property
    def previous(self) -> tuple[VersionState, ...]:
        """Versions replaced but not yet retired, oldest first."""
        return tuple(v for v in self.versions.values() if v.state is State.PREVIOUS)

    @property
    def fallback(self) -> VersionState | None:
        """The version to go back to while it lives beside the current one: the newest that nobody was told to end."""
        return next((v for v in reversed(self.previous) if not v.refuse_sent), None)

    @property
    def live(self) -> tuple[VersionState, ...]:
        """Versions that the vendor may still accept, oldest first."""
        return tuple(v for v in self.versions.values() if v.live)

    @property
    def under_way(self) -> VersionState | None:
        """The version that the latest rotation moves to; once it ended without publishing it, the current one."""
        if self.rotation is None:
            return None
        to = self.versions[self.rotation.to]
        return to if self.rotation.open or self.current is None else self.current

    def namesake(self, version: VersionState) -> VersionState | None:
        """Another live version with the same name at the vendor: whoever retires one retires both."""
        same = (v for v in self.live if v.handle and v.handle == version.handle)
        return next((v for v in same if v.id != version.id), None)

    @property
    def next_number(self) -> int:
        """The number of the next version."""
        return 1 + max((v.number for v in self.versions.values()), default=0)

    def knows(self, fingerprints: Mapping[str, str]) -> bool:
        """Whether one of our versions has these very values."""
        return any(fingerprints.items() <= v.fingerprints.items() for v in self.versions.values())

    def by_fingerprints(self, fingerprints: Mapping[str, str], fields: Mapping[str, str]) -> VersionState | None:
        """The version of ours that a sink holds under `fields` (stored name to bundle field), told by content.

        Versions may have these fields in common (a user name): then it is the current one, else the newest.
        """
        known = reversed(list(self.versions.values()))
        candidates: list[VersionState] = [*([self.current] if self.current else []), *known]
        for version in candidates:
            ours = {stored: version.fingerprints.get(name) for stored, name in fields.items()}
            if ours and None not in ours.values() and ours == dict(fingerprints):
                return version
        return None
