"""How a store says that it can not: one stable code per cause, whatever the database."""

from __future__ import annotations

from keyturn.clock import iso
from keyturn.errors import RefusedError, StuckError, UnfinishedError, UsageError


class JournalError(UnfinishedError):
    """The journal can not be used just now; nothing of the transaction was kept, and the next run goes on."""


def missing(place: str) -> UsageError:
    """No journal there. A store never makes one by opening it: an empty one would say `nothing due`."""
    return UsageError(
        "journal-missing", "there is no journal", hint="make one with keyturn init, or correct the path", place=place
    )


def exists(place: str) -> UsageError:
    """Something stands where a new journal should be made."""
    return UsageError(
        "journal-exists", "something is there already", hint="use it as it is, or choose another path", place=place
    )


def foreign(place: str) -> UsageError:
    """The database is somebody else's, or none at all."""
    return UsageError(
        "journal-foreign", "this is not a keyturn journal", hint="correct journal: in the configuration", place=place
    )


def newer(place: str, *, needs: int, ours: int) -> UsageError:
    """A newer version of Keyturn migrated the journal, and older ones may not write any more."""
    return UsageError(
        "journal-newer",
        f"expected a journal for writers up to {ours}, found one for writers from {needs}",
        hint="upgrade keyturn on this machine",
        place=place,
    )


def corrupt(place: str, what: str) -> StuckError:
    """The stored history can not be read."""
    return StuckError(
        "journal-corrupt",
        f"the journal is damaged: {what}",
        hint="keep a copy of the file, restore a backup, then keyturn audit verify",
        place=place,
    )


def clock_backwards(place: str, *, now: float, newest: float) -> RefusedError:
    """This machine's clock lies before what the journal already holds."""
    return RefusedError(
        "clock-backwards",
        f"the clock says {iso(now)}, but the journal was written at {iso(newest)}",
        hint="set this machine's clock (NTP), then run the command again",
        place=place,
    )


def busy(place: str) -> JournalError:
    """Another process is writing for longer than we wait."""
    return JournalError(
        "journal-busy",
        "another process keeps the journal locked",
        hint="run the command again; if it stays so, look for a stopped keyturn process or a backup tool",
        place=place,
    )


def full(place: str) -> JournalError:
    """No room left."""
    return JournalError(
        "journal-full",
        "the disk of the journal is full",
        hint="free some room, then run the command again",
        place=place,
    )


def unwritable(place: str) -> JournalError:
    """The disk or its rights failed."""
    return JournalError(
        "journal-unwritable",
        "the journal can not be written",
        hint="check the disk and the rights of the folder, then run the command again",
        place=place,
    )
