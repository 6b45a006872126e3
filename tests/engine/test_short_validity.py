"""A vendor that grants one day where ninety were asked for: told once, never renewed in a loop, never shown as fine."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.short_kit import DAY, NAME, Town
from keyturn.engine.rounds import facts
from keyturn.journal.store import Summary

HOUR = 3600.0
LEAD = {"before_expiry": "20d"}
FORCE = f"keyturn rotate {NAME} --force --reason TEXT"


def due_town(folder: Path, granted_s: float, **rotate: str) -> Town:
    """A minute after the adopted version became due; the next one will be granted `granted_s`."""
    town = Town(folder=folder, rotate={**LEAD, **rotate})
    town.vendor.granted_max_s = granted_s
    town.clock.advance(345 * DAY + 60)
    return town


def test_one_day_granted_makes_one_reset_and_one_alert_in_a_week_of_hourly_runs(tmp_path: Path) -> None:
    town = due_town(tmp_path, DAY)
    first = town.keyturn("run")
    assert (first.code, town.resets) == (8, 1), first.err
    events = len(town.events())
    for _ in range(7 * 24):
        town.clock.advance(HOUR)
        ran = town.keyturn("run")
        assert ran.code == 8
        assert "granted 24 hours where at least 45 days were expected" in ran.out
    assert town.resets == 1
    assert [what for what, _ in town.alerts] == ["short-validity"]
    assert len(town.events()) == events, "a run that only waits for a person journals nothing"


@pytest.fixture
def held(tmp_path: Path) -> Town:
    """A day was granted, an hour ago."""
    town = due_town(tmp_path, DAY)
    town.keyturn("run")
    town.clock.advance(HOUR)
    return town


def test_status_says_what_is_left_why_it_is_held_and_what_to_type(held: Town) -> None:
    ran = held.keyturn("status", "--fail-on", "overdue")
    assert ran.code == 8
    assert "current, overdue\n" in ran.out
    assert "valid    version 2 (current), handle main-2, until 2027-12-27T08:01:00Z, 23 hours left" in ran.out
    assert "due      held, since the next one may be as short: granted 24 hours where at least 45 days" in ran.out
    assert f"next: {FORCE}\n" in ran.out


def test_the_status_document_says_the_same(held: Town) -> None:
    (one,) = held.keyturn("status", "--json").json["secrets"]
    (version,) = one["valid"]
    assert version["left_s"] == pytest.approx(23 * HOUR, abs=60)
    assert one["due"]["short"] == {"granted_s": 86_400, "expected_s": 45 * 86_400, "held": True}
    assert (one["attention"], one["next"]) == (["overdue"], FORCE)


def test_the_alert_says_what_was_granted_when_it_ends_and_that_nothing_renews_it(held: Town) -> None:
    ((what, text),) = held.alerts
    assert what == "short-validity"
    assert text.startswith("short validity: granted 24 hours where at least 45 days were expected; expires 2027-12-27T")
    assert text.endswith("; held, since the next one may be as short")


def test_a_run_tells_the_truth_once_it_expired_and_alerts_nobody_again(held: Town) -> None:
    held.clock.advance(2 * DAY)
    (finding,) = held.keyturn("run", "--json").json["attention"]
    assert "expired 2027-12-27T08:01:00Z, 25 hours ago" in finding["text"]
    assert FORCE in finding["next"]
    assert len(held.alerts) == 1
    ran = held.keyturn("status")
    assert "current, overdue, expired\n" in ran.out
    assert "expired  version 2 (current), handle main-2, until 2027-12-27T08:01:00Z, expired 25 hours ago" in ran.out


def test_a_pause_does_not_alert_besides(held: Town) -> None:
    assert held.keyturn("pause", NAME, "--until", "2d", "--reason", "freeze").code == 0
    assert held.keyturn("run").code == 8
    assert len(held.alerts) == 1


def test_once_the_vendor_grants_more_the_printed_command_ends_it(tmp_path: Path) -> None:
    town = due_town(tmp_path, DAY)
    town.keyturn("run")
    town.clock.advance(HOUR)
    town.vendor.granted_max_s = 90 * DAY
    said = next(line for line in town.keyturn("status").out.splitlines() if line.startswith("  next: "))
    command = said.removeprefix("  next: keyturn ").replace("TEXT", "raised").split()
    assert town.keyturn(*command, "--yes").code == 0
    assert town.keyturn("run").code == 0
    town.clock.advance(60 * DAY)
    assert town.keyturn("status", "--fail-on", "due,overdue").code == 0
    assert town.resets == 2


def test_a_short_life_with_more_than_the_lead_is_renewed_from_what_was_granted(tmp_path: Path) -> None:
    town = due_town(tmp_path, 30 * DAY)
    assert town.keyturn("run").code == 8
    town.clock.advance(10 * DAY - HOUR)
    assert town.keyturn("run").code == 8
    assert town.resets == 1
    assert "a short life: granted 30 days where at least 45 days were expected" in town.keyturn("status").out
    town.vendor.granted_max_s = 90 * DAY
    town.clock.advance(2 * HOUR)
    assert town.keyturn("run").code == 0
    assert (town.resets, [what for what, _ in town.alerts]) == (2, ["short-validity"])


def test_half_of_a_short_life_is_held_as_well(tmp_path: Path) -> None:
    town = due_town(tmp_path, DAY, before_expiry="50%")
    for _ in range(48):
        town.keyturn("run")
        town.clock.advance(HOUR)
    assert (town.resets, len(town.alerts)) == (1, 1)


def test_the_vendors_least_age_delays_the_schedule(tmp_path: Path) -> None:
    town = due_town(tmp_path, 90 * DAY, every="1h")
    assert town.keyturn("run").code == 0
    town.clock.advance(DAY - HOUR)
    assert town.keyturn("run").code == 0
    (one,) = town.keyturn("status", "--json").json["secrets"]
    assert (town.resets, one["due"]["status"]) == (1, "not-due")
    town.clock.advance(2 * HOUR)
    assert town.keyturn("run").code == 0
    assert town.resets == 2


def test_a_summary_row_keeps_when_a_version_was_issued_and_not_what_nobody_knows(tmp_path: Path) -> None:
    town = due_town(tmp_path, 90 * DAY)
    assert town.row().state["versions"][0]["issued_at"] is None
    issued_at = town.clock.now()
    town.keyturn("run")
    (version,) = [one for one in town.row().state["versions"] if one["state"] == "current"]
    assert version["issued_at"] == pytest.approx(issued_at, abs=5)


def test_a_row_of_an_earlier_version_of_keyturn_still_loads() -> None:
    version = {"id": "v", "state": "current", "since": 1.0, "expires_at": 2.0}
    row = Summary(secret=NAME, status="current", next_at=None, state={"versions": [version]})
    assert facts(NAME, (), {NAME: row}).issued_at is None
