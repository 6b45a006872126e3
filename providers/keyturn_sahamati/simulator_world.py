"""The state of the simulated Token Service and its rules. No HTTP here; callers hold `World.lock`."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from keyturn_sahamati.simulator_switches import DAY_S, DOWN, Switches

AWKWARD = "%& +"
LONG = 4096


class Refusal(Exception):
    """What the service answers in place of a result: a status, a text, and the form of the body."""

    def __init__(self, status: int, text: str = "", form: str = "json") -> None:
        super().__init__(text)
        self.status, self.text, self.form = status, text, form


@dataclass(kw_only=True)
class Version:
    """One secret of an entity. `ends_at` is set when another one takes its place. Times are the server's clock."""

    value: str = field(repr=False)
    since: float
    expires_at: float | None
    ends_at: float | None = None
    message: bool = False


@dataclass(kw_only=True)
class Entity:
    """A member of the network; the last version is the current one. A new member has none."""

    id: str
    roles: Sequence[str] = ("FIU",)
    versions: list[Version] = field(default_factory=list)

    def seen(self, at: float) -> Version | None:
        """What was current at that time."""
        return next((version for version in reversed(self.versions) if version.since <= at), None)


@dataclass(kw_only=True)
class User:
    """A designated user, and the entities that are administered with this login."""

    password: str = field(repr=False)
    administers: Sequence[str]


@dataclass(kw_only=True)
class Grant:
    """A token that was given out: to whom, until when, and with which secret."""

    holder: str
    expires_at: float
    secret: str = field(default="", repr=False)
    revoked: bool = False


@dataclass(frozen=True, kw_only=True)
class Reset:
    """What a reset made, and whether the default took the place of what was asked for."""

    version: Version
    by_default: bool


@dataclass
class _Late:
    at: float
    apply: Callable[[], object]


