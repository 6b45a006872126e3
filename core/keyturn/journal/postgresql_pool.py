"""Connections to PostgreSQL: one per transaction, lent out and taken back. Nothing waits without a limit."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from keyturn.clock import Clock
from keyturn.errors import KeyturnError
from keyturn.journal import faults
from keyturn.journal.faults import JournalError
from keyturn.journal.postgresql_server import fault_of, is_lost
from keyturn.journal.postgresql_url import Address

T = TypeVar("T")
Row = tuple[Any, ...]

# It warns of each connection that breaks, on the terminal: we say so ourselves where it matters.
logging.getLogger("psycopg").setLevel(logging.ERROR)

IDLE_MAX = 8
PAUSE_S = 0.2
WAKE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long anything may take, in seconds. `answer_s` is ours, for a server that says nothing at all any more.

    `idle_s` ends a transaction whose client went silent; it is shorter than `lock_s`, for whoever waits for its locks.
    """

    idle_s: float = 3.0
    lock_s: float = 5.0
    statement_s: float = 10.0
    answer_s: float = 15.0
    reconnect_s: float = 5.0


class Silent(psycopg.OperationalError):
    """The server did not answer in time. Its own time-outs do not help where it is stopped itself."""


class Lost(Exception):
    """The connection is gone. `fault` is what a person is told if another one does not help."""

    def __init__(self, fault: JournalError) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Connection(psycopg.Connection[Row]):
    """A connection that waits for no answer beyond `ends_at` (monotonic). `server`: which one it was vetted with."""

    ends_at: float = math.inf
    server: str = ""

    def wait(self, gen: PQGen[T], interval: float = WAKE_S, timeout: float | None = None) -> T:  # noqa: ARG002 - theirs
        """Drive one operation; `interval` is how often its end is looked at. Raises Silent."""
        try:
            return super().wait(_limited(gen, self.ends_at), min(interval, WAKE_S))
        except Silent:
            self.close()  # an answer that comes later would be taken for that of the next question
            raise


def _limited(gen: PQGen[T], ends_at: float) -> PQGen[T]:
    try:
        ready = yield next(gen)
        while ready or monotonic() < ends_at:
            ready = yield gen.send(ready)
    except StopIteration as stop:
        found: T = stop.value
        return found
    raise Silent("the server does not answer")


class Pool:
    """Idle connections to one address. `greet` is called with every new one and raises what is wrong with it."""

    def __init__(self, address: Address, clock: Clock, limits: Limits, greet: Callable[[Connection], None]) -> None:
        self._address = address
        self._clock = clock
        self._limits = limits
        self._greet = greet
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False
        self._away_since: float | None = None

    @contextmanager
    def connection(self, *, fresh: bool = False) -> Iterator[Connection]:
        """A connection for one transaction, outside of any. Raises Lost, or KeyturnError for what the server says.

        `fresh`: not one that may have been lost with another, and a server that is just being restarted is waited for.
        """
        connection = (None if fresh else self._take()) or self._connect(patient=fresh)
        try:
            with self.translated(connection):
                connection.ends_at = monotonic() + self._limits.answer_s
                yield connection
        finally:
            self._give_back(connection)

    @contextmanager
    def translated(self, connection: Connection) -> Iterator[None]:
        """What the library says, as Lost or KeyturnError."""
        try:
            yield
        except psycopg.Error as error:
            if is_lost(connection, error):
                connection.close()
                self._forget()
                why = self._address.scrubbed(str(error))
                raise Lost(faults.unreachable(self._address.shown, why)) from None
            fault = fault_of(self._address.shown, error)
            if fault is None:
                raise
            raise fault from error

    def close(self) -> None:
        """Close what is idle, and what is lent out as soon as it comes back."""
        with self._lock:
            self._closed = True
        self._forget()

    def _take(self) -> Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: Connection) -> None:
        healthy = not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE
        with self._lock:
            if healthy:
                self._away_since = None
            if healthy and not self._closed and len(self._idle) < IDLE_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def _forget(self) -> None:
        """One connection is lost: the idle ones are likely to be as well."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self, *, patient: bool) -> Connection:
        """Raises Lost. A server that is away is waited for once, by all threads together, and not at each call."""
        found = self._tried()
        end = self._away(found) + self._limits.reconnect_s
        while isinstance(found, JournalError) and patient and self._clock.monotonic() < end:
            self._clock.sit_out(PAUSE_S)
            found = self._tried()
            self._away(found)
        if isinstance(found, JournalError):
            raise Lost(found)
        return found

    def _away(self, found: Connection | JournalError) -> float:
        """Note whether there is a connection to be had; since when there is none (monotonic)."""
        now = self._clock.monotonic()
        with self._lock:
            if not isinstance(found, JournalError):
                self._away_since = None
                return now
            if self._away_since is None:
                self._away_since = now
            return self._away_since

    def _tried(self) -> Connection | JournalError:
        """A new connection that was greeted; or that there is none to be had just now."""
        try:
            # Neither prepared statements nor settings: with a pooler in between, the next transaction is elsewhere.
            where = make_conninfo(**self._address.options)
            connection = Connection.connect(where, autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            return faults.unreachable(self._address.shown, self._address.scrubbed(str(error)))
        try:
            with self.translated(connection):
                connection.ends_at = monotonic() + self._limits.answer_s
                self._greet(connection)
        except Lost as lost:
            connection.close()
            return lost.fault
        except (KeyturnError, psycopg.Error):
            connection.close()
            raise
        return connection
