"""The calls of the service that the fake plays: pure functions from its secrets to an answer and its secrets after."""

from __future__ import annotations

import secrets as chance
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from keyturn_aws.simulator_secret import (
    CURRENT,
    Kept,
    Refusal,
    Value,
    Version,
    invalid_parameter,
    invalid_request,
    not_found,
)
from keyturn_aws.simulator_shapes import check, tags_with

ARN = "arn:aws:secretsmanager:{region}:123456789012:secret:{name}-{suffix}"
DAY_S = 86_400.0
WINDOW_DAYS = range(7, 31)
PAGE = 100

Ask = Mapping[str, Any]
Answer = dict[str, Any]
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The KMS keys that can not be used: those named, and any with `denied` in its name. `refusal` is a read's code."""

    denied: frozenset[str] = frozenset()
    refusal: str = "DecryptionFailure"

    def need(self, key: str, code: str) -> None:
        """Refuse with this code where the key can not be used (contract 5)."""
        if key in self.denied or "denied" in key:
            text = "Access to KMS is not allowed" if code == "AccessDeniedException" else "The KMS key can not be used."
            raise Refusal(code, text)


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a call finds: every secret by name, the time, the keys."""

    secrets: Mapping[str, Kept]
    now: float
    region: str
    keys: Keys = field(default_factory=Keys)

    def look(self, secret_id: str) -> Kept | None:
        """A secret by name, ARN, or ARN without its ending."""
        if secret_id in self.secrets:
            return self.secrets[secret_id]
        arns = (kept for kept in self.secrets.values() if secret_id in (kept.arn, kept.arn.rpartition("-")[0]))
        return next(arns, None)

    def find(self, secret_id: str) -> Kept:
        """A secret that is there, scheduled for deletion or not."""
        kept = self.look(secret_id)
        if not kept:
            raise not_found("secret")
        return kept

    def use(self, secret_id: str) -> Kept:
        """A secret that is not scheduled for deletion (contract 6.2)."""
        kept = self.find(secret_id)
        if kept.deletes_at is not None:
            raise invalid_request("You can't perform this operation on the secret because it was marked for deletion.")
        return kept

    def change(self, secret_id: str) -> Kept:
        """A secret that can be changed: no other service manages it (contract 5)."""
        kept = self.use(secret_id)
        if "OwningService" in kept.facts:
            raise invalid_request("The secret is managed by another service.")
        return kept

    def with_(self, kept: Kept) -> Mapping[str, Kept]:
        """The secrets with this one in place of what was there."""
        return {**self.secrets, kept.name: kept.aged(self.now)}

    def without(self, kept: Kept) -> Mapping[str, Kept]:
        """The secrets without this one."""
        return {name: each for name, each in self.secrets.items() if name != kept.name}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a call answers, and the secrets after it where it changed them."""

    answer: Answer = field(repr=False)
    secrets: Mapping[str, Kept] | None = None


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call: what it does, its parameters, whether it writes."""

    run: Callable[[Room, Ask], Reply]
    required: Sequence[str] = ("SecretId",)
    optional: Sequence[str] = ()
    writes: bool = False

    def __call__(self, room: Room, ask: Ask) -> Reply:
        """Check the parameters and do it. Raises Refusal, and then nothing has changed."""
        check(ask, self.required, self.optional)
        return self.run(room, ask)


# Versions


def _create(room: Room, ask: Ask) -> Reply:
    value, name = _value(ask), ask["Name"]
    found = room.secrets.get(name)
    if found:
        return Reply(answer=_created_before(found, ask, value))
    kept = Kept(
        name=name,
        arn=ARN.format(region=room.region, name=name, suffix=chance.token_hex(3)),
        created_at=room.now,
        changed_at=room.now,
        description=ask.get("Description", ""),
        key=ask.get("KmsKeyId", ""),
        tags=tags_with({}, ask.get("Tags", [])),
    )
    if not value:
        return Reply(answer=_named(kept), secrets=room.with_(kept))
    version = _version(room, kept, ask, value)
    return Reply(
        answer={**_named(kept), "VersionId": version.id}, secrets=room.with_(kept.with_version(version, [CURRENT]))
    )


def _created_before(found: Kept, ask: Ask, value: Value | None) -> Answer:
    """Contract 3.4: the same token and value once more are done already; anything else is in the way."""
    if found.deletes_at is not None:  # contract 6.3
        text = "You can't create this secret because a secret with this name is already scheduled for deletion."
        raise invalid_request(text)
    known = found.versions.get(ask.get("ClientRequestToken", ""))
    if not known or known.value != value:
        raise Refusal(
            "ResourceExistsException", f"The operation failed because the secret {found.name} already exists."
        )
    return {**_named(found), "VersionId": known.id}


def _put(room: Room, ask: Ask) -> Reply:
    kept, value = room.change(ask["SecretId"]), _value(ask)
    if not value:
        raise invalid_parameter("You must provide either SecretString or SecretBinary.")
    known = kept.versions.get(ask.get("ClientRequestToken", ""))
    if known:
        return Reply(answer=_put_before(kept, known, value))
    version = _version(room, kept, ask, value)
    after = kept.with_version(version, ask.get("VersionStages", [CURRENT]))
    answer = {**_named(kept), "VersionId": version.id, "VersionStages": after.stages(version.id)}
    return Reply(answer=answer, secrets=room.with_(after))


def _put_before(kept: Kept, known: Version, value: Value) -> Answer:
    """Contract 2.2, 2.3: a version never changes, and a repeated put does nothing, not even to labels."""
    if known.value != value:
        raise Refusal("ResourceExistsException", "A resource with the ID you requested already exists.")
    return {**_named(kept), "VersionId": known.id, "VersionStages": kept.stages(known.id)}


def _get(room: Room, ask: Ask) -> Reply:
    kept = room.use(ask["SecretId"])
    version = _wanted(kept, ask.get("VersionId"), ask.get("VersionStage"))
    room.keys.need(version.key, room.keys.refusal)
    answer = {
        **_named(kept),
        "VersionId": version.id,
        version.value.kind: version.value.text,
        "VersionStages": kept.stages(version.id),
        "CreatedDate": version.created_at,
    }
    return Reply(answer=answer)


def _wanted(kept: Kept, version_id: str | None, stage: str | None) -> Version:
    if version_id is None:
        label = stage or CURRENT
        if label not in kept.labels:
            raise not_found(f"secret value for staging label: {label}")
        return kept.versions[kept.labels[label]]
    if version_id not in kept.versions:
        raise not_found(f"secret value for VersionId: {version_id}")
    if stage and kept.labels.get(stage) != version_id:
        raise invalid_request(
            "You provided a VersionStage that is not associated to the provided VersionId."
        )  # contract 2.14
    return kept.versions[version_id]


def _get_many(room: Room, ask: Ask) -> Reply:
    """A secret that can not be read is an error in the answer, not the answer."""
    values: list[Answer] = []
    errors: list[Answer] = []
    for secret_id in ask["SecretIdList"]:
        try:
            values.append(_get(room, {"SecretId": secret_id}).answer)
        except Refusal as refusal:
            errors.append({"SecretId": secret_id, "ErrorCode": refusal.code, "Message": refusal.text})
    return Reply(answer={"SecretValues": values, "Errors": errors})


def _value(ask: Ask) -> Value | None:
    kinds = [kind for kind in ("SecretString", "SecretBinary") if kind in ask]
    if len(kinds) > 1:
        raise invalid_parameter("You can't specify both a binary secret value and a string secret value.")
    return Value(kind=kinds[0], text=ask[kinds[0]]) if kinds else None


def _version(room: Room, kept: Kept, ask: Ask, value: Value) -> Version:
    if "ClientRequestToken" not in ask:
        raise invalid_parameter("You must provide a ClientRequestToken value. We recommend a UUID-type value.")
    room.keys.need(kept.key, "EncryptionFailure")
    return Version(id=ask["ClientRequestToken"], value=value, created_at=room.now, key=kept.key)


# Labels


def _move(room: Room, ask: Ask) -> Reply:
    """Contract 2.6, the compare-and-set. A move to where the label is already is refused, our choice: contract 2.10."""
    kept, label = room.change(ask["SecretId"]), ask["VersionStage"]
    to, away = ask.get("MoveToVersionId"), ask.get("RemoveFromVersionId")
    for version_id in (to, away):
        if version_id is not None and version_id not in kept.versions:
            raise not_found(f"secret value for VersionId: {version_id}")  # contract 2.12
    where = kept.labels.get(label)
    if to is None:
        return Reply(answer=_named(kept), secrets=room.with_(_taken_off(kept, label, away)))
    if where == to:
        raise invalid_parameter(f"Staging label {label} is attached to version {to} already.")
    if away != where:
        text = f"Staging label {label} is attached to version {where}: RemoveFromVersionId must be that version."
        raise invalid_parameter(text)
    return Reply(answer=_named(kept), secrets=room.with_(kept.with_labels([label], to)))


def _taken_off(kept: Kept, label: str, away: str | None) -> Kept:
    """Contract 2.7, 2.8, 2.11."""
    if away is None:
        raise invalid_parameter("You must provide MoveToVersionId, RemoveFromVersionId, or both.")
    if label == CURRENT:
        raise invalid_parameter(f"You can only move staging label {CURRENT} to a different secret version.")
    if kept.labels.get(label) != away:
        raise invalid_parameter(f"Staging label {label} is not attached to version {away}.")
    return kept.without_label(label)


# The secret itself


def _describe(room: Room, ask: Ask) -> Reply:
    kept = room.find(ask["SecretId"])
    return Reply(
        answer={
            "VersionIdsToStages": {where: kept.stages(where) for where in kept.labels.values()},
            **_shown(kept),
        }
    )


def _shown(kept: Kept) -> Answer:
    """Fields without a value are left out (contract 1.5)."""
    fields = {
        **_named(kept),
        "Description": kept.description,
        "KmsKeyId": kept.key,
        "Tags": [{"Key": key, "Value": value} for key, value in kept.tags.items()],
        "CreatedDate": kept.created_at,
        "LastChangedDate": kept.changed_at,
        "DeletedDate": kept.deletes_at,
        **kept.facts,
    }
    return {name: found for name, found in fields.items() if found not in ("", None, [])}


def _list_versions(room: Room, ask: Ask) -> Reply:
    """Contract 1.8: versions without a label are left out unless they are asked for."""
    kept = room.find(ask["SecretId"])
    all_ = [
        {"VersionId": one.id, "CreatedDate": one.created_at, **({"VersionStages": stages} if stages else {})}
        for one in kept.versions.values()
        if (stages := kept.stages(one.id)) or ask.get("IncludeDeprecated")
    ]
    page, more = _page(all_, ask)
    return Reply(answer={**_named(kept), "Versions": page, **more})


def _list(room: Room, ask: Ask) -> Reply:
    planned = ask.get("IncludePlannedDeletion", False)
    shown = [_shown(kept) for kept in room.secrets.values() if planned or kept.deletes_at is None]
    page, more = _page(shown, ask)
    return Reply(answer={"SecretList": page, **more})


def _page(items: Sequence[Item], ask: Ask) -> tuple[Sequence[Item], Answer]:
    size = ask.get("MaxResults", PAGE)
    token = ask.get("NextToken", "0")
    if not token.isdecimal():
        raise Refusal("InvalidNextTokenException", "The NextToken value is invalid.")
    end = int(token) + size
    return items[int(token) : end], {"NextToken": str(end)} if end < len(items) else {}


def _delete(room: Room, ask: Ask) -> Reply:
    """Contract 6.5."""
    days, force = ask.get("RecoveryWindowInDays"), ask.get("ForceDeleteWithoutRecovery", False)
    if force and days is not None:
        raise invalid_parameter("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
    if days is not None and days not in WINDOW_DAYS:
        raise invalid_parameter("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
    if force:
        kept = room.look(ask["SecretId"])
        gone = {"DeletionDate": room.now}
        if not kept:
            return Reply(answer={"Name": ask["SecretId"], **gone})
        return Reply(answer={**_named(kept), **gone}, secrets=room.without(kept))
    scheduled = replace(room.change(ask["SecretId"]), deletes_at=room.now + (days or WINDOW_DAYS[-1]) * DAY_S)
    return Reply(answer={**_named(scheduled), "DeletionDate": scheduled.deletes_at}, secrets=room.with_(scheduled))


def _restore(room: Room, ask: Ask) -> Reply:
    kept = replace(room.find(ask["SecretId"]), deletes_at=None)
    return Reply(answer=_named(kept), secrets=room.with_(kept))


def _tag(room: Room, ask: Ask) -> Reply:
    kept = room.change(ask["SecretId"])
    return Reply(answer={}, secrets=room.with_(replace(kept, tags=tags_with(kept.tags, ask["Tags"]))))


def _untag(room: Room, ask: Ask) -> Reply:
    kept = room.change(ask["SecretId"])
    left = {key: value for key, value in kept.tags.items() if key not in ask["TagKeys"]}
    return Reply(answer={}, secrets=room.with_(replace(kept, tags=left)))


def _named(kept: Kept) -> Answer:
    return {"ARN": kept.arn, "Name": kept.name}


VALUE = ("SecretString", "SecretBinary", "ClientRequestToken")
PAGING = ("MaxResults", "NextToken")
OPERATIONS: Mapping[str, Operation] = {
    "CreateSecret": Operation(
        run=_create, required=["Name"], optional=[*VALUE, "Description", "KmsKeyId", "Tags"], writes=True
    ),
    "PutSecretValue": Operation(run=_put, optional=[*VALUE, "VersionStages"], writes=True),
    "GetSecretValue": Operation(run=_get, optional=["VersionId", "VersionStage"]),
    "BatchGetSecretValue": Operation(run=_get_many, required=["SecretIdList"]),
    "DescribeSecret": Operation(run=_describe),
    "ListSecretVersionIds": Operation(run=_list_versions, optional=["IncludeDeprecated", *PAGING]),
    "ListSecrets": Operation(run=_list, required=[], optional=["IncludePlannedDeletion", *PAGING]),
    "UpdateSecretVersionStage": Operation(
        run=_move,
        required=["SecretId", "VersionStage"],
        optional=["MoveToVersionId", "RemoveFromVersionId"],
        writes=True,
    ),
    "DeleteSecret": Operation(
        run=_delete, optional=["RecoveryWindowInDays", "ForceDeleteWithoutRecovery"], writes=True
    ),
    "RestoreSecret": Operation(run=_restore, writes=True),
    "TagResource": Operation(run=_tag, required=["SecretId", "Tags"], writes=True),
    "UntagResource": Operation(run=_untag, required=["SecretId", "TagKeys"], writes=True),
}
