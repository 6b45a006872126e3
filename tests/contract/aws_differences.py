"""Where moto is not AWS, as data: each row says what the service does (as documented, or believed), and what moto.

The strict fake is held to one column and moto to the other, so that a moto that changes shows itself. The rows up to 11
are those of section 7 of the contract page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One call, and its outcome on both. `source`: AWS's own pages or API model, or knowledge from elsewhere."""

    row: int
    what: str
    act: Callable[[SecretsManagerClient, str], str]
    aws: str
    moto: str
    source: Literal["docs", "knowledge", "our choice"]


def said(act: Callable[[], object]) -> str:
    """`ok`, or the error's code."""
    try:
        act()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "ok"


def token() -> str:
    """A version id."""
    return str(uuid4())


def labels(client: SecretsManagerClient, name: str) -> dict[str, list[str]]:
    """By version id its labels."""
    return client.describe_secret(SecretId=name)["VersionIdsToStages"]


def holders(client: SecretsManagerClient, name: str, label: str) -> list[str]:
    """The versions that have this label."""
    return [version for version, stages in labels(client, name).items() if label in stages]


def created(client: SecretsManagerClient, name: str) -> str:
    """A secret with one version; its id."""
    return client.create_secret(Name=name, SecretString="first", ClientRequestToken=token())["VersionId"]


def staged(client: SecretsManagerClient, name: str, *stages: str) -> str:
    """One version more, with these labels; its id."""
    version = token()
    client.put_secret_value(
        SecretId=name, SecretString="next", ClientRequestToken=version, VersionStages=list(stages) or [PENDING]
    )
    return version


def moved(client: SecretsManagerClient, name: str, label: str, **where: str) -> str:
    """The outcome of moving a label."""
    versions: Any = {f"{word}VersionId": version for word, version in where.items()}
    return said(lambda: client.update_secret_version_stage(SecretId=name, VersionStage=label, **versions))


# The rows


def same_token_other_value(client: SecretsManagerClient, name: str) -> str:
    created(client, name)
    version = staged(client, name)
    outcome = said(
        lambda: client.put_secret_value(
            SecretId=name, SecretString="other", ClientRequestToken=version, VersionStages=[PENDING]
        )
    )
    return f"{outcome}, then {client.get_secret_value(SecretId=name, VersionId=version)['SecretString']}"


def same_token_other_labels(client: SecretsManagerClient, name: str) -> str:
    first = created(client, name)
    version = staged(client, name)
    outcome = said(
        lambda: client.put_secret_value(
            SecretId=name, SecretString="next", ClientRequestToken=version, VersionStages=[CURRENT]
        )
    )
    return f"{outcome}, {'not moved' if holders(client, name, CURRENT) == [first] else 'moved'}"


def own_label_moved_blindly(client: SecretsManagerClient, name: str) -> str:
    first = created(client, name)
    staged(client, name, "own")
    outcome = moved(client, name, "own", MoveTo=first)
    return f"{outcome}, on {len(holders(client, name, 'own'))}"


def pending_moved_blindly(client: SecretsManagerClient, name: str) -> str:
    first = created(client, name)
    staged(client, name)
    outcome = moved(client, name, PENDING, MoveTo=first)
    return f"{outcome}, on {len(holders(client, name, PENDING))}"


def own_label_moved_from_elsewhere(client: SecretsManagerClient, name: str) -> str:
    first = created(client, name)
    staged(client, name, "own")
    third = staged(client, name, "third")
    outcome = moved(client, name, "own", MoveTo=third, RemoveFrom=first)
    return f"{outcome}, on {len(holders(client, name, 'own'))}"


def current_moved_blindly(client: SecretsManagerClient, name: str) -> str:
    created(client, name)
    return moved(client, name, CURRENT, MoveTo=staged(client, name))


def current_taken_off(client: SecretsManagerClient, name: str) -> str:
    first = created(client, name)
    outcome = moved(client, name, CURRENT, RemoveFrom=first)
    return f"{outcome}, on {len(holders(client, name, CURRENT))}"


