"""What AWS refuses, loses or delays ends as a named outcome that is true, and nothing is lost by it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from botocore.session import Session

from contract.aws_kit import InNoTime, OnMoto, OnStrictFake
from keyturn.api import (
    Bundle,
    Conflict,
    Doubt,
    Held,
    NotSent,
    PluginError,
    PromoteRequest,
    ReadRequest,
    Refused,
    Sink,
    SinkVersion,
    StageRequest,
)
from keyturn.testing.context import FakeContext
from keyturn.testing.sink_contract import id_of, number
from keyturn_aws.client import SecretsManager
from keyturn_aws.failures import failure_of
from keyturn_aws.sink import AwsSink

WRITES = ("CreateSecret", "PutSecretValue", "UpdateSecretVersionStage", "TagResource")
ALL_ATTEMPTS = 4


class Failing(InNoTime):
    """Faults, and what comes of them."""

    @contextmanager
    def ends(self, outcome: type[PluginError], code: str) -> Iterator[None]:
        with pytest.raises(outcome) as caught:
            yield
        assert caught.value.code == code
        self.hides("".join(traceback.format_exception(caught.value)))

    def staged(self, n: int) -> tuple[Sink, PromoteRequest]:
        """A sink that staged version `n`, and the request to promote it."""
        expected = self.look().current
        sink = self.sink()
        sink.stage(StageRequest(call=self.call(), version=number(n), bundle=self.bundle(n)))
        return sink, self.promotion(n, expected)

    def scheduled(self) -> None:
        self.aws.delete_secret(SecretId=self.name(), RecoveryWindowInDays=7)


class TestLostAnswers(Failing):
    """Every write is committed and its answer lost, once or always; looking settles it."""

    def settled(self, act: Callable[[], object]) -> None:
        """Do it, and where its outcome is unknown do it again, as the engine does."""
        for _ in range(3):
            try:
                act()
            except Doubt:
                self.fake.faults.clear()
                continue
            break
        else:
            pytest.fail("doubt without an end")
        self.fake.faults.clear()

    @pytest.mark.parametrize(
        ("how", "times"), [("reset-after", 1), ("reset-after", 4), ("status-after:500", 1), ("reset-before", 4)]
    )
    @pytest.mark.parametrize("operation", WRITES)
    def test_the_whole_life_of_a_secret_ends_as_if_no_answer_was_lost(
        self, operation: str, how: str, times: int
    ) -> None:
        def lossy() -> None:
            self.fake.fault(operation, how, times=times)

        lossy()
        self.settled(lambda: self.promote(1, None))
        lossy()
        self.settled(lambda: self.stage(2))
        pending = self.look().pending
        assert pending
        assert pending.number == 2
        lossy()
        expected = self.look().current
        self.settled(lambda: self.promote(2, expected))
        self.promote(2, expected)
        current = self.look().current
        assert current
        assert (current.version_id, current.number) == (id_of(2), 2)
        assert self.consumed() == self.bundle(2).reveal()
        assert self.previous() == [id_of(1)]
        lossy()
        self.settled(lambda: self.discard(id_of(1)))
        assert self.previous() == []

    def test_a_move_whose_answer_was_lost_is_done_and_not_a_conflict(self) -> None:
        self.serve(1)
        sink, request = self.staged(2)
        self.fake.fault("UpdateSecretVersionStage", "reset-after")
        sink.promote(request)
        assert self.consumed() == self.bundle(2).reveal()

    def test_a_label_whose_taking_off_was_not_answered_is_off(self) -> None:
        self.serve(1)
        self.stage(2)
        self.fake.fault("UpdateSecretVersionStage", "reset-after")
        assert not self.discard(id_of(2))
        assert self.look().pending is None

    def test_a_move_without_any_answer_is_in_doubt(self) -> None:
        self.serve(1)
        sink, request = self.staged(2)
        self.fake.fault("UpdateSecretVersionStage", "reset-before", times=ALL_ATTEMPTS)
        with self.ends(Doubt, "aws-no-answer"):
            sink.promote(request)
        assert self.consumed() == self.bundle(1).reveal()

    def test_a_throttled_attempt_after_a_lost_one_does_not_take_the_doubt_away(self) -> None:
        self.serve(1)
        self.fake.fault("PutSecretValue", "reset-after")
        self.fake.fault("PutSecretValue", "throttle", times=ALL_ATTEMPTS)
        with self.ends(Doubt, "aws-throttled"):
            self.stage(2)
        self.fake.faults.clear()
        assert self.stage(2).already

    def test_a_read_without_an_answer_changed_nothing(self) -> None:
        self.serve(1)
        self.fake.fault("GetSecretValue", "reset-before", times=ALL_ATTEMPTS)
        with self.ends(NotSent, "aws-no-answer"):
            self.consumed()

    def test_a_tidying_that_fails_leaves_a_success_and_a_note(self) -> None:
        self.serve(1)
        context = self.context()
        sink = AwsSink(context, self.account())
        sink.stage(StageRequest(call=self.call(), version=number(2), bundle=self.bundle(2)))
        request = self.promotion(2, self.look().current)
        self.fake.fault("DescribeSecret", "throttle", times=ALL_ATTEMPTS)
        assert not sink.promote(request).already
        ((event, fields),) = context.notes
        assert (event, fields["code"]) == ("aws-untidy", "aws-throttled")
        assert self.consumed() == self.bundle(2).reveal()
        assert self.holding("AWSPENDING") == [id_of(2)]
        assert sink.promote(request).already
        assert self.holding("AWSPENDING") == []


class TestTime(Failing):
    """Attempts, pauses, deadlines."""

    def test_a_throttle_that_passes_is_not_noticed(self) -> None:
        self.serve(1)
        self.fake.fault("any", "throttle", times=ALL_ATTEMPTS - 1)
        self.stage(2)

    def test_throttled_for_ever_is_not_sent(self) -> None:
        self.serve(1)
        self.fake.fault("any", "throttle", times=1000)
        for act in (self.look, self.consumed, lambda: self.stage(2), lambda: self.discard(id_of(1))):
            with self.ends(NotSent, "aws-throttled"):
                act()
        self.fake.faults.clear()
        assert self.look().pending is None

    def test_no_attempt_begins_after_the_deadline(self) -> None:
        self.serve(1)
        self.fake.fault("PutSecretValue", "throttle", times=1000)
        began = self.clock.now()
        with self.ends(NotSent, "aws-throttled"):
            self.stage(2, left_s=0.01)
        assert self.clock.now() - began <= 0.011

    def test_a_deadline_after_a_lost_answer_leaves_doubt(self) -> None:
        self.serve(1)
        self.fake.fault("PutSecretValue", "reset-after", times=1000)
        with self.ends(Doubt, "aws-no-answer"):
            self.stage(2, left_s=0.01)
        self.fake.faults.clear()
        assert self.stage(2).already

    def test_a_hanging_server_is_given_up(self) -> None:
        self.serve(1)
        self.fake.fault("GetSecretValue", "hang-before", times=ALL_ATTEMPTS)
        sink = AwsSink(self.context(), self.account(read_timeout="100ms"))
        with self.ends(NotSent, "aws-no-answer"):
            sink.read(ReadRequest(call=self.call()))

    def test_a_name_that_the_dns_does_not_know_is_unreachable(self) -> None:
        account = self.account(endpoint="https://secretsmanager.keyturn.invalid")
        sink = AwsSink(self.context(), account)
        with self.ends(NotSent, "unreachable"):
            sink.read(ReadRequest(call=self.call()))
        with self.ends(NotSent, "unreachable"):
            sink.promote(self.promotion(1, None))

    def test_a_server_that_is_away_is_unreachable(self) -> None:
        self.serve(1)
        self.fake.stop()
        with self.ends(NotSent, "unreachable"):
            self.stage(2)
        self.fake.start()
        self.stage(2)


class TestRefusals(Failing):
    """Definite answers, by their code."""

    @pytest.mark.parametrize(
        ("denied", "act"),
        [
            ("DescribeSecret", "stage"),
            ("PutSecretValue", "stage"),
            ("UpdateSecretVersionStage", "promote"),
            ("GetSecretValue", "read"),
        ],
    )
    def test_a_denied_action_is_named(self, denied: str, act: str) -> None:
        self.serve(1)
        sink, request = self.staged(2)
        acts: dict[str, Callable[[], object]] = {
            "stage": lambda: self.stage(3),
            "promote": lambda: sink.promote(request),
            "read": self.consumed,
        }
        allowed = {*WRITES, "DescribeSecret", "GetSecretValue"} - {denied}
        self.fake.world.allow(self.access_key, sorted(allowed))
        with pytest.raises(Refused, match=f"secretsmanager:{denied}") as caught:
            acts[act]()
        self.fake.world.allow(self.access_key, None)
        assert caught.value.code == "aws-denied"

    def test_credentials_that_aws_does_not_know_are_refused(self) -> None:
        context = FakeContext(self.clock, references={"env:AWS_KEY": "AKIAUNKNOWN", "env:AWS_SECRET": "x"})
        with self.ends(Refused, "aws-credentials"):
            AwsSink(context, self.account()).read(ReadRequest(call=self.call()))

    def test_a_machine_without_credentials_is_told_so(self) -> None:
        account = self.account(access_key_id=None, secret_access_key=None)
        with self.ends(Refused, "aws-credentials"):
            AwsSink(self.context(), account).read(ReadRequest(call=self.call()))

    def test_an_unknown_profile_is_named(self) -> None:
        account = self.account(access_key_id=None, secret_access_key=None, profile="nobody")
        with self.ends(Refused, "aws-profile"):
            AwsSink(self.context(), account).read(ReadRequest(call=self.call()))

    def test_a_key_that_may_not_be_used_is_refused_for_writing_and_for_reading(self) -> None:
        self.serve(1)
        place = self.make_place("other").model_copy(update={"kms_key_id": "alias/denied"})
        call = self.call("other")
        request = PromoteRequest(
            call=type(call)(secret="s", place=place, deadline_at=call.deadline_at, journal_id=call.journal_id),
            version=number(1),
            bundle=self.bundle(1),
            expects=None,
        )
        with self.ends(Refused, "aws-kms"):
            self.sink().promote(request)

    @pytest.mark.parametrize(
        ("code", "ours"), [("DecryptionFailure", "aws-kms"), ("AccessDeniedException", "aws-denied")]
    )
    def test_a_key_that_was_taken_away_is_refused_under_either_code(self, code: str, ours: str) -> None:
        self.aws.create_secret(
            Name=self.name(), SecretString="{}", KmsKeyId="alias/gone", ClientRequestToken=str(uuid4())
        )
        self.fake.world.switch({"denied_keys": ["alias/gone"], "kms_refusal": code})
        with self.ends(Refused, ours):
            self.consumed()
        self.fake.world.switch({"denied_keys": [], "kms_refusal": "DecryptionFailure"})

    def test_scheduled_for_deletion_is_said_with_the_command_that_restores(self) -> None:
        current = self.serve(1)
        sink, request = self.staged(2)
        self.scheduled()
        acts: list[Callable[[], object]] = [
            self.consumed,
            lambda: self.stage(3),
            lambda: self.promote(3, current),
            lambda: self.promote(3, None),
            lambda: sink.promote(request),
            lambda: self.discard(id_of(2)),
        ]
        for act in acts:
            with self.ends(Refused, "aws-scheduled-for-deletion"):
                act()
        (problem,) = self.look().problems
        assert (problem.code, problem.fatal) == ("aws-scheduled-for-deletion", True)
        assert f"restore-secret --secret-id {self.name()}" in problem.hint
        self.aws.restore_secret(SecretId=self.name())
        sink.promote(request)
        assert self.consumed() == self.bundle(2).reveal()

    def test_a_secret_that_aws_rotates_is_left_alone(self) -> None:
        current = self.serve(1)
        self.fake.world.mark(self.name(), {"RotationEnabled": True})
        with self.ends(Refused, "aws-rotation-enabled"):
            self.stage(2)
        with self.ends(Refused, "aws-rotation-enabled"):
            self.promote(2, current)
        assert self.promote(1, None).already
        (problem,) = self.look().problems
        assert (problem.code, problem.fatal) == ("aws-rotation-enabled", True)

    def test_a_replica_that_is_behind_is_reported(self) -> None:
        self.serve(1)
        states = [{"Region": "eu-west-1", "Status": "InSync"}, {"Region": "us-east-1", "Status": "Failed"}]
        self.fake.world.mark(self.name(), {"ReplicationStatus": states})
        (problem,) = self.look().problems
        assert (problem.code, problem.fatal) == ("aws-replica-behind", False)
        assert "us-east-1" in problem.text
        assert "eu-west-1" not in problem.text

    def test_a_secret_that_another_service_manages_is_refused(self) -> None:
        self.serve(1)
        self.fake.world.mark(self.name(), {"OwningService": "rds"})
        with self.ends(Refused, "aws-refused"):
            self.stage(2)

    def test_an_empty_place_and_an_empty_secret_can_not_be_staged(self) -> None:
        for _ in range(2):
            with self.ends(Refused, "empty-place"):
                self.stage(1)
            self.aws.create_secret(Name=self.name()) if not self.labels_or_none() else None
        self.promote(1, None)
        assert self.consumed() == self.bundle(1).reveal()

    def labels_or_none(self) -> object:
        return self.fake.world.state().get(self.name())


class TestLimits(Failing):
    """What does not fit is refused before it is sent."""

    def calls(self) -> int:
        return sum(one["name"] == self.name() for one in self.fake.log)

    @pytest.mark.parametrize("value", ["x" * 65_521, "ü" * 32_761, "\u0000" * 11_000])
    def test_a_value_over_64_kib_is_never_sent(self, value: str) -> None:
        with self.ends(Refused, "value-too-long"):
            self.promote(1, None, value=Bundle({"password": f"{self.canary}{value}"}))
        assert self.calls() == 0

    def test_a_value_of_exactly_64_kib_is_kept(self) -> None:
        value = Bundle({"p": "x" * (65_536 - len('{"p": ""}'))})
        self.promote(1, None, value=value)
        assert self.consumed() == value.reveal()

    @pytest.mark.parametrize("version_id", ["short", "x" * 65, "ä" * 36, "x y" * 12])
    def test_a_version_id_that_aws_would_not_take_is_never_sent(self, version_id: str) -> None:
        request = StageRequest(call=self.call(), version=SinkVersion(id=version_id, number=1), bundle=self.bundle(1))
        with self.ends(Refused, "bad-version-id"):
            self.sink().stage(request)
        assert self.calls() == 0

    @pytest.mark.parametrize(
        "meta",
        [
            {"k" * 121: "v"},
            {"k": "v" * 257},
            {"k": "{json}"},
            {"version": "mine"},
            {"": "v"} | {f"k{n}": "v" for n in range(60)},
        ],
    )
    def test_metadata_that_tags_can_not_hold_is_refused(self, meta: dict[str, str]) -> None:
        self.serve(1)
        request = StageRequest(call=self.call(), version=number(2), bundle=self.bundle(2), meta=meta)
        with self.ends(Refused, "meta-too-long"):
            self.sink().stage(request)
        assert self.look().pending is None

    def test_a_secret_with_too_many_labels_is_refused_before_it_is_touched(self) -> None:
        current = self.serve(1)
        for n in range(17):
            self.aws.update_secret_version_stage(
                SecretId=self.name(), VersionStage=f"theirs-{n}", MoveToVersionId=id_of(1)
            )
        with self.ends(Refused, "aws-too-many-labels"):
            self.stage(2)
        with self.ends(Refused, "aws-too-many-labels"):
            self.promote(2, current)
        (problem,) = self.look().problems
        assert (problem.code, problem.fatal) == ("aws-labels-nearly-full", False)
        for n in range(2):
            self.aws.update_secret_version_stage(
                SecretId=self.name(), VersionStage=f"theirs-{n}", RemoveFromVersionId=id_of(1)
            )
        assert not self.stage(2).already
        self.promote(2, current)

    def test_a_twentieth_label_of_somebody_else_in_between_is_a_quota(self) -> None:
        assert failure_of("LimitExceededException", 400, "secretsmanager:PutSecretValue", None).code == "aws-quota"

    def test_a_secret_with_fifty_tags_is_refused_before_it_is_touched(self) -> None:
        self.serve(1)
        self.aws.tag_resource(SecretId=self.name(), Tags=[{"Key": f"t{n}", "Value": "v"} for n in range(48)])
        request = StageRequest(call=self.call(), version=number(2), bundle=self.bundle(2), meta={"k": "v"})
        with self.ends(Refused, "meta-too-long"):
            self.sink().stage(request)


class TestSilence(OnStrictFake):
    """The SDK says nothing that could show a value."""

    def test_with_debug_logging_everywhere_no_value_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        below = logging.getLogger("botocore.endpoint")
        levels = [(logger, logger.level) for logger in (logging.getLogger(), below)]
        try:
            for logger, _ in levels:
                logger.setLevel(logging.DEBUG)
            with caplog.at_level(logging.DEBUG):
                self.serve(1, 2)
                assert self.consumed() == self.bundle(2).reveal()
            self.hides(caplog.text)
        finally:
            for logger, level in levels:
                logger.setLevel(level)

    def test_the_sdk_would_have_logged_it(self, caplog: pytest.LogCaptureFixture) -> None:
        self.serve(1)
        names = ("botocore", "botocore.endpoint", "botocore.parsers", "botocore.hooks")
        levels = {name: logging.getLogger(name).level for name in names}
        shown = f"shown-{uuid4()}"
        try:
            for name in names:
                logging.getLogger(name).setLevel(logging.DEBUG)
            with caplog.at_level(logging.DEBUG):
                client = self.aws
                client.put_secret_value(SecretId=self.name(), SecretString=shown, ClientRequestToken=str(uuid4()))
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
        assert shown in caplog.text

    def test_what_the_sdk_refuses_to_send_is_refused_without_its_text(self) -> None:
        api = SecretsManager(self.context(), self.account())
        wrong: Any = [self.canary]
        with pytest.raises(Refused, match="ParamValidationError") as caught:
            api.call("put_secret_value", deadline_at=self.context().now() + 9, SecretId=self.name(), SecretString=wrong)
        self.hides("".join(traceback.format_exception(caught.value)))

    def test_a_fingerprint_of_nothing_is_left_in_a_representation(self) -> None:
        sink = self.sink()
        sink.promote(self.promotion(1, None))
        self.hides([repr(sink), vars(sink)])


class TestDeletedOnMoto(OnMoto):
    """moto writes to a secret that is scheduled for deletion; the sink looks first."""

    def test_a_scheduled_secret_is_not_written_to(self) -> None:
        current: Held = self.serve(1)
        self.aws.delete_secret(SecretId=self.name(), RecoveryWindowInDays=7)
        acts: list[Callable[[], object]] = [
            lambda: self.stage(2),
            lambda: self.promote(2, current),
            lambda: self.promote(2, None),
        ]
        for act in acts:
            with pytest.raises(Refused) as caught:
                act()
            assert caught.value.code == "aws-scheduled-for-deletion"

    def test_a_known_id_with_another_value_is_never_put(self) -> None:
        self.serve(1)
        self.stage(2)
        with pytest.raises(Conflict):
            self.stage(2, value=self.bundle("other"))
        assert self.value_of(id_of(2)) == self.bundle(2).reveal()


def test_every_error_of_the_service_has_a_meaning_of_its_own() -> None:
    model = Session().get_service_model("secretsmanager")
    named = {shape.name for shape in model.error_shapes}
    left = {name for name in named if failure_of(name, 400, "secretsmanager:X", None).code == "aws-refused"}
    assert left == {
        "InvalidNextTokenException",
        "InvalidParameterException",
        "InvalidRequestException",
        "MalformedPolicyDocumentException",
        "PreconditionNotMetException",
        "PublicPolicyException",
        "ResourceExistsException",
        "ResourceNotFoundException",
    }
