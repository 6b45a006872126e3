"""A member of the network in a folder: the simulated vendor, a configuration, a journal, sinks, and a clock."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.clock import Clock
from keyturn.journal.store import Event, Summary
from keyturn.testing.clock import FakeClock
from keyturn_sahamati.simulator import ENTITY as MEMBER
from keyturn_sahamati.simulator import SECRET as ENTITY
from keyturn_sahamati.simulator import TOKEN, Simulator
from program import DAY_S, HOUR_S, PROGRAM, Folder, Ran, from_files, write_private

__all__ = [
    "DAY_S",
    "ENTITY",
    "HOUR_S",
    "MEMBER",
    "PROGRAM",
    "TOKEN",
    "Member",
    "Ran",
    "member",
    "write_private",
]


@dataclass
class Member(Folder):
    """`secrets` and `account` change what the simulator's own configuration says; None leaves a secret out.

    `sinks` are further accounts.
    """

    sim: Simulator = field(kw_only=True)
    secrets: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    account: Mapping[str, Any] = field(default_factory=dict)
    sinks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> None:
        """Everything in the folder, with the login's files."""
        self.furnish(self.sim.environment)
        self.configure()

    def configure(self, secrets: Mapping[str, Mapping[str, Any] | None] | None = None) -> None:
        """Write the configuration; `secrets` change one or more of them from now on."""
        self.secrets = {**self.secrets, **(secrets or {})}
        fragment = self.sim.configuration(self.folder)
        accounts = {name: {**from_files(one), **self.account} for name, one in fragment["providers"].items()}
        configured = {}
        for name, secret in fragment["secrets"].items():
            changes = self.secrets.get(name, {})
            served = [{"to": "served", "path": f"{name.rpartition('/')[2]}.json"}]
            if changes is not None:
                configured[name] = {**secret, "sinks": served, **changes}
        self.write(
            {
                "providers": accounts,
                "sinks": {"served": {"kind": "file", "folder": "served"}, **self.sinks},
                "secrets": configured,
                **self.more,
            }
        )

    def begin(self) -> None:
        """Take over the secret that the vendor holds, and make the first token."""
        self.well("adopt", ENTITY, "--from-vendor")
        if self.secrets.get(TOKEN, {}) is not None:
            self.well("rotate", TOKEN, "--first", "--yes")

    def served(self, name: str = ENTITY) -> dict[str, str]:
        """What consumers read."""
        found = json.loads((self.folder / "served" / f"{name.rpartition('/')[2]}.json").read_text())
        assert isinstance(found, dict)
        return found

    @property
    def resets(self) -> list[dict[str, Any]]:
        """The resets that the vendor carried out, in order; never a value."""
        return [one for one in self.sim.commits if one["entity"] == MEMBER]

    def events(self, name: str = ENTITY) -> list[Event]:
        return super().events(name)

    def row(self, name: str = ENTITY) -> Summary:
        return super().row(name)

    def accepted(self, name: str = ENTITY) -> bool:
        """Promise P2: whether what consumers read is accepted by the vendor now."""
        return self.sim.accepts(self.served(name))


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
