"""What every provider promises, kept by the real PingAuthorize provider over HTTP, on the machine's own clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from keyturn.api import Bundle, Version, Waiting
from keyturn.clock import SystemClock
from keyturn.testing.context import FakeContext
from keyturn.testing.provider_contract import ProviderContract
from keyturn_pingauthorize.hook import keyturn_plugin
from keyturn_pingauthorize.options import Account, Target
from keyturn_pingauthorize.simulator import FIRST, SECRET, Simulator

NEIGHBOUR = "apigee-20260101-17ab"
HOW: Mapping[str, str] = {"refused": "empty:403", "before": "reset-before", "after": "reset-after"}
"""The kit's faults in the simulator's words; `late:S` is `reset-late:S`, `unavailable` a cut line."""


class PingAuthorizeWorld:
    """A simulated cluster, whose changes come in one order: create, add at each server; remove at each; delete."""

    tick_s = 0.05

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.clock = SystemClock()
        self.plugin = keyturn_plugin()
        account = {"servers": sim.urls, "username": "env:PAZ_USER", "password": "env:PAZ_PASSWORD"}
        short = {"mirror_timeout": "2s", "poll": "10ms", "settle": "1s", "activation": "2s", "revocation": "2s"}
        self.account = Account.model_validate({**account, **short})
        self.target = Target(name_prefix="kong")
        references = {f"env:{name}": value for name, value in sim.environment.items()}
        self.context = FakeContext(self.clock, references=references)
        self.beside = Bundle({"shared_secret": "neighbour-of-the-target"})
        sim.world.create(NEIGHBOUR, self.beside["shared_secret"].reveal())
        sim.obey({"lists": {str(index): [FIRST, NEIGHBOUR] for index in range(len(sim.urls))}})

    def seed(self) -> Version:
        return Version(id="admin", number=1, handle=FIRST, bundle=Bundle(self.sim.initial[SECRET]["bundle"]))

    def neighbour(self) -> Bundle:
        return self.beside

    def accepts(self, endpoint: str, bundle: Bundle) -> bool:
        return self.sim.accepts(endpoint, bundle["shared_secret"].reveal())

    def misbehave(self, verb: str, fault: str, nth: int = 1) -> None:
        if fault == "unavailable":
            self.context.cut(nth, changes_only=verb in ("issue", "retire"))
        else:
            late, _, seconds = fault.partition(":")
            how = f"reset-late:{seconds}" if late == "late" else HOW[fault]
            self.sim.fault("change", how, skip=nth - 1)

    def person(self, waiting: Waiting) -> Bundle:
        raise AssertionError(f"nobody is waited for here: {waiting}")


@pytest.fixture
def world() -> Iterator[PingAuthorizeWorld]:
    with Simulator(servers=2) as sim:
        one = PingAuthorizeWorld(sim)
        yield one
        one.context.close()


class TestPingAuthorize(ProviderContract):
    pass
