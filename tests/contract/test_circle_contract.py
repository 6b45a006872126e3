"""What every provider promises, kept by the real Circle provider over HTTP: by calls and in the Console."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from contract.circle_kit import BITS, FIELD, FILE, account_of, references, sent_twice
from keyturn.api import Bundle, IssueResponse, Refused, ResetRequest, Version, Waiting
from keyturn.testing.clock import FakeClock
from keyturn.testing.context import FakeContext
from keyturn.testing.provider_contract import ProviderContract, Rotation
from keyturn_circle.hook import keyturn_plugin
from keyturn_circle.options import Target
from keyturn_circle.simulator import SECRET, Simulator

HOW = {"refused": "code:3", "before": "reset-before", "after": "reset-after"}
"""The kit's faults in the simulator's words; `unavailable` is a cut line."""


class CircleWorld:
    """A simulated entity on a driven clock; each call comes from another process, so that nobody paces them."""

    tick_s = 1.0

    def __init__(self, sim: Simulator, clock: FakeClock, **options: Any) -> None:
        self.sim, self.clock = sim, clock
        self.plugin = keyturn_plugin()
        first = sim.initial[SECRET]
        self.account = account_of(sim, app_id=first["handle"], **options)
        self.target = Target(canary_wallet=sim.canary)
        self.context = FakeContext(clock, references=references(sim))

    def seed(self) -> Version:
        first = self.sim.initial[SECRET]
        return Version(id="admin", number=1, handle=first["handle"], bundle=Bundle(first["bundle"]))

    def neighbour(self) -> Bundle:
        return Bundle({FIELD: self.sim.neighbour})

    def accepts(self, endpoint: str, bundle: Bundle) -> bool:
        assert endpoint
        found = bundle.reveal()
        return self.sim.accepts(found) or found[FIELD] == self.sim.neighbour

    def misbehave(self, verb: str, fault: str, nth: int = 1) -> None:
        if fault == "unavailable":
            self.context.cut(nth, changes_only=verb == "issue")
        elif verb == "issue":
            self.sim.fault("rotate", fault if fault.startswith("late") else HOW[fault], skip=nth - 1)
        else:
            raise AssertionError(f"nothing changes by {verb} here")

    def person(self, waiting: Waiting) -> Bundle:
        return Bundle({FILE: self.sim.console_rotate(**waiting.show.reveal())})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sim(clock: FakeClock) -> Iterator[Simulator]:
    with Simulator(now=clock.now, wait=clock.wait, key_bits=BITS) as running:
        running.switch(rest="on", rate_limit=0)
        yield running
        assert sent_twice(running) == [], "a ciphertext was sent twice"


class TestByCalls(ProviderContract):
    @pytest.fixture
    def world(self, sim: Simulator, clock: FakeClock) -> Iterator[CircleWorld]:
        one = CircleWorld(sim, clock)
        yield one
        one.context.close()


class TestInTheConsole(ProviderContract):
    @pytest.fixture
    def world(self, sim: Simulator, clock: FakeClock) -> Iterator[CircleWorld]:
        sim.switch(rest="off")
        one = CircleWorld(sim, clock, way="console")
        yield one
        one.context.close()

    def test_break_glass_takes_the_artefact_and_nothing_else(self, rotation: Rotation) -> None:
        """Here a person hands it in, and the Console judges it."""
        world = rotation.world
        assert isinstance(world, CircleWorld)
        rotation.current = rotation.rotate()
        rotation.new = rotation.mint(3)
        call = rotation.call("reset-1")
        answer = rotation.ask("reset", ResetRequest(call=call, new=rotation.new, supplied=Bundle()))
        assert isinstance(answer, IssueResponse)
        assert answer.waiting
        shown, old = answer.waiting.show["new_ciphertext"].reveal(), rotation.current.bundle[FILE].reveal()
        assert rotation.everywhere(rotation.current)
        assert world.sim.console_reset(old, shown) != old
        assert rotation.everywhere(rotation.new)


def test_the_suite_would_notice_a_file_that_is_sent_unlooked_at(sim: Simulator, clock: FakeClock) -> None:
    world = CircleWorld(sim, clock)
    rotation = Rotation(world)
    request = ResetRequest(call=rotation.call(), new=rotation.new, supplied=Bundle({FILE: "made up"}))
    assert isinstance(rotation.ask("reset", request), Refused)
    world.context.close()
