"""Attacks before and around issue, where others reset the same secret: each one here was tried, and held."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest

from engine.attack_kit import act, adopted, current, numbers
from engine.outside_kit import EXPIRED, WEEK, Watched
from engine.short_kit import DAY, NAME
from engine.test_outside_rotations import FROM_VENDOR, holds, newest, reset_outside
from keyturn.api import InspectRequest, InspectResponse
from keyturn.engine.adoption import adopt
from keyturn.engine.alerts import Standing, alerts_due
from keyturn.engine.checking import check, look
from keyturn.engine.entry import Ask, rotate
from keyturn.engine.record.summary import summarise
from keyturn.engine.rounds import carry_out, is_due, scan
from keyturn.errors import HeldElsewhereError, KeyturnError, RefusedError
from keyturn.model import Mode
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig

When = Literal["before", "after"]
NEW_KEYS = ("checked_at", "problems", "rotated_at")


def crashed(rig: Rig, at: int, when: When, **ask: Any) -> bool:
    """A rotation whose process dies at its `at`-th journal write; whether it came so far."""
    rig.crash = lambda journal: CrashingJournal(journal, at, when)
    try:
        rig.rotate(**ask)
    except Crash:
        return True
    finally:
        rig.crash = lambda journal: journal
        rig.clock.advance(rig.limits.lease_s + 100)
    return False


def taken_over(rig: Rig) -> None:
    """What status prints is typed until nothing is left: run, then adoption from the vendor."""
    rig.settle()
    act(rig, adopt, adoption=FROM_VENDOR)
    rig.settle()


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_rotation_killed_at_any_write_with_a_portal_reset_in_between_ends_nothing_of_the_portal(
    tmp_path: Path, when: When
) -> None:
    for at in count(1):
        rig = adopted(tmp_path / f"{at}", fake="grace")
        if not crashed(rig, at, when):
            break
        rig.vendor.seed()
        portal, sent = newest(rig), len(rig.vendor.log)
        taken_over(rig)
        assert (len(rig.vendor.log), newest(rig)) == (sent, portal), f"write {at}"
        holds(rig, current(rig))
    assert at > 8


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_forced_first_rotation_killed_at_any_write_sends_one_reset_and_serves_it(tmp_path: Path, when: When) -> None:
    force: dict[str, Any] = {"mode": Mode.FIRST, "force": True, "reason": "nobody uses it"}
    for at in count(1):
        (tmp_path / f"{at}").mkdir()
        rig = Rig(folder=tmp_path / f"{at}", fake="grace")
        rig.vendor.seed()
        died = crashed(rig, at, when, **force)
        rig.settle()
        if rig.state().rotation is None:
            rig.rotate(**force)
        assert len(rig.vendor.log) == 1, f"write {at}"
        holds(rig, current(rig))
        if not died:
            break
    assert at > 8


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_emergency_killed_at_any_write_ends_what_was_there_with_one_reset(tmp_path: Path, when: When) -> None:
    for at in count(1):
        rig = reset_outside(tmp_path / f"{at}")
        attackers = newest(rig)
        died = crashed(rig, at, when, compromised=True, reason="leaked")
        rig.settle()
        if rig.state().rotation is None:
            rig.rotate(compromised=True, reason="leaked")
        assert (len(rig.vendor.log), newest(rig) != attackers) == (1, True), f"write {at}"
        holds(rig, current(rig))
        if not died:
            break
    assert at > 8


@pytest.mark.parametrize("store", ["near", "far"])
@pytest.mark.parametrize("fault", ["crash-before", "crash-after", "before", "after", "refused", "meddled"])
@pytest.mark.parametrize("verb", ["inspect", "promote"])
def test_an_adoption_in_place_that_meets_any_trouble_at_one_place_is_finished_by_the_next_run(
    tmp_path: Path, store: str, fault: str, verb: str
) -> None:
    rig = reset_outside(tmp_path)
    rig.stores[store].faults.add(verb, fault)
    try:
        act(rig, adopt, adoption=FROM_VENDOR)
    except (KeyturnError, Crash):
        rig.clock.advance(rig.limits.lease_s + 1)
    if fault == "meddled" and verb == "promote":
        with pytest.raises(RefusedError, match="did not write"):
            rig.run()  # never over a foreign value: a person moves it away
        rig.stores[store].places.clear()
    if current(rig) == 1:
        act(rig, adopt, adoption=FROM_VENDOR)
    rig.run()
    holds(rig, 2)
    assert rig.state().unserved == frozenset()


def test_adoption_waits_for_a_runner_that_rotates_and_then_changes_nothing(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    bench = rig.bench()
    lease = bench.journal.acquire("app/main", "another runner", ttl_s=3600)
    before = rig.state().seq
    with pytest.raises(HeldElsewhereError):
        act(rig, adopt, adoption=FROM_VENDOR)
    assert (rig.state().seq, numbers(rig)) == (before, {1: "current"})
    bench.journal.release(lease)
    bench.journal.close()
    act(rig, adopt, adoption=FROM_VENDOR)
    holds(rig, 2)


def test_a_second_adopter_and_a_second_runner_find_all_done(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    act(rig, adopt, adoption=FROM_VENDOR)
    before = rig.state().seq
    assert "current already" in act(rig, adopt, adoption=FROM_VENDOR).text
    assert rig.run().text == "nothing is in flight"
    assert rig.state().seq == before


def test_a_reset_while_the_rotation_waits_is_undone_and_the_printed_commands_take_it_over(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    rig.with_limits(patience_s=0.0)
    rig.vendor.faults.add("issue", "unavailable", times=9)
    assert rig.rotate().status == "unfinished"
    rig.vendor.faults.clear()
    rig.vendor.seed()
    with pytest.raises(RefusedError) as caught:
        act(rig, adopt, adoption=FROM_VENDOR)
    assert (caught.value.code, "keyturn resume app/main" in caught.value.hint) == ("rotation-in-flight", True)
    sent = len(rig.vendor.log)
    stuck = rig.run()
    assert (stuck.status, stuck.next) == ("stuck", "keyturn adopt app/main --from-vendor")
    act(rig, adopt, adoption=FROM_VENDOR)
    assert len(rig.vendor.log) == sent
    holds(rig, current(rig))


def test_an_outside_reset_and_a_broken_place_are_both_found_by_one_look(tmp_path: Path) -> None:
    town = Watched(folder=tmp_path)
    town.vendor.seed()
    (tmp_path / "custody/entity.json").chmod(0o666)
    town.clock.advance(WEEK)
    ran = town.keyturn("run")
    assert (ran.code, "rotated-outside" in ran.out) == (8, True)
    problems = [one["code"] for one in town.row().state["problems"] if one["fatal"]]
    assert len(problems) >= 2
    assert problems[0] == "rotated-outside"
    told = [what for what, _ in town.alerts]
    assert told == ["problem"] * len(problems)
    assert town.keyturn("run").code == 8
    assert len(town.alerts) == len(told)


def test_two_runners_on_one_journal_ask_the_vendor_once(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    rig.clock.advance(WEEK)
    benches = [rig.bench(), rig.bench()]
    jobs = [replace(job, traits=replace(job.traits, check_every_s=WEEK)) for job in map(rig.job, benches)]
    works = [scan([job], bench.journal.summaries(), rig.clock.now()) for job, bench in zip(jobs, benches, strict=True)]
    assert [[one.what for one in work] for work in works] == [["check"], ["check"]]
    texts = []
    for bench, job, work in zip(benches, jobs, works, strict=True):
        done = carry_out(bench, {job.name: job}, work, rotations_max=9, stopping=lambda: False)
        texts += [outcome.text for outcome in done]
        bench.journal.close()
    assert texts == ["looked at: rotated-outside", "another runner looked just now"]
    assert [line.split()[1] for line in rig.lines].count("Checked") == 1


def test_a_due_rotation_found_by_two_runners_is_begun_once(tmp_path: Path) -> None:
    town = Watched(folder=tmp_path)
    town.clock.advance(345 * DAY + 60)
    assert town.keyturn("run").code == 0
    assert town.keyturn("run").out == "nothing was due\n"
    assert town.resets == 1


def test_a_look_changes_nothing_and_holds_no_lease_after_any_trouble(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    rig.clock.advance(WEEK)
    for verb, fault in (("inspect", "unavailable"), ("probe", "refused"), ("inspect", "crash-before")):
        rig.vendor.faults.add(verb, fault)
        bench = rig.bench()
        job = rig.job(bench)
        try:
            look(bench, replace(job, traits=replace(job.traits, check_every_s=1.0)))
        except Crash:
            rig.clock.advance(rig.limits.lease_s + 1)
        bench.journal.close()
        rig.vendor.faults.clear()
        rig.clock.advance(10)
    assert (numbers(rig), rig.vendor.log) == ({1: "current"}, [])
    act(rig, adopt, adoption=FROM_VENDOR)
    holds(rig, 2)


def test_a_paused_secret_is_looked_at_and_not_rotated(tmp_path: Path) -> None:
    town = Watched(folder=tmp_path)
    assert town.keyturn("pause", NAME, "--until", "2028-12-31T00:00:00Z").code == 0
    town.vendor.seed()
    town.clock.advance(345 * DAY + 60)
    ran = town.keyturn("run")
    assert (town.resets, "rotated-outside" in ran.out) == (0, True)


def test_after_our_own_rotation_a_read_of_the_version_before_is_no_outside_rotation(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    assert rig.rotate().status == "done"
    ours = rig.vendor.credentials.pop()  # the copy that answers has not heard of it
    bench = rig.bench()
    found = check(bench, rig.job(bench), ())
    bench.journal.close()
    rig.vendor.credentials.append(ours)
    assert "rotated-outside" not in {one.code for one in found.problems}


def test_rows_of_an_older_writer_are_scanned_judged_and_alerted(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    assert rig.rotate().status == "done"
    row = summarise(rig.state())
    bare = {name: value for name, value in row.state.items() if name not in NEW_KEYS}
    for version in bare["versions"]:
        for name in ("issued_at", "observed"):
            version.pop(name)
    rows = {"app/main": replace(row, state=bare)}
    bench = rig.bench()
    job = rig.job(bench)
    bench.journal.close()
    watched = replace(job, traits=replace(job.traits, check_every_s=WEEK))
    now = rig.clock.now()
    assert scan([watched], rows, now) == []
    assert [one.what for one in scan([watched], rows, now + WEEK)] == ["check"]
    standing = Standing(
        name="app/main", row=rows["app/main"], due=is_due(watched, rows, now), now=now, begin="keyturn adopt app/main"
    )
    assert alerts_due(standing) == ()


def test_an_open_problem_is_told_of_and_costs_one_event_an_hour(tmp_path: Path) -> None:
    town = Watched(folder=tmp_path)
    town.vendor.problems = (EXPIRED,)
    town.clock.advance(WEEK)
    events = len(town.events())
    for _ in range(24):
        town.keyturn("run")
        town.clock.advance(3600)
    assert len(town.events()) - events <= 24 + 1
    assert len(town.alerts) == 1


class Meddled:
    """A provider with somebody else at work right before its `nth` look."""

    def __init__(self, rig: Rig, real: Any, nth: int) -> None:
        self.rig, self.real, self.nth, self.looks = rig, real, nth, 0

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """Look, a moment too late."""
        self.looks += 1
        if self.looks == self.nth:
            self.rig.vendor.seed()
        found: InspectResponse = self.real.inspect(request)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def test_a_reset_between_preflight_and_the_last_look_before_issue_is_not_ended(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    bench = rig.bench()
    job = rig.job(bench)
    outcome = rotate(bench, replace(job, provider=Meddled(rig, job.provider, 2)), Ask())
    bench.journal.close()
    assert (rig.vendor.log, outcome.next) == ([], "keyturn adopt app/main --from-vendor")
    act(rig, adopt, adoption=FROM_VENDOR)
    holds(rig, current(rig))
