"""Holes found by attack: each of these fails on the code that it was written against."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from engine.attack_kit import adopted, current
from engine.outside_kit import EXPIRED, LAG, WEEK, Watched, lagging
from engine.short_kit import DAY
from engine.test_outside_rotations import newest
from keyturn.engine.checking import look
from keyturn.engine.rounds import scan
from keyturn.errors import RefusedError
from keyturn.model import Mode
from keyturn.schedule import RotatePolicy
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig


class Deaf:
    """A provider whose inspect does not come back in time."""

    def __init__(self) -> None:
        self.heard = threading.Event()

    def inspect(self, _request: object, /) -> None:
        """Hangs."""
        self.heard.wait(30)


# A read that lags


def test_a_lost_reset_soon_after_another_one_is_not_taken_for_done_with_the_value_that_it_should_have_ended(
    tmp_path: Path,
) -> None:
    rig, vendor = lagging(tmp_path)
    rig.with_limits(patience_s=0.0)
    assert rig.rotate().status == "done"
    leaked = newest(rig)
    vendor.read_lag_s = LAG
    vendor.faults.add("issue", "before")
    rig.rotate(compromised=True, reason="leaked")
    rig.clock.advance(LAG)
    vendor.read_lag_s = 0.0
    rig.settle()
    assert newest(rig) != leaked, "the leaked value is still what the vendor accepts"
    assert rig.served() != [leaked] * 2


def test_an_empty_read_is_no_witness_so_that_a_lost_reset_is_not_done_with_the_old_value(tmp_path: Path) -> None:
    rig, vendor = lagging(tmp_path)
    old = newest(rig)
    vendor.blank = True
    rig.with_limits(patience_s=0.0)
    vendor.faults.add("issue", "before")
    try:
        rig.rotate()
    except RefusedError:
        return  # as good
    vendor.blank = False
    rig.clock.advance(LAG)
    rig.settle()
    assert current(rig) == 1 or newest(rig) != old


# A reset by somebody else between the beginning of a rotation and its issue


def test_a_dead_current_version_ends_nothing_that_somebody_made_while_the_rotation_waited(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    rig.vendor.credentials[-1].end(rig.clock.now())
    rig.with_limits(patience_s=0.0)
    rig.vendor.faults.add("issue", "unavailable", times=9)
    rig.rotate(mode=Mode.CURRENT_DEAD, reason="refused")
    sent = len(rig.vendor.log)
    rig.vendor.faults.clear()
    rig.clock.advance(3600)
    rig.vendor.seed()
    rig.settle()
    assert len(rig.vendor.log) == sent, "a reset that ended what somebody made on the portal"


def test_a_first_rotation_ends_nothing_that_somebody_made_while_it_waited(tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path, fake="grace")
    rig.with_limits(patience_s=0.0)
    rig.vendor.faults.add("issue", "unavailable", times=9)
    rig.rotate(mode=Mode.FIRST)
    sent = len(rig.vendor.log)
    rig.vendor.faults.clear()
    rig.clock.advance(3600)
    rig.vendor.seed()
    rig.settle()
    assert len(rig.vendor.log) == sent, "a reset that ended what somebody made on the portal"


def test_a_second_try_after_a_lost_one_ends_nothing_that_somebody_made_in_between(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    rig.with_limits(patience_s=0.0)
    rig.vendor.faults.add("issue", "before")
    rig.rotate()
    rig.clock.advance(100)
    rig.crash = lambda journal: CrashingJournal(journal, 1)
    with pytest.raises(Crash):
        rig.run()  # found `not applied`, and died
    rig.crash = lambda journal: journal
    rotation = rig.state().rotation
    assert rotation is not None
    assert [one.settled for one in rotation.attempts] == ["not_applied"]
    rig.clock.advance(3600)
    rig.vendor.seed()
    rig.settle()
    assert len(rig.vendor.log) == 1, "a reset that ended what somebody made on the portal"


# What people and consumers are told, and when


def test_a_process_whose_look_outlived_its_deadline_leaves_that_secret_alone(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    rig.clock.advance(DAY)
    rig.with_limits(call_s=0.2)
    bench, deaf = rig.bench(), Deaf()
    job = rig.job(bench)
    look(bench, replace(job, provider=deaf, traits=replace(job.traits, check_every_s=1.0)))
    deaf.heard.set()
    bench.journal.close()
    assert bench.left_alone == {"app/main"}


def test_a_problem_that_comes_back_months_after_it_was_solved_is_alerted_again(tmp_path: Path) -> None:
    town = Watched(folder=tmp_path)
    for months in (1, 2):
        town.clock.advance(30 * DAY)
        town.vendor.problems = (EXPIRED,)
        assert town.keyturn("run").code == 8
        town.vendor.problems = ()
        town.clock.advance(DAY)
        assert town.keyturn("run").code == 0
        assert [what for what, _ in town.alerts] == ["problem"] * months


def test_what_is_due_comes_before_looks_that_can_wait(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    rig.clock.advance(400 * DAY)
    bench = rig.bench()
    job = rig.job(bench)
    row = bench.journal.summaries()["app/main"]
    bench.journal.close()
    watched = replace(job.traits, check_every_s=WEEK)
    idle = replace(job, secret=replace(job.secret, name="a"), traits=watched)
    due = replace(job, secret=replace(job.secret, name="b", rotate=RotatePolicy(every_s=DAY)))
    work = scan([idle, due], {"a": replace(row, secret="a"), "b": replace(row, secret="b")}, rig.clock.now())
    assert [(one.name, one.what) for one in work] == [("b", "rotate"), ("a", "check")]


def test_a_due_rotation_that_the_vendor_refuses_is_not_asked_for_again_every_minute(tmp_path: Path) -> None:
    town = Watched(folder=tmp_path)
    town.clock.advance(345 * DAY + 60)
    town.vendor.problems = (EXPIRED,)
    looks = town.vendor.looks
    for _ in range(60):
        town.keyturn("run")
        town.clock.advance(60)
    assert town.vendor.looks - looks <= 12, "a login with a wrong password once a minute may lock the account"
