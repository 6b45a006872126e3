"""A simulated WSO2 API Manager on loopback: developer portal and token endpoints, real HTTP, strict, on a clock.

In a process: `with Simulator(gateways=3) as sim: ...`. From another one: POST to `/simulator/faults` of the first URL.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keyturn_apiportal.simulator_app import Desk, Small, numbers, parsed_form, real_time
from keyturn_apiportal.wso2.simulator_world import APPLICATION, KEY_MAPPING, ApiManager

SECRET = "payments/oauth-client"  # noqa: S105 - a secret's name
PLACE = "/api/am/devportal/v3/applications/{application}/oauth-keys/{mapping}"
CALLS: Mapping[str, tuple[str, str]] = {
    "get": ("GET", ""),
    "secrets": ("GET", "/secrets"),
    "generate": ("POST", "/generate-secret"),
    "revoke": ("POST", "/revoke-secret"),
    "regenerate": ("POST", "/regenerate-secret"),
}


class Simulator(Small):
    """One application with one consumer key, one secret of which is in use, and a neighbour's."""

    def __init__(
        self,
        *,
        gateways: int = 2,
        port: int = 0,
        now: Callable[[], float] | None = None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.manager = ApiManager(now or real_time, gateways)
        self._first = self.manager.secrets[0]
        super().__init__(self.manager, port=port, gateways=gateways, wait=wait)

    def routes(self, desk: Desk) -> list[Route]:
        """The login, and the calls about a key mapping."""

        async def token(request: Request) -> Response:
            form = await parsed_form(request)
            return await desk.serve(request, "token", lambda _: self.manager.token(request, form))

        def call(on: str) -> Callable[[Request], Any]:
            async def endpoint(request: Request) -> Response:
                body = _parsed(await request.body())
                return await desk.serve(
                    request, on, lambda how: self.manager.answer(request, on, body, withheld=how == "no-value")
                )

            return endpoint

        calls = [Route(f"{PLACE}{path}", call(on), methods=[method]) for on, (method, path) in CALLS.items()]
        return [Route("/oauth2/token", token, methods=["POST"]), *calls]

    def gate(self, gateway: int, request: Request, form: Mapping[str, str]) -> Response:
        """What a gateway answers."""
        return self.manager.gate(gateway, request, form)

    @property
    def environment(self) -> dict[str, str]:
        """What the references in `configuration` resolve to."""
        return {"WSO2_CLIENT_ID": self.world.client_id, "WSO2_CLIENT_SECRET": self.world.client_secret}

    @property
    def initial(self) -> dict[str, dict[str, Any]]:
        """The secret in use already, to be adopted."""
        bundle = {"client_id": self.manager.client_id, "client_secret": self._first.value}
        return {SECRET: {"handle": self._first.id, "bundle": bundle}}

    def account(self) -> dict[str, Any]:
        """The account's options, with short delays."""
        return {
            "kind": "wso2-am",
            "url": self.urls[0],
            "client_id": "env:WSO2_CLIENT_ID",
            "client_secret": "env:WSO2_CLIENT_SECRET",
            "gateways": self.gateways,
            "sync": "10s",
            "settle": "2s",
        }

    def target(self) -> dict[str, Any]:
        """The target's options."""
        return {"application": APPLICATION, "key_mapping": KEY_MAPPING, "client_id": self.manager.client_id}

    def configuration(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - other vendors put files there
        """The `providers` and `secrets` of a configuration; the sinks are the caller's."""
        return {
            "providers": {"wso2": self.account()},
            "secrets": {SECRET: {"provider": "wso2", "target": self.target()}},
        }

    def accepts(self, gateway: str, client_id: str, client_secret: str) -> bool:
        """Whether this gateway takes this pair now."""
        with self.world.lock:
            return f"{client_id}:{client_secret}" in self.world.heard(self.gateways.index(gateway))

    def listed(self) -> list[tuple[str, str]]:
        """Id and label of every secret under our key, in the order in which they were made."""
        with self.world.lock:
            self.world.tick()
            return [(one.id, one.label) for one in self.manager.secrets]

    def neighbour(self) -> dict[str, str]:
        """The bundle of another application."""
        return {"client_id": self.manager.neighbour_id, "client_secret": self.manager.neighbours[0].value}

    def elsewhere(self, what: str) -> None:
        """Somebody at the developer portal: `generate`, `revoke-oldest`, `revoke-newest`."""
        self.obey({"elsewhere": what})


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def simulator(options: Mapping[str, str]) -> Simulator:
    """A simulator from text options: `gateways` (2) and `port` (free ones). Raises ValueError for others."""
    gateways, port = numbers(options)
    return Simulator(gateways=gateways, port=port)
