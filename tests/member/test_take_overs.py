"""What the pages promise and an operator typed: taking over late, with a login that is refused, after a leak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .member import DAY_S, ENTITY, HOUR_S, TOKEN, member

LONE: dict[str, Any] = {ENTITY: {"rotate": {"before_expiry": "20d"}}, TOKEN: None}
LEAK = ("--compromised", "--reason", "leak", "--yes")
SUNDAY = "Sun 02:00-04:00 UTC"


def test_a_secret_that_is_taken_over_in_its_grace_is_rotated_before_a_window_that_opens_after_the_lock_out(
    tmp_path: Path,
) -> None:
    rare = {"rotate": {"cron": "0 3 1 1 *", "before_expiry": "20d", "window": SUNDAY}}
    with member(tmp_path / "member", secrets={ENTITY: rare, TOKEN: None}) as one:
        one.sim.expire(in_s=-4 * DAY_S)
        one.begin()
        for _ in range(20):
            one.keyturn("run")
            one.clock.advance(HOUR_S)
        assert len(one.resets) == 1, one.well("status").out
        assert one.accepted()


def test_a_leaked_secret_that_still_works_is_not_forgotten_because_a_later_one_was_taken_over(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets=LONE) as one:
        one.begin()
        leaked = one.served()
        one.sim.switch(grace_s=5 * DAY_S)
        one.well("rotate", ENTITY, *LEAK)
        one.sim.switch(grace_s=0.0)
        one.sim.portal_reset()
        one.well("adopt", ENTITY, "--from-vendor")
        assert one.sim.accepts(leaked)
        assert "still accepted" in one.well("status").out
        one.clock.advance(6 * DAY_S)
        one.well("run")
        verdicts = [e.data["verdict"] for e in one.events() if e.type == "endpoint.proved"]
        assert "by-contract" not in verdicts
        assert verdicts[-1] == "dead"


@pytest.mark.parametrize(
    ("fault", "code"), [("401", "user-refused"), ("503:html", "http-503"), ("403:html", "network-or-allow-list")]
)
def test_a_take_over_from_a_vendor_that_does_not_show_its_value_says_why(tmp_path: Path, fault: str, code: str) -> None:
    with member(tmp_path / "member", secrets=LONE) as one:
        one.begin()
        one.sim.portal_reset()
        one.sim.fault("user-token", fault, times=9)
        ran = one.keyturn("adopt", ENTITY, "--from-vendor")
        assert ran.code == 3
        assert code in ran.said or "vendor-unavailable" in ran.said, ran.said
        assert "--from-stdin" not in ran.said or code in ran.said
