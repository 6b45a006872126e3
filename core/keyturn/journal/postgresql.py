"""The journal in a PostgreSQL database, for many machines: every acknowledged commit is on its disks.

No state of a session is relied on, so that a pooler may stand in between. A connection that is lost is replaced once;
a COMMIT that was not answered is settled by looking, under the same locks, before anything is repeated (ADR 0011).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from keyturn.clock import Clock
from keyturn.ids import new_id
from keyturn.journal import faults
from keyturn.journal.chain import Head, first_broken
from keyturn.journal.faults import JournalError
from keyturn.journal.migrations import POSTGRESQL_JOURNAL_TABLE, POSTGRESQL_MIGRATIONS, SCHEMA
from keyturn.journal.postgresql_pool import Connection, Limits, Lost, Pool
from keyturn.journal.postgresql_server import DUPLICATES, check_server
from keyturn.journal.postgresql_time import DatabaseTime
from keyturn.journal.postgresql_url import Address, parse_url
from keyturn.journal.postgresql_writes import (
    NOW,
    Acquire,
    Append,
    Claim,
    ClaimSubject,
    Decided,
    Query,
    Renew,
    Seal,
    Seen,
    Unseal,
    Write,
    buried,
    ended,
    known,
)
from keyturn.journal.store import Broken, Draft, Event, Lease, Sealed, Summary

T = TypeVar("T")
Row = tuple[Any, ...]

EVENT_COLUMNS = "secret, seq, at, type, data, rotation_id, runner, operator, prev, hash"
FIRST_ROW = f"INSERT INTO journal VALUES (1, %s, {NOW}, {NOW}, 0, 0)"  # noqa: S608 - constants
JOURNAL_COLUMNS = frozenset({"only_row", "id", "created_at", "newest_at", "schema", "min_writer"})
TABLES = ("journal", "event", "head", "summary", "lease", "subject", "sealed")
WHERE = """SELECT count(DISTINCT relnamespace), bool_and(relpersistence = 'p') FROM pg_class
           WHERE oid IN (SELECT to_regclass(name) FROM pg_catalog.unnest(%s::text[]) AS name)"""
"""In how many schemas our tables are found, and whether they outlive a crash."""

MAKING = "SELECT pg_catalog.pg_advisory_xact_lock(1263817550)"
"""Held while tables are made or changed; the number is SQLite's application id of a journal."""

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
SETTINGS = """SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true),
  set_config('idle_in_transaction_session_timeout', %s, true), set_config('synchronous_commit',
    CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)"""
SERVER = "pg_postmaster_start_time()::text"
LOOK = f"SELECT {NOW}, newest_at, min_writer, {SERVER} FROM journal"  # noqa: S608 - constants


