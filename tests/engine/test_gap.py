"""The gap of a cut-over, counted: between the vendor's answer and the last promote lies nothing that can be avoided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from engine.promises import never_broken
from keyturn.config.model import Consumer, Notify
from keyturn.engine.bench import Bench
from keyturn.engine.job import Job
from keyturn.testing.faults import CrashingJournal
from keyturn.testing.rig import Rig

T = TypeVar("T")
TELL = Notify(exec=("/bin/true",))
SINKS = ("near", "far", "farther")


class CountedJournal(CrashingJournal):
    """A journal that lists its durable writes, and never crashes."""

    log: list[str]

    def _write(self, write: Callable[[], T]) -> T:
        self.log.append("journal write")
        return write()


class Logged:
    """A plugin whose calls are listed, as they begin and as they end."""

    def __init__(self, plugin: Any, name: str, log: list[str]) -> None:
        self._plugin, self._name, self._log = plugin, name, log

    def __getattr__(self, verb: str) -> Callable[[object], object]:
        def call(request: object) -> object:
            self._log.append(f"{verb} at {self._name} begins")
            answer: object = getattr(self._plugin, verb)(request)
            self._log.append(f"{verb} at {self._name} ends")
            return answer

        return call


@dataclass
class Watched(Rig):
    """A rig that lists every call to vendor and sinks, and every durable write, in order."""

    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.crash = self._counted

    def _counted(self, journal: Any) -> CountedJournal:
        counted = CountedJournal(journal, at=-1)
        counted.log = self.log
        return counted

    def job(self, bench: Bench) -> Job:
        job = super().job(bench)
        sinks = tuple(replace(one, target=Logged(one.target, one.sink, self.log)) for one in job.sinks)
        return replace(job, provider=Logged(job.provider, "vendor", self.log), sinks=sinks)


def cut_over(folder: Path, fake: str, **account: Any) -> list[str]:
    """What happened from the moment the vendor had answered until the last promote was on its way."""
    consumers = (Consumer(name="signer", quiesce=TELL, release=TELL),)
    rig = Watched(folder=folder, fake=fake, account=account, consumers=consumers, sinks=SINKS)
    rig.adopt()
    rig.log.clear()
    assert rig.rotate().status == "done"
    assert never_broken(rig)
    began = rig.log.index("issue at vendor ends")
    last = max(rig.log.index(f"promote at {name} begins") for name in SINKS)
    return rig.log[began + 1 : last + 1]


def test_between_the_answer_and_the_promotes_are_two_durable_writes_and_no_call(tmp_path: Path) -> None:
    gap = cut_over(tmp_path, "console", way="api")
    # The value is sealed; then what was answered and the intents are journaled, in one transaction.
    before = gap.index(next(entry for entry in gap if entry.startswith("promote")))
    assert gap[:before] == ["journal write"] * 2
    # From then on there are promotes only, and the journal hears of each as it comes.
    assert {entry for entry in gap[before:] if not entry.startswith("promote")} <= {"journal write"}


def test_a_value_that_has_to_be_asked_for_first_costs_that_question_and_no_look_at_the_vendor(tmp_path: Path) -> None:
    gap = cut_over(tmp_path, "hashed")
    assert [entry for entry in gap if "inspect at vendor" in entry] == []


@pytest.mark.parametrize("sink", SINKS)
def test_a_promote_that_failed_is_tried_again_by_a_new_look(tmp_path: Path, sink: str) -> None:
    rig = Watched(folder=tmp_path, fake="console", account={"way": "api"}, sinks=SINKS)
    rig.adopt()
    rig.stores[sink].faults.add("promote", "unavailable")
    rig.log.clear()
    assert rig.rotate().status == "done"
    again = rig.log[rig.log.index(f"promote at {sink} begins") :]
    assert again.index(f"inspect at {sink} begins") < again.index(f"promote at {sink} begins", 1)


class Slow(Logged):
    """A vendor that takes its time with issue."""

    def __init__(self, plugin: Any, log: list[str], wait: Callable[[], None]) -> None:
        super().__init__(plugin, "vendor", log)
        self._wait = wait

    def issue(self, request: object) -> object:
        answer: object = self._plugin.issue(request)
        self._log.append("issue at vendor ends")
        self._wait()
        return answer


@dataclass
class Slowly(Watched):
    """The same with a vendor that answers later than a look stays fresh."""

    def job(self, bench: Bench) -> Job:
        job = super().job(bench)
        slow = Slow(job.provider, self.log, lambda: self.clock.advance(self.limits.looks_fresh_s + 1))
        return replace(job, provider=slow)


def test_what_was_seen_too_long_ago_is_looked_at_again_before_it_is_written_over(tmp_path: Path) -> None:
    rig = Slowly(folder=tmp_path, fake="console", account={"way": "api"}, sinks=SINKS)
    rig.adopt()
    rig.log.clear()
    assert rig.rotate().status == "done"
    after = rig.log[rig.log.index("issue at vendor ends") :]
    assert after.index("inspect at far begins") < after.index("promote at far begins")
