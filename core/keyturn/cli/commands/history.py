"""`keyturn history`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command)
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the last N events.")
@click.pass_obj
def history(session: Session, name: str, limit: int | None) -> Report:
    """Show what happened to the secret NAME: time, step, what, and by whom."""
    from keyturn.cli.looking.history import report  # noqa: PLC0415 - help does without pydantic

    with session.estate() as estate:
        return report(estate, name, limit)
