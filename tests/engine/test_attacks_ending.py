"""Attacks on what follows issue: old versions that end by themselves, derived secrets, and when a secret is due."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bridge_kit import ENTITY, TOKEN, Entity, pair
from engine.ending_kit import (
    DAY,
    HOUR,
    SECOND,
    Scheduled,
    Twins,
    alive,
    both,
    journaled,
    one_round,
    pause,
    previous,
    verdicts,
    version,
    where_due,
)
from engine.promises import chain_is_whole, never_broken, never_lost, no_leak, sealed_values
from engine.test_bridge import minted, verbs
from engine.test_crashes import end_is_good
from keyturn.cli.looking.status import as_data, judge, lines
from keyturn.config.model import Consumer, Notify
from keyturn.engine.decisions.actions import LookAtVendor
from keyturn.engine.decisions.decide import decide
from keyturn.engine.decisions.looks import Looks
from keyturn.engine.decisions.view import View
from keyturn.engine.effects.runner import runner_id
from keyturn.engine.entry import Ask, rollback
from keyturn.engine.record.fold import fold
from keyturn.engine.record.receipt import debts
from keyturn.engine.record.summary import summarise
from keyturn.errors import HeldElsewhereError
from keyturn.journal import open_journal
from keyturn.model import Traits
from keyturn.schedule import RotatePolicy, ScheduleFacts, due
from keyturn.states import State
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.windows import parse_window

MAX_S = 5 * DAY
TELL = Notify(exec=("/bin/true",))


def lingering(folder: Path, lives: float, **more: Any) -> Scheduled:
    """A vendor that goes on accepting the old value for `lives` seconds, though nothing relies on it."""
    rig = Scheduled(folder=folder, fake="grace", account={"grace_max_s": MAX_S, "lives": lives}, **more)
    rig.adopt()
    return rig


def tokens(folder: Path, life: float, **more: Any) -> Scheduled:
    """Tokens of that life; the first one was asked for by hand and lives ten minutes."""
    rig = Scheduled(folder=folder, fake="token", account={"life": life}, **more)
    rig.adopt()
    return rig


# A token, while its source is between two values


def in_the_gap(folder: Path, **account: Any) -> Entity:
    """The source's reset took effect, its answer is lost, and its vendor does not say what became of it."""
    entity = Entity(folder=folder, account=account)
    entity.begin()
    entity.clock.advance(HOUR)
    entity.vendor.faults.add("issue", "after")
    entity.vendor.faults.add("settle", "unavailable", times=400)
    assert entity.rotate().status == "unfinished"
    return entity


def test_a_token_asked_for_in_the_gap_of_its_source_is_turned_back_and_the_one_in_the_sinks_stays(
    tmp_path: Path,
) -> None:
    entity = in_the_gap(tmp_path)
    before = entity.tokens.served()
    outcome = entity.token(force=True, reason="due")
    assert (outcome.status, outcome.code) == ("undone", "issue-refused")
    assert entity.tokens.served() == before
    assert entity.token_works()
    entity.vendor.faults.clear()
    entity.clock.advance(HOUR)
    entity.settle()
    rounds = both(entity, RotatePolicy(), RotatePolicy(after=(ENTITY,)))
    for _ in range(2):
        one_round(entity, rounds)
    assert entity.tokens.served() != before
    assert entity.token_works()
    assert len(entity.vendor.log) == 1


def test_where_the_old_value_lives_on_a_token_asked_for_in_the_gap_is_made_with_it(tmp_path: Path) -> None:
    entity = in_the_gap(tmp_path, grace_s=2 * DAY)
    entity.token(force=True, reason="due")
    assert entity.token_number() == 3
    assert entity.token_works()