class PostgresqlJournal:
    """`keyturn.journal.store.Journal` in one database. Safe to share between threads."""

    def __init__(self, address: Address, *, clock: Clock, runner: str, operator: str, limits: Limits) -> None:
        self._place = address.shown
        self._limits = limits
        self._runner = runner
        self._operator = operator
        self._pool = Pool(address, clock, limits, self._greet)
        self._time = DatabaseTime(clock, lambda: float(self._read(f"SELECT {NOW}")[0][0]))
        self._lock = threading.Lock()
        self._id = ""
        self._newest: dict[str, Head] = {}

    @classmethod
    def create(cls, url: str, clock: Clock, *, runner: str = "init", operator: str = "init") -> Self:
        """Make the tables, all or none, and open the journal. Raises UsageError `journal-exists`, or as `open`."""
        address = parse_url(url)
        pool = Pool(address, clock, Limits(), lambda connection: check_server(connection, address.shown))
        try:
            with pool.connection() as connection:
                _make(connection, address.shown, new_id(clock))
        except Lost as lost:
            raise lost.fault from None
        finally:
            pool.close()
        return cls.open(url, clock=clock, runner=runner, operator=operator)

    @classmethod
    def open(cls, url: str, *, clock: Clock, runner: str, operator: str, limits: Limits | None = None) -> Self:
        """Open an existing journal, migrating it when it is older. Raises UsageError or JournalError."""
        journal = cls(parse_url(url), clock=clock, runner=runner, operator=operator, limits=limits or Limits())
        try:
            with journal._pool.connection() as connection:
                _migrate(connection)
        except Lost as lost:
            raise lost.fault from None
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def id(self) -> str:
        """This journal's id."""
        return self._id

    def now(self) -> float:
        """Epoch seconds by the database's clock, as of a few seconds ago."""
        return self._time.now()

    def events(self, secret: str, *, after: int = 0) -> list[Event]:
        """The secret's events in order, those with a larger `seq` than `after`."""
        try:
            events = [_event(row) for row in self._event_rows(secret, after)]
        except ValueError as error:
            raise faults.corrupt(self._place, f"an event of {secret} can not be read") from error
        self._remember(secret, events)
        return events

    def append(
        self, secret: str, drafts: Sequence[Draft], *, lease: Lease, summary: Summary | None = None
    ) -> list[Event]:
        """Store events and the summary row in one transaction. Raises LeaseLost unless `lease` is held now."""
        append = Append(
            secret=secret, drafts=drafts, lease=lease, summary=summary, runner=self._runner, operator=self._operator
        )
        stored = self._write(append)
        self._remember(secret, stored)
        return stored

    def summaries(self) -> dict[str, Summary]:
        """All summary rows, by secret."""
        rows = self._read('SELECT secret, status, next_at, state FROM summary ORDER BY secret COLLATE "C"')
        return {
            secret: Summary(secret=secret, status=status, next_at=next_at, state=json.loads(state))
            for secret, status, next_at, state in rows
        }

    def heads(self) -> dict[str, tuple[int, str]]:
        """The last `seq` and hash of every secret's chain."""
        return {secret: (seq, digest) for secret, seq, digest in self._read("SELECT secret, seq, hash FROM head")}

    def verify(self, heads: Mapping[str, tuple[int, str]] | None = None) -> list[Broken]:
        """The first broken link of each chain; with `heads` kept elsewhere, truncation and replacement too."""
        noted = heads or {}
        own = self.heads()
        stored = {row[0] for row in self._read("SELECT DISTINCT secret FROM event")}
        found = (self._broken(secret, own, noted) for secret in sorted(stored | own.keys() | noted.keys()))
        return [broken for broken in found if broken]

    def acquire(self, subject: str, runner: str, *, ttl_s: float) -> Lease:
        """Take the lease, at once or not at all. Raises LeaseHeld. Each acquisition raises the fence."""
        self._read(*known([subject]))
        return self._write(Acquire(subject=subject, runner=runner, ttl_s=ttl_s))

    def claim(self, subjects: Sequence[str], runner: str, *, ttl_s: float) -> Lease | None:
        """Take the lease of the first of these that nobody holds. None: all are held."""
        self._read(*known(subjects))
        return self._write(Claim(subjects=subjects, runner=runner, ttl_s=ttl_s))

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Extend a lease that is still held. Raises LeaseLost once it has expired, even when nobody took it."""
        return self._write(Renew(lease=lease, ttl_s=ttl_s))

    def release(self, lease: Lease) -> None:
        """Give the lease back; nothing happens where it was lost."""
        self._write(ended(lease))

    def bury(self, lease: Lease) -> None:
        """End this very lease, whose holder is known to be dead; nothing where it was renewed or taken meanwhile."""
        self._write(buried(lease))

    def claim_subject(self, subject: str, secret: str) -> str:
        """Bind a vendor's subject to a secret for good; the secret it is bound to is returned."""
        return self._write(ClaimSubject(subject=subject, secret=secret))

    def seal(self, sealed: Sealed) -> None:
        """Keep a sealed value; the same secret, kind and key replaces. Never fenced. `at` 0 means now."""
        self._write(Seal(sealed=sealed, names=json.dumps(sealed.fields)))

    def sealed(self, secret: str | None = None) -> list[Sealed]:
        """What the escrow keeps, oldest first."""
        query = """SELECT secret, kind, key, version_id, blob, fields, at FROM sealed
                   WHERE %s::text IS NULL OR secret = %s ORDER BY at, number"""
        return [_sealed(row) for row in self._read(query, (secret, secret))]

    def unseal_forever(self, secret: str, kind: str, key: str, *, lease: Lease) -> None:
        """Drop one sealed value. Raises LeaseLost."""
        self._write(Unseal(secret=secret, kind=kind, key=key, lease=lease))

    def close(self) -> None:
        """Give all connections back."""
        self._pool.close()

    # Transactions

    def _read(self, query: str, values: Row = ()) -> list[Row]:
        """One statement of its own that may be repeated; its rows, if it has any."""
        try:
            return self._read_once(query, values, fresh=False)
        except Lost:
            pass
        try:
            return self._read_once(query, values, fresh=True)
        except Lost as lost:
            raise lost.fault from None

    def _read_once(self, query: str, values: Row, *, fresh: bool) -> list[Row]:
        with self._pool.connection(fresh=fresh) as connection:
            return _rows(connection.execute(query.encode(), values))

    def _write(self, write: Write[T]) -> T:
        doubted: list[T] = []
        try:
            return self._write_once(write, doubted, fresh=False)
        except Lost as lost:
            unanswered = lost.fault
        try:
            return self._write_once(write, doubted, fresh=True)
        except Lost as lost:
            raise lost.fault from None
        except JournalError as error:
            if doubted:  # `busy` and the like would promise that nothing is stored
                raise unanswered from error
            raise

    def _write_once(self, write: Write[T], doubted: list[T], *, fresh: bool) -> T:
        """One transaction. `doubted` gets what was decided before it is sent: from then on it may be stored."""
        with self._pool.connection(fresh=fresh) as connection:
            try:
                decided = self._decide(connection, write, doubted[0] if doubted else None)
                doubted[:] = [decided.answer]
                _send(connection, [*decided.statements, Query("COMMIT")])
            finally:
                _roll_back(connection)
        return decided.answer

    def _decide(self, connection: Connection, write: Write[T], doubted: T | None) -> Decided[T]:
        _begun, _set, *rows = _send(connection, [Query(BEGIN), self._settings(), *write.asks(doubted), Query(LOOK)])
        ((now, newest_at, min_writer, server),) = rows.pop()
        if min_writer > SCHEMA:  # a newer version may have migrated it while we had it open
            raise faults.newer(self._place, needs=min_writer, ours=SCHEMA)
        if server != connection.server:  # a pooler went over to another one
            self._greet(connection)
        return write.decide(Seen(rows=rows, now=now, newest_at=newest_at, place=self._place), doubted)

    def _settings(self) -> Query:
        limits = (self._limits.lock_s, self._limits.statement_s, self._limits.idle_s)
        return Query(SETTINGS, tuple(str(int(limit_s * 1000)) for limit_s in limits))

    # Which database this is

    def _greet(self, connection: Connection) -> None:
        """Look at a server before anything is believed of it. Raises KeyturnError."""
        check_server(connection, self._place)
        found = _recognised(connection, self._place)
        if self._id and found != self._id:
            raise faults.foreign(self._place)
        self._refuse_older(connection)
        self._id = found
        connection.server = str(_one(connection, f"SELECT {SERVER}"))

    def _refuse_older(self, connection: Connection) -> None:
        """A fail-over to a copy that lacks what was acknowledged would let done things be done again."""
        with self._lock:
            newest = [(secret, seq, digest) for secret, (seq, digest) in self._newest.items()]
        if not newest:
            return
        query = """SELECT noted.secret FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS noted (secret, seq, hash)
                   LEFT JOIN event ON event.secret = noted.secret AND event.seq = noted.seq
                   WHERE event.hash IS DISTINCT FROM noted.hash LIMIT 1"""
        lacking = connection.execute(query.encode(), [list(column) for column in zip(*newest, strict=True)]).fetchone()
        if lacking:
            raise faults.stale(self._place, lacking[0])

    def _remember(self, secret: str, events: Sequence[Event]) -> None:
        if not events:
            return
        last = events[-1]
        with self._lock:
            if last.seq >= self._newest.get(secret, (0, ""))[0]:
                self._newest[secret] = (last.seq, last.hash)

    def _event_rows(self, secret: str, after: int) -> list[Row]:
        query = f"SELECT {EVENT_COLUMNS} FROM event WHERE secret = %s AND seq > %s ORDER BY seq"  # noqa: S608 - a constant
        return self._read(query, (secret, after))

    def _broken(self, secret: str, own: Mapping[str, Head], noted: Mapping[str, Head]) -> Broken | None:
        kept = [heads[secret] for heads in (own, noted) if secret in heads]
        return first_broken(secret, map(_event, self._event_rows(secret, 0)), kept)


