"""What every provider promises, kept by the real Azure API Management provider over HTTP, on a driven clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.portal_kit import PortalWorld
from keyturn.api import Bundle, Version
from keyturn.testing.clock import FakeClock
from keyturn.testing.provider_contract import ProviderContract
from keyturn_apiportal.azure.hook import keyturn_plugin
from keyturn_apiportal.azure.simulator import SECRET, Simulator


class AzureWorld(PortalWorld):
    """Two gateways, one of which hears of a change five seconds late."""

    changes = "regenerate"

    def __init__(self, sim: Simulator, clock: FakeClock) -> None:
        super().__init__(sim, keyturn_plugin(), clock, SECRET)

    def seed(self) -> Version:
        value = self.sim.current("primary")
        handle = f"primary-{self.context.fingerprint(value)}"
        bundle = Bundle({"subscription_key": value})
        return Version(id="admin", number=1, slot="primary", handle=handle, bundle=bundle)

    def neighbour(self) -> Bundle:
        return Bundle({"subscription_key": self.sim.neighbour()})

    def accepts(self, endpoint: str, bundle: Bundle) -> bool:
        return bool(self.sim.accepts(endpoint, bundle["subscription_key"].reveal()))


@pytest.fixture
def world() -> Iterator[AzureWorld]:
    clock = FakeClock()
    with Simulator(gateways=2, now=clock.now, wait=clock.wait) as sim:
        sim.switch(sync_s=(0.0, 5.0))
        one = AzureWorld(sim, clock)
        yield one
        one.context.close()


class TestAzureApiManagement(ProviderContract):
    pass
