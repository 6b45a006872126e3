"""`keyturn plugin`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command)
@click.argument("kind")
@click.argument("command", required=False)
@click.argument("name", required=False)
@click.pass_obj
def plugin(session: Session, kind: str, command: str | None, name: str | None) -> Report:
    """Run a command that the plugin KIND (as in `kind:` of the configuration) brings along, on the secret NAME.

    `keyturn plugin KIND` lists them. A value goes to standard output, and nowhere else.

    \b
      keyturn plugin circle ciphertext payments/circle-entity
    """  # noqa: D301 - click: what follows keeps its lines
    from keyturn.cli.acting.plugin import list_commands, run_plugin  # noqa: PLC0415 - help does without pydantic

    if command is None or name is None:
        return list_commands(session, kind, command)
    return run_plugin(session, kind, command, name)
