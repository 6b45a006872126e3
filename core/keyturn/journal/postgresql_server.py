"""What a PostgreSQL server must be like to keep a journal, and what its errors mean to a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psycopg

from keyturn.errors import KeyturnError
from keyturn.journal import faults

VERSION_MIN = 130_000
SETTINGS = """SELECT current_setting('server_version_num'), current_setting('server_encoding'),
  current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
  current_setting('synchronous_standby_names'), current_setting('extra_float_digits'), pg_is_in_recovery()::text"""
NAMES = (
    "server_version_num",
    "server_encoding",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "standbys",
    "extra_float_digits",
    "replica",
)

DUPLICATES = ("23505", "42P07", "42710")
"""Two did the same thing at the same moment: a row, a table. Or somebody has a type of that name."""

LOST = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04")
"""The connection is gone, or goes away: https://www.postgresql.org/docs/current/errcodes-appendix.html."""

Fault = Callable[[str, str], KeyturnError]

MEANING: Mapping[str, Fault] = {
    "55P03": lambda place, _: faults.busy(place),
    "57014": lambda place, _: faults.busy(place),
    "40": lambda place, _: faults.busy(place),
    "23505": lambda place, _: faults.busy(place),
    "53100": lambda place, _: faults.full(place),
    "53": faults.unreachable,
    "42501": faults.rights,
    "3F": lambda place, _: faults.missing(place),
    "42P01": lambda place, _: faults.missing(place),
    "42703": lambda place, _: faults.foreign(place),
    "25006": lambda place, _: faults.replica(place),
    "58": lambda place, _: faults.unwritable(place),
    "XX001": lambda place, _: faults.corrupt(place, "PostgreSQL finds its pages broken"),
    "XX002": lambda place, _: faults.corrupt(place, "PostgreSQL finds its pages broken"),
}
"""SQLSTATE, or its class, to what a person is told, from the place and the server's words."""


def check_server(connection: psycopg.Connection, place: str) -> None:
    """Raise UsageError `journal-settings` or JournalError `journal-replica` unless every commit here is durable."""
    row = connection.execute(SETTINGS.encode()).fetchone() or ()
    found = dict(zip(NAMES, map(str, row), strict=True))
    if found["replica"] == "true":
        raise faults.replica(place)
    if flaw := settings_flaw(found):
        raise faults.settings(place, flaw)


def settings_flaw(found: Mapping[str, str]) -> str | None:
    """What is wrong with a server's settings, by NAMES; None where every acknowledged commit is safe."""
    if int(found["server_version_num"]) < VERSION_MIN:
        return f"expected version {VERSION_MIN // 10_000} or newer, found {int(found['server_version_num']) // 10_000}"
    if found["server_encoding"] != "UTF8":
        return f"expected a database in UTF8, found {found['server_encoding']}"
    for name in ("fsync", "full_page_writes"):
        if found[name] != "on":
            return f"expected {name} = on, found {found[name]}"
    # Each write sets `on` for itself. A default of off is refused all the same: what else was traded for speed there?
    if found["synchronous_commit"] == "off" or (found["synchronous_commit"] == "local" and found["standbys"]):
        return f"expected synchronous_commit = on, found {found['synchronous_commit']}"
    # Rounded times would make whole chains look broken.
    if int(found["extra_float_digits"]) < 1:
        return f"expected extra_float_digits = 1, found {found['extra_float_digits']}"
    return None


def is_lost(connection: psycopg.Connection, error: psycopg.Error) -> bool:
    """Whether this connection can not be used further, so that another one should be tried."""
    # Without a state it is the library that speaks: the server did not answer, or not what was asked.
    silent = error.sqlstate is None and isinstance(error, psycopg.OperationalError)
    return silent or connection.closed or connection.broken or (error.sqlstate or "").startswith(LOST)


def fault_of(place: str, error: psycopg.Error) -> KeyturnError | None:
    """What the person is told of an answer of the server's; None for what can only be a bug."""
    state = error.sqlstate or ""
    fault = MEANING.get(state) or MEANING.get(state[:2])
    return fault(place, (error.diag.message_primary or "").rstrip(".")) if fault else None
