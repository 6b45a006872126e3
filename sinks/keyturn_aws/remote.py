"""One secret during one verb: the calls that a verb is made of, each with the verb's deadline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn.api import Bundle, Conflict, Fields, Refused
from keyturn_aws.client import SecretsManager, date_of
from keyturn_aws.failures import BAD_STATE, EXISTS, GONE, Said
from keyturn_aws.labels import CURRENT, PENDING, PREVIOUS, VERSION_ID, Labelled
from keyturn_aws.options import Place
from keyturn_aws.values import decoded, is_ours_in_form


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """One version with its value. `bundle` is None where it is binary; `made_at` is when it was written, epoch s.

    `reshaped`: it is no JSON object of texts, which is all that Keyturn writes.
    """

    version_id: str
    labels: frozenset[str]
    bundle: Bundle | None = field(repr=False)
    made_at: float | None = None
    reshaped: bool = False


class Remote:
    """One secret. Everything it raises is a PluginError without a value in it."""

    def __init__(self, api: SecretsManager, place: Place, deadline_at: float) -> None:
        self._api = api
        self._place = place
        self._deadline_at = deadline_at

    @property
    def name(self) -> str:
        """The secret's name."""
        return self._place.name

    def look(self) -> Labelled:
        """Its labels and tags (contract 1.5); one that does not exist has `exists` False."""
        try:
            answer = self._call("describe_secret")
        except Said as said:
            if said.says == GONE:
                return Labelled(labels={}, exists=False, now=said.now)
            raise said.final() from None
        return _labelled(answer)

    def refuse_deleted(self, seen: Labelled) -> None:
        """Raise Refused `aws-scheduled-for-deletion` where it is (contract 6)."""
        if seen.deleted:
            why = f"the secret is scheduled for deletion: aws secretsmanager restore-secret --secret-id {self.name}"
            raise Refused(why, code="aws-scheduled-for-deletion")

    def refuse_rotating(self, seen: Labelled) -> None:
        """Raise Refused `aws-rotation-enabled` where AWS would write as well."""
        if seen.rotates:
            how = f"aws secretsmanager cancel-rotate-secret --secret-id {self.name}"
            raise Refused(f"AWS rotates this secret by itself: {how}", code="aws-rotation-enabled")

    def value(self, version_id: str | None = None) -> Stored | None:
        """One version, or what consumers read; None where there is no such version."""
        if version_id is not None and not VERSION_ID.fullmatch(version_id):
            return None
        try:
            which = {"VersionStage": CURRENT} if version_id is None else {"VersionId": version_id}
            answer = self._call("get_secret_value", **which)
        except Said as said:
            if said.says == GONE:
                return None
            if said.says == BAD_STATE:
                self.refuse_deleted(self.look())
            raise said.final() from None
        return _stored(answer)

    def holds(self, version_id: str, bundle: Bundle) -> bool:
        """Whether this version has this value."""
        found = self.value(version_id)
        return bool(found and found.bundle and found.bundle.reveal() == bundle.reveal())

    def create(self, version_id: str, text: str, tags: Fields) -> bool:
        """Make the secret with its first version, which is current (contract 3.1). False where it is there already."""
        wanted = {"KmsKeyId": self._place.kms_key_id, "Description": self._place.description}
        more = {key: text_ for key, text_ in wanted.items() if text_}
        try:
            self._api.call(
                "create_secret",
                deadline_at=self._deadline_at,
                Name=self.name,
                ClientRequestToken=version_id,
                SecretString=text,
                Tags=_tag_list({**self._place.tags, **tags}),
                **more,
            )
        except Said as said:
            if said.says in (EXISTS, BAD_STATE):
                return False
            raise said.final() from None
        return True

    def put(self, version_id: str, text: str, labels: Iterable[str], seen: Labelled) -> bool:
        """Write a version with these labels; whether it is current now, as the first one is (contract 3.3).

        Raises Conflict `same-id` where its id has another value (contract 2.3).
        """
        wanted = list(labels)
        try:
            answer = self._call(
                "put_secret_value", ClientRequestToken=version_id, SecretString=text, VersionStages=wanted
            )
        except Said as said:
            if said.says == EXISTS:
                raise Conflict("this version id is known here with another value", code="same-id") from None
            if said.says == BAD_STATE:
                self.refuse_deleted(self.look())
            raise said.final() from None
        # A put of what is there already moves no label (contract 2.2).
        attached = answer.get("VersionStages", ())
        for label in wanted:
            if label not in attached:
                self.add(label, version_id, seen)
        return CURRENT in attached

    def switch(self, version_id: str, expected: str) -> None:
        """Let consumers read this version, if they read the expected one until now (contract 2.6). Raises Said."""
        self._move(CURRENT, MoveToVersionId=version_id, RemoveFromVersionId=expected)

    def add(self, label: str, version_id: str, seen: Labelled) -> None:
        """Put a label on a version, taking it from the one that was seen with it."""
        holder = seen.holding(label)
        if holder == version_id:
            return
        try:
            self._move(label, MoveToVersionId=version_id, **({"RemoveFromVersionId": holder} if holder else {}))
        except Said as said:
            if self.look().holding(label) != version_id:
                raise said.final() from None

    def take_off(self, label: str, version_id: str) -> None:
        """Take a label off a version; done where it is not there (contract 2.7)."""
        try:
            self._move(label, RemoveFromVersionId=version_id)
        except Said as said:
            if self.look().holding(label) == version_id:
                raise said.final() from None

    def drop(self, version_id: str, seen: Labelled, *, previous: bool) -> None:
        """Make a version not pending any more, and, unless it is a previous one to be kept, not ours any more."""
        labels = seen.labels[version_id]
        if PENDING in labels:
            self.take_off(PENDING, version_id)  # first: what is left of a call that dies here is still ours
        mark = seen.mark(version_id)
        if mark and (previous or PREVIOUS not in labels):
            self.take_off(mark.label, version_id)

    def tag(self, tags: Fields) -> None:
        """Add these tags."""
        self._call("tag_resource", Tags=_tag_list(tags))

    def _move(self, label: str, **versions: str) -> None:
        self._call("update_secret_version_stage", VersionStage=label, **versions)

    def _call(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        return self._api.call(operation, deadline_at=self._deadline_at, SecretId=self.name, **arguments)


def _labelled(answer: Mapping[str, Any]) -> Labelled:
    labels = {
        version_id: frozenset(found) for version_id, found in answer.get("VersionIdsToStages", {}).items() if found
    }
    replicas = {one["Region"]: one.get("Status", "") for one in answer.get("ReplicationStatus", ())}
    return Labelled(
        labels=labels,
        tags={tag["Key"]: tag.get("Value", "") for tag in answer.get("Tags", ())},
        deleted=answer.get("DeletedDate") is not None,
        rotates=bool(answer.get("RotationEnabled")),
        behind=tuple(sorted(region for region, status in replicas.items() if status != "InSync")),
        now=date_of(answer),
    )


def _stored(answer: Mapping[str, Any]) -> Stored:
    text, made = answer.get("SecretString"), answer.get("CreatedDate")
    return Stored(
        version_id=answer["VersionId"],
        labels=frozenset(answer.get("VersionStages", ())),
        bundle=decoded(text) if text is not None else None,
        made_at=made.timestamp() if made else None,
        reshaped=text is not None and not is_ours_in_form(text),
    )


def _tag_list(tags: Fields) -> list[dict[str, str]]:
    return [{"Key": key, "Value": text} for key, text in tags.items()]
