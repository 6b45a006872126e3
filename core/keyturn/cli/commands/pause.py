"""`keyturn pause`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command)
@click.argument("globs", nargs=-1, required=True, metavar="GLOB...")
@click.option("--until", metavar="TIME", help="Until then: 2026-05-01T09:00:00Z, or 2h from now.")
@click.option("--end", is_flag=True, help="Paused no longer.")
@click.option("--reason", default="", metavar="TEXT", help="Why; goes into the journal.")
@click.pass_obj
def pause(session: Session, *, globs: tuple[str, ...], until: str | None, end: bool, reason: str) -> Report:
    """Begin no rotation by schedule for a while.

    A rotation in flight goes on, and keyturn rotate still works.
    """
    from keyturn.cli.acting import flight  # noqa: PLC0415 - help does without it

    return flight.pause(session, globs, until, reason, end=end)
