"""`keyturn run`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command)
@click.argument("globs", nargs=-1, metavar="[GLOB]...")
@click.option("--watch", is_flag=True, help="Go on until SIGTERM or SIGINT. The configuration is read once.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--time-budget", "budget", metavar="DURATION", help="Begin nothing new after so long.")
@click.option("--detailed-exitcode", "detailed", is_flag=True, help="10: nothing was due. 11: holding or waiting.")
@click.pass_obj
def run(
    session: Session, *, globs: tuple[str, ...], watch: bool, dry_run: bool, budget: str | None, detailed: bool
) -> Report:
    """Do everything that is due, in flight or owed.

    For cron, timers and workers; any number of them may run at once. Secrets that another runner works on are left to
    it. SIGTERM ends the run after the running step.

    \b
      keyturn run
      keyturn run 'payments/*' --time-budget 10m
      keyturn run --watch
    """  # noqa: D301 - click: what follows keeps its lines
    from keyturn.cli.acting.run import Wanted, run_rounds  # noqa: PLC0415 - help does without it

    wanted = Wanted(globs=globs, watch=watch, dry_run=dry_run, budget=budget, detailed=detailed)
    return run_rounds(session, wanted)
