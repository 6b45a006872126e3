"""In place, with values that the vendor never shows again: the answer is the only copy, and may be lost."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.promises import never_lost
from engine.test_crashes import end_is_good
from keyturn.engine.record import events as ev
from keyturn.journal import open_journal
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig


def adopted(folder: Path) -> Rig:
    folder.mkdir(exist_ok=True)
    rig = Rig(folder=folder, fake="hashed")
    rig.adopt()
    return rig


def journaled(rig: Rig) -> list[str]:
    """What the journal says of issues, in order."""
    journal = open_journal(rig.settings, clock=rig.clock, runner="reader", operator="reader")
    try:
        bodies = [ev.body(one) for one in journal.events("app/main")]
    finally:
        journal.close()
    sent = ["sent" for one in bodies if isinstance(one, ev.Sent) and one.verb == "issue"]
    settled = [one.outcome for one in bodies if isinstance(one, ev.SettledAs)]
    return sent + settled + ["reissue" for one in bodies if isinstance(one, ev.Reissuing)]


def test_a_lost_value_is_made_anew_once_and_the_outage_counts_from_the_first_issue(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    began = rig.clock.now()
    rig.vendor.faults.add("issue", "after")
    rig.rotate()
    rig.settle()
    rotation = rig.state().rotation
    assert rotation
    assert rotation.promoted_at
    assert rotation.outage_ms == round((rotation.promoted_at - began) * 1000)
    assert journaled(rig) == ["sent", "sent", "applied_gone", "reissue"]
    end_is_good(rig, "hashed")


def test_while_the_second_one_is_looked_for_the_outage_goes_on_counting_from_the_first(tmp_path: Path) -> None:
    """What shows no second change yet is no old version in force: the first one ended that."""
    rig = adopted(tmp_path)
    began = rig.clock.now()
    rig.vendor.faults.add("issue", "late:10", times=2)
    rig.rotate()
    rotation = rig.state().rotation
    assert rotation
    assert rotation.reissues == 1
    assert rotation.issue_sent_at is not None
    assert began <= rotation.issue_sent_at <= began + 10


@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.sweep), "after"])
def test_killed_at_any_journal_write_after_a_loss_it_is_made_anew_once_at_most(tmp_path: Path, when: Any) -> None:
    """Who dies with the second answer in hand before it is sealed has lost both: a person is told what helps."""
    ends = set()
    for at in count(1, 1 if when == "before" else 3):
        rig = adopted(tmp_path / f"{at}")
        rig.vendor.faults.add("issue", "after")
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, when)  # type: ignore[misc]
        died = _rotated(rig)
        rig.crash = lambda journal: journal
        where = f"killed {when} write {at}"
        assert never_lost(rig), where
        rig.clock.advance(rig.limits.lease_s + 1)
        code = rig.settle().code
        told = journaled(rig)
        assert told.count("sent") <= 2 + told.count("not_applied"), where
        assert told.count("reissue") <= 1, where
        if code != "value-lost-again":
            end_is_good(rig, where)
        ends.add(code)
        if not died:
            break
    assert at > 15
    assert ends <= {"", "value-lost-again"}


def _rotated(rig: Rig) -> bool:
    """Whether it died on the way."""
    try:
        rig.rotate()
        rig.clock.advance(200.0)
        rig.run()
    except Crash:
        return True
    return False


def test_a_value_lost_twice_is_stuck_with_a_way_out_that_helps(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.vendor.faults.add("issue", "after", times=2)
    rig.rotate()
    rig.clock.advance(200.0)
    outcome = rig.run()
    assert (outcome.status, outcome.code, outcome.exit_code) == ("stuck", "value-lost-again", 5)
    assert "keyturn rotate app/main --current-dead --reason TEXT" in outcome.next
    assert journaled(rig) == ["sent", "sent", "applied_gone", "applied_gone", "reissue"]
    for _ in range(3):
        rig.clock.advance(600.0)
        rig.run()
    assert journaled(rig) == ["sent", "sent", "applied_gone", "applied_gone", "reissue"]
