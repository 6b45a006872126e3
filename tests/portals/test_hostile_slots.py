"""Slots, and several secrets under one id, attacked: the one in use is never ended, what is stuck has a way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moments import Moment

from .endings import ROTATE, act, in_order, runs, said_of, team
from .partners import SECRET, Partners, partners

HOLD_S = 700.0
LATE_S = 50
"""Within `settle`, which is a minute here."""


def rearmed(one: Partners) -> None:
    """One more rotation at once, with what it serves accepted while late calls arrive."""
    assert one.keyturn(*ROTATE).code == 0
    for _ in range(4):
        assert one.everywhere(one.served()), "promise P2"
        one.clock.advance(LATE_S / 2)
    runs(one)
    in_order(one)


def test_a_retire_that_arrives_late_ends_nothing_that_was_put_into_its_slot_since(tmp_path: Path) -> None:
    with team(tmp_path / "team", "slots") as one:
        one.sim.fault("regenerate-primary", f"late:{LATE_S}")
        assert act(one).code == 0
        one.clock.advance(HOLD_S)
        assert one.keyturn("run").code == 0
        assert one.row(SECRET).status == "current", "the second try ended it"
        rearmed(one)


def test_a_withdrawal_that_arrives_late_ends_nothing_that_was_put_into_its_slot_since(tmp_path: Path) -> None:
    with team(tmp_path / "team", "slots") as one:
        one.sim.switch(sync_s=[0.0, 0.0, 1e6])
        one.sim.fault("regenerate-secondary", f"late:{LATE_S}", skip=1)
        ran = act(one)
        assert ran.code in (4, 6), ran.said
        one.sim.switch(sync_s=[0.0, 0.0, 0.0])
        rearmed(one)


def test_a_list_that_the_portal_refuses_to_show_says_neither_gone_nor_not_made(tmp_path: Path) -> None:
    with team(tmp_path / "team", "same-id") as one:
        one.sim.fault("generate", "reset-after")
        one.sim.fault("secrets", "400", times=500, skip=2)
        assert act(one).code == 6
        one.sim.obey({"clear": True})
        runs(one)
        in_order(one)
        assert len(said_of(one, "rotation.reissuing")) == 1, "the stray was found and revoked"


def test_a_retire_that_is_not_shown_the_list_is_not_taken_for_done(tmp_path: Path) -> None:
    with team(tmp_path / "team", "same-id") as one:
        assert act(one).code == 0
        one.clock.advance(HOLD_S)
        one.sim.fault("secrets", "400", skip=1)
        ran = one.keyturn("run")
        assert ran.code == 5, ran.said
        one.well("resume", SECRET)
        in_order(one)


@pytest.mark.parametrize("way", ["slots", "same-id"])
def test_a_new_version_that_dies_in_the_hold_is_stuck_with_a_way_back_that_works(tmp_path: Path, way: str) -> None:
    with team(tmp_path / "team", way) as one:
        old = one.served()
        assert act(one).code == 0
        one.sim.elsewhere("secondary" if way == "slots" else "revoke-newest")
        one.clock.advance(HOLD_S)
        ran = one.keyturn("run")
        assert ran.code == 5
        back = f"keyturn rollback {SECRET} --reason TEXT"
        assert back in ran.said, ran.said
        for argv in (ROTATE, ("check", "--online", SECRET)):
            refused = one.keyturn(*argv)
            assert (refused.code, back in refused.said) == (3, True), refused.said
        one.well("rollback", SECRET, "--reason", "test")
        assert one.served() == old
        runs(one)
        in_order(one)


def test_a_leak_while_both_slots_are_in_use_is_told_how_to_free_one_and_that_works(tmp_path: Path) -> None:
    with team(tmp_path / "team", "slots") as one:
        assert act(one).code == 0
        leaked = one.served()
        emergency = ("rotate", SECRET, "--compromised", "--yes", "--reason", "test")
        ran = one.keyturn(*emergency)
        assert ran.code == 3
        free = (("hold", SECRET, "--end"), ("run", SECRET))
        assert all(" ".join(("keyturn", *argv)) in ran.said for argv in free), ran.said
        for argv in (*free, emergency):
            one.well(*argv)
        in_order(one)
        assert one.accepted_at(leaked) == []


@pytest.mark.parametrize("typed", [("--slot", "secondary"), ("--handle", "secondary-0123")])
def test_a_key_is_not_adopted_under_a_slot_that_it_is_not_in(tmp_path: Path, typed: tuple[str, str]) -> None:
    with partners(tmp_path / "team", "slots") as one:
        ran = one.keyturn("adopt", SECRET, "--from-vendor", *typed)
        assert ran.code == 3, ran.said
        assert "handle-differs" in ran.said


def test_a_key_of_another_subscription_is_not_adopted_under_one_of_our_names(tmp_path: Path) -> None:
    with partners(tmp_path / "team", "slots") as one:
        foreign = json.dumps({"subscription_key": one.sim.neighbour()})
        told = one.keyturn("adopt", SECRET, "--from-stdin", stdin=foreign)
        name = next(word.strip(",") for word in told.said.split() if word.startswith("primary-"))
        ran = one.keyturn("adopt", SECRET, "--from-stdin", "--handle", name, stdin=foreign)
        assert ran.code == 3, ran.said
        assert "slot-needed" in ran.said


def test_a_service_that_is_busy_with_another_change_is_asked_again(tmp_path: Path) -> None:
    with team(tmp_path / "team", "slots") as one:
        one.sim.fault("regenerate", "409")
        one.sim.fault("regenerate-primary", "409")
        assert act(one).code == 0
        runs(one)
        in_order(one)
        assert one.alerts == []


# Several secrets under one id


def test_a_server_with_room_for_three_has_room_for_the_end_of_secrets_that_were_lost(tmp_path: Path) -> None:
    with team(tmp_path / "team", "same-id", account={"secrets_max": 3}) as one:
        one.sim.switch(secrets_max=3)
        one.sim.fault("generate", "reset-after")
        one.sim.fault("generate", "reset-after", skip=1)  # the one made anew, after the placeholder
        assert act(one).code == 5, "lost twice"
        assert one.keyturn("abandon", SECRET, "--reason", "test").code == 4
        assert act(one).code == 0
        runs(one)
        in_order(one)
        assert len(one.sim.listed()) == 1, "neither a stray nor a placeholder is left"


def test_without_room_for_the_placeholder_it_is_said_what_to_do_and_that_helps(tmp_path: Path) -> None:
    with team(tmp_path / "team", "same-id") as one:
        one.sim.switch(secrets_max=2)
        one.sim.fault("generate", "reset-after")
        ran = act(one)
        assert ran.code == 5
        assert "or allow more under one key" in ran.said
        one.sim.switch(secrets_max=3)
        one.keyturn("resume", SECRET)
        runs(one)
        in_order(one)


def test_where_no_labels_are_listed_a_secret_of_somebody_else_is_never_revoked(tmp_path: Path) -> None:
    moment = Moment()
    with team(tmp_path / "team", "same-id", clock=moment, account={"labels": False}) as one:
        one.sim.switch(labels=False)
        one.sim.fault("generate", "timeout-before")
        moment.happens = lambda: one.sim.elsewhere("generate")
        assert act(one).code == 0
        runs(one)
        in_order(one)
        assert len(one.sim.listed()) == 2, "theirs and ours"
        assert [entry["status"] for entry in one.sim.log if entry["on"] == "revoke"] == [204]
