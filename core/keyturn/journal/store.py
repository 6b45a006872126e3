"""What a journal store does. One contract suite (`keyturn.testing.journal_contract`) tests every store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

GENESIS = "0" * 64
"""The hash that stands before the first event of a secret."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An event before it is stored. `data` is JSON-ready and never holds a value."""

    type: str
    data: Mapping[str, Any]
    rotation_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One stored event. `seq` counts from 1 per secret; `at` is epoch seconds by the journal's clock."""

    secret: str
    seq: int
    at: float
    type: str
    data: Mapping[str, Any]
    rotation_id: str | None
    runner: str
    operator: str
    prev: str
    hash: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One row per secret, written with its events, so that status and the due scan never read history.

    `state` is JSON-ready and belongs to the engine. `next_at`: when a run should look again (epoch s), None: never.
    """

    secret: str
    status: str
    next_at: float | None = None
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to write for one subject until `expires_at` (epoch s, journal time). `fence` grows at each takeover."""

    subject: str
    runner: str
    fence: int
    expires_at: float


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """One sealed value in the escrow. `kind`: `version` (a bundle) or `answer` (a raw answer of an attempt).

    `key` is the version id or the attempt id. `blob` is an age envelope. `fields` names what is inside, never values.
    """

    secret: str
    kind: str
    key: str
    version_id: str
    blob: bytes = field(repr=False)
    fields: tuple[str, ...] = ()
    at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Broken:
    """The first broken link of one secret's chain."""

    secret: str
    seq: int
    reason: str


class LeaseHeld(Exception):
    """Another runner holds the subject."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"{lease.subject} is held by {lease.runner}")
        self.lease = lease


class LeaseLost(Exception):
    """This runner's lease expired or was taken over: it may not write any more."""


class Journal(Protocol):
    """A store. All writes are durable when the call returns. Raises JournalError (keyturn.journal) where it can not."""

    @property
    def id(self) -> str:
        """This journal's id, made by `init`; sinks carry it."""

    def now(self) -> float:
        """Epoch seconds by the database's clock."""

    def events(self, secret: str, *, after: int = 0) -> list[Event]:
        """The secret's events in order, those with a larger `seq` than `after`."""

    def append(
        self, secret: str, drafts: Sequence[Draft], *, lease: Lease, summary: Summary | None = None
    ) -> list[Event]:
        """Store events and the summary row in one transaction. Raises LeaseLost unless `lease` is held *now*."""

    def summaries(self) -> dict[str, Summary]:
        """All summary rows, by secret."""

    def heads(self) -> dict[str, tuple[int, str]]:
        """The last `seq` and hash of every secret's chain."""

    def verify(self, heads: Mapping[str, tuple[int, str]] | None = None) -> list[Broken]:
        """The first broken link of each chain; with `heads` kept elsewhere, truncation and replacement too."""

    def acquire(self, subject: str, runner: str, *, ttl_s: float) -> Lease:
        """Take the lease, at once or not at all. Raises LeaseHeld. A takeover of an expired lease raises the fence."""

    def claim(self, subjects: Sequence[str], runner: str, *, ttl_s: float) -> Lease | None:
        """Take the lease of the first of these that nobody holds, so that a fleet shares work out. None: all are held.

        Never waits for another runner that is claiming at the same moment.
        """

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Extend a lease that is still held. Raises LeaseLost once it has expired, even when nobody took it."""

    def release(self, lease: Lease) -> None:
        """Give the lease back; nothing happens where it was lost."""

    def bury(self, lease: Lease) -> None:
        """End this very lease, whose holder is known to be dead, so that it can be acquired; the fence still grows.

        Nothing happens where the lease was renewed or taken over meanwhile.
        """

    def claim_subject(self, subject: str, secret: str) -> str:
        """Bind a vendor's subject to a secret for good; the secret it is bound to is returned."""

    def seal(self, sealed: Sealed) -> None:
        """Keep a sealed value; the same secret, kind and key replaces. Never fenced."""

    def sealed(self, secret: str | None = None) -> list[Sealed]:
        """What the escrow keeps, oldest first."""

    def unseal_forever(self, secret: str, kind: str, key: str, *, lease: Lease) -> None:
        """Drop one sealed value. Raises LeaseLost."""

    def close(self) -> None:
        """Give all handles back."""


def chain_hash(  # noqa: PLR0913 - every stored column takes part
    *,
    prev: str,
    secret: str,
    seq: int,
    at: float,
    type: str,  # noqa: A002 - the column's name
    data: Mapping[str, Any],
    rotation_id: str | None,
    runner: str,
    operator: str,
) -> str:
    """SHA-256 over the canonical JSON of one event and the hash before it."""
    body = {
        "prev": prev,
        "secret": secret,
        "seq": seq,
        "at": f"{at:.6f}",
        "type": type,
        "data": data,
        "rotation": rotation_id,
        "runner": runner,
        "operator": operator,
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
