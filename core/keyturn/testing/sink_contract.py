"""The contract every sink keeps. Subclass `SinkContract` in a test module and say how to make a sink and a place.

    class TestMySink(SinkContract):
        def make_sink(self, context): return MySink(context, MyAccount(...))
        def make_place(self, name): return MyPlace(path=name)

Each case has values of its own that begin with a canary; a canary in a message, a `repr`, a log or the output fails it.
"""
# ruff: noqa: D102 - the names of the cases are the promises

from __future__ import annotations

import hashlib
import secrets
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from keyturn.api import (
    Bundle,
    Conflict,
    Context,
    DiscardRequest,
    Held,
    NotSent,
    PluginError,
    PromoteRequest,
    ReadRequest,
    Refused,
    Sink,
    SinkCall,
    SinkInspectRequest,
    SinkInspectResponse,
    SinkTraits,
    SinkVersion,
    StageRequest,
    WriteResponse,
)
from keyturn.clock import SystemClock
from keyturn.testing.context import FakeContext

JOURNAL = "0197-journal-ours"
FOREIGN_JOURNAL = "0197-journal-theirs"
DEADLINE_S = 30.0
RACERS = 8
CRASH_POINTS_MAX = 200
AWKWARD = {
    "quotes": "a\"b'c\\d`e",
    "newlines": "\n first\r\nsecond\t\n\n",
    "unicode": "pässword 密码 🔑 \u202e\u0000end",
    "syntax": "{'a': [1, null]} ${HOME} %s {0} #x: - y",
    "spaces": "   ",
    "digits": "0012345",
    "long": "x" * (60 * 1024),
}


def number(n: int) -> SinkVersion:
    """The version that these cases call `n`. Its id has the form that real ones have: a store may insist on it."""
    return SinkVersion(id=f"01970000-0000-7000-8000-{n:012d}", number=n)


def id_of(n: int) -> str:
    """The id of version `n`."""
    return number(n).id


def promoting(request: PromoteRequest) -> Callable[[Sink], object]:
    """The act of sending this request."""
    return lambda sink: sink.promote(request)


