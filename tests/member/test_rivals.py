"""Two rotators and a person at the portal: what others did is noticed, adopted or refused, never silently ended."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keyturn.cli.estate import Wiring
from keyturn.testing.faults import Crash, CrashingJournal

from .member import DAY_S, ENTITY, HOUR_S, TOKEN, Member, member

LONE: dict[str, Any] = {ENTITY: {"rotate": {"before_expiry": "20d"}}, TOKEN: None}
REASON = ("--force", "--reason", "test", "--yes")
ADOPT = f"keyturn adopt {ENTITY} --from-vendor"


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Member]:
    with member(tmp_path / "member", secrets=LONE) as built:
        built.begin()
        yield built


def ours(one: Member) -> list[dict[str, Any]]:
    """The resets that Keyturn sent and that took effect."""
    return [reset for reset in one.resets if reset["txnId"]]


def test_a_reset_at_the_portal_is_seen_by_check_and_told_with_the_command_that_takes_it_over(one: Member) -> None:
    one.sim.portal_reset()
    ran = one.keyturn("check", "--online")
    assert ran.code == 3
    assert "rotated-outside" in ran.said
    assert ADOPT in ran.said


def test_a_reset_at_the_portal_is_noticed_by_run_within_check_every_alerted_once_and_shown_by_status(
    one: Member,
) -> None:
    one.sim.portal_reset()
    codes = []
    for _ in range(8 * 6):
        codes.append(one.keyturn("run").code)
        one.clock.advance(4 * HOUR_S)
    assert codes[0] == 0, "nothing is due, and the vendor is not asked before its time"
    assert codes[-1] == 8
    assert len([alert for alert in one.alerts if "somebody else" in alert]) == 1, one.alerts
    assert ADOPT in one.well("status").out
    assert ours(one) == []


def test_a_rotation_is_refused_where_the_vendor_holds_a_secret_of_somebody_else(one: Member) -> None:
    one.sim.portal_reset()
    ran = one.keyturn("rotate", ENTITY, *REASON)
    assert ran.code == 3, ran.said
    assert ADOPT in ran.said
    assert ours(one) == []


def test_adopting_from_the_vendor_verifies_takes_over_publishes_and_ends_the_attention(one: Member) -> None:
    old = one.served()
    one.sim.portal_reset()
    one.clock.advance(8 * DAY_S)
    assert one.keyturn("run").code == 8
    one.well("adopt", ENTITY, "--from-vendor")
    assert one.accepted()
    assert one.served() == one.sim.current() != old
    assert one.keyturn("run").code == 0
    assert "rotated-outside" not in one.well("status").out
    one.well("rotate", ENTITY, *REASON)
    assert one.accepted()


def test_the_value_a_person_got_at_the_portal_is_adopted_from_stdin_and_a_mistyped_one_is_refused(one: Member) -> None:
    one.sim.portal_reset()
    value = one.sim.current()["entity_secret"]
    assert one.keyturn("adopt", ENTITY, "--from-stdin", stdin=f"{value}x").code == 3
    assert not one.accepted()
    one.well("adopt", ENTITY, "--from-stdin", stdin=value)
    assert one.accepted()


@pytest.mark.parametrize("moment", ["portal-before", "portal-after"])
def test_a_reset_by_somebody_else_in_the_same_moment_is_never_published_over_nor_lost(one: Member, moment: str) -> None:
    one.sim.fault("reset", moment)
    ran = one.keyturn("rotate", ENTITY, *REASON)
    if moment == "portal-after":
        assert ran.code in (3, 5, 6), ran.said
        assert "adopt" in ran.said
        one.well("adopt", ENTITY, "--from-vendor")
    one.well("run")
    assert one.accepted()
    assert one.served() == one.sim.current()
    assert len(ours(one)) == 1


def test_two_rotators_with_journals_of_their_own_do_not_end_each_others_secret(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets=LONE) as one:
        one.begin()
        other = Member(folder=tmp_path / "other", sim=one.sim, clock=one.clock, secrets=LONE)
        other.folder.mkdir(mode=0o700)
        other.build()
        other.begin()
        other.well("rotate", ENTITY, *REASON)
        assert one.keyturn("rotate", ENTITY, *REASON).code == 3
        assert other.accepted()
        assert len(ours(one)) == 1
        one.well("adopt", ENTITY, "--from-vendor")
        assert one.served() == other.served()


def test_a_reset_by_somebody_else_after_our_rotation_began_is_seen_before_ours_is_sent(one: Member) -> None:
    """Killed between the beginning and the reset; meanwhile a person was at the portal."""
    began = sum(event.type == "rotation.started" for event in one.events())
    for at in range(1, 20):
        wiring = Wiring(clock=one.clock, journal=partial(CrashingJournal, at=at, when="after"))
        try:
            one.keyturn("rotate", ENTITY, *REASON, wiring=wiring)
        except Crash:
            if sum(event.type == "rotation.started" for event in one.events()) > began:
                break
            one.clock.advance(100)
    assert one.resets == []
    one.sim.portal_reset()
    one.clock.advance(100)
    ran = one.keyturn("run")
    assert ran.code == 5, ran.said
    assert ADOPT in ran.said
    assert ours(one) == []
    one.well("adopt", ENTITY, "--from-vendor")
    assert one.accepted()
    assert one.keyturn("run").code == 0


def test_a_take_over_tells_the_consumers_and_names_those_it_could_not_tell(tmp_path: Path) -> None:
    consumers = [
        {"name": "agent", "announce": {"exec": ["/bin/sh", "-c", f"echo $KEYTURN_NUMBER > {tmp_path}/told"]}},
        {"name": "gone", "announce": {"exec": ["/bin/false"]}},
    ]
    with member(tmp_path / "member", secrets={ENTITY: {"consumers": consumers}, TOKEN: None}) as one:
        one.begin()
        assert not (tmp_path / "told").exists(), "who adopts what everybody reads already changes nothing"
        one.sim.portal_reset()
        ran = one.well("adopt", ENTITY, "--from-vendor")
        assert (tmp_path / "told").read_text() == "2\n"
        assert "not told: gone" in ran.said


def test_a_token_whose_source_was_reset_elsewhere_makes_the_source_be_looked_at_and_names_the_way_out(
    tmp_path: Path,
) -> None:
    policies = {ENTITY: {"rotate": {"before_expiry": "5d"}}, TOKEN: {"rotate": {"before_expiry": "80%"}}}
    with member(tmp_path / "member", secrets=policies) as one:
        one.begin()
        one.sim.portal_reset()
        for _ in range(10):
            one.clock.advance(HOUR_S)
            ran = one.keyturn("run")
        assert ran.code in (3, 8), ran.said
        assert ADOPT in ran.said, "the secret was looked at, though its check is a week away"
        assert one.accepted(TOKEN), "there is time left to act"
        refused = [entry for entry in one.sim.log if entry["event"] == "attempt" and entry["on"] == "entity-token"]
        assert len([entry for entry in refused if entry["status"] == 401]) <= 4, "the dead secret is not sent hourly"
        assert len(one.alerts) <= 3, one.alerts
        before = one.served(TOKEN)
        one.well("adopt", ENTITY, "--from-vendor")
        one.well("run")
        assert one.served(TOKEN) != before, "the very next run, whatever was to be waited for"
        assert one.accepted()
        assert one.served(TOKEN)["entity_id"] == one.served()["entity_id"]
