"""Overlaps choose within what the traits allow, refuse what they can not serve, and never take an outage unasked."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.model import Field, Maker, Revoke, Slot, Traits
from keyturn.overlaps.alternating import Alternating
from keyturn.overlaps.cutover import Cutover
from keyturn.overlaps.dual import Dual
from keyturn.overlaps.grace import Grace
from keyturn.plugins.overlap import Choices, ChooseRequest, Live, Overlap, OverlapPolicy

OVERLAPS: Mapping[str, Overlap] = {
    "dual": Dual(),
    "alternating": Alternating(),
    "grace": Grace(),
    "cutover": Cutover(),
}
FIELDS = (Field(name="key", by=Maker.US),)
SLOTS = (Slot(name="a"), Slot(name="b"))

OPEN = Traits(fields=FIELDS, live_max=None, grace_s=None, revoke=Revoke.REFUSE)
SLOTTED = Traits(fields=FIELDS, live_max=2, grace_s=None, revoke=Revoke.REFUSE, slots=SLOTS)
GRACEFUL = Traits(fields=FIELDS, live_max=2, grace_s=3600.0)
AT_ONCE = Traits(fields=FIELDS, live_max=1, grace_s=0.0, activation_s=30.0)
BRIDGED = Traits(fields=FIELDS, live_max=1, grace_s=0.0, derived_s=900.0)
IN_PLACE = Traits(fields=FIELDS, live_max=1, grace_s=None)
TOKENS = Traits(fields=FIELDS, live_max=None, grace_s=None, own_expiry=True)
OBSERVED = Traits(fields=FIELDS, live_max=1, grace_s=0.0, grace_max_s=3600.0, activation_s=30.0)
IRREVOCABLE = Traits(fields=FIELDS, live_max=2, grace_s=None, revoke=Revoke.NONE)

NONE = OverlapPolicy()
FIVE_S = OverlapPolicy(accept_outage_s=5.0)
MINUTE = OverlapPolicy(accept_outage_s=60.0)
IN_A = (Live(number=1, slot="a", current=True),)
BOTH_LIVE = (*IN_A, Live(number=2, slot="b", current=False))


def choose(overlap: str, traits: Traits, policy: OverlapPolicy = NONE, **more: object) -> Choices:
    return OVERLAPS[overlap].choose(ChooseRequest(traits=traits, policy=policy, **more))  # type: ignore[arg-type]


def codes(choices: Choices) -> list[str]:
    return [problem.code for problem in choices.problems]


REFUSALS = {
    "dual, where issue ends the old one": ("dual", AT_ONCE, NONE, (), "overlap-unfit"),
    "dual, with fixed slots": ("dual", SLOTTED, NONE, (), "overlap-unfit"),
    "dual, where nothing can be revoked": ("dual", IRREVOCABLE, NONE, (), "overlap-unfit"),
    "alternating, without slots": ("alternating", OPEN, NONE, (), "overlap-unfit"),
    "alternating, where issue ends the old one": ("alternating", AT_ONCE, NONE, (), "overlap-unfit"),
    "alternating, with no idle slot": ("alternating", SLOTTED, NONE, BOTH_LIVE, "no-idle-slot"),
    "grace, where issue ends nothing": ("grace", OPEN, NONE, (), "overlap-unfit"),
    "grace of zero, no outage accepted": ("grace", AT_ONCE, NONE, (), "outage-not-accepted"),
    "dual, where each version ends by its own expiry": ("dual", TOKENS, NONE, (), "overlap-unfit"),
    "grace that may be given, no outage accepted": ("grace", OBSERVED, NONE, (), "outage-not-accepted"),
    "cutover, where old and new coexist": ("cutover", OPEN, MINUTE, (), "overlap-unfit"),
    "cutover, no outage accepted": ("cutover", AT_ONCE, NONE, (), "outage-not-accepted"),
}


@pytest.mark.parametrize(("overlap", "traits", "policy", "live", "code"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_an_overlap_can_not_serve_it_refuses(
    overlap: str, traits: Traits, policy: OverlapPolicy, live: tuple[Live, ...], code: str
) -> None:
    choices = choose(overlap, traits, policy, live=live)
    assert codes(choices) == [code]
    assert all(problem.fatal for problem in choices.problems)


def test_what_ends_by_its_own_expiry_needs_neither_hold_nor_retire_nor_outage() -> None:
    choices = choose("grace", TOKENS, drainable=True)
    assert (choices.holds, choices.retires, choices.drains, choices.outage_s) == (False, False, False, 0.0)
    assert (choices.hold_s, choices.problems) == (0.0, ())


def test_a_grace_that_nobody_relies_on_counts_as_an_outage_and_is_said() -> None:
    choices = choose("grace", OBSERVED, MINUTE)
    assert choices.outage_s == 30.0
    assert choices.why.startswith("the old version dies at once; whether the vendor still accepts")


@pytest.mark.parametrize(("overlap", "traits"), [("grace", AT_ONCE), ("cutover", IN_PLACE)])
def test_what_the_policy_bridges_with_is_chosen_where_an_end_is_to_be_bridged(overlap: str, traits: Traits) -> None:
    policy = OverlapPolicy(accept_outage_s=60.0, bridge=("net/token",))
    assert choose(overlap, traits, policy).bridge == ("net/token",)
    assert choose("dual", OPEN, policy).bridge == ()


def test_dual_holds_and_retires_without_an_outage() -> None:
    choices = choose("dual", OPEN)
    assert (choices.holds, choices.retires, choices.drains, choices.outage_s) == (True, True, False, 0.0)
    assert (choices.hold_s, choices.problems) == (600.0, ())


@pytest.mark.parametrize(("overlap", "traits"), [("dual", OPEN), ("alternating", SLOTTED)])
def test_what_the_vendor_derives_from_a_version_prolongs_the_hold(overlap: str, traits: Traits) -> None:
    longer = Traits(**{**vars(traits), "derived_s": 900.0})
    assert choose(overlap, longer, OverlapPolicy(hold_s=60.0)).hold_s == 960.0
    assert choose(overlap, longer, OverlapPolicy(hold_s=0.0)).hold_s == 900.0


def test_alternating_takes_a_slot_that_no_live_version_uses() -> None:
    assert choose("alternating", SLOTTED).slot == "a"
    assert choose("alternating", SLOTTED, live=IN_A).slot == "b"
    assert choose("alternating", SLOTTED, live=(Live(number=2, slot="b", current=True),)).slot == "a"


def test_grace_retires_nothing_and_declares_no_outage_where_something_bridges_it() -> None:
    for bridged in (GRACEFUL, BRIDGED):
        choices = choose("grace", bridged)
        assert (choices.holds, choices.retires, choices.outage_s, choices.problems) == (False, False, 0.0, ())


def test_grace_of_zero_declares_the_activation_delay_as_outage() -> None:
    choices = choose("grace", AT_ONCE, MINUTE)
    assert (choices.outage_s, choices.problems) == (30.0, ())


def test_cutover_declares_the_accepted_outage() -> None:
    choices = choose("cutover", AT_ONCE, FIVE_S)
    assert (choices.outage_s, choices.holds, choices.retires, choices.problems) == (5.0, False, False, ())


@pytest.mark.parametrize(("overlap", "traits"), [("grace", GRACEFUL), ("cutover", AT_ONCE)])
def test_consumers_drain_where_the_old_version_dies_and_they_can(overlap: str, traits: Traits) -> None:
    assert choose(overlap, traits, MINUTE, drainable=True).drains
    assert not choose(overlap, traits, MINUTE, drainable=False).drains


often = settings(max_examples=60, deadline=None)
any_traits = st.builds(
    Traits,
    fields=st.just(FIELDS),
    live_max=st.sampled_from([None, 1, 2, 5]),
    grace_s=st.sampled_from([None, 0.0, 3600.0]),
    slots=st.sampled_from([(), SLOTS]),
    revoke=st.sampled_from(Revoke),
    activation_s=st.sampled_from([0.5, 60.0]),
    derived_s=st.sampled_from([0.0, 900.0]),
)
policies = st.builds(
    OverlapPolicy, hold_s=st.sampled_from([None, 0.0, 60.0]), accept_outage_s=st.sampled_from([None, 60.0])
)
requests = st.builds(
    ChooseRequest,
    traits=any_traits,
    policy=policies,
    live=st.sampled_from([(), IN_A, BOTH_LIVE]),
    drainable=st.booleans(),
)
names = st.sampled_from(sorted(OVERLAPS))


@often
@given(names, requests)
def test_choosing_is_pure(name: str, request: ChooseRequest) -> None:
    before = deepcopy(request)
    assert OVERLAPS[name].choose(request) == OVERLAPS[name].choose(request)
    assert request == before


@often
@given(names, requests)
def test_no_overlap_declares_an_outage_that_the_policy_does_not_accept(name: str, request: ChooseRequest) -> None:
    choices = OVERLAPS[name].choose(request)
    if not choices.problems:
        assert choices.outage_s <= (request.policy.accept_outage_s or 0.0)


@often
@given(names, requests)
def test_where_the_old_version_dies_unbridged_an_outage_must_be_accepted(name: str, request: ChooseRequest) -> None:
    traits = request.traits
    bridged = traits.coexist or traits.grace_s or (name == "grace" and traits.derived_s)
    if not bridged and request.policy.accept_outage_s is None:
        assert choices_refuse(OVERLAPS[name].choose(request))


def choices_refuse(choices: Choices) -> bool:
    return any(problem.fatal for problem in choices.problems)


@often
@given(names, requests)
def test_what_holds_retires_and_only_where_old_and_new_coexist(name: str, request: ChooseRequest) -> None:
    choices = OVERLAPS[name].choose(request)
    if not choices.problems:
        assert choices.holds == choices.retires == request.traits.coexist
        assert choices.why
