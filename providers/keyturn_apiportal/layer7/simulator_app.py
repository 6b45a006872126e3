"""The simulated portal and its proxies over HTTP: what becomes of a request, and the simulator's own pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyturn.simulator import Client, Listener, Way, mangled
from keyturn_apiportal.layer7.simulator_answers import Refusal, Reply, instead
from keyturn_apiportal.layer7.simulator_asked import Asked, again
from keyturn_apiportal.layer7.simulator_faults import spoiled
from keyturn_apiportal.layer7.simulator_proxy import ProxyState
from keyturn_apiportal.layer7.simulator_switches import changed
from keyturn_apiportal.layer7.simulator_world import World

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
MANGLED = ("cut", "bad-length", "bad-utf8")


class Clerk(Protocol):
    """Who knows the calls of one server."""

    def perform(self, asked: Asked, fault: str = "") -> Reply:
        """The answer; it is in the log."""

    def note(self, asked: Asked, status: int, fault: str = "") -> None:
        """Write an attempt into the log that the server itself did not answer."""

    def meddle(self, how: str, asked: Asked) -> None:
        """Somebody else acts on what a request is about."""


class Orders(Protocol):
    """Who the simulator's own pages talk to."""

    def obey(self, orders: dict[str, Any]) -> None:
        """What `/simulator/faults` takes."""

    def act(self, orders: dict[str, Any]) -> dict[str, Any]:
        """What `/simulator/person` takes, and the answer."""

    def accepts(self, proxy: int | str, client_id: str, client_secret: str) -> bool:
        """Whether a proxy takes these credentials now."""


Reader = Callable[[Request, bytes], Asked]
Fate = Callable[[str], str]
"""From the kind of a request to the fault that hits it; empty for none."""


class Server:
    """One listener's application: the portal's, or a proxy's. `pages` are the simulator's own."""

    def __init__(
        self, world: World, clerk: Clerk, read: Reader, fate: Fate, way: Way, pages: list[Route] | None = None
    ) -> None:
        self._world, self._clerk, self._read, self._fate, self._way = world, clerk, read, fate, way
        self.app = Starlette(routes=[*(pages or []), Route("/{path:path}", self._call, methods=METHODS)])

    async def _call(self, request: Request) -> Response:
        asked = self._read(request, await request.body())
        with self._world.lock:
            self._world.tick()
            how = self._fate(asked.on)
        return await self._serve(request, asked, how) if how else self._perform(asked)

    async def _serve(self, request: Request, asked: Asked, how: str) -> Response:
        """Serve a request and spoil it, before or after what it does (contract 7)."""
        name, _, argument = how.partition(":")
        if name == "held":
            await self._way.delay(float(argument))
        if name == "slow":
            answer = self._perform(asked, how)
            await self._way.delay(float(argument))
            return answer
        if name in MANGLED:
            return mangled(self._perform(asked, how), name)
        if name in ("held", "answer", "moved", "x-ca-err"):
            return self._perform(asked, how)
        if name == "replayed" or name.startswith(("elsewhere", "edited", "hashing")):
            return self._meddled(asked, how)
        return await self._lost(request, asked, how)

    async def _lost(self, request: Request, asked: Asked, how: str) -> Response:
        """No answer of the service comes through, whether it did something or not (contract 7.5)."""
        name, _, argument = how.partition(":")
        said = spoiled(how)
        with self._world.lock:
            if name.endswith("-after") or (said and said.after):
                self._perform(asked, how)
            else:
                self._clerk.note(asked, said.status if said else 0, how)
            if name == "late":
                self._world.later(float(argument), lambda: self._clerk.perform(again(asked), how))
        if said:
            return self._response(
                instead(said.status, said.form, self._world.now(), asked.echo if self._world.switches.echo else "")
            )
        hang_s = self._world.switches.hang_s if name.startswith("timeout") else 0.0
        return await self._way.unanswered(request, hang_s=hang_s)

    def _meddled(self, asked: Asked, how: str) -> Response:
        """A library, or somebody else, comes in between (contract 6, 7.7, 7.11)."""
        who, _, when = how.partition("-")
        with self._world.lock:
            if when == "before":
                self._clerk.meddle(who, asked)
            answer = self._perform(asked, how)
            if how == "replayed":
                answer = self._perform(again(asked), how)
            if when == "after":
                self._clerk.meddle(who, asked)
        return answer

    def _perform(self, asked: Asked, fault: str = "") -> Response:
        with self._world.lock:
            self._world.tick()
            return self._response(self._clerk.perform(asked, fault))

    def _response(self, reply: Reply) -> Response:
        """With the server's own Date."""
        headers = {"Date": formatdate(self._world.now(), usegmt=True), **reply.headers}
        return Response(reply.body, reply.status, headers, reply.type)


