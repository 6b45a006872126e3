"""`keyturn init`."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="PATH",
    help="Where; this folder unless given.",
)
@click.option("--example", is_flag=True, help="Write a provider, a sink and a secret as an example too.")
@click.option(
    "--journal",
    metavar="REFERENCE",
    help="Make the journal in the PostgreSQL database whose URL this refers to, such as env:KEYTURN_JOURNAL.",
)
@click.pass_obj
def init(session: Session, folder: Path, example: bool, journal: str | None) -> Report:
    """Make keyturn.yaml, a private state folder, an age identity and the journal. Never overwrites.

    Where the configuration is there and only its journal is missing, makes just the journal.
    """
    from keyturn.cli.setting_up.init import init  # noqa: PLC0415 - help does without pydantic

    return init(folder, session.config, example=example, journal=journal)
