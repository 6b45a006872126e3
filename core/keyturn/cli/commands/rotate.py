"""`keyturn rotate`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command)
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--match", "globs", multiple=True, metavar="GLOB", help="Rotate every secret that matches; repeatable.")
@click.option(
    "--plan",
    "digests",
    multiple=True,
    metavar="DIGEST",
    help="Rotate only if the plan is still the one with this digest (see keyturn plan); repeatable.",
)
@click.option("--yes", is_flag=True, help="Rotate without showing the plan and asking.")
@click.option(
    "--request", default="", metavar="ID", help="Happens once: the same ID again carries on, or does nothing."
)
@click.option("--wait", metavar="DURATION", help="How long to wait for a secret that another runner works on.")
@click.option("--first", "mode", flag_value="first", help="The first version: nothing is there to retire.")
@click.option(
    "--current-dead",
    "mode",
    flag_value="current-dead",
    help="The vendor no longer accepts the current version, or its value is lost. Needs --reason.",
)
@click.option(
    "--force", is_flag=True, help="Rotate although the current version is younger than min_age. Needs --reason."
)
@click.option(
    "--compromised",
    is_flag=True,
    help="The current version is known to others: no hold, no acknowledgements awaited. Needs --reason.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why; goes into the journal.")
@click.option("--detailed-exitcode", "detailed", is_flag=True, help="10: nothing was due. 11: holding or waiting.")
@click.pass_obj
def rotate(session: Session, /, *, detailed: bool, **asked: object) -> Report:
    """Rotate secrets now.

    On a terminal the plan is shown and you are asked. Without one, approve it by --plan DIGEST or --yes. Several
    secrets are rotated one after the other; one that fails does not stop the others.

    \b
      keyturn rotate gateway/sideband
      keyturn rotate gateway/sideband --plan 3f9a1c20b7d4e581
      keyturn rotate --match 'payments/*' --yes --request change-4711
    """  # noqa: D301 - click: what follows keeps its lines
    from keyturn.cli.acting.rotate import Asked, rotate_all  # noqa: PLC0415 - help does without it

    return rotate_all(session, Asked(**asked), detailed=detailed)  # type: ignore[arg-type]
