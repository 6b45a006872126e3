"""Holding a secret: one runner at a time, a dead one is followed at once, one that lost its lease writes no more."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.engine.bench import Bench
from keyturn.engine.effects.leases import Held, holding
from keyturn.engine.effects.runner import runner_id
from keyturn.engine.record.events import Paused, draft
from keyturn.errors import HeldElsewhereError
from keyturn.journal.store import LeaseLost
from keyturn.testing.rig import Rig

NAME = "app/main"
DEAD = "from keyturn.engine.effects.runner import runner_id; print(runner_id())"
LIMIT_S = 20.0


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(folder=tmp_path)


@pytest.fixture
def benches(rig: Rig) -> Iterator[tuple[Bench, Bench]]:
    """Two processes on one journal."""
    first, second = rig.bench(), rig.bench()
    yield first, second
    first.journal.close()
    second.journal.close()


def a_dead_runner() -> str:
    return subprocess.run([sys.executable, "-c", DEAD], check=True, capture_output=True, text=True).stdout.strip()


def write(bench: Bench, held: Held) -> None:
    bench.journal.append(NAME, [draft(Paused(until=1.0))], lease=held.lease)


def test_a_held_secret_is_refused_with_its_holder_and_what_to_do(benches: tuple[Bench, Bench]) -> None:
    first, second = benches
    with holding(first, NAME), pytest.raises(HeldElsewhereError) as caught, holding(second, NAME):
        raise AssertionError("two runners hold one secret")
    assert (caught.value.code, caught.value.exit_code, caught.value.place) == ("held-elsewhere", 7, NAME)
    assert caught.value.fields == {"runner": first.runner}
    assert "keyturn status" in caught.value.hint


def test_a_secret_is_free_again_when_its_holder_is_done(benches: tuple[Bench, Bench]) -> None:
    first, second = benches
    with holding(first, NAME) as held:
        fence = held.lease.fence
    with holding(second, NAME) as held:
        assert held.lease.fence > fence


def test_a_secret_is_free_again_when_its_holder_fails(benches: tuple[Bench, Bench]) -> None:
    first, second = benches
    with pytest.raises(ZeroDivisionError), holding(first, NAME):
        raise ZeroDivisionError
    with holding(second, NAME) as held:
        write(second, held)


def test_another_secret_is_not_held(benches: tuple[Bench, Bench]) -> None:
    first, second = benches
    with holding(first, NAME), holding(second, "app/other") as held:
        assert held.lease.subject == "app/other"


def test_who_waits_gets_the_secret_once_the_lease_has_run_out(rig: Rig, benches: tuple[Bench, Bench]) -> None:
    first, second = benches
    lease = first.journal.acquire(NAME, first.runner, ttl_s=5.0)
    with holding(second, NAME, wait_s=10.0) as held:
        assert held.lease.fence > lease.fence
    assert rig.clock.now() >= lease.expires_at


def test_who_waits_in_vain_is_told_so_after_that_time(rig: Rig, benches: tuple[Bench, Bench]) -> None:
    first, second = benches
    began = rig.clock.monotonic()
    with holding(first, NAME), pytest.raises(HeldElsewhereError), holding(second, NAME, wait_s=3.0):
        pass
    assert 3.0 <= rig.clock.monotonic() - began < 4.0


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once(
    rig: Rig, benches: tuple[Bench, Bench]
) -> None:
    lease = benches[0].journal.acquire(NAME, a_dead_runner(), ttl_s=3600.0)
    began = rig.clock.monotonic()
    with holding(benches[1], NAME) as held:
        assert held.lease.fence > lease.fence
        write(benches[1], held)
    assert rig.clock.monotonic() == began


def test_the_lease_of_a_live_process_of_this_machine_is_left_alone(benches: tuple[Bench, Bench]) -> None:
    benches[0].journal.acquire(NAME, runner_id(), ttl_s=3600.0)
    with pytest.raises(HeldElsewhereError), holding(benches[1], NAME):
        pass


def test_a_runner_that_lost_its_lease_writes_no_more_and_says_so(rig: Rig, benches: tuple[Bench, Bench]) -> None:
    first, second = benches

    def overtaken() -> None:
        with holding(first, NAME) as stale:
            rig.clock.advance(rig.limits.lease_s + 1)
            with holding(second, NAME) as held:
                write(second, held)
                write(first, stale)

    with pytest.raises(HeldElsewhereError) as caught:
        overtaken()
    assert (caught.value.code, caught.value.exit_code) == ("lease-lost", 7)
    assert isinstance(caught.value.__cause__, LeaseLost)
    assert len(second.journal.events(NAME)) == 1


def test_the_successor_keeps_its_lease_when_the_one_before_leaves(rig: Rig, benches: tuple[Bench, Bench]) -> None:
    first, second = benches
    with holding(first, NAME):
        rig.clock.advance(rig.limits.lease_s + 1)
        successor = second.journal.acquire(NAME, second.runner, ttl_s=60.0)
    second.journal.renew(successor, ttl_s=60.0)


def test_an_expired_lease_can_not_be_kept_even_when_nobody_took_it(rig: Rig, benches: tuple[Bench, Bench]) -> None:
    def stopped_for_too_long() -> None:
        with holding(benches[0], NAME) as held:
            rig.clock.advance(rig.limits.lease_s + 1)
            held.keep()

    with pytest.raises(HeldElsewhereError, match="lost its lease"):
        stopped_for_too_long()


def test_a_lease_is_renewed_once_a_third_of_its_life_is_over(rig: Rig, benches: tuple[Bench, Bench]) -> None:
    with holding(benches[0], NAME) as held:
        first = held.lease
        rig.clock.advance(rig.limits.lease_s / 4)
        held.keep()
        assert held.lease == first
        rig.clock.advance(rig.limits.lease_s / 4)
        held.keep()
        assert held.lease.expires_at > first.expires_at
        assert held.lease.fence == first.fence


def test_a_lease_is_renewed_while_a_call_runs(rig: Rig) -> None:
    rig.with_limits(lease_s=0.6)
    bench = rig.bench()
    try:
        with holding(bench, NAME) as held:
            first = held.lease
            rig.clock.advance(0.3)
            assert eventually(lambda: held.lease.expires_at > first.expires_at)
    finally:
        bench.journal.close()


def eventually(check: Callable[[], bool]) -> bool:
    """Poll, with a limit; the waiting itself is on an event that never comes."""
    nothing = threading.Event()
    return any(check() or nothing.wait(0.01) for _ in range(int(LIMIT_S / 0.01)))


def test_no_thread_outlives_the_holding(rig: Rig, benches: tuple[Bench, Bench]) -> None:
    with holding(benches[0], NAME):
        assert "lease" in {thread.name for thread in threading.enumerate()}
    assert "lease" not in {thread.name for thread in threading.enumerate()}
