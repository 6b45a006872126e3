"""Killed before or after any journal write of a rotation at a portal: nothing is lost or changed needlessly."""

from __future__ import annotations

from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal

import pytest

from keyturn.cli.estate import Wiring
from keyturn.testing.faults import Crash, CrashingJournal

from .endings import act, in_order, kept, runs, team
from .partners import WAYS, Partners

pytestmark = pytest.mark.sweep
WHENS = ("before", "after")
WRITES_MIN = 10
APART_S = 130.0
HIDDEN = ("patch-hashed", "put-hashed", "second-key-hashed")
CASES = [*((way, when, "") for way in WAYS for when in WHENS), *((way, "after", "reset-after") for way in HIDDEN)]
"""Where the portal shows what it holds, a lost answer before the crash adds nothing."""


def changes(one: Partners, way: str) -> int:
    """How often a new version was brought to life."""
    kinds = one.way.calls if way == "slots" else one.way.calls[:1]
    return len(one.commits(*kinds))


def changes_max(way: str) -> int:
    """Where the answer is the only copy, one that died with us is made anew; Azure ends the old one by a like call."""
    return 1 if way in ("patch", "put", "put-hashed", "legacy", "legacy-hashed", "second-key") else 3


@pytest.mark.parametrize(("way", "when", "fault"), CASES)
def test_killed_at_any_journal_write_the_schedule_ends_it_and_changes_no_more_than_it_must(
    tmp_path: Path, way: str, when: Literal["before", "after"], fault: str
) -> None:
    for at in count(1):
        with team(tmp_path / f"{at}", way) as one:
            if fault:
                one.sim.fault("regenerate-secondary" if way == "slots" else one.way.calls[0], fault)
            died = False
            try:
                act(one, Wiring(clock=one.clock, journal=partial(CrashingJournal, at=at, when=when)))
            except Crash:
                died = True
            where = f"killed {when} write {at}"
            assert kept(one), f"{where}: promise P1"
            one.clock.advance(APART_S)
            runs(one)
            if not changes(one, way):
                assert act(one).code in (0, 6), where
                runs(one)
            in_order(one)
            assert changes(one, way) <= changes_max(way) + (1 if fault and one.way.hashed else 0), where
        if not died:
            break
    assert at > WRITES_MIN
