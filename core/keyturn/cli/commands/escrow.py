"""`keyturn escrow`."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.app import Group, Report, Session
from keyturn.cli.options import NEW_FILE


@click.group(cls=Group)
def escrow() -> None:
    """List or open the sealed values in flight."""


@escrow.command("list")
@click.pass_obj
def list_(session: Session) -> Report:
    """List what is sealed, by secret and version. Never shows a value."""
    from keyturn.cli.looking.escrow import listing  # noqa: PLC0415 - help does without pydantic

    with session.estate() as estate:
        return listing(estate)


@escrow.command("open")
@click.argument("name")
@click.option("--version", "number", type=int, metavar="N", help="Which version; the current one unless given.")
@click.option("--out", type=NEW_FILE, required=True, metavar="FILE", help="A new file, written 0600. Never a terminal.")
@click.option("--field", metavar="FIELD", help="This field's value alone, as it is; else a JSON object of all.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it stands in the journal with your name.")
@click.pass_obj
def open_(session: Session, *, name: str, number: int | None, out: Path, field: str | None, reason: str) -> Report:
    """Write the sealed value of a version of NAME to a new private file, and record who did so and why."""
    from keyturn.cli.looking.escrow import open_  # noqa: PLC0415 - help does without pydantic

    with session.estate() as estate:
        return open_(estate, name, number=number, out=out, field=field, reason=reason)
