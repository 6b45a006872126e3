"""A version that the vendor was made to refuse is kept there for a while, so that a person can have it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.clock import iso
from keyturn.engine.checking import check
from keyturn.engine.outcome import Outcome
from keyturn.testing.rig import Rig

HOLD_S, DAY_S = 60.0, 86_400.0


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(folder=tmp_path, fake="second-key", account={"watch": DAY_S})
    rig.adopt()
    return rig


def retired(rig: Rig) -> Outcome:
    """A rotation up to the moment at which the vendor refuses the old version."""
    rig.rotate()
    rig.clock.advance(HOLD_S + 1)
    return rig.run()


def removed(rig: Rig) -> list[bool]:
    return [credential.removed for credential in rig.vendor.credentials]


def test_a_refused_version_is_removed_when_it_was_watched_and_not_before(rig: Rig) -> None:
    outcome = retired(rig)
    refused_at = rig.clock.now()
    assert outcome.status == "holding"
    assert "version 1 is refused by the vendor, and kept there" in outcome.text
    assert outcome.until == pytest.approx(refused_at + DAY_S, abs=30), iso(outcome.until or 0.0)
    assert removed(rig) == [False, False]
    rig.clock.advance(DAY_S - 60)
    assert rig.run().status == "holding"
    assert removed(rig) == [False, False]
    rig.clock.advance(60)
    assert rig.run().status == "done"
    assert removed(rig) == [True, False]


def test_what_is_watched_is_nothing_that_the_journal_does_not_know(rig: Rig) -> None:
    retired(rig)
    bench = rig.bench()
    current = rig.state().current
    assert current
    assert "unknown-at-vendor" not in [
        one.code for one in check(bench, rig.job(bench), [current.handle or ""]).problems
    ]
    bench.journal.close()


def test_a_compromised_version_is_removed_at_once(rig: Rig) -> None:
    outcome = rig.rotate(compromised=True, reason="leaked")
    assert outcome.status == "done", outcome.text
    assert removed(rig) == [True, False]


def test_the_next_rotation_may_begin_and_removes_each_in_its_time(rig: Rig) -> None:
    retired(rig)
    rig.clock.advance(DAY_S / 2)
    rig.vendor.credentials[0].removed = True  # an admin made room for a third key
    assert retired(rig).status == "holding"
    rig.clock.advance(DAY_S + 60)
    assert rig.run().status == "done"
    assert removed(rig) == [True, True, False]
