"""A simulated PingAuthorize cluster on loopback: real HTTP servers that share one topology, and misbehave when told.

In a process: `with Simulator(servers=2) as sim: ...`. From another one: POST to `/simulator/faults` of any server.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from keyturn.simulator import Listener, Servers
from keyturn.simulator_faults import Fault, FaultBook
from keyturn_pingauthorize.simulator_app import Server
from keyturn_pingauthorize.simulator_config import ConfigurationApi
from keyturn_pingauthorize.simulator_faults import RULES
from keyturn_pingauthorize.simulator_world import Member, World

SECRET = "gateway/sideband"  # noqa: S105 - a secret's name
FIRST = "kong-20260101-9f3c"


class Simulator(Servers):
    """A cluster of `servers` members whose extension lists one secret, already known to a gateway.

    `urls` are what the option `servers` takes; `initial` the handle and value to adopt; `environment` what the
    references in `configuration` need. Ports count up from `port`, or are free ones.
    """

    def __init__(self, *, servers: int = 2, port: int = 0, tls: tuple[Path, Path] | None = None) -> None:
        self._user, self._password = "cn=rotator", secrets.token_urlsafe(16)
        self._first_value = secrets.token_hex(24)
        self._tls = tls
        self.world = World([Member(names=[FIRST]) for _ in range(servers)])
        self.world.create(FIRST, self._first_value)
        self.book = FaultBook(RULES)
        super().__init__(
            [Listener(self._app(index), port + index if port else 0, tls=tls) for index in range(servers)],
            lambda: self.world.switches.server_down,
        )

    def _app(self, index: int) -> Starlette:
        api = ConfigurationApi(self.world, index, user=self._user, password=self._password)
        return Server(self.world, index, self.book, api, self.obey).app

    # what it is

    @property
    def log(self) -> list[dict[str, Any]]:
        """The mutating requests in order: server, on, name, status, and a value's fingerprint."""
        with self.world.lock:
            return list(self.world.log)

    @property
    def environment(self) -> dict[str, str]:
        """What the references in `configuration` resolve to."""
        return {"PAZ_USER": self._user, "PAZ_PASSWORD": self._password}

    @property
    def initial(self) -> dict[str, dict[str, Any]]:
        """By secret name: the handle and the bundle a gateway uses already, to be adopted."""
        return {SECRET: {"handle": FIRST, "bundle": {"shared_secret": self._first_value}}}

    def configuration(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - other vendors put files there
        """The `providers` and `secrets` of a configuration, with short delays; the sinks are the caller's."""
        short = {"mirror_timeout": "5s", "poll": "50ms", "settle": "1s", "activation": "5s", "revocation": "5s"}
        login = {"username": "env:PAZ_USER", "password": "env:PAZ_PASSWORD"}
        account = {"kind": "pingauthorize", "servers": self.urls, **login, **short}
        if self._tls:
            account["ca"] = str(self._tls[0])
        return {
            "providers": {"paz": account},
            "secrets": {SECRET: {"provider": "paz", "target": {"name_prefix": "kong"}}},
        }

    def accepts(self, url: str, value: str) -> bool:
        """Whether this server's Sideband API accepts this value now."""
        with self.world.lock:
            return self.world.accepts(self.urls.index(url), value)

    # what it is told

    def fault(self, on: str, how: str, *, server: int | None = None, times: int = 1, skip: int = 0) -> None:
        """Spoil the next requests of this kind; see `simulator_faults`."""
        with self.world.lock:
            self.book.add(on=on, how=how, server=server, times=times, skip=skip)

    def switch(self, **changes: Any) -> None:
        """Change how the cluster is; see `simulator_world.Switches`."""
        self.obey({"switches": changes})

    def obey(self, orders: dict[str, Any], asked_at: int | None = None) -> None:
        """Orders as `/simulator/faults` takes them. Raises ValueError, and then nothing has changed.

        A server can not be switched off through itself (`asked_at`).
        """
        known = {"faults", "switches", "hostile", "lists", "headers", "restart", "clear"}
        down = orders.get("switches", {}).get("server_down", [])
        if set(orders) - known or asked_at in down:
            message = f"expected orders: {', '.join(sorted(known))}; ask another server to switch one off"
            raise ValueError(message)
        faults = [self.book.understood(each) for each in orders.get("faults", [])]
        with self.world.lock:
            self._change_world(orders, faults)
        self.follow_switches()

    def _change_world(self, orders: Mapping[str, Any], faults: Sequence[Fault]) -> None:
        self.world.switch(orders.get("switches", {}))
        if orders.get("clear"):
            self.book.clear()
        self.book.faults.extend(faults)
        if "hostile" in orders:
            self.book.hostile(orders["hostile"])
        for index, names in orders.get("lists", {}).items():
            # Contract 10.11: drift, or a server restored from an old backup.
            self.world.members[int(index)].names = list(names)
            self.world.restart(int(index))
        for index, header in orders.get("headers", {}).items():
            self.world.members[int(index)].header = header
        for index in orders.get("restart", []):
            self.world.restart(index)


def simulator(options: Mapping[str, str]) -> Simulator:
    """A simulator from text options: `servers` (2) and `port` (free ones). Raises ValueError for others."""
    unknown = set(options) - {"servers", "port"}
    if unknown:
        message = f"expected the options servers and port, found {', '.join(sorted(unknown))}"
        raise ValueError(message)
    return Simulator(servers=int(options.get("servers", "2")), port=int(options.get("port", "0")))
