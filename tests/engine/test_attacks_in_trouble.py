"""Histories killed, stopped, robbed of their lease or out of disk at every journal write: every promise holds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.attack_kit import TELL, act, adopted, back, handle, held, numbers
from engine.promises import never_broken, never_lost
from engine.test_crashes import end_is_good
from keyturn.config.model import Consumer
from keyturn.engine.adoption import Adoption, adopt, repair
from keyturn.engine.operator import abandon
from keyturn.errors import KeyturnError, NotSent
from keyturn.journal import faults
from keyturn.journal.store import Journal
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig

# Killed at every journal write, in every kind of history

Story = Callable[[Rig], object]


def _superseded(rig: Rig) -> None:
    rig.rotate()
    rig.rotate(force=True, reason="again")
    rig.clock.advance(61)
    rig.run()


def _rolled_back(rig: Rig) -> None:
    rig.rotate()
    back(rig)
    rig.clock.advance(61)
    rig.run()


def _abandoned(rig: Rig) -> None:
    rig.rotate()
    act(rig, abandon, reason="later")
    rig.clock.advance(61)
    rig.run()
    rig.run()


def _undone(rig: Rig) -> None:
    rig.vendor.endpoints[next(reversed(rig.vendor.endpoints))].lag_s = 8000.0
    rig.clock.advance(9000)
    rig.rotate()
    rig.run()
    rig.vendor.endpoints[next(reversed(rig.vendor.endpoints))].lag_s = 0.0


def _abandoned_in_doubt(rig: Rig) -> None:
    rig.vendor.faults.add("issue", "late:20")
    rig.with_limits(patience_s=0.0)
    rig.rotate()
    act(rig, abandon, reason="wrong week")
    rig.with_limits(patience_s=600.0)
    act(rig, abandon, reason="wrong week")


def _repaired(rig: Rig) -> None:
    old = dict(rig.stores["far"].serves("app/main") or {})
    rig.rotate()
    rig.stores["far"].foreign_write("app/main", old)
    rig.clock.advance(61)
    act(rig, repair)
    rig.run()


def _compromised_over_a_hold(rig: Rig) -> None:
    rig.rotate()
    rig.rotate(compromised=True, reason="leaked")
    rig.run()


def _superseded_after_undo(rig: Rig) -> None:
    rig.rotate()
    rig.vendor.faults.add("issue", "refused")
    rig.rotate(force=True, reason="again")
    rig.clock.advance(61)
    rig.run()


STORIES: dict[str, Story] = {
    story.__name__: story
    for story in (
        _superseded,
        _rolled_back,
        _abandoned,
        _undone,
        _abandoned_in_doubt,
        _repaired,
        _compromised_over_a_hold,
        _superseded_after_undo,
    )
}


def told(rig: Rig, story: Story) -> bool:
    """Whether the story was cut short."""
    try:
        story(rig)
    except Crash:
        return True
    return False


@pytest.mark.sweep
@pytest.mark.parametrize("fake", ["open", "approle"])
@pytest.mark.parametrize("name", sorted(STORIES))
def test_a_story_killed_after_any_journal_write_in_one_process_keeps_every_promise(
    tmp_path: Path, name: str, fake: str
) -> None:
    for at in count(1 if fake == "open" else 2, 2):
        rig = adopted(tmp_path / f"{at}", fake=fake)
        total = _Total(at)
        rig.crash = total.wrap
        died = told(rig, STORIES[name])
        rig.crash = lambda journal: journal
        rig.with_limits(patience_s=600.0)
        where = f"{fake} {name} killed at {at}"
        assert never_lost(rig), where
        assert name == "_repaired" or never_broken(rig), where
        for endpoint in rig.vendor.endpoints.values():
            endpoint.lag_s = 0.0
        rig.vendor.faults.clear()
        rig.clock.advance(rig.limits.lease_s + 1)
        if name == "_repaired":
            act(rig, repair)
        rig.settle()
        rotation = rig.state().rotation
        if rotation and rotation.ended and rotation.ended.outcome in ("abandoned", "superseded"):
            assert rig.state().previous == (), where
        else:
            end_is_good(rig, where)
        assert len({c.handle for c in rig.vendor.of("main")}) == 1, where
        if not died:
            break
    assert at > 10


class _Total:
    """Counts the writes of all processes of a story together."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.last: CrashingJournal | None = None

    def wrap(self, journal: Journal) -> Journal:
        self.left -= self.last.writes if self.last else 0
        self.last = CrashingJournal(journal, max(self.left, 0), "after")
        return self.last


# A run that is asked to stop, loses its lease, meets a full disk, or a clock that jumps, at every turn


class _Trouble(CrashingJournal):
    """At the n-th write something else than death happens."""

    def __init__(self, journal: Journal, at: int, trouble: Callable[[], None]) -> None:
        super().__init__(journal, 0)
        self.nth = at
        self.trouble = trouble

    def _write(self, write: Callable[[], Any]) -> Any:
        self.writes += 1
        if self.writes == self.nth:
            self.trouble()
        return write()


