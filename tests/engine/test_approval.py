"""An issue that the vendor takes as a request: what waits, who is drained, every decision, and every way out."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.approval_kit import DAY, NAME, PATIENCE, DeskRig, Town, adopted, asked
from engine.attack_kit import TELL, act
from engine.bridge_kit import TOKEN, Entity
from engine.ending_kit import one_round
from engine.promises import chain_is_whole, never_broken, never_lost, no_leak, no_strays
from engine.test_attended import Agenda
from keyturn.clock import iso
from keyturn.config.model import Consumer
from keyturn.engine.adoption import Adoption, adopt
from keyturn.engine.checking import check
from keyturn.engine.entry import resume
from keyturn.engine.operator import abandon
from keyturn.engine.record import events as ev
from keyturn.engine.record.summary import summarise
from keyturn.errors import RefusedError
from keyturn.model import Half
from keyturn.plugins.overlap import OverlapPolicy
from keyturn.testing.faults import Crash, CrashingJournal

API = {"way": "api"}
SIGNER = Consumer(name="signer", quiesce=TELL, release=TELL)
FAKES = {"second-key": {}, "console": API, "hashed": {}}
"""Beside the old one; in place with a value of ours; in place with one of the vendor's, which it never shows."""

each = pytest.mark.parametrize("fake", FAKES)


def waiting(folder: Path, fake: str, **more: Any) -> DeskRig:
    return asked(folder, fake, **{"account": FAKES[fake], **more})


def words(rig: DeskRig) -> list[str]:
    return [event for event, _, _ in rig.notifier.told if event != "announce"]


@each
def test_while_it_waits_nothing_is_published_and_each_run_costs_one_look(tmp_path: Path, fake: str) -> None:
    rig = waiting(tmp_path, fake)
    before = rig.desk.looks.copy()
    for _ in range(3):
        rig.clock.advance(3600.0)
        outcome = rig.run()
    assert (outcome.status, outcome.exit_code, outcome.next) == ("waiting", 6, "keyturn resume app/main")
    assert outcome.text == "ask an admin to approve it: portal, Requests"
    assert outcome.until == pytest.approx(rig.desk.requests[0].sent_at + PATIENCE)
    assert rig.desk.looks - before == {"settle": 3}
    assert (rig.current, rig.sent(), len(rig.desk.requests)) == (1, 1, 1)
    assert never_broken(rig)


def test_where_both_live_a_run_that_only_waits_journals_nothing(tmp_path: Path) -> None:
    rig = waiting(tmp_path, "second-key")
    before = len(rig.events())
    rig.clock.advance(DAY)
    rig.run()
    assert len(rig.events()) == before


@each
def test_every_round_looks_again_long_before_the_deadline(tmp_path: Path, fake: str) -> None:
    rig = waiting(tmp_path, fake, bent={"check_every_s": 60.0})
    for round_ in range(1, 4):
        rig.clock.advance(120.0)
        before = rig.desk.looks.copy()
        assert [one.status for one in one_round(rig)] == ["waiting"], round_
        assert rig.desk.looks - before == {"settle": 1}


@pytest.mark.parametrize("fake", ["second-key", "console"])
def test_once_approved_the_same_run_goes_on_to_the_end(tmp_path: Path, fake: str) -> None:
    rig = waiting(tmp_path, fake)
    rig.clock.advance(DAY)
    rig.desk.approve()
    rig.run()
    assert rig.current == 2
    assert never_broken(rig)
    rig.settle(step_s=DAY)
    assert rig.rotation.ended
    assert rig.rotation.ended.outcome == "done"
    assert (rig.sent(), len(rig.desk.requests)) == (1, 1)
    assert no_leak(rig)
    assert chain_is_whole(rig)


