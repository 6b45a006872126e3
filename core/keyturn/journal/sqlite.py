"""The journal in one SQLite file, for one machine: WAL, every commit forced to the disk.

One connection serves all threads of a process, one short transaction at a time; other processes wait on SQLite's own
lock, for a limited time. Each method is one transaction.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from keyturn.clock import Clock
from keyturn.files import sync_folder, write_private
from keyturn.ids import new_id
from keyturn.journal import faults
from keyturn.journal.chain import START, Head, encode, first_broken, link
from keyturn.journal.migrations import JOURNAL_TABLE, MIGRATIONS, SCHEMA
from keyturn.journal.place import check_file, check_folder
from keyturn.journal.store import Broken, Draft, Event, Lease, LeaseHeld, LeaseLost, Sealed, Summary

APPLICATION_ID = 0x4B54524E
BUSY_TIMEOUT_S = 5.0
BACKWARDS_MAX_S = 120.0
EVENT_COLUMNS = "secret, seq, at, type, data, rotation_id, runner, operator, prev, hash"
SEALED_COLUMNS = "secret, kind, key, version_id, blob, fields, at"

Row = tuple[Any, ...]


class SqliteJournal:
    """`keyturn.journal.store.Journal` in one file. Safe to share between threads."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, clock: Clock, runner: str, operator: str) -> None:
        self._path = path
        self._connection = connection
        self._clock = clock
        self._runner = runner
        self._operator = operator
        self._lock = threading.Lock()
        self._id = str(connection.execute("SELECT id FROM journal").fetchone()[0])

    @classmethod
    def create(cls, path: Path, clock: Clock, *, runner: str = "init", operator: str = "init") -> Self:
        """Make a new journal, whole or not at all, and open it. Raises UsageError `journal-exists`."""
        check_folder(path.parent)
        # A stale log of a lost journal beside the new file would be replayed into it.
        log = path.with_name(path.name + "-wal")
        if any(found.exists() or found.is_symlink() for found in (path, log)):
            raise faults.exists(str(path))
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        write_private(draft, b"", new=True)
        try:
            _fill(draft, clock)
            path.hardlink_to(draft)  # unlike a rename, never replaces what came there meanwhile
        except FileExistsError as error:
            raise faults.exists(str(path)) from error
        except OSError as error:
            raise faults.unwritable(str(path)) from error
        finally:
            draft.unlink()
        sync_folder(path.parent)
        return cls.open(path, clock=clock, runner=runner, operator=operator)

    @classmethod
    def open(
        cls, path: Path, *, clock: Clock, runner: str, operator: str, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> Self:
        """Open an existing journal, migrating it when it is older. Raises UsageError or JournalError."""
        check_file(path)
        check_folder(path.parent)
        with _translated(path):
            connection = _connect(path, busy_timeout_s)
            try:
                _recognise(path, connection)
                _migrate(path, connection)
                return cls(path, connection, clock=clock, runner=runner, operator=operator)
            except BaseException:
                connection.close()
                raise

    @property
    def id(self) -> str:
        """This journal's id."""
        return self._id

    def now(self) -> float:
        """Epoch seconds by this machine's clock: the database is this machine's."""
        return self._clock.now()

    def events(self, secret: str, *, after: int = 0) -> list[Event]:
        """The secret's events in order, those with a larger `seq` than `after`."""
        try:
            return [_event(row) for row in self._event_rows(secret, after)]
        except ValueError as error:
            raise faults.corrupt(str(self._path), f"an event of {secret} can not be read") from error

    def append(
        self, secret: str, drafts: Sequence[Draft], *, lease: Lease, summary: Summary | None = None
    ) -> list[Event]:
        """Store events and the summary row in one transaction. Raises LeaseLost unless `lease` is held now."""
        with self._write() as connection:
            at = self._steady_now(connection)
            _require(connection, lease, at)
            stored: list[Event] = []
            head = _head(connection, secret)
            for draft in drafts:
                event = link(secret, draft, head=head, at=at, runner=self._runner, operator=self._operator)
                head = (event.seq, event.hash)
                stored.append(event)
            _store_events(connection, secret, stored)
            if summary:
                _store_summary(connection, secret, summary)
        return stored

    def summaries(self) -> dict[str, Summary]:
        """All summary rows, by secret."""
        rows = self._read("SELECT secret, status, next_at, state FROM summary ORDER BY secret")
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
        with self._write() as connection:
            now = self._steady_now(connection)
            query = "SELECT subject, runner, fence, expires_at FROM lease WHERE subject = ?"
            row = connection.execute(query, (subject,)).fetchone()
            before = Lease(subject=row[0], runner=row[1], fence=row[2], expires_at=row[3]) if row else None
            if before and before.expires_at > now:
                raise LeaseHeld(before)
            return _take(connection, Lease(subject=subject, runner=runner, fence=0, expires_at=now + ttl_s))

    def claim(self, subjects: Sequence[str], runner: str, *, ttl_s: float) -> Lease | None:
        """Take the lease of the first of these that nobody holds. None: all are held."""
        with self._write() as connection:
            now = self._steady_now(connection)
            held = {row[0] for row in connection.execute("SELECT subject FROM lease WHERE expires_at > ?", (now,))}
            free = next((subject for subject in subjects if subject not in held), None)
            if free is None:
                return None
            return _take(connection, Lease(subject=free, runner=runner, fence=0, expires_at=now + ttl_s))

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Extend a lease that is still held. Raises LeaseLost once it has expired, even when nobody took it."""
        with self._write() as connection:
            now = self._steady_now(connection)
            _require(connection, lease, now)
            renewed = Lease(subject=lease.subject, runner=lease.runner, fence=lease.fence, expires_at=now + ttl_s)
            _expire_at(connection, lease, renewed.expires_at)
        return renewed

    def release(self, lease: Lease) -> None:
        """Give the lease back; nothing happens where it was lost."""
        with self._write() as connection:
            _expire_at(connection, lease, 0.0)

    def bury(self, lease: Lease) -> None:
        """End this very lease, whose holder is known to be dead; nothing where it was renewed or taken meanwhile."""
        with self._write() as connection:
            query = "UPDATE lease SET expires_at = 0 WHERE subject = ? AND fence = ? AND expires_at = ?"
            connection.execute(query, (lease.subject, lease.fence, lease.expires_at))

    def claim_subject(self, subject: str, secret: str) -> str:
        """Bind a vendor's subject to a secret for good; the secret it is bound to is returned."""
        with self._write() as connection:
            connection.execute("INSERT OR IGNORE INTO subject VALUES (?, ?)", (subject, secret))
            row = connection.execute("SELECT secret FROM subject WHERE subject = ?", (subject,)).fetchone()
        return str(row[0])

    def seal(self, sealed: Sealed) -> None:
        """Keep a sealed value; the same secret, kind and key replaces. Never fenced. `at` 0 means now."""
        at = sealed.at or self.now()
        names = json.dumps(sealed.fields)
        row = (sealed.secret, sealed.kind, sealed.key, sealed.version_id, sealed.blob, names, at)
        with self._write() as connection:
            connection.execute(
                f"""INSERT INTO sealed ({SEALED_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
                    ON CONFLICT (secret, kind, key) DO UPDATE SET
                    version_id = excluded.version_id, blob = excluded.blob, fields = excluded.fields,
                    at = excluded.at""",  # noqa: S608 - a constant
                row,
            )

    def sealed(self, secret: str | None = None) -> list[Sealed]:
        """What the escrow keeps, oldest first."""
        query = f"SELECT {SEALED_COLUMNS} FROM sealed WHERE ?1 IS NULL OR secret = ?1 ORDER BY at, rowid"  # noqa: S608 - a constant
        return [_sealed(row) for row in self._read(query, (secret,))]

    def unseal_forever(self, secret: str, kind: str, key: str, *, lease: Lease) -> None:
        """Drop one sealed value. Raises LeaseLost."""
        with self._write() as connection:
            _require(connection, lease, self._steady_now(connection))
            connection.execute("DELETE FROM sealed WHERE secret = ? AND kind = ? AND key = ?", (secret, kind, key))

    def close(self) -> None:
        """Give all handles back."""
        with self._lock:
            self._connection.close()

    def _read(self, query: str, values: Row = ()) -> list[Row]:
        with self._lock, _translated(self._path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated(self._path), _transaction(self._connection) as connection:
            _check_writer(self._path, connection)  # a newer version may have migrated it while we had it open
            yield connection

    def _steady_now(self, connection: sqlite3.Connection) -> float:
        now = self._clock.now()
        newest = connection.execute("SELECT newest_at FROM journal").fetchone()[0]
        if now < newest - BACKWARDS_MAX_S:
            raise faults.clock_backwards(str(self._path), now=now, newest=newest)
        return now

    def _event_rows(self, secret: str, after: int) -> list[Row]:
        query = f"SELECT {EVENT_COLUMNS} FROM event WHERE secret = ? AND seq > ? ORDER BY seq"  # noqa: S608 - a constant
        return self._read(query, (secret, after))

    def _broken(self, secret: str, own: Mapping[str, Head], noted: Mapping[str, Head]) -> Broken | None:
        kept = [heads[secret] for heads in (own, noted) if secret in heads]
        return first_broken(secret, map(_event, self._event_rows(secret, 0)), kept)


def _connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    # mode=rw: SQLite would otherwise make a missing file. The lock above stands in for check_same_thread.
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=rw",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )


def _recognise(path: Path, connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise faults.foreign(str(path))
    _check_writer(path, connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # an envelope that was dropped is overwritten


def _fill(path: Path, clock: Clock) -> None:
    with _translated(path), closing(_connect(path, BUSY_TIMEOUT_S)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")
        with _transaction(connection):
            now = clock.now()
            connection.execute(JOURNAL_TABLE)
            connection.execute("INSERT INTO journal VALUES (1, ?, ?, ?, 0, 0)", (new_id(clock), now, now))
            _apply_migrations(connection)


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    if _schema(connection) >= SCHEMA:
        return
    with _transaction(connection):
        _check_writer(path, connection)
        _apply_migrations(connection)  # which asks again: another process may have been faster


def _apply_migrations(connection: sqlite3.Connection) -> None:
    done = _schema(connection)
    for migration in MIGRATIONS:
        if migration.number > done:
            for statement in migration.statements:
                connection.execute(statement)
            values = (migration.number, migration.min_writer)
            connection.execute("UPDATE journal SET schema = ?, min_writer = ?", values)


def _schema(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT schema FROM journal").fetchone()[0])


def _check_writer(path: Path, connection: sqlite3.Connection) -> None:
    needs = connection.execute("SELECT min_writer FROM journal").fetchone()[0]
    if needs > SCHEMA:
        raise faults.newer(str(path), needs=needs, ours=SCHEMA)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            with suppress(sqlite3.Error):  # SQLite rolls some failures back itself
                connection.execute("ROLLBACK")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        fault = _fault(str(path), error)
        if fault is None:
            raise
        raise fault from error


def _fault(place: str, error: sqlite3.DatabaseError) -> Exception | None:
    """What the person is told; None for what can only be a bug. Codes: https://www.sqlite.org/rescode.html."""
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return faults.busy(place)
        case sqlite3.SQLITE_FULL:
            return faults.full(place)
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return faults.unwritable(place)
        case sqlite3.SQLITE_NOTADB:
            return faults.foreign(place)
        case sqlite3.SQLITE_CORRUPT:
            return faults.corrupt(place, "SQLite finds its pages broken")
    return None


def _require(connection: sqlite3.Connection, lease: Lease, now: float) -> None:
    query = "SELECT 1 FROM lease WHERE subject = ? AND fence = ? AND expires_at > ?"
    if connection.execute(query, (lease.subject, lease.fence, now)).fetchone() is None:
        raise LeaseLost(f"the lease on {lease.subject} is not held any more")


def _take(connection: sqlite3.Connection, lease: Lease) -> Lease:
    """Store a lease with the next fence of its subject."""
    query = """INSERT INTO lease VALUES (?1, ?2, 1, ?3)
               ON CONFLICT (subject) DO UPDATE SET runner = ?2, fence = fence + 1, expires_at = ?3 RETURNING fence"""
    fence = connection.execute(query, (lease.subject, lease.runner, lease.expires_at)).fetchone()[0]
    return replace(lease, fence=fence)


def _expire_at(connection: sqlite3.Connection, lease: Lease, at: float) -> None:
    query = "UPDATE lease SET expires_at = ? WHERE subject = ? AND fence = ?"
    connection.execute(query, (at, lease.subject, lease.fence))


def _head(connection: sqlite3.Connection, secret: str) -> Head:
    row = connection.execute("SELECT seq, hash FROM head WHERE secret = ?", (secret,)).fetchone()
    return (row[0], row[1]) if row else START


def _store_events(connection: sqlite3.Connection, secret: str, events: Sequence[Event]) -> None:
    if not events:
        return
    rows = [
        (e.secret, e.seq, e.at, e.type, encode(e.data), e.rotation_id, e.runner, e.operator, e.prev, e.hash)
        for e in events
    ]
    connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    last = events[-1]
    connection.execute("REPLACE INTO head VALUES (?, ?, ?)", (secret, last.seq, last.hash))
    connection.execute("UPDATE journal SET newest_at = max(newest_at, ?)", (last.at,))


def _store_summary(connection: sqlite3.Connection, secret: str, summary: Summary) -> None:
    row = (secret, summary.status, summary.next_at, encode(summary.state))
    connection.execute("REPLACE INTO summary VALUES (?, ?, ?, ?)", row)


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