def _send(connection: Connection, statements: Sequence[Query]) -> list[list[Row]]:
    """Statements in one message, their rows in one answer: a line that breaks leaves no half of it at the server."""
    with psycopg.ClientCursor(connection) as cursor:
        whole = "; ".join(cursor.mogrify(statement.text.encode(), statement.values) for statement in statements)
        cursor.execute(whole.encode())
        answers = [_rows(cursor)]
        while cursor.nextset():
            answers.append(_rows(cursor))
    return answers


def _rows(cursor: psycopg.Cursor[Row]) -> list[Row]:
    return cursor.fetchall() if cursor.description else []


def _roll_back(connection: Connection) -> None:
    if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
        with suppress(psycopg.Error):  # the pool drops it
            connection.execute(b"ROLLBACK")


def _one(connection: Connection, query: str) -> Any:
    return (connection.execute(query.encode()).fetchone() or (None,))[0]


def _recognised(connection: Connection, place: str) -> str:
    """The journal's id. Raises UsageError `journal-missing`, `journal-foreign` or `journal-newer`."""
    query = b"SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('journal') AND attnum > 0"
    columns = {row[0] for row in connection.execute(query).fetchall()}
    if not columns:
        raise faults.missing(place)
    row = connection.execute(b"SELECT id, min_writer FROM journal").fetchone() if columns >= JOURNAL_COLUMNS else None
    if row is None:
        raise faults.foreign(place)
    if row[1] > SCHEMA:
        raise faults.newer(place, needs=row[1], ours=SCHEMA)
    schemas, logged = connection.execute(WHERE.encode(), (list(TABLES),)).fetchone() or (0, True)
    if schemas > 1:  # runners whose search_path differs would share some tables and not the others
        raise faults.foreign(place)
    if not logged:
        raise faults.settings(place, "expected tables that outlive a crash, found unlogged ones")
    return str(row[0])


