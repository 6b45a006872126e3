"""AWS Secrets Manager on loopback: a fake that is as strict as AWS says it is, or moto, which lets more pass.

In a process: `with StrictFake() as fake: ...`. From another one: POST to `/simulator/faults`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from keyturn.api import RunningSimulator
from keyturn.simulator import Client, Listener, bound_socket
from keyturn_aws.simulator_app import Service
from keyturn_aws.simulator_faults import Fault, FaultBook, fault_from
from keyturn_aws.simulator_world import World

REGION = "eu-central-1"
ACCOUNT = "aws-local"
LOGIN = ("KEYTURN_AWS_ACCESS_KEY_ID", "KEYTURN_AWS_SECRET_ACCESS_KEY")


class StrictFake:
    """The fake. It can go down and come up again on the same port, and keeps its secrets meanwhile.

    `world` are its secrets, rights and clock, `faults` what is still to go wrong. A `port` of 0 is a free one.
    """

    def __init__(self, *, port: int = 0, region: str = REGION) -> None:
        self.world = World(region)
        self.faults = FaultBook()
        self.access_key_id = self.world.new_access_key()
        self._secret_access_key = secrets.token_urlsafe(30)
        app = Service(self.world, self.faults, self.obey, self._cut).app
        self._listener = Listener(app, port, date=False)

    def start(self) -> None:
        """Listen; returns when connections are taken."""
        self._listener.start()

    def stop(self) -> None:
        """Stop listening and end what is under way."""
        self._listener.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # what it is

    @property
    def url(self) -> str:
        """The endpoint; known once started."""
        return self._listener.url

    @property
    def urls(self) -> list[str]:
        """The endpoint, in a list."""
        return [self.url]

    @property
    def log(self) -> list[dict[str, Any]]:
        """The calls in order: operation, name, token, stages, versions, outcome, fault. Never a value."""
        return self.world.seen()

    @property
    def environment(self) -> dict[str, str]:
        """What the references in `configuration` resolve to."""
        return dict(zip(LOGIN, (self.access_key_id, self._secret_access_key), strict=True))

    @property
    def initial(self) -> dict[str, dict[str, Any]]:
        """Nothing is in use already."""
        return {}

    def configuration(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - other simulators put files there
        """The `sinks` of a configuration."""
        return _configuration(self.world.region, self.url)

    # what it is told

    def fault(self, on: str, how: str, **more: Any) -> None:
        """Spoil the next calls of this kind; see `simulator_faults.Fault`."""
        self.faults.add(Fault(on=on, how=how, **more), self.world.now())

    def obey(self, orders: Mapping[str, Any]) -> None:
        """Orders as `/simulator/faults` takes them. Raises ValueError.

        `faults`: a list of `simulator_faults.Fault`; `clear` them; `release` what hangs; `switches` as in
        `simulator_world.Switches`; `advance_s` the clock; `allow`: by access key the actions, or null for all;
        `facts`: by secret further fields of DescribeSecret.
        """
        known = {"faults", "clear", "release", "switches", "advance_s", "allow", "facts"}
        if set(orders) - known:
            message = f"expected orders: {', '.join(sorted(known))}"
            raise ValueError(message)
        planned = [fault_from(each) for each in orders.get("faults", [])]
        self.world.switch(orders.get("switches", {}))
        self.world.advance(float(orders.get("advance_s", 0.0)))
        if orders.get("clear"):
            self.faults.clear()
        if orders.get("release"):
            self.faults.release()
        for access_key, actions in orders.get("allow", {}).items():
            self.world.allow(access_key, actions)
        for name, facts in orders.get("facts", {}).items():
            self.world.mark(name, facts)
        for fault in planned:
            self.faults.add(fault, self.world.now())

    def _cut(self, client: Client) -> None:
        self._listener.drop(client)


class MotoServer:
    """A moto server in a thread. Its secrets are the process' own and outlive it."""

    def __init__(self, *, port: int = 0) -> None:
        from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow, and only who asks for it needs it

        # It prints a line for every call otherwise.
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._make = ThreadedMotoServer
        self._server: ThreadedMotoServer | None = None
        self._port = port

    def start(self) -> None:
        """Listen; returns when connections are taken."""
        if self._server:
            return
        # moto waits for ever where the port is taken: better an error here.
        bound_socket(self._port).close()
        self._server = self._make(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()
        self._port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.stop()
        self._server = None

    @property
    def urls(self) -> list[str]:
        """The endpoint; known once started."""
        return [f"http://127.0.0.1:{self._port}"]

    @property
    def environment(self) -> dict[str, str]:
        """Made up: moto lets everybody in."""
        return dict.fromkeys(LOGIN, "anything")

    @property
    def initial(self) -> dict[str, dict[str, Any]]:
        """Nothing is in use already."""
        return {}

    def configuration(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - other simulators put files there
        """The `sinks` of a configuration."""
        return _configuration(REGION, self.urls[0])


def _configuration(region: str, url: str) -> dict[str, Any]:
    login = {"access_key_id": f"env:{LOGIN[0]}", "secret_access_key": f"env:{LOGIN[1]}"}
    return {"sinks": {ACCOUNT: {"kind": "aws", "region": region, "endpoint": url, **login}}}


def simulator(options: Mapping[str, str]) -> RunningSimulator:
    """The one that the options ask for, not started: `server` (strict, or moto) and `port` (a free one).

    Raises ValueError for other options, ImportError where moto is asked for and not installed.
    """
    server = options.get("server", "strict")
    if set(options) - {"server", "port"} or server not in ("strict", "moto"):
        message = "expected the options port and server, which is strict or moto"
        raise ValueError(message)
    port = int(options.get("port", "0"))
    return MotoServer(port=port) if server == "moto" else StrictFake(port=port)
