"""A simulated API portal with its proxies on loopback: real HTTP servers that keep state, and misbehave when told.

In a process: `with Simulator() as sim: ...`. From another one: POST to `/simulator/faults` and `/simulator/person`.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from starlette.requests import Request

from keyturn.simulator import Client, Listener, Way
from keyturn.simulator_faults import FaultBook
from keyturn_apiportal.layer7.simulator_app import Proxy, Server, pages
from keyturn_apiportal.layer7.simulator_asked import Asked, asked_of
from keyturn_apiportal.layer7.simulator_faults import RULES
from keyturn_apiportal.layer7.simulator_gate import Gate, asked_of_proxy
from keyturn_apiportal.layer7.simulator_orders import follow
from keyturn_apiportal.layer7.simulator_papi import Papi
from keyturn_apiportal.layer7.simulator_proxy import ProxyState, digest_of
from keyturn_apiportal.layer7.simulator_world import (
    SCOPE,
    TENANT,
    Application,
    Key,
    Log,
    World,
    made_api_key,
    made_secret,
)

SECRET = "partners/portal-key"  # noqa: S105 - a secret's name
CLIENT = "keyturn-papi"
PROXIES_MAX = 9
PORT_MAX = 65_535
WAYS = {"second-key": "5.2.1+", "patch": "5.2.1+", "put": "5.1", "legacy": "4.5"}
"""The ways, and a version of the portal that has each (contract 2)."""


class Simulator:
    """One portal and its proxies. There is one application, whose default key is the secret to adopt.

    `hashed`: whether its secret is. All times come from `now` (epoch seconds); with a driven clock give `wait` too:
    slow answers and time-outs then let its time pass, and take none of the test's. With `port` the portal listens
    there and the proxies on the ports that follow. `way` is what `configuration` says.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        now: Callable[[], float] | None = None,
        wait: Callable[[float], object] | None = None,
        proxies: int = 3,
        hashed: bool = False,
        way: str = "second-key",
    ) -> None:
        clock = now or (lambda: datetime.now(UTC).timestamp())
        self.way = way
        self.world = World(clock, [f"gw{n + 1}" for n in range(proxies)], (CLIENT, secrets.token_urlsafe(24)))
        self.book = FaultBook(RULES)
        self.application = self.add_application("batch")
        self.api_key, self.secret = self.add_key(self.application, hashed=hashed)
        self._listener = Listener(self._portal(Way(self._drop, wait)).app, port, date=False)
        self.proxies = [
            Proxy(self.world, state, self._proxy(index, state), wait, port + index + 1 if port else 0)
            for index, state in enumerate(self.world.proxies)
        ]

    def _portal(self, way: Way) -> Server:
        def read(request: Request, body: bytes) -> Asked:
            return asked_of(request.method, request.scope["path"], request.query_params, request.headers, body)

        return Server(self.world, Papi(self.world), read, self._fate, way, pages(self.world, self))

    def _proxy(self, index: int, state: ProxyState) -> Callable[[Way], Server]:
        def read(request: Request, body: bytes) -> Asked:
            return asked_of_proxy(request.method, request.scope["path"], request.headers, body)

        def fate(on: str) -> str:
            return self.book.next_for(on, index) or state.switches.trouble

        return lambda way: Server(self.world, Gate(self.world, state), read, fate, way)

    def _fate(self, on: str) -> str:
        switches = self.world.switches
        return self.book.next_for(on) or switches.trouble or (f"slow:{switches.slow_s}" if switches.slow_s else "")

    def _drop(self, client: Client) -> None:
        self._listener.drop(client)

    def start(self) -> None:
        """Take connections, the portal and every proxy; the same ports each time."""
        self._listener.start()
        for proxy in self.proxies:
            proxy.start()

    def stop(self) -> None:
        """Break every connection and take none any more."""
        for proxy in self.proxies:
            proxy.ask_to_stop()
        self._listener.stop()
        for proxy in self.proxies:
            proxy.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # what it is

    @property
    def url(self) -> str:
        """What the option `url` takes."""
        return self._listener.url

    @property
    def urls(self) -> list[str]:
        """The portal's, then its proxies'. The simulator's own pages are at the portal, under `/simulator`."""
        return [self.url, *(proxy.url for proxy in self.proxies)]

    @property
    def tenant(self) -> str:
        """What the option `tenant` takes."""
        return TENANT

    @property
    def environment(self) -> dict[str, str]:
        """What the references in `configuration` resolve to."""
        client_id, client_secret = self.world.login
        return {"PAPI_ID": client_id, "PAPI_SECRET": client_secret}

    @property
    def initial(self) -> dict[str, dict[str, Any]]:
        """The key that is in use already, to be adopted; in place it is found by its value."""
        bundle = {"client_id": self.api_key, "client_secret": self.secret}
        return {SECRET: {"bundle": bundle, **({"handle": self.api_key} if self.way == "second-key" else {})}}

    def configuration(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - other vendors put files there
        """The `providers` and `secrets` of a configuration, with short delays; the sinks are the caller's."""
        short = {"sync": "10s", "settle": "2s", "settle_every": "200ms", "token_life": "0s", "watch": "2s"}
        account = {
            "kind": "apiportal",
            "url": self.url,
            "tenant": self.tenant,
            "client_id": "env:PAPI_ID",
            "client_secret": "env:PAPI_SECRET",
            "proxies": [{"url": proxy.url, "name": proxy.name} for proxy in self.proxies],
            **short,
        }
        secret: dict[str, Any] = {
            "provider": "portal",
            "target": {"application": self.application, "api_key": self.api_key, "way": self.way},
        }
        if self.way != "second-key":
            secret["overlap"] = {"strategy": "cutover", "accept_outage": "30s"}
        return {"providers": {"portal": account}, "secrets": {SECRET: secret}}

    @property
    def notes(self) -> list[str]:
        """What to do with it, for people."""
        fault = """{"faults": [{"on": "patch", "how": "reset-after"}]}"""
        down = """{"proxies": {"gw2": {"down": true}}}"""
        return [
            f"to make it fail: curl {self.url}/simulator/faults -d '{fault}'",
            f"to take a proxy down: curl {self.url}/simulator/faults -d '{down}'",
            f"what it saw: curl {self.url}/simulator/log",
        ]

    # what it saw and knows

    @property
    def log(self) -> Log:
        """In order: each `attempt` (on, by, key, proxy, status, fault), `request`, `review`, `commit` (on, by, key)."""
        with self.world.lock:
            self.world.tick()
            return Log(dict(entry) for entry in self.world.log)

    @property
    def patches(self) -> int:
        """How many PATCHes reached the portal, committed or not."""
        return len(self.log.attempts("patch"))

    @property
    def commit_times(self) -> list[float]:
        """When each change took effect at the portal, by the simulator's clock."""
        return [entry["at"] for entry in self.log.commits()]

    def accepts(self, proxy: int | str, client_id: str, client_secret: str) -> bool:
        """Whether this proxy (its number, name or URL) takes these credentials now."""
        with self.world.lock:
            self.world.tick()
            return self.proxy(proxy).state.accepts(client_id, client_secret, self.world.now())

    def portal_accepts(self, client_id: str, client_secret: str) -> bool:
        """Whether these are a live key and its secret at the portal, whatever its proxies know."""
        with self.world.lock:
            self.world.tick()
            found = self.world.keys.get(client_id)
            return bool(found and found.status == "ENABLED" and found.digest == digest_of(client_secret))

    def portal_secret(self, key: str = "") -> str | None:
        """The secret that the portal holds in plain text; None where it is hashed, or there is no such key."""
        found = self.key(key)
        return found.plain if found else None

    def key(self, key: str = "") -> Key | None:
        """A key as it is at the portal; the first one without a name."""
        with self.world.lock:
            self.world.tick()
            return self.world.keys.get(key or self.api_key)

    @property
    def keys(self) -> list[str]:
        """The keys of the first application at the portal, oldest first."""
        with self.world.lock:
            self.world.tick()
            return [one.api_key for one in self.world.keys_of(self.application)]

    @property
    def pending(self) -> list[str]:
        """The requests that wait for an approval."""
        with self.world.lock:
            self.world.tick()
            return [one.uuid for one in self.world.reviews]

    def proxy(self, which: int | str) -> Proxy:
        """A proxy by its number, name or URL. Raises KeyError, IndexError."""
        if isinstance(which, int):
            return self.proxies[which]
        return {name: one for one in self.proxies for name in (one.name, one.url)}[which]

    # what other people do

    def add_application(self, name: str) -> str:
        """An application more; its UUID."""
        with self.world.lock:
            now = round(self.world.now() * 1000)
            made = Application(uuid=str(uuid.uuid4()), name=name, created=now, modified=now)
            self.world.applications[made.uuid] = made
            return made.uuid

    def add_key(
        self, application: str = "", *, name: str = "batch", hashed: bool = False, **fields: Any
    ) -> tuple[str, str]:
        """A key more, which every proxy has already; its id and secret. The first of an application is its default.

        `fields` are those of `Key`: status, auth_method, oauth_type, oauth_scope.
        """
        with self.world.lock:
            application, secret, now = application or self.application, made_secret(), round(self.world.now() * 1000)
            made = Key(
                api_key=made_api_key(),
                application=application,
                name=name,
                digest=digest_of(secret),
                plain=None if hashed else secret,
                default=not self.world.keys_of(application),
                **{"created": now, "modified": now, "oauth_scope": SCOPE, **fields},
            )
            self.world.keys[made.api_key] = made
            self.world.commit("added", made, "person", moves_time=False, known=True)
            return made.api_key, secret

    def change(self, key: str = "", **fields: Any) -> None:
        """A person changes fields of a key (those of `Key`); its proxies hear of it. Raises KeyError."""
        with self.world.lock:
            self.world.tick()
            found = self.world.keys[key or self.api_key]
            for name, value in fields.items():
                setattr(found, name, value)
            self.world.commit("change", found, "person")

    def elsewhere(self, key: str = "") -> str:
        """Somebody regenerates the secret in the portal (contract 7.11); his secret. Raises KeyError."""
        with self.world.lock:
            self.world.tick()
            return self.world.meddle("elsewhere", self.world.keys[key or self.api_key])

    def edit(self, key: str = "") -> None:
        """Somebody edits the key, and only `modifyTs` moves (contract 7.11). Raises KeyError."""
        with self.world.lock:
            self.world.tick()
            self.world.meddle("edited", self.world.keys[key or self.api_key])

    def review(self, action: str, *, by: str = "person") -> int:
        """`accept` or `reject` every pending request; how many there were. Raises ValueError."""
        if action not in ("accept", "reject"):
            raise ValueError("expected accept or reject")
        with self.world.lock:
            self.world.tick()
            pending = [one.uuid for one in self.world.reviews]
            for one in pending:
                self.world.review(one, accept=action == "accept", by=by)
            return len(pending)

    def deploy(self, proxy: int | str) -> None:
        """Somebody pushes every key to one proxy (contract 3). Raises KeyError, IndexError."""
        self.proxy(proxy).deploy()

    # what it is told

    def fault(self, on: str, how: str, *, times: int = 1, skip: int = 0, server: int | None = None) -> None:
        """Spoil the next requests of this kind, at one proxy or anywhere; see `simulator_faults`. Raises ValueError."""
        with self.world.lock:
            self.book.add(on=on, how=how, times=times, skip=skip, server=server)

    def switch(self, **changes: Any) -> None:
        """Change how the portal is; see `simulator_switches`. Raises ValueError."""
        self.obey({"switches": changes})

    def expire_tokens(self) -> None:
        """No token of PAPI is good any more (contract 7.1)."""
        self.obey({"revoke": "tokens"})

    def obey(self, orders: dict[str, Any]) -> None:
        """Orders as `/simulator/faults` takes them: faults, switches, proxies, hostile, revoke, clear.

        `proxies` has switches by name, and `down`; `revoke` is `tokens`. Raises ValueError or TypeError, and then
        nothing has changed.
        """
        follow(orders, self.world, self.book, {one.name: one for one in self.proxies})

    def act(self, orders: dict[str, Any]) -> dict[str, Any]:
        """What a person does, as `/simulator/person` takes it: `do` is review, deploy, elsewhere or edit.

        With `action`, `proxy` or `key`. Raises ValueError, KeyError, IndexError.
        """
        key = orders.get("key", "")
        match orders.get("do"):
            case "review":
                return {"reviewed": self.review(orders["action"])}
            case "deploy":
                self.deploy(orders["proxy"])
                return {}
            case "elsewhere":
                return {"client_secret": self.elsewhere(key)}
            case "edit":
                self.edit(key)
                return {}
        raise ValueError("expected do: review, deploy, elsewhere or edit")


def simulator(options: Mapping[str, str]) -> Simulator:
    """A simulator from text options: `port` (a free one), `proxies` (3), `hashed` (no), `way` (second-key).

    The portal is of a version that has the way. Raises ValueError for others.
    """
    said = {"port": "0", "proxies": "3", "hashed": "no", "way": "second-key", **options}
    numbers = said["port"].isdecimal() and said["proxies"].isdecimal()
    fits = numbers and int(said["port"]) <= PORT_MAX and 1 <= int(said["proxies"]) <= PROXIES_MAX
    if len(said) > 4 or not fits or said["hashed"] not in ("yes", "no") or said["way"] not in WAYS:
        message = f"expected the options port, proxies from 1 to {PROXIES_MAX}, hashed yes or no, way {', '.join(WAYS)}"
        raise ValueError(message)
    made = Simulator(
        port=int(said["port"]), proxies=int(said["proxies"]), hashed=said["hashed"] == "yes", way=said["way"]
    )
    made.switch(version=WAYS[said["way"]])
    return made
