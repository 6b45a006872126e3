"""The AWS sink among other writers: racing promoters, foreign versions, labels that stand elsewhere, one first call."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from contract.aws_kit import Died, OnStrictFake, dying
from keyturn.api import (
    Bundle,
    Conflict,
    DiscardRequest,
    NotSent,
    PromoteRequest,
    ReadRequest,
    Refused,
    SinkInspectRequest,
    StageRequest,
)
from keyturn.testing.sink_contract import FOREIGN_JOURNAL, JOURNAL, id_of, number
from keyturn_aws.sink import AwsSink

RACERS = 64
START_S = 30.0


class TestRaces(OnStrictFake):
    """Many at once, one wins."""

    def race(self, act: Callable[[int], object]) -> list[bool]:
        start = threading.Barrier(RACERS)

        def run(n: int) -> bool:
            start.wait(START_S)
            try:
                act(n)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(RACERS) as pool:
            return list(pool.map(run, range(2, 2 + RACERS)))

    def test_of_64_promoters_one_wins_and_the_others_leave_nothing_behind(self) -> None:
        expected = self.serve(1)
        sink = self.sink()
        won = self.race(lambda n: sink.promote(self.promotion(n, expected)))
        assert won.count(True) == 1
        winner = 2 + won.index(True)
        assert self.consumed() == self.bundle(winner).reveal()
        left = {label for labels in self.labels().values() for label in labels}
        assert {f"keyturn-{winner}-{JOURNAL}", f"keyturn-1-{JOURNAL}", "AWSCURRENT", "AWSPREVIOUS"} == left

    def test_of_64_runners_that_write_the_first_version_one_wins(self) -> None:
        sink = self.sink()
        won = self.race(lambda n: sink.promote(self.promotion(n, None)))
        assert won.count(True) == 1
        assert self.consumed() == self.bundle(2 + won.index(True)).reveal()

    def test_of_64_runners_that_fill_an_empty_secret_one_wins(self) -> None:
        self.aws.create_secret(Name=self.name())
        sink = self.sink()
        won = self.race(lambda n: sink.promote(self.promotion(n, None)))
        assert won.count(True) == 1
        assert self.consumed() == self.bundle(2 + won.index(True)).reveal()
        assert self.previous() == []

    def test_two_runners_that_write_the_same_first_version_both_succeed(self) -> None:
        sink = self.sink()
        assert self.race(lambda _: sink.promote(self.promotion(1, None))).count(True) == RACERS
        assert self.look().current == self.serve_again()

    def serve_again(self) -> object:
        self.promote(1, None)
        return self.look().current


class TestOthers(OnStrictFake):
    """What somebody else wrote is seen, named and never lost."""

    def foreign(self, *labels: str, value: str = "") -> str:
        """A version of somebody else; its id."""
        version = str(uuid4())
        self.aws.put_secret_value(
            SecretId=self.name(),
            ClientRequestToken=version,
            SecretString=value or json.dumps({"password": f"{self.canary}-theirs"}),
            VersionStages=list(labels),
        )
        return version

    def test_a_foreign_put_between_look_and_promote_is_a_conflict_that_names_it(self) -> None:
        expected = self.serve(1)
        theirs = self.foreign("AWSCURRENT")
        with pytest.raises(Conflict, match=f"{theirs} of somebody else, written 20") as caught:
            self.promote(2, expected)
        assert caught.value.code == "place-moved"
        with self.refused(Conflict):
            self.promote(2, expected)

    def test_a_foreign_put_just_before_the_move_is_a_conflict_too(self) -> None:
        expected = self.serve(1)
        moments = iter(["look", "looked", "put", "put done", "move"])

        def inject(*_: str) -> None:
            if next(moments, None) == "move":
                self.foreign("AWSCURRENT")

        with pytest.raises(Conflict) as caught:
            self.watched(inject).promote(self.promotion(2, expected))
        assert caught.value.code == "place-moved"
        assert self.consumed() == self.bundle("theirs").reveal()
        assert id_of(2) not in self.labels()

    def test_a_foreign_current_version_has_no_ids_but_fingerprints(self) -> None:
        self.serve(1)
        theirs = self.foreign("AWSCURRENT")
        current = self.look().current
        assert current
        assert (current.version_id, current.journal_id, current.number) == (None, None, None)
        assert current.fingerprints == self.bundle("theirs").fingerprints(self.context().fingerprint)
        assert current.revision == theirs
        self.promote(2, current)
        assert self.consumed() == self.bundle(2).reveal()

    @pytest.mark.parametrize(
        ("text", "fields"),
        [
            ('{"n": 1.50, "on": true, "list": ["ä"]}', {"n": "1.5", "on": "true", "list": '["\\u00e4"]'}),
            ("plain text", {"value": "plain text"}),
            ("[1, 2]", {"value": "[1, 2]"}),
            ("[" * 5000, {"value": "[" * 5000}),
        ],
    )
    def test_a_foreign_value_of_any_form_can_be_read(self, text: str, fields: dict[str, str]) -> None:
        self.aws.create_secret(Name=self.name(), SecretString=text, ClientRequestToken=str(uuid4()))
        assert self.consumed() == fields

    def test_a_binary_secret_is_named_and_refused(self) -> None:
        self.aws.create_secret(Name=self.name(), SecretBinary=b"\x00\x01", ClientRequestToken=str(uuid4()))
        with pytest.raises(Refused, match="binary"):
            self.consumed()
        assert [problem.code for problem in self.look().problems] == ["aws-binary"]

    def test_a_pending_version_of_somebody_else_is_neither_replaced_nor_discarded(self) -> None:
        self.serve(1)
        theirs = self.foreign("AWSPENDING")
        with self.refused(Conflict):
            self.stage(2)
        with self.refused(Refused):
            self.discard(theirs)
        pending = self.look().pending
        assert pending
        assert (pending.version_id, pending.revision) == (None, theirs)

    def test_a_version_of_another_journal_is_not_discarded(self) -> None:
        self.occupied()
        self.stage(1, journal=FOREIGN_JOURNAL)
        with self.refused(Refused):
            self.discard(id_of(1))

    def test_a_promote_leaves_the_pending_version_of_somebody_else_alone(self) -> None:
        expected = self.serve(1)
        theirs = self.foreign("AWSPENDING")
        self.promote(2, expected)
        assert self.consumed() == self.bundle(2).reveal()
        assert self.holding("AWSPENDING") == [theirs]

    def test_pending_without_a_value_as_a_rotation_of_aws_leaves_it_is_foreign(self) -> None:
        self.serve(1)
        self.aws.update_secret_version_stage(SecretId=self.name(), VersionStage="AWSPENDING", MoveToVersionId=id_of(1))
        assert self.look().pending is None  # on the current version it means nothing
        assert not self.stage(2).already
        assert self.look().pending

    def test_labels_of_others_are_left_where_they_are(self) -> None:
        self.serve(1)
        self.aws.update_secret_version_stage(SecretId=self.name(), VersionStage="theirs", MoveToVersionId=id_of(1))
        self.stage(2)
        self.promote(2, self.look().current, keep=0)
        assert self.holding("theirs") == [id_of(1)]
        assert self.previous() == []

    def test_a_version_that_lost_its_labels_is_gone_though_aws_still_has_it(self) -> None:
        self.serve(1)
        self.stage(2)
        self.discard(id_of(2))
        assert self.aws.get_secret_value(SecretId=self.name(), VersionId=id_of(2))["VersionId"] == id_of(2)
        assert self.value_of(id_of(2)) is None

    def test_a_discarded_version_is_staged_again_though_its_put_moves_no_label(self) -> None:
        self.serve(1)
        self.stage(2)
        self.discard(id_of(2))
        assert not self.stage(2).already
        pending = self.look().pending
        assert pending
        assert (pending.version_id, pending.number) == (id_of(2), 2)

    def test_a_discarded_id_with_another_value_is_a_conflict(self) -> None:
        self.serve(1)
        self.stage(2)
        self.discard(id_of(2))
        with self.refused(Conflict):
            self.stage(2, value=self.bundle("other"))

    def test_a_number_that_was_used_before_takes_its_label_along(self) -> None:
        self.serve(1, 2)
        again = type(number(2))(id=id_of(99), number=2)
        self.sink().stage(StageRequest(call=self.call(), version=again, bundle=self.bundle(99)))
        assert self.holding(f"keyturn-2-{JOURNAL}") == [id_of(99)]

    def test_an_abandoned_rollback_stays_a_previous_version(self) -> None:
        self.serve(1, 2)
        self.stage(1)
        self.stage(3)
        assert self.previous() == [id_of(1)]

    def test_metadata_of_a_version_that_is_not_current_is_not_shown(self) -> None:
        self.sink().promote(self.with_meta(1, None, a="1", b="2"))
        current = self.look().current
        self.sink().promote(self.with_meta(2, current, b="3"))
        assert self.look().meta == {"b": "3"}
        self.foreign("AWSCURRENT")
        assert self.look().meta == {}

    def with_meta(self, n: int, expects: object, **meta: str) -> PromoteRequest:
        request = self.promotion(n, expects)  # type: ignore[arg-type]
        return PromoteRequest(
            call=request.call, version=request.version, bundle=request.bundle, expects=request.expects, meta=meta
        )


class TestCalls(OnStrictFake):
    """How many calls, in which order."""

    def calls(self) -> list[str]:
        return [one["operation"] for one in self.fake.log if one["name"] == self.name()]

    def test_a_staged_version_is_promoted_by_the_very_first_call(self) -> None:
        expected = self.serve(1)
        sink = self.sink()
        sink.stage(StageRequest(call=self.call(), version=number(2), bundle=self.bundle(2)))
        before = len(self.calls())
        sink.promote(self.promotion(2, expected))
        assert self.calls()[before] == "UpdateSecretVersionStage"
        assert len(self.calls()) - before <= 4
        assert self.consumed() == self.bundle(2).reveal()

    def test_another_value_than_the_staged_one_is_looked_at_first(self) -> None:
        expected = self.serve(1)
        sink = self.sink()
        sink.stage(StageRequest(call=self.call(), version=number(2), bundle=self.bundle(2)))
        with self.refused(Conflict):
            sink.promote(self.promotion(2, expected, value=self.bundle("other")))

    def test_a_stale_promote_after_a_stage_is_refused_all_the_same(self) -> None:
        stale = self.serve(1)
        sink = self.sink()
        sink.stage(StageRequest(call=self.call(), version=number(3), bundle=self.bundle(3)))
        self.promote(2, stale)
        with self.refused(Conflict):
            sink.promote(self.promotion(3, stale))

    def test_nothing_is_remembered_of_a_discarded_version(self) -> None:
        expected = self.serve(1)
        sink = self.sink()
        sink.stage(StageRequest(call=self.call(), version=number(2), bundle=self.bundle(2)))
        sink.discard(DiscardRequest(call=self.call(), version_id=id_of(2)))
        before = len(self.calls())
        sink.promote(self.promotion(2, expected))
        assert self.calls()[before] == "DescribeSecret"

    def test_nothing_is_ever_sent_that_aws_does_not_define(self) -> None:
        self.serve(1, 2, 3)
        self.serve(2)
        self.promote(2, self.look().current)
        ours = [one for one in self.fake.log if one["name"] == self.name()]
        moves = [one for one in ours if one["operation"] == "UpdateSecretVersionStage"]
        assert [one for one in moves if one.get("move_to") == one.get("remove_from")] == []
        assert [one for one in moves if one["stage"] == "AWSCURRENT" and "move_to" not in one] == []
        assert {one["outcome"] for one in moves} == {"ok"}

    def test_the_service_clock_is_told_also_for_a_secret_that_is_not_there(self) -> None:
        for _ in range(2):
            seen = self.look()
            assert seen.sink_now
            assert abs(seen.sink_now - self.context().now()) < 120
            self.promote(1, None)

    def test_wherever_the_first_promote_dies_it_can_be_repeated(self) -> None:
        for point in range(50):
            place = f"first-{point}"
            request = self.promotion(1, None, place=place)
            try:
                self.watched(dying(point)).promote(request)
            except Died:
                died = True
            else:
                died = False
            found = self.look(place).current
            assert found is None or (found.version_id, found.journal_id, found.number) == (id_of(1), JOURNAL, 1)
            assert self.consumed(place) == (self.bundle(1).reveal() if found else None)
            self.promote(1, None, place=place)
            current = self.look(place).current
            assert current
            assert (current.version_id, current.number) == (id_of(1), 1)
            if not died:
                return
        pytest.fail("more than 25 calls")

    def test_a_created_secret_has_the_key_the_description_and_the_tags_of_its_place(self) -> None:
        place = self.make_place("place").model_copy(
            update={"kms_key_id": "alias/ours", "description": "rotated", "tags": {"team": "payments"}}
        )
        request = self.promotion(1, None)
        call = type(request.call)(
            secret="s", place=place, deadline_at=request.call.deadline_at, journal_id=request.call.journal_id
        )
        self.sink().promote(
            PromoteRequest(call=call, version=number(1), bundle=self.bundle(1), expects=None, meta={"k": "v"})
        )
        found = self.aws.describe_secret(SecretId=self.name())
        tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
        assert (found["KmsKeyId"], found["Description"]) == ("alias/ours", "rotated")
        assert tags == {
            "team": "payments",
            "keyturn:version": id_of(1),
            "keyturn:label": f"keyturn-1-{JOURNAL}",
            "keyturn:k": "v",
        }

    def test_a_place_may_keep_fewer_versions_than_the_engine_asks_for(self) -> None:
        self.serve(1, 2)
        request = self.promotion(3, self.look().current, keep=5)
        call = self.call()
        place = call.place.model_copy(update={"keep_previous": 1})
        few = type(call)(secret="s", place=place, deadline_at=call.deadline_at, journal_id=call.journal_id)
        self.sink().promote(
            PromoteRequest(
                call=few, version=request.version, bundle=request.bundle, expects=request.expects, keep_previous=5
            )
        )
        assert self.previous() == [id_of(2)]

    def test_one_instance_serves_many_threads(self) -> None:
        sink = self.sink()

        def live(n: int) -> None:
            place = f"thread-{n}"
            sink.promote(self.promotion(1, None, place=place))
            current = sink.inspect(SinkInspectRequest(call=self.call(place))).current
            sink.stage(StageRequest(call=self.call(place), version=number(2), bundle=self.bundle(2)))
            sink.promote(self.promotion(2, current, place=place))
            answer = sink.read(ReadRequest(call=self.call(place)))
            assert isinstance(answer.bundle, Bundle)
            assert answer.bundle.reveal() == self.bundle(2).reveal()

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(live, range(16)))

    def test_before_the_first_call_nothing_is_resolved(self) -> None:
        context = self.context()
        context.references.clear()
        sink = AwsSink(context, self.account())
        with pytest.raises(NotSent, match="env:AWS_KEY"):
            sink.read(ReadRequest(call=self.call()))
