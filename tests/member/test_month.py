"""The entity token over a month of hourly runs: outages of six hours, and never past its renewal point.

The policy begins to renew when four fifths of the token's life are left (19.2 h). The renewal point that consumers are
promised is half of it (12 h): in between lies room for an outage of six hours and the time until the next run.
"""

from __future__ import annotations

import random
from datetime import datetime
from pathlib import Path

import pytest

from keyturn.clock import iso

from .member import DAY_S, ENTITY, HOUR_S, TOKEN, Member, member

LIFE_S, POINT_S, OUTAGE_S, RUN_S = DAY_S, DAY_S / 2, 6 * HOUR_S, HOUR_S
POLICIES = {
    ENTITY: {"rotate": {"before_expiry": "20d"}},
    TOKEN: {"rotate": {"before_expiry": "80%"}},
}


def outages(days: int) -> list[float]:
    """When each outage begins: one every two days, at any moment of the renewal's cycle (the same in every run)."""
    chance = random.Random(4)
    return [day * DAY_S + chance.random() * DAY_S for day in range(1, days, 2)]


def left_s(one: Member) -> float:
    """How long the token that consumers read has still to live."""
    until = datetime.fromisoformat(one.served(TOKEN)["expires_at"]).timestamp()
    return until - float(one.clock.now())


def lives_through(one: Member, days: int, *, down: str) -> float:
    """Runs every hour through all outages; the shortest life that was left of a served token, in seconds."""
    began, least_s = one.clock.now(), LIFE_S
    times = outages(days)
    while one.clock.now() < began + days * DAY_S:
        at = one.clock.now() - began
        dark = any(begin <= at < begin + OUTAGE_S for begin in times)
        one.sim.switch(down=down if dark else "")
        one.keyturn("run")
        least_s = min(least_s, left_s(one))
        assert one.accepted(TOKEN), f"the served token is refused at {iso(one.clock.now())}"
        one.clock.advance(RUN_S)
    return least_s


@pytest.mark.sweep
def test_a_month_with_outages_of_six_hours_never_leaves_a_token_past_its_renewal_point(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets=POLICIES) as one:
        one.begin()
        least_s = lives_through(one, 30, down="all")
        one.sim.switch(down="")
        one.well("run")
        assert least_s >= POINT_S, f"{least_s / HOUR_S:.2f} h were left"
        assert len(one.resets) == 1, "the entity secret came due once in that month"
        assert one.accepted()
        assert one.row(TOKEN).status in ("current", "holding")


def test_three_days_without_outages_renew_the_token_at_its_fraction_and_no_sooner(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets=POLICIES) as one:
        one.begin()
        least_s = lives_through(one, 3, down="")
        assert 0.8 * LIFE_S <= least_s <= 0.8 * LIFE_S + RUN_S
        renewals = [event for event in one.events(TOKEN) if event.type == "rotation.started"]
        assert len(renewals) <= 3 * 5 + 1


def test_the_token_is_renewed_right_after_a_rotation_of_its_secret(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets=POLICIES) as one:
        one.begin()
        before = one.served(TOKEN)["access_token"]
        one.clock.advance(60)
        one.well("rotate", ENTITY, "--force", "--reason", "test", "--yes")
        one.well("run")
        assert one.served(TOKEN)["access_token"] != before
        assert one.accepted(TOKEN)


def test_a_replaced_token_is_recorded_as_ended_by_its_own_expiry_and_never_as_refused(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets={**POLICIES, ENTITY: {}}) as one:
        one.begin()
        for _ in range(30):
            one.clock.advance(HOUR_S)
            one.well("run")
        proofs = [event.data for event in one.events(TOKEN) if event.type == "endpoint.proved"]
        assert proofs
        assert {proof["verdict"] for proof in proofs} == {"by-contract"}
        assert all("its own expiry" in proof["why"] for proof in proofs)
