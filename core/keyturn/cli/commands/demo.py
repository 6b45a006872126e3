"""`keyturn demo`."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="PATH",
    help="A new or empty folder to work in; a new keyturn-demo-... below this one unless given.",
)
@click.pass_obj
def demo(session: Session, folder: Path | None) -> Report:
    """Rotate secrets at simulated vendors with the ordinary commands, in well under a minute.

    Nothing leaves this machine. The folder stays, with a README of commands to try.
    """
    from keyturn.cli.setting_up.demo import report  # noqa: PLC0415 - help does without pydantic

    return report(session, folder)
