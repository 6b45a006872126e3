"""The state of the simulated portal and its rules. No HTTP here; callers hold `World.lock`."""

from __future__ import annotations

import secrets
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from keyturn_apiportal.layer7.simulator_answers import ASTERISKS, Refusal
from keyturn_apiportal.layer7.simulator_proxy import ProxyState, Revision, digest_of
from keyturn_apiportal.layer7.simulator_switches import Switches, changed

TENANT = "acme"
ORGANIZATION = "partners"
SCOPE = "OOB"
PENDING_EDIT = "EDIT_APPLICATION_PENDING_APPROVAL"
OTHER_HASHING: Mapping[str, str] = {"both": "hashed", "hashed": "plaintext", "plaintext": "hashed"}


@dataclass(kw_only=True)
class Key:
    """An API key. Of a secret only its SHA-512 is kept; `plain` too, where it is not hashed."""

    api_key: str
    application: str
    name: str
    digest: str
    plain: str | None = field(default=None, repr=False)
    default: bool = False
    status: str = "ENABLED"
    auth_method: str = "SECRET"
    oauth_type: str = "CONFIDENTIAL"
    oauth_scope: str = SCOPE
    oauth_callback_url: str = ""
    secret_expiry_ts: int = 0
    created: int = 0
    modified: int = 0

    @property
    def hashed(self) -> bool:
        """Whether the portal can not show the secret again."""
        return self.plain is None

    def keep(self, secret: str, *, hashed: bool) -> None:
        """Take a secret in the place of the one before."""
        self.digest, self.plain = digest_of(secret), None if hashed else secret

    @property
    def revision(self) -> Revision:
        """What the proxies are told."""
        return Revision(
            api_key=self.api_key,
            digest=self.digest,
            hashed=self.hashed,
            live=self.status == "ENABLED",
            public=self.oauth_type == "PUBLIC",
            scope=self.oauth_scope,
        )


@dataclass(kw_only=True)
class Application:
    """An application of the tenant's."""

    uuid: str
    name: str
    created: int
    modified: int
    description: str = ""
    status: str = "ENABLED"


@dataclass(kw_only=True)
class Review:
    """A change that waits for an approval (contract 2): accepting performs it, then."""

    uuid: str
    application: str
    on: str
    at: float
    accept: Callable[[], object]
    reject: Callable[[], object]


class Log(list[dict[str, Any]]):
    """Attempts, requests, reviews and commits in order: ids and times, never values."""

    def commits(self, on: str = "") -> list[dict[str, Any]]:
        """What took effect, by whomever; of one kind of call, or all."""
        return [one for one in self if one["event"] == "commit" and on in ("", one["on"])]

    def attempts(self, on: str = "") -> list[dict[str, Any]]:
        """The requests that were sent, of one kind or all; what a library or a proxy repeated by itself is left out."""
        mine = (one for one in self if one["event"] == "attempt" and on in ("", one["on"]))
        return [one for one in mine if not one["repeated"]]


@dataclass
class _Late:
    at: float
    apply: Callable[[], object]


