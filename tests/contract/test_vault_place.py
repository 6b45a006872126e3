"""What only the KV engine can break: numbers and metadata of a path, its neighbours, lost answers, sudden death."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace

import pytest

from contract.vault_kit import BehindProxy, OnVault, town
from keyturn.api import Bundle, Conflict, Doubt, NotSent, Refused
from keyturn.testing.proxy import On
from keyturn.testing.sink_contract import FOREIGN_JOURNAL, id_of
from keyturn_vault.options import Place

__all__ = ["town"]


def meet(others: threading.Barrier) -> None:
    """Wait for the others, for a while."""
    with suppress(threading.BrokenBarrierError):
        others.wait(5.0)


DATA = On("POST", "^/v1/kv/data/team/")


class TestRoundTrips(BehindProxy):
    """A promote by the instance that staged begins with the write."""

    def test_the_first_request_of_a_promote_after_a_stage_is_the_write_that_consumers_see(self) -> None:
        expected, sink = self.serve(1), self.behind()
        sink.stage(self.staging(2))
        before = len(self.proxy.log)
        sink.promote(self.promotion(2, expected, keep=0))
        first, *rest = self.sent()[before:]
        assert first == "POST /v1/kv/data/place"
        assert sorted(rest) == ["DELETE /v1/kv/metadata/keyturn-pending/place", "POST /v1/kv/destroy/place"]

    def test_what_comes_after_the_write_is_sent_side_by_side(self) -> None:
        expected, sink = self.serve(1), self.behind()
        sink.stage(self.staging(2))
        before = len(self.proxy.log)
        arrived = threading.Barrier(3)
        # Nobody gets an answer before all three were asked; a sink that sends one after the other breaks the barrier.
        self.proxy.before = lambda seen: None if "/data/" in seen.path else meet(arrived)
        request = replace(self.promotion(2, expected, keep=0), meta={"chain": "7"})
        sink.promote(request)
        assert not arrived.broken
        assert len(self.proxy.log) == before + 4
        assert self.look().meta == {"chain": "7"}

    def test_a_promote_by_another_instance_looks_first(self) -> None:
        expected = self.serve(1)
        self.behind().stage(self.staging(2))
        before = len(self.proxy.log)
        self.behind().promote(self.promotion(2, expected))
        assert [one for one in self.sent()[before:] if one.startswith("GET")]

    def test_a_remembered_stage_is_no_leave_to_overwrite_what_came_meanwhile(self) -> None:
        expected, sink = self.serve(1), self.sink()
        sink.stage(self.staging(2))
        self.by_hand({"password": f"{self.canary}-hand"}, cas=1)
        with self.refused(Conflict):
            sink.promote(self.promotion(2, expected))

    def test_a_remembered_stage_is_no_leave_to_write_another_value(self) -> None:
        expected, sink = self.serve(1), self.sink()
        sink.stage(self.staging(2))
        with self.refused(Conflict):
            sink.promote(self.promotion(2, expected, value=self.bundle("other")))

    def test_wherever_a_remembered_promote_dies_it_can_be_repeated(self) -> None:
        for point in range(50):
            expected, place = self.serve(1, place=f"crash-{point}"), f"crash-{point}"
            stage = replace(self.staging(2), call=self.call(place))
            promote = self.promotion(2, expected, place=place, keep=0)
            died = self.crash(point, lambda sink, a=stage, b=promote: (sink.stage(a), sink.promote(b)))  # type: ignore[misc]
            served = self.look(place).current
            assert served
            assert served.version_id in (id_of(1), id_of(2))
            self.stage(2, place=place)
            self.promote(2, served, place=place, keep=0)
            assert self.consumed(place) == self.bundle(2).reveal()
            assert (self.look(place).pending, self.previous(place)) == (None, [])
            if not died:
                return
        pytest.fail("a stage and promote of more than 50 steps")


class TestLostAnswers(BehindProxy):
    """What a lost answer, a server that failed, or a cut means for a change, and for a look."""

    @pytest.mark.parametrize("how", ["cut_after", "cut_before"])
    def test_a_lost_answer_of_the_write_is_doubt_and_a_look_settles_it(self, how: str) -> None:
        expected = self.serve(1)
        self.proxy.fault(how, DATA)
        with pytest.raises(Doubt) as caught:
            self.behind().promote(self.promotion(2, expected))
        self.hides(caught.value)
        current = self.look().current
        assert current
        assert current.version_id == (id_of(2) if how == "cut_after" else id_of(1))
        assert self.promote(2, current).already is (how == "cut_after")
        assert self.consumed() == self.bundle(2).reveal()

    def test_an_answer_that_comes_too_late_is_doubt(self) -> None:
        expected = self.serve(1)
        self.proxy.fault("hang_after", DATA)
        sink = self.behind(read_timeout="200ms")
        with pytest.raises(Doubt) as caught:
            sink.promote(self.promotion(2, expected))
        assert caught.value.code == "timeout"

    def test_a_conflict_that_is_our_own_earlier_write_is_done(self) -> None:
        expected, sink = self.serve(1), self.behind()
        sink.stage(self.staging(2))
        self.promote(2, expected)  # as a retry by something on the way would
        sink.promote(self.promotion(2, expected))
        assert self.consumed() == self.bundle(2).reveal()

    def test_a_failing_clean_up_is_no_failure_and_the_next_promote_makes_up_for_it(self) -> None:
        expected, sink = self.serve(1), self.behind()
        sink.stage(self.staging(2))
        self.proxy.fault("cut_before", On("DELETE"), times=None)
        self.proxy.fault("cut_before", On("POST", "/destroy/"), times=None)
        assert not sink.promote(self.promotion(2, expected, keep=0)).already
        self.proxy.clear()
        seen = self.look()
        assert seen.pending is None, "what is current is not pending"
        assert "pending-left-over" in [problem.code for problem in seen.problems]
        assert self.exists(f"kv/data/keyturn-pending/{self.prefix}/place")
        assert self.previous() == [id_of(1)]
        assert self.promote(2, seen.current, keep=0).already
        assert not self.exists(f"kv/data/keyturn-pending/{self.prefix}/place")
        assert self.previous() == []

    def test_a_clean_up_is_tried_again_when_the_server_is_back_in_a_moment(self) -> None:
        expected, sink = self.serve(1), self.behind()
        sink.stage(self.staging(2))
        self.proxy.fault("cut_before", On("DELETE"), times=2)
        assert not sink.promote(self.promotion(2, expected)).already
        assert not self.exists(f"kv/data/keyturn-pending/{self.prefix}/place")

    def test_reads_are_tried_again_and_changes_are_not(self) -> None:
        self.serve(1)
        self.proxy.fault("cut_before", On("GET", "/metadata/"), times=2)
        assert self.behind().inspect(self.looking()).current
        self.proxy.fault("cut_before", On("POST", "/data/"))
        with pytest.raises(Doubt):
            self.behind().stage(self.staging(2))
        assert [one for one in self.sent() if one.startswith("POST /v1/kv/data")] == [
            "POST /v1/kv/data/keyturn-pending/place"
        ]

    def test_a_read_that_never_succeeds_is_not_sent(self) -> None:
        self.proxy.fault("cut_inside", On("GET", "/metadata/"), times=None)
        with pytest.raises(NotSent) as caught:
            self.behind().inspect(self.looking())
        assert caught.value.code == "cut"
        assert len([one for one in self.sent() if "/metadata/" in one]) == 3


class TestContent(OnVault):
    """Which version is served, is told by what is served."""

    def test_a_value_written_by_hand_is_foreign_and_not_replaced(self) -> None:
        expected = self.serve(1)
        self.by_hand({"password": f"{self.canary}-hand"}, cas=1)
        current = self.look().current
        assert current
        assert (current.version_id, current.journal_id, current.number) == (None, None, None)
        assert current.fingerprints == self.bundle("hand").fingerprints(self.context().fingerprint)
        for expects in (expected, None):
            with self.refused(Conflict):
                self.promote(2, expects)

    def test_a_conflict_names_who_wrote_as_far_as_it_is_known(self) -> None:
        expected = self.serve(1)
        self.by_hand({"password": f"{self.canary}-hand"}, cas=1)
        with pytest.raises(Conflict, match=r"somebody else's value, KV version 2 of 20\d\d-") as caught:
            self.promote(2, expected)
        assert caught.value.code == "place-moved"
        with pytest.raises(Conflict, match="somebody else's value") as caught:
            self.promote(2, None)
        assert caught.value.code == "place-taken"

    def test_a_foreign_value_that_was_expected_is_replaced_kept_and_never_destroyed(self) -> None:
        self.by_hand({"password": f"{self.canary}-hand"})
        self.promote(1, self.look().current, keep=0)
        self.promote(2, self.look().current, keep=0)
        assert self.previous() == [None]
        (kept,) = self.look().previous
        assert kept.fingerprints == self.bundle("hand").fingerprints(self.context().fingerprint)

    def test_what_is_no_text_in_a_hand_made_secret_reads_as_json(self) -> None:
        self.by_hand({"port": 8443, "hosts": ["a", "b"], "none": None, "text": "1"})
        read = self.sink().read(self.reading())
        assert read.bundle
        assert read.bundle.reveal() == {"port": "8443", "hosts": '["a","b"]', "none": "null", "text": "1"}

    def test_a_number_is_not_taken_for_our_text(self) -> None:
        self.promote(1, None, value=Bundle({"pin": "1234"}))
        self.by_hand({"pin": 1234}, cas=1)
        current = self.look().current
        assert current
        assert current.version_id is None

    def test_an_old_value_that_was_put_back_is_recognised(self) -> None:
        self.serve(1, 2)
        self.by_hand(self.bundle(1).reveal(), cas=2)
        current = self.look().current
        assert current
        assert (current.version_id, current.number) == (id_of(1), 1)

    def test_two_versions_with_one_value_are_the_later_one(self) -> None:
        expected = self.serve(1)
        self.stage(2, value=self.bundle(1))
        assert self.look().current == expected
        self.promote(2, expected, value=self.bundle(1))
        current = self.look().current
        assert current
        assert current.version_id == id_of(2)

    def test_a_pending_value_of_somebody_else_is_not_overwritten_and_stops_a_rotation(self) -> None:
        self.serve(1)
        self.server.call(
            "POST", f"kv/data/keyturn-pending/{self.prefix}/place", {"options": {"cas": 0}, "data": {"a": "b"}}
        )
        with pytest.raises(Conflict) as caught:
            self.stage(2)
        assert caught.value.code == "pending-foreign"
        problem = next(one for one in self.look().problems if one.code == "pending-foreign")
        assert problem.fatal
        assert f"bao kv metadata delete -mount=kv keyturn-pending/{self.prefix}/place" in problem.hint

    def test_another_journals_versions_are_neither_discarded_nor_destroyed(self) -> None:
        self.promote(1, None, journal=FOREIGN_JOURNAL)
        self.promote(2, self.look().current, keep=0)
        self.promote(3, self.look().current, keep=0)
        assert self.previous() == [id_of(1)]
        with pytest.raises(Refused) as caught:
            self.discard(id_of(1))
        assert caught.value.code == "foreign-version"
        self.stage(4, journal=FOREIGN_JOURNAL)
        with pytest.raises(Refused):
            self.discard(id_of(4))

    def test_a_version_whose_pending_copy_and_previous_one_are_discarded_is_gone(self) -> None:
        self.serve(1, 2)
        self.stage(1)  # a rollback that was given up
        assert not self.discard(id_of(1))
        assert self.value_of(id_of(1)) is None
        assert self.discard(id_of(1))

    def test_the_places_own_number_of_previous_versions_outranks_the_engines(self) -> None:
        for n in (1, 2, 3, 4):
            request = self.promotion(n, self.look().current, keep=1)
            place = Place(path=request.call.place.path, keep_previous=2)
            self.sink().promote(replace(request, call=replace(request.call, place=place)))
        assert self.previous() == [id_of(3), id_of(2)]

    @pytest.mark.parametrize(
        ("value", "code"),
        [("x" * 500_001, "value-too-long"), ("密" * 170_000, "value-too-long"), ("\ud800", "value-text")],
    )
    def test_a_value_that_does_not_fit_is_refused_before_anything_is_sent(self, value: str, code: str) -> None:
        with pytest.raises(Refused) as caught:
            self.promote(1, None, value=Bundle({"password": self.canary + value}))
        assert caught.value.code == code
        self.hides(caught.value)
        assert not self.exists(f"kv/metadata/{self.prefix}/place")

    def test_the_largest_value_fits(self) -> None:
        value = Bundle({"p": "<" * 499_000})  # the server writes it as six characters each
        self.stage(1, value=value)
        self.promote(1, None, value=value)
        assert self.consumed() == value.reveal()
