"""A simulated Circle on loopback: a real HTTP server with a Console, that keeps state and misbehaves when told.

In a process: `with Simulator() as sim: ...`. From another one: POST to `/simulator/faults`; the Console is `/console`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from keyturn.simulator import Client, Listener, Way
from keyturn.simulator_faults import FaultBook
from keyturn_circle.simulator_answers import Refusal
from keyturn_circle.simulator_app import Server
from keyturn_circle.simulator_calls import ApiKey
from keyturn_circle.simulator_cipher import made_key, sealed
from keyturn_circle.simulator_faults import RULES
from keyturn_circle.simulator_world import Entity, Generation, Log, Sender, World, made_entity, made_hex

SECRET = "payments/circle-entity"  # noqa: S105 - a secret's name
API_KEY = "TEST_API_KEY:0a1b2c3d4e5f:51d0a7ed01"
LIVE_API_KEY = "LIVE_API_KEY:0a1b2c3d4e5f:51d0a7ed02"
NEIGHBOUR_API_KEY = "TEST_API_KEY:5f4e3d2c1b0a:51d0a7ed03"
LIMITED_API_KEY = "TEST_API_KEY:0a1b2c3d4e5f:51d0a7ed04"
"""Without the rights to developer-controlled wallets (contract 8.13: 403, code 3)."""
OPTIONS: Mapping[str, Sequence[str]] = {
    "way": ("console", "api"),
    "environment": ("test", "live"),
    "registered": ("yes", "no"),
}
"""The words of the text options; the first is the usual one."""
PORT_MAX = 65_535
ORDERS: Mapping[str, tuple[type, ...]] = {
    "faults": (list,),
    "switches": (dict,),
    "hostile": (int, type(None)),
    "clear": (bool,),
}
"""What `/simulator/faults` takes, as JSON has it."""


class Simulator:
    """One account with its two environments, and a neighbour. `environment` says which one it is about.

    `initial` is the secret to adopt, `canary` a wallet to ask with. With `registered=False` there is no secret yet, and
    the wallet can be used once there is one (the real Circle makes wallets then only). All times come from `now` (epoch
    seconds); with a driven clock give `wait` too: slow answers and time-outs then let its time pass, and take none of
    the test's. `way` is what `configuration` says; `key_bits` the size of the server's key, which takes a second or
    more to make, once in a process.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        now: Callable[[], float] | None = None,
        wait: Callable[[float], object] | None = None,
        environment: str = "test",
        registered: bool = True,
        way: str = "console",
        key_bits: int = 4096,
    ) -> None:
        clock = now or (lambda: datetime.now(UTC).timestamp())
        self.name, self.way, self._bits = environment, way, key_bits
        self.canary = str(uuid.uuid4())
        entities = {
            name: made_entity(
                name,
                str(uuid.uuid4()),
                clock(),
                registered=registered and name == environment,
                canary=self.canary if name == environment else "",
            )
            for name in ("test", "live")
        }
        entities["neighbour"] = made_entity(
            "test", str(uuid.uuid4()), clock(), registered=True, canary=str(uuid.uuid4())
        )
        entities["live"].app_id = entities["test"].app_id
        self.world = World(clock, made_key(key_bits), entities)
        self.world.switch({"rest": "on" if way == "api" else "off"})
        self.book = FaultBook(RULES)
        first = self.entity.current
        self._first = None if first is None else {"entity_secret": first.value, "recovery_file": first.file}
        keys = {
            API_KEY: ApiKey(entity="test"),
            LIVE_API_KEY: ApiKey(entity="live"),
            NEIGHBOUR_API_KEY: ApiKey(entity="neighbour"),
            LIMITED_API_KEY: ApiKey(entity="test", whole=False),
        }
        server = Server(self.world, self.book, self, keys, Way(self._drop, wait))
        self._listener = Listener(server.app, port, date=False)

    def start(self) -> None:
        """Take connections; the same port each time."""
        self._listener.start()

    def stop(self) -> None:
        """Break every connection and take none any more."""
        self._listener.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _drop(self, client: Client) -> None:
        self._listener.drop(client)

    # what it is

    @property
    def url(self) -> str:
        """What the option `base_url` takes."""
        return self._listener.url

    @property
    def urls(self) -> list[str]:
        """Where it listens; known once started. The simulator's own pages are there too, under `/simulator`."""
        return [self.url]

    @property
    def console_url(self) -> str:
        """The Console, for a browser."""
        return f"{self.url}/console"

    @property
    def api_key(self) -> str:
        """The API key of the environment that this is about."""
        return {"test": API_KEY, "live": LIVE_API_KEY}[self.name]

    @property
    def live_api_key(self) -> str:
        """The API key of the live environment."""
        return LIVE_API_KEY

    @property
    def entity(self) -> Entity:
        """The registration that this is about, as it is now."""
        with self.world.lock:
            self.world.tick()
            return self.world.entities[self.name]

    @property
    def environment(self) -> dict[str, str]:
        """What the references in `configuration` resolve to."""
        return {"CIRCLE_API_KEY": self.api_key}

    @property
    def initial(self) -> dict[str, dict[str, Any]]:
        """The secret that is registered already, with its recovery file, to be adopted."""
        return {SECRET: {"handle": self.entity.app_id, "bundle": self._first}} if self._first else {}

    def configuration(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - other vendors put files there
        """The `providers` and `secrets` of a configuration, with short delays; the sinks are the caller's."""
        short = {"activation": "5s", "settle": "2s", "key_bits": str(self._bits)}
        key = {"environment": self.name, "api_key": "env:CIRCLE_API_KEY", "base_url": self.url}
        secret: dict[str, Any] = {
            "provider": "circle",
            "target": {"canary_wallet": self.canary} if self._first else {},
            "overlap": {"strategy": "cutover", "accept_outage": "5s"},
        }
        return {
            "providers": {"circle": {"kind": "circle", **key, "way": self.way, **short}},
            "secrets": {SECRET: secret},
        }

    @property
    def notes(self) -> list[str]:
        """What to do with it, for people."""
        attend = f"; then keyturn resume {SECRET} --attend, and paste what it shows into the Console"
        fault = """{"faults": [{"on": "sign", "how": "502:html"}]}"""
        return [
            f"the Console is at {self.console_url}",
            f"to rotate: keyturn rotate {SECRET}{attend if self.way == 'console' else ''}",
            f"to make it fail: curl {self.url}/simulator/faults -d '{fault}'",
            f"what it saw: curl {self.url}/simulator/log",
        ]

    @property
    def log(self) -> Log:
        """In order: every `attempt` (on, by, request, status, code, fault), and every `commit` (on, by, request).

        Secrets and files are there as fingerprints, ciphertexts by their sha256.
        """
        with self.world.lock:
            self.world.tick()
            return Log(dict(entry) for entry in self.world.log)

    @property
    def commit_times(self) -> list[float]:
        """When each change took effect, by the simulator's clock."""
        return [entry["at"] for entry in self.log if entry["event"] == "commit"]

    @property
    def secret(self) -> str:
        """The secret in force, whoever set it; empty where there is none."""
        return self._current.value if self._current else ""

    @property
    def recovery_file(self) -> str:
        """The recovery file in force."""
        return self._current.file if self._current else ""

    @property
    def neighbour(self) -> str:
        """Another entity's secret, which nobody here may change."""
        current = self.world.entities["neighbour"].current
        return current.value if current else ""

    @property
    def _current(self) -> Generation | None:
        with self.world.lock:
            self.world.tick()
            return self.entity.current

    def accepts(self, bundle: Mapping[str, str]) -> bool:
        """Whether this bundle's secret is accepted now."""
        with self.world.lock:
            self.world.tick()
            return self.world.accepts(bundle, self.name)

    def recovery_file_is(self, text: str) -> bool:
        """Whether this is the recovery file in force."""
        return bool(text) and text == self.recovery_file

    # what a person does in the Console

    def console_register(self, ciphertext: str) -> str:
        """Set the first secret; the recovery file. Raises Refusal."""
        return self._in_console("register", (ciphertext,), lambda by: self.world.register(self.entity, ciphertext, by))

    def console_rotate(self, current_ciphertext: str, new_ciphertext: str) -> str:
        """Replace the secret with the one in force; the renewed recovery file. Raises Refusal."""
        pair = (current_ciphertext, new_ciphertext)
        return self._in_console("rotate", pair, lambda by: self.world.rotate(self.entity, *pair, by))

    def console_reset(self, file: str, new_ciphertext: str) -> str:
        """Replace the secret with the recovery file in force; the renewed one. Raises Refusal."""
        return self._in_console(
            "reset", (new_ciphertext,), lambda by: self.world.reset(self.entity, file, new_ciphertext, by)
        )

    def console_elsewhere(self) -> str:
        """Somebody else sets a secret of his own, which he keeps (contract 8.6); that secret."""
        made = made_hex()
        on = "rotate" if self._current else "register"
        self._in_console(on, (), lambda by: self.world.commit(on, self.entity, made, by))
        return made

    def _in_console(self, on: str, ciphertexts: Sequence[str], act: Callable[[Sender], str]) -> str:
        with self.world.lock:
            self.world.tick()
            sender = Sender(by="console", reused=self.world.arrive(ciphertexts))
            status, code = 200, None
            try:
                return act(sender)
            except Refusal as refusal:
                status, code = refusal.status, refusal.code
                raise
            finally:
                self.world.attempt(sender, ciphertexts, on=on, status=status, code=code)

    # what it is told

    def seal(self, secret: str) -> str:
        """A fresh ciphertext of a secret, as a careful client makes it."""
        return sealed(self.world.key, secret)

    def fault(self, on: str, how: str, *, times: int = 1, skip: int = 0) -> None:
        """Spoil the next requests of this kind; see `simulator_faults`."""
        with self.world.lock:
            self.book.add(on=on, how=how, times=times, skip=skip)

    def switch(self, **changes: Any) -> None:
        """Change how the service is; see `simulator_switches`."""
        self.obey({"switches": changes})

    def obey(self, orders: dict[str, Any]) -> None:
        """Orders as `/simulator/faults` takes them: faults, switches, hostile, clear.

        Raises ValueError or TypeError, and then nothing has changed.
        """
        if [name for name, value in orders.items() if not isinstance(value, ORDERS.get(name, ()))]:
            message = "expected the orders faults (a list), switches (by name), hostile (a number, or null), clear"
            raise ValueError(message)
        faults = [self.book.understood(each) for each in orders.get("faults", [])]
        with self.world.lock:
            self.world.tick()
            self.world.switch(orders.get("switches", {}))
            if orders.get("clear"):
                self.book.clear()
            self.book.faults.extend(faults)
            if "hostile" in orders:
                self.book.hostile(orders["hostile"])


def _takes(name: str, text: str) -> bool:
    return (text.isdecimal() and int(text) <= PORT_MAX) if name == "port" else text in OPTIONS.get(name, ())


def simulator(options: Mapping[str, str]) -> Simulator:
    """A simulator from text options: `port` (a free one), `way` (console), `environment` (test), `registered` (yes).

    Raises ValueError for others.
    """
    wrong = [name for name, text in options.items() if not _takes(name, text)]
    if wrong:
        expected = "; ".join(f"{name} {' or '.join(choices)}" for name, choices in OPTIONS.items())
        message = f"expected the options port, {expected}; found {', '.join(sorted(wrong))}"
        raise ValueError(message)
    said = {"port": "0", **{name: choices[0] for name, choices in OPTIONS.items()}, **options}
    return Simulator(
        port=int(said["port"]),
        way=said["way"],
        environment=said["environment"],
        registered=said["registered"] == "yes",
    )
