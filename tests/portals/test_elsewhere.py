"""Somebody else regenerates or edits the key: it is noticed and named, and nothing that is dead is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from moments import ANSWERS_S, Moment

from .endings import act, in_order, runs, team
from .partners import SECRET

HEARD_S = 120.0
"""By then every proxy has heard of a change."""

SLOWLY = f"slow:{ANSWERS_S:.0f}"


def test_a_secret_that_somebody_regenerated_right_after_us_is_taken_where_the_portal_shows_it(tmp_path: Path) -> None:
    with team(tmp_path / "team", "patch") as one:
        one.sim.fault("patch", "elsewhere-after")
        ran = act(one)
        assert ran.code == 0, ran.said
        assert "somebody changed it too" in ran.said
        assert one.served()["client_secret"] == one.sim.portal_secret()
        in_order(one)


@pytest.mark.parametrize("way", ["patch-hashed", "put", "put-hashed", "legacy"])
def test_a_secret_that_somebody_regenerated_right_after_us_is_named_and_ours_is_not_published(
    tmp_path: Path, way: str
) -> None:
    with team(tmp_path / "team", way) as one:
        served = one.served()
        one.sim.fault(one.way.calls[0], "elsewhere-after")
        ran = act(one)
        assert ran.code == 5, ran.said
        assert "somebody else" in ran.said
        assert one.served() == served, "what consumers read is not replaced by what is dead"
        one.well("rotate", SECRET, "--current-dead", "--force", "--reason", "test", "--yes")
        in_order(one)


@pytest.mark.parametrize("way", ["patch", "patch-hashed", "put"])
def test_a_secret_that_somebody_regenerated_before_us_is_not_ended_by_us(tmp_path: Path, way: str) -> None:
    with team(tmp_path / "team", way) as one:
        theirs = one.sim.elsewhere()
        ran = one.keyturn("rotate", SECRET, "--yes")
        assert ran.code == 3, ran.said
        assert "outside" in ran.said
        assert one.commits() == []
        one.clock.advance(HEARD_S)
        assert one.keyturn("rotate", SECRET, "--yes").code == 3
        assert one.commits() == []
        assert one.everywhere({"client_id": one.sim.api_key, "client_secret": theirs})


@pytest.mark.parametrize("way", ["patch", "patch-hashed"])
def test_a_secret_that_somebody_regenerates_between_preflight_and_issue_is_not_ended(tmp_path: Path, way: str) -> None:
    moment = Moment()
    with team(tmp_path / "team", way, clock=moment) as one:
        for proxy in one.sim.proxies:
            proxy.switch(sync_s=0.0)
        theirs = []
        moment.happens = lambda: theirs.append(one.sim.elsewhere())
        one.sim.fault("settings", SLOWLY, skip=1)
        ran = act(one)
        assert ran.code in (3, 4, 5), ran.said
        assert theirs
        assert one.commits() == []
        assert one.everywhere({"client_id": one.sim.api_key, "client_secret": theirs[0]})


def test_an_edit_of_the_key_that_leaves_its_secret_alone_is_told_and_stops_nothing(tmp_path: Path) -> None:
    with team(tmp_path / "team", "patch-hashed") as one:
        one.sim.edit()
        assert one.keyturn("rotate", SECRET, "--yes").code == 3, "it may have been another secret"
        one.clock.advance(HEARD_S)
        looked = one.keyturn("check", "--online", SECRET)
        assert looked.code == 0, looked.said
        assert "changed-outside" in looked.said
        one.well("rotate", SECRET, "--yes")
        in_order(one)


@pytest.mark.parametrize("which", ["primary", "secondary"])
def test_a_slot_that_somebody_regenerates_in_the_hold_is_noticed_and_never_retired_in_place_of_ours(
    tmp_path: Path, which: str
) -> None:
    with team(tmp_path / "team", "slots") as one:
        assert act(one).code == 0
        one.sim.elsewhere(which)
        ran = runs(one)
        if which == "primary":  # the old one: somebody did what we were about to do
            in_order(one)
            return
        assert ran[-1].code == 5, ran[-1].said
        assert "refused at" in ran[-1].said
        assert one.sim.accepts(one.proxies[0], one.sim.current("primary")), "the old one is kept while new is dead"


def test_a_second_secret_that_somebody_revokes_in_the_hold_keeps_the_old_one_alive(tmp_path: Path) -> None:
    with team(tmp_path / "team", "same-id") as one:
        old = one.served()
        assert act(one).code == 0
        one.sim.elsewhere("revoke-newest")
        ran = runs(one)
        assert ran[-1].code == 5, ran[-1].said
        assert one.everywhere(old)
