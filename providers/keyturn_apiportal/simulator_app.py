"""What the small simulators here share: how a request is served and spoiled, the listeners, and the order pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any, Protocol
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from keyturn.simulator import Listener, Servers, Way, mangled
from keyturn.simulator_faults import FaultBook, FaultRules, spoiled
from keyturn_apiportal.simulator_world import Switches, World

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
PAGE = "<html><body>Service temporarily unavailable</body></html>"


class Vendor(Protocol):
    """One vendor's part of a simulator."""

    world: World[Any]
    rules: FaultRules

    def error(self, status: int) -> Response:
        """The vendor's own error body."""

    def elsewhere(self, what: str) -> None:
        """Somebody else changes something. Raises ValueError."""


Perform = Callable[[str], Response]
"""Does what was asked for and answers; its argument is the fault, for those that spoil the answer itself."""


class Desk:
    """Serves one request and spoils it when told. `server` is a gateway's number; None at the portal itself."""

    def __init__(self, vendor: Vendor, book: FaultBook, way: Way, server: int | None) -> None:
        self._vendor, self._book, self._way, self._server = vendor, book, way, server

    async def serve(self, request: Request, on: str, perform: Perform) -> Response:
        """The answer; `perform` makes it and does what was asked for, under the world's lock."""
        world = self._vendor.world
        with world.lock:
            world.tick()
            how = self._book.next_for(on, self._server)
        answer = await self._spoil(request, on, perform, how) if how else self._done(on, perform)
        answer.headers["date"] = formatdate(world.now(), usegmt=True)
        return answer

    def _done(self, on: str, perform: Perform, fault: str = "") -> Response:
        world = self._vendor.world
        with world.lock:
            answer = perform(fault)
            where = {} if self._server is None else {"gateway": self._server}
            world.record(on, answer.status_code, **where, **({"fault": fault} if fault else {}))
            return answer

    async def _spoil(self, request: Request, on: str, perform: Perform, how: str) -> Response:
        name, _, argument = how.partition(":")
        instead, world = spoiled(how, self._vendor.rules), self._vendor.world
        if name in ("elsewhere-before", "elsewhere-after", "token-revoked"):
            return self._meddled(on, perform, how)
        if name == "slow":
            answer = self._done(on, perform, how)
            await self._way.delay(float(argument))
            return answer
        if name in ("cut", "no-value"):
            return mangled(self._done(on, perform, how), name)
        if name.endswith("-after") or (instead and instead.after):
            self._done(on, perform, how)
        with world.lock:
            if name == "late":
                world.later(float(argument), lambda: self._done(on, perform, how))
            elif not name.endswith("-after") and not (instead and instead.after):
                world.record(on, instead.status if instead else 0, fault=how)
        if instead:
            return self._instead(instead.status, instead.form)
        hang_s = world.switches.hang_s if name.startswith("timeout") else 0.0
        return await self._way.unanswered(request, hang_s=hang_s)

    def _meddled(self, on: str, perform: Perform, how: str) -> Response:
        """Somebody else comes in between (contract 7.11), or takes our token away (contract 7.1)."""
        name, _, what = how.partition(":")
        with self._vendor.world.lock:
            if name == "token-revoked":
                self._vendor.world.revoke_tokens()
            if name == "elsewhere-before":
                self._vendor.elsewhere(what)
            answer = self._done(on, perform, how)
            if name == "elsewhere-after":
                self._vendor.elsewhere(what)
        return answer

    def _instead(self, status: int, form: str) -> Response:
        if status == 429:
            headers = {"retry-after": form} if form.isdecimal() else {}
            return JSONResponse({"error": {"code": "TooManyRequests", "message": "slow down"}}, 429, headers)
        if form == "html":
            return HTMLResponse(PAGE, status)
        return Response(status_code=status) if form == "empty" else self._vendor.error(status)


