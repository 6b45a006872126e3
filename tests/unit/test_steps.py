"""The step list follows from traits, choices and mode, and keeps the protocol's order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.model import Field, Maker, Mode, Revoke, Traits
from keyturn.plugins.overlap import Choices
from keyturn.steps import Step, derive

OURS = (Field(name="key", by=Maker.US),)
VENDORS = (Field(name="key", by=Maker.VENDOR),)
BOTH = (*OURS, Field(name="id", by=Maker.VENDOR))
WITH_ARTEFACT = (*OURS, Field(name="recovery", by=Maker.VENDOR, artefact=True))

BEGIN = "preflight mint stage"
END = "announce hold retire prove tidy"


def coexisting(fields: tuple[Field, ...]) -> Traits:
    return Traits(fields=fields, live_max=None, grace_s=None, revoke=Revoke.REFUSE)


def in_place(fields: tuple[Field, ...], *, grace_s: float = 0.0, answer_is_commit: bool = False) -> Traits:
    return Traits(fields=fields, live_max=1, grace_s=grace_s, answer_is_commit=answer_is_commit)


TABLE = {
    "ours, coexisting": (coexisting(OURS), False, Mode.NORMAL, f"{BEGIN} issue verify publish {END}"),
    "the vendor's, coexisting": (
        coexisting(VENDORS),
        False,
        Mode.NORMAL,
        f"preflight issue stage verify publish {END}",
    ),
    "of both makers, coexisting": (
        coexisting(BOTH),
        False,
        Mode.NORMAL,
        f"preflight mint issue stage verify publish {END}",
    ),
    "an artefact delays neither stage nor publish, and is stored after that": (
        coexisting(WITH_ARTEFACT),
        False,
        Mode.NORMAL,
        f"{BEGIN} issue verify publish store {END}",
    ),
    "ours, in place, nobody drains": (
        in_place(OURS),
        False,
        Mode.NORMAL,
        f"{BEGIN} issue verify publish announce prove tidy",
    ),
    "ours, in place, drained": (
        in_place(OURS),
        True,
        Mode.NORMAL,
        f"{BEGIN} quiesce issue verify publish release announce prove tidy",
    ),
    "the vendor's, in place, drained, the answer is the commit": (
        in_place(VENDORS, answer_is_commit=True),
        True,
        Mode.NORMAL,
        "preflight quiesce issue stage publish verify release announce prove tidy",
    ),
    "ours, with a grace": (
        in_place(OURS, grace_s=3600.0),
        False,
        Mode.NORMAL,
        f"{BEGIN} issue verify publish announce prove tidy",
    ),
    "coexisting versions never drain": (
        coexisting(OURS),
        True,
        Mode.NORMAL,
        f"{BEGIN} issue verify publish {END}",
    ),
    "first": (coexisting(OURS), False, Mode.FIRST, f"{BEGIN} issue verify publish announce tidy"),
    "first, in place": (in_place(OURS), True, Mode.FIRST, f"{BEGIN} issue verify publish announce tidy"),
    "tokens that end by their own expiry": (
        Traits(fields=VENDORS, live_max=None, grace_s=None, own_expiry=True),
        True,
        Mode.NORMAL,
        "preflight issue stage verify publish announce prove tidy",
    ),
    "current dead": (
        coexisting(OURS),
        False,
        Mode.CURRENT_DEAD,
        f"{BEGIN} issue verify publish announce retire prove tidy",
    ),
    "current dead, in place": (
        in_place(OURS),
        True,
        Mode.CURRENT_DEAD,
        f"{BEGIN} issue verify publish announce prove tidy",
    ),
    "break-glass": (
        in_place(OURS),
        True,
        Mode.BREAK_GLASS,
        f"{BEGIN} quiesce issue verify publish release announce prove tidy",
    ),
    "rollback": (
        coexisting(OURS),
        False,
        Mode.ROLLBACK,
        f"preflight verify publish {END}",
    ),
}


@pytest.mark.parametrize(("traits", "drains", "mode", "steps"), TABLE.values(), ids=TABLE.keys())
def test_the_list_is_derived(traits: Traits, drains: bool, mode: Mode, steps: str) -> None:
    assert " ".join(derive(traits, Choices(drains=drains), mode)) == steps


often = settings(max_examples=60, deadline=None)
fields = st.sampled_from([OURS, VENDORS, BOTH, WITH_ARTEFACT])
any_traits = st.builds(
    Traits,
    fields=fields,
    live_max=st.sampled_from([None, 1, 2, 5]),
    grace_s=st.sampled_from([None, 0.0, 3600.0]),
    own_expiry=st.booleans(),
    answer_is_commit=st.booleans(),
    revoke=st.sampled_from(Revoke),
)
any_choices = st.builds(
    Choices,
    drains=st.booleans(),
    holds=st.booleans(),
    retires=st.booleans(),
    bridge=st.sampled_from([(), ("net/token",)]),
)
modes = st.sampled_from(Mode)


@often
@given(any_traits, any_choices, modes)
def test_each_step_is_there_at_most_once(traits: Traits, choices: Choices, mode: Mode) -> None:
    steps = derive(traits, choices, mode)
    assert len(steps) == len(set(steps))


@often
@given(any_traits, any_choices, modes)
def test_the_order_is_the_protocols_but_for_what_is_staged_late_and_published_early(
    traits: Traits, choices: Choices, mode: Mode
) -> None:
    steps = [step for step in derive(traits, choices, mode) if step not in (Step.STAGE, Step.VERIFY)]
    assert steps == sorted(steps, key=list(Step).index)


@often
@given(any_traits, any_choices, modes)
def test_publish_comes_before_verify_only_where_the_answer_is_the_commit_and_the_old_one_dies(
    traits: Traits, choices: Choices, mode: Mode
) -> None:
    steps = derive(traits, choices, mode)
    early = steps.index(Step.PUBLISH) < steps.index(Step.VERIFY)
    assert early == (traits.answer_is_commit and traits.dies_by_issue)


@often
@given(any_traits, any_choices, modes)
def test_a_value_of_ours_is_minted_and_staged_before_issue(traits: Traits, choices: Choices, mode: Mode) -> None:
    steps = derive(traits, choices, mode)
    if Step.ISSUE in steps:
        assert (Step.MINT in steps) == bool(traits.made_by(Maker.US))
        assert (steps.index(Step.STAGE) > steps.index(Step.ISSUE)) == bool(traits.made_by(Maker.VENDOR))


@often
@given(any_traits, any_choices)
def test_hold_and_retire_are_there_exactly_where_old_and_new_coexist(traits: Traits, choices: Choices) -> None:
    steps = derive(traits, choices)
    assert (Step.HOLD in steps) == (Step.RETIRE in steps) == (traits.coexist and not traits.own_expiry)


@often
@given(any_traits, any_choices, modes)
def test_what_bridges_is_made_just_before_the_drain_and_the_issue_that_it_bridges(
    traits: Traits, choices: Choices, mode: Mode
) -> None:
    steps = derive(traits, choices, mode)
    useful = traits.dies_by_issue and bool(choices.bridge)
    assert (Step.BRIDGE in steps) == (useful and mode is Mode.NORMAL)
    if Step.BRIDGE in steps:
        assert steps[steps.index(Step.BRIDGE) + 1] in (Step.QUIESCE, Step.ISSUE)


@often
@given(any_traits, any_choices, modes)
def test_who_is_drained_is_released_and_nobody_else(traits: Traits, choices: Choices, mode: Mode) -> None:
    steps = derive(traits, choices, mode)
    assert (Step.QUIESCE in steps) == (Step.RELEASE in steps)
    if Step.QUIESCE in steps:
        assert choices.drains
        assert traits.dies_by_issue


@often
@given(any_traits, any_choices)
def test_a_first_version_has_nothing_to_hold_retire_or_prove(traits: Traits, choices: Choices) -> None:
    gone = {Step.QUIESCE, Step.RELEASE, Step.HOLD, Step.RETIRE, Step.PROVE}
    assert not gone & set(derive(traits, choices, Mode.FIRST))


@often
@given(any_traits, any_choices, modes)
def test_every_rotation_looks_first_verifies_publishes_and_tidies_last(
    traits: Traits, choices: Choices, mode: Mode
) -> None:
    steps = derive(traits, choices, mode)
    assert steps[0] is Step.PREFLIGHT
    assert steps[-1] is Step.TIDY
    assert {Step.VERIFY, Step.PUBLISH, Step.ANNOUNCE} <= set(steps)


@often
@given(any_traits, any_choices, modes)
def test_an_artefact_is_stored_when_consumers_go_on_already(traits: Traits, choices: Choices, mode: Mode) -> None:
    steps = derive(traits, choices, mode)
    assert (Step.STORE in steps) == bool(traits.artefacts)
    if Step.STORE in steps:
        assert all(steps.index(Step.STORE) > steps.index(s) for s in (Step.PUBLISH, Step.RELEASE) if s in steps)
