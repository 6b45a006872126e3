"""Whose credentials the AWS sink uses, what its minimal policy allows, and what its options take."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest

from contract.aws_kit import KEYS, OnMoto, OnStrictFake
from keyturn.api import PromoteRequest, ReadRequest, Refused, SinkTraits
from keyturn.testing.context import FakeContext
from keyturn.testing.sink_contract import JOURNAL, id_of
from keyturn_aws.hook import keyturn_plugin
from keyturn_aws.labels import CURRENT, PENDING, Labelled, mark_of
from keyturn_aws.options import Account, Place, subject, traits
from keyturn_aws.sink import AwsSink

ROLE = {"role_arn": "arn:aws:iam::123456789012:role/keyturn"}
PAGE = Path(__file__).parents[2] / "docs" / "plugins" / "aws.md"
TAKEN = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>{until}</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/keyturn/k</Arn>
<AssumedRoleId>A:k</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"""
DENIED = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"


class Sts:
    """The part of AWS's token service that gives roles: the keys in turn, each for so many minutes."""

    def __init__(self, keys: list[str], minutes: int) -> None:
        self.keys, self.minutes, self.asked = iter(keys), minutes, list[dict[str, str]]()

    def answer(self, form: Mapping[str, list[str]]) -> tuple[int, str]:
        self.asked.append({name: values[0] for name, values in form.items()})
        key = next(self.keys, None)
        until = (datetime.now(UTC) + timedelta(minutes=self.minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (200, TAKEN.format(key=key, until=until)) if key else (403, DENIED)


@contextmanager
def served(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The token service on loopback, where the SDK looks for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, text = sts.answer(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()
        thread.join()


class TestRoles(OnStrictFake):
    """The configured keys are good for taking the role only: the service does not know them."""

    def in_role(self, **role: Any) -> AwsSink:
        references = {"env:AWS_KEY": "AKIASOURCE", "env:AWS_SECRET": "x", "env:EXTERNAL": "from-outside"}
        context = FakeContext(self.clock, references=references)
        return AwsSink(context, self.account(assume_role={**ROLE, **role}))

    def test_every_call_is_signed_by_the_role(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sts = Sts([self.fake.world.new_access_key()], minutes=60)
        with served(sts, monkeypatch):
            sink = self.in_role(external_id="env:EXTERNAL", session_name="rotation", duration="30m")
            sink.promote(self.promotion(1, None))
            assert sink.read(ReadRequest(call=self.call())).held
        (asked,) = sts.asked
        wanted = {"RoleSessionName": "rotation", "DurationSeconds": "1800", "ExternalId": "from-outside"}
        assert {name: asked[name] for name in wanted} == wanted
        assert asked["RoleArn"] == ROLE["role_arn"]

    def test_a_plain_external_id_is_sent_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sts = Sts([self.fake.world.new_access_key()], minutes=60)
        with served(sts, monkeypatch):
            self.in_role(external_id="acme:prod").promote(self.promotion(1, None))
        assert sts.asked[0]["ExternalId"] == "acme:prod"

    def test_credentials_that_end_soon_are_renewed_in_the_middle_of_a_run(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = (self.fake.world.new_access_key() for _ in range(2))
        sts = Sts([first, *[second] * 20], minutes=5)
        with served(sts, monkeypatch):
            sink = self.in_role()
            sink.read(ReadRequest(call=self.call()))
            self.fake.world.revoke(first)
            sink.promote(self.promotion(1, None))
        assert self.consumed() == self.bundle(1).reveal()

    def test_a_role_that_may_not_be_taken_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with served(Sts([], minutes=5), monkeypatch), pytest.raises(Refused, match="sts:AssumeRole") as caught:
            self.in_role().read(ReadRequest(call=self.call()))
        assert caught.value.code == "aws-denied"


class TestRolesOfMoto(OnMoto):
    """The same on moto's token service, which is what a demo has."""

    def test_a_role_of_moto_can_be_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", self.url)
        sink = AwsSink(self.context(), self.account(assume_role=ROLE))
        sink.promote(self.promotion(1, None))
        assert self.consumed() == self.bundle(1).reveal()


class TestPolicy(OnStrictFake):
    """The policy of docs/plugins/aws.md allows what the sink does, and not a call more."""

    block: ClassVar[str] = ""

    def allowed(self) -> set[str]:
        (block,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
        statements = json.loads(block)["Statement"]
        actions = {action for statement in statements for action in statement["Action"]}
        return {action.removeprefix("secretsmanager:") for action in actions if action.startswith("secretsmanager:")}

    def life(self) -> None:
        """Every verb, from the first version to the last, with a rollback and one that was abandoned."""
        self.promote(1, None)
        self.serve(2, 3, keep=2)
        self.stage(4)
        self.stage(5)
        self.discard(id_of(5))
        self.serve(2)
        self.promote(2, self.look().current)
        request = self.promotion(7, self.look().current)
        self.sink().promote(
            PromoteRequest(
                call=request.call,
                version=request.version,
                bundle=request.bundle,
                expects=request.expects,
                meta={"chain": "7"},
            )
        )
        self.discard(id_of(2))
        assert self.consumed() == self.bundle(7).reveal()
        assert self.value_of(id_of(99)) is None

    def test_the_policy_of_the_page_is_exactly_what_is_called(self) -> None:
        self.life()
        called = {one["operation"] for one in self.fake.log if one["name"].startswith(self.prefix)}
        assert called == self.allowed()

    def test_a_secret_lives_its_whole_life_with_that_policy(self) -> None:
        self.fake.world.allow(self.access_key, sorted(self.allowed()))
        try:
            self.life()
        finally:
            self.fake.world.allow(self.access_key, None)
        assert {one["outcome"] for one in self.fake.log if one["name"].startswith(self.prefix)} <= {
            "ok",
            "ResourceNotFoundException",
        }


class TestOptions:
    """What a configuration may say."""

    @pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 513, "a:b", "a\n"])
    def test_a_name_that_aws_would_not_take_or_not_tell_apart_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="expected") as caught:
            Place(name=name)
        assert "input_value" not in str(caught.value)

    @pytest.mark.parametrize("name", ["a", "x" * 512, "prod/gateway/sideband", "a_b+c=d.e@f-g", "app-secret", "a-b"])
    def test_other_names_are_taken(self, name: str) -> None:
        assert Place(name=name).name == name

    @pytest.mark.parametrize(
        "tags",
        [
            {"aws:x": "y"},
            {"keyturn:version": "y"},
            {"": "y"},
            {"k": "v" * 257},
            {"k": "{}"},
            {f"k{n}": "" for n in range(31)},
        ],
    )
    def test_tags_that_would_not_fit_are_refused(self, tags: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="expected"):
            Place(name="a", tags=tags)

    @pytest.mark.parametrize(
        "options",
        [
            {"access_key_id": "env:A"},
            {"secret_access_key": "env:A"},
            {"session_token": "env:A"},
            {**KEYS, "profile": "p"},
            {"region": "Europe"},
            {"endpoint": "http://secretsmanager.example"},
            {"access_key_id": "AKIA123", "secret_access_key": "plain"},
            {"assume_role": {"role_arn": "arn:aws:iam::1:user/x"}},
            {"assume_role": {**ROLE, "duration": "5m"}},
            {"read_timeout": "0s"},
        ],
    )
    def test_an_account_that_can_not_be_meant_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"expected|should|match"):
            Account.model_validate({"region": "eu-west-1", **options})

    def test_a_place_has_one_canonical_name_in_each_account(self) -> None:
        one = Account(region="eu-west-1")
        names = {
            subject(account, Place(name="a/b"))
            for account in (
                one,
                Account(region="eu-central-1"),
                Account(region="eu-west-1", profile="other"),
                Account(region="eu-west-1", endpoint="https://vpce.example"),
                Account.model_validate({"region": "eu-west-1", "assume_role": ROLE}),
                Account(region="eu-west-1", account_id="210987654321", profile="other"),
            )
        }
        assert len(names) == 6
        assert subject(one, Place(name="a/b", tags={"k": "v"})) == "aws:eu-west-1::a/b"
        renewed = Account.model_validate({"region": "eu-west-1", **KEYS})
        assert subject(renewed, Place(name="a/b")) == "aws:eu-west-1::a/b", "where keys are kept is no part of it"

    def test_the_registration_says_what_the_sink_can_do(self) -> None:
        plugin = keyturn_plugin()
        account = Account(region="eu-west-1")
        assert plugin.load() is AwsSink
        assert plugin.place
        assert plugin.place(account, "a/b") == {"name": "a/b"}
        assert plugin.requires == "keyturn[aws]"
        assert traits(account, Place(name="a")) == SinkTraits(stages_empty=False, bytes_max=65_536)


class TestLabels:
    """What the labels of a secret say."""

    def test_a_mark_is_read_back_whatever_the_journal_is_called(self) -> None:
        mark = mark_of({"AWSCURRENT", "keyturn-12-0197a-b-c", "theirs", "keyturn-x-y", "keyturn-3"})
        assert mark
        assert (mark.number, mark.journal_id) == (12, "0197a-b-c")
        assert mark_of({"AWSCURRENT", "keyturn", "keyturn-"}) is None

    def test_a_mark_for_a_moment_gives_way_to_the_real_one(self) -> None:
        mark = mark_of({f"keyturn-0-{JOURNAL}", f"keyturn-7-{JOURNAL}"})
        assert mark
        assert mark.number == 7
        assert mark.passing.label == f"keyturn-0-{JOURNAL}"

    def test_the_last_served_version_comes_first_among_the_previous_ones(self) -> None:
        labels = {
            "a": {CURRENT, "keyturn-1-j"},
            "b": {"keyturn-4-j"},
            "c": {"AWSPREVIOUS", "keyturn-2-j"},
            "d": {PENDING, "keyturn-5-j"},
            "e": {"AWSPREVIOUS-like"},
        }
        seen = Labelled(labels={one: frozenset(those) for one, those in labels.items()})
        assert (seen.current, seen.pending, seen.previous) == ("a", "d", ("c", "b"))

    def test_pending_on_the_current_version_means_nothing(self) -> None:
        assert Labelled(labels={"a": frozenset({CURRENT, PENDING})}).pending is None
