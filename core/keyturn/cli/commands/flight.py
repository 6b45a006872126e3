"""Commands for a rotation in flight: `resume`, `rollback`, `abandon`, `ack`, `hold`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session

reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; goes into the journal.")
reason_needed = click.option("--reason", required=True, metavar="TEXT", help="Why; goes into the journal.")


@click.command(cls=Command)
@click.argument("name")
@click.option(
    "--supply",
    multiple=True,
    metavar="FIELD=@FILE",
    help="Bring a value that the rotation waits for: from a private file, or FIELD=- for standard input; repeatable.",
)
@click.option(
    "--attend", is_flag=True, help="You are at the vendor's console: drain consumers, show what to paste, and watch."
)
@click.option(
    "--drop", metavar="WHAT", help="Leave an endpoint, sink or consumer out of this rotation. Needs --reason."
)
@reason_option
@click.option("--detailed-exitcode", "detailed", is_flag=True, help="10: nothing in flight. 11: holding or waiting.")
@click.pass_obj
def resume(
    session: Session, *, name: str, supply: tuple[str, ...], attend: bool, drop: str | None, reason: str, detailed: bool
) -> Report:
    """Carry on with a rotation in flight, or with what an ended one still owes.

    \b
      keyturn resume payments/circle-entity --attend
      keyturn resume payments/circle-entity --supply recovery_file=@recovery.dat
    """  # noqa: D301 - click: what follows keeps its lines
    from keyturn.cli.acting import flight  # noqa: PLC0415 - help does without it

    return flight.resume(session, name, supply, drop, reason, attending=attend, detailed=detailed)


@click.command(cls=Command)
@click.argument("name")
@click.option("--version", "number", type=int, metavar="N", help="Which earlier version; default: the latest one.")
@reason_needed
@click.pass_obj
def rollback(session: Session, *, name: str, number: int | None, reason: str) -> Report:
    """Go back to the version before, while the vendor accepts both.

    A rotation of its own, with announcement and hold. Refused once the old version's retire was sent.
    """
    from keyturn.cli.acting import flight  # noqa: PLC0415 - help does without it

    return flight.rollback(session, name, number, reason)


@click.command(cls=Command)
@click.argument("name")
@reason_needed
@click.pass_obj
def abandon(session: Session, *, name: str, reason: str) -> Report:
    """Give a rotation up.

    Before the point of no return it is undone, and the old version stays. After it the new version stays, and what
    remains to be done with the old one is owed; every run tries it again.
    """
    from keyturn.cli.acting import flight  # noqa: PLC0415 - help does without it

    return flight.abandon(session, name, reason)


@click.command(cls=Command)
@click.argument("name")
@click.option("--version", "number", type=int, required=True, metavar="N", help="The version it reads.")
@click.option("--consumer", required=True, metavar="X", help="Who reads it, as configured.")
@click.option("--waive", is_flag=True, help="Do without its word; you answer for it by name. Needs --reason.")
@reason_option
@click.pass_obj
def ack(session: Session, *, name: str, number: int, consumer: str, waive: bool, reason: str) -> Report:
    """Record that a consumer reads a version, so that the old one may be retired.

    \b
      keyturn ack gateway/sideband --version 12 --consumer kong-eu
    """  # noqa: D301 - click: what follows keeps its lines
    from keyturn.cli.acting import flight  # noqa: PLC0415 - help does without it

    return flight.ack(session, name, number, consumer, reason, waive=waive)


@click.command(cls=Command)
@click.argument("name")
@click.option("--end", is_flag=True, help="The hold is over now.")
@click.option("--until", metavar="TIME", help="The hold ends then: 2026-05-01T09:00:00Z, or 2h from now.")
@reason_option
@click.pass_obj
def hold(session: Session, *, name: str, end: bool, until: str | None, reason: str) -> Report:
    """End the hold, or move its end. Required acknowledgements stay required."""
    from keyturn.cli.acting import flight  # noqa: PLC0415 - help does without it

    return flight.hold(session, name, until, reason, end=end)
