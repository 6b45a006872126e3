"""The fake over HTTP: AWS JSON 1.1 (contract 1), and the fake's own /simulator pages."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import formatdate
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyturn_aws.simulator_calls import OPERATIONS
from keyturn_aws.simulator_faults import Fault, FaultBook
from keyturn_aws.simulator_secret import Refusal
from keyturn_aws.simulator_world import Call, World

JSON = "application/x-amz-json-1.1"
TARGET = "secretsmanager."
SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=(?P<key>\w+)/\d{8}/[a-z0-9-]+/secretsmanager/aws4_request, ?Signed")
LOOK_S = 0.05
TROUBLE = {500: "InternalServiceError", 503: "ServiceUnavailable"}

Client = tuple[str, int]


class Service:
    """The application. `control` takes orders; `cut` breaks the connection to a client."""

    def __init__(
        self,
        world: World,
        faults: FaultBook,
        control: Callable[[Mapping[str, Any]], None],
        cut: Callable[[Client], None],
    ) -> None:
        self._world, self._faults, self._control, self._cut_off = world, faults, control, cut
        self.app = Starlette(
            routes=[
                Route("/", self._call, methods=["POST"]),
                Route("/simulator/faults", self._orders, methods=["POST", "DELETE"]),
                Route("/simulator/state", self._state),
                Route("/simulator/log", self._log),
            ]
        )

    async def _call(self, request: Request) -> Response:
        body = await request.body()
        try:
            call = _understood(request.headers, body)
        except Refusal as refusal:
            return self._refused(refusal)
        await asyncio.sleep(self._world.switches.latency_s)
        fault = self._faults.next_for(call.operation, call.name, self._world.now())
        return await self._spoiled(request, call, fault) if fault else self._performed(call)

    def _performed(self, call: Call, fault: Fault | None = None) -> Response:
        stale, how = (fault.kind == "stale", fault.how) if fault else (False, "")
        try:
            return self._answer(200, self._world.perform(call, stale=stale, fault=how))
        except Refusal as refusal:
            return self._refused(refusal)

    async def _spoiled(self, request: Request, call: Call, fault: Fault) -> Response:
        """Serve a call, or spoil it before or after what it does."""
        if fault.kind in ("throttle", "status", "reset-before"):
            self._world.record(call, "nothing", fault.how)
            return await self._cut(request) if fault.kind == "reset-before" else self._refused(_trouble(fault))
        if fault.kind == "hang-before" and not await self._released(request):
            self._world.record(call, "nothing", fault.how)
            return Response()
        if fault.kind == "late":
            await asyncio.sleep(float(fault.argument or "1"))
        answer = self._performed(call, fault)
        if fault.kind == "hang-after":
            await self._released(request)
        if fault.kind == "reset-after":
            return await self._cut(request)
        return self._refused(_trouble(fault)) if fault.kind == "status-after" else answer

    async def _released(self, request: Request) -> bool:
        """Say nothing until released; False where the client has had enough before."""
        before = self._faults.releases
        while self._faults.releases == before:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    if (await request.receive())["type"] == "http.disconnect":
                        return False
        return True

    async def _cut(self, request: Request) -> Response:
        """Break the connection before a single byte of an answer."""
        if request.client:
            self._cut_off(request.client)
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return Response()

    def _refused(self, refusal: Refusal) -> Response:
        """An error. Its type is in the body; the service spells the message with a capital (contract 5)."""
        return self._answer(refusal.status, {"__type": refusal.code, "Message": refusal.text})

    def _answer(self, status: int, body: Mapping[str, Any]) -> Response:
        headers = {"x-amzn-RequestId": str(uuid4()), "Date": formatdate(self._world.now(), usegmt=True)}
        return Response(json.dumps(body), status, headers, JSON)

    # the fake's own pages

    async def _orders(self, request: Request) -> Response:
        """POST what `StrictFake.obey` takes; DELETE clears every fault."""
        try:
            self._control({"clear": True} if request.method == "DELETE" else await request.json())
        except (ValueError, TypeError, KeyError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return Response(status_code=204)

    async def _state(self, _: Request) -> Response:
        return JSONResponse(self._world.state())

    async def _log(self, _: Request) -> Response:
        return JSONResponse(self._world.seen())


def _understood(headers: Mapping[str, str], body: bytes) -> Call:
    """Who asks for what. Raises Refusal."""
    signed = SIGNED.match(headers.get("authorization", ""))
    if not signed:
        raise Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
    target = headers.get("x-amz-target", "")
    operation = target.removeprefix(TARGET)
    if not target.startswith(TARGET) or operation not in OPERATIONS:
        raise Refusal("UnknownOperationException", "this fake does not play that operation")
    try:
        ask = json.loads(body)
    except ValueError:
        ask = None
    if headers.get("content-type") != JSON or not isinstance(ask, dict):
        raise Refusal("SerializationException", f"the body is not a JSON object sent as {JSON}")
    return Call(operation=operation, ask=ask, access_key=signed["key"])


def _trouble(fault: Fault) -> Refusal:
    if fault.kind == "throttle":
        return Refusal("ThrottlingException", "Rate exceeded")
    status = int(fault.argument or "500")
    return Refusal(TROUBLE.get(status, "InternalFailure"), "An error occurred on the server side.", status)
