"""`kill -9` of the real program at every journal write of a PingAuthorize rotation; then `run` until quiet."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from crash.town import SECRET, Town, town

pytestmark = pytest.mark.sweep


def promises_hold(one: Town, where: str) -> None:
    """P1 and P2 from outside, at this very moment."""
    served = one.served()
    assert one.accepted(served) == [True, True], f"{where}: the file serves a value that a server refuses"
    known = {served, *one.sealed()}
    assert any(all(one.accepted(value)) for value in known), where


def killed_and_finished(folder: Path, at: int, when: str) -> bool:
    """One kill and its aftermath; whether the rotation got that far at all."""
    where = f"killed {when} write {at}"
    with town(folder) as one:
        one.adopt()
        old = one.served()
        died = one.killed(at, when, "rotate", SECRET, "--yes")
        promises_hold(one, where)
        status = one.run_until_quiet()
        promises_hold(one, where)
        new = one.served()
        assert status == "current", f"{where}: {status}"
        listed = {name for member in one.sim.world.members for name in member.names}
        assert len(listed) == 1, f"{where}: {listed}"
        assert (one.accepted(old) == [False, False]) == (new != old), where
        for value in (old, new):
            assert one.leaks(value) == [], where
        creates = [entry["name"] for entry in one.sim.log if entry["on"] == "create"]
        assert len(creates) == len(set(creates)), f"{where}: a create was repeated blindly"
        assert one.chain_is_whole(), where
        return died


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_journal_write_the_next_runs_finish_and_keep_every_promise(tmp_path: Path, when: str) -> None:
    def try_one(at: int) -> bool:
        return killed_and_finished(tmp_path / f"{when}-{at}", at, when)

    with ThreadPoolExecutor(2) as pool:
        for first in count(1, 2):
            died = list(pool.map(try_one, (first, first + 1)))
            if not all(died):
                break
    assert first > 20
