"""The simulated Azure API Management: one service with two subscriptions, its resource manager, and its gateways.

As the vendor's REST reference has it (contract 9); what that leaves open follows the answers that its users report.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyturn_apiportal.azure.simulator_faults import RULES
from keyturn_apiportal.simulator_world import Switches as CommonSwitches
from keyturn_apiportal.simulator_world import World

TENANT = "6f1d0c5e-0000-4000-8000-00000000aaaa"
CLOUD_SUBSCRIPTION = "5d3c9b11-0000-4000-8000-00000000bbbb"
GROUP, SERVICE = "rg-apis", "apim-demo"
OURS, NEIGHBOUR = "payments-batch", "somebody-else"
API_VERSION = "2022-08-01"
SCOPE = "https://management.azure.com/.default"
PROBE_PATH = "/payments/ping"
HEADER = "ocp-apim-subscription-key"
SLOTS = ("primary", "secondary")
CODES: Mapping[int, str] = {
    400: "ValidationError",
    401: "InvalidAuthenticationToken",
    403: "AuthorizationFailed",
    404: "ResourceNotFound",
    409: "Conflict",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}


@dataclass(frozen=True, kw_only=True)
class Switches(CommonSwitches):
    """`state` is our subscription's: only an active one opens a gateway. `probe_status` is what the API then says."""

    state: str = "active"
    probe_status: int = 200


@dataclass
class Subscription:
    """A named pair of keys."""

    keys: dict[str, str] = field(default_factory=lambda: {slot: secrets.token_hex(16) for slot in SLOTS})


class Azure:
    """State and answers. `world.switches` are `Switches`."""

    rules = RULES

    def __init__(self, now: Callable[[], float], gateways: int) -> None:
        self.world = World(now, gateways, Switches(sync_s=(0.0,) * gateways))
        self.world.client_secret += "+%& ~"  # goes by a form, which has to be encoded
        self.subscriptions = {OURS: Subscription(), NEIGHBOUR: Subscription()}
        self._tell()

    def error(self, status: int) -> Response:
        """The resource manager's error body."""
        code = CODES.get(status, "ServerError")
        return JSONResponse({"error": {"code": code, "message": "the request was not served", "details": None}}, status)

    def elsewhere(self, what: str) -> None:
        """Somebody regenerates a slot in the Azure portal (contract 7.11)."""
        if what not in SLOTS:
            message = f"expected a slot: {', '.join(SLOTS)}"
            raise ValueError(message)
        self.regenerate(OURS, what)
        self.world.record(f"elsewhere-{what}", 204)

    def regenerate(self, sid: str, slot: str) -> None:
        """Another key in this slot; the old one is gone."""
        self.subscriptions[sid].keys[slot] = secrets.token_hex(16)
        self._tell()

    def _tell(self) -> None:
        self.world.tell(frozenset(key for one in self.subscriptions.values() for key in one.keys.values()))

    # answers

    def token(self, tenant: str, form: Mapping[str, str]) -> Response:
        """The login of an application, by form only."""
        world = self.world
        known = (form.get("client_id"), form.get("client_secret")) == (world.client_id, world.client_secret)
        if tenant != TENANT or not known:
            return JSONResponse({"error": "invalid_client", "error_description": "AADSTS7000215"}, 401)
        if form.get("grant_type") != "client_credentials" or form.get("scope") != SCOPE:
            return JSONResponse({"error": "invalid_scope", "error_description": "AADSTS1002012"}, 400)
        return JSONResponse({"token_type": "Bearer", "expires_in": 3599, "access_token": world.grant()})

    def manage(self, request: Request, on: str) -> Response:
        """One call about a subscription; `on` is its kind in the fault book."""
        refusal = self._refusal(request, on)
        if refusal:
            return refusal
        sid = request.path_params["sid"]
        one = self.subscriptions[sid]
        if on == "get":
            # The reference: the two keys are not filled on GET.
            shown = {"displayName": sid, "state": self._state(sid), "scope": "/products/payments"}
            return JSONResponse({"name": sid, "properties": shown}, headers={"etag": '"AAAAAAAAFX8="'})
        if on == "list-secrets":
            return JSONResponse({f"{slot}Key": key for slot, key in one.keys.items()})
        self.regenerate(sid, on.removeprefix("regenerate-"))
        return Response(status_code=204)

    def _refusal(self, request: Request, on: str) -> Response | None:
        if not self.world.admits(request.headers.get("authorization", "")):
            return self.error(401)
        if request.query_params.get("api-version") != API_VERSION:
            return self.error(400)
        place: dict[str, Any] = request.path_params
        named = (place["cloud"], place["group"], place["service"]) == (CLOUD_SUBSCRIPTION, GROUP, SERVICE)
        if not named or place["sid"] not in self.subscriptions:
            return self.error(404)
        return self.error(403) if self.world.switches.forbidden and on != "get" else None

    def gate(self, gateway: int, request: Request) -> Response:
        """A gateway: the operation is looked for first, then the key."""
        key = request.headers.get(HEADER) or request.query_params.get("subscription-key")
        if request.url.path != PROBE_PATH:
            return JSONResponse({"statusCode": 404, "message": "Resource not found"}, 404)
        if not key or not self.opens(gateway, key):
            what = "invalid subscription key" if key else "missing subscription key"
            return JSONResponse({"statusCode": 401, "message": f"Access denied due to {what}."}, 401)
        return JSONResponse({"message": "the API itself"}, self.world.switches.probe_status)

    def opens(self, gateway: int, key: str) -> bool:
        """Whether this gateway lets this key in now."""
        heard = self.world.heard(gateway)
        return key in heard and (self.world.switches.state == "active" or key not in self._ours())

    def _ours(self) -> frozenset[str]:
        return frozenset(self.subscriptions[OURS].keys.values())

    def _state(self, sid: str) -> str:
        return self.world.switches.state if sid == OURS else "active"
