"""The state of a fake AWS Secrets Manager: its secrets, who may use them, its clock, its log. No HTTP here."""

from __future__ import annotations

import secrets as chance
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from keyturn_aws.simulator_calls import OPERATIONS, Answer, Ask, Keys, Room
from keyturn_aws.simulator_secret import Kept, Refusal

SHOWN = {
    "ClientRequestToken": "token",
    "VersionStages": "stages",
    "VersionId": "version",
    "VersionStage": "stage",
    "MoveToVersionId": "move_to",
    "RemoveFromVersionId": "remove_from",
}
"""The parameters that the log shows, and what it calls them. Everything else stays out of it."""


@dataclass
class Switches:
    """How this service is, until told otherwise."""

    latency_s: float = 0.0
    """Before each answer."""
    denied_keys: list[str] = field(default_factory=list)
    """KMS keys that can not be used, besides those with `denied` in their name."""
    kms_refusal: str = "DecryptionFailure"
    """The code that a read is refused with; AccessDeniedException is the other one."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, understood. `access_key` signed it."""

    operation: str
    ask: Ask = field(repr=False)
    access_key: str

    @property
    def name(self) -> str:
        """The secret that it names, by name or ARN."""
        return str(self.ask.get("SecretId", self.ask.get("Name", "")))

    @property
    def shown(self) -> dict[str, Any]:
        """What the log says of it. Never a value."""
        found = {word: self.ask[parameter] for parameter, word in SHOWN.items() if parameter in self.ask}
        return {"operation": self.operation, "name": self.name, **found}


class World:
    """One account in one region. Every method is atomic."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.switches = Switches()
        self.log: list[dict[str, Any]] = []
        self._lock = threading.RLock()
        self._ahead_s = 0.0
        self._secrets: Mapping[str, Kept] = {}
        self._before: Mapping[str, Kept] = {}
        self._allowed: dict[str, frozenset[str] | None] = {}

    # the service

    def perform(self, call: Call, *, stale: bool = False, fault: str = "") -> Answer:
        """Do what is asked, on the secrets as they are, or were before the last write. Raises Refusal.

        `fault` is for the log alone.
        """
        with self._lock:
            try:
                self._admit(call)
                answer = self._run(call, stale=stale)
            except Refusal as refusal:
                self.record(call, refusal.code, fault)
                raise
            self.record(call, "ok", fault)
            return answer

    def _run(self, call: Call, *, stale: bool) -> Answer:
        room = self._room(self._before if stale else self._secrets)
        reply = OPERATIONS[call.operation](room, call.ask)
        if reply.secrets is not None and not stale:
            self._before, self._secrets = self._secrets, reply.secrets
        return reply.answer

    def _room(self, secrets: Mapping[str, Kept]) -> Room:
        now = self.now()
        left = {
            name: kept.aged(now) for name, kept in secrets.items() if kept.deletes_at is None or now < kept.deletes_at
        }
        keys = Keys(denied=frozenset(self.switches.denied_keys), refusal=self.switches.kms_refusal)
        return Room(secrets=left, now=now, region=self.region, keys=keys)

    def _admit(self, call: Call) -> None:
        """Contract 5. A create with tags needs the right to tag as well (contract 1.1)."""
        if call.access_key not in self._allowed:
            raise Refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
        needed = {call.operation, "TagResource"} if "Tags" in call.ask else {call.operation}
        allowed = self._allowed[call.access_key]
        missing = sorted(needed - allowed) if allowed is not None else []
        if missing:
            text = f"User is not authorized to perform: secretsmanager:{missing[0]} on resource: {call.name}"
            raise Refusal("AccessDeniedException", text)

    def record(self, call: Call, outcome: str, fault: str = "") -> None:
        """Write one call into the log, with the fault that spoiled it."""
        with self._lock:
            self.log.append({**call.shown, "outcome": outcome, **({"fault": fault} if fault else {})})

    # what a test does to it

    def now(self) -> float:
        """The service's time, epoch seconds."""
        return datetime.now(UTC).timestamp() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Let time pass at the service, at once."""
        with self._lock:
            self._ahead_s += seconds

    def new_access_key(self, actions: Sequence[str] | None = None) -> str:
        """An access key that may do these actions (`GetSecretValue`); None: everything."""
        access_key = f"AKIA{chance.token_hex(8).upper()}"
        self.allow(access_key, actions)
        return access_key

    def allow(self, access_key: str, actions: Sequence[str] | None) -> None:
        """Let an access key do these actions only; None: everything."""
        with self._lock:
            self._allowed[access_key] = None if actions is None else frozenset(actions)

    def revoke(self, access_key: str) -> None:
        """Know this access key no more."""
        with self._lock:
            self._allowed.pop(access_key, None)

    def mark(self, name: str, facts: Mapping[str, Any]) -> None:
        """Set further fields of DescribeSecret, such as RotationEnabled, ReplicationStatus, OwningService."""
        with self._lock:
            kept = self._secrets[name]
            self._secrets = {**self._secrets, name: replace(kept, facts={**kept.facts, **facts})}

    def switch(self, changes: Mapping[str, Any]) -> None:
        """Change switches. Raises ValueError for an unknown one."""
        known = [each.name for each in fields(Switches)]
        if set(changes) - {*known}:
            message = f"expected switches: {', '.join(known)}"
            raise ValueError(message)
        with self._lock:
            for name, value in changes.items():
                setattr(self.switches, name, value)

    def seen(self) -> list[dict[str, Any]]:
        """A copy of the log."""
        with self._lock:
            return list(self.log)

    def state(self) -> dict[str, Any]:
        """Every secret with its versions in order and their labels. No values."""
        with self._lock:
            room = self._room(self._secrets)
        return {
            name: {
                "versions": {each: kept.stages(each) for each in kept.versions},
                "tags": dict(kept.tags),
                "deletes_at": kept.deletes_at,
            }
            for name, kept in room.secrets.items()
        }
