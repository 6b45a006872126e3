"""What a write to the journal asks first, and what it then stores: SQL and decisions, no effects.

A write is one transaction in two round trips. It sends what it `asks`, which locks the rows it depends on; the answers
and the database's clock, read after those locks were had, go into `decide`; its statements and COMMIT go out together.

Functions of any type say where they are, and numbers their type: in a schema that others may write to, a function or an
operator that fits more closely would come before the server's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from keyturn.journal import faults
from keyturn.journal.chain import START, encode, link
from keyturn.journal.store import Draft, Event, Lease, LeaseHeld, LeaseLost, Sealed, Summary

T = TypeVar("T")
Row = tuple[Any, ...]

NOW = "extract(epoch FROM clock_timestamp())::float8"
LEASE_ROW = "SELECT subject, runner, fence, expires_at FROM lease"
BACKWARDS_MAX_S = 120.0
NEWEST_STEP_S = 1.0
TAKING = "a runner that takes it just now"


class Query(NamedTuple):
    """One statement with its values."""

    text: str
    values: Row = ()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a write knows when it decides: the answers to what it asked, in order, and the time (epoch s)."""

    rows: Sequence[Sequence[Row]]
    now: float
    newest_at: float
    place: str


@dataclass(frozen=True, kw_only=True)
class Decided(Generic[T]):
    """What to tell the caller once the statements are committed."""

    answer: T
    statements: Sequence[Query] = ()


class Write(Protocol[T]):
    """One kind of write. `doubted`: what an attempt decided whose COMMIT was never answered; it may be stored."""

    def asks(self, doubted: T | None) -> Sequence[Query]:
        """What to ask and to lock."""

    def decide(self, seen: Seen, doubted: T | None) -> Decided[T]:
        """What to store. Raises LeaseLost, LeaseHeld or KeyturnError, and nothing is stored."""


@dataclass(frozen=True, kw_only=True)
class Append:
    """Events and the summary row of one secret, under a lease."""

    secret: str
    drafts: Sequence[Draft]
    lease: Lease
    summary: Summary | None
    runner: str
    operator: str

    def asks(self, doubted: list[Event] | None) -> list[Query]:
        """The lease, the chain's head, and what stands where the doubted events would be."""
        last = doubted[-1].seq if doubted else 0
        return [
            _locked(self.lease),
            Query("SELECT seq, hash FROM head WHERE secret = %s FOR UPDATE", (self.secret,)),
            Query("SELECT hash FROM event WHERE secret = %s AND seq = %s", (self.secret, last)),
        ]

    def decide(self, seen: Seen, doubted: list[Event] | None) -> Decided[list[Event]]:
        """The next links of the chain. Doubted events that are there were stored, and so was the summary."""
        _lease, heads, there = seen.rows
        if doubted and list(there) == [(doubted[-1].hash,)]:
            return Decided(answer=doubted)
        _check_clock(seen)
        _require(seen, self.lease)
        events: list[Event] = []
        head = (heads[0][0], heads[0][1]) if heads else START
        for draft in self.drafts:
            event = link(self.secret, draft, head=head, at=seen.now, runner=self.runner, operator=self.operator)
            head = (event.seq, event.hash)
            events.append(event)
        return Decided(
            answer=events,
            statements=[*_events_stored(self.secret, events), *_summary_stored(self.secret, self.summary)],
        )


