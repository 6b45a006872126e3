"""Attacks on holds, bridges, renewals and schedules that once found a hole."""

from __future__ import annotations

from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.bridge_kit import ENTITY, Entity, pair
from engine.ending_kit import (
    DAY,
    HOUR,
    Scheduled,
    alive,
    both,
    looks,
    one_round,
)
from engine.short_kit import Town
from engine.test_bridge import minted
from keyturn.engine.operator import abandon
from keyturn.plugins.overlap import OverlapPolicy
from keyturn.schedule import RotatePolicy
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.traits import validate_traits

MAX_S = 5 * DAY


def lingering(folder: Path, lives: float, **more: Any) -> Scheduled:
    rig = Scheduled(folder=folder, fake="grace", account={"grace_max_s": MAX_S, "lives": lives}, **more)
    rig.adopt()
    return rig


def test_a_schedule_shorter_than_the_hold_still_retires_old_versions(tmp_path: Path) -> None:
    rig = Scheduled(
        folder=tmp_path,
        fake="open",
        policy=OverlapPolicy(hold_s=48 * HOUR),
        rotate_by=RotatePolicy(every_s=DAY),
    )
    rig.adopt()
    counts = []
    for _ in range(12 * 12):
        rig.clock.advance(2 * HOUR)
        one_round(rig)
        counts.append(alive(rig))
    assert max(counts) <= 4, "each version is retired once its own hold is over"


def test_what_became_due_by_a_short_life_may_begin_although_it_is_younger_than_min_age(tmp_path: Path) -> None:
    town = Town(folder=tmp_path, rotate={"before_expiry": "5h"})
    town.vendor.granted_max_s = 20 * HOUR
    town.clock.advance(365 * DAY - 4 * HOUR)
    town.keyturn("run")
    assert town.resets == 1
    town.clock.advance(16 * HOUR)
    ran = town.keyturn("status", "--json").json["secrets"][0]
    ended = town.keyturn("run")
    assert (ran["due"]["status"], town.resets, ended.code) in (("due", 2, 8), ("not-due", 1, 8)), ended.err


