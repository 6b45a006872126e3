"""The schema of both stores as numbered migrations. A released migration is never edited; a new one is added."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One step of the schema. `min_writer`: the oldest schema number whose code may still write after it."""

    number: int
    min_writer: int
    statements: tuple[str, ...]


JOURNAL_TABLE = """CREATE TABLE journal (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  id TEXT NOT NULL, created_at REAL NOT NULL, newest_at REAL NOT NULL,
  schema INTEGER NOT NULL, min_writer INTEGER NOT NULL)"""
"""Made before the first migration and the same for ever: it tells every version whether it may write."""

MIGRATIONS = (
    Migration(
        number=1,
        min_writer=1,
        statements=(
            """CREATE TABLE event (
                 secret TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL,
                 rotation_id TEXT, runner TEXT NOT NULL, operator TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL,
                 PRIMARY KEY (secret, seq)) WITHOUT ROWID""",
            # Kept beside the events so that heads can be sent off the machine without reading history.
            "CREATE TABLE head (secret TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL)",
            """CREATE TABLE summary (
                 secret TEXT PRIMARY KEY, status TEXT NOT NULL, next_at REAL, state TEXT NOT NULL)""",
            # A released lease keeps its row: the fence only ever grows.
            """CREATE TABLE lease (
                 subject TEXT PRIMARY KEY, runner TEXT NOT NULL, fence INTEGER NOT NULL, expires_at REAL NOT NULL)""",
            "CREATE TABLE subject (subject TEXT PRIMARY KEY, secret TEXT NOT NULL)",
            """CREATE TABLE sealed (
                 secret TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, version_id TEXT NOT NULL,
                 blob BLOB NOT NULL, fields TEXT NOT NULL, at REAL NOT NULL,
                 UNIQUE (secret, kind, key))""",
        ),
    ),
)

SCHEMA = MIGRATIONS[-1].number
"""The schema number of this code, and so its number as a writer."""

POSTGRESQL_JOURNAL_TABLE = """CREATE TABLE journal (
  only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
  id TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, newest_at DOUBLE PRECISION NOT NULL,
  schema BIGINT NOT NULL, min_writer BIGINT NOT NULL)"""

POSTGRESQL_MIGRATIONS = (
    Migration(
        number=1,
        min_writer=1,
        statements=(
            """CREATE TABLE event (
                 secret TEXT NOT NULL, seq BIGINT NOT NULL, at DOUBLE PRECISION NOT NULL, type TEXT NOT NULL,
                 data TEXT NOT NULL, rotation_id TEXT, runner TEXT NOT NULL, operator TEXT NOT NULL,
                 prev TEXT NOT NULL, hash TEXT NOT NULL,
                 PRIMARY KEY (secret, seq))""",
            "CREATE TABLE head (secret TEXT PRIMARY KEY, seq BIGINT NOT NULL, hash TEXT NOT NULL)",
            """CREATE TABLE summary (
                 secret TEXT PRIMARY KEY, status TEXT NOT NULL, next_at DOUBLE PRECISION, state TEXT NOT NULL)""",
            """CREATE TABLE lease (
                 subject TEXT PRIMARY KEY, runner TEXT NOT NULL, fence BIGINT NOT NULL,
                 expires_at DOUBLE PRECISION NOT NULL)""",
            "CREATE TABLE subject (subject TEXT PRIMARY KEY, secret TEXT NOT NULL)",
            # `number` keeps what SQLite's row id does: the order in which values were sealed.
            """CREATE TABLE sealed (
                 number BIGINT GENERATED ALWAYS AS IDENTITY,
                 secret TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, version_id TEXT NOT NULL,
                 blob BYTEA NOT NULL, fields TEXT NOT NULL, at DOUBLE PRECISION NOT NULL,
                 UNIQUE (secret, kind, key))""",
        ),
    ),
)
"""The same numbers and the same columns, in PostgreSQL's types."""
