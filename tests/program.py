"""The program in a folder of its own: a configuration, a journal, an identity, an alert, and a clock that tests drive.

It runs in this process: a month passes in seconds. Every run is a new estate, as a process would have it. `start` runs
the real program, on the machine's own clock.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.cli import main
from keyturn.cli.estate import Estate, Wiring, open_estate
from keyturn.escrow import new_identity
from keyturn.files import private_folder
from keyturn.journal import JournalSettings, make_journal, open_journal
from keyturn.journal.store import Event, Summary
from keyturn.testing.clock import FakeClock

PROGRAM = [sys.executable, "-m", "keyturn"]
DAY_S, HOUR_S = 86_400.0, 3_600.0
ALERT = """#!/bin/sh
echo "$KEYTURN_SECRET|$KEYTURN_WHAT|$KEYTURN_TEXT|$KEYTURN_NEXT" >> "$(dirname "$0")/alerts.txt"
"""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How the program ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> dict[str, Any]:
        """The one document on stdout."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def here(
    *argv: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    wiring: Wiring | None = None,
) -> Ran:
    """The program to its end, in this process, which is ten times faster than a child; one at a time.

    In a folder, and with an environment without what would change its mind.
    """
    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()))
    try:
        with chdir(folder or Path()), knowing(environment or {}), redirect_stdout(out), redirect_stderr(err):
            main(argv, wiring=wiring)
    except SystemExit as end:
        return Ran(code=int(end.code or 0), out=out.getvalue(), err=err.getvalue())
    finally:
        sys.stdin = before


@contextmanager
def knowing(variables: Mapping[str, str]) -> Iterator[None]:
    """With these variables in the environment, and none that would change the program's mind."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("KEYTURN_", "NO_COLOR")):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass
class Folder:
    """`said` keeps what the program was told and what it printed."""

    folder: Path
    clock: Any = field(default_factory=FakeClock)
    said: list[str] = field(default_factory=list)

    def furnish(self, files: Mapping[str, str]) -> None:
        """Identity, journal, private `files` in state/, and the alert."""
        for name in ("state", "served"):
            private_folder(self.folder / name)
        new_identity(self.folder / "state/age.key")
        make_journal(self.settings, clock=self.clock).close()
        for name, text in files.items():
            write_private(self.folder / "state" / name, text)
        write_private(self.folder / "alert", ALERT)
        (self.folder / "alert").chmod(0o700)

    def write(self, configuration: Mapping[str, Any]) -> None:
        """The configuration: what is given, and the parts that are the same for all."""
        common = {
            "keyturn": 1,
            "journal": {"kind": "sqlite", "path": "state/journal.db"},
            "escrow": {"identities": ["file:state/age.key"]},
            "alerts": [{"exec": ["./alert"]}],
        }
        write_private(self.config, json.dumps({**common, **configuration}, indent=2))

    @property
    def config(self) -> Path:
        return self.folder / "keyturn.yaml"

    @property
    def settings(self) -> JournalSettings:
        return JournalSettings(kind="sqlite", path=self.folder / "state/journal.db")

    # runs

    def keyturn(self, *argv: str, stdin: str = "", wiring: Wiring | None = None) -> Ran:
        """The program to its end, in this process and on the member's clock."""
        ran = here("--config", str(self.config), *argv, stdin=stdin, wiring=wiring or Wiring(clock=self.clock))
        self.said += [*argv, ran.said]
        return ran

    def start(self, *argv: str, program: list[str] | None = None) -> subprocess.Popen[str]:
        """The real program, running."""
        return subprocess.Popen(
            [*(program or PROGRAM), *argv],
            env={**os.environ, "KEYTURN_CONFIG": str(self.config)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def well(self, *argv: str, stdin: str = "") -> Ran:
        """The program to its end, which has to be a good one."""
        ran = self.keyturn(*argv, stdin=stdin)
        assert ran.code == 0, ran.said
        return ran

    # what is there

    @contextmanager
    def estate(self) -> Iterator[Estate]:
        """The estate as one process sees it."""
        estate = open_estate(str(self.config), wiring=Wiring(clock=self.clock))
        try:
            yield estate
        finally:
            estate.close()

    @property
    def alerts(self) -> list[str]:
        """Every alert that went out, as `secret|what|text|next`."""
        file = self.folder / "alerts.txt"
        return file.read_text().splitlines() if file.exists() else []

    def events(self, name: str) -> list[Event]:
        journal = open_journal(self.settings, clock=self.clock, runner="reader", operator="reader")
        try:
            return journal.events(name)
        finally:
            journal.close()

    def row(self, name: str) -> Summary:
        """The summary row."""
        journal = open_journal(self.settings, clock=self.clock, runner="reader", operator="reader")
        try:
            return journal.summaries()[name]
        finally:
            journal.close()


def from_files(account: Mapping[str, Any]) -> dict[str, Any]:
    """The account with its references to the environment as references to files."""
    return {
        key: f"file:state/{text.removeprefix('env:')}" if isinstance(text, str) and text.startswith("env:") else text
        for key, text in account.items()
    }


def write_private(path: Path, text: str) -> None:
    """A file that nobody else may read."""
    path.write_text(text)
    path.chmod(0o600)
