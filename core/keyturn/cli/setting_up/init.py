"""`keyturn init`: a small valid configuration, a private state folder, an age identity and the journal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keyturn.cli.app import Report
from keyturn.cli.setting_up.examples import CONFIGURATION, EXAMPLE
from keyturn.clock import SystemClock
from keyturn.config import load, locate, read
from keyturn.errors import UsageError
from keyturn.escrow import new_identity
from keyturn.files import private_folder, write_private
from keyturn.journal import JournalSettings, make_journal
from keyturn.plugins.registry import Registry

NAME = "keyturn.yaml"
STATE = "state"
IDENTITY = "age.key"
JOURNAL = "journal.db"


def init(folder: Path, config: str | None, *, example: bool) -> Report:
    """The answer of `init`: everything in a new place, or just the journal of a configuration that has none.

    Raises UsageError `journal-exists` where both are there, or what is wrong with the configuration.
    """
    if config:
        return _journal_of(_located(config))
    with unwritable(folder):
        if (folder / NAME).exists():
            return _journal_of(folder / NAME)
        folder.mkdir(parents=True, exist_ok=True)
    return _from_nothing(folder, example=example)


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """What the system says about a folder that was named, as UsageError `file-unwritable`."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        hint = "name a folder that you may write to with --folder"
        raise UsageError("file-unwritable", f"can not write: {why}", hint=hint, place=str(folder.absolute())) from error


def _located(config: str) -> Path:
    try:
        return locate(config)
    except UsageError as error:
        hint = "keyturn init --folder PATH writes a new keyturn.yaml there"
        raise UsageError(error.code, error.message, hint=hint, place=error.place) from error


def _from_nothing(folder: Path, *, example: bool) -> Report:
    state = private_folder(folder / STATE)
    recipient = new_identity(state / IDENTITY)
    make_journal(JournalSettings(kind="sqlite", path=state / JOURNAL), clock=SystemClock()).close()
    write_private(folder / NAME, (CONFIGURATION + (EXAMPLE if example else "")).encode(), new=True)
    made = [folder / NAME, state / IDENTITY, state / JOURNAL]
    config = "" if folder.resolve() == Path.cwd() else f" --config {shlex.quote(str(folder / NAME))}"
    steps = [
        f"keep a copy of {state / IDENTITY} elsewhere: it opens what the escrow seals",
        f"name providers, sinks and secrets in {folder / NAME}",
        f"keyturn check --online{config}",
        f"keyturn adopt NAME --from-sink SINK{config}",
    ]
    return _report(made, steps, recipient)


def _journal_of(path: Path) -> Report:
    source = read(path)
    configuration = load(source, Registry(source.plugins).find)
    configuration.require_usable()
    settings = configuration.journal
    if settings.path is None:
        raise UsageError(
            "journal-kind",
            f"init makes journals of kind sqlite, not {settings.kind}",
            hint="write journal: {kind: sqlite, path: state/journal.db}",
            place=str(path),
        )
    private_folder(settings.path.parent)
    make_journal(JournalSettings(kind=settings.kind, path=settings.path), clock=SystemClock()).close()
    return _report([settings.path], ["keyturn check --online"], None)


def _report(made: list[Path], steps: list[str], recipient: str | None) -> Report:
    lines = [f"made {path}" for path in made] + [f"  next: {step}" for step in steps]
    return Report(
        data={"made": [str(path) for path in made], "recipient": recipient, "next": steps}, text="\n".join(lines)
    )
