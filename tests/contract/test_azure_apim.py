"""Azure API Management: two slots in turn, lost answers, somebody else at the keys, gateways that are late or down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from contract.portal_kit import Bench
from contract.test_azure_apim_contract import AzureWorld
from keyturn.api import Bundle, Doubt, NotSent, Refused, RetireResponse, Settled, Verdict, Version
from keyturn.overlaps.alternating import Alternating
from keyturn.plugins.overlap import ChooseRequest, Live, OverlapPolicy
from keyturn.testing.clock import FakeClock
from keyturn_apiportal.azure.hook import keyturn_plugin
from keyturn_apiportal.azure.options import Account, Target
from keyturn_apiportal.azure.simulator import Simulator

LOST_BEFORE = ("reset-before", "timeout-before", "500", "502:html", "429:1")
LOST_AFTER = ("reset-after", "timeout-after", "500-after:empty", "503-after:html")
YES, NO, UNKNOWN = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.UNKNOWN


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sim(clock: FakeClock) -> Iterator[Simulator]:
    with Simulator(gateways=3, now=clock.now, wait=clock.wait) as running:
        yield running


@pytest.fixture
def bench(sim: Simulator, clock: FakeClock) -> Iterator[Bench]:
    world = AzureWorld(sim, clock)
    context = world.context
    try:
        yield Bench(world)
    finally:
        context.close()


def value_of(version: Version) -> str:
    return version.bundle["subscription_key"].reveal()


def regenerated(bench: Bench) -> int:
    """How many regenerations took effect, or were answered as if they had."""
    return sum(entry["on"].startswith("regenerate") and entry["status"] == 204 for entry in bench.sim.log)


# Slots in turn


def test_six_rotations_alternate_the_slots_and_no_name_of_an_old_version_ends_a_newer_one(bench: Bench) -> None:
    retired: list[Version] = []
    for number in range(6):
        old, new = bench.current, bench.issue()
        assert new.slot == ("secondary", "primary")[number % 2]
        assert value_of(new) == bench.sim.current(new.slot or "")
        assert (bench.verdicts(old), bench.verdicts(new)) == ([YES] * 3, [YES] * 3)
        assert bench.retire(old, successor=new) == RetireResponse()
        assert (bench.verdicts(old), bench.verdicts(new)) == ([NO] * 3, [YES] * 3)
        retired.append(old)
        for dead in retired:
            assert bench.retire(dead, successor=new) == RetireResponse(already=True)
        assert bench.verdicts(new) == [YES] * 3
        bench.current = new
        bench.next()
    assert regenerated(bench) == 12
    assert len({version.handle for version in retired}) == 6


def test_the_overlap_alternating_chooses_the_idle_slot_for_six_rotations(bench: Bench) -> None:
    for number in range(6):
        live = (Live(number=number, slot=bench.current.slot, current=True),)
        choices = Alternating().choose(ChooseRequest(traits=bench.traits, policy=OverlapPolicy(), live=live))
        assert choices.slot == bench.new.slot != bench.current.slot
        assert not choices.problems
        old, bench.current = bench.current, bench.issue()
        bench.retire(old, successor=bench.current)
        bench.next()


def test_retire_never_touches_the_slot_of_the_successor(bench: Bench) -> None:
    with pytest.raises(Refused) as refusal:
        bench.retire(bench.current, successor=replace(bench.current, handle="primary-anything"))
    assert refusal.value.code == "slot-of-successor"
    assert regenerated(bench) == 0


def test_a_look_names_the_slot_that_holds_a_value_and_the_slot_to_begin_with(bench: Bench) -> None:
    assert bench.inspect().named == bench.current.handle
    stranger = replace(bench.current, bundle=Bundle({"subscription_key": "somebody's"}))
    bench.current = stranger
    assert bench.inspect().named is None
    assert {(one.slot, one.handle) for one in bench.inspect().seen} >= {("primary", stranger.handle)}


# Lost answers


@pytest.mark.parametrize("how", LOST_BEFORE)
def test_a_regeneration_that_did_not_happen_settles_as_not_applied(bench: Bench, how: str) -> None:
    bench.sim.fault("regenerate", how)
    with pytest.raises(Doubt):
        bench.issue()
    assert bench.settle().outcome is Settled.NOT_APPLIED
    assert bench.verdicts(bench.issue()) == [YES] * 3
    assert regenerated(bench) == 1


@pytest.mark.parametrize("how", LOST_AFTER)
def test_a_regeneration_whose_answer_was_lost_is_read_from_the_slot_and_not_sent_again(bench: Bench, how: str) -> None:
    bench.sim.fault("regenerate", how)
    with pytest.raises(Doubt):
        bench.issue()
    new = bench.adopt(bench.settle())
    assert value_of(new) == bench.sim.current("secondary")
    assert bench.verdicts(new) == bench.verdicts(bench.current) == [YES] * 3
    assert len(bench.sent("regenerate-secondary")) == 1


@pytest.mark.parametrize("how", ["reset-before", "500", "502:html", "403"])
def test_a_key_that_can_not_be_read_back_is_doubt_and_settled_by_looking(bench: Bench, how: str) -> None:
    bench.sim.fault("list-secrets", how, skip=1)
    with pytest.raises(Doubt):
        bench.issue()
    assert value_of(bench.adopt(bench.settle())) == bench.sim.current("secondary")
    assert regenerated(bench) == 1


def test_a_regeneration_that_lands_late_is_found_when_it_has_landed(bench: Bench, clock: FakeClock) -> None:
    bench.sim.fault("regenerate", "late:10")
    with pytest.raises(Doubt):
        bench.issue()
    assert bench.settle().outcome is Settled.NOT_APPLIED
    clock.advance(11)
    assert value_of(bench.adopt(bench.settle())) == bench.sim.current("secondary")


@pytest.mark.parametrize("how", [*LOST_BEFORE, *LOST_AFTER])
def test_a_lost_retirement_is_doubt_and_a_repeat_finishes_it(bench: Bench, how: str) -> None:
    new = bench.issue()
    bench.sim.fault("regenerate", how)
    with pytest.raises(Doubt):
        bench.retire(bench.current, successor=new)
    assert bench.retire(bench.current, successor=new).already is (how in LOST_AFTER)
    assert (bench.verdicts(bench.current), bench.verdicts(new)) == ([NO] * 3, [YES] * 3)


@pytest.mark.parametrize("seed", range(4))
def test_a_hostile_azure_never_loses_the_key_in_use(bench: Bench, seed: int) -> None:
    bench.sim.obey({"hostile": seed})
    new = _stubborn(bench)
    assert bench.sim.accepts(bench.sim.gateways[0], value_of(bench.current))
    for _ in range(60):
        try:
            bench.retire(bench.current, successor=new)
        except (Doubt, NotSent):
            continue
        break
    bench.sim.obey({"clear": True})
    bench.clock.advance(5)
    assert (bench.verdicts(bench.current), bench.verdicts(new)) == ([NO] * 3, [YES] * 3)


def _stubborn(bench: Bench) -> Version:
    """As the engine does it: after a doubt it looks, and sends again only what was not applied in the end."""
    for _ in range(60):
        try:
            return bench.issue()
        except NotSent:
            continue
        except Doubt:
            bench.clock.advance(5)
        for _ in range(20):
            try:
                settled = bench.settle()
            except NotSent:
                continue
            if settled.outcome is Settled.APPLIED:
                return bench.adopt(settled)
            break
    raise AssertionError("no end to it")


# Somebody else


def test_somebody_else_at_the_idle_slot_after_us_leaves_us_a_dead_key_that_is_not_retired_for_theirs(
    bench: Bench,
) -> None:
    new = bench.issue()
    bench.sim.elsewhere("secondary")
    assert bench.verdicts(new) == [NO] * 3
    assert bench.retire(new) == RetireResponse(already=True)
    assert bench.verdicts(bench.current) == [YES] * 3
    assert regenerated(bench) == 1


def test_somebody_else_at_the_idle_slot_before_us_changes_nothing_for_us(bench: Bench) -> None:
    bench.sim.elsewhere("secondary")
    assert bench.verdicts(bench.issue()) == [YES] * 3


def test_somebody_else_between_our_change_and_our_look_is_read_as_what_the_slot_holds(bench: Bench) -> None:
    bench.sim.fault("regenerate", "elsewhere-after:secondary")
    new = bench.issue()
    assert value_of(new) == bench.sim.current("secondary")
    assert bench.verdicts(new) == [YES] * 3


def test_somebody_else_at_the_live_slot_is_seen_and_theirs_is_never_retired(bench: Bench) -> None:
    bench.sim.elsewhere("primary")
    assert bench.verdicts(bench.current) == [NO] * 3
    assert bench.current.handle not in {one.handle for one in bench.inspect().seen}
    new = bench.issue()
    assert bench.retire(bench.current, successor=new) == RetireResponse(already=True)
    assert bench.sent("regenerate-primary") == []
    assert bench.sim.accepts(bench.sim.gateways[0], bench.sim.current("primary"))


# Gateways


def test_a_gateway_that_is_down_is_unknown_and_the_others_speak_for_themselves(bench: Bench) -> None:
    bench.sim.switch(gateway_down=(1,))
    new = bench.issue()
    assert bench.verdicts(new) == [YES, UNKNOWN, YES]
    bench.sim.switch(gateway_down=())
    assert bench.verdicts(new) == [YES] * 3


def test_a_gateway_that_is_late_takes_the_new_key_when_it_has_heard_of_it(bench: Bench, clock: FakeClock) -> None:
    bench.sim.switch(sync_s=(0.0, 30.0, 90.0))
    new = bench.issue()
    assert bench.verdicts(new) == [YES, NO, NO]
    clock.advance(31)
    assert bench.verdicts(new) == [YES, YES, NO]
    clock.advance(60)
    assert bench.verdicts(new) == [YES] * 3


@pytest.mark.parametrize("how", ["500", "502:html", "429:1", "403", "reset-before", "200:html"])
def test_what_proves_nothing_of_a_key_is_unknown(bench: Bench, how: str) -> None:
    bench.sim.fault("probe", how, server=0)
    assert bench.verdicts(bench.current) == [UNKNOWN, YES, YES]


@pytest.mark.parametrize("status", [401, 404, 503])
def test_an_api_that_fails_behind_its_gateway_proves_nothing(bench: Bench, status: int) -> None:
    bench.sim.switch(probe_status=status)
    assert bench.verdicts(bench.current) == [UNKNOWN] * 3


def test_a_path_that_the_gateway_does_not_know_proves_nothing(bench: Bench) -> None:
    bench.world.target = bench.world.target.model_copy(update={"probe_path": "/nowhere"})
    assert bench.verdicts(bench.current) == [UNKNOWN] * 3


# Access


def test_a_subscription_that_is_not_active_stops_a_rotation(bench: Bench) -> None:
    bench.sim.switch(state="suspended")
    assert bench.codes() == {"subscription-inactive"}
    with pytest.raises(Refused):
        bench.issue()
    assert regenerated(bench) == 0


def test_without_rights_to_the_keys_nothing_is_called_gone(bench: Bench) -> None:
    bench.sim.switch(forbidden=True)
    assert bench.codes() == {"no-rights"}
    with pytest.raises(Refused):
        bench.retire(bench.current)


@pytest.mark.parametrize("field", ["subscription", "resource_group", "service"])
def test_a_service_that_is_not_there_is_a_problem_and_nothing_is_called_gone(bench: Bench, field: str) -> None:
    bench.world.account = bench.world.account.model_copy(update={field: "not-there"})
    bench.fresh()
    assert bench.codes() == {"no-such-subscription"}
    with pytest.raises(Refused):
        bench.retire(bench.current)


def test_a_token_that_ends_in_the_middle_is_renewed_and_the_key_regenerated_once(bench: Bench) -> None:
    bench.sim.fault("regenerate", "token-revoked")
    assert bench.verdicts(bench.issue()) == [YES] * 3
    assert bench.sent("regenerate-secondary") == [401, 204]


def test_a_login_that_is_refused_is_said_and_not_tried_again(bench: Bench, sim: Simulator) -> None:
    bench.world.context.references["env:AZURE_CLIENT_SECRET"] = "nothing"
    bench.fresh()
    before = len(sim.log)
    for _ in range(2):
        with pytest.raises(Refused) as refusal:
            bench.inspect()
        assert refusal.value.code == "login-refused"
    assert len(sim.log) == before + 1


# Options


def test_names_that_would_lead_elsewhere_are_not_taken(sim: Simulator) -> None:
    usual = {name: value for name, value in sim.account().items() if name != "kind"}
    Account.model_validate(usual)
    changes: list[dict[str, Any]] = [
        {"service": "a/b"},
        {"tenant": "x?y"},
        {"gateways": [usual["gateways"][0]] * 2},
        {"gateways": []},
    ]
    for change in changes:
        with pytest.raises(ValueError, match=next(iter(change))):
            Account.model_validate({**usual, **change})
    for path in ("no-slash", "/a?b=c", "/a b"):
        with pytest.raises(ValueError, match="probe_path"):
            Target.model_validate({"name": "one", "probe_path": path})


def test_the_subject_takes_no_notice_of_case(sim: Simulator) -> None:
    usual = {name: value for name, value in sim.account().items() if name != "kind"}
    plugin = keyturn_plugin()
    assert plugin.subject
    loud = Account.model_validate({**usual, "service": usual["service"].upper()})
    one = plugin.subject(loud, Target(name="Batch", probe_path="/ping"))
    assert one == plugin.subject(Account.model_validate(usual), Target(name="batch", probe_path="/ping"))
