"""The fakes obey the contracts that real providers must, and misbehave as told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from keyturn.api import (
    Bundle,
    Doubt,
    Half,
    IssueResponse,
    NotSent,
    Plugin,
    PluginError,
    ProbeResponse,
    Refused,
    Revoke,
    Secret,
    Settled,
    SettleRequest,
    Slot,
    Verdict,
    Version,
    Waiting,
)
from keyturn.model import Field, Maker, Recipe, Traits
from keyturn.testing.clock import FakeClock
from keyturn.testing.context import FakeContext
from keyturn.testing.fakes import FAKES, Vendor
from keyturn.testing.fakes.console import ConsoleVendor
from keyturn.testing.faults import KINDS, Crash, Faults, Wire
from keyturn.testing.provider_contract import ProviderContract, Rotation
from keyturn.traits import validate_traits

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("open", {}),
    ("grace", {}),
    ("grace", {"grace_s": 3600}),
    ("console", {}),
    ("console", {"way": "api"}),
    ("hashed", {}),
    ("hashed", {"sync_s": 30}),
    ("second-key", {}),
    ("second-key", {"readable": False}),
    ("slots", {}),
    ("approle", {}),
    ("lingering", {}),
    ("token", {}),
]


@dataclass
class FakeWorld:
    name: str
    options: Mapping[str, Any]
    clock: FakeClock = field(default_factory=FakeClock)
    tick_s: float = 1.0

    def __post_init__(self) -> None:
        fake = FAKES[self.name]
        self.plugin: Plugin = fake.plugin
        self.vendor: Vendor = fake.make_vendor(self.clock, self.options)
        self.account = self.vendor.account
        assert self.plugin.target
        self.target = self.plugin.target(name="main")
        self.context = FakeContext(self.clock)
        self.beside = self.vendor.seed("beside")[1]

    def seed(self) -> Version:
        handle, bundle, slot = self.vendor.seed()
        return Version(id="admin", number=1, slot=slot, handle=handle, bundle=bundle)

    def neighbour(self) -> Bundle:
        return self.beside

    def accepts(self, endpoint: str, bundle: Bundle) -> bool:
        return self.vendor.accepts(endpoint, bundle)

    def misbehave(self, verb: str, fault: str, nth: int = 1) -> None:
        self.vendor.faults.add(verb, fault, nth=nth)

    def person(self, waiting: Waiting) -> Bundle:
        assert isinstance(self.vendor, ConsoleVendor)
        return self.vendor.person_clicks(waiting.show)


def made(name: str, **options: Any) -> tuple[FakeWorld, Rotation]:
    world = FakeWorld(name, options)
    return world, Rotation(world)


@pytest.fixture(params=VARIANTS, ids=lambda variant: "-".join([variant[0], *map(str, variant[1].values())]))
def world(request: pytest.FixtureRequest) -> Iterator[FakeWorld]:
    name, options = request.param
    one = FakeWorld(name, options)
    yield one
    one.context.close()


class TestFakes(ProviderContract):
    pass


@pytest.mark.parametrize("fault", ["crash-before", "crash-after", "hang", "hang-after"])
def test_after_a_crash_or_a_hang_settle_leads_on(world: FakeWorld, fault: str) -> None:
    rotation = Rotation(world)
    world.misbehave("issue", fault)
    answer: object
    try:
        answer = rotation.issue()
    except Crash as crash:
        answer = crash
    if isinstance(answer, IssueResponse):
        rotation.finish(answer)
        return
    lost = NotSent if rotation.traits.own_expiry else Doubt
    assert isinstance(answer, Crash | lost)
    if isinstance(answer, lost):
        assert world.clock.now() > rotation.attempts[-1].deadline_at
    settled = rotation.settle()
    rotation.judge(settled)
    nothing = fault in {"crash-before", "hang"} and not rotation.traits.own_expiry
    assert (settled.outcome is Settled.NOT_APPLIED) == nothing
    rotation.recover(settled)


@pytest.mark.parametrize(("name", "options"), [("hashed", {}), ("second-key", {"readable": False}), ("approle", {})])
def test_a_sealed_raw_answer_saves_a_value_that_can_not_be_read(name: str, options: dict[str, Any]) -> None:
    world, rotation = made(name, **options)
    assert isinstance(rotation.issue(), IssueResponse)
    raws = tuple(world.context.sealed[rotation.attempts[0].id])
    settled = rotation.ask("settle", settle_request(rotation, raws=raws))
    rotation.adopt(settled)
    broken = (Secret(raws[0].reveal()[:-3]),)
    assert rotation.ask("settle", settle_request(rotation, raws=broken)).outcome is Settled.APPLIED_GONE


def settle_request(rotation: Rotation, raws: tuple[Secret, ...]) -> SettleRequest:
    return SettleRequest(
        call=rotation.call(),
        new=rotation.new,
        witness=rotation.before.witness,
        attempts=tuple(rotation.attempts),
        raws=raws,
    )


def test_a_retry_is_refused_although_the_first_one_was_committed() -> None:
    world, rotation = made("slots")
    world.misbehave("issue", "refused-after")
    assert isinstance(rotation.issue(), Doubt)
    assert isinstance(rotation.issue(), Refused)
    rotation.adopt(rotation.settle())


def test_every_reach_for_a_change_is_logged_with_its_attempt() -> None:
    world, rotation = made("approle")
    world.misbehave("issue", "before")
    rotation.issue()
    rotation.rotate()
    rotation.retire(rotation.current)
    assert [(m.verb, m.what) for m in world.vendor.log] == [
        ("issue", "generate"),
        ("issue", "generate"),
        ("retire", "destroy"),
    ]
    assert [m.attempt_id for m in world.vendor.log[:2]] == [attempt.id for attempt in rotation.attempts]
    assert world.vendor.log[2].handle == rotation.current.handle


def test_a_part_of_an_issue_is_doubt_and_completed_by_the_next_one() -> None:
    world, rotation = made("open")
    world.misbehave("issue", "unavailable", 3)
    assert isinstance(rotation.issue(), Doubt)
    assert world.vendor.accepted_by(rotation.new.bundle) == ("e1",)
    settled = rotation.settle()
    assert settled.outcome is Settled.PARTLY
    rotation.recover(settled)
    assert [m.what for m in world.vendor.log] == ["create", "list at e1", "list at e2", "list at e2"]


def test_an_endpoint_that_joined_is_named_and_completed_by_the_next_issue() -> None:
    world, rotation = made("open")
    rotation.rotate()
    world.vendor.join("e3")
    assert rotation.inspect().endpoints == ("e1", "e2", "e3")
    assert not world.accepts("e3", rotation.new.bundle)
    rotation.before = rotation.inspect()
    rotation.rotate()
    assert world.accepts("e3", rotation.new.bundle)


def test_an_admin_can_remove_a_credential_at_one_endpoint_or_everywhere(world: FakeWorld) -> None:
    rotation = Rotation(world)
    handle = rotation.current.handle
    if rotation.traits.own_expiry:
        assert handle is None, "it has no name that an admin could remove it by"
        return
    assert handle
    first, *others = world.vendor.endpoints
    world.vendor.admin_removes(handle, first)
    assert world.vendor.accepted_by(rotation.current.bundle) == tuple(others)
    world.vendor.admin_removes(handle)
    assert rotation.eventually(lambda: rotation.nowhere(rotation.current), rotation.traits.revocation_s)


def test_an_endpoint_may_prove_nothing_for_a_while_or_hear_late() -> None:
    world, rotation = made("approle")
    gate = world.vendor.endpoints["bao"]
    gate.unknown_until = world.clock.now() + 10
    assert verdict(rotation, rotation.current.bundle) is Verdict.UNKNOWN
    world.clock.advance(10)
    assert verdict(rotation, rotation.current.bundle) is Verdict.ACCEPTED
    gate.lag_s = 20
    answer = rotation.issue()
    assert isinstance(answer, IssueResponse)
    assert not world.accepts("bao", answer.bundle)
    world.clock.advance(20)
    assert world.accepts("bao", answer.bundle)


def verdict(rotation: Rotation, bundle: Bundle) -> Verdict:
    answer = rotation.probe(bundle, rotation.before.endpoints[0])
    assert isinstance(answer, ProbeResponse)
    return answer.verdict


def test_the_old_value_is_accepted_until_its_grace_ends() -> None:
    world, rotation = made("grace", grace_s=600)
    rotation.rotate()
    answer = rotation.probe(rotation.current.bundle, "iam")
    assert isinstance(answer, ProbeResponse)
    assert answer.until == world.clock.now() + 600
    world.clock.advance(600)
    assert rotation.nowhere(rotation.current)
    assert rotation.everywhere(rotation.new)


def test_a_value_expires_at_the_vendor() -> None:
    world, rotation = made("grace")
    rotation.rotate()
    expires_at = rotation.inspect().expires_at
    assert expires_at == world.clock.now() + 90 * 86_400
    world.clock.advance(90 * 86_400)
    assert rotation.nowhere(rotation.new)


def test_a_second_reset_kills_the_value_of_the_first() -> None:
    _, rotation = made("grace")
    first = rotation.rotate()
    rotation.rotate()
    assert rotation.nowhere(first)


def test_the_console_takes_a_pair_of_ciphertexts_once() -> None:
    world, rotation = made("console")
    assert isinstance(world.vendor, ConsoleVendor)
    answer = rotation.issue()
    assert isinstance(answer, IssueResponse)
    assert answer.waiting
    assert not world.vendor.log
    world.vendor.person_clicks(answer.waiting.show)
    with pytest.raises(Refused, match="156004"):
        world.vendor.person_clicks(answer.waiting.show)


def test_a_person_is_waited_for_until_the_patience_ends() -> None:
    world, rotation = made("console", patience="1h")
    rotation.issue()
    world.clock.advance(1800)
    waiting = rotation.settle().waiting
    assert waiting
    assert waiting.until == rotation.attempts[0].sent_at + 3600
    world.clock.advance(1800)
    settled = rotation.settle()
    assert (settled.outcome, settled.waiting) == (Settled.NOT_APPLIED, None)


def test_the_recovery_file_is_lost_with_a_lost_answer() -> None:
    world, rotation = made("console", way="api")
    world.misbehave("issue", "after")
    assert isinstance(rotation.issue(), Doubt)
    settled = rotation.settle()
    assert settled.outcome is Settled.APPLIED
    assert not settled.bundle


def test_a_wrong_current_value_is_refused_and_changes_nothing() -> None:
    _, rotation = made("console", way="api")
    good, rotation.current = rotation.current, replace(rotation.current, bundle=rotation.made_up())
    assert isinstance(rotation.issue(), Refused)
    assert rotation.everywhere(good)


def test_neither_value_in_force_is_somebody_elses() -> None:
    world, rotation = made("console", way="api")
    assert rotation.current.handle
    world.vendor.admin_removes(rotation.current.handle)
    assert rotation.settle().outcome is Settled.REPLACED


def test_a_third_key_is_refused_until_one_is_deleted() -> None:
    _, rotation = made("second-key")
    rotation.rotate()
    rotation.retire(rotation.current)
    rotation.new = rotation.mint(3)
    assert isinstance(rotation.issue(), Refused)
    rotation.retire(rotation.current, Half.REMOVE)
    rotation.rotate()


def test_an_old_name_never_retires_the_version_that_took_its_slot() -> None:
    _, rotation = made("slots")
    first, second = rotation.current, rotation.rotate()
    rotation.retire(first)
    rotation.current = second
    rotation.new = rotation.mint(3)
    armed = rotation.rotate()
    assert armed.slot == first.slot
    answer = rotation.retire(first)
    assert not isinstance(answer, PluginError)
    assert answer.already
    assert rotation.everywhere(armed)


def test_the_slot_of_the_current_version_is_never_overwritten() -> None:
    _, rotation = made("slots")
    rotation.new = replace(rotation.new, slot=rotation.current.slot)
    assert isinstance(rotation.issue(), Refused)
    assert rotation.everywhere(rotation.current)


def test_strays_are_found_by_the_attempt_that_left_them() -> None:
    world, rotation = made("approle")
    world.misbehave("issue", "after")
    rotation.issue()
    settled = rotation.settle()
    stray = rotation.inspect().seen[-1]
    assert (settled.outcome, settled.handle) == (Settled.APPLIED_GONE, stray.handle)
    assert stray.note == rotation.attempts[0].id
    rotation.recover(settled)
    assert stray.handle not in {found.handle for found in rotation.inspect().seen}


def test_a_planned_fault_hits_the_calls_it_names_and_no_other() -> None:
    faults = Faults()
    faults.add("issue", "before", nth=2, times=2)
    assert [bool(faults.take("issue")) for _ in range(4)] == [False, True, True, False]
    assert faults.take("retire") is None
    with pytest.raises(ValueError, match="expected one of"):
        faults.add("issue", "nonsense")
    with pytest.raises(ValueError, match="late with"):
        faults.add("issue", "late")


@pytest.mark.parametrize("name", [name for name in KINDS if name not in {"late", "meddled", "refused-after"}])
def test_a_look_never_ends_in_doubt(name: str) -> None:
    clock = FakeClock()
    wire = Wire(clock)
    wire.faults.add("inspect", name)
    with pytest.raises((NotSent, Refused, Crash)):
        wire.look("inspect", clock.now() + 1, lambda: None)
    assert wire.look("inspect", clock.now() + 1, lambda: "seen") == "seen"


def test_late_calls_land_in_the_order_of_their_times() -> None:
    clock = FakeClock()
    wire, landed = Wire(clock), list[float]()
    for fault in ("late:9", "late:3"):
        wire.faults.add("issue", fault)
        with pytest.raises(Doubt):
            wire.send("issue", math.inf, landed.append)
    clock.advance(20)
    wire.tick()
    assert landed == [clock.now() - 17, clock.now() - 11]


SOUND = Traits(
    fields=(Field(name="key", by=Maker.US, recipe=Recipe()),), live_max=None, grace_s=None, revoke=Revoke.REFUSE
)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"fields": ()}, "nothing to rotate"),
        ({"fields": SOUND.fields * 2}, "one name"),
        ({"fields": (*SOUND.fields, Field(name="file", by=Maker.US, artefact=True))}, "vendor makes it"),
        ({"fields": (Field(name="key", by=Maker.VENDOR, recipe=Recipe()),)}, "has a recipe"),
        ({"fields": (Field(name="key", by=Maker.US, recipe=Recipe(alphabet="aa")),)}, "two different"),
        ({"fields": (*SOUND.fields, Field(name="user", by=Maker.SLOT))}, "there are none"),
        ({"slots": (Slot(name="a"), Slot(name="b"))}, "live_max of at least 2"),
        ({"slots": (Slot(name="a"), Slot(name="a")), "live_max": 2}, "names of their own"),
        ({"slots": (Slot(name="a", fixed={"x": "1"}), Slot(name="b")), "live_max": 2}, "other fields"),
        ({"slots": (Slot(name="a"), Slot(name="b")), "live_max": 2, "grace_s": 0.0}, "may not end"),
        ({"live_max": 0}, "at least 1"),
        ({"live_max": 1, "grace_s": 60.0}, "live_max is not 1"),
        ({"revoke": Revoke.NONE}, "must be revocable"),
        ({"answer_is_commit": True}, "where issue ends"),
        ({"settle_s": -1.0}, "settle_s is negative"),
        ({"probes_max": 0}, "probes_max"),
    ],
)
def test_traits_that_contradict_themselves_are_named(change: dict[str, Any], text: str) -> None:
    assert validate_traits(SOUND) == []
    assert any(text in problem for problem in validate_traits(replace(SOUND, **change)))


def test_no_dump_of_options_holds_the_world(world: FakeWorld) -> None:
    assert "world" not in world.account.model_dump()
    assert "world" not in repr(world.account)
