"""Rotations on top of each other while a proxy is out, and emergencies that can not wait for it: the whole program."""

from __future__ import annotations

import json
import re
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from keyturn.cli.estate import Wiring
from keyturn.testing.faults import Crash, CrashingJournal
from program import Ran

from .endings import act, in_order, kept, runs, team
from .partners import SECRET, Partners
from .test_proxies import MINUTE_S, owed, without_third

DAY_S = 86_400.0
LEAKED = ("rotate", SECRET, "--compromised", "--reason", "leaked", "--yes")


def emergency(one: Partners, wiring: Wiring | None = None) -> Ran:
    return one.keyturn(*LEAKED, wiring=wiring)


def number(one: Partners) -> int:
    """The version that consumers read."""
    found: int = json.loads(one.keyturn("status", SECRET, "--json").out)["secrets"][0]["current"]
    return found


@pytest.mark.parametrize(("happens", "code"), [("stop", 6), ("never", 5)])
def test_a_proxy_that_missed_a_version_does_not_stop_the_next_one_nor_an_emergency(
    tmp_path: Path, happens: str, code: int
) -> None:
    with without_third(tmp_path, "patch", happens) as one:
        third = one.sim.proxies[2]
        assert act(one).code == code
        for numbered, rotates in ((3, act), (4, emergency)):
            one.clock.advance(DAY_S)
            ran = rotates(one)
            assert ran.code == code, ran.said
            assert (number(one), owed(one)) == (numbered, [third.url])
            assert one.accepted_at(one.served()) == one.proxies[:2]
        third.start() if happens == "stop" else third.switch(sync="automatic", sync_s=0.0)
        one.sim.deploy(2)
        one.clock.advance(MINUTE_S)
        one.well("resume", SECRET)
        in_order(one)
        rotation: dict[str, Any] = one.row(SECRET).state["rotation"]
        assert rotation["ended"]["outages_ms"][third.url] >= 2 * DAY_S * 1000


def test_an_emergency_in_place_goes_on_without_a_proxy_that_was_down_before(tmp_path: Path) -> None:
    with team(tmp_path / "team", "patch-hashed") as one:
        third = one.sim.proxies[2]
        third.stop()
        refused = one.keyturn("rotate", SECRET, "--yes")
        assert refused.code == 3, refused.said
        assert f"keyturn rotate {SECRET} --compromised" in refused.said
        ran = emergency(one)
        assert ran.code == 6, ran.said
        assert (number(one), owed(one)) == (2, [third.url])
        third.start()
        one.clock.advance(MINUTE_S)
        runs(one)
        in_order(one)


def test_an_emergency_with_a_second_key_goes_on_without_a_proxy_by_the_command_that_is_printed(tmp_path: Path) -> None:
    with team(tmp_path / "team", "second-key") as one:
        old = one.served()
        one.sim.proxies[2].stop()
        ran = emergency(one)
        assert (ran.code, one.served()) == (6, old), ran.said
        found = re.search(r"keyturn (resume \S+ --drop \S+ --reason) TEXT", ran.said)
        assert found, ran.said
        ran = one.keyturn(*found[1].split(), "scrapped")
        assert one.served() != old, ran.said
        assert one.accepted_at(old) == []
        assert "proxies still hold" in ran.said, "it is disabled, and kept as long as the portal says so"
        one.sim.proxies[2].start()
        one.clock.advance(MINUTE_S)
        runs(one)
        assert one.sim.keys == [one.served()["client_id"]]


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("way", ["patch", "patch-hashed", "put-hashed", "legacy"])
def test_an_emergency_that_is_killed_at_any_write_while_a_proxy_is_down_is_ended_by_the_schedule(
    tmp_path: Path, way: str, when: Any
) -> None:
    for at in count(1):
        with team(tmp_path / f"{at}", way) as one:
            third = one.sim.proxies[2]
            third.stop()
            died = False
            try:
                emergency(one, Wiring(clock=one.clock, journal=partial(CrashingJournal, at=at, when=when)))
            except Crash:
                died = True
            one.clock.advance(10 * MINUTE_S)
            one.keyturn("run")
            assert one.accepted_at(one.served())[:2] == one.proxies[:2], f"killed {when} write {at}: promise P2"
            third.start()
            one.clock.advance(10 * MINUTE_S)
            runs(one)
            assert kept(one), f"killed {when} write {at}"
            if not one.commits():
                emergency(one)
                runs(one)
            in_order(one)
        if not died:
            break
    assert at > 10