def current_moved_to_where_it_is(client: SecretsManagerClient, name: str) -> str:
    first = created(client, name)
    second = staged(client, name, CURRENT)
    outcome = moved(client, name, CURRENT, MoveTo=second, RemoveFrom=second)
    return f"{outcome}, AWSPREVIOUS {'there' if holders(client, name, PREVIOUS) == [first] else 'gone'}"


def moved_from_nowhere_to_nowhere(client: SecretsManagerClient, name: str) -> str:
    created(client, name)
    return moved(client, name, "own")


def scheduled(client: SecretsManagerClient, name: str) -> tuple[str, str]:
    """A secret scheduled for deletion with a current and a pending version."""
    versions = created(client, name), staged(client, name)
    client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    return versions


def put_on_scheduled(client: SecretsManagerClient, name: str) -> str:
    scheduled(client, name)
    return said(lambda: staged(client, name))


def move_on_scheduled(client: SecretsManagerClient, name: str) -> str:
    first, second = scheduled(client, name)
    return moved(client, name, CURRENT, MoveTo=second, RemoveFrom=first)


def tag_on_scheduled(client: SecretsManagerClient, name: str) -> str:
    scheduled(client, name)
    return said(lambda: client.tag_resource(SecretId=name, Tags=[{"Key": "a", "Value": "b"}]))


def read_of_scheduled(client: SecretsManagerClient, name: str) -> str:
    scheduled(client, name)
    return said(lambda: client.get_secret_value(SecretId=name))


def create_over_scheduled(client: SecretsManagerClient, name: str) -> str:
    scheduled(client, name)
    return said(lambda: created(client, name))


def unlabelled_listed(client: SecretsManagerClient, name: str) -> str:
    created(client, name)
    staged(client, name)
    staged(client, name)
    plain = client.list_secret_version_ids(SecretId=name)["Versions"]
    everything = client.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
    return f"{len(plain)} of {len(everything)}"


def longest_value(client: SecretsManagerClient, name: str) -> str:
    return said(lambda: client.create_secret(Name=name, SecretString="x" * 65_536))


def value_too_long(client: SecretsManagerClient, name: str) -> str:
    return said(lambda: client.create_secret(Name=name, SecretString="x" * 65_537))


def value_too_long_in_bytes(client: SecretsManagerClient, name: str) -> str:
    return said(lambda: client.create_secret(Name=name, SecretString="ü" * 32_769))


def many_labels(client: SecretsManagerClient, name: str) -> str:
    first = created(client, name)
    twenty = [moved(client, name, f"own-{n}", MoveTo=first) for n in range(19)]
    return f"{'ok' if set(twenty) == {'ok'} else 'refused before'}, {moved(client, name, 'own-19', MoveTo=first)}"


def label_list_too_long(client: SecretsManagerClient, name: str) -> str:
    created(client, name)
    return said(lambda: staged(client, name, *[f"own-{n}" for n in range(21)]))


def name_with_a_blank(client: SecretsManagerClient, name: str) -> str:
    return said(lambda: created(client, f"{name} x"))


def name_too_long(client: SecretsManagerClient, name: str) -> str:
    return said(lambda: created(client, f"{name}{'x' * 513}"))


def duplicate_tags(client: SecretsManagerClient, name: str) -> str:
    tags: Any = [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]
    return said(lambda: client.create_secret(Name=name, SecretString="x", Tags=tags))


def too_many_tags(client: SecretsManagerClient, name: str) -> str:
    tags: Any = [{"Key": f"tag-{n}", "Value": "x"} for n in range(51)]
    return said(lambda: client.create_secret(Name=name, SecretString="x", Tags=tags))


def tag_of_aws(client: SecretsManagerClient, name: str) -> str:
    tags: Any = [{"Key": "aws:x", "Value": "x"}]
    return said(lambda: client.create_secret(Name=name, SecretString="x", Tags=tags))


def string_and_binary(client: SecretsManagerClient, name: str) -> str:
    return said(lambda: client.create_secret(Name=name, SecretString="x", SecretBinary=b"x"))


def status_of_not_found(client: SecretsManagerClient, name: str) -> str:
    try:
        client.describe_secret(SecretId=name)
    except ClientError as error:
        return f"{error.response['Error']['Code']} {error.response['ResponseMetadata']['HTTPStatusCode']}"
    return "found"