@pytest.mark.parametrize("trouble", ["none", "vendor down"])
def test_the_outage_counts_from_the_last_look_that_saw_the_old_version_in_force(tmp_path: Path, trouble: str) -> None:
    rig = waiting(tmp_path, "console")
    rig.clock.advance(DAY)
    rig.run()
    rig.clock.advance(200.0)
    rig.desk.approve()
    if trouble == "vendor down":
        rig.vendor.faults.add("settle", "unavailable")
        assert rig.run().status == "unfinished"
    rig.clock.advance(100.0)
    rig.run()
    assert rig.current == 2
    assert 300_000 <= rig.rotation.outage_ms <= 301_000


@each
@pytest.mark.parametrize("lost", [False, True])
def test_who_drained_for_it_goes_on_when_it_waits_and_is_not_drained_again(
    tmp_path: Path, fake: str, *, lost: bool
) -> None:
    rig = adopted(tmp_path, fake, account=FAKES[fake], consumers=(SIGNER,))
    if lost:
        rig.vendor.faults.add("issue", "after")
    assert rig.rotate().status == "waiting"
    row = summarise(rig.state()).state["rotation"]
    assert row["gap_since"] is None
    told = words(rig)
    assert told == ([] if fake == "second-key" else ["quiesce", "release"])
    rig.clock.advance(DAY)
    rig.run()
    rig.desk.approve()
    if fake != "hashed":
        rig.run()
        assert rig.current == 2
        assert "quiesce" not in words(rig)[len(told) :]


@each
def test_a_rejection_turns_back_names_who_and_is_not_asked_again_by_any_schedule(tmp_path: Path, fake: str) -> None:
    rig = waiting(tmp_path, fake)
    rig.clock.advance(DAY)
    rig.desk.reject()
    outcome = rig.run()
    assert (outcome.status, outcome.code, outcome.exit_code) == ("undone", "request-not-approved", 4)
    assert "rejected by ann: not this week" in outcome.text
    assert outcome.next == "agree on it with whoever rejected it; then: keyturn rotate app/main"
    assert never_broken(rig)
    problem = summarise(rig.state()).state["problems"][-1]
    assert (problem["code"], problem["fatal"], problem["hint"]) == ("request-not-approved", True, outcome.next)
    assert rig.sent() == 1
    assert rig.rotate().status == "waiting"
    assert summarise(rig.state()).state["problems"] == []
    assert rig.sent() == 2


@each
def test_when_nobody_decides_it_turns_back_and_says_that_the_request_is_still_open(tmp_path: Path, fake: str) -> None:
    rig = waiting(tmp_path, fake)
    rig.clock.advance(PATIENCE + 1)
    outcome = rig.run()
    assert (outcome.code, outcome.exit_code) == ("request-not-approved", 4)
    assert "the request is still open there, and may take effect late" in outcome.text
    assert outcome.next == "have the open request rejected at the vendor; then: keyturn rotate app/main"
    assert rig.sent() == 1
    assert never_broken(rig)


def test_our_value_approved_after_the_deadline_is_taken_over_from_the_escrow(tmp_path: Path) -> None:
    rig = waiting(tmp_path, "console")
    rig.clock.advance(PATIENCE + 1)
    rig.run()
    rig.desk.approve()
    assert never_lost(rig)
    rig.clock.advance(700.0)
    one_round(rig)
    problems = summarise(rig.state()).state["problems"]
    assert {"given-up-in-force", "request-not-approved"} <= {one["code"] for one in problems}
    assert problems[0]["hint"] == "keyturn adopt app/main --from-escrow"
    act(rig, adopt, adoption=Adoption(from_escrow=True))
    assert never_broken(rig)
    assert "request-not-approved" not in [one["code"] for one in summarise(rig.state()).state["problems"]]


def test_a_second_key_approved_after_the_deadline_is_named_as_an_orphan(tmp_path: Path) -> None:
    rig = waiting(tmp_path, "second-key")
    rig.clock.advance(PATIENCE + 1)
    rig.run()
    rig.desk.approve()
    found = act(rig, check, known_handles=["main-1"])  # type: ignore[arg-type]
    orphans = [one.text for one in found.problems if one.code == "unknown-at-vendor"]  # type: ignore[attr-defined]
    assert orphans == ["the vendor has what the journal does not know: main-2"]
    assert never_broken(rig)


