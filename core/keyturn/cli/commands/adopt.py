"""`keyturn adopt` and `keyturn repair`."""

from __future__ import annotations

import click

from keyturn.cli.app import Command, Report, Session


@click.command(cls=Command)
@click.argument("name")
@click.option("--from-sink", "sink", metavar="SINK", help="Take the value that this sink serves.")
@click.option("--from-vendor", is_flag=True, help="Take the value from the vendor, where it can be read.")
@click.option(
    "--from-escrow", is_flag=True, help="Take a version that was given up and is in force at the vendor all the same."
)
@click.option(
    "--from-stdin",
    is_flag=True,
    help="Take it from standard input: a JSON object of fields, or the bare value where only one is not fixed.",
)
@click.option("--handle", metavar="H", help="The value's public name at the vendor.")
@click.option("--slot", metavar="S", help="The slot it stands in, where the vendor has slots.")
@click.pass_obj
def adopt(
    session: Session,
    *,
    name: str,
    sink: str | None,
    from_vendor: bool,
    from_escrow: bool,
    from_stdin: bool,
    handle: str | None,
    slot: str | None,
) -> Report:
    """Take over a value that exists as the current version. Adoption never rotates.

    The value has to be accepted by the vendor everywhere, and no sink may serve another one. Where the vendor ends the
    old value when it makes another one, and somebody else had it do so, --from-vendor and --from-stdin take the new
    one over in place of the current version and publish it. So does --from-escrow with a version of Keyturn's own that
    took effect too late, or by a ciphertext that was used after the rotation was undone.

    \b
      keyturn adopt gateway/sideband --from-sink vault-eu --handle kong-20260101-9f3c
    """  # noqa: D301 - click: what follows keeps its lines
    from keyturn.cli.acting.adopt import Source, adopt_one  # noqa: PLC0415 - help does without it

    source = Source(sink=sink, vendor=from_vendor, escrow=from_escrow, stdin=from_stdin)
    return adopt_one(session, name, source, handle, slot)


@click.command(cls=Command)
@click.argument("name")
@click.option("--sink", metavar="SINK", help="Only this sink; default: all of the secret's sinks.")
@click.pass_obj
def repair(session: Session, *, name: str, sink: str | None) -> Report:
    """Copy the current version into sinks that are empty or older and ours. Never over a foreign value."""
    from keyturn.cli.acting.adopt import repair_one  # noqa: PLC0415 - help does without it

    return repair_one(session, name, sink)
