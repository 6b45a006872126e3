"""The journal: append-only, hash-chained per secret; leases and escrow live in the same database."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.clock import Clock
from keyturn.errors import UsageError
from keyturn.journal.faults import JournalError
from keyturn.journal.store import Journal

if TYPE_CHECKING:  # a store is loaded only where it is used
    from keyturn.journal.postgresql import PostgresqlJournal

__all__ = ["JournalError", "JournalSettings", "make_journal", "open_journal"]


@dataclass(frozen=True, kw_only=True)
class JournalSettings:
    """Which store, and where: `path` for kind `sqlite`, `url` (it may hold a password) for kind `postgresql`."""

    kind: str
    path: Path | None = None
    url: str | None = field(default=None, repr=False)


def open_journal(settings: JournalSettings, *, clock: Clock, runner: str, operator: str) -> Journal:
    """Open an existing journal; `runner` and `operator` stand in every event written through it.

    Never makes one. Raises UsageError (`journal-missing`, `-foreign`, `-newer`, `-kind`; of a file `-mode`, `-symlink`,
    `-network`; of a server `-url`, `-settings`, `-rights`) or JournalError (`journal-busy`, `-full`, `-unwritable`,
    `-unreachable`, `-replica`).
    """
    if settings.kind == "postgresql":
        return _postgresql().open(_url(settings), clock=clock, runner=runner, operator=operator)
    path = _sqlite_path(settings)
    from keyturn.journal.sqlite import SqliteJournal  # noqa: PLC0415 - a store is loaded only where it is used

    return SqliteJournal.open(path, clock=clock, runner=runner, operator=operator)


def make_journal(settings: JournalSettings, *, clock: Clock) -> Journal:
    """Make a new journal and open it as runner `init`. Raises UsageError `journal-exists`, or as `open_journal`."""
    if settings.kind == "postgresql":
        return _postgresql().create(_url(settings), clock)
    path = _sqlite_path(settings)
    from keyturn.journal.sqlite import SqliteJournal  # noqa: PLC0415 - a store is loaded only where it is used

    return SqliteJournal.create(path, clock)


def _postgresql() -> type[PostgresqlJournal]:
    try:
        from keyturn.journal.postgresql import PostgresqlJournal  # noqa: PLC0415 - a store is loaded where it is used
    except ImportError as error:
        raise UsageError(
            "extra-missing",
            f"a journal of kind postgresql needs more packages: {error.name} is missing",
            hint="pip install 'keyturn[postgres]'",
        ) from error
    return PostgresqlJournal


def _url(settings: JournalSettings) -> str:
    if settings.url is None:
        raise UsageError(
            "journal-url",
            "a journal of kind postgresql needs a url",
            hint="write journal: {kind: postgresql, url: env:KEYTURN_JOURNAL}",
        )
    return settings.url


def _sqlite_path(settings: JournalSettings) -> Path:
    if settings.kind != "sqlite":
        raise UsageError(
            "journal-kind",
            f"expected a journal of kind sqlite or postgresql, found {settings.kind}",
            hint="write journal: {kind: sqlite, path: state/journal.db}",
        )
    if settings.path is None:
        raise UsageError(
            "journal-path", "a journal of kind sqlite needs a path", hint="write journal: {kind: sqlite, path: ...}"
        )
    return settings.path