def test_a_request_gone_from_the_list_just_before_it_takes_effect_is_no_rejection(tmp_path: Path) -> None:
    clock = Agenda()
    rig = waiting(tmp_path, "console", clock=clock)
    clock.advance(DAY)
    request = rig.desk.requests[0]
    request.said = "approved"
    clock.plan(10.0, lambda: request.apply(clock.now()))
    rig.run()
    assert rig.current == 2
    assert never_broken(rig)


def test_a_request_that_is_gone_and_changed_nothing_turns_back(tmp_path: Path) -> None:
    rig = waiting(tmp_path, "console")
    rig.clock.advance(DAY)
    rig.desk.requests.clear()
    outcome = rig.run()
    assert (outcome.code, outcome.exit_code) == ("request-not-approved", 4)
    assert "has no request for version 2 any more, and did not carry it out" in outcome.text


@each
@pytest.mark.parametrize("fault", ["after", "late:2", "hang-after"])
def test_a_lost_answer_to_the_request_is_found_and_never_sent_twice(tmp_path: Path, fake: str, fault: str) -> None:
    rig = adopted(tmp_path, fake, account=FAKES[fake])
    rig.vendor.faults.add("issue", fault)
    rig.rotate()
    rig.clock.advance(300.0)
    assert rig.run().status == "waiting"
    assert (rig.sent(), len(rig.desk.requests)) == (1, 1)
    assert never_broken(rig)


@each
def test_a_request_rejected_while_its_answer_was_lost_is_not_sent_again(tmp_path: Path, fake: str) -> None:
    rig = adopted(tmp_path, fake, account=FAKES[fake])
    rig.vendor.faults.add("issue", "crash-after")
    with pytest.raises(Crash):
        rig.rotate()
    rig.desk.reject()
    rig.clock.advance(rig.limits.lease_s + 1)
    outcome = rig.run()
    assert (outcome.code, outcome.exit_code, rig.sent()) == ("request-not-approved", 4, 1)


@pytest.mark.parametrize("fake", ["second-key", "console"])
@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.sweep), "after"])
def test_killed_at_any_journal_write_it_asks_once_and_ends_well(tmp_path: Path, fake: str, when: Any) -> None:
    for at in count(1, 1 if when == "before" else 3):
        rig = adopted(tmp_path / f"{at}", fake, account=FAKES[fake], consumers=(SIGNER,))
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, when)  # type: ignore[misc]
        died = _asked_and_approved(rig)
        rig.crash = lambda journal: journal
        where = f"{fake}, killed {when} write {at}"
        rig.clock.advance(rig.limits.lease_s + 1)
        rig.run()
        if rig.desk.open:
            assert (rig.current, rig.rotation.waiting and rig.rotation.waiting.kind) == (1, "vendor"), where
            assert words(rig)[-1:] in ([], ["release"]), where
            rig.desk.approve()
        rig.settle()
        assert len(rig.desk.requests) == (1 if rig.state().rotation else 0), where
        assert never_lost(rig), where
        assert never_broken(rig), where
        assert no_strays(rig), where
        assert chain_is_whole(rig), where
        if not died:
            break
    assert at > 15


def _asked_and_approved(rig: DeskRig) -> bool:
    """Whether it died on the way."""
    try:
        rig.rotate()
        rig.clock.advance(DAY)
        rig.run()
        rig.desk.approve()
        rig.run()
    except Crash:
        return True
    return False


@each
@pytest.mark.parametrize("compromised", [False, True])
def test_another_rotation_is_refused_while_it_waits_and_says_for_whom(
    tmp_path: Path, fake: str, *, compromised: bool
) -> None:
    rig = waiting(tmp_path, fake)
    with pytest.raises(RefusedError, match="ask an admin to approve it") as refused:
        rig.rotate(compromised=compromised, reason="leaked")
    assert refused.value.code == "rotation-in-flight"
    assert rig.sent() == 1