@pytest.mark.sweep
def test_a_month_of_hourly_rounds_with_lost_answers_never_leaves_a_token_that_does_not_work(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    rounds = both(
        entity,
        RotatePolicy(every_s=3 * DAY),
        RotatePolicy(before_expiry_s=12 * HOUR, after=(ENTITY,)),
    )
    faults = ("after", "before", "unavailable", "late:900")
    for hour in range(10 * 24):
        entity.clock.advance(HOUR)
        if hour % 24 == 0:
            entity.vendor.faults.add("issue", faults[(hour // 24) % len(faults)])
        one_round(entity, rounds)
        assert entity.token_works(), f"hour {hour}"
        assert never_lost(entity), f"hour {hour}"
    assert 3 <= len(entity.vendor.log) <= 8


# The bridge


def killed_before_issue(folder: Path, **more: Any) -> Entity:
    """The bridge stands, and whoever built it died before the reset was sent."""
    for at in count(1):
        attempt = folder / f"{at}"
        attempt.mkdir()
        entity = pair(attempt, **more)
        entity.crash = partial(CrashingJournal, at=at, when="before")
        with pytest.raises(Crash):
            entity.rotate()
        entity.crash = lambda journal: journal
        if entity.token_number() == 2 and "bridge" in [
            data["step"] for kind, data in journaled(entity) if kind == "step.done"
        ]:
            return entity
    raise AssertionError


def test_killed_between_bridge_and_reset_and_resumed_an_hour_later_the_bridge_is_built_again(tmp_path: Path) -> None:
    entity = killed_before_issue(tmp_path)
    assert not entity.vendor.log
    entity.clock.advance(HOUR)
    assert entity.run().status == "done"
    assert entity.vendor.newest("main").born_at - minted(entity)[-1] < 60  # type: ignore[union-attr]
    assert entity.token_works()
    end_is_good(entity, "an hour later")


def test_of_two_bridges_one_that_fails_turns_the_rotation_back_and_the_other_one_works_all_the_same(
    tmp_path: Path,
) -> None:
    twins = Twins(folder=tmp_path)
    twins.begin()
    twins.second.vendor.faults.add("issue", "unavailable", times=50)
    outcome = twins.rotate()
    assert (outcome.status, outcome.code) == ("undone", "bridge-failed")
    assert SECOND in outcome.text
    assert not twins.vendor.log
    assert twins.token_works()
    assert never_broken(twins)
    twins.second.vendor.faults.clear()
    assert twins.rotate().status == "done"
    assert len(twins.vendor.log) == 1
    assert twins.token_works()
    assert never_broken(twins.second)


def test_three_runners_with_one_request_make_one_reset_and_one_bridge(tmp_path: Path) -> None:
    twins = Twins(folder=tmp_path)
    twins.begin()
    made = len(twins.tokens.vendor.credentials)

    def run(_: int) -> str:
        try:
            return twins.rotate(request="one").status
        except HeldElsewhereError:
            return "held"

    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(run, range(3)))
    assert "done" in ended, ended
    assert len(twins.vendor.log) == 1
    assert len(twins.tokens.vendor.credentials) == made + 1
    assert len(twins.second.vendor.credentials) == made + 1
    assert chain_is_whole(twins)


def test_a_round_in_which_source_and_token_are_both_due_ends_well_in_either_order(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    rounds = both(entity, RotatePolicy(every_s=DAY), RotatePolicy(every_s=DAY, after=(ENTITY,)))
    for day in range(1, 8):
        entity.clock.advance(DAY)
        outcomes = one_round(entity, rounds)
        assert not [one for one in outcomes if one.error], outcomes
        assert entity.token_works(), f"day {day}"
    assert len(entity.vendor.log) == 7


def test_a_token_held_for_ever_by_another_runner_turns_the_rotation_back_before_the_reset(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    journal = open_journal(entity.settings, clock=entity.clock, runner="elsewhere", operator="bo")
    journal.acquire(TOKEN, f"other-host/{runner_id()}", ttl_s=30 * DAY)
    outcome = entity.rotate()
    journal.close()
    assert (outcome.status, outcome.code) == ("undone", "bridge-failed")
    assert not entity.vendor.log
    assert never_broken(entity)


def test_a_token_that_is_stuck_turns_its_source_back_and_says_why(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    entity.tokens.vendor.endpoints["api"].unknown_until = entity.clock.now() + DAY
    outcome = entity.rotate()
    assert (outcome.status, outcome.code) == ("undone", "bridge-failed")
    assert TOKEN in outcome.text
    assert not entity.vendor.log
    assert entity.token_works()


def test_a_paused_token_is_bridged_all_the_same(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    pause(entity, TOKEN, entity.clock.now() + DAY)
    assert entity.rotate().status == "done"
    assert entity.token_number() == 2, "a pause keeps schedules from beginning, and this is none"
    assert entity.token_works()


def test_a_stop_while_the_bridge_is_built_leaves_everything_as_it_was_and_the_next_run_goes_on(tmp_path: Path) -> None:
    entity = pair(tmp_path, consumers=(Consumer(name="kong", quiesce=TELL, release=TELL),))
    entity.clock.stop()
    entity.rotate()
    assert not entity.vendor.log
    entity.clock = entity.tokens.clock = restarted(entity)
    assert entity.token_works()
    entity.clock.advance(600)
    entity.settle()
    assert len(entity.vendor.log) == 1
    assert entity.token_works()


def restarted(entity: Entity) -> Any:
    """The same clock in a new process: nobody asked that one to stop."""
    entity.clock._stopped = False
    return entity.clock


def test_an_emergency_ends_the_grace_of_nobody_and_builds_no_bridge_with_a_leaked_value(tmp_path: Path) -> None:
    entity = Entity(folder=tmp_path, account={"grace_max_s": MAX_S, "lives": MAX_S - DAY})
    entity.begin()
    assert entity.rotate().status == "holding"
    renewed = verbs(entity).count("renew")
    entity.clock.advance(HOUR)
    outcome = entity.rotate(compromised=True, reason="leaked")
    assert outcome.status == "holding"
    assert "compromised version" in outcome.text
    assert verbs(entity).count("renew") == renewed
    assert previous(entity) == [1, 2]
    entity.clock.advance(MAX_S + HOUR)
    entity.run()
    assert (previous(entity), verdicts(entity, 1), verdicts(entity, 2)) == ([], ["dead"], ["dead"])
    assert no_leak(entity)


# A grace that nothing relies on


def test_accepted_at_one_place_and_refused_at_the_other_in_turns_is_never_called_dead(tmp_path: Path) -> None:
    rig = Scheduled(folder=tmp_path, fake="grace", account={"grace_max_s": MAX_S, "lives": MAX_S - DAY})
    rig.vendor.join("iam-2")
    rig.adopt()
    rig.rotate()
    handle = version(rig.state(), 1).handle or ""
    for turn in range(4):
        for number, place in enumerate(("iam", "iam-2")):
            blind = rig.vendor.endpoints[place].blind_to
            blind.add(handle) if turn % 2 == number else blind.discard(handle)
        rig.clock.advance(6 * HOUR)
        assert rig.run().status == "holding"
        assert version(rig.state(), 1).state is State.PREVIOUS
        assert "dead" not in verdicts(rig, 1)
    rig.clock.advance(MAX_S)
    assert rig.run().status == "done"
    assert verdicts(rig, 1) == ["dead", "dead"]


def test_a_new_value_that_is_refused_proves_nothing_of_the_old_one(tmp_path: Path) -> None:
    rig = lingering(tmp_path, MAX_S - DAY)
    rig.rotate()
    rig.vendor.endpoints["iam"].blind_to |= {version(rig.state(), 1).handle or "", version(rig.state(), 2).handle or ""}
    rig.clock.advance(HOUR)
    outcome = rig.run()
    assert (outcome.status, outcome.code) == ("stuck", "new-refused")
    assert verdicts(rig, 1) == ["accepted"]
    rig.vendor.endpoints["iam"].blind_to.clear()
    rig.clock.advance(HOUR)
    assert rig.run().status == "holding", "it came back by itself"


@pytest.mark.sweep
def test_a_grace_longer_than_the_life_of_the_secret_does_not_keep_the_next_one_from_coming(tmp_path: Path) -> None:
    rig = lingering(tmp_path, MAX_S - HOUR, rotate_by=RotatePolicy(before_expiry_s=12 * HOUR))
    rig.target = rig.target.model_copy(update={"expiry": DAY})  # type: ignore[union-attr]
    rig.rotate()
    for hour in range(7 * 24):
        rig.clock.advance(HOUR)
        one_round(rig)
        assert never_broken(rig), f"hour {hour}"
        assert len(previous(rig)) <= 11, f"hour {hour}"
    assert rig.state().current.number >= 12  # type: ignore[union-attr]
    closed = [one for one in rig.state().versions.values() if one.state is State.RETIRED]
    assert closed
    assert all(proof.verdict == "dead" for one in closed for proof in one.proofs.values())


def test_a_clock_set_back_a_day_in_the_grace_ends_nothing_early(tmp_path: Path) -> None:
    rig = lingering(tmp_path, MAX_S - DAY)
    rig.rotate()
    rig.clock.jump(-DAY)
    rig.clock.advance(MAX_S)
    rig.run()
    assert verdicts(rig, 1) in (["accepted"], ["dead"])
    rig.clock.advance(2 * DAY)
    rig.settle()
    assert verdicts(rig, 1) == ["dead"]
    assert chain_is_whole(rig)


# Tokens with lives that nobody expects


@pytest.mark.parametrize("life", [0.0, -3600.0])
def test_a_token_that_is_dead_when_it_is_made_never_takes_the_place_of_one_that_works(
    tmp_path: Path, life: float
) -> None:
    rig = tokens(tmp_path, DAY, rotate_by=RotatePolicy(before_expiry_s=12 * HOUR))
    rig.rotate()
    served = rig.served()
    rig.vendor.account = rig.vendor.account.model_copy(update={"life": life})
    rig.clock.advance(13 * HOUR)
    for _ in range(6):
        one_round(rig)
        assert rig.served() == served
        assert never_broken(rig)
        rig.clock.advance(HOUR)
    assert len(rig.vendor.log) <= 1 + 6 * rig.limits.issues_per_rotation
    rig.vendor.account = rig.vendor.account.model_copy(update={"life": DAY})
    one_round(rig)
    assert rig.served() != served
    assert never_broken(rig)


def test_a_token_that_lives_ten_seconds_is_renewed_once_a_round_and_not_in_a_loop(tmp_path: Path) -> None:
    rig = tokens(tmp_path, 10.0, rotate_by=RotatePolicy(before_expiry_share=0.5))
    rig.rotate()
    for made in range(2, 8):
        rig.clock.advance(HOUR)
        one_round(rig)
        assert len(rig.vendor.log) == made
        assert never_broken(rig)
    assert len(previous(rig)) <= 1


@pytest.mark.sweep
def test_fifty_tokens_that_live_ten_years_are_told_stored_and_waited_for_like_one(tmp_path: Path) -> None:
    rig = tokens(tmp_path, 10 * 365 * DAY, rotate_by=RotatePolicy(every_s=DAY))
    for _ in range(50):
        rig.clock.advance(DAY)
        one_round(rig)
    assert len(previous(rig)) == 49, "the one that was asked for by hand is over"
    row = summarise(rig.state())
    standing = judge("app/main", row, None, where_due(rig), rig.clock.now())
    assert len(json.dumps(as_data(standing))) < 40_000
    assert sum("(previous)" in line for line in lines(standing)) == 49
    assert (standing.status, standing.next) == ("holding", "keyturn run app/main")
    assert row.next_at is not None
    assert row.next_at > rig.clock.now() + 9 * 365 * DAY
    one_round(rig)
    rig.clock.advance(11 * 365 * DAY)
    rig.run()
    assert previous(rig) == []
    assert len(sealed_values(rig)) == 1


def test_back_to_an_older_token_and_on_again_each_ends_at_its_own_expiry(tmp_path: Path) -> None:
    rig = tokens(tmp_path, DAY)
    rig.rotate()
    rig.clock.advance(6 * HOUR)
    rig.rotate(force=True, reason="again")
    bench = rig.bench()
    assert rollback(bench, rig.job(bench), Ask(reason="back")).status in ("holding", "done")
    bench.journal.close()
    assert rig.state().current.number == 2  # type: ignore[union-attr]
    rig.clock.advance(18 * HOUR + 60)
    assert not never_broken(rig)
    rig.rotate()
    assert never_broken(rig)
    assert version(rig.state(), 3).state is State.PREVIOUS, "it lives six hours longer than the one gone back to"
    rig.clock.advance(6 * HOUR)
    rig.run()
    rig.clock.advance(DAY)
    rig.settle()
    assert previous(rig) == []
    assert debts(rig.state()) == ()


# Journals of before


def test_a_rotation_that_an_earlier_version_began_is_read_and_carried_on(tmp_path: Path) -> None:
    rig = Scheduled(folder=tmp_path, fake="grace", account={"grace_s": DAY})
    rig.adopt()
    rig.rotate()
    journal = open_journal(rig.settings, clock=rig.clock, runner="reader", operator="reader")
    state = fold("app/main", [replace(event, data=of_before(event.data)) for event in journal.events("app/main")])
    journal.close()
    rotation = state.rotation
    assert rotation
    assert (rotation.frozen.traits.grace_max_s, rotation.frozen.traits.own_expiry, rotation.frozen.bridge) == (
        0.0,
        False,
        (),
    )
    now = rig.clock.now()

    def next_(at: float) -> Any:
        looks = Looks(began_at=at, tidied=True)
        return decide(
            View(state=state, rotation=rotation, looks=looks, limits=rig.limits, now=at, configured=frozenset())
        )

    assert isinstance(next_(now), LookAtVendor), "whether the old one still lives is seen, not assumed"
    assert isinstance(next_(now + DAY), LookAtVendor)
    assert summarise(state).status == "holding"


def of_before(data: Any) -> Any:
    """The data of an event as it was written before these fields were there."""
    if isinstance(data, dict):
        new = {"grace_max_s", "own_expiry", "settle_every_s", "life_min_s", "check_every_s", "bridge", "until"}
        return {name: of_before(value) for name, value in data.items() if name not in new}
    return data


def test_the_new_traits_say_nothing_where_nobody_sets_them() -> None:
    traits = asdict(Traits(fields=(), live_max=1, grace_s=0.0))
    names = ("grace_max_s", "own_expiry", "settle_every_s", "life_min_s", "check_every_s")
    assert [traits[name] for name in names] == [0.0, False, 0.0, 0.0, None]


# When a secret is due

WINDOWS = (
    None,
    "Sun 02:00-03:00 Europe/Berlin",
    "Tue-Thu 10:00-12:00 Asia/Kolkata",
    "Sun 02:30-02:45 America/New_York",
)


@given(
    life_h=st.integers(2, 24 * 200),
    lead=st.sampled_from([0.1, 0.5, 0.9, 1.0, HOUR, 12 * HOUR, 20 * DAY]),
    window=st.sampled_from(WINDOWS),
    jitter_h=st.integers(0, 72),
    min_age_h=st.integers(0, 72),
    start_h=st.integers(0, 24 * 365),
    adopted=st.booleans(),
)
def test_whatever_the_policy_says_there_is_a_start_before_the_expiry(
    life_h: int, lead: float, window: str | None, jitter_h: int, min_age_h: int, start_h: int, adopted: bool
) -> None:
    share = lead <= 1.0
    policy = RotatePolicy(
        before_expiry_share=lead if share else None,
        before_expiry_s=None if share else lead,
        window=parse_window(window) if window else None,
        jitter_s=jitter_h * HOUR,
        min_age_s=min_age_h * HOUR,
    )
    since = 1_800_000_000.0 + start_h * HOUR
    ends = since + life_h * HOUR
    facts = ScheduleFacts(name="a", current_since=since, expires_at=ends, issued_at=None if adopted else since)
    lead_s = lead * (ends - since) if share else lead
    rest_s = lead_s if lead_s < ends - since else (ends - since) / (1 if adopted else 2)
    at = ends - min(rest_s / 2, DAY) + 1
    found = due(policy, facts, at)
    assert found.ready, "half of what was left, or a day, before its expiry nothing may start"
    assert found.at is not None
    assert found.at <= at
    assert not due(policy, facts, ends - rest_s - 1).ready, "sooner than asked"


@pytest.mark.parametrize("issued_at", [None, 1_800_000_000.0 - 100 * DAY])
def test_what_was_published_after_its_own_expiry_is_due_at_once(issued_at: float | None) -> None:
    now = 1_800_000_000.0
    facts = ScheduleFacts(name="a", current_since=now, expires_at=now - DAY, issued_at=issued_at)
    found = due(RotatePolicy(before_expiry_share=0.5), facts, now + 1)
    assert (found.ready, found.status.value) == (True, "overdue")


def test_what_is_left_alone_is_named_as_expired_and_never_as_fine(tmp_path: Path) -> None:
    rig = tokens(tmp_path, DAY)
    rig.rotate()
    rig.clock.advance(2 * DAY)
    found = where_due(rig)
    assert (found.status.value, found.ready) == ("overdue", False)
    assert found.why.startswith("expired 20")
    assert alive(rig) == 0


@pytest.mark.parametrize("life", [4e11, math.inf])
def test_an_expiry_that_no_calendar_has_counts_as_unknown_and_is_told_once(tmp_path: Path, life: float) -> None:
    rig = Scheduled(folder=tmp_path, fake="token", account={"life": 4e11})
    rig.adopt()
    rig.vendor.account = rig.vendor.account.model_copy(update={"life": life})
    assert rig.rotate().status == "holding", "the old one lives on"
    current = rig.state().current
    assert current
    assert (current.number, current.expires_at) == (2, None)
    noted = [line for line in rig.lines if "expiry-implausible" in line]
    assert sum("expires_at" in line for line in noted) == 1
    assert len(set(noted)) == len(noted)
    lines(judge("app/main", summarise(rig.state()), None, where_due(rig), rig.clock.now()))
