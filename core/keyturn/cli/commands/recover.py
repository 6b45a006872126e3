"""`keyturn recover`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command)
@click.argument("name")
@click.option(
    "--supply",
    multiple=True,
    metavar="FIELD=@FILE",
    help="What the secret is reset by: from a private file, or FIELD=- for standard input; repeatable. "
    "Unless given it is taken from the escrow or from its sink.",
)
@click.option("--reason", required=True, metavar="TEXT", help="Why; goes into the journal.")
@click.option(
    "--plan",
    "digests",
    multiple=True,
    metavar="DIGEST",
    help="Recover only if the plan is still the one with this digest.",
)
@click.option("--yes", is_flag=True, help="Recover without showing the plan and asking.")
@click.option("--force", is_flag=True, help="Although the vendor accepts the current version.")
@click.option("--compromised", is_flag=True, help="The current version is known to others; implies --force.")
@click.pass_obj
def recover(session: Session, /, *, name: str, supply: tuple[str, ...], **asked: object) -> Report:
    """Replace a secret whose current version is lost or refused, by what came with it: break-glass.

    The vendor resets the secret on the strength of a recovery file, which is used up by that. Who still has a value
    that is accepted rotates instead. Where a person does it at the vendor, the recovery then waits for him.

    \b
      keyturn recover payments/circle-entity --reason INC-4711
      keyturn recover payments/circle-entity --supply recovery_file=@recovery.dat --reason INC-4711
    """  # noqa: D301 - click: what follows keeps its lines
    from keyturn.cli.acting.recover import recover_one  # noqa: PLC0415 - help does without it
    from keyturn.cli.acting.rotate import Asked  # noqa: PLC0415 - help does without it

    return recover_one(session, Asked(names=(name,), **asked), supply)  # type: ignore[arg-type]