@each
def test_who_attends_where_nobody_has_to_sends_nothing_twice(tmp_path: Path, fake: str) -> None:
    rig = waiting(tmp_path, fake)
    shown: list[object] = []
    assert act(rig, resume, attend=shown.append).status == "waiting"
    assert (shown, rig.sent()) == ([], 1)


@each
def test_given_up_it_waits_for_the_rejection_since_an_approval_would_still_count(tmp_path: Path, fake: str) -> None:
    rig = waiting(tmp_path, fake)
    outcome = act(rig, abandon, reason="not now")
    assert (outcome.status, outcome.exit_code) == ("waiting", 6)
    assert "turns back" in outcome.text
    assert "ask an admin" in outcome.text
    rig.clock.advance(DAY)
    rig.desk.reject()
    outcome = rig.run()
    assert (outcome.code, outcome.exit_code, rig.current) == ("abandoned", 4, 1)
    assert never_broken(rig)


def test_given_up_and_never_decided_it_ends_with_the_deadline_and_says_so(tmp_path: Path) -> None:
    rig = waiting(tmp_path, "second-key")
    act(rig, abandon, reason="not now")
    rig.clock.advance(PATIENCE + 1)
    outcome = rig.run()
    assert (outcome.code, outcome.exit_code) == ("abandoned", 4)
    assert "abandoned: not now; nobody approved version 2" in outcome.text


def test_given_up_and_approved_a_second_key_is_withdrawn_and_the_current_one_named_as_what_stays(
    tmp_path: Path,
) -> None:
    rig = waiting(tmp_path, "second-key")
    act(rig, abandon, reason="not now")
    rig.desk.approve()
    outcome = rig.run()
    assert (outcome.code, outcome.exit_code) == ("abandoned", 4)
    assert [(one.handle, one.half, one.successor) for one in rig.desk.retired] == [
        ("main-2", Half.REFUSE, "main-1"),
        ("main-2", Half.REMOVE, "main-1"),
    ]
    assert no_strays(rig)


def test_given_up_and_approved_in_place_goes_forward(tmp_path: Path) -> None:
    rig = waiting(tmp_path, "console")
    act(rig, abandon, reason="not now")
    rig.desk.approve()
    rig.run()
    assert rig.current == 2
    assert never_broken(rig)


def test_what_is_retired_is_told_which_version_stays(tmp_path: Path) -> None:
    rig = waiting(tmp_path, "second-key")
    rig.desk.approve()
    rig.run()
    rig.settle()
    assert [(one.handle, one.half, one.successor) for one in rig.desk.retired] == [
        ("main-1", Half.REFUSE, "main-2"),
        ("main-1", Half.REMOVE, "main-2"),
    ]


def test_a_second_key_whose_value_nobody_has_is_withdrawn_and_asked_for_once_more(tmp_path: Path) -> None:
    rig = waiting(tmp_path, "second-key", account={"readable": False})
    rig.desk.approve()
    assert rig.run().status == "waiting"
    assert [(one.handle, one.successor) for one in rig.desk.retired] == [("main-2", "main-1")] * 2
    assert journaled(rig) == ["applied_gone", "withdraw", "reissue"]
    rig.desk.approve()
    outcome = rig.run()
    assert (outcome.status, outcome.code) == ("stuck", "value-lost-again")
    assert rig.sent() == 2
    assert never_broken(rig)


def journaled(rig: DeskRig) -> list[str]:
    """What came of a value that nobody has, in order."""
    bodies = rig.events()
    told = [
        "reissue" if isinstance(one, ev.Reissuing) else one.move if isinstance(one, ev.Moved) else one.outcome
        for one in bodies
        if isinstance(one, ev.Reissuing | ev.Moved | ev.SettledAs)
    ]
    return [one for one in told if one not in ("publish", "replace")]


def gone(folder: Path) -> DeskRig:
    """In place, the first request was approved, nobody has its value, and another one waits."""
    rig = waiting(folder, "hashed")
    rig.clock.advance(DAY)
    rig.run()
    rig.clock.advance(50.0)
    rig.desk.approve()
    assert rig.run().status == "waiting"
    return rig


