"""Lost answers, late commits, refused retries, hangs: settled by looking, never by repeating blindly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.promises import chain_is_whole, never_broken, never_lost, no_leak
from engine.test_crashes import VARIANTS, end_is_good
from keyturn.engine.marker import needed
from keyturn.states import State
from keyturn.testing.fakes import FAKES
from keyturn.testing.rig import Rig

FAULTS = ("unavailable", "refused", "before", "after", "late:3", "late:20", "refused-after", "hang", "hang-after")
RETIRING = ("open", "second-key", "slots", "approle")
ONE_ISSUE = ("open", "grace", "second-key", "slots")
"""Fakes whose issue can be found again by looking, value and all."""


def rig_with(tmp_path: Path, fake: str) -> Rig:
    rig = Rig(folder=tmp_path, fake=fake, account=VARIANTS.get(fake, {}))
    rig.adopt()
    return rig


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("fake", sorted(FAKES))
def test_a_lost_or_late_answer_to_issue_is_settled_by_looking(tmp_path: Path, fake: str, fault: str, nth: int) -> None:
    rig = rig_with(tmp_path, fake)
    rig.vendor.faults.add("issue", fault, nth=nth)
    rig.rotate()
    assert never_lost(rig)
    if rig.settle().code == "reissue-refused":
        rig.settle()
    end_is_good(rig, f"{fake} {fault} {nth}")
    if fake in ONE_ISSUE:
        assert issued_once(rig)


def issued_once(rig: Rig) -> bool:
    """Besides the adopted one at most one credential is at the vendor."""
    return len([c for c in rig.vendor.credentials if not c.removed and c.handle]) <= 2 * len(rig.vendor.endpoints)


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("fake", RETIRING)
def test_a_lost_or_late_answer_to_retire_never_ends_the_new_version(
    tmp_path: Path, fake: str, fault: str, nth: int
) -> None:
    rig = rig_with(tmp_path, fake)
    assert rig.rotate().status == "holding"
    rig.clock.advance(61)
    rig.vendor.faults.add("retire", fault, nth=nth)
    rig.run()
    assert never_lost(rig)
    assert never_broken(rig)
    rig.vendor.faults.clear()
    rig.settle()
    end_is_good(rig, f"{fake} {fault} {nth}")


def markers(rig: Rig, verb: str) -> int:
    """How many such calls the first store gets in preflight; what fails there refuses the rotation: see test_marker."""
    assert rig.plugin.traits
    traits: Any = rig.plugin.traits(rig.vendor.account, rig.target)
    return 1 + len(traits.artefacts) if verb != "promote" and needed(traits) else 0


@pytest.mark.parametrize("verb", ["stage", "promote", "discard"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("fake", sorted(FAKES))
def test_a_sink_that_loses_answers_is_finished_later_and_never_serves_a_dead_value(
    tmp_path: Path, fake: str, fault: str, verb: str
) -> None:
    rig = rig_with(tmp_path, fake)
    rig.stores["near"].faults.add(verb, fault, nth=1 + markers(rig, verb), times=2)
    rig.rotate()
    assert never_lost(rig)
    rig.settle()
    end_is_good(rig, f"{fake} {fault} {verb}")


@pytest.mark.parametrize("fake", sorted(FAKES))
def test_one_sink_down_for_an_hour_is_repaired_alone(tmp_path: Path, fake: str) -> None:
    rig = rig_with(tmp_path, fake)
    rig.stores["near"].faults.add("promote", "unavailable", times=40)
    outcome = rig.rotate()
    assert (outcome.status, outcome.exit_code) == ("unfinished", 6)
    served: Mapping[str, Any] | None = rig.stores["far"].serves("app/main")
    assert rig.state().current is not None
    assert rig.state().current.number == 2  # type: ignore[union-attr]
    assert served != rig.stores["near"].serves("app/main")
    rig.stores["near"].faults.clear()
    rig.settle()
    end_is_good(rig, fake)
    assert no_leak(rig)
    assert chain_is_whole(rig)


def test_a_value_that_never_reached_us_is_issued_again_once_and_both_facts_are_journaled(tmp_path: Path) -> None:
    rig = rig_with(tmp_path, "hashed")
    rig.vendor.faults.add("issue", "after")
    rig.rotate()
    rig.settle()
    told = "\n".join(rig.lines)
    assert "applied_gone" in told
    assert "Reissuing" in told
    end_is_good(rig, "hashed")
    assert rig.state().current.number == 3  # type: ignore[union-attr]


def test_a_refusal_after_a_lost_value_is_never_called_undone_since_the_old_version_is_dead(tmp_path: Path) -> None:
    rig = rig_with(tmp_path, "hashed")
    rig.vendor.faults.add("issue", "refused-after")
    outcome = rig.rotate()
    assert (outcome.status, outcome.code, outcome.exit_code) == ("stuck", "reissue-refused", 5)
    assert outcome.next.endswith("keyturn resume app/main")
    assert rig.run().status == "done"
    rig.clock.advance(100)
    end_is_good(rig, "hashed")


def test_a_stray_whose_value_is_gone_is_withdrawn(tmp_path: Path) -> None:
    rig = rig_with(tmp_path, "approle")
    rig.vendor.faults.add("issue", "after")
    rig.rotate()
    rig.settle()
    end_is_good(rig, "approle")
    live = [c.handle for c in rig.vendor.of("main")]
    current = rig.state().current
    assert current is not None
    assert live == [current.handle]
    assert {v.state for v in rig.state().versions.values()} == {State.RETIRED, State.CURRENT}
