"""`keyturn simulate`."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.cli.app import Command, Session
from keyturn.cli.options import NEW_FILE


@click.command(cls=Command)
@click.argument("vendor")
@click.option("--option", "pairs", multiple=True, metavar="NAME=VALUE", help="An option of this simulator.")
@click.option("--port", type=click.IntRange(1, 65_535), help="The first port; free ones unless given.")
@click.option("--initial", type=NEW_FILE, metavar="FILE", help="Write the values in use already to a new private file.")
@click.pass_obj
def simulate(session: Session, vendor: str, pairs: tuple[str, ...], port: int | None, initial: Path | None) -> None:
    """Run the simulator of VENDOR (the name of a provider or a sink) on loopback, until Ctrl-C.

    Prints its URLs, what to export, and a piece of configuration.
    """
    from keyturn.cli.setting_up.simulate import parsed, simulate  # noqa: PLC0415 - help does without pydantic

    options = {**parsed(pairs), **({"port": str(port)} if port else {})}
    simulate(session, vendor, options, initial)
