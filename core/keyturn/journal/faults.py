"""How a store says that it can not: one stable code per cause, whatever the database."""

from __future__ import annotations

from keyturn.clock import iso
from keyturn.errors import RefusedError, StuckError, UnfinishedError, UsageError


class JournalError(UnfinishedError):
    """The journal can not be used just now, and the next run goes on.

    Nothing of the transaction was kept; where the server went away at its end (`journal-unreachable`), perhaps all.
    """


def missing(place: str) -> UsageError:
    """No journal there. A store never makes one by opening it: an empty one would say `nothing due`."""
    return UsageError(
        "journal-missing",
        "there is no journal",
        hint="make one with keyturn init, or correct journal: in the configuration",
        place=place,
    )


def exists(place: str) -> UsageError:
    """Something stands where a new journal should be made."""
    return UsageError(
        "journal-exists", "something is there already", hint="use it as it is, or choose another place", place=place
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


def clock_backwards(place: str, *, now: float, newest: float, whose: str = "this machine") -> RefusedError:
    """The journal's clock lies before what the journal already holds."""
    return RefusedError(
        "clock-backwards",
        f"the clock says {iso(now)}, but the journal was written at {iso(newest)}",
        hint=f"set the clock of {whose} (NTP), then run the command again",
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


def unreachable(place: str, why: str) -> JournalError:
    """The database server can not be talked to: down, restarting, silent, or it does not let us in."""
    return JournalError(
        "journal-unreachable",
        f"the journal's database can not be reached: {why}",
        hint="check the server, its network and the URL's user, then run the command again",
        place=place,
    )


def replica(place: str) -> JournalError:
    """The server takes no writes: a read replica, or a standby that was not promoted yet."""
    return JournalError(
        "journal-replica",
        "the database server is a replica, which takes no writes",
        hint="wait for the fail-over to end, or point the URL at the primary; target_session_attrs=read-write finds it",
        place=place,
    )


def stale(place: str, secret: str) -> StuckError:
    """The database knows less than it told this very process before: an older copy took its place."""
    return StuckError(
        "journal-stale",
        f"the database is an older copy of the journal: it lacks events of {secret} that were stored already",
        hint="point the URL at the server with the newest history, then keyturn audit verify --heads FILE",
        place=place,
        fields={"secret": secret},
    )


def settings(place: str, flaw: str) -> UsageError:
    """The database could lose what it acknowledged, or tell it differently."""
    return UsageError(
        "journal-settings",
        f"the database server would not keep a journal: {flaw}",
        hint="change it at the server, or point url: under journal: at another one",
        place=place,
    )


def rights(place: str, why: str) -> UsageError:
    """The database role may not do what a runner has to do."""
    return UsageError(
        "journal-rights",
        f"the database role has too few rights: {why}",
        hint="grant what the page how-to/postgresql lists; tables are made and changed with the URL of their owner",
        place=place,
    )