class World:
    """Applications, keys, requests, proxies and the log. `clock` gives epoch seconds."""

    def __init__(self, clock: Callable[[], float], proxies: Sequence[str], login: tuple[str, str]) -> None:
        self.lock = threading.RLock()
        self.switches = Switches()
        self.login = login
        self.applications: dict[str, Application] = {}
        self.keys: dict[str, Key] = {}
        self.reviews: list[Review] = []
        self.proxies = [ProxyState(name=name) for name in proxies]
        self.tokens: dict[str, float] = {}
        self.log = Log()
        self._clock = clock
        self._late: list[_Late] = []
        self._moment: float | None = None

    # time

    def now(self) -> float:
        """The clock. While something late takes effect, the time at which it was due."""
        return self._clock() if self._moment is None else self._moment

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

    def switch(self, changes: Mapping[str, Any]) -> None:
        """Change the portal's switches. Raises ValueError, and then nothing has changed."""
        self.switches = changed(self.switches, changes)

    # what is there

    def application(self, name: str) -> Application:
        """An application by its UUID. Raises Refusal."""
        if name not in self.applications:
            raise Refusal(404, "the application was not found")
        return self.applications[name]

    def key(self, application: str, api_key: str) -> Key:
        """A key of this application. Raises Refusal."""
        found = self.keys.get(api_key)
        if self.application(application).uuid != getattr(found, "application", "") or found is None:
            raise Refusal(404, "the API key was not found")
        return found

    def keys_of(self, application: str) -> list[Key]:
        """The keys of an application, oldest first."""
        return [one for one in self.keys.values() if one.application == application]

    def default_key(self, application: str) -> Key | None:
        """The default key of an application."""
        return next((one for one in self.keys_of(application) if one.default), None)

    # changes

    def commit(self, on: str, key: Key, by: str, *, moves_time: bool = True, known: bool = False) -> None:
        """A key is other than before, from now on at the portal; the proxies hear of it, each in its time."""
        now = self.now()
        if moves_time:
            key.modified = max(round(now * 1000), key.modified + 1)
        self.log.append({"event": "commit", "at": now, "on": on, "by": by, "key": key.api_key, "status": key.status})
        self._tell(key.revision, known=known)

    def new_secret(self, on: str, key: Key, by: str, *, hashed: bool, given: str = "") -> str:
        """Put a secret in the place of the one before (contract 2); the new one, which the portal makes if need be."""
        made = given or made_secret()
        key.keep(made, hashed=hashed)
        self.commit(on, key, by, moves_time=self.switches.patch_moves_time)
        return made

    def make_default(self, key: Key) -> None:
        """Let this be the default key of its application, of which there is one (contract 2)."""
        for other in self.keys_of(key.application):
            other.default = other is key

    def remove(self, key: Key, by: str) -> None:
        """A key is deleted at the portal; the proxies refuse it once they have heard of it."""
        key.status = "DELETE_FAILED" if self.switches.delete_fails else "DELETED"
        self.commit("delete", key, by)
        if key.status == "DELETED":
            del self.keys[key.api_key]

    def _tell(self, revision: Revision, *, known: bool) -> None:
        for proxy in self.proxies:
            proxy.hear(revision, self.now(), known=known)

    def held(self, key: Key) -> bool:
        """Whether some proxy still takes this key (contract 6: keyStoreCheck)."""
        return any(proxy.holds(key.api_key, self.now()) for proxy in self.proxies)

    def check_hashing(self, *, hashed: bool) -> None:
        """Contract 2, 7.7: a type of secret that the tenant does not allow. Raises Refusal."""
        if self.switches.hashing == ("plaintext" if hashed else "hashed"):
            allowed = "plain text" if hashed else "hashed"
            raise Refusal(400, f"only {allowed} secrets are allowed", "keySecretHashed")

    # approval

    def waits(self, on: str) -> bool:
        """Whether a change of this kind is only a request (contract 2)."""
        switch = self.switches.approve_deletes if on == "delete" else self.switches.approve_edits
        return switch and not self.switches.administrator

    def refuse_locked(self, application: Application) -> None:
        """Contract 2, 7.3: no change while a request is pending. Raises Refusal."""
        if self.reviews_of(application.uuid):
            raise Refusal(self.switches.locked, "a request for this application is pending approval")

    def reviews_of(self, application: str) -> list[Review]:
        """The pending requests of an application."""
        return [one for one in self.reviews if one.application == application]

    def request(
        self, application: Application, on: str, accept: Callable[[], object], reject: Callable[[], object]
    ) -> None:
        """Let a change wait for its approval."""
        made = Review(
            uuid=str(uuid.uuid4()), application=application.uuid, on=on, at=self.now(), accept=accept, reject=reject
        )
        self.reviews.append(made)
        application.status = PENDING_EDIT
        self._note("request", on=on, application=application.uuid)

    def review(self, uuid_: str, *, accept: bool, by: str) -> None:
        """A person decides on a request; what was accepted takes effect now. Raises Refusal."""
        found = next((one for one in self.reviews if one.uuid == uuid_), None)
        if found is None:
            raise Refusal(404, "the request was not found")
        self.reviews.remove(found)
        self.applications[found.application].status = "ENABLED"
        self._note("review", on=found.on, application=found.application, accepted=accept, by=by)
        with suppress(Refusal):  # what it is about may be gone by now
            (found.accept if accept else found.reject)()

    # what other people do

    def meddle(self, how: str, key: Key | None) -> str:
        """Contract 7.7, 7.11: `elsewhere`, `edited` or `hashing`; the secret that somebody has now."""
        if how == "hashing":
            self.switches = changed(self.switches, {"hashing": OTHER_HASHING[self.switches.hashing]})
        elif key and how == "edited":
            self.commit("edit", key, "person")
        elif key:
            return self.new_secret("elsewhere", key, "person", hashed=key.hashed)
        return ""

    # how it is

    def attempt(self, **entry: Any) -> None:
        """Write an attempt into the log; a status of 0 had no answer from the portal or proxy itself."""
        self._note("attempt", **entry)

    def _note(self, event: str, **entry: Any) -> None:
        self.log.append({"event": event, "at": self.now(), **entry})

    def state(self) -> dict[str, Any]:
        """Everything but values."""
        self.tick()
        now = self.now()
        return {
            "now": now,
            "applications": {one.uuid: asdict(one) for one in self.applications.values()},
            "keys": {one.api_key: without_values(one) for one in self.keys.values()},
            "requests": [{"uuid": one.uuid, "application": one.application, "on": one.on} for one in self.reviews],
            "proxies": [one.shown(now) for one in self.proxies],
            "late": len(self._late),
            "switches": asdict(self.switches),
        }


