"""The designated user and its network are looked at on a schedule: trouble shows before the secret expires."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn_sahamati.simulator import NEVER_EXPIRED

from .member import DAY_S, ENTITY, HOUR_S, TOKEN, Member, member, write_private

LONE: dict[str, Any] = {ENTITY: {"rotate": {"before_expiry": "5d"}}, TOKEN: None}


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Member]:
    with member(tmp_path / "member", secrets=LONE) as built:
        built.begin()
        yield built


def attempts(one: Member, on: str) -> int:
    """How often the vendor was asked."""
    return len([entry for entry in one.sim.log if entry["event"] == "attempt" and entry["on"] == on])


def days(one: Member, number: float, *, every_h: int = 1) -> list[int]:
    """Regular runs; their exit codes."""
    codes = []
    for _ in range(round(number * 24 / every_h)):
        one.clock.advance(every_h * HOUR_S)
        codes.append(one.keyturn("run").code)
    return codes


def test_an_expired_password_shows_within_a_week_and_weeks_before_the_secret_expires(one: Member) -> None:
    one.sim.switch(password_expired=True)
    codes = days(one, 8, every_h=4)
    assert codes[0] == 0
    assert codes[-1] == 8
    assert len(one.alerts) == 1
    assert "expired" in one.alerts[0]
    status = one.well("status").out
    assert "user-refused" in status
    assert "days left" in status
    password = one.sim.portal_password()
    write_private(one.folder / "state/SAHAMATI_PASSWORD", password)
    assert days(one, 0.2)[-1] == 0
    assert "user-refused" not in one.well("status").out


def test_a_refused_password_is_not_tried_again_and_again(one: Member) -> None:
    one.sim.switch(password_expired=True)
    days(one, 7.25, every_h=6)
    before = attempts(one, "user-token")
    days(one, 1)
    assert attempts(one, "user-token") - before <= 24, "once an hour at most: an account may be locked"


def test_while_all_is_well_the_vendor_is_asked_once_a_week(one: Member) -> None:
    before, events = attempts(one, "read"), len(one.events())
    assert set(days(one, 14.5, every_h=4)) == {0}
    assert attempts(one, "read") - before == 2
    assert len(one.events()) - events <= 2


@pytest.mark.parametrize("refusal", ["reset", "403:html", "403:empty"])
def test_an_address_that_is_not_registered_is_told_with_the_address_and_no_reset_is_tried(
    one: Member, refusal: str
) -> None:
    one.sim.switch(allowed=["192.0.2.1"], refusal=refusal)
    ran = one.keyturn("rotate", ENTITY, "--force", "--reason", "test", "--yes")
    assert ran.code == 3, ran.said
    assert "network-or-allow-list" in ran.said
    assert "127.0.0.1" in ran.said
    assert attempts(one, "reset") == 0


def test_a_secret_whose_expiry_passes_during_an_outage_is_rotated_by_the_first_run_after_it(one: Member) -> None:
    one.clock.advance(25 * DAY_S - HOUR_S)
    one.sim.switch(down="all")
    assert {code for code in days(one, 1) if code} <= {3, 8}
    one.sim.switch(down="")
    days(one, 0.1)
    assert len(one.resets) == 1
    assert one.accepted()


def test_a_secret_from_before_the_vendors_expiry_rule_is_due_and_its_first_reset_gives_it_an_expiry(
    tmp_path: Path,
) -> None:
    legacy = {"target": {"entity_id": NEVER_EXPIRED, "expiry": "90d"}, "rotate": {"before_expiry": "20d"}}
    with member(tmp_path / "member", secrets={ENTITY: legacy, TOKEN: None}) as one:
        one.begin()
        assert "no expiry yet" in one.well("status").out
        days(one, 1)
        assert len([commit for commit in one.sim.commits if commit["entity"] == NEVER_EXPIRED]) == 1
        assert "89 days left" in one.well("status").out


def test_an_expiry_that_the_vendor_changed_is_learnt_by_the_next_look_and_acted_upon(one: Member) -> None:
    one.sim.expire(in_s=11 * DAY_S)
    days(one, 6.75, every_h=6)
    assert one.resets == [], "nobody has looked yet"
    days(one, 0.5)
    assert len(one.resets) == 1, "four days are left, fewer than the policy's five"
    assert one.accepted()
