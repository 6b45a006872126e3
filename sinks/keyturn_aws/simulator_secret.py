"""What the fake keeps of one secret, and how labels and versions of it move. Frozen: a change makes a new one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

CURRENT, PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
LABELS_MAX = 20
VERSIONS_KEPT = 100
KEPT_S_MIN = 24 * 3600.0


class Refusal(Exception):
    """What the service answers in place of a result. `text` never holds a value."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status


def invalid_parameter(text: str) -> Refusal:
    """A parameter that does not fit."""
    return Refusal("InvalidParameterException", text)


def invalid_request(text: str) -> Refusal:
    """A parameter that does not fit the state that the secret is in."""
    return Refusal("InvalidRequestException", text)


def not_found(what: str) -> Refusal:
    """Something that is not there. Its HTTP status is 400, not 404 (contract 5)."""
    return Refusal("ResourceNotFoundException", f"Secrets Manager can't find the specified {what}.")


@dataclass(frozen=True, kw_only=True)
class Value:
    """A secret value as it came: `kind` is the parameter's name, SecretString or SecretBinary (base64)."""

    kind: str
    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version; it never changes (contract 2.2). `key` is the KMS key that its value is encrypted with."""

    id: str
    value: Value
    created_at: float
    key: str


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One secret. `labels` leads from a label to its version: a label sits on one version only (contract 2.4).

    `facts` are further fields of DescribeSecret that a test has set, such as RotationEnabled.
    """

    name: str
    arn: str
    created_at: float
    changed_at: float
    description: str = ""
    key: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Version] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    deletes_at: float | None = None

    def stages(self, version_id: str) -> list[str]:
        """The labels of one version."""
        return sorted(label for label, where in self.labels.items() if where == version_id)

    def with_version(self, version: Version, stages: Iterable[str]) -> Kept:
        """With one version more. The first one is current, whatever was asked for (contract 3.3)."""
        wanted = {*stages} if self.versions else {*stages, CURRENT}
        added = replace(self, versions={**self.versions, version.id: version}, changed_at=version.created_at)
        return added.with_labels(wanted, version.id)

    def with_labels(self, labels: Iterable[str], version_id: str) -> Kept:
        """With these labels on this version and nowhere else. AWSPREVIOUS follows AWSCURRENT (contract 2.9)."""
        wanted = {*labels}
        before = self.labels.get(CURRENT)
        after = {**self.labels, **dict.fromkeys(wanted, version_id)}
        if CURRENT in wanted and before and before != version_id:
            after[PREVIOUS] = before
        if len(after) > LABELS_MAX:
            raise Refusal(
                "LimitExceededException", f"A secret can have at most {LABELS_MAX} staging labels."
            )  # contract 4.2
        return replace(self, labels=after)

    def without_label(self, label: str) -> Kept:
        """With this label on no version."""
        return replace(self, labels={each: where for each, where in self.labels.items() if each != label})

    def aged(self, now: float) -> Kept:
        """Without the versions that have aged out: unlabelled, past the newest hundred, a day old (contract 2.13)."""
        excess = len(self.versions) - VERSIONS_KEPT
        if excess <= 0:
            return self
        labelled = {*self.labels.values()}
        outdated = [
            version.id
            for version in self.versions.values()
            if version.id not in labelled and now - version.created_at >= KEPT_S_MIN
        ]
        gone = {*outdated[:excess]}
        left = {version_id: version for version_id, version in self.versions.items() if version_id not in gone}
        return replace(self, versions=left)
