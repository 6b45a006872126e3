"""The simulated WSO2 API Manager in multi-secret mode: one application with a consumer key, and a neighbour's.

Calls, bodies and codes as in the vendor's devportal v3 specification and its own integration tests (contract 9).
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyturn_apiportal.simulator_world import Switches as CommonSwitches
from keyturn_apiportal.simulator_world import World
from keyturn_apiportal.wso2.simulator_faults import RULES

APPLICATION = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
KEY_MAPPING = "92ab520c-8847-427a-a921-3ed19b15aad7"
SCOPE = "apim:subscribe apim:app_manage"
REVOKE_NEWEST: Mapping[int, int] = {500: 900919, 400: 900921}
"""The secret that was made last can not be revoked: 500 at first, 400 in later versions, each with a code."""
NOT_MULTI, REGENERATE_IN_MULTI, UNAUTHENTICATED, FORBIDDEN = 900916, 900967, 900901, 900910


@dataclass(frozen=True, kw_only=True)
class Switches(CommonSwitches):
    """`multi`: several secrets may live under one key, `secrets_max` at most.

    `revoke_newest`: the status that a try at revoking the newest one gets; with `revoke_nothing` any try does.
    `labels`: descriptions are shown in lists.
    """

    multi: bool = True
    secrets_max: int = 5
    revoke_newest: int = 500
    revoke_nothing: bool = False
    labels: bool = True


@dataclass(kw_only=True)
class ConsumerSecret:
    """One secret under the consumer key."""

    value: str = field(default_factory=lambda: secrets.token_urlsafe(21))
    id: str = field(default_factory=lambda: str(uuid4()))
    label: str = ""
    ends_at: float | None = None


class ApiManager:
    """State and answers. `world.switches` are `Switches`. Secrets are in the order in which they were made."""

    rules = RULES

    def __init__(self, now: Callable[[], float], gateways: int) -> None:
        self.world = World(now, gateways, Switches(sync_s=(0.0,) * gateways))
        self.client_id, self.neighbour_id = secrets.token_urlsafe(21), secrets.token_urlsafe(21)
        self.secrets = [ConsumerSecret()]
        self.neighbours = [ConsumerSecret()]
        self._tell()

    def error(self, status: int, code: int = 0, description: str = "the request was not served") -> Response:
        """The API's error body."""
        body = {"code": code or status, "message": "Error", "description": description, "moreInfo": "", "error": []}
        return JSONResponse(body, status)

    def elsewhere(self, what: str) -> None:
        """Somebody at the developer portal (contract 7.11): generate, revoke-oldest, revoke-newest."""
        if what == "generate":
            self._make(ConsumerSecret())
        elif what in ("revoke-oldest", "revoke-newest") and self.secrets:
            self._drop(self.secrets[0 if what == "revoke-oldest" else -1])
        else:
            raise ValueError("expected generate, revoke-oldest or revoke-newest")
        self.world.record(f"elsewhere-{what}", 204)

    def _make(self, one: ConsumerSecret) -> None:
        self.secrets.append(one)
        if one.ends_at is not None:
            self.world.later(one.ends_at - self.world.now(), lambda: self._drop(one))
        self._tell()

    def _drop(self, one: ConsumerSecret) -> None:
        self.secrets = [each for each in self.secrets if each is not one]
        self._tell()

    def _tell(self) -> None:
        pairs = [(self.client_id, one) for one in self.secrets]
        pairs += [(self.neighbour_id, one) for one in self.neighbours]
        self.world.tell(frozenset(f"{client}:{one.value}" for client, one in pairs))

    # answers

    def token(self, request: Request, form: Mapping[str, str]) -> Response:
        """The portal's own login."""
        if basic(request) != f"{self.world.client_id}:{self.world.client_secret}":
            return _invalid_client()
        if form.get("grant_type") != "client_credentials" or form.get("scope") != SCOPE:
            return JSONResponse({"error": "invalid_scope"}, 400)
        return JSONResponse({"access_token": self.world.grant(), "token_type": "Bearer", "expires_in": 3600})

    def answer(self, request: Request, on: str, body: object, *, withheld: bool = False) -> Response:
        """One call about the key mapping; `withheld`: the answer lacks the value."""
        refusal = self._refusal(request, on)
        if refusal:
            return refusal
        if on == "get":
            return JSONResponse({"keyMappingId": KEY_MAPPING, "consumerKey": self.client_id, "keyState": "COMPLETED"})
        if on == "regenerate":
            return self.error(500, REGENERATE_IN_MULTI)
        if on == "secrets":
            listed = [self._shown(one) for one in self.secrets]
            return JSONResponse({"count": len(listed), "list": listed})
        asked = body if isinstance(body, dict) else {}
        return self._generate(asked, withheld=withheld) if on == "generate" else self._revoke(asked.get("secretId"))

    def _refusal(self, request: Request, on: str) -> Response | None:
        if not self.world.admits(request.headers.get("authorization", "")):
            return self.error(401, UNAUTHENTICATED)
        if self.world.switches.forbidden and on not in ("get", "secrets"):
            return self.error(403, FORBIDDEN)
        place = request.path_params
        if (place["application"], place["mapping"]) != (APPLICATION, KEY_MAPPING):
            return self.error(404)
        return None if self.world.switches.multi or on == "get" else self.error(400, NOT_MULTI)

    def _generate(self, asked: Mapping[str, Any], *, withheld: bool) -> Response:
        more = asked.get("additionalProperties")
        if not isinstance(more, dict) or set(asked) - {"additionalProperties"}:
            return self.error(400, description="expected additionalProperties")
        if len(self.secrets) >= self.world.switches.secrets_max:
            return self.error(400, description="too many secrets")
        life_s = more.get("expiresIn")
        ends_at = None if life_s is None else self.world.now() + float(life_s)
        one = ConsumerSecret(label=str(more.get("description", "")), ends_at=ends_at)
        self._make(one)
        shown = self._shown(one) if withheld else {**self._shown(one), "secretValue": one.value}
        return JSONResponse(shown, 201)

    def _revoke(self, secret_id: object) -> Response:
        one = next((each for each in self.secrets if each.id == secret_id), None)
        if one is None:
            return self.error(404)
        if one is self.secrets[-1] or self.world.switches.revoke_nothing:
            status = self.world.switches.revoke_newest
            return self.error(status, REVOKE_NEWEST[status])
        self._drop(one)
        return Response(status_code=204)

    def _shown(self, one: ConsumerSecret) -> dict[str, Any]:
        more = {"description": one.label} if one.label and self.world.switches.labels else {}
        return {"secretId": one.id, "additionalProperties": more}

    def gate(self, gateway: int, request: Request, form: Mapping[str, str]) -> Response:
        """A gateway's token endpoint."""
        pair = basic(request)
        if request.url.path != "/oauth2/token" or form.get("grant_type") != "client_credentials":
            return JSONResponse({"error": "unsupported_grant_type"}, 400)
        if pair is None or pair not in self.world.heard(gateway):
            return _invalid_client()
        body = {"access_token": secrets.token_urlsafe(24), "scope": "default", "token_type": "Bearer"}
        return JSONResponse({**body, "expires_in": 3600})


def basic(request: Request) -> str | None:
    """The `id:secret` of HTTP Basic."""
    kind, _, packed = request.headers.get("authorization", "").partition(" ")
    try:
        return base64.b64decode(packed, validate=True).decode() if kind == "Basic" else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _invalid_client() -> Response:
    text = "A valid OAuth client could not be found for client_id"
    return JSONResponse({"error": "invalid_client", "error_description": text}, 401)
