"""The plan's digest: the same for the same plan, whenever and wherever; another as soon as anything approved is."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.config.model import Account, Consumer, ManagedSecret, Notify
from keyturn.engine.job import BoundSink, Job
from keyturn.engine.plan import BEST_FIRST, Plan, choose, make_plan
from keyturn.engine.record.state import SecretState, VersionState
from keyturn.model import Field, Maker, Mode, Repeat, Revoke, Slot, Traits
from keyturn.plugins.hookspecs import Kind, Plugin
from keyturn.plugins.overlap import OverlapPolicy
from keyturn.schedule import RotatePolicy
from keyturn.states import State
from keyturn.testing.rig import OVERLAPS

OPEN = Traits(fields=(Field(name="key", by=Maker.US),), live_max=None, grace_s=None, revoke=Revoke.REFUSE)
AT_ONCE = replace(OPEN, live_max=1, grace_s=0.0)
SLOTTED = replace(OPEN, live_max=2, slots=(Slot(name="a"), Slot(name="b")))
BRIDGED = replace(AT_ONCE, derived_s=900.0)
MINUTE = OverlapPolicy(hold_s=60.0)
TELL = Notify(exec=("/bin/true",))
PLUGIN = Plugin(kind=Kind.PROVIDER, name="fake", summary="", load=lambda: lambda context, account: None)
V1 = VersionState(id="v1", number=1, state=State.CURRENT, made_at=0.0, handle="h1", published=True, slot="a")
MANAGED = SecretState(secret="app/main", versions={"v1": V1})
NEAR = BoundSink(key="near:a", sink="near", plugin="fake", target=None, place=None, fields={"key": "key"})


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a plan is made from."""

    traits: Traits = OPEN
    policy: OverlapPolicy = MINUTE
    consumers: tuple[Consumer, ...] = (Consumer(name="kong"),)
    sinks: tuple[BoundSink, ...] = (NEAR,)
    state: SecretState = MANAGED
    mode: Mode = Mode.NORMAL
    name: str = "app/main"
    subject: str = "fake:main"
    account: str = "vendor"
    options: str = "o1"
    compromised: bool = False

    def plan(self) -> Plan:
        return make_plan(self.job(), self.state, mode=self.mode, compromised=self.compromised)

    def job(self) -> Job:
        secret = ManagedSecret(
            name=self.name,
            provider=self.account,
            target=None,
            rotate=RotatePolicy(),
            overlap=self.policy,
            sinks=(),
            consumers=self.consumers,
            subject=self.subject,
        )
        return Job(
            secret=secret,
            account=Account(name=self.account, kind="fake", plugin=PLUGIN, options=None),
            provider=None,
            traits=self.traits,
            sinks=self.sinks,
            overlaps=lambda name: OVERLAPS[name](),
            options=self.options,
            plugins={self.account: "fake"},
        )


def with_version(**changes: Any) -> SecretState:
    return replace(MANAGED, versions={"v1": replace(V1, **changes)})


def also(**changes: Any) -> SecretState:
    older = replace(V1, id="v0", number=0, state=State.PREVIOUS, **changes)
    return replace(MANAGED, versions={"v0": older, "v1": V1})