@dataclass(frozen=True, kw_only=True)
class Acquire:
    """The lease of one subject, whose row is there already."""

    subject: str
    runner: str
    ttl_s: float

    def asks(self, doubted: Lease | None) -> list[Query]:  # noqa: ARG002 - the same either way
        """The row if nobody else is at it, and the row as it is: somebody who is stopped must not be waited for."""
        query = f"{LEASE_ROW} WHERE subject = %s"
        return [Query(f"{query} FOR UPDATE SKIP LOCKED", (self.subject,)), Query(query, (self.subject,))]

    def decide(self, seen: Seen, doubted: Lease | None) -> Decided[Lease]:
        """Take it unless it is held."""
        free, there = seen.rows
        if not free:
            held = _lease(there[0]) if there else Lease(subject=self.subject, runner="", fence=0, expires_at=0.0)
            raise LeaseHeld(replace(held, runner=held.runner or TAKING))
        before = _lease(free[0])
        if before == doubted:
            return Decided(answer=before)
        _check_clock(seen)
        if before.expires_at > seen.now:
            raise LeaseHeld(before)
        return _taken(before, self.runner, seen.now + self.ttl_s)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The lease of the first of many subjects that nobody holds."""

    subjects: Sequence[str]
    runner: str
    ttl_s: float

    def asks(self, doubted: Lease | None) -> list[Query]:
        """The first free row that nobody else is at, and the row that may be ours."""
        names = list(self.subjects)
        free = f"""{LEASE_ROW} WHERE subject = ANY(%s) AND expires_at <= {NOW}
                   ORDER BY pg_catalog.array_position(%s::text[], subject) LIMIT 1 FOR UPDATE SKIP LOCKED"""
        ours = Query(f"{LEASE_ROW} WHERE subject = %s FOR UPDATE", (doubted.subject if doubted else "",))
        return [ours, Query(free, (names, names))]

    def decide(self, seen: Seen, doubted: Lease | None) -> Decided[Lease | None]:
        """Take it."""
        ours, free = seen.rows
        if ours and _lease(ours[0]) == doubted:
            return Decided(answer=doubted)
        _check_clock(seen)
        return _taken(_lease(free[0]), self.runner, seen.now + self.ttl_s) if free else Decided(answer=None)


@dataclass(frozen=True, kw_only=True)
class Renew:
    """A longer life for a lease that is held."""

    lease: Lease
    ttl_s: float

    def asks(self, doubted: Lease | None) -> list[Query]:  # noqa: ARG002 - renewing twice is renewing
        """The lease."""
        return [_locked(self.lease)]

    def decide(self, seen: Seen, doubted: Lease | None) -> Decided[Lease]:  # noqa: ARG002 - renewing twice is renewing
        """The new end."""
        _check_clock(seen)
        _require(seen, self.lease)
        renewed = replace(self.lease, expires_at=seen.now + self.ttl_s)
        text = "UPDATE lease SET expires_at = %s WHERE subject = %s"
        return Decided(answer=renewed, statements=[Query(text, (renewed.expires_at, renewed.subject))])


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A statement that says itself when it applies, and may be repeated."""

    statement: Query

    def asks(self, doubted: None) -> list[Query]:  # noqa: ARG002 - nothing depends on it
        """Nothing."""
        return []

    def decide(self, seen: Seen, doubted: None) -> Decided[None]:  # noqa: ARG002 - nothing depends on it
        """The statement."""
        return Decided(answer=None, statements=[self.statement])


@dataclass(frozen=True, kw_only=True)
class ClaimSubject:
    """A vendor's subject, bound to the first secret that claims it."""

    subject: str
    secret: str

    def asks(self, doubted: str | None) -> list[Query]:  # noqa: ARG002 - the first claim stays
        """Bind it unless it is bound, and see to whom."""
        return [
            Query("INSERT INTO subject VALUES (%s, %s) ON CONFLICT DO NOTHING", (self.subject, self.secret)),
            Query("SELECT secret FROM subject WHERE subject = %s", (self.subject,)),
        ]

    def decide(self, seen: Seen, doubted: str | None) -> Decided[str]:  # noqa: ARG002 - the first claim stays
        """Whose it is."""
        return Decided(answer=str(seen.rows[1][0][0]))


@dataclass(frozen=True, kw_only=True)
class Seal:
    """A value in the escrow. Never fenced. `at` 0 means now."""

    sealed: Sealed
    names: str

    def asks(self, doubted: None) -> list[Query]:  # noqa: ARG002 - the same envelope replaces itself
        """Nothing."""
        return []

    def decide(self, seen: Seen, doubted: None) -> Decided[None]:  # noqa: ARG002 - the same envelope replaces itself
        """The row; the same secret, kind and key replaces."""
        one = self.sealed
        text = """INSERT INTO sealed (secret, kind, key, version_id, blob, fields, at)
                  VALUES (%s, %s, %s, %s, %s, %s, %s)
                  ON CONFLICT (secret, kind, key) DO UPDATE SET
                  version_id = excluded.version_id, blob = excluded.blob, fields = excluded.fields, at = excluded.at"""
        row = (one.secret, one.kind, one.key, one.version_id, one.blob, self.names, one.at or seen.now)
        return Decided(answer=None, statements=[Query(text, row)])


