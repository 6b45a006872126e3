"""`keyturn plan`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command)
@click.argument("globs", metavar="[GLOB]...", nargs=-1)
@click.option("--due", is_flag=True, help="Only secrets that the schedule asks to rotate now.")
@click.option("--compromised", is_flag=True, help="As if the current value were known to others: no hold.")
@click.pass_obj
def plan(session: Session, globs: tuple[str, ...], due: bool, compromised: bool) -> Report:
    """Show what a rotation would do: steps, slot, what dies when, outage, and the digest to approve it by.

    Asks no vendor; exits 3 where a rotation would be refused.
    """
    from keyturn.cli.looking.plan import report  # noqa: PLC0415 - help does without pydantic

    with session.estate() as estate:
        return report(estate, globs, only_due=due, compromised=compromised)
