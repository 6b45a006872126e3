"""A person sets the new version at the vendor's console: what is drained and shown only then, and every way out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.attack_kit import TELL, act
from engine.promises import chain_is_whole, never_broken, never_lost, no_leak, sealed_values
from keyturn.api import Bundle, Refused, Waiting
from keyturn.config.model import Consumer
from keyturn.engine.entry import resume
from keyturn.engine.operator import abandon
from keyturn.engine.outcome import Outcome
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes.console import ConsoleVendor
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig

SIGNER = Consumer(name="signer", quiesce=TELL, release=TELL)
DAY = 86_400.0
PATIENCE = 7 * DAY


class Agenda(FakeClock):
    """A clock with plans: what is due happens while somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: list[tuple[float, Callable[[], object]]] = []

    def plan(self, in_s: float, do: Callable[[], object]) -> None:
        self.plans.append((self.now() + in_s, do))

    def wait(self, seconds: float) -> bool:
        stopped = super().wait(seconds)
        due = [do for at, do in self.plans if at <= self.now()]
        self.plans = [(at, do) for at, do in self.plans if at > self.now()]
        for do in due:
            do()
        return stopped or self.stopped

    def go_on(self) -> None:
        self._stopped = False


class Person:
    """Who attends: keeps what is shown, and clicks after `in_s` (None: not at all)."""

    def __init__(self, rig: ConsoleRig, in_s: float | None = 0.0, then: Callable[[], object] | None = None) -> None:
        self.rig, self.in_s, self.then = rig, in_s, then
        self.shown: list[Bundle] = []
        self.file: Bundle | None = None

    def __call__(self, waiting: Waiting) -> None:
        rotation = self.rig.state().rotation
        assert rotation
        assert rotation.attempts[-1].outcome == "waiting", "shown before it was journaled"
        self.shown.append(waiting.show)
        if self.in_s == 0.0:
            self.click()
        elif self.in_s is not None:
            self.rig.agenda.plan(self.in_s, self.click)
        if self.then:
            self.then()

    def click(self, nth: int = -1) -> None:
        self.file = self.rig.console.person_clicks(self.shown[nth])


class ConsoleRig(Rig):
    """The rig with a console vendor, and a consumer that drains."""

    @property
    def console(self) -> ConsoleVendor:
        assert isinstance(self.vendor, ConsoleVendor)
        return self.vendor

    @property
    def agenda(self) -> Agenda:
        assert isinstance(self.clock, Agenda)
        return self.clock

    @property
    def told(self) -> list[str]:
        return [event for event, _, _ in self.notifier.told if event != "announce"]

    @property
    def drained(self) -> bool:
        return bool(self.told) and self.told[-1] == "quiesce"

    @property
    def current(self) -> int:
        version = self.state().current
        assert version
        return version.number

    def attend(self, person: Callable[[Waiting], None], supplied: Bundle | None = None) -> Outcome:
        bench = self.bench()
        try:
            return resume(bench, self.job(bench), attend=person, supplied=supplied)
        finally:
            bench.journal.close()

    def somebody_else_rotates(self) -> None:
        self.console._set("main", "another value", self.clock.now())

    @property
    def asked(self) -> int:
        return self.vendor.probes["api"]


def made(folder: Path, **more: Any) -> ConsoleRig:
    """Version 2 is made and staged, and waits for a person."""
    folder.mkdir(exist_ok=True)
    account = {"patience": PATIENCE, **more}
    rig = ConsoleRig(folder=folder, fake="console", account=account, consumers=(SIGNER,), clock=Agenda())
    rig.adopt()
    assert rig.rotate().status == "waiting"
    return rig


@pytest.fixture
def rig(tmp_path: Path) -> ConsoleRig:
    return made(tmp_path)


