"""A real OpenBao, and the sink contract's vocabulary on it. The sink logs in by AppRole, with the page's policy."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keyturn.api import (
    Context,
    DiscardRequest,
    NotSent,
    Problem,
    ReadRequest,
    Secret,
    Sink,
    SinkInspectRequest,
    StageRequest,
)
from keyturn.clock import SystemClock
from keyturn.testing.context import FakeContext
from keyturn.testing.proxy import FaultProxy
from keyturn.testing.sink_contract import SinkKit, id_of, number
from keyturn_vault.options import Account, Place
from keyturn_vault.simulator import OpenBao
from keyturn_vault.sink import VaultSink

PAGE = Path(__file__).parents[2] / "docs" / "plugins" / "vault.md"
HCL = re.compile(r"^```hcl\n(?P<policy>.*?)^```$", re.MULTILINE | re.DOTALL)
DIED = 97


def policy_of_the_page() -> str:
    """The one HCL block of the plugin's page."""
    (policy,) = HCL.findall(PAGE.read_text())
    return str(policy)


@dataclass(frozen=True)
class Town:
    """A server with an AppRole role that has the page's policy, and nothing else but the default one."""

    server: OpenBao
    role_id: str

    def secret_id(self) -> str:
        """A new secret id of the role."""
        answer = self.server.call("POST", "auth/approle/role/keyturn/secret-id")
        return str(answer["data"]["secret_id"])


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """One server for the tests of a module."""
    with OpenBao() as server:
        server.call("POST", "sys/auth/approle", {"type": "approle"})
        server.call("POST", "sys/policies/acl/keyturn", {"policy": policy_of_the_page()})
        server.call("POST", "auth/approle/role/keyturn", {"token_policies": ["keyturn"]})
        role = server.call("GET", "auth/approle/role/keyturn/role-id")
        yield Town(server=server, role_id=str(role["data"]["role_id"]))


class VaultContext(FakeContext):
    """A context on real time whose `file:` references are files."""

    def resolve(self, reference: str) -> Secret:
        scheme, _, path = reference.partition(":")
        if scheme == "file" and reference not in self.references:
            try:
                return Secret(Path(path).read_text())
            except OSError:
                raise NotSent(f"{reference} does not resolve", code="reference-unresolved") from None
        return super().resolve(reference)


class OnVault(SinkKit):
    """The contract's vocabulary. Each test has a folder of its own below `team`."""

    town: Town
    prefix: str
    secret_id: str

    @pytest.fixture(autouse=True)
    def _in_town(self, town: Town) -> None:
        self.town = town
        self.prefix = f"team/{secrets.token_hex(6)}"
        self.secret_id = town.secret_id()

    @property
    def server(self) -> OpenBao:
        return self.town.server

    def context(self) -> VaultContext:
        references = {"env:ROLE_ID": self.town.role_id, "env:SECRET_ID": self.secret_id, "env:ROOT": self.server.root}
        return VaultContext(SystemClock(), references=references)

    def with_token(self, token: str, **changes: Any) -> VaultSink:
        """A new instance that is given this token."""
        context = self.context()
        context.references["env:TOKEN"] = token
        return VaultSink(context, self.account(auth={"token": "env:TOKEN"}, **changes))

    def account(self, **changes: Any) -> Account:
        approle = {"approle": {"role_id": "env:ROLE_ID", "secret_id": "env:SECRET_ID"}}
        return Account.model_validate({"url": self.server.url, "auth": approle, **changes})

    def as_root(self, **changes: Any) -> Account:
        """An account that may do all."""
        return self.account(auth={"token": "env:ROOT"}, **changes)

    def make_sink(self, context: Context) -> Sink:
        return VaultSink(context, self.account())

    def make_place(self, name: str) -> Any:
        return Place(path=f"{self.prefix}/{name}")

    def consumed(self, place: str = "place") -> dict[str, str] | None:
        """As consumers read: the newest version, plainly."""
        path = f"kv/data/{self.prefix}/{place}"
        fields: dict[str, str] | None = self.server.call("GET", path)["data"]["data"] if self.exists(path) else None
        return fields

    def exists(self, path: str) -> bool:
        """Whether a GET of this path finds something."""
        return self.server.did("GET", path)

    def metadata(self, place: str = "place") -> Any:
        """The path's metadata, as root sees it."""
        return self.server.call("GET", f"kv/metadata/{self.prefix}/{place}")["data"]

    def patch(self, changes: dict[str, Any], place: str = "place") -> None:
        """Change the path's metadata by hand."""
        self.server.call("PATCH", f"kv/metadata/{self.prefix}/{place}", changes)

    def by_hand(self, data: dict[str, Any], place: str = "place", *, cas: int = 0) -> None:
        """Somebody else writes a value."""
        self.server.call("POST", f"kv/data/{self.prefix}/{place}", {"options": {"cas": cas}, "data": data})

    def looking(self, place: str = "place") -> SinkInspectRequest:
        """The request for a look."""
        return SinkInspectRequest(call=self.call(place))

    def reading(self, place: str = "place") -> ReadRequest:
        """The request for what consumers read."""
        return ReadRequest(call=self.call(place))

    def staging(self, n: int) -> StageRequest:
        """The request for it."""
        return StageRequest(call=self.call(), version=number(n), bundle=self.bundle(n))

    def discarding(self, n: int) -> DiscardRequest:
        """The request for it."""
        return DiscardRequest(call=self.call(), version_id=id_of(n))

    def problems(self, place: str = "place") -> dict[str, Problem]:
        """What a look by root warns of, by code."""
        seen = VaultSink(self.context(), self.as_root()).inspect(self.looking(place))
        return {problem.code: problem for problem in seen.problems}

    def crash(self, point: int, act: Callable[[Sink], object]) -> bool:
        def doomed() -> None:
            sink = self.sink()
            die_at(point)
            act(sink)

        return in_a_child(doomed) == DIED


class BehindProxy(OnVault):
    """The sink behind a proxy, which counts its requests and spoils some."""

    proxy: FaultProxy

    @pytest.fixture(autouse=True)
    def _proxied(self, _in_town: None) -> Iterator[None]:
        with FaultProxy(self.server.url) as self.proxy:
            yield

    def behind(self, **changes: Any) -> VaultSink:
        """A new instance that talks through the proxy, as root."""
        return VaultSink(self.context(), self.as_root(url=self.proxy.url, **changes))

    def sent(self) -> list[str]:
        """Method and path of the requests so far, without the folder of the test."""
        return [f"{one.seen.method} {one.seen.path.replace(self.prefix + '/', '')}" for one in self.proxy.log]


def die_at(point: int) -> None:
    """Die, as by kill -9, before the `point`-th part of a request is sent from now on: its head, or its body."""
    left = iter(range(point))

    def hook(event: str, _: object) -> None:
        if event == "http.client.send" and next(left, None) is None:
            os._exit(DIED)

    sys.addaudithook(hook)


def in_a_child(act: Callable[[], object]) -> int:
    """Run `act` in a process of its own; its exit code, 1 where it raised."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