class Proxy:
    """One proxy, with a port of its own: `stop` takes it down, `start` brings it back on the same port."""

    def __init__(
        self,
        world: World,
        state: ProxyState,
        app: Callable[[Way], Server],
        wait: Callable[[float], object] | None,
        port: int,
    ) -> None:
        self._world, self.state = world, state
        self._listener = Listener(app(Way(self._drop, wait)).app, port, date=False)

    def _drop(self, client: Client) -> None:
        self._listener.drop(client)

    @property
    def name(self) -> str:
        """What the portal calls it."""
        return self.state.name

    @property
    def url(self) -> str:
        """Where it listens; known once started."""
        return self._listener.url

    @property
    def token_url(self) -> str:
        """Its token endpoint."""
        return f"{self.url}/auth/oauth/v2/token"

    @property
    def resource_url(self) -> str:
        """Its protected test API."""
        return f"{self.url}/resource"

    @property
    def tokens(self) -> int:
        """How many of its bearer tokens live."""
        with self._world.lock:
            now = self._world.now()
            return sum(end > now for end in self.state.tokens.values())

    def start(self) -> None:
        """Take connections. What it missed comes as if it was committed now."""
        self._listener.start()
        with self._world.lock:
            if self.state.down_since is not None:
                self.state.returned(self._world.now())

    def stop(self) -> None:
        """Break every connection and take none any more."""
        with self._world.lock:
            if self.state.down_since is None:
                self.state.down_since = self._world.now()
        self._listener.stop()

    def ask_to_stop(self) -> None:
        """Begin to stop."""
        self._listener.ask_to_stop()

    def switch(self, **changes: Any) -> None:
        """Change how it is; see `ProxySwitches`. Raises ValueError."""
        with self._world.lock:
            self.state.switches = changed(self.state.switches, changes)

    def deploy(self) -> None:
        """Somebody pushes every key to it (contract 3: On Demand)."""
        with self._world.lock:
            self.state.deploy(self._world.now())


def pages(world: World, orders: Orders) -> list[Route]:
    """The simulator's own pages, at the portal."""

    async def told(request: Request, order: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Response:
        body = await request.body()
        return await run_in_threadpool(_told, body, order)  # a proxy that is stopped may wait for this thread

    async def faults(request: Request) -> Response:
        """POST {"faults": [...], "switches": {}, "proxies": {NAME: {}}, "hostile": SEED, "clear": true}; or DELETE."""
        if request.method == "DELETE":
            return _told(b'{"clear": true}', orders.obey)
        return await told(request, orders.obey)

    async def person(request: Request) -> Response:
        """POST {"do": "review"|"deploy"|"elsewhere"|"edit", ...}."""
        return await told(request, orders.act)

    async def accepts(request: Request) -> Response:
        """POST {"proxy": 0, "client_id": ..., "client_secret": ...}."""
        return await told(request, lambda asked: {"accepts": orders.accepts(**asked)})

    async def state(_: Request) -> Response:
        with world.lock:
            return JSONResponse(world.state())

    async def log(_: Request) -> Response:
        with world.lock:
            world.tick()
            return JSONResponse(world.log)

    return [
        Route("/simulator/faults", faults, methods=["POST", "DELETE"]),
        Route("/simulator/person", person, methods=["POST"]),
        Route("/simulator/accepts", accepts, methods=["POST"]),
        Route("/simulator/state", state),
        Route("/simulator/log", log),
    ]


def _told(body: bytes, order: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Response:
    """What comes of an order; 400 for one that is not understood."""
    try:
        orders = json.loads(body)
        if not isinstance(orders, dict):
            raise TypeError("expected a JSON object")  # noqa: TRY301 - as for every other order that is none
        answer = order(orders)
    except (ValueError, TypeError, KeyError, IndexError, Refusal) as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse(answer) if answer else Response(status_code=204)
