"""PingAuthorize with lost answers: looking tells the truth, and nothing is sent twice blindly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.pingauthorize_kit import Bench, running_bench, until
from keyturn.api import Doubt, NotSent, Refused, Settled, Verdict
from keyturn_pingauthorize.simulator import FIRST

LOST_BEFORE = ("timeout-before", "reset-before", "status:500", "empty:503", "html", "429")
LOST_AFTER = ("timeout-after", "reset-after", "status-after:500", "html-after")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with running_bench(tmp_path) as bench:
        yield bench


def _doubt(bench: Bench, verb: str, *, how: str = "") -> None:
    """The verb ends in doubt; patience is short only where no answer will come."""
    patience_s = bench.deadline_s
    bench.deadline_s = 1.0 if how.startswith(("timeout", "late")) else patience_s
    with pytest.raises(Doubt):
        getattr(bench, verb)()
    bench.deadline_s = patience_s


@pytest.mark.parametrize("how", LOST_BEFORE)
def test_a_create_that_did_not_land_settles_as_not_applied(bench: Bench, how: str) -> None:
    bench.sim.fault("create", how)
    _doubt(bench, "issue", how=how)
    assert bench.settled() is Settled.NOT_APPLIED
    bench.issue()
    assert bench.settled() is Settled.APPLIED
    assert len(bench.sent("create")) == 1


@pytest.mark.parametrize("how", LOST_AFTER)
def test_a_create_that_landed_settles_as_partly_and_is_not_sent_again(bench: Bench, how: str) -> None:
    bench.sim.fault("create", how)
    _doubt(bench, "issue", how=how)
    assert bench.settled() is Settled.PARTLY
    bench.issue()
    assert bench.settled() is Settled.APPLIED
    assert bench.verdicts(bench.value) == {Verdict.ACCEPTED}
    assert [entry["on"] for entry in bench.sim.log].count("create") == 1


@pytest.mark.parametrize("server", [0, 1])
@pytest.mark.parametrize("how", LOST_BEFORE)
def test_an_add_that_did_not_land_settles_as_partly(bench: Bench, how: str, server: int) -> None:
    bench.sim.fault("add", how, server=server)
    _doubt(bench, "issue", how=how)
    assert bench.settled() is Settled.PARTLY
    bench.issue()
    assert bench.settled() is Settled.APPLIED
    assert len(bench.sent("add")) == 2


@pytest.mark.parametrize("how", LOST_AFTER)
def test_an_add_that_landed_on_the_last_server_settles_as_applied(bench: Bench, how: str) -> None:
    bench.sim.switch(readd_is_error=True)
    bench.sim.fault("add", how, server=1)
    _doubt(bench, "issue", how=how)
    assert bench.settled() is Settled.APPLIED
    bench.issue()
    assert len(bench.sent("add")) == 2


@pytest.mark.parametrize("how", LOST_BEFORE + LOST_AFTER)
@pytest.mark.parametrize("server", [0, 1])
def test_a_lost_removal_is_doubt_and_a_repeat_finishes_it(bench: Bench, how: str, server: int) -> None:
    handle = bench.issue().handle
    bench.sim.switch(readd_is_error=True)
    bench.sim.fault("remove", how, server=server)
    _doubt(bench, "refuse", how=how)
    bench.refuse()
    assert bench.lists() == [[handle], [handle]]
    assert sorted(bench.sent("remove")) == [(0, FIRST), (1, FIRST)]


@pytest.mark.parametrize("how", LOST_BEFORE + LOST_AFTER)
def test_a_lost_delete_is_doubt_and_a_repeat_finishes_it(bench: Bench, how: str) -> None:
    bench.issue()
    bench.refuse()
    bench.sim.fault("delete", how)
    _doubt(bench, "remove", how=how)
    assert bench.remove().already is (how in LOST_AFTER)
    assert len(bench.sent("delete")) == 1


def test_a_create_that_lands_late_is_seen_later_and_never_doubled(bench: Bench) -> None:
    bench.sim.fault("create", "late:2")
    _doubt(bench, "issue", how="late")
    assert bench.settled() is Settled.NOT_APPLIED  # not final: the engine asks again after settle_s
    assert until(lambda: bench.settled() is Settled.PARTLY)
    bench.issue()
    assert len(bench.sent("create")) == 1


def test_a_repeat_that_meets_its_own_late_create_takes_it_as_ours(bench: Bench) -> None:
    bench.sim.fault("create", "late:1.2")
    _doubt(bench, "issue", how="late")
    bench.sim.fault("create", "late:1")  # the second one arrives after the first has landed: 409
    bench.issue()
    assert [entry["status"] for entry in bench.sim.log if entry["on"] == "create"] == [200, 409]
    assert bench.verdicts(bench.value) == {Verdict.ACCEPTED}


def test_a_removal_that_lands_late_does_not_empty_the_list(bench: Bench) -> None:
    handle = bench.issue().handle
    bench.sim.fault("remove", "late:1.2", server=0)
    _doubt(bench, "refuse", how="late")
    bench.refuse()
    assert until(lambda: len([e for e in bench.sim.log if e["on"] == "remove" and e["server"] == 0]) == 2)
    assert bench.lists() == [[handle], [handle]]


def test_settle_never_guesses_when_a_server_can_not_be_asked(bench: Bench) -> None:
    bench.issue()
    bench.sim.switch(server_down=[1])
    assert bench.settle().outcome is Settled.UNKNOWN
    bench.sim.switch(server_down=[])
    assert bench.settled() is Settled.APPLIED


def test_a_refused_create_says_that_nothing_happened(bench: Bench) -> None:
    bench.sim.switch(forbidden="write")
    with pytest.raises(Refused) as refusal:
        bench.issue()
    assert refusal.value.code == "http-403"
    assert bench.settled() is Settled.NOT_APPLIED


def test_a_refusal_after_the_first_effect_is_doubt(bench: Bench) -> None:
    bench.sim.fault("add", "status:403", server=1)
    _doubt(bench, "issue")
    assert bench.settled() is Settled.PARTLY


def test_an_unreachable_server_stops_issue_before_anything_is_sent(bench: Bench) -> None:
    bench.sim.switch(server_down=[1])
    with pytest.raises(NotSent) as error:
        bench.issue()
    assert error.value.code == "unreachable"
    assert bench.sim.log == []


@pytest.mark.parametrize("seed", range(6))
def test_a_hostile_cluster_never_gets_an_empty_list_or_a_second_object(bench: Bench, seed: int) -> None:
    bench.sim.obey({"hostile": seed})
    assert _stubbornly(bench.issue)
    assert _stubbornly(bench.refuse)
    assert _stubbornly(bench.remove)
    bench.sim.obey({"clear": True})
    assert [len(bench.sent(on)) for on in ("create", "add", "remove", "delete")] == [1, 2, 2, 1]
    assert bench.verdicts(bench.value) == {Verdict.ACCEPTED}


def _stubbornly(verb: object) -> bool:
    """Repeat a verb as the engine does, until it is done."""
    assert callable(verb)
    for _ in range(60):
        try:
            verb()
        except (Doubt, NotSent):
            continue
        return True
    return False
