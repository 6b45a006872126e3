"""What a parameter may look like (contract 4). Whoever breaks a rule here gets ValidationException."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyturn_aws.simulator_secret import Refusal, invalid_parameter

VALUE_BYTES_MAX = 65_536
TAGS_MAX = 50
NAME = re.compile(r"[A-Za-z0-9/_+=.@-]+", re.ASCII)
TAG = re.compile(r"[\w\s+\-=.:/@]*")


@dataclass(frozen=True)
class Shape:
    """A parameter's JSON type, and the least and most of it: bytes of a text, items of a list, or a number itself."""

    kind: type
    least: int = 0
    most: int = 2**31

    @property
    def word(self) -> str:
        """What is measured."""
        return "value" if self.kind is int else "length"

    def measure(self, found: Any) -> int:
        """How much there is of it."""
        if isinstance(found, str):
            return len(found.encode())
        return len(found) if isinstance(found, list) else int(found)


VERSION_ID = Shape(str, 32, 64)
LABEL = Shape(str, 1, 256)
SHAPES: Mapping[str, Shape] = {
    "Name": Shape(str, 1, 512),
    "SecretId": Shape(str, 1, 2048),
    "ClientRequestToken": VERSION_ID,
    "VersionId": VERSION_ID,
    "MoveToVersionId": VERSION_ID,
    "RemoveFromVersionId": VERSION_ID,
    "VersionStage": LABEL,
    "VersionStages": Shape(list, 1, 20),
    "SecretString": Shape(str, 1, VALUE_BYTES_MAX),
    "SecretBinary": Shape(str, 1),
    "Description": Shape(str, 0, 2048),
    "KmsKeyId": Shape(str, 0, 2048),
    "Tags": Shape(list),
    "TagKeys": Shape(list),
    "SecretIdList": Shape(list, 1, 20),
    "MaxResults": Shape(int, 1, 100),
    "NextToken": Shape(str, 1, 4096),
    "IncludeDeprecated": Shape(bool),
    "IncludePlannedDeletion": Shape(bool),
    "RecoveryWindowInDays": Shape(int),
    "ForceDeleteWithoutRecovery": Shape(bool),
}


def check(ask: Mapping[str, Any], required: Sequence[str], optional: Sequence[str]) -> None:
    """Refuse what the shapes do not allow. The fake refuses what it does not play, too: it never overlooks it."""
    for name in required:
        if name not in ask:
            raise _violation(name, "Member must not be null")
    for name, found in ask.items():
        if name not in (*required, *optional):
            raise Refusal("ValidationException", f"this fake does not play the parameter {name} of this call")
        _check_one(name, found, SHAPES[name])
    for label in ask.get("VersionStages", []):
        _check_one("versionStages", label, LABEL)
    if "Name" in ask and not NAME.fullmatch(ask["Name"]):
        raise Refusal("ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters")
    if "SecretBinary" in ask:
        _check_binary(ask["SecretBinary"])


def _check_one(name: str, found: Any, shape: Shape) -> None:
    if type(found) is not shape.kind:
        raise Refusal("SerializationException", f"{name} has another type than expected")
    measure = shape.measure(found)
    if measure < shape.least:
        raise _violation(name, f"Member must have {shape.word} greater than or equal to {shape.least}")
    if measure > shape.most:
        raise _violation(name, f"Member must have {shape.word} less than or equal to {shape.most}")


def _check_binary(found: str) -> None:
    try:
        decoded = base64.b64decode(found, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal("SerializationException", "SecretBinary is not base64") from None
    if not 1 <= len(decoded) <= VALUE_BYTES_MAX:
        raise _violation("secretBinary", f"Member must have length less than or equal to {VALUE_BYTES_MAX}")


def _violation(name: str, why: str) -> Refusal:
    shown = name[0].lower() + name[1:]
    return Refusal(
        "ValidationException", f"1 validation error detected: Value at '{shown}' failed to satisfy constraint: {why}"
    )


def tags_with(old: Mapping[str, str], asked: Sequence[Any]) -> dict[str, str]:
    """Tags after these were added."""
    pairs = [_tag(each) for each in asked]
    added = dict(pairs)
    if len(added) < len(pairs):
        raise invalid_parameter("Duplicate tag keys in the request.")
    after = {**old, **added}
    if len(after) > TAGS_MAX:
        raise invalid_parameter(f"A secret can have at most {TAGS_MAX} tags.")  # contract 4.5
    return after


def _tag(asked: Any) -> tuple[str, str]:
    if not isinstance(asked, dict) or not {*asked} <= {"Key", "Value"}:
        raise Refusal("SerializationException", "a tag is not an object of Key and Value")
    key, value = asked.get("Key", ""), asked.get("Value", "")
    _check_one("tags.key", key, Shape(str, 1, 128))
    _check_one("tags.value", value, Shape(str, 0, 256))
    if key.lower().startswith("aws:") or not TAG.fullmatch(key) or not TAG.fullmatch(value):
        raise invalid_parameter("A tag begins with aws: or has a character that tags can not have.")
    return key, value
