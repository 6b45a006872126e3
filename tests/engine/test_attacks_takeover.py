"""Attacks on adoption in place of another version, and on what it owes: each one here was tried, and held."""

from __future__ import annotations

import contextlib
import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.attack_kit import TELL, act, adopted, current, numbers
from engine.outside_kit import LAG, lagging
from engine.promises import never_broken
from engine.short_kit import DAY
from engine.test_outside_rotations import FROM_VENDOR, holds, newest
from keyturn.config.model import Consumer
from keyturn.engine.adoption import adopt
from keyturn.engine.operator import drop
from keyturn.engine.record.receipt import debts
from keyturn.errors import KeyturnError, NotSent, RefusedError
from keyturn.model import Mode
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig

CONSUMERS = (Consumer(name="gate", announce=TELL),)


# A read, or an endpoint, that lags


def test_adoption_from_a_read_that_lags_does_not_put_back_what_our_own_rotation_ended(tmp_path: Path) -> None:
    rig, vendor = lagging(tmp_path, grace_max_s=LAG, lives=LAG)
    assert rig.rotate().status == "holding"
    good = rig.served()
    vendor.read_lag_s = LAG
    with pytest.raises(RefusedError):
        act(rig, adopt, adoption=FROM_VENDOR)
    vendor.read_lag_s = 0.0
    rig.clock.advance(LAG + 1)
    assert (current(rig), rig.served()) == (2, good)
    assert never_broken(rig)


def test_where_the_endpoint_hears_late_no_printed_command_ends_the_good_new_value(tmp_path: Path) -> None:
    rig, vendor = lagging(tmp_path)
    vendor.endpoints["iam"].lag_s = LAG
    stuck = rig.rotate()
    assert stuck.status in ("stuck", "unfinished"), stuck
    hint = stuck.next
    if "adopt" in stuck.next:
        with pytest.raises(KeyturnError) as caught:
            act(rig, adopt, adoption=FROM_VENDOR)
        hint = caught.value.hint
    assert "keyturn rotate" not in hint, "that ends a value which is good in a moment"


# One place in trouble


def owing(folder: Path, **more: Any) -> Rig:
    """Version 2 was adopted while `near` was down: it owes it."""
    rig = adopted(folder, fake="grace", **more)
    rig.vendor.seed()
    rig.stores["near"].faults.add("inspect", "unavailable", times=2)
    with pytest.raises(KeyturnError):
        act(rig, adopt, adoption=FROM_VENDOR)
    assert rig.state().unserved == {"near:app/main"}
    return rig


def test_a_place_that_owes_an_adopted_version_and_is_down_keeps_no_rotation_from_going_on(tmp_path: Path) -> None:
    rig = owing(tmp_path)
    rig.with_limits(patience_s=0.0)
    rig.vendor.faults.add("issue", "after")
    rig.vendor.faults.add("settle", "unavailable", times=9)
    rig.rotate(mode=Mode.CURRENT_DEAD, reason="told")
    rig.vendor.faults.clear()
    rig.stores["near"].faults.add("inspect", "unavailable", times=99)
    rig.clock.advance(200)
    for _ in range(3):
        with contextlib.suppress(KeyturnError):
            rig.run()
    assert rig.stores["far"].serves("app/main") == newest(rig), "near is down, and far is kept from the new value"


def test_a_place_owes_no_adopted_version_any_more_once_it_serves_a_later_one(tmp_path: Path) -> None:
    rig = owing(tmp_path)
    assert rig.rotate(mode=Mode.CURRENT_DEAD, reason="told").status == "done"
    assert rig.served() == [newest(rig)] * 2
    assert rig.state().unserved == frozenset()
    rig.stores["near"].faults.add("inspect", "unavailable", times=9)
    assert rig.run().text == "nothing is in flight"


