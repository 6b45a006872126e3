"""Where issue ends the old version and the vendor makes the new one, every place is written to before issue is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.errors import RefusedError
from keyturn.testing.faults import Crash
from keyturn.testing.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    one = Rig(folder=tmp_path, fake="grace")
    one.adopt()
    return one


def test_a_place_that_can_be_read_and_not_written_refuses_the_rotation_before_the_old_version_ends(rig: Rig) -> None:
    served = rig.served()
    rig.stores["far"].faults.add("stage", "refused")
    with pytest.raises(RefusedError, match="far:app/main can not be written") as refused:
        rig.rotate()
    assert refused.value.hint
    assert rig.vendor.log == []
    assert rig.state().rotation is None
    assert rig.served() == served
    assert [store.at("app/main").pending for store in rig.stores.values()] == [None, None]


def test_a_place_whose_pending_versions_can_not_be_removed_refuses_too(rig: Rig) -> None:
    rig.stores["near"].faults.add("discard", "refused")
    with pytest.raises(RefusedError, match="near:app/main can not have a pending version removed"):
        rig.rotate()
    assert rig.vendor.log == []


def test_the_marker_is_gone_before_the_reset_and_was_never_what_consumers_read(rig: Rig) -> None:
    served = rig.served()
    rig.vendor.faults.add("issue", "crash-before")
    with pytest.raises(Crash):
        rig.rotate()
    assert rig.served() == served
    for store in rig.stores.values():
        assert [verb for verb, *_ in store.log if verb in ("stage", "discard")] == ["stage", "discard"]
        assert store.at("app/main").pending is None


def test_a_marker_that_a_crash_left_behind_gives_way_to_the_next_rotation(rig: Rig) -> None:
    rig.stores["far"].faults.add("discard", "crash-before")
    with pytest.raises(Crash):
        rig.rotate()
    assert rig.stores["far"].at("app/main").pending is not None
    rig.clock.advance(rig.limits.lease_s + 1)
    assert rig.rotate().status in ("done", "holding")
    assert rig.stores["far"].at("app/main").pending is None


def test_a_write_whose_answer_was_lost_is_taken_back_and_said(rig: Rig) -> None:
    rig.stores["far"].faults.add("stage", "after")
    with pytest.raises(RefusedError, match="far:app/main can not be written"):
        rig.rotate()
    assert rig.stores["far"].at("app/main").pending is None


@pytest.mark.parametrize("fake", ["open", "second-key", "slots"])
def test_where_nothing_ends_by_issue_preflight_writes_nothing(tmp_path: Path, fake: str) -> None:
    rig = Rig(folder=tmp_path, fake=fake)
    rig.adopt()
    rig.rotate()
    assert all(len([verb for verb, *_ in store.log if verb == "stage"]) <= 1 for store in rig.stores.values())