class Small(Servers):
    """A portal and its gateways, each on a listener of its own. `routes` are the portal's, `gate` is a gateway's door.

    All times come from `now` (epoch seconds); with a driven clock give `wait` too: time-outs then take none.
    """

    def __init__(
        self, vendor: Vendor, *, port: int, gateways: int, wait: Callable[[float], object] | None = None
    ) -> None:
        self.vendor, self.world = vendor, vendor.world
        self.book = FaultBook(vendor.rules)
        listeners: list[Listener] = []
        for server in (None, *range(gateways)):
            index = len(listeners)
            way = Way(lambda client, index=index: listeners[index].drop(client), wait)  # type: ignore[misc]
            app = self._app(Desk(vendor, self.book, way, server), server)
            listeners.append(Listener(app, port + index if port else 0, date=False))
        super().__init__(listeners, lambda: [gateway + 1 for gateway in self.world.switches.gateway_down])

    def routes(self, desk: Desk) -> list[Route]:
        """The portal's calls."""
        raise NotImplementedError

    def gate(self, gateway: int, request: Request, form: Mapping[str, str]) -> Response:
        """What a gateway answers."""
        raise NotImplementedError

    def _app(self, desk: Desk, server: int | None) -> Starlette:
        if server is None:
            pages = [
                Route("/simulator/faults", self._orders, methods=["POST", "DELETE"]),
                Route("/simulator/log", self._log),
            ]
            return Starlette(routes=[*pages, *self.routes(desk)])

        async def gate(request: Request) -> Response:
            form = await parsed_form(request)
            return await desk.serve(request, "probe", lambda _: self.gate(server, request, form))

        return Starlette(routes=[Route("/{path:path}", gate, methods=METHODS)])

    @property
    def gateways(self) -> list[str]:
        """The gateways' base URLs."""
        return self.urls[1:]

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every call in order: at, on, status, gateway, fault. No values."""
        with self.world.lock:
            self.world.tick()
            return [dict(entry) for entry in self.world.log]

    def fault(self, on: str, how: str, **more: Any) -> None:
        """Spoil the next requests of this kind: times, skip, server (a gateway's number)."""
        with self.world.lock:
            self.book.add(on=on, how=how, **more)

    def switch(self, **changes: Any) -> None:
        """Change how the portal is; see the vendor's `Switches`."""
        self.obey({"switches": changes})

    def obey(self, orders: Mapping[str, Any]) -> None:
        """Orders as `/simulator/faults` takes them: faults, switches, hostile, elsewhere, clear.

        Raises ValueError, and then nothing has changed.
        """
        known = ("faults", "switches", "hostile", "elsewhere", "clear")
        if set(orders) - set(known):
            message = f"expected orders: {', '.join(known)}"
            raise ValueError(message)
        faults = [self.book.understood(one) for one in orders.get("faults", [])]
        with self.world.lock:
            switches = self._switched(orders.get("switches", {}))
            if "elsewhere" in orders:
                self.vendor.elsewhere(orders["elsewhere"])
            if orders.get("clear"):
                self.book.clear()
            self.world.tick()
            self.world.switches = switches
            self.book.faults.extend(faults)
            if "hostile" in orders:
                self.book.hostile(orders["hostile"])
        self.follow_switches()

    def _switched(self, changes: Mapping[str, Any]) -> Switches:
        switches: Switches = self.world.switches
        known = {each.name for each in fields(switches)}
        if set(changes) - known:
            message = f"expected switches: {', '.join(sorted(known))}"
            raise ValueError(message)
        return replace(switches, **changes)

    async def _orders(self, request: Request) -> Response:
        try:
            self.obey({"clear": True} if request.method == "DELETE" else await request.json())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return Response(status_code=204)

    async def _log(self, _: Request) -> Response:
        return JSONResponse(self.log)


async def parsed_form(request: Request) -> dict[str, str]:
    """A form's fields."""
    return dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))


def real_time() -> float:
    """Epoch seconds by the machine's clock."""
    return datetime.now(UTC).timestamp()


def numbers(options: Mapping[str, str]) -> tuple[int, int]:
    """`gateways` and `port` from text options. Raises ValueError for others."""
    unknown = set(options) - {"port", "gateways"}
    if unknown:
        message = f"expected the options port and gateways, found {', '.join(sorted(unknown))}"
        raise ValueError(message)
    return int(options.get("gateways", "2")), int(options.get("port", "0"))
