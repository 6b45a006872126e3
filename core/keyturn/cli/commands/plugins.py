"""`keyturn plugins`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session

KINDS = click.Choice(["provider", "sink", "overlap"])


@click.command(cls=Command)
@click.option(
    "--verbose",
    type=(KINDS, str),
    metavar="KIND NAME",
    help="Show one plugin's summary and options. KIND: provider, sink or overlap. Imports that plugin.",
)
@click.pass_obj
def plugins(session: Session, verbose: tuple[str, str] | None) -> Report:
    """List the installed providers, sinks and overlaps with where they come from, without importing them."""
    from keyturn.cli.setting_up.plugins import detail, listing  # noqa: PLC0415 - help does without pydantic

    return detail(session, *verbose) if verbose else listing(session)
