"""`keyturn schema`."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.app import Command, Report, Session
from keyturn.cli.options import NEW_FILE


@click.command(cls=Command)
@click.option("--out", type=NEW_FILE, metavar="FILE", help="Write to this file and not to stdout.")
@click.pass_obj
def schema(session: Session, out: Path | None) -> Report:
    """Print the JSON Schema of the configuration, with the options of every installed plugin, for editors."""
    from keyturn.cli.setting_up.plugins import schema  # noqa: PLC0415 - help does without pydantic

    return schema(session, out)