@pytest.mark.sweep
@pytest.mark.parametrize("what", ["full", "jump", "stop", "taken"])
@pytest.mark.parametrize("fake", ["open", "hashed", "grace", "console", "approle"])
def test_trouble_at_any_journal_write_ends_resumable_and_keeps_every_promise(
    tmp_path: Path, fake: str, what: str
) -> None:
    for at in count(1, 2):
        rig = adopted(tmp_path / f"{at}", fake=fake)
        hit: list[int] = []

        def trouble(rig: Rig = rig, hit: list[int] = hit) -> None:
            hit.append(1)
            if what == "full":
                raise faults.full("journal.db")
            if what == "jump":
                rig.clock.jump(3600)
            if what == "stop":
                rig.clock.stop()
            if what == "taken":
                rig.clock.jump(rig.limits.lease_s + 1)
                rig.crash = lambda journal: journal
                other = rig.bench("other@test")
                other.journal.acquire("app/main", "other", ttl_s=1.0)
                other.journal.close()

        rig.crash = lambda journal, at=at, trouble=trouble: _Trouble(journal, at, trouble)  # type: ignore[misc]
        code, where = 0, f"{fake} {what} at {at}"
        try:
            code = rig.rotate().exit_code
        except KeyturnError as error:
            code = error.exit_code
        assert code in (0, 4, 6, 7), where
        rig.crash = lambda journal: journal
        rig.clock._stopped = False
        assert never_lost(rig), where
        rig.clock.advance(rig.limits.lease_s + 1)
        rig.settle()
        if rig.state().rotation is not None:
            end_is_good(rig, where)
        if not hit:
            break
    assert at > 8


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fake", ["open", "hashed", "slots"])
def test_an_adoption_killed_at_any_journal_write_may_be_repeated(tmp_path: Path, fake: str, when: Any) -> None:
    for at in count(1):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        rig = Rig(folder=folder, fake=fake)
        name, bundle, slot = rig.vendor.seed()
        adoption = Adoption(bundle=bundle, handle=name, slot=slot)
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, when)  # type: ignore[misc]
        died = False
        try:
            act(rig, adopt, adoption=adoption)
        except Crash:
            died = True
        rig.crash = lambda journal: journal
        rig.clock.advance(rig.limits.lease_s + 1)
        act(rig, adopt, adoption=adoption)
        assert numbers(rig) == {1: "current"}
        assert all(served == bundle.reveal() for served in rig.served())
        rig.rotate()
        rig.settle()
        end_is_good(rig, f"{fake} adopted, killed {when} {at}")
        if not died:
            break
    assert at > 3


@pytest.mark.parametrize("fake", ["hashed", "grace", "console"])
def test_abandon_at_any_journal_write_of_a_cut_over_never_leaves_consumers_with_a_dead_value(
    tmp_path: Path, fake: str
) -> None:
    for at in count(1):
        rig = adopted(tmp_path / f"{at}", fake=fake)
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, "after")  # type: ignore[misc]
        died = False
        try:
            rig.rotate()
        except Crash:
            died = True
        rig.crash = lambda journal: journal
        rig.clock.advance(rig.limits.lease_s + 1)
        for _ in range(2):
            act(rig, abandon, reason="wrong week")
            assert never_broken(rig), f"{fake} abandoned at {at}"
        rig.settle()
        assert never_broken(rig), f"{fake} abandoned at {at}"
        assert rig.state().previous == ()
        if not died:
            break
    assert at > 8


def test_several_previous_versions_are_retired_one_at_a_time_each_with_evidence_of_its_own(tmp_path: Path) -> None:
    rig = held(tmp_path)
    rig.rotate(force=True, reason="again")
    rig.rotate(force=True, reason="and again")
    rig.clock.advance(61)
    real = rig.vendor.unlist  # type: ignore[attr-defined]

    def unlist(call: Any, name: str, endpoint: str) -> None:
        real(call, name, endpoint)
        rig.vendor.endpoints["e1"].blind_to.add(handle(rig, 4))

    rig.vendor.unlist = unlist  # type: ignore[attr-defined]
    outcome = rig.run()
    assert outcome.status == "stuck"
    assert len([v for v in rig.state().versions.values() if v.refuse_sent]) == 1


def test_at_the_end_the_escrow_keeps_the_current_value_only(tmp_path: Path) -> None:
    rig = held(tmp_path)
    rig.rotate(force=True, reason="again")
    rig.clock.advance(61)
    rig.settle()
    bench = rig.bench()
    version = rig.state().current
    assert version is not None
    assert {kept.version_id for kept in bench.escrow.listing("app/main")} == {version.id}


def test_a_drained_consumer_is_released_after_an_abandon_too(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="hashed", consumers=(Consumer(name="signer", quiesce=TELL, release=TELL),))
    rig.notifier.plan["release", "signer"] = [NotSent("busy")] * 4
    assert rig.rotate().status == "unfinished"
    assert "signer was not told to go on" in act(rig, abandon, reason="later").text
    rig.notifier.told.clear()
    rig.settle()
    assert ("release", "signer", 2) in rig.notifier.told
    assert never_broken(rig)


def test_a_superseding_rotation_is_journaled_with_the_end_of_the_older_one_or_not_at_all(tmp_path: Path) -> None:
    rig = held(tmp_path)
    older = rig.state().rotation
    rig.crash = lambda journal: CrashingJournal(journal, 3, "before")
    with pytest.raises(Crash):
        rig.rotate(force=True, reason="again")
    rotation = rig.state().rotation
    assert older is not None
    assert rotation is not None
    assert rotation.open
    bench = rig.bench()
    ends = [event for event in bench.journal.events("app/main") if event.type == "rotation.ended"]
    assert [event.rotation_id for event in ends] in ([], [older.id])
