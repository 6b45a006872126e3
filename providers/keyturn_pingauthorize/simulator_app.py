"""One simulated server over HTTP: Configuration API, Sideband API, and the simulator's own /simulator pages."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from keyturn.simulator_faults import FaultBook
from keyturn_pingauthorize.simulator_config import Asked, ConfigurationApi, Reply, Task, error_body
from keyturn_pingauthorize.simulator_world import Refusal, World

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
PAGE = "<html><body>Service temporarily unavailable</body></html>"


class Cut(Response):
    """An answer that breaks off: `body` is sent, and then the connection ends before what was promised."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's shape
        """Promise more than is sent; the server then closes the connection."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})


class Server:
    """The application of one member."""

    def __init__(
        self,
        world: World,
        index: int,
        book: FaultBook,
        api: ConfigurationApi,
        control: Callable[[dict[str, Any], int], None],
    ) -> None:
        self._world, self._index, self._book, self._api, self._control = world, index, book, api, control
        self.app = Starlette(
            routes=[
                Route("/config/{path:path}", self._configuration, methods=METHODS),
                Route("/sideband/{call}", self._sideband, methods=["POST"]),
                Route("/simulator/faults", self._faults, methods=["POST", "DELETE"]),
                Route("/simulator/state", self._state),
                Route("/simulator/log", self._log),
                Route("/simulator/accepts", self._accepts, methods=["POST"]),
            ]
        )

    async def _configuration(self, request: Request) -> Response:
        raw_path = request.scope["raw_path"].decode().partition("/config")[2]
        asked = Asked(
            method=request.method,
            path=raw_path,
            headers=request.headers,
            params=request.query_params,
            body=await request.body(),
        )
        try:
            with self._world.lock:
                task = self._api.understand(asked)
        except Refusal as refusal:
            return self._refused(refusal)
        with self._world.lock:
            how = self._book.next_for(task.on, self._index)
        return await self._serve(request, how, lambda: self._perform(task), task)

    async def _sideband(self, request: Request) -> Response:
        body = await request.body()
        with self._world.lock:
            self._world.probes += 1
            header = self._world.members[self._index].header
            how = self._book.next_for("probe", self._index)
        value = request.headers.get(header)
        return await self._serve(request, how, lambda: self._decide(value, body), None)

    def _perform(self, task: Task) -> Response:
        with self._world.lock:
            try:
                reply = task.run()
            except Refusal as refusal:
                self._record(task, refusal.status)
                return self._refused(refusal)
            self._record(task, reply.status)
        return _response(reply)

    def _record(self, task: Task, status: int, fault: str = "") -> None:
        if task.on != "read":
            entry = {"server": self._index, "on": task.on, "name": task.name, "status": status}
            marked = {**entry, "value": task.mark} if task.mark else entry
            self._world.record(**marked, **({"fault": fault} if fault else {}))

    def _refused(self, refusal: Refusal) -> Response:
        body = error_body(refusal, number=self._world.switches.status_as_number)
        return _response(Reply(status=refusal.status, body=body))

    async def _serve(self, request: Request, how: str, perform: Callable[[], Response], task: Task | None) -> Response:
        """Serve a request, or spoil it before or after what it does (contract 10.2)."""
        name, _, argument = how.partition(":")
        if not name:
            return perform()
        if name.startswith("foreign-"):
            self._meddle(name, argument)
            return perform()
        if name == "late":
            await asyncio.sleep(float(argument))
            return perform()
        if name.endswith("-after"):
            perform()
        elif name == "reset-late":
            asyncio.get_running_loop().call_later(float(argument), perform)
        elif task:
            with self._world.lock:
                self._record(task, 0, how)
        return await self._spoil(request, name, argument)

    async def _spoil(self, request: Request, name: str, argument: str) -> Response:
        if name.startswith("timeout"):
            await _until_gone(request, self._world.switches.hang_s)
            return Cut()
        if name.startswith("reset"):
            return Cut(content=b'{"schemas":["urn:' if name == "reset-after" else b"")
        if name.startswith("html"):
            return HTMLResponse(PAGE)  # contract 10.1: from a proxy
        if name == "429":
            return JSONResponse({"errorMessage": "slow down", "status": 429}, 429, headers={"Retry-After": "1"})
        return self._refused(Refusal(int(argument), "" if name == "empty" else "server trouble"))

    def _meddle(self, deed: str, name: str) -> None:
        """Another administrator comes in between (contract 10.12); what the rules refuse him does not happen."""
        with self._world.lock:
            deeds: dict[str, Callable[[], None]] = {
                "foreign-add": lambda: self._world.add(self._index, [name]),
                "foreign-remove": lambda: self._world.remove(self._index, name),
                "foreign-delete": lambda: self._world.delete(name),
            }
            try:
                deeds[deed]()
            except Refusal as refusal:
                self._world.record(server=self._index, on=deed, name=name, status=refusal.status)

    def _decide(self, value: str | None, body: bytes) -> Response:
        """Contract 5. The secret is looked at first, then the request."""
        with self._world.lock:
            accepted, switches = self._world.accepts(self._index, value), self._world.switches
        if not accepted:
            more = {"id": "e3b0c442"} if switches.id_in_401 else {}  # contract 10.17
            return JSONResponse({"message": "The Gateway Token is invalid", **more}, 401)
        if len(body) > switches.request_limit:
            return JSONResponse({"errorMessage": "Request too large", "status": 413}, 413)  # contract 10.18
        try:
            asked = json.loads(body)
            answer = {key: asked[key] for key in ("method", "url", "http_version", "headers")}
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"errorMessage": "Bad request", "status": 400}, 400)
        if switches.denies:  # contract 10.18: a denial is HTTP 200
            denial = {"response_code": "403", "response_status": "FORBIDDEN", "headers": [], "body": "{}"}
            answer = {**answer, "response": denial}
        return JSONResponse(answer)

    async def _faults(self, request: Request) -> Response:
        """POST {"faults": [...], "switches": {...}, "hostile": SEED, "lists": {"1": [...]}, "headers": {"1": ...}}."""
        orders = {"clear": True} if request.method == "DELETE" else await request.json()
        try:
            await run_in_threadpool(self._control, orders, self._index)
        except (ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return Response(status_code=204)

    async def _state(self, _: Request) -> Response:
        with self._world.lock:
            return JSONResponse(self._world.state())

    async def _log(self, _: Request) -> Response:
        with self._world.lock:
            return JSONResponse(self._world.log)

    async def _accepts(self, request: Request) -> Response:
        asked = await request.json()
        index = asked.get("server", self._index)
        with self._world.lock:
            return JSONResponse({"accepts": self._world.accepts(index, asked["value"])})


async def _until_gone(request: Request, hang_s: float) -> None:
    """Say nothing until the client has had enough."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(hang_s):
            while (await request.receive())["type"] != "http.disconnect":
                pass


def _response(reply: Reply) -> Response:
    return Response(status_code=reply.status) if reply.body is None else JSONResponse(reply.body, reply.status)