def test_an_older_copy_of_the_journal_adopts_nothing(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    shutil.copy(tmp_path / "journal.db", tmp_path / "backup.db")
    assert rig.rotate().status == "done"
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", tmp_path / "journal.db")
    with pytest.raises(RefusedError) as caught:
        rig.rotate(force=True, reason="again")
    assert (caught.value.code, "--from-vendor" in caught.value.hint) == ("journal-behind", False)
    before = rig.state().seq
    with pytest.raises(RefusedError) as caught:
        act(rig, adopt, adoption=FROM_VENDOR)
    assert (caught.value.code, rig.state().seq) == ("journal-behind", before)


def test_a_place_gets_the_adopted_version_while_a_rotation_can_not_publish_yet(tmp_path: Path) -> None:
    rig = owing(tmp_path)
    rig.with_limits(patience_s=0.0)
    rig.vendor.faults.add("issue", "unavailable", times=99)
    rig.rotate(mode=Mode.CURRENT_DEAD, reason="told")
    assert rig.run().status == "unfinished"
    assert rig.served() == [newest(rig)] * 2
    assert rig.state().unserved == frozenset()


# Who is told


def test_consumers_are_told_of_a_take_over_also_where_one_place_was_down_and_the_next_run_finished_it(
    tmp_path: Path,
) -> None:
    rig = owing(tmp_path, consumers=CONSUMERS)
    assert rig.run().text == "repaired: near:app/main"
    rig.run()
    assert ("announce", "gate", 2) in rig.notifier.told


def test_consumers_are_told_of_a_take_over_though_the_process_died_right_after_it(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace", consumers=CONSUMERS)
    rig.vendor.seed()
    rig.stores["far"].faults.add("promote", "crash-after")
    with pytest.raises(Crash):
        act(rig, adopt, adoption=FROM_VENDOR)
    rig.clock.advance(rig.limits.lease_s + 1)
    act(rig, adopt, adoption=FROM_VENDOR)
    rig.run()
    assert rig.served() == [newest(rig)] * 2
    assert ("announce", "gate", 2) in rig.notifier.told


def test_a_consumer_that_did_not_hear_of_a_take_over_is_told_by_a_later_run(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace", consumers=CONSUMERS)
    rig.vendor.seed()
    rig.notifier.plan["announce", "gate"] = [NotSent("down", code="down")]
    assert "not told: gate" in act(rig, adopt, adoption=FROM_VENDOR).text
    rig.notifier.told.clear()
    rig.run()
    assert ("announce", "gate", 2) in rig.notifier.told


@pytest.mark.parametrize("when", ["before", "after"])
def test_consumers_are_told_though_the_take_over_was_killed_at_any_journal_write(tmp_path: Path, when: Any) -> None:
    for at in count(1):
        (tmp_path / f"{at}").mkdir()
        rig = adopted(tmp_path / f"{at}", fake="grace", consumers=CONSUMERS)
        rig.vendor.seed()
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, when)  # type: ignore[misc]
        died = False
        try:
            act(rig, adopt, adoption=FROM_VENDOR)
        except Crash:
            died = True
        rig.crash = lambda journal: journal
        rig.clock.advance(rig.limits.lease_s + 1)
        if current(rig) == 1:
            act(rig, adopt, adoption=FROM_VENDOR)
        assert rig.run().status == "quiet"
        assert ("announce", "gate", 2) in rig.notifier.told
        assert debts(rig.state()) == ()
        if not died:
            break
    assert at > 4


def deaf(folder: Path) -> Rig:
    """Version 2 was adopted, and `gate` was not told: it does not answer."""
    rig = adopted(folder, fake="grace", consumers=CONSUMERS)
    rig.vendor.seed()
    rig.notifier.plan["announce", "gate"] = [NotSent("down", code="down") for _ in range(9)]
    assert "not told: gate" in act(rig, adopt, adoption=FROM_VENDOR).text
    return rig


def test_an_announcement_that_is_owed_is_told_of_asked_again_by_each_run_and_by_the_same_command(
    tmp_path: Path,
) -> None:
    rig = deaf(tmp_path)
    ran = rig.run()
    assert (ran.exit_code, ran.text, ran.next) == (6, "not told of version 2: gate (down)", "keyturn resume app/main")
    assert "not told: gate" in act(rig, adopt, adoption=FROM_VENDOR).text
    assert [(one.kind, one.number, one.where) for one in debts(rig.state())] == [("announce", 2, "gate")]
    rig.notifier.plan.clear()
    assert rig.run().text == "nothing is in flight"
    told = len(rig.notifier.told)
    rig.run()
    act(rig, adopt, adoption=FROM_VENDOR)
    assert (len(rig.notifier.told), debts(rig.state())) == (told, ())


@pytest.mark.parametrize("way", ["drop", "configuration", "rotation"])
def test_an_announcement_that_never_works_is_owed_no_more_after(tmp_path: Path, way: str) -> None:
    rig = deaf(tmp_path)
    if way == "drop":
        act(rig, drop, what="gate", reason="gone")
    elif way == "configuration":
        rig.consumers = ()
    else:
        rig.notifier.plan.clear()
        assert rig.rotate().status == "done"
    assert rig.run().text == "nothing is in flight"
    assert debts(rig.state()) == ()


# A replaced version that the vendor still accepts


def lingering(folder: Path) -> Rig:
    """Version 2 is ours by a rotation, and leaked; somebody reset the secret, and the vendor gives a grace."""
    rig = Rig(folder=folder, fake="grace", account={"grace_max_s": 5 * DAY, "lives": 5 * DAY})
    rig.adopt()
    rig.rotate()
    rig.clock.advance(6 * DAY)
    rig.settle()
    assert numbers(rig) == {1: "retired", 2: "current"}
    rig.vendor.seed()
    return rig


def test_a_version_that_is_accepted_at_the_take_over_stays_in_sight_and_is_asked_for_until_it_ends(
    tmp_path: Path,
) -> None:
    rig = lingering(tmp_path)
    act(rig, adopt, adoption=FROM_VENDOR)
    old = next(v for v in rig.state().versions.values() if v.number == 2)
    until = rig.clock.now() + 5 * DAY
    assert [(p.verdict, p.until) for p in old.proofs.values()] == [("accepted", until)]
    assert numbers(rig) == {1: "retired", 2: "previous", 3: "current"}
    ran = rig.run()
    assert (ran.status, "version 2 is still accepted by the vendor" in ran.text) == ("holding", True)
    rig.clock.advance(5 * DAY + 1)
    rig.settle()
    old = next(v for v in rig.state().versions.values() if v.number == 2)
    assert (old.state.value, [p.verdict for p in old.proofs.values()]) == ("retired", ["dead"])
    holds(rig, 3)


def test_a_version_that_is_accepted_at_the_take_over_keeps_no_rotation_from_its_time(tmp_path: Path) -> None:
    rig = lingering(tmp_path)
    act(rig, adopt, adoption=FROM_VENDOR)
    rig.rotate()
    rig.clock.advance(6 * DAY)
    rig.settle()
    assert numbers(rig) == {1: "retired", 2: "retired", 3: "retired", 4: "current"}
    holds(rig, 4)
