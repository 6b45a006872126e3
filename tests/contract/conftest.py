"""A simulated Layer7 portal that runs for all tests that want one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.layer7_kit import Benches, Portals, portals


@pytest.fixture(scope="session")
def running_portal() -> Iterator[Portals]:
    with portals() as running:
        yield running


@pytest.fixture
def bench(running_portal: Portals) -> Iterator[Benches]:
    """Makes a provider at that portal, which is as if just started."""
    made = Benches(running_portal)
    yield made
    made.close()
