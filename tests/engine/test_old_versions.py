"""Old versions that end without a call of ours: a grace that nothing relies on, and an expiry of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.promises import never_broken, never_lost, sealed_values
from engine.test_crashes import end_is_good
from keyturn.cli.looking.status import judge, lines
from keyturn.cli.progress import said
from keyturn.clock import iso
from keyturn.engine.entry import Ask, rollback
from keyturn.engine.operator import abandon
from keyturn.engine.record import events as ev
from keyturn.engine.record.receipt import debts
from keyturn.engine.record.state import VersionState
from keyturn.engine.record.summary import summarise
from keyturn.errors import RefusedError
from keyturn.journal import open_journal
from keyturn.journal.store import Event
from keyturn.model import Mode
from keyturn.states import State
from keyturn.testing.rig import Rig

MAX_S = 5 * 86_400.0
DAY_S = 86_400.0


def adopted(tmp_path: Path, fake: str = "grace", **account: Any) -> Rig:
    rig = Rig(folder=tmp_path, fake=fake, account=account)
    rig.adopt()
    return rig


def observing(tmp_path: Path, lives: float, **account: Any) -> Rig:
    """A vendor that is declared to end the old value at once, and may go on accepting it."""
    return adopted(tmp_path, grace_max_s=MAX_S, lives=lives, **account)


def version(rig: Rig, number: int) -> VersionState:
    return next(one for one in rig.state().versions.values() if one.number == number)


def verdicts(rig: Rig, number: int) -> list[str]:
    return [proof.verdict for proof in version(rig, number).proofs.values()]


def looks(rig: Rig) -> int:
    return sum(rig.vendor.probes.values())


# A grace that nothing relies on


def test_an_old_value_that_died_at_once_is_proven_dead_in_the_same_run(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=0)
    outcome = rig.rotate()
    assert (outcome.status, verdicts(rig, 1)) == ("done", ["dead"])
    assert outcome.ended
    assert (outcome.ended.retired, outcome.ended.old_refused) == (True, True)


def test_an_old_value_that_is_still_accepted_stays_alive_on_record_and_is_held_for(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=MAX_S - DAY_S, message="expired and within the grace period")
    published_at = rig.clock.now()
    outcome = rig.rotate()
    assert outcome.status == "holding"
    assert "version 1 is still accepted by the vendor (200, with the message: expired and within" in outcome.text
    assert outcome.until is not None
    assert published_at + MAX_S <= outcome.until <= published_at + MAX_S + 60
    assert (version(rig, 1).state, verdicts(rig, 1)) == (State.PREVIOUS, ["accepted"])
    [seen] = [one for one in summarise(rig.state()).state["versions"] if one["number"] == 1]
    assert [(one["verdict"], one["until"]) for one in seen["observed"]] == [("accepted", outcome.until)]
    assert never_broken(rig)


def test_status_and_history_say_that_it_is_accepted_how_and_until_when(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=MAX_S - DAY_S, message="within the grace period")
    outcome = rig.rotate()
    assert outcome.until is not None
    until = f"until {iso(outcome.until)} at most"
    row = summarise(rig.state())
    standing = judge("app/main", row, None, None, rig.clock.now())
    [line] = [one for one in lines(standing) if "version 1 (previous)" in one]
    assert "still accepted at iam 20" in line
    assert line.endswith(f"(200, with the message: within the grace period), {until}")
    assert standing.status == "holding"
    [told] = [said(ev.body(event)) for event in journaled(rig) if event.type == "endpoint.proved"]
    assert told == f"prove: still accepted at iam: 200, with the message: within the grace period, {until}"


def journaled(rig: Rig) -> list[Event]:
    journal = open_journal(rig.settings, clock=rig.clock, runner="reader", operator="reader")
    try:
        return journal.events("app/main")
    finally:
        journal.close()


def test_it_is_looked_at_again_soon_then_seldom_and_is_dead_once_the_vendor_ended_it(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=MAX_S - DAY_S)
    published_at = rig.clock.now()
    rig.rotate()
    ages = []
    while rig.state().rotation and not rig.state().rotation.ended:  # type: ignore[union-attr]
        next_at = summarise(rig.state()).next_at
        assert next_at is not None
        ages.append(next_at - published_at)
        rig.clock.advance(next_at - rig.clock.now())
        rig.run()
    assert ages[:3] == pytest.approx([60, 120, 240], abs=1)
    assert len(ages) < 15
    assert verdicts(rig, 1) == ["dead"]
    end_is_good(rig, "ended within the grace")


def test_after_the_longest_grace_one_run_finds_it_dead(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=MAX_S - DAY_S)
    rig.rotate()
    rig.clock.advance(MAX_S + 60)
    assert rig.run().status == "done"
    assert verdicts(rig, 1) == ["dead"]
    end_is_good(rig, "grace over")


def test_each_run_asks_once_and_journals_only_what_is_new(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=MAX_S - DAY_S)
    rig.rotate()
    asked, seq = looks(rig), rig.state().seq
    for _ in range(3):
        rig.clock.advance(3600)
        assert rig.run().status == "holding"
    assert looks(rig) - asked <= 3 * 2
    assert rig.state().seq - seq <= 3, "each look says no more than when the next one is"


def test_one_accepted_after_the_longest_grace_contradicts_the_vendor_and_a_person_is_told(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=MAX_S + DAY_S)
    rig.rotate()
    rig.clock.advance(MAX_S + 60)
    asked = looks(rig)
    outcome = rig.run()
    assert (outcome.status, outcome.code, verdicts(rig, 1)) == ("stuck", "old-still-accepted", ["contradicted"])
    assert "though the vendor should have ended it by now" in outcome.text
    assert outcome.next == "have the vendor end it, which offers no call for that; then: keyturn resume app/main"
    assert version(rig, 1).state is State.PREVIOUS
    assert looks(rig) - asked <= 4
    rig.clock.advance(DAY_S)
    assert rig.run().status == "done"
    end_is_good(rig, "contradicted, then ended")


def test_after_a_leak_it_says_that_the_old_value_works_and_until_when(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=MAX_S - DAY_S)
    outcome = rig.rotate(compromised=True, reason="in a log")
    assert outcome.status == "holding"
    assert outcome.text.startswith("the compromised version 1 still works: the vendor accepts it (200) until 20")
    assert outcome.text.endswith("at most, and has no call that ends it")


def test_an_endpoint_that_does_not_answer_never_makes_the_old_value_dead(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=MAX_S - DAY_S)
    rig.rotate()
    rig.vendor.endpoints["iam"].unknown_until = rig.clock.now() + 2 * MAX_S
    rig.clock.advance(MAX_S + 60)
    for _ in range(2):
        assert rig.run().status == "unfinished"
        assert (version(rig, 1).state, verdicts(rig, 1)) == (State.PREVIOUS, ["accepted"])
        rig.clock.advance(3600)
    rig.clock.advance(MAX_S)
    rig.run()
    assert verdicts(rig, 1) == ["dead"]


def test_a_value_that_nobody_can_try_is_waited_for_and_then_gone_by_contract(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=MAX_S)
    forget(rig)
    outcome = rig.rotate(mode=Mode.CURRENT_DEAD, reason="lost")
    assert (outcome.status, version(rig, 1).state) == ("holding", State.PREVIOUS)
    assert "version 1 may be accepted until" in outcome.text
    rig.clock.advance(MAX_S + 60)
    assert rig.run().status == "done"
    assert verdicts(rig, 1) == ["by-contract"]


def forget(rig: Rig) -> None:
    """Sinks and escrow lose the current value."""
    bench = rig.bench()
    current = rig.state().current
    assert current
    lease = bench.journal.acquire("app/main", bench.runner, ttl_s=60)
    bench.escrow.drop("app/main", current.id, lease=lease)
    bench.journal.release(lease)
    bench.journal.close()
    for store in rig.stores.values():
        store.foreign_write("app/main", {"entity_secret": "something else"})
        store.places.clear()


def test_the_next_rotation_need_not_wait_and_ends_all_of_them(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=MAX_S)
    rig.rotate()
    rig.clock.advance(DAY_S)
    rig.rotate(force=True, reason="again")
    assert [one.number for one in rig.state().previous] == [1, 2]
    rig.clock.advance(MAX_S - DAY_S + 60)
    rig.run()
    assert [one.number for one in rig.state().previous] == [2], "each has its own end"
    rig.clock.advance(DAY_S)
    assert rig.run().status == "done"
    end_is_good(rig, "two graces")


def test_the_receipt_of_a_superseded_rotation_says_that_the_old_value_was_accepted(tmp_path: Path) -> None:
    rig = observing(tmp_path, lives=MAX_S - DAY_S)
    rig.rotate()
    bench = rig.bench()
    ended = abandon(bench, rig.job(bench), reason="enough").ended
    assert ended
    assert (ended.published, ended.retired, ended.old_refused) == (True, False, False)
    assert [one.kind for one in debts(rig.state())] == ["prove"], "nobody can retire it there"
    rig.clock.advance(MAX_S + 60)
    rig.settle()
    assert (debts(rig.state()), verdicts(rig, 1)) == ((), ["dead"])


# An expiry of their own


def test_tokens_live_side_by_side_until_each_ones_own_expiry(tmp_path: Path) -> None:
    rig = adopted(tmp_path, "token")
    outcome = rig.rotate()
    assert outcome.status == "holding"
    assert "version 1 is accepted until its own expiry at 20" in outcome.text
    assert rig.state().rotation.frozen.overlap == "grace"  # type: ignore[union-attr]
    assert rig.state().rotation.outage_ms == 0  # type: ignore[union-attr]
    assert outcome.until is not None
    rig.clock.advance(outcome.until - rig.clock.now())
    assert rig.run().status == "done"
    [proof] = version(rig, 1).proofs.values()
    assert (proof.verdict, version(rig, 1).state) == ("by-contract", State.RETIRED)
    assert proof.why.startswith("ended by its own expiry at 20")
    end_is_good(rig, "token")


def test_a_plan_of_tokens_ends_nothing_and_retires_nothing(tmp_path: Path) -> None:
    rig = adopted(tmp_path, "token")
    rig.rotate()
    rig.rotate(force=True, reason="again")
    frozen = rig.state().rotation.frozen  # type: ignore[union-attr]
    steps = [step.value for step in frozen.steps]
    assert steps == ["preflight", "issue", "stage", "verify", "publish", "announce", "prove", "tidy"]
    assert not [mutation for mutation in rig.vendor.log if mutation.verb == "retire"]


def test_the_known_expiry_is_what_counts(tmp_path: Path) -> None:
    rig = adopted(tmp_path, "token", life="1d")
    rig.rotate()
    rig.clock.advance(DAY_S / 2)
    rig.rotate(force=True, reason="again")
    expires_at = version(rig, 2).expires_at
    assert expires_at is not None
    rig.clock.advance(expires_at - rig.clock.now() - 1)
    assert (rig.run().status, version(rig, 2).state) == ("holding", State.PREVIOUS)
    rig.clock.advance(1)
    assert (rig.run().status, version(rig, 2).state) == ("done", State.RETIRED)


def test_renewals_in_a_row_leave_a_bounded_number_of_values_rows_and_debts(tmp_path: Path) -> None:
    rig = adopted(tmp_path, "token", life="24h")
    sizes = []
    for _ in range(24):
        rig.clock.advance(DAY_S / 2)
        rig.rotate(force=True, reason="again")
        assert never_broken(rig)
        row = summarise(rig.state()).state
        sizes.append((len(row["versions"]), len(row["debts"]), len(sealed_values(rig))))
    assert sizes[-1] == sizes[4], "as many after any number of them"
    assert max(sizes) <= (3, 2, 4)
    closed = [one for one in rig.state().versions.values() if one.state is State.RETIRED]
    assert len(closed) >= 22
    assert all(proof.verdict == "by-contract" for one in closed for proof in one.proofs.values())


def test_a_token_that_expired_while_nobody_ran_is_renewed_without_a_person(tmp_path: Path) -> None:
    rig = adopted(tmp_path, "token")
    rig.clock.advance(DAY_S)
    assert not never_broken(rig)
    rig.rotate()
    assert rig.state().current.number == 2  # type: ignore[union-attr]
    assert never_broken(rig)


def test_a_token_that_is_refused_where_it_was_made_is_undone_and_nothing_is_withdrawn(tmp_path: Path) -> None:
    rig = adopted(tmp_path, "token")
    rig.vendor.faults.add("issue", "refused")
    outcome = rig.rotate()
    assert (outcome.status, outcome.exit_code) == ("undone", 4)
    assert [mutation.verb for mutation in rig.vendor.log] == ["issue"]
    assert never_lost(rig)
    assert rig.rotate().status == "holding"


def test_what_an_abandoned_renewal_owes_is_waited_for_not_retired(tmp_path: Path) -> None:
    rig = adopted(tmp_path, "token")
    rig.rotate()
    bench = rig.bench()
    abandon(bench, rig.job(bench), reason="enough")
    assert [one.kind for one in debts(rig.state())] == ["expire"]
    rig.clock.advance(700)
    rig.run()
    assert debts(rig.state()) == ()


def test_going_back_to_an_older_token_is_refused_once_it_expired(tmp_path: Path) -> None:
    rig = adopted(tmp_path, "token")
    rig.rotate()
    rig.clock.advance(700)
    bench = rig.bench()
    with pytest.raises(RefusedError, match="not accepted at api now"):
        rollback(bench, rig.job(bench), Ask(reason="back"))
