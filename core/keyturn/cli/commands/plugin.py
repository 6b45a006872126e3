"""`keyturn plugin`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("kind")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def plugin(session: Session, kind: str, args: tuple[str, ...]) -> Report | None:
    """Run a command that the plugin KIND (as in `kind:` of the configuration) brings along."""
    from keyturn.cli.setting_up.plugins import run_plugin  # noqa: PLC0415 - help does without pydantic

    return run_plugin(session, kind, args)
