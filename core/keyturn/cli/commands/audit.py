"""`keyturn audit`."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.app import Group, Report, Session
from keyturn.cli.options import NEW_FILE


@click.group(cls=Group)
def audit() -> None:
    """Verify the journal's chains, or take its evidence to another machine."""


@audit.command()
@click.option(
    "--heads",
    "noted",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Heads or an export kept elsewhere: shows what was cut off or replaced since.",
)
@click.pass_obj
def verify(session: Session, noted: Path | None) -> Report:
    """Check every link, and name the first broken one of each secret. Exits 5 where one is broken."""
    from keyturn.cli.looking.audit import verify  # noqa: PLC0415 - help does without pydantic

    with session.estate() as estate:
        return verify(estate, noted)


@audit.command()
@click.option("--out", type=NEW_FILE, metavar="FILE", help="Write to this file (0600) and not to stdout.")
@click.pass_obj
def export(session: Session, out: Path | None) -> Report:
    """Print all events as JSON lines, never a value; the last line holds the heads."""
    from keyturn.cli.looking.audit import export  # noqa: PLC0415 - help does without pydantic

    with session.estate() as estate:
        return export(estate, out, one_document=session.json)


@audit.command()
@click.option("--out", type=NEW_FILE, metavar="FILE", help="Write to this file (0600) and not to stdout.")
@click.pass_obj
def heads(session: Session, out: Path | None) -> Report:
    """Print the last event's number and hash of every secret, for `audit verify --heads`."""
    from keyturn.cli.looking.audit import heads  # noqa: PLC0415 - help does without pydantic

    with session.estate() as estate:
        return heads(estate, out)
