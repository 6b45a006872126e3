"""A client of the simulated Circle's, which keeps to the contract and breaks it where a test says so."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from keyturn.testing.clock import FakeClock
from keyturn_circle.simulator import Simulator
from keyturn_circle.simulator_switches import SECRET_PATH, Switches

BITS = 2048
DAY_S = 86_400.0
W3S = "/v1/w3s"
CIPHERTEXT = "entitySecretCiphertext"
NEW = "newEntitySecretCiphertext"
TEXT = "rotation probe, no meaning"
BROKEN = (httpx.NetworkError, httpx.RemoteProtocolError)


def made_up() -> str:
    """A secret that nobody registered."""
    return secrets.token_hex(32)


def uuid4() -> str:
    return str(uuid.uuid4())


class Caller:
    """A client that keeps to the contract, and breaks it where a test says so. Each body is made afresh."""

    def __init__(self, sim: Simulator, *, key: str = "", timeout_s: float = 5.0) -> None:
        self.sim = sim
        transport = httpx.HTTPTransport(verify=False)  # spares a trust store: it is plain HTTP
        headers = {"Authorization": f"Bearer {key or sim.api_key}"}
        self.http = httpx.Client(base_url=sim.url, headers=headers, transport=transport, timeout=timeout_s)

    def body(self, on: str, **changes: Any) -> dict[str, Any]:
        seal, current = self.sim.seal, self.sim.secret or made_up()
        bodies: dict[str, dict[str, Any]] = {
            "register": {CIPHERTEXT: seal(made_up())},
            "rotate": {CIPHERTEXT: seal(current), NEW: seal(made_up())},
            "reset": {"recoveryFile": self.sim.recovery_file or "none", NEW: seal(made_up())},
            "sign": {"walletId": self.sim.canary, "message": TEXT, CIPHERTEXT: seal(current)},
            "wallet-sets": {"idempotencyKey": uuid4(), "name": "mine", CIPHERTEXT: seal(current)},
            "wallets": {"idempotencyKey": uuid4(), "walletSetId": self.set_id, "blockchains": ["ETH-SEPOLIA"],
                        CIPHERTEXT: seal(current)},
        }  # fmt: skip
        return {name: value for name, value in {**bodies[on], **changes}.items() if value is not ...}

    @property
    def set_id(self) -> str:
        return next(iter(self.sim.entity.wallet_sets))

    def call(self, on: str, headers: dict[str, str] | None = None, /, **changes: Any) -> httpx.Response:
        """One of the calls; a change to `...` leaves a member out."""
        method, path = CALLS[on]
        body = None if method == "GET" else self.body(on, **changes)
        return self.http.request(method, path, json=body, headers=headers)

    def sign(self, secret: str = "", /, **changes: Any) -> tuple[int, int | None]:
        """Ask about a secret: the one in force where none is named."""
        return told(self.call("sign", **{CIPHERTEXT: self.sim.seal(secret or self.sim.secret), **changes}))

    def page(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.http.request(method, path, **more)


CALLS = {
    "register": ("POST", SECRET_PATH),
    "rotate": ("PUT", f"{SECRET_PATH}/rotate"),
    "reset": ("PUT", f"{SECRET_PATH}/reset"),
    "sign": ("POST", f"{W3S}/developer/sign/message"),
    "public-key": ("GET", f"{W3S}/config/entity/publicKey"),
    "entity": ("GET", f"{W3S}/config/entity"),
    "wallet-sets": ("POST", f"{W3S}/developer/walletSets"),
    "wallets": ("POST", f"{W3S}/developer/wallets"),
    "list-wallet-sets": ("GET", f"{W3S}/walletSets"),
    "list-wallets": ("GET", f"{W3S}/wallets"),
}
GOOD = (200, None)
WRONG = (400, 156013)


def told(answer: httpx.Response) -> tuple[int, int | None]:
    """Status and code; the code is None in a success."""
    return answer.status_code, answer.json().get("code")


def file_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["data"]["recoveryFile"]
    return text


def commits(sim: Simulator) -> list[tuple[str, str]]:
    return [(entry["on"], entry["by"]) for entry in sim.log if entry["event"] == "commit"]


def attempts(sim: Simulator) -> list[tuple[str, int, int | None]]:
    return [(one["on"], one["status"], one["code"]) for one in sim.log if one["event"] == "attempt"]


@contextmanager
def calling(sim: Simulator, **how: Any) -> Iterator[Caller]:
    """A client, closed afterwards."""
    made = Caller(sim, **how)
    with made.http:
        yield made


# The fixtures of the simulator's tests, for a module that names them as its own.


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Simulator, FakeClock]]:
    """A running server for the tests of a module, and its clock."""
    clock = FakeClock()
    with Simulator(now=clock.now, wait=clock.wait, key_bits=BITS) as running:
        yield running, clock


@pytest.fixture
def clock(shared: tuple[Simulator, FakeClock]) -> FakeClock:
    return shared[1]


@pytest.fixture
def sim(shared: tuple[Simulator, FakeClock]) -> Simulator:
    """The server as new: without faults, limits or a log; rotate and reset can be called."""
    running, clock = shared
    clock.advance(DAY_S)
    running.obey({"clear": True, "switches": {**vars(Switches()), "rest": "on", "rate_limit": 0}})
    assert running.secret
    running.world.log.clear()
    return running


@pytest.fixture
def caller(sim: Simulator) -> Iterator[Caller]:
    with calling(sim) as made:
        yield made


@pytest.fixture
def fresh(clock: FakeClock) -> Iterator[Caller]:
    """A client of an entity without a secret."""
    with (
        Simulator(now=clock.now, wait=clock.wait, key_bits=BITS, registered=False) as running,
        calling(running) as made,
    ):
        running.switch(rest="on")
        yield made
