"""Many secrets, one PostgreSQL journal, several real runner processes, and what the vendors' logs say of it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from keyturn.cli.estate import open_estate
from keyturn.clock import SystemClock
from keyturn.engine.adoption import Adoption, adopt
from keyturn.escrow import new_identity
from keyturn.files import private_folder, write_private
from keyturn.journal import JournalSettings, make_journal, open_journal
from keyturn.journal.store import Event, Journal
from keyturn.secret import Bundle
from keyturn_pingauthorize.simulator import Simulator
from servers.postgresql import PostgreSQL, poll, postgresql

LEAD = "fleet/lead"
CLOCK = SystemClock()
PROGRAM = [sys.executable, "-m", "keyturn"]
PER_CLUSTER = 8
"""Secrets at one simulated cluster: each look at a cluster asks for every name that it lists."""

ADOPTERS = 4


@dataclass(frozen=True)
class Managed:
    """One secret, with what its consumers use before anything is rotated."""

    name: str
    prefix: str
    cluster: int
    value: str = field(default_factory=lambda: secrets.token_hex(24), repr=False)

    @property
    def handle(self) -> str:
        """Its first name at the vendor."""
        return f"{self.prefix}-20260101-first"


@dataclass
class Fleet:
    """An estate of `followers`, all due once LEAD was rotated, and the runners that were started."""

    folder: Path
    server: PostgreSQL
    sims: list[Simulator]
    managed: list[Managed]
    lease_s: int
    runners: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def followers(self) -> list[str]:
        """The names of all but LEAD."""
        return [one.name for one in self.managed if one.name != LEAD]

    @property
    def settings(self) -> JournalSettings:
        """Where the journal is."""
        return JournalSettings(kind="postgresql", url=self.server.url())

    # Before

    def build(self) -> None:
        """Vendors, identity, configuration, journal; every secret adopted, nothing due."""
        state = private_folder(self.folder / "state")
        private_folder(self.folder / "served")
        new_identity(state / "age.key")
        write_private(state / "journal", self.server.url().encode())
        for number, sim in enumerate(self.sims):
            write_private(state / f"login-{number}", sim.environment["PAZ_PASSWORD"].encode())
        for one in self.managed:
            world = self.sims[one.cluster].world
            world.create(one.handle, one.value)
            world.add(0, [one.handle])
        write_private(self.folder / "keyturn.yaml", json.dumps(self._configuration(), indent=1).encode())
        make_journal(self.settings, clock=CLOCK).close()
        self._adopt()

    def _configuration(self) -> dict[str, Any]:
        return {
            "keyturn": 1,
            "journal": {"kind": "postgresql", "url": "file:state/journal"},
            "escrow": {"identities": ["file:state/age.key"]},
            "limits": {"lease": f"{self.lease_s}s", "call": "30s", "rotations_per_run": 100_000},
            "providers": {f"paz-{number}": self._account(number) for number in range(len(self.sims))},
            "sinks": {"files": {"kind": "file", "folder": "served"}},
            "secrets": {one.name: _secret(one) for one in self.managed},
        }

    def _account(self, number: int) -> dict[str, Any]:
        account = self.sims[number].configuration(self.folder)["providers"]["paz"]
        return {**account, "username": "exec:echo cn=rotator", "password": f"file:state/login-{number}"}

    def _adopt(self) -> None:
        estate = open_estate(str(self.folder / "keyturn.yaml"))
        try:
            jobs = [(estate.job(one.name), one) for one in self.managed]
            with ThreadPoolExecutor(ADOPTERS) as pool:
                for _ in pool.map(
                    lambda pair: adopt(
                        estate.bench,
                        pair[0],
                        Adoption(bundle=Bundle({"shared_secret": pair[1].value}), handle=pair[1].handle),
                    ),
                    jobs,
                ):
                    pass
        finally:
            estate.close()

    # Runners

    def keyturn(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        return subprocess.run([*PROGRAM, *argv], env=self._environment(), capture_output=True, text=True, check=False)

    def start(self) -> subprocess.Popen[bytes]:
        """One more runner, as a service would start it."""
        with (self.folder / f"runner-{len(self.runners)}.log").open("wb") as log:
            runner = subprocess.Popen(
                [*PROGRAM, "run", "--watch"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.runners.append(runner)
        return runner

    def tend(self, dead: subprocess.Popen[bytes] | None = None) -> None:
        """Start again what ended by itself, as a service would; `dead` stays dead."""
        for runner in [one for one in self.runners if one is not dead and one.poll() is not None]:
            self.runners.remove(runner)
            self.start()

    def stop(self) -> list[int]:
        """Ask every runner to end; their exit codes."""
        for runner in self.runners:
            if runner.poll() is None:
                runner.send_signal(signal.SIGTERM)
        return [runner.wait(60) for runner in self.runners]

    def kill(self) -> None:
        """Nothing outlives the estate."""
        for runner in self.runners:
            if runner.poll() is None:
                runner.kill()
                runner.wait()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KEYTURN_CONFIG": str(self.folder / "keyturn.yaml")}

    # What became of it

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The journal, to read in."""
        journal = open_journal(self.settings, clock=CLOCK, runner="reader", operator="reader")
        try:
            yield journal
        finally:
            journal.close()

    def done(self, journal: Journal) -> int:
        """How many followers were rotated and have nothing left to do."""
        rows = journal.summaries()
        return sum(rows[name].status == "current" and _number(rows[name].state) == 2 for name in self.followers)

    def wait_for(
        self, journal: Journal, count: int, *, at_most_s: float, dead: subprocess.Popen[bytes] | None = None
    ) -> bool:
        """Tend the fleet until so many are done."""

        def enough() -> bool:
            self.tend(dead)
            return self.done(journal) >= count

        return poll(enough, at_most_s=at_most_s)

    def created(self) -> Counter[str]:
        """By prefix, how many objects the vendors made, by their own log."""
        made = (entry for sim in self.sims for entry in sim.log if entry["on"] == "create" and entry["status"] < 300)
        return Counter(entry["name"].split("-")[0] for entry in made)

    def not_once(self) -> dict[str, int]:
        """The followers that were not rotated exactly once."""
        created = self.created()
        return {one.prefix: created[one.prefix] for one in self.managed if created[one.prefix] != 1}

    def refused(self) -> list[str]:
        """The secrets whose served value the vendor does not accept."""
        return [one.name for one in self.managed if not self._is_accepted(one)]

    def _is_accepted(self, one: Managed) -> bool:
        value = json.loads((self.folder / "served" / f"{one.prefix}.json").read_text())["shared_secret"]
        sim = self.sims[one.cluster]
        return value != one.value and sim.accepts(sim.urls[0], value) and not sim.accepts(sim.urls[0], one.value)

    def taken_over_s(self, journal: Journal, pid: int) -> list[float]:
        """For each secret that the runner `pid` left in the middle: how long until another one wrote its next event."""
        found = (_taken_over_s(journal.events(name), f"/{pid}/") for name in self.followers)
        return [seconds for seconds in found if seconds is not None]