class World:
    """Entities, users, tokens, switches, and the log of attempts and commits (names and fingerprints, never values).

    `clock` gives epoch seconds; the server's own clock may be ahead of it.
    """

    def __init__(self, clock: Callable[[], float], entities: Sequence[Entity], users: Mapping[str, User]) -> None:
        self.lock = threading.RLock()
        self.switches = Switches()
        self.entities = {entity.id: entity for entity in entities}
        self.users = dict(users)
        self.user_tokens: dict[str, Grant] = {}
        self.entity_tokens: dict[str, Grant] = {}
        self.log: list[dict[str, Any]] = []
        self._clock = clock
        self._late: list[_Late] = []
        self._calls: list[float] = []
        self._reset_seen = False
        self._moment: float | None = None

    def now(self) -> float:
        """The server's clock. While something late takes effect, the time at which it was due."""
        return (self._clock() if self._moment is None else self._moment) + self.switches.offset_s

    def switch(self, changes: Mapping[str, Any]) -> None:
        """Change switches. Raises ValueError, and then nothing has changed."""
        self.switches = self.switches.changed(changes)
        if "down" in changes:
            self._reset_seen = False

    def later(self, seconds: float, apply: Callable[[], object]) -> None:
        """Let something take effect when the clock says so."""
        self._late.append(_Late(self._clock() + seconds, apply))

    def tick(self) -> None:
        """Let what is late take effect, if its time has come. Comes before everything that looks or acts."""
        due = sorted((late for late in self._late if late.at <= self._clock()), key=lambda late: late.at)
        self._late = [late for late in self._late if late not in due]
        for self._moment, apply in ((late.at, late.apply) for late in due):
            apply()
        self._moment = None

    # who may

    def log_in(self, username: str, password: str) -> User:
        """Contract 2.1: one 401 for a wrong name, a wrong password and an expired one."""
        user = self.users.get(username)
        if user is None or user.password != password or self.switches.password_expired:
            raise Refusal(401, "Invalid username/password or password is expired")
        return user

    def administrator(self, token: str, entity_id: str) -> str:
        """The user behind a bearer token, for an entity that is there and theirs (contract 2.3, 9.16, 9.17)."""
        grant = self.bearer(token)
        if entity_id not in self.entities:
            raise Refusal(401, "Invalid entity id")
        if entity_id not in self.users[grant.holder].administers:
            raise refused_as(self.switches.not_admin, "the user does not administer this entity")
        return grant.holder

    def bearer(self, token: str) -> Grant:
        """What a user token was given out as."""
        grant = self.user_tokens.get(token)
        if grant is None or grant.revoked or grant.expires_at <= self.now():
            raise refused_as(self.switches.bad_token, "Invalid or expired access token")
        return grant

    def revoke_user_tokens(self) -> None:
        """Contract 9.16: the service forgets who logged in."""
        for grant in self.user_tokens.values():
            grant.revoked = True

    # secrets

    def judge(self, entity_id: str, value: str) -> bool:
        """Whether an entity's secret is accepted with a `message`. Raises Refusal where it is not accepted.

        Contract 2.2: an unknown entity, a wrong secret and one past its grace look the same.
        """
        entity = self.entities.get(entity_id)
        for version in reversed(entity.versions if entity else []):
            message = self._accepted(version) if version.value == value else None
            if message is not None:
                return message
        raise Refusal(401, "Invalid entity id/secret or secret is expired")

    def _accepted(self, version: Version) -> bool | None:
        """Whether with a message; None where it is refused (contract 4.3, 9.7, 9.8)."""
        now, switches = self.now(), self.switches
        expired = version.expires_at is not None and version.expires_at <= now
        over = version.expires_at is not None and version.expires_at + switches.expiry_grace_s <= now
        if over or (version.ends_at is not None and version.ends_at <= now):
            return None
        return version.message or (expired and switches.expiry_message)

    def read(self, entity_id: str) -> Version | None:
        """The current secret, as the copy that serves `read` knows it (contract 2.4, 9.6)."""
        return self.entities[entity_id].seen(self.now() - self.switches.read_lag_s)

    def reset(
        self, entity_id: str, *, by: str, txn_id: str = "", days: int | None = None, until: float | None = None
    ) -> Reset:
        """Make a new secret in place of the current one (contract 2.3). `until` is when the user's token ends."""
        entity, now, switches = self.entities[entity_id], self.now(), self.switches
        by_default = days is None or days > switches.maximum_days
        expires_at = now + (switches.maximum_days if days is None or by_default else days) * DAY_S
        if switches.clamp and until is not None:
            expires_at = min(expires_at, until)  # contract 4.2, 9.13
        old = entity.seen(now)
        same = old is not None and switches.reset_answers == "same"
        value = old.value if old and same else made_secret(switches.makes)
        if old:
            old.ends_at, old.message = now + switches.grace_s, switches.grace_message
            self._end_tokens(entity_id, old.value)
        version = Version(value=value, since=now, expires_at=expires_at)
        entity.versions.append(version)
        self._reset_seen = True
        self.record("commit", on="reset", entity=entity_id, by=by, txnId=txn_id, value=fingerprint(value), days=days)
        return Reset(version=version, by_default=by_default)

    def _end_tokens(self, entity_id: str, value: str) -> None:
        """Contract 9.9: tokens live on until their own end, or end with the secret that they were got with."""
        for grant in self.entity_tokens.values():
            if self.switches.revoke_tokens and (grant.holder, grant.secret) == (entity_id, value):
                grant.revoked = True

    def opens(self, token: str) -> bool:
        """Whether the network lets an entity token in."""
        grant = self.entity_tokens.get(token)
        return grant is not None and not grant.revoked and self.now() < grant.expires_at

    def accepts(self, bundle: Mapping[str, str]) -> bool:
        """The oracle: whether this secret, or this entity token, is accepted now."""
        if "access_token" in bundle:
            return self.opens(bundle["access_token"])
        try:
            self.judge(bundle.get("entity_id", ""), bundle.get("entity_secret", ""))
        except Refusal:
            return False
        return True

    # how it is

    def standing(self, on: str) -> str:
        """The fault that hits every request of this kind now, by the switches; empty for none. Counts the request."""
        minute = [at for at in self._calls if at > self._clock() - 60.0]
        self._calls = [*minute, self._clock()]
        switches = self.switches
        if on in DOWN[switches.down] and (switches.down != "after-reset" or self._reset_seen):
            return switches.down_how
        if switches.rate_limit and len(minute) >= switches.rate_limit:
            return f"429:{'30' if switches.retry_after == 'seconds' else switches.retry_after}"
        return f"slow:{switches.slow_s}" if switches.slow_s else ""

    def record(self, event: str, **entry: Any) -> None:
        """Write an attempt or a commit into the log."""
        self.log.append({"event": event, "at": self.now(), **entry})

    def state(self) -> dict[str, Any]:
        """Everything but values."""
        self.tick()
        return {
            "now": self.now(),
            "entities": {entity.id: _without_values(entity) for entity in self.entities.values()},
            "users": {name: list(user.administers) for name, user in self.users.items()},
            "user_tokens": len(self.user_tokens),
            "entity_tokens": len(self.entity_tokens),
            "late": len(self._late),
            "switches": asdict(self.switches),
        }


def _without_values(entity: Entity) -> list[dict[str, Any]]:
    return [{**asdict(version), "value": fingerprint(version.value)} for version in entity.versions]


def refused_as(how: str, text: str) -> Refusal:
    """A refusal as a switch words it, `STATUS[:FORM]`."""
    status, _, form = how.partition(":")
    return Refusal(int(status), text, form or "json")


def made_secret(kind: str) -> str:
    """A new secret; every kind breaks a client that forgets to percent-encode (contract 7, 9.14)."""
    value = f"{base64.b64encode(secrets.token_bytes(24)).decode()}+/="
    return {"usual": value, "awkward": f"{value}{AWKWARD}{value}", "long": value.ljust(LONG, "x")}[kind]


def fingerprint(value: str) -> str:
    """A short name for a value in logs."""
    return hashlib.sha256(value.encode()).hexdigest()[:12]