def missing_label_named(client: SecretsManagerClient, name: str) -> str:
    created(client, name)
    try:
        client.get_secret_value(SecretId=name, VersionStage=PENDING)
    except ClientError as error:
        text = error.response["Error"]["Message"]
        return f"{error.response['Error']['Code']}, {'named' if PENDING in text else 'not named'}"
    return "found"


def batch_with_a_stranger(client: SecretsManagerClient, name: str) -> str:
    created(client, name)
    return batched(client, name, f"{name}-stranger")


def batch_with_an_empty_one(client: SecretsManagerClient, name: str) -> str:
    created(client, name)
    client.create_secret(Name=f"{name}-empty")
    return batched(client, name, f"{name}-empty")


def batched(client: SecretsManagerClient, *names: str) -> str:
    """How many of these are found, and the errors of the others."""
    try:
        found = client.batch_get_secret_value(SecretIdList=list(names))
    except ClientError as error:
        return error.response["Error"]["Code"]
    return f"{len(found['SecretValues'])} found, {[each.get('ErrorCode') for each in found['Errors']]}"


NO = "InvalidParameterException"
NOT_NOW = "InvalidRequestException"
SHAPE = "ValidationException"
"""What public reports of failures show for a parameter of a wrong shape; the API model does not name it."""


def _row(
    row: int,
    act: Callable[[SecretsManagerClient, str], str],
    aws: str,
    moto: str,
    source: Literal["docs", "knowledge", "our choice"] = "knowledge",
) -> Difference:
    return Difference(row=row, what=act.__name__, act=act, aws=aws, moto=moto, source=source)


DIFFERENCES = (
    _row(1, same_token_other_value, "ResourceExistsException, then next", "ok, then other", "docs"),
    _row(2, same_token_other_labels, "ok, not moved", "ok, moved", "docs"),
    _row(3, own_label_moved_blindly, f"{NO}, on 1", "ok, on 2", "docs"),
    _row(3, pending_moved_blindly, f"{NO}, on 1", "ok, on 2", "docs"),
    _row(3, own_label_moved_from_elsewhere, f"{NO}, on 1", f"{NO}, on 1", "docs"),
    _row(3, current_moved_blindly, NO, NO, "docs"),
    _row(4, current_taken_off, f"{NO}, on 1", "ok, on 0"),
    _row(5, current_moved_to_where_it_is, f"{NO}, AWSPREVIOUS there", "ok, AWSPREVIOUS gone", "our choice"),
    _row(6, moved_from_nowhere_to_nowhere, NO, "ok"),
    _row(7, put_on_scheduled, NOT_NOW, "ok", "docs"),
    _row(7, move_on_scheduled, NOT_NOW, "ok", "docs"),
    _row(7, tag_on_scheduled, NOT_NOW, "ok", "docs"),
    _row(7, read_of_scheduled, NOT_NOW, NOT_NOW, "docs"),
    _row(8, create_over_scheduled, NOT_NOW, "ResourceExistsException", "docs"),
    _row(9, unlabelled_listed, "2 of 3", "3 of 3", "docs"),
    _row(10, longest_value, "ok", "ok", "docs"),
    _row(10, value_too_long, SHAPE, "ok"),
    _row(10, value_too_long_in_bytes, SHAPE, "ok"),
    _row(10, many_labels, "ok, LimitExceededException", "ok, ok"),
    _row(10, label_list_too_long, SHAPE, "ok"),
    _row(10, name_with_a_blank, SHAPE, "ok"),
    _row(10, name_too_long, SHAPE, "ok"),
    _row(10, duplicate_tags, NO, "ok"),
    _row(10, too_many_tags, NO, "ok"),
    _row(10, tag_of_aws, NO, "ok"),
    _row(10, string_and_binary, NO, "ok"),
    _row(11, status_of_not_found, "ResourceNotFoundException 400", "ResourceNotFoundException 404", "docs"),
    _row(12, missing_label_named, "ResourceNotFoundException, named", "ResourceNotFoundException, not named"),
    _row(13, batch_with_a_stranger, "1 found, ['ResourceNotFoundException']", "1 found, ['ResourceNotFoundException']"),
    _row(13, batch_with_an_empty_one, "1 found, ['ResourceNotFoundException']", "ResourceNotFoundException"),
)
