"""`keyturn init`: a small valid configuration, a private state folder, an age identity and the journal."""

from __future__ import annotations

import json
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
from keyturn.references import Resolver

NAME = "keyturn.yaml"
STATE = "state"
IDENTITY = "age.key"
JOURNAL = "journal.db"
ON_THIS_MACHINE = "journal: {kind: sqlite, path: state/journal.db}"


def init(folder: Path, config: str | None, *, example: bool, journal: str | None = None) -> Report:
    """The answer of `init`: everything in a new place, or just the journal of a configuration that has none.

    `journal` is a reference to the URL of a PostgreSQL database to make the journal in. Raises UsageError
    `journal-exists` where both are there, or what is wrong with the configuration.
    """
    if config:
        return _journal_of(_located(config), journal)
    with unwritable(folder):
        if (folder / NAME).exists():
            return _journal_of(folder / NAME, journal)
        folder.mkdir(parents=True, exist_ok=True)
    return _from_nothing(folder, example=example, journal=journal)


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


def _from_nothing(folder: Path, *, example: bool, journal: str | None) -> Report:
    state = private_folder(folder / STATE)
    settings = JournalSettings(kind="sqlite", path=state / JOURNAL) if journal is None else _at(folder, journal)
    recipient = new_identity(state / IDENTITY)
    write_private(folder / NAME, _configuration(journal, example=example).encode(), new=True)
    # Last, since a database may be out of reach: then the next `init` makes just the journal.
    made = [str(folder / NAME), str(state / IDENTITY), _make(settings)]
    config = "" if folder.resolve() == Path.cwd() else f" --config {shlex.quote(str(folder / NAME))}"
    steps = [
        f"keep a copy of {state / IDENTITY} elsewhere: it opens what the escrow seals",
        f"name providers, sinks and secrets in {folder / NAME}",
        f"keyturn check --online{config}",
        f"keyturn adopt NAME --from-sink SINK{config}",
    ]
    return _report(made, steps, recipient)


def _configuration(journal: str | None, *, example: bool) -> str:
    text = CONFIGURATION + (EXAMPLE if example else "")
    url = f"journal: {{kind: postgresql, url: {json.dumps(journal)}}}"
    return text if journal is None else text.replace(ON_THIS_MACHINE, url)


def _journal_of(path: Path, journal: str | None) -> Report:
    source = read(path)
    configuration = load(source, Registry(source.plugins).find)
    configuration.require_usable()
    settings = configuration.journal
    if settings.path is None:
        # Tables may belong to another role than the runner's, and so be made with another URL.
        place = _make(_at(configuration.folder, journal or settings.url_ref or ""))
        return _report([place], ["keyturn check --online"], None)
    if journal is not None:
        raise UsageError(
            "journal-kind",
            f"the configuration names a journal of kind {settings.kind}, and --journal is for kind postgresql",
            hint="write journal: {kind: postgresql, url: REFERENCE}, or leave --journal out",
            place=str(path),
        )
    private_folder(settings.path.parent)
    place = _make(JournalSettings(kind=settings.kind, path=settings.path))
    return _report([place], ["keyturn check --online"], None)


def _at(folder: Path, reference: str) -> JournalSettings:
    """A PostgreSQL journal at the URL behind a reference. Raises UsageError."""
    if reference.startswith(("postgresql:", "postgres:")):
        raise UsageError(
            "journal-url",
            "expected a reference to a URL, found the URL itself, which others can see in the list of processes",
            hint="put it into a variable, then keyturn init --journal env:KEYTURN_JOURNAL; change its password",
        )
    return JournalSettings(kind="postgresql", url=Resolver(folder).resolve(reference).reveal())


def _make(settings: JournalSettings) -> str:
    """Make the journal; what to call it."""
    make_journal(settings, clock=SystemClock()).close()
    return str(settings.path or "the journal in its database")


def _report(made: list[str], steps: list[str], recipient: str | None) -> Report:
    lines = [f"made {path}" for path in made] + [f"  next: {step}" for step in steps]
    return Report(data={"made": made, "recipient": recipient, "next": steps}, text="\n".join(lines))