def test_in_place_a_value_that_nobody_has_is_asked_for_once_more_and_the_gap_counts_from_the_first(
    tmp_path: Path,
) -> None:
    rig = gone(tmp_path)
    assert journaled(rig) == ["applied_gone", "strand", "reissue"]
    since = rig.rotation.issue_sent_at
    assert since == pytest.approx(rig.clock.now() - 50.0, abs=1)
    rig.clock.advance(600.0)
    rig.run()
    assert rig.rotation.issue_sent_at == since
    assert summarise(rig.state()).state["rotation"]["gap_since"] == since
    rig.desk.approve()
    outcome = rig.run()
    assert (outcome.status, outcome.code) == ("stuck", "value-lost-again")
    assert "keyturn rotate app/main --current-dead" in outcome.next
    assert rig.sent() == 2


def test_in_place_with_the_old_version_ended_a_rejection_is_stuck_and_only_a_person_asks_again(tmp_path: Path) -> None:
    rig = gone(tmp_path)
    rig.desk.reject()
    outcome = rig.run()
    assert (outcome.status, outcome.code, outcome.exit_code) == ("stuck", "request-not-approved", 5)
    assert "rejected by ann" in outcome.text
    assert outcome.next.endswith("keyturn resume app/main, which asks again")
    for _ in range(2):
        rig.clock.advance(600.0)
        assert [(one.status, one.text) for one in one_round(rig)] == [("stuck", outcome.text)]
    assert rig.sent() == 2
    assert rig.run().status == "waiting"
    assert (rig.sent(), summarise(rig.state()).status) == (3, "waiting")


def test_the_program_waits_tells_a_rejection_once_and_goes_on_when_a_person_says_so(tmp_path: Path) -> None:
    town = Town(tmp_path)
    town.clock.advance(DAY)
    ran = town.keyturn("run")
    assert (ran.code, len(town.desk.requests)) == (6, 1)
    assert town.keyturn("run", "--detailed-exitcode").code == 11
    shown = town.well("status").out
    assert f"waiting until {iso(town.desk.requests[0].sent_at + PATIENCE)}" in shown
    assert "waiting  issue: ask an admin to approve it: portal, Requests" in shown
    assert "next: keyturn resume portal/app\n" in shown
    town.desk.reject()
    assert town.keyturn("run").code == 4
    for _ in range(3):
        town.clock.advance(DAY)
        ran = town.keyturn("run")
        assert ran.code == 8
        assert "rejected by ann: not this week" in ran.said
        assert "next: agree on it with whoever rejected it; then: keyturn rotate portal/app" in ran.said
    assert len(town.desk.requests) == 1
    assert len([line for line in town.alerts if "request-not-approved" in line]) == 1
    assert "agree on it with whoever rejected it; then: keyturn rotate portal/app" in town.well("status").out
    assert town.keyturn("rotate", NAME, "--yes").code == 6
    town.desk.approve()
    assert town.keyturn("run").code == 0
    town.clock.advance(7200.0)
    assert town.well("run").code == 0
    assert town.row(NAME).state["problems"] == []
    assert (len(town.desk.requests), [one.handle for one in town.desk.retired]) == (2, ["main-1", "main-1"])


class Bridged(DeskRig, Entity):
    """An entity secret with a token of its own, at a vendor with a work-flow."""


def test_what_is_derived_is_not_renewed_by_each_run_that_waits(tmp_path: Path) -> None:
    policy = OverlapPolicy(accept_outage_s=60.0, bridge=(TOKEN,))
    rig = Bridged(folder=tmp_path, fake="grace", policy=policy, consumers=(SIGNER,))
    rig.begin()
    assert rig.rotate().status == "waiting"
    renewed = rig.token_number()
    for _ in range(2):
        rig.clock.advance(3600.0)
        assert rig.run().status == "waiting"
    assert (rig.token_number(), rig.token_works()) == (renewed, True)
