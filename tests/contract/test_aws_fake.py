"""The strict fake of AWS Secrets Manager is as strict as AWS says it is, fails as told, and tells no value."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from contract.aws_differences import (
    CURRENT,
    DIFFERENCES,
    PENDING,
    PREVIOUS,
    Difference,
    created,
    labels,
    moved,
    said,
    staged,
    token,
)
from keyturn_aws.simulator import REGION, MotoServer, StrictFake, simulator

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

DAY_S = 24 * 3600
NAMES = count(1)
NO_SUCH = "ResourceNotFoundException"


def connect(url: str, access_key: str, *, read_timeout_s: float = 20.0) -> SecretsManagerClient:
    """A client that asks once and never again by itself."""
    once = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=3,
        read_timeout=read_timeout_s,
        max_pool_connections=64,
        proxies={},
    )
    made: SecretsManagerClient = boto3.session.Session().client(
        "secretsmanager",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key="made-up",
        config=once,
    )
    return made


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[StrictFake, SecretsManagerClient]]:
    with StrictFake() as fake:
        yield fake, connect(fake.url, fake.access_key_id)


@pytest.fixture
def fake(running: tuple[StrictFake, SecretsManagerClient]) -> Iterator[StrictFake]:
    yield running[0]
    running[0].faults.clear()
    running[0].world.switch({"latency_s": 0.0, "denied_keys": [], "kms_refusal": "DecryptionFailure"})


@pytest.fixture
def client(running: tuple[StrictFake, SecretsManagerClient]) -> SecretsManagerClient:
    return running[1]


@pytest.fixture(scope="module")
def moto() -> Iterator[SecretsManagerClient]:
    server = MotoServer()
    server.start()
    yield connect(server.urls[0], "anything")
    server.stop()


@pytest.fixture
def name() -> str:
    return f"test/secret-{next(NAMES)}"


# Where moto is not AWS


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda one: f"{one.row}-{one.what}")
def test_the_fake_does_what_aws_says_of_itself(
    difference: Difference, fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    assert difference.act(client, name) == difference.aws


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda one: f"{one.row}-{one.what}")
def test_moto_does_what_is_written_of_it(difference: Difference, moto: SecretsManagerClient, name: str) -> None:
    assert difference.act(moto, name) == difference.moto


def test_every_row_has_a_difference_to_show() -> None:
    assert {one.row for one in DIFFERENCES if one.aws != one.moto} == set(range(1, 14))


# Versions and labels


def test_the_same_put_twice_is_done_once(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    created(client, name)
    version = token()
    for _ in range(2):
        answer = client.put_secret_value(
            SecretId=name, SecretString="next", ClientRequestToken=version, VersionStages=[PENDING]
        )
        assert (answer["VersionId"], answer["VersionStages"]) == (version, [PENDING])
    assert len(fake.world.state()[name]["versions"]) == 2


def test_the_same_create_twice_is_done_once(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    version = token()
    answers = [
        client.create_secret(Name=name, SecretString="first", ClientRequestToken=version)["VersionId"] for _ in range(2)
    ]
    assert answers == [version, version]
    assert said(lambda: created(client, name)) == "ResourceExistsException"
    assert (
        said(lambda: client.create_secret(Name=name, SecretString="other", ClientRequestToken=version))
        == "ResourceExistsException"
    )


def test_the_first_version_is_current_whatever_was_asked_for(
    fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    client.create_secret(Name=name)
    assert said(lambda: client.get_secret_value(SecretId=name)) == NO_SUCH
    version = staged(client, name, PENDING)
    assert labels(client, name) == {version: [CURRENT, PENDING]}


def test_previous_follows_current_there_and_back(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    first = created(client, name)
    second, third = staged(client, name), token()
    assert moved(client, name, CURRENT, MoveTo=second, RemoveFrom=first) == "ok"
    assert labels(client, name) == {first: [PREVIOUS], second: [CURRENT, PENDING]}
    assert moved(client, name, CURRENT, MoveTo=first, RemoveFrom=second) == "ok"
    assert labels(client, name) == {first: [CURRENT], second: [PENDING, PREVIOUS]}
    client.put_secret_value(SecretId=name, SecretString="third", ClientRequestToken=third)
    assert labels(client, name) == {third: [CURRENT], first: [PREVIOUS], second: [PENDING]}


def test_a_second_pending_put_takes_the_label_in_silence(
    fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    first, second = created(client, name), staged(client, name)
    third = staged(client, name)
    assert labels(client, name) == {first: [CURRENT], third: [PENDING]}
    assert client.get_secret_value(SecretId=name, VersionId=second)["SecretString"] == "next"


def test_a_label_goes_where_nobody_has_it_and_comes_off_again(
    fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    first, second = created(client, name), staged(client, name)
    assert moved(client, name, "own", MoveTo=first) == "ok"
    assert moved(client, name, "own", RemoveFrom=second) == "InvalidParameterException"
    assert moved(client, name, "own", RemoveFrom=first) == "ok"
    assert moved(client, name, "own", RemoveFrom=first) == "InvalidParameterException"
    assert moved(client, name, "own", MoveTo=second, RemoveFrom=first) == "InvalidParameterException"
    assert moved(client, name, "own", MoveTo=token()) == NO_SUCH
    assert labels(client, name) == {first: [CURRENT], second: [PENDING]}


def test_an_id_and_a_label_must_mean_the_same_version(
    fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    first = created(client, name)
    second = staged(client, name)
    assert client.get_secret_value(SecretId=name, VersionId=second, VersionStage=PENDING)["VersionId"] == second
    assert (
        said(lambda: client.get_secret_value(SecretId=name, VersionId=first, VersionStage=PENDING))
        == "InvalidRequestException"
    )
    assert said(lambda: client.get_secret_value(SecretId=name, VersionId=token())) == NO_SUCH


def test_one_of_64_promoters_wins(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    first = created(client, name)
    versions = [staged(client, name, "mine") for _ in range(64)]
    together = threading.Barrier(64)

    def promote(version: str) -> str:
        together.wait(20)
        return moved(client, name, CURRENT, MoveTo=version, RemoveFrom=first)

    with ThreadPoolExecutor(64) as pool:
        outcomes = list(pool.map(promote, versions))
    assert sorted(outcomes) == ["InvalidParameterException"] * 63 + ["ok"]
    assert labels(client, name)[versions[outcomes.index("ok")]][0] == CURRENT


def test_versions_without_labels_age_out_after_a_day_past_a_hundred(
    fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    first = created(client, name)
    versions = [staged(client, name) for _ in range(120)]
    assert len(fake.world.state()[name]["versions"]) == 121
    fake.world.advance(DAY_S + 1)
    left = list(fake.world.state()[name]["versions"])
    assert left == [first, *versions[21:]]
    assert said(lambda: client.get_secret_value(SecretId=name, VersionId=versions[0])) == NO_SUCH


def test_versions_are_listed_page_by_page(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    versions = [created(client, name), *[staged(client, name) for _ in range(6)]]
    found: list[str] = []
    more: dict[str, Any] = {}
    for _ in range(3):
        page = client.list_secret_version_ids(SecretId=name, IncludeDeprecated=True, MaxResults=3, **more)
        found += [each["VersionId"] for each in page["Versions"]]
        more = {"NextToken": page.get("NextToken")}
    assert (found, more) == (versions, {"NextToken": None})
    assert (
        said(lambda: client.list_secret_version_ids(SecretId=name, NextToken="nonsense")) == "InvalidNextTokenException"
    )


def test_binary_values_come_back_as_they_went(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    client.create_secret(Name=name, SecretBinary=b"\x00\xff" * 32_768)
    answer = client.get_secret_value(SecretId=name)
    assert answer["SecretBinary"] == b"\x00\xff" * 32_768
    assert "SecretString" not in answer
    assert (
        said(lambda: client.put_secret_value(SecretId=name, SecretBinary=b"x" * 65_537, ClientRequestToken=token()))
        == "ValidationException"
    )


# Deletion, tags, facts


def test_a_scheduled_secret_can_be_seen_and_restored(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    first = created(client, name)
    client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    assert client.describe_secret(SecretId=name)["DeletedDate"].timestamp() > fake.world.now() + 6 * DAY_S
    assert len(client.list_secret_version_ids(SecretId=name)["Versions"]) == 1
    assert name not in [each["Name"] for each in client.list_secrets()["SecretList"]]
    assert name in [each["Name"] for each in client.list_secrets(IncludePlannedDeletion=True)["SecretList"]]
    client.restore_secret(SecretId=name)
    assert "DeletedDate" not in client.describe_secret(SecretId=name)
    assert client.get_secret_value(SecretId=name)["VersionId"] == first


def test_a_secret_is_gone_when_its_window_is_over(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    created(client, name)
    client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    fake.world.advance(7 * DAY_S + 1)
    assert said(lambda: client.describe_secret(SecretId=name)) == NO_SUCH
    assert said(lambda: created(client, name)) == "ok"


@pytest.mark.parametrize(
    "how",
    [
        {"RecoveryWindowInDays": 6},
        {"RecoveryWindowInDays": 31},
        {"RecoveryWindowInDays": 7, "ForceDeleteWithoutRecovery": True},
    ],
)
def test_a_recovery_window_is_7_to_30_days_or_none(
    fake: StrictFake, client: SecretsManagerClient, name: str, how: dict[str, Any]
) -> None:
    created(client, name)
    assert said(lambda: client.delete_secret(SecretId=name, **how)) == "InvalidParameterException"


def test_a_forced_deletion_is_at_once_and_may_be_repeated(
    fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    created(client, name)
    for _ in range(2):
        client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    assert said(lambda: client.delete_secret(SecretId=name)) == NO_SUCH
    assert said(lambda: created(client, name)) == "ok"


def test_tags_are_added_replaced_and_taken_off(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    client.create_secret(Name=name, Tags=[{"Key": "keyturn:version", "Value": "1"}, {"Key": "team", "Value": "ä b"}])
    client.tag_resource(SecretId=name, Tags=[{"Key": "keyturn:version", "Value": "2"}])
    client.untag_resource(SecretId=name, TagKeys=["team", "never-there"])
    assert client.describe_secret(SecretId=name)["Tags"] == [{"Key": "keyturn:version", "Value": "2"}]
    more: Any = [{"Key": f"tag-{n}", "Value": "x"} for n in range(50)]
    assert said(lambda: client.tag_resource(SecretId=name, Tags=more)) == "InvalidParameterException"
    assert said(lambda: client.tag_resource(SecretId=name, Tags=more[:49])) == "ok"


def test_a_secret_is_found_by_its_arn_too(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    arn = client.create_secret(Name=name, SecretString="first")["ARN"]
    assert client.describe_secret(SecretId=arn)["Name"] == name
    assert client.describe_secret(SecretId=arn[:-7])["Name"] == name


def test_a_test_can_say_what_describe_shows(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    created(client, name)
    fake.world.mark(name, {"RotationEnabled": True, "ReplicationStatus": [{"Region": "eu-west-1", "Status": "Failed"}]})
    seen = client.describe_secret(SecretId=name)
    assert (seen["RotationEnabled"], seen["ReplicationStatus"][0]["Status"]) == (True, "Failed")
    fake.world.mark(name, {"OwningService": "rds"})
    assert said(lambda: staged(client, name)) == "InvalidRequestException"


# Who may


def test_a_denied_kms_key_refuses_writes_and_reads(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    assert (
        said(lambda: client.create_secret(Name=f"{name}-x", SecretString="x", KmsKeyId="alias/denied"))
        == "EncryptionFailure"
    )
    client.create_secret(Name=name, SecretString="x", KmsKeyId="alias/mine")
    fake.obey({"switches": {"denied_keys": ["alias/mine"]}})
    assert said(lambda: staged(client, name)) == "EncryptionFailure"
    assert said(lambda: client.get_secret_value(SecretId=name)) == "DecryptionFailure"
    fake.obey({"switches": {"kms_refusal": "AccessDeniedException"}})
    assert said(lambda: client.get_secret_value(SecretId=name)) == "AccessDeniedException"
    assert said(lambda: client.describe_secret(SecretId=name)) == "ok"


def test_an_access_key_does_what_it_may_and_nothing_else(
    fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    created(client, name)
    reader = connect(fake.url, fake.world.new_access_key(["GetSecretValue", "CreateSecret"]))
    assert said(lambda: reader.get_secret_value(SecretId=name)) == "ok"
    assert said(lambda: staged(reader, name)) == "AccessDeniedException"
    tags: Any = [{"Key": "a", "Value": "b"}]
    assert said(lambda: reader.create_secret(Name=f"{name}-x", Tags=tags)) == "AccessDeniedException"
    assert said(lambda: reader.create_secret(Name=f"{name}-x")) == "ok"


def test_a_stranger_is_not_let_in(fake: StrictFake, name: str) -> None:
    stranger = connect(fake.url, "AKIANOBODY")
    assert said(lambda: stranger.describe_secret(SecretId=name)) == "UnrecognizedClientException"
    unsigned = httpx.post(fake.url, json={"SecretId": name}, trust_env=False)
    assert (unsigned.status_code, unsigned.json()["__type"]) == (400, "MissingAuthenticationTokenException")


def test_an_error_has_the_headers_and_the_body_of_the_service(
    fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    with pytest.raises(ClientError, match="can't find the specified secret") as caught:
        client.describe_secret(SecretId=name)
    facts = caught.value.response["ResponseMetadata"]
    assert facts["HTTPStatusCode"] == 400
    assert facts["HTTPHeaders"]["content-type"] == "application/x-amz-json-1.1"
    assert re.fullmatch(r"[0-9a-f-]{36}", facts["RequestId"])
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", facts["HTTPHeaders"]["date"])


@pytest.mark.parametrize(
    ("target", "body", "code"),
    [
        ("secretsmanager.RotateSecret", "{}", "UnknownOperationException"),
        ("DescribeSecret", "{}", "UnknownOperationException"),
        ("secretsmanager.DescribeSecret", "[]", "SerializationException"),
        ("secretsmanager.DescribeSecret", "{", "SerializationException"),
        ("secretsmanager.DescribeSecret", '{"SecretId": 1}', "SerializationException"),
        ("secretsmanager.DescribeSecret", "{}", "ValidationException"),
        ("secretsmanager.DescribeSecret", '{"SecretId": "x", "Filters": []}', "ValidationException"),
        ("secretsmanager.PutSecretValue", '{"SecretId": "there"}', "InvalidParameterException"),
        ("secretsmanager.PutSecretValue", '{"SecretId": "there", "SecretString": "x"}', "InvalidParameterException"),
        (
            "secretsmanager.PutSecretValue",
            '{"SecretId": "there", "SecretString": "x", "ClientRequestToken": "%s"}' % ("x" * 31),
            "ValidationException",
        ),
        (
            "secretsmanager.PutSecretValue",
            '{"SecretId": "there", "SecretString": "x", "ClientRequestToken": "%s"}' % ("x" * 65),
            "ValidationException",
        ),
        ("secretsmanager.CreateSecret", '{"Name": "x", "SecretBinary": "not base64"}', "SerializationException"),
        ("secretsmanager.TagResource", '{"SecretId": "there", "Tags": ["x"]}', "SerializationException"),
    ],
)
def test_a_request_that_is_not_right_is_refused(
    fake: StrictFake, client: SecretsManagerClient, target: str, body: str, code: str
) -> None:
    with suppress(ClientError):
        created(client, "there")
    answer = ask(fake, target, body)
    assert (answer.status_code, answer.json()["__type"]) == (400, code)


def test_a_request_that_is_not_sent_as_aws_json_is_refused(fake: StrictFake) -> None:
    answer = ask(fake, "secretsmanager.ListSecrets", "{}", content_type="application/json")
    assert answer.json()["__type"] == "SerializationException"


def ask(fake: StrictFake, target: str, body: str, content_type: str = "application/x-amz-json-1.1") -> httpx.Response:
    """One request without boto3, which would not send what is wrong."""
    scope = f"Credential={fake.access_key_id}/20260101/{REGION}/secretsmanager/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0",
        "X-Amz-Target": target,
        "Content-Type": content_type,
    }
    return httpx.post(fake.url, content=body, headers=headers, trust_env=False)


# Faults


@pytest.mark.parametrize(
    ("how", "error", "committed"),
    [
        ("throttle", ClientError, False),
        ("status:500", ClientError, False),
        ("status:503", ClientError, False),
        ("status-after:500", ClientError, True),
        ("reset-before", ConnectionClosedError, False),
        ("reset-after", ConnectionClosedError, True),
    ],
)
def test_a_write_fails_before_or_after_it_happened(
    fake: StrictFake, client: SecretsManagerClient, name: str, how: str, error: type[Exception], committed: bool
) -> None:
    created(client, name)
    fake.fault("PutSecretValue", how, name=name)
    with pytest.raises(error):
        staged(client, name)
    assert (len(fake.world.state()[name]["versions"]) == 2) is committed
    assert (fake.log[-1]["outcome"], fake.log[-1]["fault"]) == ("ok" if committed else "nothing", how)
    staged(client, name)


@pytest.mark.parametrize(("how", "committed"), [("hang-before", False), ("hang-after", True)])
def test_a_write_hangs_until_the_client_gives_up(
    fake: StrictFake, client: SecretsManagerClient, name: str, how: str, committed: bool
) -> None:
    created(client, name)
    impatient = connect(fake.url, fake.access_key_id, read_timeout_s=0.2)
    fake.fault("write", how)
    with pytest.raises(ReadTimeoutError):
        staged(impatient, name)
    until(lambda: fake.log[-1]["operation"] == "PutSecretValue")
    assert (len(fake.world.state()[name]["versions"]) == 2) is committed


@pytest.mark.parametrize("how", ["hang-before", "hang-after"])
def test_what_hangs_is_served_when_it_is_released(
    fake: StrictFake, client: SecretsManagerClient, name: str, how: str
) -> None:
    created(client, name)
    fake.fault("write", how)
    answered = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(staged, client, name)
        put.add_done_callback(lambda _: answered.set())
        assert not answered.wait(0.1)
        fake.faults.release()
        put.result(20)
    assert len(fake.world.state()[name]["versions"]) == 2


def test_throttling_for_a_while_ends_by_the_clock_of_the_fake(
    fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    fake.fault("any", "throttle", for_s=30)
    assert [said(lambda: created(client, name)) for _ in range(3)] == ["ThrottlingException"] * 3
    fake.world.advance(31)
    assert said(lambda: created(client, name)) == "ok"


def test_a_fault_waits_its_turn_and_happens_so_often(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    created(client, name)
    fake.fault("read", "throttle", skip=1, times=2)
    staged(client, name)
    outcomes = [said(lambda: client.describe_secret(SecretId=name)) for _ in range(4)]
    assert outcomes == ["ok", "ThrottlingException", "ThrottlingException", "ok"]


def test_stale_reads_show_what_was_before_the_last_write(
    fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    first, second = created(client, name), staged(client, name)
    moved(client, name, CURRENT, MoveTo=second, RemoveFrom=first)
    fake.fault("read", "stale", times=2)
    assert labels(client, name) == {first: [CURRENT], second: [PENDING]}
    assert client.get_secret_value(SecretId=name)["VersionId"] == first
    assert client.get_secret_value(SecretId=name)["VersionId"] == second


def test_each_answer_may_take_its_time(fake: StrictFake, client: SecretsManagerClient, name: str) -> None:
    fake.obey({"switches": {"latency_s": 0.2}})
    impatient = connect(fake.url, fake.access_key_id, read_timeout_s=0.05)
    with pytest.raises(ReadTimeoutError):
        impatient.describe_secret(SecretId=name)
    assert said(lambda: created(client, name)) == "ok"


def until(check: Callable[[], bool]) -> None:
    """Poll, for ten seconds at most."""
    for _ in range(1000):
        if check():
            return
        threading.Event().wait(0.01)
    pytest.fail("it never came")


# From another process, off and on, what is told


def test_another_process_gives_orders_and_reads_the_log(
    fake: StrictFake, client: SecretsManagerClient, name: str
) -> None:
    created(client, name)
    orders = {
        "faults": [{"on": "DescribeSecret", "how": "throttle"}],
        "facts": {name: {"RotationEnabled": True}},
        "allow": {"AKIAELSE": ["DescribeSecret"]},
        "advance_s": 60,
    }
    code = f"import httpx; print(httpx.post({fake.url!r} + '/simulator/faults', json={orders!r}, trust_env=False))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "204" in ran.stdout
    other = connect(fake.url, "AKIAELSE")
    assert said(lambda: other.describe_secret(SecretId=name)) == "ThrottlingException"
    assert other.describe_secret(SecretId=name)["RotationEnabled"] is True
    with httpx.Client(base_url=fake.url, trust_env=False) as http:
        assert http.get("/simulator/log").json() == fake.log
        assert http.get("/simulator/state").json()[name]["tags"] == {}
        http.post("/simulator/faults", json={"faults": [{"on": "any", "how": "throttle", "times": 9}]})
        assert http.delete("/simulator/faults").status_code == 204
    assert said(lambda: other.describe_secret(SecretId=name)) == "ok"


@pytest.mark.parametrize(
    "orders",
    [
        {"colour": "blue"},
        {"faults": [{"on": "any"}]},
        {"faults": [{"on": "Elsewhere", "how": "throttle"}]},
        {"faults": [{"on": "any", "how": "sing"}]},
        {"switches": {"colour": "blue"}},
        {"facts": {"nowhere": {}}},
    ],
)
def test_an_order_that_is_not_understood_is_refused(fake: StrictFake, orders: dict[str, Any]) -> None:
    answer = httpx.post(f"{fake.url}/simulator/faults", json=orders, trust_env=False)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_no_value_is_ever_told(
    fake: StrictFake, client: SecretsManagerClient, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "canary-5f1c9e"
    version = token()
    client.create_secret(Name=name, SecretString=canary, ClientRequestToken=version)
    fake.fault("PutSecretValue", "reset-after")
    with suppress(ConnectionClosedError):
        client.put_secret_value(SecretId=name, SecretString=canary * 2, ClientRequestToken=token())
    said(lambda: client.put_secret_value(SecretId=name, SecretString=canary * 3, ClientRequestToken=version))
    for body in ({"Name": "?", "SecretString": canary}, {"Name": "x", "SecretString": [canary]}):
        answer = ask(fake, "secretsmanager.CreateSecret", json.dumps(body))
        assert canary not in answer.text
    told = json.dumps([entry for entry in fake.log if entry["name"] == name]) + json.dumps(fake.world.state())
    assert canary not in told + repr(vars(fake.world)) + repr(vars(fake)) + caplog.text


def test_the_fake_keeps_its_secrets_while_it_is_down() -> None:
    with StrictFake() as fake:
        client = connect(fake.url, fake.access_key_id)
        version, url = created(client, "kept"), fake.url
        fake.stop()
        with pytest.raises(EndpointConnectionError):
            client.describe_secret(SecretId="kept")
        fake.start()
        assert fake.url == url
        assert client.get_secret_value(SecretId="kept")["VersionId"] == version


def test_stopping_does_not_wait_for_what_hangs() -> None:
    with StrictFake() as fake:
        client = connect(fake.url, fake.access_key_id)
        fake.fault("any", "hang-before")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(lambda: created(client, "hanging"))
            until(lambda: not fake.faults.pending)
            fake.stop()
            assert isinstance(asked.exception(20), ConnectionClosedError)


# As a simulator


def test_the_options_choose_the_server_and_the_port(tmp_path: Path) -> None:
    made = simulator({})
    assert isinstance(made, StrictFake)
    assert isinstance(simulator({"server": "moto"}), MotoServer)
    made.start()
    try:
        port = made.urls[0].rpartition(":")[2]
        with pytest.raises(OSError, match="in use"):
            simulator({"server": "moto", "port": port}).start()
    finally:
        made.stop()
    for wrong in ({"server": "real"}, {"colour": "blue"}):
        with pytest.raises(ValueError, match="strict or moto"):
            simulator(wrong)


@pytest.mark.parametrize("server", ["strict", "moto"])
def test_the_configuration_names_what_the_environment_holds(server: str, tmp_path: Path) -> None:
    made = simulator({"server": server})
    made.start()
    try:
        (account,) = made.configuration(tmp_path)["sinks"].values()
        assert (account["kind"], account["region"], account["endpoint"]) == ("aws", REGION, made.urls[0])
        references = {account["access_key_id"], account["secret_access_key"]}
        assert references == {f"env:{name}" for name in made.environment}
        assert made.initial == {}
        client = connect(made.urls[0], made.environment["KEYTURN_AWS_ACCESS_KEY_ID"])
        assert said(lambda: created(client, f"configured-{server}")) == "ok"
    finally:
        made.stop()