def _taken_over_s(events: list[Event], mark: str) -> float | None:
    for before, after in pairwise(events):
        if mark in before.runner and mark not in after.runner:
            return after.at - before.at
    return None


def _number(state: Any) -> int:
    return max((int(one["number"]) for one in state["versions"] if one["state"] == "current"), default=0)


def _secret(one: Managed) -> dict[str, Any]:
    return {
        "provider": f"paz-{one.cluster}",
        "target": {"name_prefix": one.prefix},
        "rotate": {} if one.name == LEAD else {"after": [LEAD]},
        "overlap": {"strategy": "dual", "hold": "0s"},
        "sinks": [{"to": "files", "path": f"{one.prefix}.json"}],
    }


@contextmanager
def fleet(folder: Path, count: int, *, lease_s: int = 5) -> Iterator[Fleet]:
    """A built estate of `count` followers; runners are the caller's."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    managed = [Managed(name=LEAD, prefix="lead", cluster=0)]
    managed += [Managed(name=f"fleet/s{n}", prefix=f"s{n}", cluster=n // PER_CLUSTER) for n in range(count)]
    with ExitStack() as open_:
        server = open_.enter_context(postgresql())
        sims = [open_.enter_context(Simulator(servers=1)) for _ in range(managed[-1].cluster + 1)]
        one = Fleet(folder=folder, server=server, sims=sims, managed=managed, lease_s=lease_s)
        open_.callback(one.kill)
        one.build()
        yield one
