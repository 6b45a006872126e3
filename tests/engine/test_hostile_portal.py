"""Rotations on top of each other while a proxy is down, hangs or never hears; emergencies that can not wait for it."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.attack_kit import act, adopted, current, numbers
from engine.test_crashes import end_is_good
from engine.test_partial_world import Portal, portal, stuck
from keyturn.engine.operator import abandon, drop
from keyturn.engine.outcome import Outcome
from keyturn.errors import RefusedError
from keyturn.testing.rig import Rig

DAY_S = 86_400.0
FORCED = {"force": True, "reason": "again"}
LEAKED = {"compromised": True, "reason": "leaked"}


def strict(folder: Path, **lags: float) -> Portal:
    """As the portal plugin has it: what issue replaces has to be in force."""
    rig = portal(folder, **lags)
    traits: Any = rig.plugin.traits
    rig.plugin = replace(
        rig.plugin, traits=lambda account, target: replace(traits(account, target), needs_current=True)
    )
    return rig


def dropped(rig: Rig, outcome: Outcome) -> Outcome:
    """Type the command that is named for going on without an endpoint."""
    found = re.search(r"keyturn resume app/main --drop (\S+) --reason", f"{outcome.text} {outcome.next}")
    assert found, outcome
    return act(rig, drop, what=found[1], reason="scrapped")


# One on top of another


@pytest.mark.parametrize("how", ["down", "behind"])
def test_a_proxy_that_never_heard_of_the_current_version_does_not_stop_the_next_ones(tmp_path: Path, how: str) -> None:
    rig = strict(tmp_path, p3=9_000.0 if how == "behind" else 5.0)
    if how == "down":
        rig.down("p3")
    ends = {"down": 6, "behind": 5}
    for ask in ({}, FORCED, FORCED, LEAKED):
        assert rig.rotate(**ask).exit_code == ends[how]
        assert rig.version(current(rig)).published
        assert rig.owed() == ["p3"]
        rig.clock.advance(600)
    assert current(rig) == 5
    rig.back("p3")
    rig.vendor.endpoints["p3"].lag_s = 5.0
    assert rig.run().status == "done"
    end_is_good(rig, how)


def test_the_outage_of_a_proxy_that_missed_a_version_counts_from_that_one(tmp_path: Path) -> None:
    rig = strict(tmp_path)
    rig.down("p3")
    rig.rotate()
    rig.clock.advance(DAY_S)
    rig.rotate(**FORCED)
    rig.back("p3")
    end = rig.run().ended
    assert end is not None
    assert end.outages_ms["p3"] == end.outage_ms >= DAY_S * 1000
    assert end.outages_ms["p1"] <= 7_000


def test_what_turns_back_before_issue_is_undone_though_a_proxy_never_heard_of_the_current_version(
    tmp_path: Path,
) -> None:
    rig = strict(tmp_path)
    rig.down("p3")
    rig.rotate()
    rig.vendor.faults.add("issue", "unavailable", times=10)
    assert rig.rotate(**FORCED).status == "unfinished"
    outcome = act(rig, abandon, reason="not now")
    assert (outcome.status, outcome.exit_code, current(rig)) == ("undone", 4, 2)
    rig.vendor.faults.clear()
    assert rig.rotate(**FORCED).exit_code == 6
    assert (current(rig), rig.owed()) == (4, ["p3"])


def test_old_versions_at_a_proxy_that_hangs_are_asked_for_together(tmp_path: Path) -> None:
    """Asked for one by one, the answers for the first were stale once those for the next were there, without end."""
    rig = portal(tmp_path)
    rig.with_limits(probe_s=20.0, call_s=60.0)
    rig.down("p3", hangs=True)
    rig.rotate()
    began, asked = rig.clock.now(), rig.vendor.probes["p3"]
    assert rig.rotate(**FORCED).status == "unfinished"
    assert rig.clock.now() - began <= 240
    assert rig.vendor.probes["p3"] - asked <= 40


def test_a_proxy_that_is_down_for_days_does_not_fill_the_journal(tmp_path: Path) -> None:
    rig = portal(tmp_path)
    rig.down("p3")
    rig.rotate()
    rig.run()
    before = rig.state().seq
    for _ in range(3):
        rig.clock.advance(DAY_S)
        assert rig.run().status == "unfinished"
    assert rig.state().seq == before


def test_a_proxy_that_the_configuration_names_no_more_is_dropped_by_the_command_that_is_printed(tmp_path: Path) -> None:
    rig = portal(tmp_path)
    rig.down("p3")
    rig.rotate()
    del rig.vendor.endpoints["p3"]
    outcome = rig.run()
    assert stuck(outcome, "frozen-unconfigured")
    assert dropped(rig, outcome).status == "done"


# What can not wait


def test_an_emergency_in_place_does_not_wait_for_a_proxy_that_is_down(tmp_path: Path) -> None:
    rig = strict(tmp_path)
    rig.vendor.endpoints["p3"].down_until = math.inf
    with pytest.raises(RefusedError) as caught:
        rig.rotate()
    assert (caught.value.code, "--compromised" in caught.value.hint) == ("endpoint-silent", True)
    assert rig.rotate(**LEAKED).status == "unfinished"
    assert (rig.version(2).published, rig.owed()) == (True, ["p3"])
    assert rig.kept_down_s <= 5 + 2 * rig.limits.poll_s
    rig.back("p3")
    assert rig.run().status == "done"
    end_is_good(rig, "emergency")


def test_an_emergency_where_no_proxy_answers_is_refused(tmp_path: Path) -> None:
    """Nothing would show whether the old version was ended, or ours is in force."""
    rig = strict(tmp_path)
    for proxy in rig.vendor.endpoints.values():
        proxy.down_until = math.inf
    with pytest.raises(RefusedError) as caught:
        rig.rotate(**LEAKED)
    assert caught.value.code == "endpoint-silent"
    assert "--compromised" not in caught.value.hint


def gateways(folder: Path) -> Rig:
    """Two keys side by side."""
    rig = adopted(folder, "second-key")
    rig.clock.advance(1_000)
    return rig


def down(rig: Rig) -> str:
    """The last gateway does not answer any more."""
    last = list(rig.vendor.endpoints)[-1]
    rig.vendor.endpoints[last].down_until = math.inf
    return last


def test_an_emergency_side_by_side_says_how_to_go_on_without_a_gateway_that_is_down(tmp_path: Path) -> None:
    rig = gateways(tmp_path)
    last = down(rig)
    outcome = rig.rotate(**LEAKED)
    assert (outcome.status, last in outcome.text) == ("unfinished", True)
    assert numbers(rig) == {1: "current", 2: "pending"}
    assert dropped(rig, outcome).status == "done"
    assert numbers(rig) == {1: "retired", 2: "current"}


@pytest.mark.parametrize("published", [False, True])
def test_a_gateway_that_dies_in_flight_is_named_with_the_command_that_goes_on_without_it(
    tmp_path: Path, published: bool
) -> None:
    rig = gateways(tmp_path)
    if published:
        rig.rotate()
        rig.clock.advance(DAY_S)
        down(rig)
    else:
        create: Any = rig.vendor.create  # type: ignore[attr-defined]

        def created(*args: Any) -> Any:
            down(rig)
            return create(*args)

        rig.vendor.create = created  # type: ignore[attr-defined]
        rig.rotate()
    outcome = rig.run()
    assert outcome.status == "unfinished"
    assert dropped(rig, outcome).status in ("holding", "done")
    assert numbers(rig)[2] == "current"


def test_a_rotation_that_is_given_up_while_a_gateway_is_down_ends_without_it(tmp_path: Path) -> None:
    rig = gateways(tmp_path)
    down(rig)
    rig.rotate(**LEAKED)
    outcome = act(rig, abandon, reason="not now")
    assert outcome.status == "undone", outcome
    assert numbers(rig)[1] == "current"
