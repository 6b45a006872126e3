"""A small real estate in a folder: a simulated PingAuthorize cluster, a file sink, and the program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from keyturn.clock import SystemClock
from keyturn.escrow import new_identity
from keyturn.journal import JournalSettings, make_journal
from keyturn_pingauthorize.simulator import SECRET, Simulator
from program import Ran, here

PROGRAM = [sys.executable, "-c", "from keyturn.cli import main; main()"]
CLOCK = SystemClock()


@dataclass
class Rig:
    """The estate. `write` changes its configuration; `run` is the program in its folder, `apart` as a child."""

    folder: Path
    sim: Simulator
    secret: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    program: list[str] = field(default_factory=lambda: PROGRAM)

    @property
    def initial(self) -> str:
        """The value that the gateway uses before anything was adopted."""
        return str(self.sim.initial[SECRET]["bundle"]["shared_secret"])

    @property
    def handle(self) -> str:
        """Its name at the vendor."""
        return str(self.sim.initial[SECRET]["handle"])

    @property
    def served(self) -> str:
        """The value that consumers read now."""
        return str(json.loads((self.folder / "custody/sideband.json").read_text())["shared_secret"])

    @property
    def secrets(self) -> dict[str, Any]:
        """The secrets as configured."""
        found: dict[str, Any] = yaml.safe_load((self.folder / "keyturn.yaml").read_text())["secrets"]
        return found

    def write(self, **changes: Any) -> None:
        """Write the configuration; `changes` are the secret's sections."""
        self.secret.update(changes)
        vendor = self.sim.configuration(self.folder)
        secret = {**vendor["secrets"][SECRET], "sinks": [{"to": "custody", "path": "sideband.json"}], **self.secret}
        whole = {
            "keyturn": 1,
            "journal": {"kind": "sqlite", "path": "state/journal.db"},
            "escrow": {"identities": ["file:state/age.key"]},
            "providers": vendor["providers"],
            "sinks": {"custody": {"kind": "file", "folder": "custody"}},
            "secrets": {SECRET: secret},
            **self.more,
        }
        path = self.folder / "keyturn.yaml"
        path.write_text(yaml.safe_dump(whole))
        path.chmod(0o600)

    def start(self, *args: str, env: Mapping[str, str] | None = None, **popen: Any) -> subprocess.Popen[str]:
        """The program, running."""
        return subprocess.Popen(
            [*self.program, *args],
            cwd=self.folder,
            env={**_clean(), **self.sim.environment, **(env or {})},
            text=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen},
        )

    def run(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ran:
        """The program, to its end, in this process."""
        return here(*args, folder=self.folder, environment={**self.sim.environment, **(env or {})}, stdin=stdin)

    def apart(self, *args: str, stdin: str = "") -> Ran:
        """The program, to its end, as a child."""
        return apart(self.folder, *args, environment=self.sim.environment, stdin=stdin)

    def adopt(self) -> None:
        """Take the vendor's first value over as version 1."""
        ran = self.run("adopt", SECRET, "--from-stdin", "--handle", self.handle, stdin=self.initial)
        assert ran.code == 0, ran.err

    def files(self) -> list[Path]:
        """Every file of the estate but for the sink's own."""
        return [path for path in self.folder.rglob("*") if path.is_file() and "custody" not in path.parts]


def apart(
    folder: Path,
    *args: str,
    program: Sequence[str] = PROGRAM,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
) -> Ran:
    """The program in a folder, to its end, as a child."""
    done = subprocess.run(
        [*program, *args],
        cwd=folder,
        env={**_clean(), **(environment or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


def _clean() -> dict[str, str]:
    """This process's environment without what would change the program's mind."""
    return {name: text for name, text in os.environ.items() if not name.startswith(("KEYTURN_", "NO_COLOR"))}


@contextmanager
def estate(folder: Path, *, servers: int = 2, **secret: Any) -> Iterator[Rig]:
    """An estate whose one secret is not adopted yet."""
    (folder / "state").mkdir(mode=0o700)
    (folder / "custody").mkdir(mode=0o700)
    key = folder / "state/age.key"
    new_identity(key)
    make_journal(JournalSettings(kind="sqlite", path=folder / "state/journal.db"), clock=CLOCK).close()
    with Simulator(servers=servers) as sim:
        rig = Rig(folder=folder, sim=sim)
        rig.write(**secret)
        yield rig


NORMAL = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"http://127\.0\.0\.1:\d+", "SERVER"),
    (r"kong-\d{8}-[0-9a-f]{12}", "HANDLE"),
    (r"attempt [0-9a-f]{8}", "attempt ID"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\b[0-9a-f]{16}\b", "DIGEST"),
    (r"\d+ ms\b", "N ms"),
)


def normal(text: str, rig: Rig) -> str:
    """A transcript without what differs from run to run."""
    servers = {url: f"SERVER-{number}" for number, url in enumerate(rig.sim.urls, 1)}
    for url, name in servers.items():
        text = text.replace(url, name)
    text = text.replace(str(rig.folder), "FOLDER")
    for pattern, name in NORMAL:
        text = re.sub(pattern, name, text)
    return text
