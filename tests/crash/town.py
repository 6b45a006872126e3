"""A whole town in a folder: two simulated PingAuthorize servers, a configuration, a journal, and the real program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.cli.estate import open_estate
from keyturn.clock import SystemClock
from keyturn.engine.adoption import Adoption, adopt
from keyturn.escrow import Escrow, new_identity
from keyturn.files import private_folder
from keyturn.journal import JournalSettings, make_journal, open_journal
from keyturn.journal.store import Event, Journal
from keyturn_pingauthorize.simulator import FIRST, SECRET, Simulator
from program import here

__all__ = ["FIRST", "LOGIN", "SECRET", "Town", "town", "until"]

PROGRAM = [sys.executable, "-m", "keyturn"]
LOGIN = {"username": "file:state/user", "password": "file:state/pass"}


@dataclass
class Town:
    """`served` is what the file's consumers read; `sim` the vendor with its oracle.

    The program runs as a child, or (`child` is false) in this process, which is much faster.
    """

    folder: Path
    sim: Simulator
    more: dict[str, Any] = field(default_factory=dict)
    child: bool = field(default=True, kw_only=True)
    said: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "keyturn.yaml"

    @property
    def file(self) -> Path:
        return self.folder / "secrets" / "sideband.json"

    @property
    def settings(self) -> JournalSettings:
        return JournalSettings(kind="sqlite", path=self.folder / "state" / "journal.db")

    def build(self) -> None:
        """Write configuration, identity, journal and the value that a gateway uses already."""
        private_folder(self.folder / "state")
        private_folder(self.folder / "secrets")
        new_identity(self.folder / "state" / "age.key")
        make_journal(self.settings, clock=SystemClock()).close()
        fragment = self.sim.configuration(self.folder)
        secret = fragment["secrets"][SECRET] | {
            "overlap": {"strategy": "dual", "hold": "0s"},
            "sinks": [{"to": "gateway", "path": "sideband.json"}],
            **self.more.get("secret", {}),
        }
        config = {
            "keyturn": 1,
            "journal": {"kind": "sqlite", "path": "state/journal.db"},
            "escrow": {"identities": ["file:state/age.key"]},
            "limits": {"lease": "5s", "call": "3s", **self.more.get("limits", {})},
            "providers": {"paz": fragment["providers"]["paz"] | LOGIN | self.more.get("account", {})},
            "sinks": {"gateway": {"kind": "file", "folder": "secrets"}},
            "secrets": {SECRET: secret},
        }
        write_private(self.config, json.dumps(config, indent=2))
        write_private(self.folder / "state" / "user", self.sim.environment["PAZ_USER"])
        write_private(self.folder / "state" / "pass", self.sim.environment["PAZ_PASSWORD"])
        write_private(self.file, json.dumps(self.sim.initial[SECRET]["bundle"]))

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KEYTURN_CONFIG": str(self.config)}

    def keyturn(self, *argv: str, program: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the program to its end; what it says is kept."""
        if self.child or program:
            done = subprocess.run(
                [*(program or PROGRAM), *argv],
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        else:
            ran = here(*argv, environment={"KEYTURN_CONFIG": str(self.config)})
            done = subprocess.CompletedProcess(argv, ran.code, ran.out, ran.err)
        self.said += [*argv, done.stdout, done.stderr]
        return done

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start the program and leave it running."""
        return subprocess.Popen(
            [*PROGRAM, *argv],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def adopt(self) -> None:
        estate = open_estate(str(self.config))
        try:
            adopt(estate.bench, estate.job(SECRET), Adoption(sink="gateway", handle=FIRST))
        finally:
            estate.close()

    def killed(self, at: int, when: str, *argv: str) -> bool:
        """Run the program with a journal that kills it at its n-th write; whether it died."""
        done = self.keyturn(str(at), when, *argv, program=[sys.executable, "-m", "keyturn.testing.crash"])
        assert done.returncode in (0, -9, 4, 6), done.stderr
        return done.returncode == -9

    def run_until_quiet(self, runs: int = 6) -> str:
        """`keyturn run` until nothing is left to do; what status says then."""
        for _ in range(runs):
            self.keyturn("run")
            if self.status() in ("current", "unmanaged"):
                break
        return self.status()

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The journal, to read in."""
        journal = open_journal(self.settings, clock=SystemClock(), runner="reader", operator="reader")
        try:
            yield journal
        finally:
            journal.close()

    def status(self) -> str:
        """Where the secret stands, by the journal's summary row."""
        with self.journal() as journal:
            return journal.summaries()[SECRET].status

    def chain_is_whole(self) -> bool:
        with self.journal() as journal:
            return journal.verify() == []

    def served(self) -> str:
        """What consumers read now."""
        value: str = json.loads(self.file.read_text())["shared_secret"]
        return value

    def accepted(self, value: str) -> list[bool]:
        return [self.sim.accepts(url, value) for url in self.sim.urls]

    def events(self) -> list[Event]:
        with self.journal() as journal:
            return journal.events(SECRET)

    def sealed(self) -> list[str]:
        """The values that the escrow still opens."""
        with self.journal() as journal:
            escrow = Escrow(journal, [(self.folder / "state" / "age.key").read_text()], [], journal.now)
            bundles = [escrow.open_version(SECRET, k.version_id) for k in escrow.listing(SECRET) if k.kind == "version"]
            return [bundle["shared_secret"].reveal() for bundle in bundles if bundle]

    def sealed_answers(self) -> int:
        with self.journal() as journal:
            return sum(one.kind == "answer" for one in journal.sealed(SECRET))

    def leaks(self, value: str) -> list[Path]:
        """Where this value stands in clear, besides the consumers' file and the sink's own private folder."""
        allowed = (self.folder / "secrets",)
        files = [p for p in self.folder.rglob("*") if p.is_file() and not any(a in p.parents for a in allowed)]
        said = [Path("what was said")] if any(value in text for text in self.said) else []
        return said + [path for path in files if value.encode() in path.read_bytes()]


def write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)


@contextmanager
def town(folder: Path, *, servers: int = 2, used: int = 99, child: bool = True, **more: Any) -> Iterator[Town]:
    """A town that is built; its configuration names the first `used` servers."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    with Simulator(servers=servers) as sim:
        account = {"servers": sim.urls[:used], **more.pop("account", {})}
        one = Town(folder=folder, sim=sim, more={**more, "account": account}, child=child)
        one.build()
        yield one


def until(check: Callable[[], bool], *, at_most_s: float = 20.0) -> bool:
    """Poll a promise that comes true by itself."""
    end = time.monotonic() + at_most_s
    pause = threading.Event()
    while not check():
        if time.monotonic() > end:
            return False
        pause.wait(0.02)
    return True
