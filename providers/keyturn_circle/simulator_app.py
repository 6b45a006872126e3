"""The simulated Circle over HTTP: its calls, what a proxy makes of them, the Console, and the simulator's own pages."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import formatdate
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyturn.simulator import Way, mangled
from keyturn.simulator_faults import FaultBook, spoiled
from keyturn_circle.simulator_answers import Reply, instead
from keyturn_circle.simulator_calls import ApiKey, Asked, Calls, as_told, kind_of
from keyturn_circle.simulator_console import Clerk, Console
from keyturn_circle.simulator_faults import RULES, code_of
from keyturn_circle.simulator_world import World

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Orders(Clerk, Protocol):
    """Who the Console and the simulator's own pages talk to."""

    def obey(self, orders: dict[str, Any]) -> None:
        """What `/simulator/faults` takes."""

    def accepts(self, bundle: Mapping[str, str]) -> bool:
        """Whether this bundle's secret is accepted now."""

    def recovery_file_is(self, text: str) -> bool:
        """Whether this is the recovery file in force."""

    def console_elsewhere(self) -> str:
        """Somebody else rotates to a secret of his own; that secret."""


class Server:
    """The application."""

    def __init__(
        self,
        world: World,
        book: FaultBook,
        orders: Orders,
        keys: Mapping[str, ApiKey],
        way: Way,
    ) -> None:
        self._world, self._book, self._orders, self._way = world, book, orders, way
        self._calls = Calls(world, keys)
        self.app = Starlette(
            routes=[
                *Console(orders).routes(),
                Route("/simulator/faults", self._faults, methods=["POST", "DELETE"]),
                Route("/simulator/elsewhere", self._elsewhere, methods=["POST"]),
                Route("/simulator/accepts", self._accepts, methods=["POST"]),
                Route("/simulator/state", self._state),
                Route("/simulator/log", self._log),
                Route("/{path:path}", self._call, methods=METHODS),
            ]
        )

    async def _call(self, request: Request) -> Response:
        body = await request.body()
        with self._world.lock:
            self._world.tick()
            on, closed = kind_of(request.method, request.url.path, self._world.switches)
            asked = self._arrived(Asked(on=on, path=request.url.path, headers=request.headers, body=body))
            standing = self._world.standing(on)
            how = self._book.next_for(on) or standing
        return await self._serve(request, asked, closed, how) if how else self._perform(asked, closed)

    def _arrived(self, asked: Asked, *, repeated: bool = False) -> Asked:
        """With the ciphertexts in it that came before: they are spent from now on, whatever becomes of the request."""
        reused = self._world.arrive(asked.ciphertexts(self._world.switches))
        return replace(asked, reused=reused, repeated=repeated)

    async def _serve(self, request: Request, asked: Asked, closed: int, how: str) -> Response:
        """Serve a request and spoil it, before or after what it does (contract 8.6, 8.10, 8.11)."""
        name, _, argument = how.partition(":")
        if name == "answer":
            return self._perform(asked, closed, how)
        if name == "held":
            await self._way.delay(float(argument))
            return self._perform(asked, closed, how)
        if name == "slow":
            answer = self._perform(asked, closed, how)
            await self._way.delay(float(argument))
            return answer
        if name in ("cut", "bad-length", "bad-utf8"):
            return mangled(self._perform(asked, closed, how), name)
        if name in ("replayed", "elsewhere-before", "elsewhere-after"):
            return self._meddled(asked, closed, how)
        return await self._lost(request, asked, closed, how)

    async def _lost(self, request: Request, asked: Asked, closed: int, how: str) -> Response:
        """No answer of the service comes through, whether it did something or not."""
        name, _, argument = how.partition(":")
        if name == "late":
            self._late(asked, closed, how, float(argument))
        elif name.endswith("-after"):
            self._perform(asked, closed, how)
        else:
            self._note(asked, how)
        if said := self._instead(asked, how):
            return said
        hang_s = self._world.switches.hang_s if name.startswith("timeout") else 0.0
        return await self._way.unanswered(request, hang_s=hang_s)

    def _perform(self, asked: Asked, closed: int, fault: str = "") -> Response:
        with self._world.lock:
            self._world.tick()
            return self._response(asked, self._calls.perform(asked, closed, fault))

    def _late(self, asked: Asked, closed: int, how: str, seconds: float) -> None:
        with self._world.lock:
            self._calls.note(asked, 0, fault=how)
            counted = replace(asked, repeated=True)
            self._world.later(seconds, lambda: self._calls.perform(counted, closed, how))

    def _note(self, asked: Asked, how: str) -> None:
        said = spoiled(how, RULES)
        with self._world.lock:
            self._calls.note(asked, said.status if said else 0, code_of(how), how)

    def _meddled(self, asked: Asked, closed: int, how: str) -> Response:
        """A proxy, or somebody in the Console, comes in between (contract 8.2, 8.6)."""
        with self._world.lock:
            if how == "elsewhere-before":
                self._orders.console_elsewhere()
            answer = self._perform(asked, closed, how)
            if how == "replayed":
                answer = self._perform(self._arrived(asked, repeated=True), closed, how)
            if how == "elsewhere-after":
                self._orders.console_elsewhere()
        return answer

    def _instead(self, asked: Asked, how: str) -> Response | None:
        """The answer of a proxy or an error, where a fault is one (contract 3, 8.10)."""
        said, code = spoiled(how, RULES), code_of(how)
        with self._world.lock:
            now, switches = self._world.now(), self._world.switches
            if code is not None:
                return self._response(asked, as_told(code, asked, switches, now))
            return self._response(asked, instead(said.status, said.form, now)) if said else None

    def _response(self, asked: Asked, reply: Reply) -> Response:
        """With the server's own Date, and the id of the request (contract 1)."""
        request_id = asked.headers.get("x-request-id") or str(uuid.uuid4())
        headers = {"Date": formatdate(self._world.now(), usegmt=True), "X-Request-Id": request_id, **reply.headers}
        return Response(reply.body, reply.status, headers, reply.type)

    # the simulator's own pages

    async def _faults(self, request: Request) -> Response:
        """POST {"faults": [...], "switches": {...}, "hostile": SEED, "clear": true}; DELETE clears."""
        body = b'{"clear": true}' if request.method == "DELETE" else await request.body()
        return _told(body, self._orders.obey)

    async def _elsewhere(self, _: Request) -> Response:
        """Somebody else rotates in the Console; his secret is the answer."""
        return JSONResponse({"entity_secret": await run_in_threadpool(self._orders.console_elsewhere)})

    async def _state(self, _: Request) -> Response:
        with self._world.lock:
            return JSONResponse(self._world.state())

    async def _log(self, _: Request) -> Response:
        with self._world.lock:
            self._world.tick()
            return JSONResponse(self._world.log)

    async def _accepts(self, request: Request) -> Response:
        """POST a bundle: whether its secret is accepted, and whether its recovery file is the one in force."""

        def looked_at(bundle: dict[str, Any]) -> dict[str, bool]:
            file = self._orders.recovery_file_is(bundle.get("recovery_file", ""))
            return {"accepts": self._orders.accepts(bundle), "recovery_file": file}

        return _told(await request.body(), looked_at)


def _told(body: bytes, order: Callable[[dict[str, Any]], dict[str, bool] | None]) -> Response:
    """What comes of an order; 400 for one that is not understood."""
    try:
        orders = json.loads(body)
        if not isinstance(orders, dict):
            raise TypeError("expected a JSON object")  # noqa: TRY301 - as for every other order that is none
        answer = order(orders)
    except (ValueError, TypeError) as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse(answer) if answer else Response(status_code=204)