def test_before_somebody_attends_nothing_is_drained_shown_or_asked(rig: ConsoleRig) -> None:
    asked = rig.asked
    for _ in range(3):
        rig.clock.advance(DAY)
        outcome = rig.run()
    assert (outcome.status, outcome.exit_code) == ("waiting", 6)
    assert outcome.next == "keyturn resume app/main --attend"
    assert "nothing is drained or shown before" in outcome.text
    rotation = rig.state().rotation
    assert rotation
    assert (rig.told, rotation.attempts, rig.asked) == ([], (), asked)
    assert rig.current == 1


def test_who_clicks_at_once_sees_it_published_released_and_is_asked_for_the_file(rig: ConsoleRig) -> None:
    person = Person(rig)
    outcome = rig.attend(person)
    assert rig.told == ["quiesce", "release"]
    assert rig.current == 2
    assert never_broken(rig)
    assert outcome.next == "keyturn resume app/main --supply recovery_file=@FILE"
    assert rig.run(person.file).exit_code == 0
    assert no_leak(rig)
    assert chain_is_whole(rig)


def test_the_outage_counts_from_the_last_look_that_saw_the_old_version_in_force(rig: ConsoleRig) -> None:
    rig.attend(Person(rig, in_s=180.0))
    rotation = rig.state().rotation
    assert rotation
    assert rig.current == 2
    assert 0 < rotation.outage_ms <= 2 * rig.limits.poll_s * 1000


def test_watching_costs_no_attempt_with_a_bad_secret(rig: ConsoleRig) -> None:
    refused: list[Bundle] = []
    accepts = rig.vendor.accepts

    def counted(endpoint: str, bundle: Bundle) -> bool:
        good = accepts(endpoint, bundle)
        refused.extend([] if good else [bundle])
        return good

    rig.vendor.accepts = counted  # type: ignore[method-assign]
    rig.attend(Person(rig, in_s=590.0))
    assert rig.current == 2
    assert len(refused) == 1, "the old one, once, after the click"


def test_a_supplied_file_may_be_at_hand_already(rig: ConsoleRig) -> None:
    person = Person(rig)
    rig.attend(person)
    assert person.file
    assert rig.attend(person, supplied=person.file).exit_code == 0
    assert len(person.shown) == 1


@pytest.mark.parametrize("way_out", ["deadline", "ctrl-c"])
def test_who_does_not_click_leaves_consumers_released_and_the_old_version_in_force(
    rig: ConsoleRig, way_out: str
) -> None:
    if way_out == "ctrl-c":
        rig.agenda.plan(90.0, rig.clock.stop)
    began = rig.clock.now()
    outcome = rig.attend(Person(rig, in_s=None))
    assert rig.clock.now() - began == pytest.approx(90.0 if way_out == "ctrl-c" else rig.limits.attend_s, abs=15)
    assert (outcome.status, outcome.exit_code) == ("waiting", 6)
    assert "was shown and has not been used so far" in outcome.text
    assert outcome.next == "keyturn resume app/main --attend"
    assert rig.told == ["quiesce", "release"]
    assert rig.current == 1
    assert never_broken(rig)
    assert never_lost(rig)


def test_a_click_just_before_ctrl_c_is_found_by_the_last_look_and_published(rig: ConsoleRig) -> None:
    person = Person(rig, in_s=30.0)

    def stops() -> None:
        person.rig.agenda.plan(30.0, rig.clock.stop)

    person.then = stops
    outcome = rig.attend(person)
    assert rig.current == 2
    assert never_broken(rig)
    assert rig.told == ["quiesce", "release"]
    assert outcome.exit_code == 6


def test_a_pair_that_is_used_when_nobody_attends_any_more_is_published_by_the_next_run(rig: ConsoleRig) -> None:
    person = Person(rig, in_s=None)
    rig.attend(person)
    rig.clock.advance(DAY)
    assert rig.run().status == "waiting"
    person.click()
    told = len(rig.told)
    assert rig.run().next == "keyturn resume app/main --supply recovery_file=@FILE"
    assert rig.current == 2
    assert "quiesce" not in rig.told[told:]
    assert not rig.drained
    assert never_broken(rig)
    assert rig.run(person.file).exit_code == 0


