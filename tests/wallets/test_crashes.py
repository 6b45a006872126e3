"""Killed before or after any journal write of a rotation, a reset or a registration: nothing is lost, not even the
recovery file, since the vendor's answer is sealed before it is read."""

from __future__ import annotations

import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal

import pytest

from keyturn.cli.estate import Wiring
from keyturn.clock import SystemClock
from keyturn.testing.faults import Crash, CrashingJournal

from .endings import ATTENTION, VERBS, act, in_order, kept, repaired, runs, team
from .wallets import SECRET, Wallets

pytestmark = pytest.mark.sweep
WHENS = ("before", "after")
WRITES_MIN = 10


def made_good(one: Wallets, verb: str, where: str) -> None:
    """What was begun is ended by the schedule alone; what had not begun can be begun. One change at most."""
    if not one.accepted():
        assert one.commits() == [] or verb == "reset", where
        assert act(one, verb).code == 0, where
    assert changed_by_us(one) == 1 or verb == "rotate", where
    assert changed_by_us(one) <= 1, where
    assert one.accepted(), where


def changed_by_us(one: Wallets) -> int:
    return len([commit for commit in one.commits() if commit["by"] == "api"])


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_any_journal_write_the_schedule_ends_it_with_one_change_and_its_file(
    tmp_path: Path, verb: str, when: Literal["before", "after"]
) -> None:
    """Only who dies between the vendor's answer and its seal has lost the file, and that is said and repaired."""
    fileless = []
    for at in count(1):
        with team(tmp_path / f"{at}", verb) as one:
            died = False
            try:
                act(one, verb, Wiring(clock=one.clock, journal=partial(CrashingJournal, at=at, when=when)))
            except Crash:
                died = True
            where = f"killed {when} write {at}"
            assert kept(one), f"{where}: promise P1"
            runs(one)
            made_good(one, verb, where)
            if not one.sim.recovery_file_is(one.custody()):
                fileless.append(at)
                repaired(one)
        if not died:
            break
    assert at > WRITES_MIN
    assert len(fileless) == (1 if when == "before" else 0), fileless


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_any_journal_write_after_a_lost_answer_the_file_is_missing_and_made_anew(
    tmp_path: Path, verb: str, when: Literal["before", "after"]
) -> None:
    for at in count(1):
        with team(tmp_path / f"{at}", verb) as one:
            one.sim.fault(verb, "reset-after")
            died = False
            try:
                act(one, verb, Wiring(clock=one.clock, journal=partial(CrashingJournal, at=at, when=when)))
            except Crash:
                died = True
            where = f"killed {when} write {at}"
            assert kept(one), f"{where}: promise P1"
            runs(one)
            if not one.accepted():
                assert act(one, verb).code == ATTENTION, where
            assert changed_by_us(one) <= 1, where
            in_order(one)
        if not died:
            break
    assert at > WRITES_MIN


@pytest.mark.parametrize("verb", VERBS)
def test_the_real_program_killed_with_sigkill_after_any_journal_write_loses_nothing(tmp_path: Path, verb: str) -> None:
    crash = [sys.executable, "-m", "keyturn.testing.crash"]
    quick = {"limits": {"call": "3s", "lease": "5s"}}
    account = {"settle": "3s"}
    for at in count(1):
        with team(tmp_path / f"{at}", verb, clock=SystemClock(), more=quick, account=account) as one:
            one.sim.switch(rate_limit=0)  # every command is a process of its own
            with one.start(*VERBS[verb], program=[*crash, str(at), "after"]) as child:
                _, err = child.communicate(timeout=60)
            where = f"killed after write {at}: {err}"
            assert child.returncode in (0, -9), where
            assert kept(one), f"{where}: promise P1"
            for _ in range(3):
                with one.start("run") as again:
                    again.communicate(timeout=60)
            made_good(one, verb, where)
            in_order(one)
            assert one.row(SECRET).status == "current", where
        if child.returncode == 0 and at > WRITES_MIN:
            break
