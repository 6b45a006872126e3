"""One day granted where ninety were asked for: one alert, and no loop (contract 4.2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from .member import DAY_S, ENTITY, HOUR_S, TOKEN, member

POLICY = {"rotate": {"before_expiry": "20d"}, "target": {"entity_id": "fiu-demo", "expiry": "90d"}}
ATTENTION = 8


@pytest.mark.parametrize("days", [2, pytest.param(7, marks=pytest.mark.sweep)])
def test_days_of_hourly_runs_after_a_one_day_grant_send_one_alert_and_no_second_reset(
    tmp_path: Path, days: int
) -> None:
    with member(tmp_path / "member", secrets={ENTITY: POLICY, TOKEN: None}) as one:
        one.begin()
        one.sim.switch(clamp=True)
        one.clock.advance(11 * DAY_S)
        codes = []
        for _ in range(days * 24):
            codes.append(one.keyturn("run").code)
            one.clock.advance(HOUR_S)
        assert len(one.resets) == 1, "one reset, because the first secret's expiry was near"
        assert len(one.alerts) == 1, one.alerts
        assert "|short-validity|" in one.alerts[0]
        assert set(codes) == {ATTENTION}, "every run says that somebody has to look"


def test_once_the_vendor_grants_enough_again_the_printed_command_ends_it(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets={ENTITY: POLICY, TOKEN: None}) as one:
        one.begin()
        one.sim.switch(clamp=True)
        one.clock.advance(11 * DAY_S)
        one.keyturn("run")
        said = one.keyturn("run").said
        assert f"keyturn rotate {ENTITY} --force --reason TEXT" in said
        one.sim.switch(clamp=False)
        one.well("rotate", ENTITY, "--force", "--reason", "the vendor grants ninety days again", "--yes")
        assert one.keyturn("run").code == 0
        assert one.accepted()
        assert len(one.resets) == 2
