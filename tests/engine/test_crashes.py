"""Killed before or after any journal write, with any fake vendor: the next runs finish, nothing is lost or broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.promises import chain_is_whole, never_broken, never_lost, no_leak, no_strays
from keyturn.states import State
from keyturn.testing.fakes import FAKES
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig

VARIANTS: Mapping[str, Mapping[str, Any]] = {"console": {"way": "api"}}
GAPLESS = ("open", "second-key", "slots", "approle")


def rotated(folder: Path, fake: str, at: int, when: Any) -> tuple[Rig, bool]:
    """A rotation killed at its n-th journal write; whether it got that far at all."""
    folder.mkdir()
    rig = Rig(folder=folder, fake=fake, account=VARIANTS.get(fake, {}))
    rig.adopt()
    rig.crash = lambda journal: CrashingJournal(journal, at, when)
    try:
        for step in (rig.rotate, rig.run, rig.run):
            step()
            rig.clock.advance(200)
    except Crash:
        return rig, True
    finally:
        rig.crash = lambda journal: journal
    return rig, False


QUICK = ("grace", "hashed", "second-key", "slots")
"""One vendor for each overlap; the other ones, and the other side of each write, are swept over."""


def cases() -> Iterator[Any]:
    for when in ("before", "after"):
        for fake in sorted(FAKES):
            quick = when == "after" and fake in QUICK
            yield pytest.param(fake, when, marks=() if quick else pytest.mark.sweep)


@pytest.mark.parametrize(("fake", "when"), list(cases()))
def test_killed_at_any_journal_write_it_ends_done_or_undone_and_keeps_every_promise(
    tmp_path: Path, fake: str, when: str
) -> None:
    for at in count(1):
        rig, died = rotated(tmp_path / f"{at}", fake, at, when)
        where = f"{fake}, killed {when} write {at}"
        assert never_lost(rig), where
        if fake in GAPLESS:
            assert never_broken(rig), where
        rig.clock.advance(rig.limits.lease_s + 1)
        rig.settle()
        end_is_good(rig, where)
        if not died:
            break
    assert at >= 20


def end_is_good(rig: Rig, where: str) -> None:
    state = rig.state()
    assert state.rotation is None or state.rotation.ended, f"{where}: {state.rotation and state.rotation.stuck}"
    if state.rotation and state.rotation.ended:
        assert state.rotation.ended.outcome in ("done", "undone"), where
    assert never_lost(rig), where
    assert never_broken(rig), where
    assert no_strays(rig), where
    assert no_leak(rig), where
    assert chain_is_whole(rig), where
    assert [v.state for v in state.versions.values()].count(State.CURRENT) == 1, where
    assert state.previous == (), where
