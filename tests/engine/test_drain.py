"""Consumers in a cut-over, by a clock that is driven: who must drain, until when, and who tells them to go on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.attack_kit import act, adopted
from engine.promises import never_broken, never_lost
from engine.test_crashes import end_is_good
from keyturn.cli.cut_over import cut_over
from keyturn.config.model import Consumer, Notify
from keyturn.engine.decisions.draining import drain_until
from keyturn.engine.limits import Limits
from keyturn.engine.operator import abandon
from keyturn.errors import NotSent, Refused
from keyturn.model import Mode, Traits
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes import FAKES
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import FakeNotifier, Rig

TELL = Notify(exec=("/bin/true",))
GAPS = ("console", "hashed")


@dataclass
class Listening(FakeNotifier):
    """Consumers that remember when they heard what.

    `slow` is how long each try takes, one after the other; `then` is called once an event got through.
    """

    clock: FakeClock
    slow: dict[str, list[float]] = field(default_factory=dict)
    then: dict[tuple[str, str], Callable[[], object]] = field(default_factory=dict)
    heard: list[tuple[float, str, str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def notify(self, request: Any) -> None:
        """As the base has it; one that answered has done what it was told."""
        tries = self.slow.get(request.consumer)
        self.clock.advance(tries.pop(0) if tries else 0.1)
        super().notify(request)
        self.then.pop((request.event, request.consumer), lambda: None)()
        self.heard.append((self.clock.now(), request.event, request.consumer, request.until or 0.0))

    def words(self, consumer: str) -> list[str]:
        """What it did, in order."""
        return [event for _, event, name, _ in self.heard if name == consumer]

    def drained_at(self, consumer: str, at: float) -> bool:
        """Whether it held back then: told to, not told to go on since, and not by its own deadline."""
        words = [(event, until) for when, event, name, until in self.heard if name == consumer and when <= at]
        last = next(((e, until) for e, until in reversed(words) if e in ("quiesce", "release")), ("release", 0.0))
        return last[0] == "quiesce" and at < last[1]


def drained(folder: Path, fake: str = "console", *, names: tuple[str, ...] = ("signer", "batch"), **more: Any) -> Rig:
    clock = FakeClock()
    must = more.pop("must_drain", True)
    consumers = tuple(Consumer(name=n, quiesce=TELL, release=TELL, announce=TELL, must_drain=must) for n in names)
    return adopted(folder, fake, clock=clock, notifier=Listening(clock), consumers=consumers, **more)


def ears(rig: Rig) -> Listening:
    assert isinstance(rig.notifier, Listening)
    return rig.notifier


def busy() -> list[Exception]:
    return [NotSent("busy")] * 99


def commits(rig: Rig) -> list[float]:
    """When the vendor ended an old version by setting a new one."""
    return [one.born_at for one in rig.vendor.credentials[1:]]


def everybody_goes_on(rig: Rig) -> bool:
    return not any(ears(rig).drained_at(name, rig.clock.now()) for name in ("signer", "batch"))


# Who must drain


@pytest.mark.parametrize("fake", GAPS)
def test_one_that_must_drain_and_can_not_be_told_turns_the_rotation_back_and_is_named(
    tmp_path: Path, fake: str
) -> None:
    rig = drained(tmp_path, fake)
    rig.notifier.plan["quiesce", "batch"] = busy()
    outcome = rig.rotate()
    assert (outcome.status, outcome.code) == ("undone", "quiesce-failed")
    assert "batch was not told to drain: busy" in outcome.text
    assert "drain: best-effort" in outcome.next
    assert [told for told in rig.notifier.told if told[:2] == ("quiesce", "batch")] == [("quiesce", "batch", 2)] * 3
    assert commits(rig) == []
    assert everybody_goes_on(rig)


@pytest.mark.parametrize("fake", GAPS)
def test_one_that_may_be_left_out_is_tried_and_recorded_and_the_rotation_goes_on_without_it(
    tmp_path: Path, fake: str
) -> None:
    rig = drained(tmp_path, fake, must_drain=False)
    rig.notifier.plan["quiesce", "batch"] = busy()
    outcome = rig.rotate()
    assert outcome.status == "done"
    assert outcome.ended is not None
    assert outcome.ended.undrained == {"batch": "busy"}
    assert "batch was not told to drain: busy" in cut_over({"undrained": outcome.ended.undrained})
    assert ears(rig).words("signer") == ["quiesce", "release", "announce"]
    assert everybody_goes_on(rig)


def test_one_that_was_told_at_the_second_try_is_not_reported(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    rig.notifier.plan["quiesce", "batch"] = [NotSent("busy")]
    outcome = rig.rotate()
    assert outcome.ended is not None
    assert (outcome.status, outcome.ended.undrained) == ("done", {})


def test_after_a_lost_issue_ended_the_old_version_nobody_is_waited_for(tmp_path: Path) -> None:
    rig = drained(tmp_path, "hashed")
    rig.vendor.faults.add("issue", "after")  # the value is gone with the answer, and so is the old version
    ears(rig).then["quiesce", "batch"] = lambda: rig.notifier.plan.update({("quiesce", "batch"): busy()})
    rig.rotate()
    rig.settle()
    current = rig.state().current
    assert current is not None
    assert current.published
    assert current.number == 3
    assert never_broken(rig)


# Until when


@pytest.mark.parametrize("attended", [False, True])
@pytest.mark.parametrize("drain_s", [1.0, 900.0])
@pytest.mark.parametrize("settle_s", [0.0, 3600.0])
def test_the_deadline_handed_out_covers_all_that_may_be_waited_for(
    *, attended: bool, drain_s: float, settle_s: float
) -> None:
    plain = FAKES["console"].plugin.traits
    assert plain is not None
    limits = Limits(drain_s=drain_s)
    traits = Traits(fields=(), live_max=1, grace_s=0.0, settle_s=settle_s, attended=attended)
    left_s = drain_until(limits, traits, 1000.0, telling_s=65.0) - 1000.0 - 65.0
    assert left_s > (limits.attend_s if attended else 0.0) + limits.call_s + settle_s
    assert left_s >= drain_s


@pytest.mark.parametrize("fake", GAPS)
def test_issue_is_not_sent_when_little_is_left_of_a_drain_but_all_are_told_again_first(
    tmp_path: Path, fake: str
) -> None:
    rig = drained(tmp_path, fake)
    rig.with_limits(drain_s=100.0, call_s=30.0)
    slow = Notify(exec=("/bin/true",), timeout_s=95.0)
    rig.consumers = tuple(Consumer(name=one.name, quiesce=slow, release=TELL) for one in rig.consumers)
    rig.notifier.plan["quiesce", "batch"] = [NotSent("busy")]
    # The first is drained; while the second is tried again, nearly all of the first one's time goes by.
    ears(rig).slow["batch"] = [95.0, 95.0]
    assert rig.rotate().status == "done"
    assert ears(rig).words("signer").count("quiesce") == 2
    assert all(ears(rig).drained_at(name, at) for name in ("signer", "batch") for at in commits(rig))


def test_killed_before_a_consumer_heard_its_new_deadline_the_first_one_counts(tmp_path: Path) -> None:
    for at in count(5):
        rig = drained(tmp_path / f"{at}")
        rig.with_limits(drain_s=100.0, call_s=30.0)
        slow = Notify(exec=("/bin/true",), timeout_s=95.0)
        rig.consumers = tuple(Consumer(name=one.name, quiesce=slow, release=TELL) for one in rig.consumers)
        rig.notifier.plan["quiesce", "batch"] = [NotSent("busy")] * 2
        ears(rig).slow["batch"] = [95.0, 95.0]
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, "after")  # type: ignore[misc]
        with suppress(Crash):
            rig.rotate()
        rig.crash = lambda journal: journal
        over = bool(commits(rig))
        rig.clock.advance(rig.limits.lease_s + 1)  # the first deadline passes, the new one does not
        rig.settle()
        assert all(ears(rig).drained_at(name, t) for name in ("signer", "batch") for t in commits(rig)), at
        if over:
            break


@pytest.mark.parametrize(
    ("fake", "when"),
    [
        ("console", "after"),
        *(pytest.param(*one, marks=pytest.mark.sweep) for one in (("console", "before"), ("hashed", "after"))),
    ],
)
def test_killed_anywhere_and_carried_on_after_their_deadline_nobody_works_while_the_old_version_ends(
    tmp_path: Path, fake: str, when: str
) -> None:
    for at in count(1):
        rig = drained(tmp_path / f"{at}", fake)
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, when)  # type: ignore[misc, arg-type]
        try:
            rig.rotate()
        except Crash:
            rig.crash = lambda journal: journal
        told = ears(rig).words("signer")
        rig.clock.advance(2000.0)
        rig.settle()
        where = f"{fake}, killed {when} write {at}"
        assert all(ears(rig).drained_at(name, t) for name in ("signer", "batch") for t in commits(rig)), where
        assert everybody_goes_on(rig), where
        end_is_good(rig, where)
        if "release" in told:
            break
    assert at > 10


# To go on


def test_whoever_stops_a_run_before_the_gap_leaves_nobody_drained(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    ears(rig).then["quiesce", "batch"] = rig.clock.stop
    outcome = rig.rotate()
    assert outcome.status == "unfinished"
    assert commits(rig) == []
    assert everybody_goes_on(rig)


def test_a_release_that_fails_then_is_named_and_told_again_by_the_next_run(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    ears(rig).then["quiesce", "batch"] = rig.clock.stop
    rig.notifier.plan["release", "signer"] = [NotSent("deaf")]
    outcome = rig.rotate()
    assert "signer was not told to go on" in outcome.text
    assert "deaf" in outcome.text
    rig.run()  # the clock is stopped: it does nothing but that
    assert everybody_goes_on(rig)


def test_an_issue_that_is_refused_releases(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    rig.vendor.faults.add("issue", "refused")
    assert rig.rotate().status == "undone"
    assert everybody_goes_on(rig)


def test_an_abandoned_rotation_releases_at_once(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    rig.notifier.plan["release", "batch"] = [NotSent("deaf")] * 3
    rig.notifier.plan["announce", "batch"] = busy()
    assert rig.rotate().status == "unfinished"
    assert not everybody_goes_on(rig)
    act(rig, abandon, reason="later")
    assert everybody_goes_on(rig)


@pytest.mark.parametrize("fake", GAPS)
def test_a_rotation_stuck_in_the_gap_leaves_nobody_drained(tmp_path: Path, fake: str) -> None:
    rig = drained(tmp_path, fake)
    for store in rig.stores.values():
        store.faults.add("promote", "meddled")
    outcome = rig.rotate()
    assert (outcome.status, outcome.code) == ("stuck", "sink-foreign")
    assert len(commits(rig)) == 1
    assert everybody_goes_on(rig)
    assert never_lost(rig)


def test_where_no_sink_can_be_written_in_the_gap_consumers_stay_drained_and_the_text_says_so(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    for store in rig.stores.values():
        store.faults.add("promote", "unavailable", times=3)
    outcome = rig.rotate()
    assert outcome.status == "unfinished"
    assert "consumers stay drained until 2027-" in outcome.text
    assert not everybody_goes_on(rig)
    assert rig.run().status == "done"
    assert everybody_goes_on(rig)
    assert ears(rig).words("signer") == ["quiesce", "release", "announce"]


def test_the_old_version_is_not_ended_while_a_sink_is_down(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    far = rig.stores["far"]
    ears(rig).then["quiesce", "batch"] = lambda: far.faults.add("inspect", "unavailable")
    outcome = rig.rotate()
    assert outcome.status == "unfinished"
    assert "issue is not sent while far:app/main can not be read" in outcome.text
    assert commits(rig) == []
    assert everybody_goes_on(rig)
    assert rig.run().status == "done"


def test_the_old_version_is_not_ended_for_a_place_that_somebody_else_has_taken(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    ears(rig).then["quiesce", "batch"] = lambda: rig.stores["far"].foreign_write("app/main", {"other": "one"})
    outcome = rig.rotate()
    assert (outcome.status, outcome.code) == ("undone", "sink-foreign")
    assert commits(rig) == []
    assert everybody_goes_on(rig)


# What it cost


def test_the_gap_and_the_drain_are_in_the_receipt_and_what_is_too_long_is_said(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    rig.policy = type(rig.policy)(accept_outage_s=5.0)
    for store in rig.stores.values():
        store.faults.add("promote", "unavailable", times=2)
    rig.with_limits(poll_s=4.0)
    end = rig.rotate().ended
    assert end is not None
    assert end.outage_ms >= 8000
    assert end.drained_ms >= end.outage_ms
    assert f"outage: {end.outage_ms / 1000:g} s, more than the accepted 5 s" in cut_over(vars(end))


def test_storing_an_artefact_late_does_not_lengthen_the_gap(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    rig.with_limits(poll_s=30.0)
    # The first promotes are those of the secret, the third is that of the recovery file.
    rig.stores["near"].faults.add("promote", "unavailable", nth=2)
    end = rig.rotate().ended
    assert end is not None
    assert end.outage_ms < 5000


def test_a_recovery_waits_for_nobody_and_has_no_gap_of_its_own(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    assert rig.rotate().status == "done"  # so that there is a recovery file in its place
    rig.notifier.plan["quiesce", "batch"] = busy()
    outcome = rig.rotate(mode=Mode.BREAK_GLASS, reason="lost", force=True)
    assert outcome.status == "done", outcome.text
    assert outcome.ended is not None
    assert outcome.ended.undrained == {"batch": "busy"}
    assert outcome.ended.outage_ms == 0
    assert everybody_goes_on(rig)


def test_a_consumer_that_refuses_is_as_good_as_one_that_can_not_be_reached(tmp_path: Path) -> None:
    rig = drained(tmp_path)
    rig.notifier.plan["quiesce", "signer"] = [Refused("no")] * 9
    assert rig.rotate().code == "quiesce-failed"
    assert everybody_goes_on(rig)
