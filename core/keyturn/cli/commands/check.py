"""`keyturn check`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command)
@click.argument("globs", metavar="[GLOB]...", nargs=-1)
@click.option(
    "--online", is_flag=True, help="Ask vendors and sinks too: what a rotation would refuse, drift and orphans."
)
@click.pass_obj
def check(session: Session, globs: tuple[str, ...], online: bool) -> Report:
    """Check the configuration, all problems at once as file:line:column, and give each secret a verdict.

    Starts nothing and writes nothing, neither to the journal nor anywhere else.
    """
    from keyturn.cli.looking.check import report  # noqa: PLC0415 - help does without pydantic

    return report(session, globs, online=online)