@dataclass(frozen=True, kw_only=True)
class Unseal:
    """One sealed value less, under a lease."""

    secret: str
    kind: str
    key: str
    lease: Lease

    def asks(self, doubted: None) -> list[Query]:  # noqa: ARG002 - gone is gone
        """The lease."""
        return [_locked(self.lease)]

    def decide(self, seen: Seen, doubted: None) -> Decided[None]:  # noqa: ARG002 - gone is gone
        """The row goes."""
        _check_clock(seen)
        _require(seen, self.lease)
        text = "DELETE FROM sealed WHERE secret = %s AND kind = %s AND key = %s"
        return Decided(answer=None, statements=[Query(text, (self.secret, self.kind, self.key))])


def known(subjects: Sequence[str]) -> Query:
    """Rows to lock for subjects that have none yet. A statement of its own: whoever dies after it leaves no lock."""
    text = """INSERT INTO lease SELECT subject, '', 0, 0 FROM pg_catalog.unnest(%s::text[]) AS subject ORDER BY subject
              ON CONFLICT DO NOTHING"""
    return Query(text, (list(subjects),))


def ended(lease: Lease) -> Plain:
    """Give a lease back, unless it was lost."""
    text = "UPDATE lease SET expires_at = 0 WHERE subject = %s AND fence = %s AND runner = %s"
    return Plain(statement=Query(text, (lease.subject, lease.fence, lease.runner)))


def buried(lease: Lease) -> Plain:
    """End this very lease, unless it was renewed or taken over."""
    text = """UPDATE lease SET expires_at = 0
              WHERE subject = %s AND fence = %s AND runner = %s AND expires_at = %s::float8"""
    return Plain(statement=Query(text, (lease.subject, lease.fence, lease.runner, lease.expires_at)))


def _lease(row: Row) -> Lease:
    return Lease(subject=row[0], runner=row[1], fence=row[2], expires_at=row[3])


def _locked(lease: Lease) -> Query:
    return Query(f"{LEASE_ROW} WHERE subject = %s FOR UPDATE", (lease.subject,))


def _require(seen: Seen, lease: Lease) -> None:
    held = [_lease(row) for row in seen.rows[0]]
    # A fail-over that forgot a takeover gives its number to another runner once more.
    ours = (lease.fence, lease.runner)
    if not any((one.fence, one.runner) == ours and one.expires_at > seen.now for one in held):
        raise LeaseLost(f"the lease on {lease.subject} is not held any more")


def _taken(before: Lease, runner: str, expires_at: float) -> Decided[Any]:
    """The lease with the next fence of its subject."""
    taken = replace(before, runner=runner, fence=before.fence + 1, expires_at=expires_at)
    text = "UPDATE lease SET runner = %s, fence = %s, expires_at = %s WHERE subject = %s"
    return Decided(answer=taken, statements=[Query(text, (runner, taken.fence, expires_at, taken.subject))])


def _check_clock(seen: Seen) -> None:
    if seen.now < seen.newest_at - BACKWARDS_MAX_S:
        raise faults.clock_backwards(seen.place, now=seen.now, newest=seen.newest_at, whose="the database server")


def _events_stored(secret: str, events: Sequence[Event]) -> list[Query]:
    if not events:
        return []
    last = events[-1]
    rows = [
        (e.secret, e.seq, e.at, e.type, encode(e.data), e.rotation_id, e.runner, e.operator, e.prev, e.hash)
        for e in events
    ]
    head = """INSERT INTO head VALUES (%s, %s, %s)
              ON CONFLICT (secret) DO UPDATE SET seq = excluded.seq, hash = excluded.hash"""
    # One row for all secrets: whoever finds it locked leaves it to the one who has it, and once a second is enough.
    newest = """UPDATE journal SET newest_at = %s WHERE only_row =
                (SELECT only_row FROM journal WHERE newest_at < %s::float8 FOR UPDATE SKIP LOCKED)"""
    return [
        *(Query("INSERT INTO event VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", row) for row in rows),
        Query(head, (secret, last.seq, last.hash)),
        Query(newest, (last.at, last.at - NEWEST_STEP_S)),
    ]


def _summary_stored(secret: str, summary: Summary | None) -> list[Query]:
    if summary is None:
        return []
    text = """INSERT INTO summary VALUES (%s, %s, %s, %s) ON CONFLICT (secret) DO UPDATE SET
              status = excluded.status, next_at = excluded.next_at, state = excluded.state"""
    return [Query(text, (secret, summary.status, summary.next_at, encode(summary.state)))]
