"""A client of the simulated portal and its proxies that keeps to the contract, and breaks it where a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from keyturn.testing.clock import FakeClock
from keyturn_apiportal.layer7.simulator import Simulator

API = "/acme/api-management/1.0"
GRANT = {"grant_type": "client_credentials"}


class Caller:
    """PAPI with a token, and every proxy's token endpoint."""

    def __init__(self, sim: Simulator, *, timeout_s: float = 5.0) -> None:
        self.sim = sim
        self._transport = httpx.HTTPTransport(verify=False)  # spares a trust store: it is plain HTTP
        self.http = httpx.Client(base_url=sim.url, transport=self._transport, timeout=timeout_s)
        self.keys = f"{API}/applications/{sim.application}/api-keys"
        self.key = f"{self.keys}/{sim.api_key}"
        self.legacy = f"/acme/Applications('{sim.application}')"

    def log_in(self, **form: str) -> httpx.Response:
        login = (self.sim.environment["PAPI_ID"], self.sim.environment["PAPI_SECRET"])
        return self.http.post("/auth/oauth/v2/token", data={**GRANT, "scope": "OOB", **form}, auth=login)

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        if "Authorization" not in self.http.headers:
            self.http.headers["Authorization"] = f"Bearer {self.log_in().json()['access_token']}"
        return self.http.request(method, path, **more, **({} if body is None else {"json": body}))

    def patch(self, *, hashed: bool = False, key: str = "", secret: str = "") -> httpx.Response:
        path = f"{self.keys}/{key}" if key else self.key
        return self.ask("PATCH", f"{path}/secret", {"keySecret": secret, "keySecretHashed": hashed})

    def put(self, key: str = "", **changes: Any) -> httpx.Response:
        """The whole key, read and written back with changes."""
        path = f"{self.keys}/{key}" if key else self.key
        whole = {name: value for name, value in self.ask("GET", path).json().items() if name != "keySecret"}
        return self.ask("PUT", path, {**whole, **changes})

    def post(self, **members: Any) -> httpx.Response:
        return self.ask("POST", self.keys, {"name": "another", "oauthScope": "OOB", **members})

    def token(self, secret: str, *, proxy: int = 0, key: str = "", **form: str) -> httpx.Response:
        """The client's own call: a token of one proxy."""
        return httpx.post(
            self.sim.proxies[proxy].token_url,
            data={**GRANT, **form},
            auth=(key or self.sim.api_key, secret),
            timeout=self.http.timeout,
            verify=False,
        )

    def accepted(self, secret: str, key: str = "") -> list[bool]:
        """By proxy, whether these credentials get a token."""
        return [self.token(secret, proxy=n, key=key).status_code == 200 for n in range(len(self.sim.proxies))]


def code(answer: httpx.Response) -> str:
    """The x-ca-err of an answer."""
    return str(answer.headers.get("x-ca-err", ""))


def text(answer: httpx.Response) -> str:
    """The text of an error in its usual shape."""
    found: str = answer.json()["error"]["message"]["value"]
    return found


# The fixtures of the simulator's tests, for a module that names them as its own and has a `sim`.


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def caller(sim: Simulator) -> Iterator[Caller]:
    made = Caller(sim)
    with made.http:
        yield made
