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
@click.option(
    "--sinks",
    "named",
    metavar="NAMES",
    default="",
    callback=lambda _ctx, _param, text: tuple(dict.fromkeys(name for name in text.split(",") if name)),
    help="The sinks to publish to, divided by commas; all that can be had here unless given. The small one: file.",
)
@click.pass_obj
def demo(session: Session, folder: Path | None, named: tuple[str, ...]) -> Report:
    """Rotate secrets at simulated vendors with the ordinary commands, in well under a minute.

    They are published to files, to a Vault-compatible server and to a stand-in for AWS, as far as these can be
    started here. Nothing leaves this machine. The folder stays, with a README of commands to try.
    """
    from keyturn.cli.setting_up.demo import report  # noqa: PLC0415 - help does without pydantic

    return report(session, folder, named)
