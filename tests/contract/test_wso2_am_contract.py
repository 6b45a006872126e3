"""What every provider promises, kept by the real WSO2 API Manager provider over HTTP, on a driven clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.portal_kit import PortalWorld
from keyturn.api import Bundle, Version
from keyturn.testing.clock import FakeClock
from keyturn.testing.provider_contract import ProviderContract
from keyturn_apiportal.wso2.hook import keyturn_plugin
from keyturn_apiportal.wso2.simulator import SECRET, Simulator


class Wso2World(PortalWorld):
    """Two gateways, one of which hears of a change five seconds late."""

    def __init__(self, sim: Simulator, clock: FakeClock) -> None:
        super().__init__(sim, keyturn_plugin(), clock, SECRET)

    def seed(self) -> Version:
        first = self.sim.initial[SECRET]
        return Version(id="admin", number=1, handle=first["handle"], bundle=Bundle(first["bundle"]))

    def neighbour(self) -> Bundle:
        return Bundle(self.sim.neighbour())

    def accepts(self, endpoint: str, bundle: Bundle) -> bool:
        return bool(self.sim.accepts(endpoint, **bundle.reveal()))


@pytest.fixture
def world() -> Iterator[Wso2World]:
    clock = FakeClock()
    with Simulator(gateways=2, now=clock.now, wait=clock.wait) as sim:
        sim.switch(sync_s=(0.0, 5.0))
        one = Wso2World(sim, clock)
        yield one
        one.context.close()


class TestWso2ApiManager(ProviderContract):
    pass
