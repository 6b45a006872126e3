"""The server of a simulator: real HTTP on loopback, in a thread, that goes down as if its plug was pulled.

And what becomes of an answer on its way: none comes, or it comes late, or spoiled. For plugins' `simulator` modules; it
needs the extra `sim`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

STOP_S_MAX = 10.0
Client = tuple[str, int]
"""A caller's address and port."""


class Unplugged(uvicorn.Server):
    """A server that stops without a farewell, and not a moment later."""

    async def main_loop(self) -> None:
        """Look often whether to stop."""
        for counter in itertools.count():
            if await self.on_tick(counter):
                return
            await asyncio.sleep(0.02)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drop every connection; what is under way ends with the event loop."""
        for server in self.servers:
            server.close()
        for bound in sockets or []:
            bound.close()
        self.drop()

    def drop(self, client: Client | None = None) -> None:
        """Break the connection to one client, or to all. From the server's own thread only."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, H11Protocol) and client in (None, connection.client) and connection.transport:
                connection.transport.abort()


class Listener:
    """An ASGI app on a port of 127.0.0.1 (0: a free one). It can go down and come up again on the same port.

    `tls` are the files of certificate and key. Without `date` the app sends its own Date header.
    """

    def __init__(self, app: Any, port: int = 0, *, tls: tuple[Path, Path] | None = None, date: bool = True) -> None:
        self._app, self._tls, self._date = app, tls, date
        self.port = port
        self._server: Unplugged | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens; known once started."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; returns when connections are taken. Raises OSError where the port is taken."""
        if self._server:
            return
        bound = bound_socket(self.port)
        self.port = bound.getsockname()[1]
        certificate, key = self._tls or (None, None)
        self._server = Unplugged(
            uvicorn.Config(
                self._app,
                log_config=None,
                log_level="critical",
                access_log=False,
                lifespan="off",
                ws="none",
                http="h11",
                loop="asyncio",
                server_header=False,
                date_header=self._date,
                ssl_certfile=certificate,
                ssl_keyfile=key,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([bound],), daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Begin to stop."""
        if self._server:
            self._server.should_exit = self._server.force_exit = True

    def stop(self) -> None:
        """Stop listening and end what is under way."""
        self.ask_to_stop()
        if self._thread:
            self._thread.join(STOP_S_MAX)
        self._server = self._thread = None

    def drop(self, client: Client) -> None:
        """Break the connection to one client, without an answer. From the app's own thread only."""
        if self._server:
            self._server.drop(client)


class Servers:
    """Several listeners, some of which may be switched off: `down` gives the indexes of those."""

    def __init__(self, listeners: Sequence[Listener], down: Callable[[], Collection[int]]) -> None:
        self._listeners, self._down = listeners, down
        self._running = False

    @property
    def urls(self) -> list[str]:
        """Their base URLs; known once started."""
        return [listener.url for listener in self._listeners]

    def start(self) -> None:
        """Start all that are not switched off."""
        self._running = True
        self.follow_switches()

    def stop(self) -> None:
        """Stop all of them."""
        self._running = False
        for listener in self._listeners:
            listener.ask_to_stop()
        self.follow_switches()

    def follow_switches(self) -> None:
        """Bring up and take down what was switched on and off since."""
        for index, listener in enumerate(self._listeners):
            if self._running and index not in self._down():
                listener.start()
            else:
                listener.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Way:
    """The way to a client. `wait` lets a driven clock pass; without it time is real. `drop` breaks a connection."""

    def __init__(self, drop: Callable[[Client], object], wait: Callable[[float], object] | None) -> None:
        self._drop, self._wait = drop, wait

    async def delay(self, seconds: float) -> None:
        """Let time pass."""
        if self._wait:
            await run_in_threadpool(self._wait, seconds)
        else:
            await asyncio.sleep(seconds)

    async def unanswered(self, request: Request, *, hang_s: float) -> Response:
        """Say nothing for so long, or until the client has had enough, then break the connection; with 0 at once."""
        if hang_s:
            await self._hang(request, hang_s)
        if request.client:
            self._drop((request.client.host, request.client.port))
        await _gone(request)
        return Response()

    async def _hang(self, request: Request, seconds: float) -> None:
        if self._wait:
            await self.delay(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _gone(request)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Cut(Response):
    """Half of what was promised; the server then closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's shape
        """Send the headers as they are, and half of the body."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body[: len(self.body) // 2]), "more_body": True})


def mangled(answer: Response, how: str) -> Response:
    """An answer as it arrives: `cut` in the middle, of a `bad-length`, or with `bad-utf8` in it."""
    body, half = bytes(answer.body), len(answer.body) // 2
    kind = Cut if how == "cut" else Response
    arriving = {"bad-length": body[:half], "bad-utf8": body[:half] + b"\xff\xfe" + body[half:]}.get(how, body)
    kept = {name: text for name, text in answer.headers.items() if name not in ("content-length", "content-type")}
    return kind(arriving, answer.status_code, kept, answer.media_type)


def bound_socket(port: int) -> socket.socket:
    """A listening socket on loopback. Raises OSError where the port is taken."""
    # asyncio switches Nagle's delay off for sockets that name their protocol, and only for those: 40 ms an answer.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
        bound.listen(256)
    except OSError:
        bound.close()
        raise
    return bound
