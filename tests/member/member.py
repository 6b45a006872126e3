"""A member of the network in a folder: the simulated vendor, a configuration, a journal, sinks, an alert, and a clock.

The program runs in this process, on the member's clock: a month passes in seconds. Every run is a new estate, as a
process would have it. `start` runs the real program, on the machine's own clock.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.cli import main
from keyturn.cli.estate import Estate, Wiring, open_estate
from keyturn.clock import Clock
from keyturn.escrow import new_identity
from keyturn.files import private_folder
from keyturn.journal import JournalSettings, make_journal, open_journal
from keyturn.journal.store import Event, Summary
from keyturn.testing.clock import FakeClock
from keyturn_sahamati.simulator import ENTITY as MEMBER
from keyturn_sahamati.simulator import SECRET as ENTITY
from keyturn_sahamati.simulator import TOKEN, Simulator

__all__ = ["DAY_S", "ENTITY", "HOUR_S", "MEMBER", "TOKEN", "Member", "Ran", "member"]

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


@dataclass
class Member:
    """`secrets` and `account` change what the simulator's own configuration says; None leaves a secret out.

    `sinks` are further accounts. `said` keeps what the program printed.
    """

    folder: Path
    sim: Simulator
    clock: Any = field(default_factory=FakeClock)
    secrets: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    account: Mapping[str, Any] = field(default_factory=dict)
    sinks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def build(self) -> None:
        """Identity, journal, the login's files, the alert, and the configuration."""
        for name in ("state", "served"):
            private_folder(self.folder / name)
        new_identity(self.folder / "state/age.key")
        make_journal(self.settings, clock=self.clock).close()
        for name, text in self.sim.environment.items():
            write_private(self.folder / "state" / name, text)
        write_private(self.folder / "alert", ALERT)
        (self.folder / "alert").chmod(0o700)
        self.configure()

    def configure(self, secrets: Mapping[str, Mapping[str, Any] | None] | None = None) -> None:
        """Write the configuration; `secrets` change one or more of them from now on."""
        self.secrets = {**self.secrets, **(secrets or {})}
        fragment = self.sim.configuration(self.folder)
        accounts = {name: {**_from_files(one), **self.account} for name, one in fragment["providers"].items()}
        configured = {}
        for name, secret in fragment["secrets"].items():
            changes = self.secrets.get(name, {})
            served = [{"to": "served", "path": f"{name.rpartition('/')[2]}.json"}]
            if changes is not None:
                configured[name] = {**secret, "sinks": served, **changes}
        whole = {
            "keyturn": 1,
            "journal": {"kind": "sqlite", "path": "state/journal.db"},
            "escrow": {"identities": ["file:state/age.key"]},
            "alerts": [{"exec": ["./alert"]}],
            "providers": accounts,
            "sinks": {"served": {"kind": "file", "folder": "served"}, **self.sinks},
            "secrets": configured,
            **self.more,
        }
        write_private(self.config, json.dumps(whole, indent=2))

    @property
    def config(self) -> Path:
        return self.folder / "keyturn.yaml"

    @property
    def settings(self) -> JournalSettings:
        return JournalSettings(kind="sqlite", path=self.folder / "state/journal.db")

    # runs

    def keyturn(self, *argv: str, stdin: str = "", wiring: Wiring | None = None) -> Ran:
        """The program to its end, in this process and on the member's clock."""
        out, err, before = io.StringIO(), io.StringIO(), sys.stdin
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main(["--config", str(self.config), *argv], wiring=wiring or Wiring(clock=self.clock))
        except SystemExit as end:
            ran = Ran(code=int(end.code or 0), out=out.getvalue(), err=err.getvalue())
        finally:
            sys.stdin = before
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

    def begin(self) -> None:
        """Take over the secret that the vendor holds, and make the first token."""
        self.well("adopt", ENTITY, "--from-vendor")
        if self.secrets.get(TOKEN, {}) is not None:
            self.well("rotate", TOKEN, "--first", "--yes")

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

    def served(self, name: str = ENTITY) -> dict[str, str]:
        """What consumers read."""
        found = json.loads((self.folder / "served" / f"{name.rpartition('/')[2]}.json").read_text())
        assert isinstance(found, dict)
        return found

    @property
    def alerts(self) -> list[str]:
        """Every alert that went out, as `secret|what|text|next`."""
        file = self.folder / "alerts.txt"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def resets(self) -> list[dict[str, Any]]:
        """The resets that the vendor carried out, in order; never a value."""
        return [one for one in self.sim.commits if one["entity"] == MEMBER]

    def events(self, name: str = ENTITY) -> list[Event]:
        journal = open_journal(self.settings, clock=self.clock, runner="reader", operator="reader")
        try:
            return journal.events(name)
        finally:
            journal.close()

    def row(self, name: str = ENTITY) -> Summary:
        """The summary row."""
        journal = open_journal(self.settings, clock=self.clock, runner="reader", operator="reader")
        try:
            return journal.summaries()[name]
        finally:
            journal.close()

    def accepted(self, name: str = ENTITY) -> bool:
        """Promise P2: whether what consumers read is accepted by the vendor now."""
        return self.sim.accepts(self.served(name))


def _from_files(account: Mapping[str, Any]) -> dict[str, Any]:
    """The account with its references to the environment as references to files."""
    return {
        key: f"file:state/{text.removeprefix('env:')}" if isinstance(text, str) and text.startswith("env:") else text
        for key, text in account.items()
    }


def write_private(path: Path, text: str) -> None:
    """A file that nobody else may read."""
    path.write_text(text)
    path.chmod(0o600)


@contextmanager
def member(folder: Path, *, clock: Clock | None = None, **more: Any) -> Iterator[Member]:
    """A member that is built; its vendor's clock is its own."""
    folder.mkdir(mode=0o700)
    with ExitStack() as stack:
        one = clock or FakeClock()
        sim = stack.enter_context(Simulator(now=one.now, wait=one.wait))
        sim.switch(hang_s=20.0)  # on a driven clock a longer one would outlive the lease
        built = Member(folder=folder, sim=sim, clock=one, **more)
        built.build()
        yield built
