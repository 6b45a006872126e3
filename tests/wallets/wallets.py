"""A team with developer-controlled wallets, in a folder: the simulated Circle, two places, and a clock.

What consumers read is in `served`, the recovery file in `custody`, which is another sink.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.clock import Clock
from keyturn.files import private_folder
from keyturn.journal.store import Event, Summary
from keyturn.testing.clock import FakeClock
from keyturn_circle.simulator import SECRET, Simulator
from program import Folder, write_private

__all__ = ["SECRET", "Wallets", "wallets"]

QUICK = {"activation": "10s", "settle": "60s", "way": "api"}
FIELD, FILE = "entity_secret", "recovery_file"
SINKS = [
    {"to": "served", "path": "entity.json", "fields": [FIELD]},
    {"to": "custody", "path": "circle.recovery", "fields": [FILE]},
]


@dataclass
class Wallets(Folder):
    """`account` and `secret` change what is configured, `sinks` are further accounts."""

    sim: Simulator = field(kw_only=True)
    account: Mapping[str, Any] = field(default_factory=dict)
    secret: Mapping[str, Any] = field(default_factory=dict)
    sinks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> None:
        """Everything in the folder, with the API key's file."""
        self.furnish({"api-key": self.sim.api_key})
        private_folder(self.folder / "custody")
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Write the configuration; `changes` are of the secret, from now on."""
        self.secret = {**self.secret, **changes}
        account = {"kind": "circle", "environment": "test", "api_key": "file:state/api-key", "base_url": self.sim.url}
        secret = {
            "provider": "circle",
            "target": {"canary_wallet": self.sim.canary},
            "overlap": {"strategy": "cutover", "accept_outage": "5s"},
            "sinks": SINKS,
        }
        files = {name: {"kind": "file", "folder": name} for name in ("served", "custody")}
        self.write(
            {
                "providers": {"circle": {**account, **QUICK, **self.account}},
                "sinks": {**files, **self.sinks},
                "secrets": {SECRET: {**secret, **self.secret}},
                **self.more,
            }
        )

    def begin(self) -> None:
        """Take over the secret that is registered already, with its recovery file."""
        whole = {FIELD: self.sim.secret, FILE: self.sim.recovery_file}
        self.well("adopt", SECRET, "--from-stdin", stdin=json.dumps(whole))

    # what is there

    def served(self) -> str:
        """The entity secret that consumers read; empty where there is none."""
        return self._stored("served/entity.json", FIELD)

    def custody(self) -> str:
        """The recovery file in custody; empty where there is none."""
        return self._stored("custody/circle.recovery", FILE)

    def _stored(self, place: str, field: str) -> str:
        try:
            return str(json.loads((self.folder / place).read_text())[field])
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def escrowed(self) -> list[dict[str, str]]:
        """Every value that opens from the escrow."""
        with self.estate() as estate:
            escrow = estate.bench.escrow
            kept = [one.version_id for one in escrow.listing(SECRET) if one.kind == "version"]
            return [bundle.reveal() for id_ in kept if (bundle := escrow.open_version(SECRET, id_))]

    def accepted(self) -> bool:
        """Promise P2: whether what consumers read is in force."""
        return self.sim.accepts({FIELD: self.served()})

    def safe(self) -> bool:
        """Promise P1: whether the secret in force is served, or opens from the escrow."""
        known = [self.served(), *(bundle.get(FIELD, "") for bundle in self.escrowed())]
        return self.sim.secret in known

    def commits(self) -> list[dict[str, Any]]:
        """The changes that took effect at the vendor, in order; never a value."""
        return [entry for entry in self.sim.log if entry["event"] == "commit"]

    def events(self, name: str = SECRET) -> list[Event]:
        return super().events(name)

    def row(self, name: str = SECRET) -> Summary:
        return super().row(name)

    def supply(self, text: str, name: str = "handed-in") -> str:
        """A private file with a recovery file, as `--supply` takes it."""
        write_private(self.folder / "state" / name, text)
        return f"{FILE}=@{self.folder / 'state' / name}"


@contextmanager
def wallets(
    folder: Path, *, clock: Clock | None = None, registered: bool = True, environment: str = "test", **more: Any
) -> Iterator[Wallets]:
    """A team that is set up; its vendor's clock is its own."""
    folder.mkdir(mode=0o700)
    with ExitStack() as stack:
        one = clock or FakeClock()
        sim = stack.enter_context(
            Simulator(
                now=one.now,
                wait=one.wait if isinstance(one, FakeClock) else None,
                registered=registered,
                environment=environment,
            )
        )
        sim.switch(hang_s=20.0, rest="on")  # on a driven clock a longer one would outlive the lease
        built = Wallets(folder=folder, sim=sim, clock=one, **more)
        built.build()
        yield built