def test_who_attends_again_is_shown_a_fresh_pair_and_drains_again(rig: ConsoleRig) -> None:
    first, second = Person(rig, in_s=None), Person(rig, in_s=5.0)
    rig.attend(first)
    rig.attend(second)
    assert set(first.shown[0].reveal().values()).isdisjoint(second.shown[0].reveal().values())
    assert rig.told == ["quiesce", "release"] * 2
    assert rig.current == 2
    with pytest.raises(Refused):
        first.click()
    assert never_broken(rig)


def test_the_older_of_two_pairs_sets_the_same_version(rig: ConsoleRig) -> None:
    first = Person(rig, in_s=None)
    rig.attend(first)
    rig.attend(Person(rig, in_s=None, then=first.click))
    assert rig.current == 2
    assert never_broken(rig)


def test_many_pairs_may_be_shown_before_one_is_used(rig: ConsoleRig) -> None:
    rig.with_limits(attend_s=10.0)
    for _ in range(7):
        assert rig.attend(Person(rig, in_s=None)).status == "waiting"
    rig.attend(Person(rig))
    assert rig.current == 2


def test_nobody_attends_until_patience_is_over_and_the_old_version_stays(rig: ConsoleRig) -> None:
    rig.clock.advance(PATIENCE + 1)
    outcome = rig.run()
    assert (outcome.status, outcome.code, outcome.exit_code) == ("undone", "nobody-attended", 4)
    assert rig.told == []
    assert never_broken(rig)


def test_a_pair_nobody_used_is_undone_in_the_end_and_its_value_is_kept_until_a_later_one_is_proven(
    rig: ConsoleRig,
) -> None:
    person = Person(rig, in_s=None)
    rig.attend(person)
    rig.clock.advance(PATIENCE + 1)
    assert rig.run().code == "nobody-attended"
    assert not rig.drained
    assert len(sealed_values(rig)) == 2
    rig.rotate()
    later = Person(rig)
    rig.attend(later)
    rig.run(later.file)
    rig.settle()
    assert rig.current == 3
    kept = [value["entity_secret"].reveal() for value in sealed_values(rig)]
    assert kept == [served["entity_secret"] for served in rig.served()[:1] if served]


def test_the_pair_of_a_version_that_was_given_up_can_be_used_and_nothing_is_lost(rig: ConsoleRig) -> None:
    person = Person(rig, in_s=None)
    rig.attend(person)
    rig.clock.advance(PATIENCE + 1)
    rig.run()
    person.click()
    assert never_lost(rig)
    assert rig.vendor.accepted_by(sealed_values(rig)[-1]) == ("api",)


def test_somebody_elses_rotation_before_is_seen_before_anybody_drains(rig: ConsoleRig) -> None:
    rig.somebody_else_rotates()
    person = Person(rig)
    outcome = rig.attend(person)
    assert (outcome.status, outcome.code) == ("stuck", "old-refused")
    assert outcome.next == "keyturn recover app/main --reason TEXT"
    assert (rig.told, person.shown) == ([], [])


def test_somebody_elses_rotation_while_a_pair_is_out_is_stuck_with_a_way_out_and_nobody_drained(
    rig: ConsoleRig,
) -> None:
    person = Person(rig, in_s=None, then=lambda: rig.agenda.plan(20.0, rig.somebody_else_rotates))
    began = rig.clock.now()
    outcome = rig.attend(person)
    assert (outcome.status, outcome.code, outcome.exit_code) == ("stuck", "neither-in-force", 5)
    assert rig.clock.now() - began < 90
    assert outcome.next.startswith("keyturn recover app/main --reason TEXT; or: keyturn adopt app/main --from-stdin")
    assert not rig.drained
    assert rig.run().code == "neither-in-force"


def test_a_change_that_is_slow_to_arrive_is_waited_for(rig: ConsoleRig) -> None:
    """Neither is accepted for a while after the click."""
    person = Person(rig, in_s=20.0)
    accepts = rig.vendor.accepts
    slow_until = rig.clock.now() + 45.0

    def delayed(endpoint: str, bundle: Bundle) -> bool:
        changing = person.file is not None and rig.clock.now() < slow_until
        return not changing and accepts(endpoint, bundle)

    rig.vendor.accepts = delayed  # type: ignore[method-assign]
    rig.attend(person)
    assert rig.current == 2
    assert rig.told == ["quiesce", "release"]


