"""One client's connection to the fault proxy, and the connection to the server behind it; both stay while they can."""

from __future__ import annotations

import select
import socket
import struct
from contextlib import suppress
from io import BufferedReader

from keyturn.testing.http_message import BrokenMessage, Message, read_answer, read_body, read_head

SERVER_S_MAX = 60.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Line:
    """Used by one thread; `unplug` may come from any. What goes wrong on either side is an OSError."""

    def __init__(self, client: socket.socket, upstream: tuple[str, int]) -> None:
        client.settimeout(None)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client, self._reads = client, client.makefile("rb")
        self._upstream = upstream
        self._server: tuple[socket.socket, BufferedReader] | None = None
        self._unplugged = False

    def next_request(self) -> Message | None:
        """The next request, read whole; None where the client has no more."""
        head = read_head(self._reads)
        if head and head.header("expect").lower() == "100-continue":
            self._client.sendall(CONTINUE)
        return read_body(self._reads, head) if head else None

    def forward(self, request: Message) -> Message:
        """What the server answers."""
        server, reads = self._server = self._connected()
        server.sendall(request.wire())
        answered = read_answer(reads, request.method)
        if not answered.lasting:
            self._hang_up()
        return answered

    def say(self, data: bytes) -> None:
        """Bytes for the client."""
        self._client.sendall(data)

    def given_up(self) -> bool:
        """Whether the client has closed its side."""
        readable, _, _ = select.select([self._client], [], [], 0)
        return bool(readable) and not self._client.recv(1, socket.MSG_PEEK)

    def reset(self) -> None:
        """Let the client see a reset and no orderly end."""
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def unplug(self) -> None:
        """End whatever the line's thread waits for."""
        self._unplugged = True
        for side in (self._client, self._server[0] if self._server else None):
            with suppress(OSError):
                if side:
                    side.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close both sides."""
        self._hang_up()
        self._reads.close()
        self._client.close()

    def _connected(self) -> tuple[socket.socket, BufferedReader]:
        if self._server and _stale(self._server[0]):
            self._hang_up()
        if self._unplugged:
            raise BrokenMessage("the proxy was stopped")
        return self._server or _connect(self._upstream)

    def _hang_up(self) -> None:
        if self._server:
            server, reads = self._server
            self._server = None
            reads.close()
            server.close()


def _connect(address: tuple[str, int]) -> tuple[socket.socket, BufferedReader]:
    server = socket.create_connection(address, timeout=SERVER_S_MAX)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server, server.makefile("rb")


def _stale(server: socket.socket) -> bool:
    """Whether the server has closed an idle connection: it has nothing else to say there."""
    readable, _, _ = select.select([server], [], [], 0)
    return bool(readable)