class SinkKit:
    """The vocabulary of the cases, for cases of your own as well.

    `make_sink` and `make_place` must be given; the rest may be. `traits` are what the sink declares. `crash` runs `act`
    with a fresh sink that dies at the `point`-th step (counted from 0) and answers whether it died; the default says
    that there is no such point.
    """

    traits: ClassVar[SinkTraits] = SinkTraits()
    canary: str

    def make_sink(self, context: Context) -> Sink:
        """A new instance on the same storage. Called more than once in a case."""
        raise NotImplementedError

    def make_place(self, name: str) -> Any:
        """The place options for a short plain name; equal names give the same place."""
        raise NotImplementedError

    def context(self) -> Context:
        """What the sink is given: real time, a fingerprint that is the same in every context."""
        return FakeContext(SystemClock())

    def crash(self, point: int, act: Callable[[Sink], object]) -> bool:  # noqa: ARG002 - for those who can
        """Run `act` and die at a step in the middle of it; False when it ran to its end."""
        return False

    @pytest.fixture(autouse=True)
    def _no_canary_gets_out(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> Iterator[None]:
        self.canary = f"canary{secrets.token_hex(8)}"
        yield
        self.hides(caplog.text + "".join(capfd.readouterr()))

    # -- the vocabulary of the cases

    def hides(self, shown: object) -> None:
        """Fail where a value of this case can be seen in what somebody might print."""
        assert self.canary not in f"{shown!r} {shown}", "a value got out"

    def bundle(self, n: int | str) -> Bundle:
        """The value of version `n`: one field, told apart from all others."""
        return Bundle({"password": f"{self.canary}-{n}"})

    def call(self, place: str = "place", *, journal: str = JOURNAL, left_s: float = DEADLINE_S) -> SinkCall:
        """What each request carries."""
        return SinkCall(
            secret=f"contract/{place}",
            place=self.make_place(place),
            deadline_at=self.context().now() + left_s,
            journal_id=journal,
        )

    def sink(self) -> Sink:
        """A new instance, so that nothing is remembered in memory."""
        return self.make_sink(self.context())

    def look(self, place: str = "place") -> SinkInspectResponse:
        """The place now."""
        seen = self.sink().inspect(SinkInspectRequest(call=self.call(place)))
        self.hides(seen)
        return seen

    def stage(self, n: int, *, value: Bundle | None = None, **call: Any) -> WriteResponse:
        """Stage version `n`."""
        request = StageRequest(call=self.call(**call), version=number(n), bundle=value or self.bundle(n))
        self.hides(request)
        return self.sink().stage(request)

    def promote(
        self, n: int, expects: Held | None, *, value: Bundle | None = None, keep: int = 1, **call: Any
    ) -> WriteResponse:
        """Promote version `n`."""
        return self.sink().promote(self.promotion(n, expects, value=value, keep=keep, **call))

    def promotion(
        self, n: int, expects: Held | None, *, value: Bundle | None = None, keep: int = 1, **call: Any
    ) -> PromoteRequest:
        """The request for it."""
        return PromoteRequest(
            call=self.call(**call),
            version=number(n),
            bundle=value or self.bundle(n),
            expects=expects,
            keep_previous=keep,
        )

    def serve(self, *versions: int, place: str = "place", keep: int = 1) -> Held:
        """Stage and promote these versions in turn, as a rotation does."""
        for n in versions:
            if self.traits.stages_empty or self.look(place).current:
                self.stage(n, place=place)
            self.promote(n, self.look(place).current, place=place, keep=keep)
        current = self.look(place).current
        assert current
        return current

    def occupied(self) -> None:
        """Make sure that the place can be staged: some sinks want a version there first."""
        if not self.traits.stages_empty:
            self.promote(100, None)

    def consumed(self, place: str = "place") -> dict[str, str] | None:
        """What consumers read, in clear. Override where consumers have a way of their own."""
        answer = self.sink().read(ReadRequest(call=self.call(place)))
        self.hides(answer)
        return answer.bundle.reveal() if answer.bundle else None

    def value_of(self, version_id: str, place: str = "place") -> dict[str, str] | None:
        """One version, read by id, in clear."""
        answer = self.sink().read(ReadRequest(call=self.call(place), version_id=version_id))
        return answer.bundle.reveal() if answer.bundle else None

    def discard(self, version_id: str, **call: Any) -> bool:
        """Drop a version; whether it was gone before."""
        return self.sink().discard(DiscardRequest(call=self.call(**call), version_id=version_id)).already

    @contextmanager
    def refused(self, outcome: type[PluginError], place: str = "place") -> Iterator[None]:
        """Expect this refusal, no value in it or in its causes, and nothing changed."""
        before = self.snapshot(place)
        with pytest.raises(outcome) as caught:
            yield
        # Without locals, as everybody prints it.
        self.hides("".join(traceback.format_exception(caught.value)).replace("\n", " "))
        self.hides(caught.value.why)
        assert self.snapshot(place) == before

    def kept(self, *versions: int) -> list[str]:
        """The ids of these previous versions, or none where the sink keeps none."""
        return [id_of(n) for n in versions] if self.traits.keeps_previous else []

    def previous(self, place: str = "place") -> list[str | None]:
        """The ids of the previous versions now."""
        return [held.version_id for held in self.look(place).previous]

    def snapshot(self, place: str) -> object:
        """The place as inspect and consumers see it, comparable."""
        seen = self.look(place)
        return (seen.current, seen.pending, seen.previous, seen.meta, self.consumed(place))


class SinkContract(SinkKit):
    """The cases."""

    # -- an empty place

    def test_an_empty_place_is_seen_as_empty(self) -> None:
        seen = self.look()
        assert (seen.current, seen.pending, seen.previous, dict(seen.meta)) == (None, None, (), {})
        assert seen.place

    def test_two_places_have_two_canonical_names(self) -> None:
        assert self.look("one").place != self.look("two").place
        assert self.look("one").place == self.look("one").place

    def test_reading_an_empty_place_gives_nothing_and_no_error(self) -> None:
        assert self.consumed() is None
        assert self.value_of(id_of(1)) is None

    # -- stage

    def test_a_staged_version_is_invisible_to_consumers(self) -> None:
        self.serve(1)
        self.stage(2)
        assert self.consumed() == self.bundle(1).reveal()

    def test_staging_into_an_empty_place_shows_consumers_nothing(self) -> None:
        if self.traits.stages_empty:
            self.stage(1)
        else:
            with self.refused(Refused):
                self.stage(1)
        assert self.consumed() is None
        assert self.look().current is None

    def test_a_staged_version_is_seen_as_pending_with_its_ids(self) -> None:
        self.occupied()
        self.stage(1)
        pending = self.look().pending
        assert pending
        assert (pending.version_id, pending.journal_id, pending.number) == (id_of(1), JOURNAL, 1)
        assert pending.fingerprints == self.bundle(1).fingerprints(self.context().fingerprint)

    def test_staging_the_same_version_again_is_done_already(self) -> None:
        self.occupied()
        assert not self.stage(1).already
        assert self.stage(1).already

    def test_staging_the_same_id_with_another_value_is_a_conflict(self) -> None:
        self.occupied()
        self.stage(1)
        with self.refused(Conflict):
            self.stage(1, value=self.bundle("other"))

    def test_a_pending_version_of_another_journal_is_not_overwritten(self) -> None:
        self.occupied()
        self.stage(1, journal=FOREIGN_JOURNAL)
        with self.refused(Conflict):
            self.stage(2)

    def test_our_own_abandoned_pending_version_gives_way_to_a_later_one(self) -> None:
        self.occupied()
        self.stage(1)
        self.stage(2)
        pending = self.look().pending
        assert pending
        assert pending.version_id == id_of(2)

    # -- promote

    def test_the_first_promote_expects_nothing_and_needs_no_stage(self) -> None:
        assert not self.promote(1, None).already
        assert self.consumed() == self.bundle(1).reveal()
        current = self.look().current
        assert current
        assert (current.version_id, current.journal_id, current.number) == (id_of(1), JOURNAL, 1)

    def test_a_promoted_version_is_no_longer_pending(self) -> None:
        self.serve(1, 2)
        assert self.look().pending is None

    def test_a_promote_that_expects_nothing_never_replaces_something(self) -> None:
        self.serve(1)
        with self.refused(Conflict):
            self.promote(2, None)

    def test_a_promote_that_expects_something_is_refused_by_an_empty_place(self) -> None:
        expected = self.serve(1, place="elsewhere")
        with self.refused(Conflict):
            self.promote(2, expected)

    def test_a_stale_promote_is_refused(self) -> None:
        stale = self.serve(1)
        self.serve(2)
        with self.refused(Conflict):
            self.promote(3, stale)

    def test_promoting_the_current_version_again_is_done_already(self) -> None:
        before = self.serve(1)
        self.promote(2, before)
        assert self.promote(2, before).already
        assert self.consumed() == self.bundle(2).reveal()

    def test_promoting_a_known_id_with_another_value_is_a_conflict(self) -> None:
        current = self.serve(1)
        with self.refused(Conflict):
            self.promote(1, current, value=self.bundle("other"))

    def test_promoting_a_pending_id_with_another_value_is_a_conflict(self) -> None:
        current = self.serve(1)
        self.stage(2)
        with self.refused(Conflict):
            self.promote(2, current, value=self.bundle("other"))

    def test_of_many_promotes_at_once_exactly_one_wins(self) -> None:
        expected = self.serve(1)
        start = threading.Barrier(RACERS)

        def race(n: int) -> bool:
            start.wait(DEADLINE_S)
            try:
                self.promote(n, expected)
            except (Conflict, NotSent):
                return False
            return True

        with ThreadPoolExecutor(RACERS) as pool:
            won = list(pool.map(race, range(2, 2 + RACERS)))
        assert won.count(True) == 1
        assert self.consumed() == self.bundle(2 + won.index(True)).reveal()

    # -- read

    def test_pending_current_and_previous_are_each_read_by_id(self) -> None:
        self.serve(1, 2)
        self.stage(3)
        for n in (1, 2, 3):
            known = n != 1 or self.traits.keeps_previous
            assert self.value_of(id_of(n)) == (self.bundle(n).reveal() if known else None)

    def test_an_unknown_or_empty_id_reads_as_nothing(self) -> None:
        self.serve(1)
        assert self.value_of(id_of(99)) is None
        assert self.value_of("") is None

    @pytest.mark.parametrize("kind", AWKWARD)
    def test_awkward_values_come_back_exactly(self, kind: str) -> None:
        value = Bundle({"a": AWKWARD[kind][: self.traits.bytes_max - 1024], "b": self.canary})
        self.occupied()
        self.stage(1, value=value)
        assert self.value_of(id_of(1)) == value.reveal()
        self.promote(1, self.look().current, value=value)
        current = self.look().current
        assert current
        assert self.consumed() == value.reveal()
        assert current.fingerprints == value.fingerprints(self.context().fingerprint)

    # -- previous and discard

    def test_as_many_previous_versions_are_kept_as_were_asked_for(self) -> None:
        self.serve(1, 2, 3, 4, keep=2)
        assert self.previous() == self.kept(3, 2)
        assert self.value_of(id_of(1)) is None

    def test_no_previous_version_is_kept_where_none_was_asked_for(self) -> None:
        self.serve(1, 2, keep=0)
        assert self.previous() == []

    def test_a_rollback_promotes_the_previous_version_again(self) -> None:
        self.serve(1, 2)
        self.serve(1)
        assert self.consumed() == self.bundle(1).reveal()
        assert self.previous() == self.kept(2)

    def test_a_discarded_pending_version_is_gone_and_nothing_else(self) -> None:
        self.serve(1, 2)
        self.stage(3)
        assert not self.discard(id_of(3))
        assert self.look().pending is None
        assert self.value_of(id_of(3)) is None
        assert self.previous() == self.kept(1)
        assert self.consumed() == self.bundle(2).reveal()

    def test_a_discarded_previous_version_is_gone_and_nothing_else(self) -> None:
        self.serve(1, 2)
        self.stage(3)
        assert self.discard(id_of(1)) is not self.traits.keeps_previous
        assert self.previous() == []
        assert self.value_of(id_of(3)) == self.bundle(3).reveal()

    @pytest.mark.parametrize("version_id", [id_of(99), ""])
    def test_discarding_what_is_not_there_is_done_already(self, version_id: str) -> None:
        self.serve(1, 2)
        before = self.snapshot("place")
        assert self.discard(version_id)
        assert self.snapshot("place") == before

    def test_discarding_twice_is_done_already(self) -> None:
        self.occupied()
        self.stage(1)
        self.discard(id_of(1))
        assert self.discard(id_of(1))

    def test_the_current_version_can_not_be_discarded(self) -> None:
        self.serve(1)
        with self.refused(Refused):
            self.discard(id_of(1))

    # -- neighbours, the unknown, time, death

    def test_other_secrets_are_not_touched(self) -> None:
        self.serve(1, 2, place="neighbour")
        self.stage(3, place="neighbour")
        before = self.snapshot("neighbour")
        self.serve(1, 2, 3, keep=0)
        self.stage(4)
        self.discard(id_of(4))
        assert self.snapshot("neighbour") == before

    def test_a_place_whose_name_begins_like_another_is_another(self) -> None:
        self.serve(1, place="place2")
        self.serve(5)
        assert self.consumed("place2") == self.bundle(1).reveal()

    def test_meta_that_this_version_does_not_know_comes_back(self) -> None:
        self.sink().promote(
            PromoteRequest(
                call=self.call(),
                version=number(1),
                bundle=self.bundle(1),
                expects=None,
                meta={"head": "f00", "from-the-future": "kept"},
            )
        )
        assert self.look().meta == {"head": "f00", "from-the-future": "kept"}

    def test_after_its_deadline_nothing_is_sent(self) -> None:
        current = self.serve(1)
        self.stage(2)
        with self.refused(NotSent):
            self.stage(3, left_s=-1.0)
        with self.refused(NotSent):
            self.promote(2, current, left_s=-1.0)
        with self.refused(NotSent):
            self.discard(id_of(2), left_s=-1.0)

    def test_the_fingerprints_are_keyed_and_the_revision_tells_nothing(self) -> None:
        held = self.serve(1)
        plain = hashlib.sha256(self.bundle(1)["password"].reveal().encode()).hexdigest()
        assert plain not in repr(held)

    def test_wherever_a_promote_dies_consumers_read_old_or_new_and_it_can_be_repeated(self) -> None:
        for point in range(CRASH_POINTS_MAX):
            place = f"crash-{point}"
            expected = self.serve(1, place=place)
            self.stage(2, place=place)
            died = self.crash(point, promoting(self.promotion(2, expected, place=place)))
            served = self.look(place).current
            assert served
            assert served.version_id in (id_of(1), id_of(2))
            assert self.consumed(place) == self.value_of(served.version_id, place)
            assert self.value_of(id_of(1), place) == self.bundle(1).reveal() or not self.traits.keeps_previous
            assert self.value_of(id_of(2), place) == self.bundle(2).reveal()
            self.promote(2, served, place=place)
            assert self.consumed(place) == self.bundle(2).reveal()
            assert self.look(place).pending is None
            if not died:
                return
        pytest.fail(f"a promote of more than {CRASH_POINTS_MAX} steps")
