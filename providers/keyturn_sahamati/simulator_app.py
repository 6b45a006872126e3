"""The simulated Token Service over HTTP: the four calls, what a proxy may answer, and the simulator's own pages."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from keyturn.simulator import Way, mangled
from keyturn.simulator_faults import FaultBook, spoiled
from keyturn_sahamati.simulator_answers import Reply, error, throttled
from keyturn_sahamati.simulator_calls import PATHS, Asked, Calls
from keyturn_sahamati.simulator_faults import RULES
from keyturn_sahamati.simulator_world import Refusal, World, refused_as

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
LOGIN_PAGE = "<html><body><form>Username <input name='user'> Password <input name='pass'></form></body></html>"


class Orders(Protocol):
    """Who the simulator's own pages talk to."""

    def obey(self, orders: dict[str, Any]) -> None:
        """What `/simulator/faults` takes."""

    def portal(self, orders: dict[str, Any]) -> dict[str, str]:
        """What `/simulator/portal` takes, and the answer."""


class Door(Protocol):
    """The connections, as the app knows them: by the port that they come from."""

    def address_of(self, port: int) -> str:
        """The caller's address."""

    def reset(self, port: int) -> None:
        """Break the connection."""


class Server:
    """The application. `wait` lets a driven clock pass; without it answers take real time."""

    def __init__(
        self, world: World, book: FaultBook, orders: Orders, door: Door, wait: Callable[[float], object] | None
    ) -> None:
        self._world, self._book, self._orders, self._door = world, book, orders, door
        self._way = Way(lambda client: door.reset(client[1]), wait)
        self._calls = Calls(world)
        self.app = Starlette(
            routes=[
                *(Route(f"/iam/v1/{path}", self._call, methods=METHODS, name=on) for path, on in PATHS.items()),
                Route("/auth/{path:path}", self._gone, methods=METHODS),
                Route("/login", self._login),
                Route("/simulator/network", self._network),
                Route("/simulator/faults", self._faults, methods=["POST", "DELETE"]),
                Route("/simulator/portal", self._portal, methods=["POST"]),
                Route("/simulator/accepts", self._accepts, methods=["POST"]),
                Route("/simulator/state", self._state),
                Route("/simulator/log", self._log),
                Route("/{path:path}", self._nowhere, methods=METHODS),
            ]
        )

    # the four calls

    async def _call(self, request: Request) -> Response:
        on = PATHS[request.url.path.removeprefix("/iam/v1/")]
        asked = Asked(on=on, headers=request.headers, body=await request.body())
        refusal = self._unlisted(request)
        if refusal or request.method != "POST":
            return self._refused(refusal or Refusal(405, "use POST"))
        with self._world.lock:
            self._world.tick()
            standing = self._world.standing(on)
            how = self._book.next_for(on) or standing
        return await self._serve(request, asked, how) if how else self._perform(asked)

    def _unlisted(self, request: Request) -> Refusal | None:
        """A 403 for an address that is not registered (contract 4.9, 9.20); the gate sees to the other refusals."""
        switches = self._world.switches
        if switches.allowed is None or not switches.refusal.startswith("403"):
            return None
        address = self._door.address_of(request.client.port) if request.client else ""
        return None if address in ("", *switches.allowed) else refused_as(switches.refusal, "")

    async def _serve(self, request: Request, asked: Asked, how: str) -> Response:
        """Serve a request and spoil it, before or after what it does."""
        name, _, argument = how.partition(":")
        instead = spoiled(how, RULES)
        if name.startswith("portal-") or name == "token-revoked":
            return self._meddled(asked, how)
        if name == "slow":
            answer = self._perform(asked, how)
            await self._way.delay(float(argument))
            return answer
        if name in ("cut-json", "bad-length", "bad-utf8"):
            return mangled(self._perform(asked, how), name.removesuffix("-json"))
        if name == "late":
            self._late(asked, how, float(argument))
        elif name.endswith("-after") or (instead and instead.after):
            self._perform(asked, how)
        else:
            self._note(asked, instead.status if instead else 0, how)
        if instead:
            return self._instead(instead.status, instead.form)
        hang_s = self._world.switches.hang_s if name.startswith("timeout") else 0.0
        return await self._way.unanswered(request, hang_s=hang_s)

    def _perform(self, asked: Asked, fault: str = "") -> Response:
        with self._world.lock:
            return self._response(self._calls.perform(asked, fault))

    def _late(self, asked: Asked, how: str, seconds: float) -> None:
        with self._world.lock:
            self._calls.note(asked, 0, how)
            self._world.later(seconds, lambda: self._calls.perform(asked, how))

    def _note(self, asked: Asked, status: int, how: str) -> None:
        with self._world.lock:
            self._calls.note(asked, status, how)

    def _meddled(self, asked: Asked, how: str) -> Response:
        """Somebody else comes in between (contract 9.5, 9.16)."""
        name, _, by = how.partition(":")
        with self._world.lock:
            if name == "token-revoked":
                self._world.revoke_user_tokens()
            if name == "portal-before":
                self._world.reset(self._about(asked), by=by or "portal")
            answer = self._perform(asked, how)
            if name == "portal-after":
                self._world.reset(self._about(asked), by=by or "portal")
        return answer

    def _about(self, asked: Asked) -> str:
        """The entity that a request is about; the first one where it names none."""
        return asked.entity_id if asked.entity_id in self._world.entities else next(iter(self._world.entities))

    def _instead(self, status: int, form: str) -> Response:
        """What a proxy or the platform answers (contract 9.1, 9.21)."""
        if 300 <= status < 400:
            return RedirectResponse("/login", status)
        with self._world.lock:
            now, switches = self._world.now(), self._world.switches
        if status == 429:
            return self._response(throttled(form, now, switches))
        return self._response(error(Refusal(status, "trouble at the platform", form), now, switches))

    def _refused(self, refusal: Refusal) -> Response:
        with self._world.lock:
            return self._response(error(refusal, self._world.now(), self._world.switches))

    def _response(self, reply: Reply) -> Response:
        """With the server's own Date (contract 9.22)."""
        headers = {"Date": formatdate(self._world.now(), usegmt=True), **reply.headers}
        return Response(reply.body, reply.status, headers, reply.type)

    # other paths

    async def _gone(self, _: Request) -> Response:
        return self._refused(Refusal(410, "this API was withdrawn"))  # contract 1, 9.21

    async def _nowhere(self, _: Request) -> Response:
        return self._refused(Refusal(404, "no such API"))

    async def _login(self, _: Request) -> Response:
        return Response(LOGIN_PAGE, media_type="text/html")

    async def _network(self, request: Request) -> Response:
        """What entity tokens are for: 200 for one that is accepted, else 401."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        with self._world.lock:
            self._world.tick()
            opens = self._world.opens(token)
        return self._response(Reply(status=200, body=b"{}")) if opens else self._refused(Refusal(401, "no entry"))

    # the simulator's own pages

    async def _faults(self, request: Request) -> Response:
        """POST {"faults": [...], "switches": {...}, "hostile": SEED, "expiry": {ENTITY: SECONDS or null}, ...}."""
        orders = {"clear": True} if request.method == "DELETE" else await request.json()
        return _told(lambda: self._orders.obey(orders))

    async def _portal(self, request: Request) -> Response:
        """POST {"entity": ..., "by": ..., "days": ...} or {"user": ...}, whose new password is the answer."""
        orders = await request.json()
        return _told(lambda: self._orders.portal(orders))

    async def _state(self, _: Request) -> Response:
        with self._world.lock:
            return JSONResponse(self._world.state())

    async def _log(self, _: Request) -> Response:
        with self._world.lock:
            self._world.tick()
            return JSONResponse(self._world.log)

    async def _accepts(self, request: Request) -> Response:
        bundle = await request.json()
        with self._world.lock:
            self._world.tick()
            return JSONResponse({"accepts": self._world.accepts(bundle)})


def _told(order: Callable[[], dict[str, str] | None]) -> Response:
    try:
        answer = order()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse(answer) if answer else Response(status_code=204)