def _make(connection: Connection, place: str, new: str) -> None:
    if _one(connection, "SELECT to_regclass('journal')") is not None:
        raise faults.exists(place)
    try:
        with connection.transaction():
            connection.execute(MAKING.encode())
            connection.execute(POSTGRESQL_JOURNAL_TABLE.encode())
            connection.execute(FIRST_ROW.encode(), (new,))
            _apply_migrations(connection)
    except psycopg.Error as error:
        # Another one was faster, or one of our names is taken.
        if error.sqlstate in DUPLICATES:
            raise faults.exists(place) from error
        raise


def _migrate(connection: Connection) -> None:
    if _one(connection, "SELECT schema FROM journal") >= SCHEMA:
        return
    with connection.transaction():
        connection.execute(MAKING.encode())  # another process may be at it
        _apply_migrations(connection)


def _apply_migrations(connection: Connection) -> None:
    done = _one(connection, "SELECT schema FROM journal")
    for migration in POSTGRESQL_MIGRATIONS:
        if migration.number > done:
            for statement in migration.statements:
                connection.execute(statement.encode())
            values = (migration.number, migration.min_writer)
            connection.execute(b"UPDATE journal SET schema = %s, min_writer = %s", values)


def _event(row: Row) -> Event:
    secret, seq, at, kind, data, rotation_id, runner, operator, prev, digest = row
    return Event(
        secret=secret,
        seq=seq,
        at=at,
        type=kind,
        data=json.loads(data),
        rotation_id=rotation_id,
        runner=runner,
        operator=operator,
        prev=prev,
        hash=digest,
    )


def _sealed(row: Row) -> Sealed:
    secret, kind, key, version_id, blob, fields, at = row
    names = tuple(json.loads(fields))
    return Sealed(secret=secret, kind=kind, key=key, version_id=version_id, blob=blob, fields=names, at=at)
