"""Any history of commands, faults, crashes and waiting: the promises hold after every step, and the end is quiet."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.promises import chain_is_whole, never_broken, never_lost, no_leak, no_strays
from engine.test_crashes import GAPLESS, VARIANTS
from keyturn.config.model import Consumer
from keyturn.engine.adoption import repair
from keyturn.engine.entry import Ask, rollback
from keyturn.engine.operator import abandon, acknowledge, change_hold
from keyturn.errors import KeyturnError
from keyturn.states import State
from keyturn.testing.fakes import FAKES
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig

FAULTS = ("unavailable", "refused", "before", "after", "late:3", "late:20", "refused-after", "hang", "hang-after")
LASTING = {"token": {"seed_life": "30d"}}
"""No rotation here is due by schedule: what expires within such a history would stay so."""

Step = tuple[str, int, str]

STEPS = st.one_of(
    st.tuples(
        st.sampled_from(["rotate", "run", "rollback", "abandon", "ack", "end-hold", "repair"]), st.just(0), st.just("")
    ),
    st.tuples(st.just("wait"), st.sampled_from([1, 30, 61, 200, 5000]), st.just("")),
    st.tuples(st.just("die"), st.integers(1, 30), st.sampled_from(["before", "after"])),
    st.tuples(
        st.sampled_from(["issue", "retire", "stage", "promote", "discard"]), st.integers(1, 3), st.sampled_from(FAULTS)
    ),
)


@contextmanager
def one_rig(fake: str) -> Iterator[Rig]:
    with tempfile.TemporaryDirectory() as folder:
        consumers = (Consumer(name="kong", acknowledge=True),)
        account = {**VARIANTS.get(fake, {}), **LASTING.get(fake, {})}
        rig = Rig(folder=Path(folder), fake=fake, account=account, consumers=consumers)
        rig.adopt()
        yield rig


def command(rig: Rig, name: str) -> None:
    """One process that does one command; what it refuses is as good as what it does."""
    bench = rig.bench()
    try:
        job, current = rig.job(bench), rig.state().current
        number = current.number if current else 1
        commands: dict[str, Callable[[], object]] = {
            "rotate": lambda: rig.rotate(force=True, reason="again"),
            "run": rig.run,
            "rollback": lambda: rollback(bench, job, Ask(reason="back")),
            "abandon": lambda: abandon(bench, job, reason="enough"),
            "ack": lambda: acknowledge(bench, job, number=number, consumer="kong", waive=False, reason=""),
            "end-hold": lambda: change_hold(bench, job, until=None, reason="now"),
            "repair": lambda: repair(bench, job),
        }
        with suppress(KeyturnError, Crash):
            commands[name]()
    finally:
        bench.journal.close()


def take(rig: Rig, step: Step) -> None:
    name, number, detail = step
    if name == "wait":
        rig.clock.advance(number)
    elif name == "die":
        rig.crash = lambda journal: CrashingJournal(journal, number, "before" if detail == "before" else "after")
        command(rig, "run" if rig.state().rotation else "rotate")
        rig.crash = lambda journal: journal
        rig.clock.advance(rig.limits.lease_s + 1)
    elif name in ("issue", "retire"):
        rig.vendor.faults.add(name, detail, nth=number)
    elif name in ("stage", "promote", "discard"):
        rig.stores["near"].faults.add(name, detail, nth=number)
    else:
        command(rig, name)


def at_rest(rig: Rig) -> bool:
    """Nothing is in flight and nothing old is left, but what only its own expiry ends, which is waited for."""
    state = rig.state()
    rotation = state.rotation
    if rotation and rotation.open and rotation.frozen.traits.own_expiry:
        waiting = rotation.waiting
        return waiting is not None and waiting.kind == "hold" and (waiting.until or 0.0) > rig.clock.now()
    expiring = rotation is not None and rotation.frozen.traits.own_expiry
    return (expiring or state.previous == ()) and (rotation is None or rotation.ended is not None)


def come_to_rest(rig: Rig) -> None:
    """Everything behaves from now on: the next runs and acknowledgements finish whatever is there."""
    rig.vendor.faults.clear()
    rig.stores["near"].faults.clear()
    for _ in range(6):
        command(rig, "ack")
        rig.settle(runs=4)


@pytest.mark.parametrize("examples", [10, pytest.param(40, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("fake", sorted(FAKES))
def test_the_promises_hold_in_any_history(fake: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEPS, min_size=1, max_size=12))
    def any_history(steps: list[Step]) -> None:
        with one_rig(fake) as rig:
            for step in steps:
                take(rig, step)
                assert never_lost(rig)
                assert fake not in GAPLESS or never_broken(rig)
            come_to_rest(rig)
            state = rig.state()
            assert never_lost(rig)
            assert never_broken(rig)
            assert no_strays(rig)
            assert no_leak(rig)
            assert chain_is_whole(rig)
            assert [v.state for v in state.versions.values()].count(State.CURRENT) == 1
            assert at_rest(rig)

    any_history()
