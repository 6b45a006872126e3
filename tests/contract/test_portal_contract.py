"""What every provider promises, kept by the real Layer7 provider over HTTP, in each of its ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.layer7_kit import WAYS, Portals, PortalWorld, portals
from keyturn.testing.provider_contract import ProviderContract


@pytest.fixture(scope="module")
def at() -> Iterator[Portals]:
    with portals(proxies=1) as running:
        yield running


EVERY_RUN = ("patch", "patch, hashed", "put", "second key")
"""The other ways differ from one of these in few places, which the tests beside this one look at."""


class TestLayer7(ProviderContract):
    @pytest.fixture(params=[pytest.param(way, marks=() if way in EVERY_RUN else pytest.mark.sweep) for way in WAYS])
    def world(self, request: pytest.FixtureRequest, at: Portals) -> Iterator[PortalWorld]:
        one = PortalWorld(at, WAYS[request.param])
        yield one
        one.context.close()
