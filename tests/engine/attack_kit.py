"""What the attacks share: a rig in a known state, and short names for what an operator does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.test_crashes import VARIANTS
from keyturn.config.model import Notify
from keyturn.engine.entry import Ask, rollback
from keyturn.engine.outcome import Outcome
from keyturn.testing.rig import Rig

TELL = Notify(exec=("/bin/true",))
DAY = 86_400.0


def adopted(folder: Path, fake: str = "open", **more: Any) -> Rig:
    folder.mkdir(exist_ok=True)
    rig = Rig(folder=folder, fake=fake, account=VARIANTS.get(fake, {}), **more)
    rig.adopt()
    return rig


def held(folder: Path, **more: Any) -> Rig:
    """Version 2 is published and holds; version 1 lives on."""
    rig = adopted(folder, **more)
    assert rig.rotate().status == "holding"
    return rig


def act(rig: Rig, doing: Callable[..., Outcome], /, **more: Any) -> Outcome:
    """One process that does what an operator asked for."""
    bench = rig.bench()
    try:
        return doing(bench, rig.job(bench), **more)
    finally:
        bench.journal.close()


def back(rig: Rig) -> Outcome:
    bench = rig.bench()
    try:
        return rollback(bench, rig.job(bench), Ask(reason="back"))
    finally:
        bench.journal.close()


def numbers(rig: Rig) -> dict[int, str]:
    return {v.number: v.state.value for v in rig.state().versions.values()}


def current(rig: Rig) -> int:
    version = rig.state().current
    assert version is not None
    return version.number


def handle(rig: Rig, number: int) -> str:
    return next(v.handle or "" for v in rig.state().versions.values() if v.number == number)