CHANGES: dict[str, dict[str, Any]] = {
    "the secret": {"name": "app/other"},
    "its subject": {"subject": "fake:other"},
    "the account": {"account": "other"},
    "the configured options": {"options": "o2"},
    "the mode": {"mode": Mode.CURRENT_DEAD},
    "compromised": {"compromised": True},
    "the hold": {"policy": OverlapPolicy(hold_s=61.0)},
    "the longest hold": {"policy": OverlapPolicy(hold_s=60.0, hold_max_s=3600.0)},
    "the retire window": {"policy": OverlapPolicy(hold_s=60.0, retire_window="Mon-Thu 09:00-16:00 UTC")},
    "a sink more": {"sinks": (NEAR, replace(NEAR, key="far:a", sink="far"))},
    "a sink less": {"sinks": ()},
    "a sink's fields": {"sinks": (replace(NEAR, fields={"value": "key"}),)},
    "how many previous ones a sink keeps": {"sinks": (replace(NEAR, keep_previous=3),)},
    "a consumer more": {"consumers": (Consumer(name="kong"), Consumer(name="eu"))},
    "a consumer that must acknowledge": {"consumers": (Consumer(name="kong", acknowledge=True),)},
    "a consumer that is told": {"consumers": (Consumer(name="kong", announce=TELL),)},
    "the vendor's traits": {"traits": replace(OPEN, repeat=Repeat.SAFE)},
    "the version's number": {"state": with_version(number=4)},
    "what it ends": {"state": also(handle="h0")},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_anything_approved_changes_the_digest(change: dict[str, Any]) -> None:
    assert replace(Given(), **change).plan().digest != Given().plan().digest


@pytest.mark.parametrize("strategy", ["dual", "alternating"])
def test_another_slot_is_another_plan(strategy: str) -> None:
    given = Given(traits=SLOTTED, policy=OverlapPolicy(strategy=strategy))
    moved = replace(given, state=with_version(slot="b"))
    assert (given.plan().digest == moved.plan().digest) == (strategy == "dual")


def test_another_outage_is_another_plan() -> None:
    five, nine = (Given(traits=AT_ONCE, policy=OverlapPolicy(accept_outage_s=s)) for s in (500.0, 900.0))
    cut = replace(five, policy=replace(five.policy, strategy="cutover"))
    longer = replace(nine, policy=replace(nine.policy, strategy="cutover"))
    assert cut.plan().digest != longer.plan().digest


UNAPPROVED: dict[str, dict[str, Any]] = {
    "when the current one was made": {"state": with_version(made_at=99.0, current_since=99.0)},
    "how far the journal is": {"state": replace(MANAGED, seq=40, at=99.0)},
    "where the current one was accepted": {"state": with_version(accepted=frozenset({"e1", "e2"}))},
}


@pytest.mark.parametrize("change", UNAPPROVED.values(), ids=UNAPPROVED.keys())
def test_time_and_history_do_not_change_the_digest(change: dict[str, Any]) -> None:
    assert replace(Given(), **change).plan().digest == Given().plan().digest


def test_every_process_finds_the_same_digest() -> None:
    code = "from unit.test_plan import Given; print(Given().plan().digest)"
    found = {digest_of(code, seed) for seed in ("0", "1", "4711")}
    assert found == {Given().plan().digest}


def digest_of(code: str, hash_seed: str) -> str:
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_digest_is_short_enough_to_be_read_out() -> None:
    digest = Given().plan().digest
    assert len(digest) == 16
    assert digest == digest.lower()
    assert len(bytes.fromhex(digest)) == len(hashlib.sha256().digest()) / 4


# What `auto` takes, and what refuses a plan before anything is asked

AUTO = {
    "slots are used in turn": (SLOTTED, None, "alternating", []),
    "old and new side by side": (OPEN, None, "dual", []),
    "what is derived bridges it": (BRIDGED, None, "grace", []),
    "never an outage by itself": (AT_ONCE, None, "grace", ["outage-not-accepted"]),
    "an outage that is accepted": (AT_ONCE, 60.0, "grace", []),
    "in place without a grace": (replace(AT_ONCE, grace_s=None), 60.0, "cutover", []),
    "in place, nothing accepted": (replace(AT_ONCE, grace_s=None), None, "cutover", ["outage-not-accepted"]),
}


@pytest.mark.parametrize(("traits", "accepts", "overlap", "codes"), AUTO.values(), ids=AUTO.keys())
def test_auto_takes_the_best_that_fits(traits: Traits, accepts: float | None, overlap: str, codes: list[str]) -> None:
    given = Given(traits=traits, policy=OverlapPolicy(accept_outage_s=accepts))
    name, choices = choose(given.job(), given.state)
    assert (name, [problem.code for problem in choices.problems]) == (overlap, codes)


def test_auto_knows_every_overlap() -> None:
    assert set(BEST_FIRST) == OVERLAPS.keys()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing is current": ({"state": SecretState(secret="app/main")}, "unmanaged"),
    "a first one where one is current": ({"mode": Mode.FIRST}, "not-first"),
    "no room at the vendor": ({"traits": replace(OPEN, live_max=2), "state": also(handle="h0")}, "no-room"),
    "no idle slot": ({"traits": SLOTTED, "state": also(slot="b")}, "no-idle-slot"),
    "an outage nobody accepted": ({"traits": AT_ONCE}, "outage-not-accepted"),
}


@pytest.mark.parametrize(("change", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_a_plan_that_can_not_be_carried_out_says_so_and_what_to_type(change: dict[str, Any], code: str) -> None:
    problems = replace(Given(), **change).plan().problems
    assert code in [problem.code for problem in problems]
    assert all(problem.fatal and problem.hint for problem in problems)


def test_a_plan_as_data_names_no_value_and_ends_the_versions_it_says() -> None:
    data = replace(Given(), state=also(handle="h0")).plan().as_data()
    assert (data["replaces"], data["version"], data["ends"]) == (1, 2, [0, 1])
    assert data["steps"][0] == "preflight"
