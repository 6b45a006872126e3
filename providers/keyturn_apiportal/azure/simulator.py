"""A simulated Azure API Management on loopback: resource manager, login and gateways, real HTTP, strict, on a clock.

In a process: `with Simulator(gateways=3) as sim: ...`. From another one: POST to `/simulator/faults` of the first URL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keyturn_apiportal.azure.simulator_world import (
    CLOUD_SUBSCRIPTION,
    GROUP,
    NEIGHBOUR,
    OURS,
    PROBE_PATH,
    SERVICE,
    TENANT,
    Azure,
)
from keyturn_apiportal.simulator_app import Desk, Small, numbers, parsed_form, real_time

SECRET = "payments/subscription-key"  # noqa: S105 - a secret's name
PLACE = "/subscriptions/{cloud}/resourceGroups/{group}/providers/Microsoft.ApiManagement/service/{service}"
CALLS: Mapping[str, tuple[str, str]] = {
    "get": ("GET", ""),
    "list-secrets": ("POST", "/listSecrets"),
    "regenerate-primary": ("POST", "/regeneratePrimaryKey"),
    "regenerate-secondary": ("POST", "/regenerateSecondaryKey"),
}


class Simulator(Small):
    """One service with the subscription `OURS`, whose primary key is in use, and a neighbour's."""

    def __init__(
        self,
        *,
        gateways: int = 2,
        port: int = 0,
        now: Callable[[], float] | None = None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.azure = Azure(now or real_time, gateways)
        self._first_value = self.azure.subscriptions[OURS].keys["primary"]
        super().__init__(self.azure, port=port, gateways=gateways, wait=wait)

    def routes(self, desk: Desk) -> list[Route]:
        """The login, and the four calls about a subscription."""

        async def token(request: Request) -> Response:
            form = await parsed_form(request)
            return await desk.serve(request, "token", lambda _: self.azure.token(request.path_params["tenant"], form))

        def call(on: str) -> Callable[[Request], Any]:
            async def endpoint(request: Request) -> Response:
                return await desk.serve(request, on, lambda _: self.azure.manage(request, on))

            return endpoint

        calls = [
            Route(f"{PLACE}/subscriptions/{{sid}}{path}", call(on), methods=[method])
            for on, (method, path) in CALLS.items()
        ]
        return [Route("/{tenant}/oauth2/v2.0/token", token, methods=["POST"]), *calls]

    def gate(self, gateway: int, request: Request, form: Mapping[str, str]) -> Response:  # noqa: ARG002 - the seam's
        """What a gateway answers."""
        return self.azure.gate(gateway, request)

    @property
    def environment(self) -> dict[str, str]:
        """What the references in `configuration` resolve to."""
        return {"AZURE_CLIENT_ID": self.world.client_id, "AZURE_CLIENT_SECRET": self.world.client_secret}

    @property
    def initial(self) -> dict[str, dict[str, Any]]:
        """The key in use already, to be adopted. Its handle is found at the portal: it holds a keyed fingerprint."""
        return {SECRET: {"slot": "primary", "bundle": {"subscription_key": self._first_value}}}

    def account(self) -> dict[str, Any]:
        """The account's options, with short delays."""
        return {
            "kind": "azure-apim",
            "url": self.urls[0],
            "login_url": self.urls[0],
            "tenant": TENANT,
            "client_id": "env:AZURE_CLIENT_ID",
            "client_secret": "env:AZURE_CLIENT_SECRET",
            "subscription": CLOUD_SUBSCRIPTION,
            "resource_group": GROUP,
            "service": SERVICE,
            "gateways": self.gateways,
            "sync": "10s",
            "settle": "2s",
        }

    def configuration(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - other vendors put files there
        """The `providers` and `secrets` of a configuration; the sinks are the caller's."""
        target = {"name": OURS, "probe_path": PROBE_PATH}
        return {
            "providers": {"azure": self.account()},
            "secrets": {SECRET: {"provider": "azure", "target": target}},
        }

    def accepts(self, gateway: str, value: str) -> bool:
        """Whether this gateway lets this key in now."""
        with self.world.lock:
            return self.azure.opens(self.gateways.index(gateway), value)

    def current(self, slot: str, sid: str = OURS) -> str:
        """The key in this slot, whoever made it."""
        with self.world.lock:
            self.world.tick()
            return self.azure.subscriptions[sid].keys[slot]

    def neighbour(self) -> str:
        """A key of another subscription."""
        return self.current("primary", NEIGHBOUR)

    def elsewhere(self, what: str) -> None:
        """Somebody regenerates `primary` or `secondary` in the Azure portal."""
        self.obey({"elsewhere": what})


def simulator(options: Mapping[str, str]) -> Simulator:
    """A simulator from text options: `gateways` (2) and `port` (free ones). Raises ValueError for others."""
    gateways, port = numbers(options)
    return Simulator(gateways=gateways, port=port)
