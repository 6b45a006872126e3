"""A portal that asks for an approval: its 2xx is only a request, which is waited for, named, and never published."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from .endings import act, in_order, runs, said_of, team
from .partners import IN_PLACE, SECRET, Partners

WAITS = {"account": {"approval": "wait"}}
UNTOLD = ["patch-hashed", "second-key-hashed"]
"""Ways by which nobody is told the value once it is approved."""
WAYS = [way for way in (*IN_PLACE, "second-key") if way not in UNTOLD]
HOUR_S, WEEK_S = 3_600.0, 7 * 86_400.0


def asked(one: Partners) -> None:
    """The change was sent, and is a request at the portal."""
    ran = act(one)
    assert ran.code == 6, ran.said
    assert "accept or reject" in ran.said
    assert "next: " in ran.said
    assert len(one.sim.pending) == 1


@pytest.mark.parametrize("way", [*IN_PLACE])
def test_in_place_it_is_refused_unless_the_policy_allows_to_wait(tmp_path: Path, way: str) -> None:
    with team(tmp_path / "team", way) as one:
        one.sim.switch(approve_edits=True)
        ran = act(one)
        assert ran.code == 3, ran.said
        assert "approval-workflow" in ran.said
        assert ("approval: wait" in ran.said) == (way not in UNTOLD)
        assert one.sim.pending == []


@pytest.mark.parametrize("way", UNTOLD)
def test_a_hashed_secret_that_the_portal_makes_is_refused_whatever_the_policy_says(tmp_path: Path, way: str) -> None:
    with team(tmp_path / "team", way, **WAITS) as one:
        one.sim.switch(approve_edits=True)
        ran = act(one)
        assert ran.code == 3, ran.said
        assert "nobody is told the value" in ran.said
        assert one.sim.pending == []
        one.sim.switch(administrator=True)
        one.account = {"approval": "administrator"}
        one.configure()
        assert act(one).code == 0
        in_order(one) if one.way.in_place else runs(one)


@pytest.mark.parametrize("way", WAYS)
def test_it_waits_with_a_deadline_and_goes_on_by_itself_once_it_was_approved(tmp_path: Path, way: str) -> None:
    with team(tmp_path / "team", way, **WAITS) as one:
        one.sim.switch(approve_edits=True)
        old = one.served()
        asked(one)
        assert one.row(SECRET).status == "waiting"
        for _ in range(3):
            one.clock.advance(HOUR_S)
            assert one.keyturn("run").code in (0, 6)
            assert one.served() == old
            assert one.everywhere(old)
        assert len(one.sim.pending) == 1, "it is asked for once"
        assert one.sim.review("accept") == 1
        one.sim.switch(approve_edits=False)
        runs(one)
        in_order(one)
        assert one.served() != old


@pytest.mark.parametrize("way", WAYS)
def test_what_was_rejected_is_undone_with_its_reason_and_not_asked_for_again_by_itself(
    tmp_path: Path, way: str
) -> None:
    with team(tmp_path / "team", way, **WAITS) as one:
        one.sim.switch(approve_edits=True)
        old = one.served()
        asked(one)
        one.sim.review("reject")
        one.clock.advance(HOUR_S)
        ran = one.keyturn("run")
        assert ran.code == 4, ran.said
        assert "request-not-approved" in ran.said
        assert one.served() == old
        assert one.everywhere(old)
        assert one.sim.pending == []


@pytest.mark.parametrize("way", ["patch", "put", "second-key"])
def test_after_its_deadline_it_is_given_up_and_the_open_request_is_named(tmp_path: Path, way: str) -> None:
    with team(tmp_path / "team", way, **WAITS) as one:
        one.sim.switch(approve_edits=True)
        asked(one)
        one.clock.advance(WEEK_S + HOUR_S)
        ran = one.keyturn("run")
        assert ran.code == 4, ran.said
        assert "request-not-approved" in ran.said
        assert "open" in ran.said
        assert len(one.sim.pending) == 1
        assert [said["outcome"] for said in said_of(one, "rotation.ended")] == ["undone"]


def test_a_consumer_that_was_drained_goes_on_while_it_waits(tmp_path: Path) -> None:
    mark = tmp_path / "drained"
    script = tmp_path / "consumer"
    script.write_text(f"#!/bin/sh\necho $KEYTURN_EVENT >> {shlex.quote(str(mark))}\n")
    script.chmod(0o700)
    consumer = {"name": "batch", "quiesce": {"exec": [str(script)]}, "release": {"exec": [str(script)]}}
    with team(tmp_path / "team", "patch", secret={"consumers": [consumer]}, **WAITS) as one:
        one.sim.switch(approve_edits=True)
        asked(one)
        assert mark.read_text().split() == ["quiesce", "release"]
        one.sim.review("accept")
        one.sim.switch(approve_edits=False)
        runs(one)
        in_order(one)
