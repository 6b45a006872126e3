"""The server of a simulator: real HTTP on loopback, in a thread, that goes down as if its plug was pulled.

For plugins' `simulator` modules; it needs the extra `sim`.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from pathlib import Path
from typing import Any

import uvicorn
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
