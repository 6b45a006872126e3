"""Every way of replacing a portal's credential, behind three proxies, into a real OpenBao and the strict AWS fake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keyturn.clock import Clock, SystemClock
from keyturn.testing.clock import FakeClock
from keyturn_aws.simulator import StrictFake
from keyturn_vault.simulator import OpenBao
from stores import Stores

from .caller import Caller
from .partners import BESIDE, IN_PLACE, SECRET, WAYS, Partners, call, partners

SYNCS_S = (0.2, 0.9, 1.6)
QUICKLY = {"sync": "20s", "settle": "3s"}
CALLED_MIN = 200


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        yield server


@pytest.fixture(scope="module")
def aws() -> Iterator[StrictFake]:
    with StrictFake() as fake:
        yield fake


@pytest.fixture
def stores(bao: OpenBao, aws: StrictFake) -> Stores:
    return Stores(bao, aws)


@contextmanager
def serving(folder: Path, name: str, stores: Stores, clock: Clock) -> Iterator[Partners]:
    """A team that serves from both stores; each proxy hears of a change at its own time."""
    way = WAYS[name]
    secret = {"sinks": stores.places("key"), "overlap": way.overlap if way.in_place else {**way.overlap, "hold": "2s"}}
    with partners(folder / "team", name, clock=clock, account=QUICKLY, secret=secret, sinks=stores.accounts()) as one:
        synced(one)
        stores.let_in(one.folder)
        one.begin()
        yield one
        never_told(one, stores)


@pytest.fixture
def team(tmp_path: Path, stores: Stores, request: pytest.FixtureRequest) -> Iterator[Partners]:
    """On a clock that is driven, beginning now: the stores' own clocks are compared with it."""
    with serving(tmp_path, request.param, stores, FakeClock(SystemClock().now())) as one:
        yield one


@pytest.fixture
def busy(tmp_path: Path, stores: Stores, request: pytest.FixtureRequest) -> Iterator[Partners]:
    """On the machine's own clock, for consumers that call all the time."""
    with serving(tmp_path, request.param, stores, SystemClock()) as one:
        yield one


def swept(names: Sequence[str], *fast: str) -> list[Any]:
    """The fast ones in every test run, the others in the sweep."""
    return [pytest.param(name, marks=() if name in fast else pytest.mark.sweep) for name in names]


def synced(one: Partners) -> None:
    """How late each proxy hears of a change."""
    if hasattr(one.sim, "application"):
        for proxy, sync_s in zip(one.sim.proxies, SYNCS_S, strict=True):
            proxy.switch(sync_s=sync_s)
    else:
        one.sim.switch(sync_s=list(SYNCS_S))


def never_told(one: Partners, stores: Stores) -> None:
    """Promise P4: no secret in anything that was said or journaled."""
    journal = (one.folder / "state/journal.db").read_bytes().decode(errors="replace")
    texts = [*one.said, journal, *one.alerts]
    hidden = [text for name, text in stores.read("key")[0].items() if name != "client_id"]
    hidden += [text for kept in one.escrowed() for name, text in kept.items() if name != "client_id"]
    assert not [value for value in hidden for text in texts if value in text]


def rotated(one: Partners, stores: Stores) -> dict[str, str]:
    """A rotation to its end: what both stores serve then, which every proxy takes."""
    ran = one.keyturn("rotate", SECRET, "--yes", "--force", "--reason", "test")
    while ran.code == 0 and one.row(SECRET).status != "current":
        one.clock.wait(1.0)
        ran = one.keyturn("run")
    assert ran.code == 0, ran.said
    vault, aws = stores.read("key")
    assert vault == aws
    assert one.everywhere(vault)
    return vault


@pytest.mark.parametrize("team", WAYS, indirect=True)
def test_a_rotation_ends_with_the_new_one_accepted_at_every_proxy_and_served_by_both_stores_and_the_old_one_dead(
    team: Partners, stores: Stores
) -> None:
    old = stores.read("key")[0]
    new = rotated(team, stores)
    assert new != old
    assert team.accepted_at(old) == []
    ended = team.row(SECRET).state["rotation"]["ended"]
    assert (ended["outcome"], ended["old_refused"]) == ("done", True)
    assert (ended["outage_ms"] > 0) == team.way.in_place


@pytest.mark.parametrize("busy", swept(BESIDE, "second-key", "slots"), indirect=True)
def test_a_consumer_that_calls_all_the_time_is_never_refused_through_three_rotations(
    busy: Partners, stores: Stores
) -> None:
    caller = Caller(busy.proxies, lambda: stores.read("key")[0], call)
    with caller.calling():
        used = [rotated(busy, stores) for _ in range(3)]
    assert len({tuple(bundle.values()) for bundle in used}) == 3
    assert caller.refused == []
    assert len(caller.heard) > CALLED_MIN


@pytest.mark.parametrize("busy", swept(IN_PLACE, "patch", "patch-hashed"), indirect=True)
def test_what_a_consumer_is_refused_in_place_lies_inside_the_outage_that_is_reported(
    busy: Partners, stores: Stores
) -> None:
    caller = Caller(busy.proxies, lambda: stores.read("key")[0], call)
    with caller.calling():
        rotated(busy, stores)
    sent = next(event for event in busy.events(SECRET) if event.data.get("verb") == "issue")
    outage_s = busy.row(SECRET).state["rotation"]["ended"]["outage_ms"] / 1000
    assert caller.refused, "in place there is an outage"
    outside = [one.at - sent.at for one in caller.refused if not 0 <= one.at - sent.at <= outage_s]
    assert outside == [], outage_s
