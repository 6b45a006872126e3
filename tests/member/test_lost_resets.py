"""A reset whose answer was lost, cut or late, or never reached the escrow: found by `read`, and never sent twice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest

from keyturn.cli.estate import Wiring
from keyturn.clock import SystemClock
from keyturn.testing.faults import Crash, CrashingJournal

from .member import ENTITY, TOKEN, Member, member

LONE: dict[str, Any] = {ENTITY: {}, TOKEN: None}
REASON = ("--force", "--reason", "test", "--yes")
COMMITTED = ["timeout-after", "reset-after", "502-after:html", "504-after:html", "500-after:empty"]
CUT = ["cut-json", "bad-length", "bad-utf8"]
UNTOUCHED = ["timeout-before", "reset-before", "500:empty", "502:html", "429:30"]
ENDED = (0, 8)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Member]:
    with member(tmp_path / "member", secrets=LONE) as built:
        built.begin()
        yield built


def recovered(one: Member, *, old: dict[str, str]) -> None:
    """All is well: consumers read what the vendor accepts, which is new; one reset was carried out; nothing leaked."""
    assert one.accepted(), "promise P2"
    assert one.served() == one.sim.current()
    assert one.served() != old
    assert len(one.resets) == 1, "one reset for one intended rotation"
    assert one.row().status == "current"
    never_told(one)


def never_told(one: Member) -> None:
    """Promise P4: no secret in anything that was said or journaled."""
    texts = [*one.said, (one.folder / "state/journal.db").read_bytes().decode(errors="replace"), *one.alerts]
    values = [version.value for version in one.sim.world.entities["fiu-demo"].versions]
    assert not [value for value in values for text in texts if value in text]


def finish(one: Member) -> int:
    """Runs until one has nothing left to do; its exit code."""
    for _ in range(5):
        code = one.keyturn("run").code
        if code in ENDED and one.row().status in ("current", "holding"):
            return code
        one.clock.advance(200)
    return code


@pytest.mark.parametrize("how", [*COMMITTED, *CUT])
def test_a_committed_reset_whose_answer_was_lost_is_found_by_read_within_the_same_command(
    one: Member, how: str
) -> None:
    old = one.served()
    one.sim.fault("reset", how)
    ran = one.keyturn("rotate", ENTITY, *REASON)
    assert ran.code == 0, ran.said
    recovered(one, old=old)


@pytest.mark.parametrize("how", UNTOUCHED)
def test_a_reset_that_was_not_carried_out_is_sent_once_more_and_only_once_that_is_certain(
    one: Member, how: str
) -> None:
    old = one.served()
    one.sim.fault("reset", how)
    one.keyturn("rotate", ENTITY, *REASON)
    finish(one)
    recovered(one, old=old)


@pytest.mark.parametrize("late_s", [1, 60, 119])
def test_a_reset_that_commits_late_is_waited_for_and_not_sent_again(tmp_path: Path, late_s: int) -> None:
    account = {"settle": "120s", "settle_every": "24s"}
    with member(tmp_path / "member", secrets=LONE, account=account) as one:
        one.begin()
        old = one.served()
        one.sim.fault("reset", f"late:{late_s}")
        ran = one.keyturn("rotate", ENTITY, *REASON)
        finish(one)
        recovered(one, old=old)
        reads = [entry for entry in one.sim.log if entry["event"] == "attempt" and entry["on"] == "read"]
        assert len(reads) <= 12, ran.said


def test_while_nobody_answers_after_the_reset_nothing_is_sent_again_and_the_first_answer_settles_it(
    one: Member,
) -> None:
    old = one.served()
    one.sim.fault("reset", "timeout-after")
    one.sim.switch(down="after-reset")
    ran = one.keyturn("rotate", ENTITY, *REASON)
    assert ran.code == 6, ran.said
    assert one.served() == old, "no consumer is changed"
    assert one.keyturn("run").code == 6
    one.sim.switch(down="")
    finish(one)
    recovered(one, old=old)


def test_a_lagging_copy_behind_read_does_not_make_a_committed_reset_look_lost(tmp_path: Path) -> None:
    account = {"settle": "120s", "settle_every": "24s"}
    with member(tmp_path / "member", secrets=LONE, account=account) as one:
        one.begin()
        old = one.served()
        one.sim.switch(read_lag_s=60.0)
        one.sim.fault("reset", "reset-after")
        one.keyturn("rotate", ENTITY, *REASON)
        finish(one)
        recovered(one, old=old)


@pytest.mark.parametrize("answers", ["missing", "empty"])
def test_an_answer_without_a_secret_is_looked_behind(one: Member, answers: str) -> None:
    old = one.served()
    one.sim.switch(reset_answers=answers)
    one.keyturn("rotate", ENTITY, *REASON)
    finish(one)
    recovered(one, old=old)


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_journal_write_the_next_run_ends_it_with_one_reset(
    tmp_path: Path, when: Literal["before", "after"]
) -> None:
    for at in count(1):
        with member(tmp_path / f"{at}", secrets=LONE) as one:
            one.begin()
            old = one.served()
            wiring = Wiring(clock=one.clock, journal=partial(CrashingJournal, at=at, when=when))
            died = False
            try:
                one.keyturn("rotate", ENTITY, *REASON, wiring=wiring)
            except Crash:
                died = True
            where = f"killed {when} write {at}"
            assert one.sim.accepts(one.served()) or one.sim.current() != old, f"{where}: promise P1"
            one.clock.advance(100)
            finish(one)
            assert one.accepted(), where
            assert one.served() == one.sim.current(), where
            assert len(one.resets) <= 1, where
            never_told(one)
        if not died:
            break
    assert at > 10


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_real_program_killed_with_sigkill_at_any_journal_write_loses_nothing(tmp_path: Path, when: str) -> None:
    crash = [sys.executable, "-m", "keyturn.testing.crash"]
    for at in count(1):
        quick = {"limits": {"call": "3s", "lease": "5s"}}
        with member(tmp_path / f"{at}", clock=SystemClock(), secrets=LONE, more=quick) as one:
            one.begin()
            old = one.served()
            with one.start("rotate", ENTITY, *REASON, program=[*crash, str(at), when]) as child:
                _, err = child.communicate(timeout=60)
            where = f"killed {when} write {at}: {err}"
            assert child.returncode in (0, -9), where
            assert one.sim.accepts(one.served()) or one.sim.current() != old, f"{where}: promise P1"
            for _ in range(3):
                with one.start("run") as child:
                    child.communicate(timeout=60)
            assert one.accepted(), where
            assert one.served() == one.sim.current(), where
            assert len(one.resets) <= 1, where
        if child.returncode == 0 and at > 10:
            break


def test_a_read_that_fails_right_before_the_reset_holds_the_reset_back(one: Member) -> None:
    """Without what was there before, nobody could tell later what became of a lost answer."""
    old = one.served()
    one.sim.fault("read", "503:html", skip=1, times=3)
    one.sim.fault("reset", "504-after:html")
    ran = one.keyturn("rotate", ENTITY, *REASON)
    assert (ran.code, one.resets) == (6, []), ran.said
    finish(one)
    recovered(one, old=old)