def test_a_vendor_that_does_not_answer_keeps_everybody_working(rig: ConsoleRig) -> None:
    rig.vendor.endpoints["api"].unknown_until = rig.clock.now() + 100
    person = Person(rig)
    outcome = rig.attend(person)
    assert (outcome.status, outcome.exit_code) == ("unfinished", 6)
    assert "no answer that proves anything" in outcome.text
    assert (rig.told, person.shown) == ([], [])


def test_ctrl_c_between_the_click_and_the_last_sink_stops_nothing(rig: ConsoleRig) -> None:
    person = Person(rig, in_s=10.0)
    rig.vendor.faults.add("settle", "unavailable", nth=10, times=5)
    person.then = lambda: rig.agenda.plan(12.0, rig.clock.stop)
    rig.attend(person)
    assert rig.current == 2
    assert never_broken(rig)


def test_a_rotation_that_is_given_up_while_its_pair_is_out_goes_on_where_the_pair_was_used(rig: ConsoleRig) -> None:
    person = Person(rig, in_s=None)
    rig.attend(person)
    assert act(rig, abandon, reason="later").next == "keyturn resume app/main"
    person.click()
    rig.run()
    assert rig.current == 2
    assert never_broken(rig)


def test_a_commit_later_than_all_patience_is_found_before_the_old_version_is_called_dead(tmp_path: Path) -> None:
    rig = ConsoleRig(folder=tmp_path, fake="console", account={"way": "api"}, clock=Agenda())
    rig.adopt()
    rig.vendor.faults.add("issue", "late:150", times=2)
    rig.stores["far"].faults.add("discard", "unavailable", nth=2, times=3)
    rig.rotate()
    rotation = rig.state().rotation
    assert rotation
    assert rotation.undoing
    assert [one.settled for one in rotation.attempts] == ["not_applied"] * 2
    rig.clock.advance(200.0)
    rig.settle()
    assert rig.current == 2
    assert never_broken(rig)


@pytest.mark.parametrize(
    ("when", "click", "step"),
    [
        ("after", "after", 3),
        *(
            pytest.param(when, click, 1, marks=pytest.mark.sweep)
            for when in ("before", "after")
            for click in ("before", "after", "never")
        ),
    ],
)
def test_killed_at_any_journal_write_of_an_attended_rotation_nothing_is_lost_and_nobody_stays_drained(
    tmp_path: Path, when: Any, click: str, step: int
) -> None:
    """`click`: before the crash, after it with what was shown, or only with a later pair."""
    for at in count(1, step):
        rig = made(tmp_path / f"{at}")
        person = Person(rig, in_s=0.0 if click == "before" else None)
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, when)  # type: ignore[misc]
        died = False
        try:
            rig.attend(person)
        except Crash:
            died = True
        rig.crash = lambda journal: journal
        where = f"killed {when} write {at}, click {click}"
        assert never_lost(rig), where
        if click == "after" and person.shown:
            person.click()
        rig.clock.advance(rig.limits.lease_s + 1)
        rig.settle(runs=2)
        assert not rig.drained, where
        finished_by_hand(rig, person, where)
        if not died:
            break
    assert at > 5


def finished_by_hand(rig: ConsoleRig, person: Person, where: str) -> None:
    """Whoever attends in the end gets it done."""
    if rig.current == 1:
        again = Person(rig)
        rig.attend(again)
        person = again if again.file else person
    rig.run(person.file)
    rig.settle(runs=3)
    assert rig.current == 2, where
    assert not rig.drained, where
    assert never_lost(rig), where
    assert never_broken(rig), where
    assert no_leak(rig), where
    assert chain_is_whole(rig), where
    end = rig.state().rotation
    assert end
    assert end.ended, where