def test_a_token_is_renewed_right_after_its_source_though_it_was_just_made_for_the_bridge(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    policy = RotatePolicy(after=(ENTITY,), min_age_s=HOUR)
    entity.clock.advance(2 * HOUR)
    entity.vendor.faults.add("issue", "unavailable")  # so that a second lies between the bridge and the reset
    assert entity.rotate().status == "done"
    entity.clock.advance(60)
    outcomes = one_round(entity, both(entity, RotatePolicy(), policy))
    assert not [one for one in outcomes if one.error], outcomes
    assert entity.token_number() == 3


def test_an_old_version_that_never_dies_does_not_keep_the_next_one_from_coming(tmp_path: Path) -> None:
    rig = lingering(tmp_path, 400 * DAY, rotate_by=RotatePolicy(before_expiry_s=20 * DAY))
    rig.rotate()
    for _ in range(89):
        rig.clock.advance(DAY)
        one_round(rig)
    current = rig.state().current
    assert current
    assert current.number >= 3, "it expires tomorrow, and was due twenty days ago"


def test_the_probes_of_an_abandoned_rotation_are_as_few_as_those_of_an_open_one(tmp_path: Path) -> None:
    rig = lingering(tmp_path, MAX_S - DAY)
    rig.rotate()
    bench = rig.bench()
    abandon(bench, rig.job(bench), reason="enough")
    bench.journal.close()
    asked = looks(rig)
    for _ in range(72):
        rig.clock.advance(HOUR)
        one_round(rig)
    assert looks(rig) - asked <= 2 * 14, "each leaves a token at the vendor"


@pytest.mark.parametrize("trouble", ["unmanaged", "sink-foreign"])
def test_a_token_that_can_not_be_renewed_does_not_let_its_source_expire(tmp_path: Path, trouble: str) -> None:
    entity = Entity(folder=tmp_path)
    entity.begin() if trouble != "unmanaged" else entity.adopt()
    entity.rotate(compromised=True, reason="from now on it expires")
    if trouble == "sink-foreign":
        entity.tokens.stores["near"].foreign_write("app/main", {"access_token": "x", "expires_at": "1"})
    rounds = both(entity, RotatePolicy(before_expiry_s=20 * DAY), RotatePolicy())
    for _ in range(89):
        entity.clock.advance(DAY)
        one_round(entity, rounds)
    current = entity.state().current
    assert current
    assert current.number >= 3, "it expires tomorrow, and was due twenty days ago"


def test_a_second_reset_is_bridged_like_the_first(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    entity.vendor.faults.add("issue", "before")
    entity.vendor.faults.add("settle", "unavailable", times=400)
    outcome = entity.rotate()
    assert outcome.status == "unfinished", outcome
    entity.clock.advance(6 * HOUR)
    entity.vendor.faults.clear()
    assert entity.run().status == "done"
    reset_at = entity.vendor.newest("main").born_at  # type: ignore[union-attr]
    before = [one.born_at for one in entity.tokens.vendor.credentials if one.born_at <= reset_at]
    assert reset_at - before[-1] < 900, "the bridge was made six hours before the old value ended"


def test_tokens_without_a_known_longest_life_are_refused_by_the_registry(tmp_path: Path) -> None:
    rig = Scheduled(folder=tmp_path, fake="token", bent={"derived_s": 0.0})
    bench = rig.bench()
    traits = rig.job(bench).traits
    bench.journal.close()
    assert validate_traits(traits), "one whose expiry nobody told would count as ended at once, by contract"


def test_a_token_that_is_due_is_renewed_in_the_first_round_after_a_renewal_that_was_turned_back(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    entity.clock.advance(HOUR)
    entity.token(force=True, reason="a second one, while the first lives")
    entity.tokens.vendor.faults.add("issue", "refused")
    assert entity.token(force=True, reason="turned back").status == "undone"
    entity.clock.advance(17 * HOUR)
    one_round(entity, both(entity, RotatePolicy(), RotatePolicy(before_expiry_s=12 * HOUR)))
    assert entity.token_number() == 4, "the round only noted that an older one still lives"


def killed_with_a_token_in_hand(folder: Path) -> Entity:
    """Whoever built the bridge died when its token was issued and not yet published."""
    for at in count(1):
        attempt = folder / f"{at}"
        attempt.mkdir()
        entity = pair(attempt)
        entity.crash = partial(CrashingJournal, at=at, when="after")
        with pytest.raises(Crash):
            entity.rotate()
        entity.crash = lambda journal: journal
        made = [one for one in entity.token_state().versions.values() if one.number == 2]
        if made and made[0].issued and not made[0].published:
            return entity
    raise AssertionError


def test_a_bridge_that_was_made_long_ago_is_not_fresh_because_it_is_published_now(tmp_path: Path) -> None:
    entity = killed_with_a_token_in_hand(tmp_path)
    entity.clock.advance(20 * HOUR)
    entity.settle()
    assert len(entity.vendor.log) == 1
    reset_at = entity.vendor.newest("main").born_at  # type: ignore[union-attr]
    assert reset_at - minted(entity)[-1] < 600, "what covers the end of the old value has four hours to live"


def test_the_vendor_is_looked_at_on_schedule_while_an_old_version_lives_on(tmp_path: Path) -> None:
    rig = lingering(tmp_path, MAX_S - HOUR, bent={"check_every_s": DAY})
    rig.rotate()
    for _ in range(4 * 8):
        rig.clock.advance(3 * HOUR)
        one_round(rig)
    checked_at = rig.state().checked_at
    assert checked_at is not None
    assert rig.clock.now() - checked_at <= 2 * DAY, "an expired password would show only after the grace"
