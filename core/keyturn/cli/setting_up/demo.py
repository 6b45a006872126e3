"""`keyturn demo`: a folder, the play, and the closing table."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from keyturn.cli.app import Report, Session
from keyturn.cli.progress import coloured
from keyturn.cli.setting_up.init import unwritable
from keyturn.cli.setting_up.play import Demo
from keyturn.cli.setting_up.stage import sinks
from keyturn.clock import SystemClock
from keyturn.errors import StuckError, UsageError
from keyturn.files import private_folder
from keyturn.plugins.registry import Registry

COLUMNS = ("secret", "provider", "overlap", "outcome", "issued", "published", "retired", "old_refused", "outage_ms")


def report(session: Session, folder: Path | None, named: Sequence[str]) -> Report:
    """The answer of `keyturn demo`; exit 5 unless every rotation is done.

    Raises UsageError `folder-used`, or why a named sink can not be had.
    """
    registry = Registry()
    found, left_out = sinks(registry, named)
    place = _folder(folder)
    session.say(f"working in {place}")
    for one in left_out:
        session.say(one.line)
    demo = Demo(
        folder=place,
        registry=registry,
        clock=SystemClock(),
        sinks=found,
        all_sinks=bool(named),
        left_out=left_out,
        say=session.say,
        bold=lambda text: _bold(session, text),
    )
    rows = demo.play()
    done = bool(rows) and all(row["outcome"] == "done" for row in rows)
    return Report(
        data={
            "rotations": rows,
            "sinks": [{"name": shelf.name, "kind": shelf.plugin.name} for shelf in demo.shelves],
            "left_out": [asdict(one) for one in demo.left_out],
            "folder": str(place),
        },
        text=f"\n{table(rows)}\n\n  next: {_look(place)}   (README.md there has more)",
        exit_code=0 if done else StuckError.exit_code,
        error=None if done else _incomplete(place),
    )


def _folder(named: Path | None) -> Path:
    if named is None:
        with unwritable(Path.cwd()):
            return Path(tempfile.mkdtemp(prefix="keyturn-demo-", dir=Path.cwd()))
    place = private_folder(named.absolute())
    if any(place.iterdir()):
        raise UsageError("folder-used", "the folder is not empty", hint="name a new one", place=str(place))
    return place


def _incomplete(place: Path) -> StuckError:
    message = "not every rotation of the demo is done"
    return StuckError("demo-incomplete", message, hint=_look(place), place=str(place))


def _bold(session: Session, text: str) -> str:
    return click.style(text, bold=True) if coloured(session.err) else text


def _look(place: Path) -> str:
    """What to type to look around, also where `make demo` ran without keyturn on the path."""
    beside = Path(sys.executable).with_name("keyturn")
    program = "keyturn" if shutil.which("keyturn") or not beside.exists() else shlex.quote(str(beside))
    return f"cd {shlex.quote(str(place))} && {program} status"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rotations, one line each."""
    cells = [[name.replace("_", " ") for name in COLUMNS], *([_cell(row[name]) for name in COLUMNS] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
