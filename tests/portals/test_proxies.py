"""Proxies that hear late, never, or are down: consumers do not wait for them, and each is named and finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moments import ANSWERS_S, Moment

from .endings import act, in_order, runs, said_of, team
from .partners import IN_PLACE, SECRET, Partners

MINUTE_S = 60.0
SOON_S = ANSWERS_S + 5.0
"""The slow answer of the portal, and what it takes two proxies to hear of the change."""
SLOWLY = f"slow:{ANSWERS_S:.0f}"


@contextmanager
def without_third(folder: Path, way: str, happens: str) -> Iterator[Partners]:
    """The third proxy fails as the portal has made the change; then we type `rotate`."""
    moment = Moment()
    with team(folder / "team", way, clock=moment) as one:
        third = one.sim.proxies[2]
        if happens == "stop":
            moment.happens = third.stop
        else:
            third.switch(**{"sync": happens} if happens != "cache" else {"cache_s": 10 * MINUTE_S})
        one.sim.fault(one.way.calls[0], SLOWLY)
        yield one


def owed(one: Partners) -> list[str]:
    """The proxies that have not been seen to take the new one."""
    return [debt["where"] for debt in one.row(SECRET).state["debts"] if debt["kind"] == "verify"]


def published_after_s(one: Partners) -> float:
    """How long consumers had nothing valid at the proxies that heard at once."""
    sent = min(event.at for event in one.events(SECRET) if event.data.get("verb") == "issue")
    return float(one.row(SECRET).state["rotation"]["published_at"]) - sent


@pytest.mark.parametrize("way", IN_PLACE)
def test_consumers_are_not_kept_down_by_a_proxy_that_dies_and_it_is_finished_when_it_returns(
    tmp_path: Path, way: str
) -> None:
    with without_third(tmp_path, way, "stop") as one:
        third = one.sim.proxies[2]
        ran = act(one)
        assert ran.code == 6, ran.said
        assert third.url in ran.said
        assert one.accepted_at(one.served()) == one.proxies[:2]
        assert owed(one) == [third.url]
        assert published_after_s(one) <= SOON_S
        one.clock.advance(120 * MINUTE_S)
        for _ in range(2):
            assert one.keyturn("run").code == 6
        [told] = [line for line in one.alerts if "|unheard|" in line]
        assert f"not known to be accepted since then at {third.url}" in told
        assert f"--drop {third.url} --reason TEXT" in told
        third.start()
        one.clock.advance(MINUTE_S)
        runs(one)
        in_order(one)
        assert owed(one) == []
        [ended] = said_of(one, "rotation.ended")
        assert ended["outage_ms"] >= 1000 * published_after_s(one)


@pytest.mark.parametrize("how", ["on-demand", "never", "old-otk", "validation-error"])
def test_a_proxy_that_is_never_told_is_named_with_what_a_person_does_and_finished_once_he_did(
    tmp_path: Path, how: str
) -> None:
    with without_third(tmp_path, "patch-hashed", how) as one:
        third = one.sim.proxies[2]
        ran = act(one)
        assert ran.code == 5, ran.said
        assert published_after_s(one) <= SOON_S
        assert "not-synchronised" in ran.said
        assert third.url in ran.said
        assert owed(one) == [third.url]
        assert one.keyturn("run").code == 5
        assert [line for line in one.alerts if "|stuck|" in line and third.url in line]
        third.switch(sync="automatic", sync_s=0.0)
        one.sim.edit()  # the portal tells its proxies of a key that was saved
        one.sim.deploy(2)
        one.well("resume", SECRET)
        in_order(one)


def test_a_proxy_that_answers_from_a_cache_is_no_evidence_and_is_named_until_it_forgets(tmp_path: Path) -> None:
    with without_third(tmp_path, "patch", "cache") as one:
        ran = act(one)
        assert ran.code == 5, ran.said
        assert f"still accepted at {one.proxies[2]}" in ran.said
        assert one.everywhere(one.served())
        one.clock.advance(10 * MINUTE_S)
        one.well("resume", SECRET)
        in_order(one)


def test_what_is_accepted_nowhere_is_not_published(tmp_path: Path) -> None:
    with team(tmp_path / "team", "patch") as one:
        old = one.served()
        for proxy in one.sim.proxies:
            proxy.switch(sync="never")
        ran = act(one)
        assert ran.code == 5, ran.said
        assert one.served() == old
        for proxy in one.sim.proxies:
            proxy.switch(sync="automatic", sync_s=0.0)
            one.sim.deploy(proxy.name)
        one.well("resume", SECRET)
        in_order(one)


def test_two_keys_live_side_by_side_until_every_proxy_has_heard_of_the_new_one(tmp_path: Path) -> None:
    with team(tmp_path / "team", "second-key", account={"sync": "30s"}) as one:
        old = one.served()
        one.sim.proxies[2].switch(sync_s=600.0)
        ran = act(one)
        assert ran.code == 4, ran.said
        assert one.served() == old
        assert one.everywhere(old)
        one.clock.advance(700.0)
        one.keyturn("run")
        assert one.sim.keys == [old["client_id"]], "what was given up is removed"


def test_the_switches_of_one_proxy_are_its_own(tmp_path: Path) -> None:
    """The far side of the tests above: each hears at its own time."""
    with team(tmp_path / "team", "patch") as one:
        one.sim.proxies[2].switch(sync_s=40.0)
        assert act(one).code == 0
        in_order(one)
        rotation: dict[str, Any] = one.row(SECRET).state["rotation"]
        assert rotation["ended"]["outage_ms"] >= 40_000
        assert published_after_s(one) <= SOON_S
