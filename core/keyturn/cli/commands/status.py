"""`keyturn status`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session
from keyturn.cli.options import words

FAIL_ON = ("due", "overdue", "stuck", "unmanaged", "problem", "paused", "artefact")


@click.command(cls=Command)
@click.argument("globs", metavar="[GLOB]...", nargs=-1)
@click.option(
    "--fail-on",
    metavar="WORDS",
    default="",
    callback=words(FAIL_ON),
    help=f"Exit 5 (stuck) or 8 (the others) where a secret is any of these, divided by commas: {', '.join(FAIL_ON)}.",
)
@click.pass_obj
def status(session: Session, globs: tuple[str, ...], fail_on: frozenset[str]) -> Report:
    """Show what is valid where, who is missing, and the next command to type.

    Reads the journal's summary only and asks no vendor: `keyturn check --online` does that.
    """
    from keyturn.cli.looking.status import report  # noqa: PLC0415 - help does without pydantic

    with session.estate() as estate:
        return report(estate, globs, fail_on)