def without_values(key: Key) -> dict[str, Any]:
    """A key for people and tests."""
    shown = {name: value for name, value in asdict(key).items() if name not in ("plain", "digest")}
    return {**shown, "hashed": key.hashed}


def key_object(key: Key, switches: Switches, *, secret: str | None = None, with_secret: bool = True) -> dict[str, Any]:
    """A key as PAPI has it (contract 2); `secret` is shown this once, whether it is hashed or not."""
    shown = secret if secret is not None else key.plain
    if shown is None and switches.hashed_shown != "absent":
        shown = ASTERISKS if switches.hashed_shown == "asterisks" else ""
    told = {"keySecret": shown} if with_secret and shown is not None else {}
    return {
        "apiKey": key.api_key,
        **told,
        "keySecretHashed": key.hashed,
        "applicationUuid": key.application,
        "name": key.name,
        "defaultKey": key.default,
        "status": key.status,
        "authMethod": key.auth_method,
        "oauthType": key.oauth_type,
        "oauthScope": key.oauth_scope,
        "oauthCallbackUrl": key.oauth_callback_url,
        "secretExpiryTs": key.secret_expiry_ts,
        "createTs": key.created,
        "modifyTs": key.modified,
    }


def application_object(one: Application) -> dict[str, Any]:
    """An application as PAPI has it (contract 2)."""
    return {
        "uuid": one.uuid,
        "name": one.name,
        "description": one.description,
        "status": one.status,
        "organizationUuid": ORGANIZATION,
        "organizationName": ORGANIZATION,
        "createTs": one.created,
        "modifyTs": one.modified,
    }


def made_secret() -> str:
    """A secret of the portal's: 32 hex (contract 2)."""
    return secrets.token_hex(16)


def made_api_key() -> str:
    """A client id of the portal's (contract 2)."""
    return f"l7{secrets.token_hex(16)}"
