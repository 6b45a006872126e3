"""What becomes of the old secret after a reset is the vendor's doing: every case ends right, and is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .member import DAY_S, ENTITY, HOUR_S, TOKEN, Member, member

REASON = ("--force", "--reason", "test", "--yes")
LONE: dict[str, Any] = {ENTITY: {"rotate": {"before_expiry": "20d"}}, TOKEN: None}


def proofs(one: Member) -> list[tuple[str, str]]:
    """What the journal says of the old secret, in order: verdict and why."""
    return [(e.data["verdict"], e.data["why"]) for e in one.events() if e.type == "endpoint.proved"]


def test_an_old_secret_that_dies_at_once_is_seen_refused_and_proven_dead(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets=LONE) as one:
        one.begin()
        old = one.served()
        ran = one.well("rotate", ENTITY, *REASON)
        assert "done" in ran.said
        assert [verdict for verdict, _ in proofs(one)] == ["dead"]
        assert not one.sim.accepts(old)
        assert one.accepted()


@pytest.mark.parametrize("message", [True, False])
def test_an_old_secret_that_lives_on_for_five_days_is_told_while_it_does_and_proven_dead_then(
    tmp_path: Path, message: bool
) -> None:
    with member(tmp_path / "member", secrets=LONE) as one:
        one.begin()
        one.sim.switch(grace_s=5 * DAY_S - HOUR_S, grace_message=message)
        ran = one.well("rotate", ENTITY, *REASON)
        assert "still accepted" in ran.said
        verdict, why = proofs(one)[-1]
        assert verdict == "accepted"
        assert ("message" in why) is message
        status = one.well("status").out
        assert "still accepted" in status
        for _ in range(6 * 6):
            one.clock.advance(4 * HOUR_S)
            one.well("run")
        assert proofs(one)[-1][0] == "dead"
        assert "still accepted" not in one.well("status").out
        assert len(one.resets) == 1


def test_an_old_secret_that_outlives_every_grace_is_never_called_dead(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets=LONE) as one:
        one.begin()
        one.sim.switch(grace_s=30 * DAY_S)
        one.well("rotate", ENTITY, *REASON)
        one.clock.advance(6 * DAY_S)
        ran = one.keyturn("run")
        assert ran.code == 5, ran.said
        assert "still accepted" in ran.said
        assert "dead" not in [verdict for verdict, _ in proofs(one)]
        assert one.accepted()


def test_a_compromised_secret_that_the_vendor_goes_on_accepting_is_said_plainly(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets=LONE) as one:
        one.begin()
        one.sim.switch(grace_s=2 * DAY_S)
        ran = one.keyturn("rotate", ENTITY, "--compromised", "--reason", "found in a log", "--yes")
        assert ran.code == 0, ran.said
        assert "still accepted" in ran.said


def test_a_secret_that_expired_and_is_in_its_grace_is_rotated_as_usual_by_run(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets=LONE) as one:
        one.begin()
        one.clock.advance(31 * DAY_S)
        old = one.served()
        assert one.sim.accepts(old), "expired, and in its grace"
        assert "expired" in one.well("status").out
        one.well("run")
        assert one.served() != old
        assert one.accepted()


def test_past_its_grace_and_locked_out_the_way_back_is_what_status_printed(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets=LONE) as one:
        one.begin()
        one.clock.advance(40 * DAY_S)
        assert not one.accepted(), "past its grace"
        ran = one.keyturn("run")
        assert ran.code in (3, 8), ran.said
        status = one.keyturn("status").out
        line = next(line for line in status.splitlines() if "next:" in line)
        command = line.split("next:", 1)[1].strip()
        assert command == f"keyturn rotate {ENTITY} --current-dead --reason TEXT"
        one.well(*command.removeprefix("keyturn ").replace("TEXT", "expired").split(), "--yes")
        assert one.accepted()
        assert one.keyturn("run").code == 0
        assert len(one.resets) == 1


def test_a_bridge_hands_consumers_a_fresh_token_of_the_old_secret_right_before_the_reset(tmp_path: Path) -> None:
    policies = {ENTITY: {"overlap": {"bridge": [TOKEN]}}, TOKEN: {"rotate": {"before_expiry": "50%"}}}
    with member(tmp_path / "member", secrets=policies) as one:
        one.begin()
        one.clock.advance(10 * HOUR_S)
        before = one.served(TOKEN)
        one.sim.fault("reset", "timeout-before", times=9)
        one.sim.fault("read", "500:empty", skip=1, times=99)
        one.keyturn("rotate", ENTITY, *REASON)
        bridged = one.served(TOKEN)
        assert bridged["access_token"] != before["access_token"]
        assert one.accepted(TOKEN), "while nobody knows what became of the reset, consumers hold a token of a day"


def test_a_bridge_that_can_not_be_made_turns_back_before_the_reset(tmp_path: Path) -> None:
    policies = {ENTITY: {"overlap": {"bridge": [TOKEN]}}, TOKEN: {"rotate": {"before_expiry": "50%"}}}
    with member(tmp_path / "member", secrets=policies) as one:
        one.begin()
        one.sim.fault("entity-token", "500:empty", skip=1, times=99)
        ran = one.keyturn("rotate", ENTITY, *REASON)
        assert ran.code in (4, 5, 6), ran.said
        assert TOKEN in ran.said
        assert one.resets == []


def test_only_the_leaked_version_is_called_compromised_and_it_is_alerted_once(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets=LONE) as one:
        one.begin()
        one.sim.switch(grace_s=5 * DAY_S)
        one.keyturn("rotate", ENTITY, "--compromised", "--reason", "found in a log", "--yes")
        one.sim.portal_reset()
        one.well("adopt", ENTITY, "--from-vendor")
        for _ in range(3):
            ran = one.keyturn("run")
            assert ran.code == 8, ran.said
            assert "still accepted by the vendor when last asked: version 1\n" in ran.out
            one.clock.advance(HOUR_S)
        assert len([alert for alert in one.alerts if "|leaked|" in alert]) == 1
