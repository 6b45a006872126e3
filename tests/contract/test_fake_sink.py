"""The fake sink keeps every sink's contract, and misbehaves as told; a journal can die under its writer."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.api import Conflict, Context, Doubt, NotSent, PluginError, Refused, Sink, SinkTraits
from keyturn.clock import SystemClock
from keyturn.journal import JournalSettings, make_journal
from keyturn.journal.store import Draft, Sealed
from keyturn.testing.clock import FakeClock
from keyturn.testing.context import FakeContext
from keyturn.testing.fake_sink import PLUGIN, FakeSink, FakeStore, store_account
from keyturn.testing.fakes.options import FakePlace
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.sink_contract import SinkContract, SinkKit, id_of

CRASHES = ["crash-before", "crash-after"]


class FakeKit(SinkKit):
    store: FakeStore

    @pytest.fixture(autouse=True)
    def _store(self) -> None:
        self.store = FakeStore(SystemClock())

    def make_sink(self, context: Context) -> Sink:
        return FakeSink(context, store_account(self.store, self.options()))

    def make_place(self, name: str) -> FakePlace:
        return FakePlace(path=name)

    def options(self) -> dict[str, object]:
        return {}


class TestFakeSink(FakeKit, SinkContract):
    def crash(self, point: int, act: Callable[[Sink], object]) -> bool:
        if point < len(CRASHES):
            self.store.faults.add("promote", CRASHES[point])
        try:
            act(self.sink())
        except Crash:
            return True
        return False


class TestFakeSinkWithoutHistory(FakeKit, SinkContract):
    traits = SinkTraits(keeps_previous=False)

    def options(self) -> dict[str, object]:
        return {"keeps_previous": False}


class TestMisbehaviour(FakeKit):
    clock: FakeClock

    @pytest.fixture(autouse=True)
    def _store(self) -> None:
        self.clock = FakeClock()
        self.store = FakeStore(self.clock)

    def context(self) -> Context:
        return FakeContext(self.clock)

    @pytest.mark.parametrize(
        ("fault", "raised", "served"),
        [
            ("unavailable", NotSent, 1),
            ("refused", Refused, 1),
            ("before", Doubt, 1),
            ("after", Doubt, 2),
            ("hang", Doubt, 1),
            ("meddled", Conflict, None),
        ],
    )
    def test_a_promote_goes_wrong_as_planned(self, fault: str, raised: type[PluginError], served: int | None) -> None:
        current = self.serve(1)
        self.store.faults.add("promote", fault)
        with pytest.raises(raised):
            self.promote(2, current)
        wanted = self.bundle(served).reveal() if served else {"foreign": "value"}
        assert self.store.serves("place") == wanted

    def test_a_late_promote_lands_late_unless_somebody_was_faster(self) -> None:
        current = self.serve(1)
        self.store.faults.add("promote", "late:10")
        with pytest.raises(Doubt):
            self.promote(2, current)
        assert self.store.serves("place") == self.bundle(1).reveal()
        self.clock.advance(10)
        assert self.store.serves("place") == self.bundle(2).reveal()
        self.store.faults.add("promote", "late:10")
        with pytest.raises(Doubt):
            self.promote(3, self.look().current)
        self.store.foreign_write("place", {"password": "theirs"})
        self.clock.advance(10)
        assert self.store.serves("place") == {"password": "theirs"}

    def test_an_old_value_that_was_restored_is_recognised_as_that_version(self) -> None:
        self.serve(1, 2, 3, keep=0)
        self.store.foreign_write("place", self.bundle(1).reveal())
        current = self.look().current
        assert current
        assert (current.version_id, current.number) == (id_of(1), 1)
        with self.refused(Refused):
            self.discard(id_of(1))

    def test_a_foreign_value_has_no_version(self) -> None:
        self.serve(1)
        self.store.foreign_write("place", {"password": "theirs"})
        current = self.look().current
        assert current
        assert (current.version_id, current.journal_id, current.number) == (None, None, None)

    def test_somebody_elses_pending_value_is_not_overwritten(self) -> None:
        self.store.foreign_stage("place", {"password": "theirs"})
        with self.refused(Conflict):
            self.stage(1)

    def test_consumers_never_see_a_pending_value(self) -> None:
        self.stage(1)
        assert self.store.serves("place") is None

    def test_a_value_beyond_the_declared_size_is_refused(self) -> None:
        assert PLUGIN.traits
        account = store_account(self.store, {"bytes_max": 10})
        assert PLUGIN.traits(account, self.make_place("place")) == SinkTraits(bytes_max=10)
        with pytest.raises(Refused):
            FakeSink(self.context(), account).promote(self.promotion(1, None))


def test_a_plugin_is_loaded_as_the_engine_does() -> None:
    clock = FakeClock()
    assert PLUGIN.subject
    account = store_account(FakeStore(clock))
    assert isinstance(PLUGIN.load()(FakeContext(clock), account), FakeSink)
    assert PLUGIN.subject(account, FakePlace(path="a/b")) == "a/b"


@pytest.mark.parametrize(("when", "written"), [("before", 1), ("after", 2)])
def test_a_journal_dies_at_the_write_it_was_told(tmp_path: Path, when: str, written: int) -> None:
    journal = make_journal(JournalSettings(kind="sqlite", path=tmp_path / "journal.db"), clock=FakeClock())
    dying = CrashingJournal(journal, 2, "before" if when == "before" else "after")
    lease = dying.acquire("subject", "runner", ttl_s=60)
    dying.append("name", [Draft(type="noted", data={})], lease=lease)
    with pytest.raises(Crash):
        dying.seal(Sealed(secret="name", kind="version", key="v", version_id="v", blob=b"x"))
    assert len(journal.events("name")) + len(journal.sealed("name")) == written
    with pytest.raises(Crash):
        dying.append("name", [Draft(type="noted", data={})], lease=lease)
    dying.close()


KILLED = """
import pathlib, sys
from keyturn.journal import JournalSettings, make_journal
from keyturn.journal.store import Draft
from keyturn.testing.clock import FakeClock
from keyturn.testing.faults import CrashingJournal
made = make_journal(JournalSettings(kind="sqlite", path=pathlib.Path(sys.argv[1])), clock=FakeClock())
journal = CrashingJournal(made, 1, "after", kill=True)
journal.append("name", [Draft(type="noted", data={})], lease=journal.acquire("subject", "runner", ttl_s=60))
print("still alive")
"""


def test_a_journal_can_kill_its_process(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", KILLED, str(tmp_path / "journal.db")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, ""), done.stderr
