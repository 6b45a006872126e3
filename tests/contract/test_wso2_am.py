"""WSO2 API Manager: several secrets under one key, lost answers, the newest one that can not be revoked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.portal_kit import Bench
from contract.test_wso2_am_contract import Wso2World
from keyturn.api import Doubt, NotSent, Refused, RetireResponse, Settled, Verdict, Version
from keyturn.testing.clock import FakeClock
from keyturn_apiportal.wso2.options import Account
from keyturn_apiportal.wso2.simulator import Simulator

LOST_BEFORE = ("reset-before", "timeout-before", "500", "502:html", "429:1")
LOST_AFTER = ("reset-after", "timeout-after", "500-after:empty", "503-after:html", "cut")
YES, NO, UNKNOWN = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.UNKNOWN
DAY_S = 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sim(clock: FakeClock) -> Iterator[Simulator]:
    with Simulator(gateways=3, now=clock.now, wait=clock.wait) as running:
        yield running


@pytest.fixture
def bench(sim: Simulator, clock: FakeClock) -> Iterator[Bench]:
    world = Wso2World(sim, clock)
    try:
        yield Bench(world)
    finally:
        world.context.close()


def made(bench: Bench) -> int:
    """How many secrets were made."""
    return bench.sent("generate").count(201)


def lost(bench: Bench, how: str) -> Version:
    """A secret that was made and whose value reached nobody; the version that stands for it."""
    bench.sim.fault("generate", how)
    with pytest.raises(Doubt):
        bench.issue()
    settled = bench.settle(sealed=False)
    assert settled.outcome is Settled.APPLIED_GONE
    return bench.adopt(settled)


def test_three_rotations_leave_one_secret_each_time_and_the_consumer_key_stays(bench: Bench) -> None:
    for _ in range(3):
        old, new = bench.current, bench.issue()
        assert new.bundle["client_id"].same_as(old.bundle["client_id"])
        assert (bench.verdicts(old), bench.verdicts(new)) == ([YES] * 3, [YES] * 3)
        assert bench.retire(old, successor=new) == RetireResponse()
        assert bench.retire(old, successor=new) == RetireResponse(already=True)
        assert (bench.verdicts(old), bench.verdicts(new)) == ([NO] * 3, [YES] * 3)
        assert bench.sim.listed() == [(new.handle, f"keyturn-{new.id}")]
        bench.current = new
        bench.next()
    assert made(bench) == 3


# Lost answers


@pytest.mark.parametrize("how", LOST_BEFORE)
def test_a_secret_that_was_not_made_settles_as_not_applied(bench: Bench, how: str) -> None:
    bench.sim.fault("generate", how)
    with pytest.raises(Doubt):
        bench.issue()
    assert bench.settle().outcome is Settled.NOT_APPLIED
    assert bench.verdicts(bench.issue()) == [YES] * 3
    assert made(bench) == 1


@pytest.mark.parametrize("how", LOST_AFTER)
def test_a_secret_whose_value_was_lost_is_revoked_by_its_label_and_made_again(bench: Bench, how: str) -> None:
    stray = lost(bench, how)
    assert stray.handle == bench.sim.listed()[-1][0]
    bench.retire(stray)
    bench.next()
    new = bench.issue()
    assert bench.verdicts(new) == bench.verdicts(bench.current) == [YES] * 3
    assert stray.handle not in dict(bench.sim.listed())


def test_a_sealed_answer_gives_the_value_back(bench: Bench) -> None:
    bench.issue()
    again = bench.settle()
    assert (again.outcome, again.handle) == (Settled.APPLIED, bench.new.handle)
    assert again.bundle["client_secret"].same_as(bench.new.bundle["client_secret"])


def test_an_answer_without_the_value_is_doubt_and_the_secret_is_gone(bench: Bench) -> None:
    bench.sim.fault("generate", "no-value")
    with pytest.raises(Doubt) as doubt:
        bench.issue()
    assert doubt.value.code == "no-value"
    assert bench.settle().outcome is Settled.APPLIED_GONE


def test_where_no_descriptions_are_listed_only_a_sealed_answer_tells_whose_a_new_one_is(bench: Bench) -> None:
    bench.sim.switch(labels=False)
    bench.world.account = bench.world.account.model_copy(update={"labels": False})
    bench.fresh()
    bench.next()
    bench.issue()
    again = bench.settle()
    assert (again.outcome, again.handle) == (Settled.APPLIED, bench.new.handle)
    bench.next()
    bench.sim.fault("generate", "reset-after")
    with pytest.raises(Doubt):
        bench.issue()
    left = bench.settle()
    assert left.outcome is Settled.NOT_APPLIED
    assert bench.sim.listed()[-1][0] in left.note


@pytest.mark.parametrize("how", [*LOST_BEFORE, *LOST_AFTER])
def test_a_lost_revocation_is_doubt_and_a_repeat_finishes_it(bench: Bench, how: str) -> None:
    new = bench.issue()
    bench.sim.fault("revoke", how)
    if how == "cut":  # 204 has no body to be cut
        bench.retire(bench.current, successor=new)
        return
    with pytest.raises(Doubt):
        bench.retire(bench.current, successor=new)
    assert bench.retire(bench.current, successor=new).already is (how in LOST_AFTER)
    assert (bench.verdicts(bench.current), bench.verdicts(new)) == ([NO] * 3, [YES] * 3)


# The newest one


@pytest.mark.parametrize("status", [500, 400])
def test_the_newest_secret_is_revoked_behind_a_placeholder_that_the_next_retirement_clears(
    bench: Bench, status: int
) -> None:
    bench.sim.switch(revoke_newest=status)
    withdrawn = bench.issue()
    assert bench.retire(withdrawn) == RetireResponse()
    assert bench.verdicts(withdrawn) == [NO] * 3
    assert [label.startswith("keyturn-placeholder-") for _, label in bench.sim.listed()] == [False, True]
    bench.next()
    new = bench.issue()
    bench.retire(bench.current, successor=new)
    assert [handle for handle, _ in bench.sim.listed()] == [new.handle]


def test_a_placeholder_ends_by_itself_in_a_day(bench: Bench, clock: FakeClock) -> None:
    bench.retire(bench.issue())
    assert len(bench.sim.listed()) == 2
    clock.advance(DAY_S + 1)
    assert [handle for handle, _ in bench.sim.listed()] == [bench.current.handle]


@pytest.mark.parametrize("how", LOST_AFTER)
def test_a_lost_answer_to_the_placeholder_makes_no_second_one(bench: Bench, how: str) -> None:
    withdrawn = bench.issue()
    bench.sim.fault("generate", how)
    with pytest.raises(Doubt):
        bench.retire(withdrawn)
    assert bench.retire(withdrawn) == RetireResponse()
    assert len(bench.sim.listed()) == 2


def test_a_portal_that_revokes_nothing_is_doubt_and_gets_one_placeholder_only(bench: Bench) -> None:
    withdrawn = bench.issue()
    bench.sim.switch(revoke_nothing=True)
    for _ in range(3):
        with pytest.raises(Doubt):
            bench.retire(withdrawn)
    assert [label.startswith("keyturn-placeholder-") for _, label in bench.sim.listed()] == [False, False, True]


def test_no_value_of_a_placeholder_is_kept(bench: Bench) -> None:
    bench.retire(bench.issue())
    assert set(bench.world.context.sealed) == {f"attempt-{bench.new.id}-0"}


# Somebody else


def test_somebody_elses_secret_is_neither_taken_for_ours_nor_revoked(bench: Bench) -> None:
    bench.sim.fault("generate", "elsewhere-before:generate")
    new = bench.issue()
    bench.retire(bench.current, successor=new)
    assert [label for _, label in bench.sim.listed()] == ["", f"keyturn-{new.id}"]
    bench.sim.fault("generate", "reset-before")
    bench.current = new
    bench.next()
    bench.sim.elsewhere("generate")
    with pytest.raises(Doubt):
        bench.issue()
    assert bench.settle().outcome is Settled.NOT_APPLIED


def test_a_live_secret_that_somebody_revoked_is_seen(bench: Bench) -> None:
    new = bench.issue()
    bench.sim.elsewhere("revoke-oldest")
    assert bench.current.handle not in {one.handle for one in bench.inspect().seen}
    assert bench.retire(bench.current, successor=new) == RetireResponse(already=True)
    assert bench.verdicts(new) == [YES] * 3


# Gateways and access


def test_a_gateway_that_is_down_is_unknown_and_the_others_speak_for_themselves(bench: Bench) -> None:
    bench.sim.switch(gateway_down=(2,))
    assert bench.verdicts(bench.issue()) == [YES, YES, UNKNOWN]
    bench.sim.switch(gateway_down=())
    assert bench.verdicts(bench.new) == [YES] * 3


def test_a_gateway_that_is_late_takes_the_new_secret_when_it_has_heard_of_it(bench: Bench, clock: FakeClock) -> None:
    bench.sim.switch(sync_s=(0.0, 0.0, 30.0))
    assert bench.verdicts(bench.issue()) == [YES, YES, NO]
    clock.advance(31)
    assert bench.verdicts(bench.new) == [YES] * 3


@pytest.mark.parametrize("how", ["500", "502:html", "429:1", "403", "reset-before"])
def test_what_proves_nothing_of_a_secret_is_unknown(bench: Bench, how: str) -> None:
    bench.sim.fault("probe", how, server=1)
    assert bench.verdicts(bench.current) == [YES, UNKNOWN, YES]


def test_single_secret_mode_stops_a_rotation(bench: Bench) -> None:
    bench.sim.switch(multi=False)
    assert bench.codes() == {"single-secret-mode"}
    with pytest.raises(Refused):
        bench.issue()
    with pytest.raises(Refused):
        bench.retire(bench.current)


@pytest.mark.parametrize("how", ["403", "404", "500"])
def test_a_list_that_can_not_be_seen_says_neither_not_made_nor_gone(bench: Bench, how: str) -> None:
    bench.sim.fault("generate", "reset-after")
    with pytest.raises(Doubt):
        bench.issue()
    bench.sim.fault("secrets", how, times=2)
    try:
        assert bench.settle().outcome is Settled.UNKNOWN
    except NotSent:
        assert how == "500"
    with pytest.raises((Refused, NotSent)):
        bench.retire(bench.current)


def test_no_room_for_one_more_is_refused_and_changes_nothing(bench: Bench) -> None:
    bench.sim.switch(secrets_max=1)
    with pytest.raises(Refused):
        bench.issue()
    assert len(bench.sim.listed()) == 1


def test_without_rights_to_the_keys_a_secret_is_not_made(bench: Bench) -> None:
    bench.sim.switch(forbidden=True)
    with pytest.raises(Refused):
        bench.issue()
    assert made(bench) == 0


def test_a_key_mapping_of_another_consumer_key_is_named(bench: Bench) -> None:
    bench.world.target = bench.world.target.model_copy(update={"client_id": "another"})
    assert bench.codes() == {"other-client"}
    bench.world.target = bench.world.target.model_copy(update={"key_mapping": "not-there"})
    assert bench.codes() == {"no-such-application"}


def test_a_token_that_ends_in_the_middle_is_renewed_and_one_secret_made(bench: Bench) -> None:
    bench.sim.fault("generate", "token-revoked")
    bench.issue()
    assert bench.sent("generate") == [401, 201]
    assert len(bench.sim.listed()) == 2


def test_a_gateway_named_twice_is_not_taken(sim: Simulator) -> None:
    usual = {name: value for name, value in sim.account().items() if name != "kind"}
    with pytest.raises(ValueError, match="gateways"):
        Account.model_validate({**usual, "gateways": [usual["gateways"][0]] * 2})
