"""What every provider promises, kept by the real Sahamati provider over HTTP: with the entity secret and the token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from contract.sahamati_kit import account_of, references
from keyturn.api import Bundle, Version, Waiting
from keyturn.testing.clock import FakeClock
from keyturn.testing.context import FakeContext
from keyturn.testing.provider_contract import ProviderContract
from keyturn_sahamati.hook import keyturn_plugin
from keyturn_sahamati.options import Target
from keyturn_sahamati.simulator import ENTITY, NEIGHBOUR, SECRET, Simulator

HOW = {"refused": "403", "before": "reset-before", "after": "reset-after"}
"""The kit's faults in the simulator's words; `unavailable` is a cut line."""


class SahamatiWorld:
    """A simulated service on a driven clock. `hit` is the call that an issue makes."""

    tick_s = 1.0
    hit = "reset"
    cuts_changes = True

    def __init__(self, sim: Simulator, clock: FakeClock) -> None:
        self.sim, self.clock = sim, clock
        self.plugin = keyturn_plugin()
        self.account = account_of(sim, token_life="1h")
        self.target = Target(entity_id=ENTITY)
        self.context = FakeContext(clock, references=references(sim))

    def seed(self) -> Version:
        return Version(id="admin", number=1, bundle=Bundle(self.sim.initial[SECRET]["bundle"]))

    def neighbour(self) -> Bundle:
        return Bundle(self.sim.current(NEIGHBOUR))

    def accepts(self, endpoint: str, bundle: Bundle) -> bool:
        assert endpoint
        return self.sim.accepts(bundle.reveal())

    def misbehave(self, verb: str, fault: str, nth: int = 1) -> None:
        if fault == "unavailable":
            self.context.cut(nth, changes_only=self.cuts_changes and verb == "issue")
        elif verb == "issue":
            self.sim.fault(self.hit, fault if fault.startswith("late") else HOW[fault], skip=nth - 1)
        else:
            raise AssertionError(f"nothing changes by {verb} here")

    def person(self, waiting: Waiting) -> Bundle:
        raise AssertionError(f"nobody is waited for here: {waiting}")


class TokenWorld(SahamatiWorld):
    """Its entity token, which is derived from the secret. Minting one changes nothing, so that any call may be cut."""

    hit = "entity-token"
    cuts_changes = False

    def __init__(self, sim: Simulator, clock: FakeClock, **target: Any) -> None:
        super().__init__(sim, clock)
        self.target = Target(token_of=SECRET, **target)
        self.beside = self._token(self.sim.current(NEIGHBOUR))

    def source(self) -> Version:
        return super().seed()

    def seed(self) -> Version:
        return Version(id="admin", number=1, bundle=self._token(self.sim.current()))

    def neighbour(self) -> Bundle:
        return self.beside

    def _token(self, secret: dict[str, str]) -> Bundle:
        """A token that somebody minted by hand."""
        line = self.context.http(self.sim.base_url)
        form = {"id": secret["entity_id"], "secret": secret["entity_secret"]}
        deadline_at = self.clock.now() + 20
        answer = line.call("POST", "/v1/entity/token/generate", mutates=False, form=form, deadline_at=deadline_at)
        fields = {"entity_id": secret["entity_id"], "expires_at": "2027-01-16T08:00:00Z"}
        return Bundle({**fields, "access_token": answer.json["accessToken"]})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sim(clock: FakeClock) -> Iterator[Simulator]:
    with Simulator(now=clock.now) as running:
        yield running


class TestEntitySecret(ProviderContract):
    @pytest.fixture
    def world(self, sim: Simulator, clock: FakeClock) -> Iterator[SahamatiWorld]:
        one = SahamatiWorld(sim, clock)
        yield one
        one.context.close()


class TestEntityToken(ProviderContract):
    @pytest.fixture(params=["by its claims", "by a place that takes it"])
    def world(self, request: pytest.FixtureRequest, sim: Simulator, clock: FakeClock) -> Iterator[TokenWorld]:
        place = {"token_probe_url": sim.network_url} if request.param == "by a place that takes it" else {}
        one = TokenWorld(sim, clock, **place)
        yield one
        one.context.close()
