"""A TCP proxy that cuts the line at the COMMIT: before the server gets it, or before the client hears of it.

`silent`: before the server gets it, and the server does not notice.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Literal, Self

COMMIT = b"COMMIT\0"  # as the whole of a statement; BEGIN says READ COMMITTED
CHUNK_BYTES = 65_536


When = Literal["before", "after", "silent"]


class Cutter:
    """Forwards to `port` of loopback. `cut` arms it for one COMMIT; `cuts` counts how often it has cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._armed: When | None = None
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, when: When) -> None:
        self._armed = when

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._questions, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(client, server), daemon=True).start()

    def _questions(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(CHUNK_BYTES):
                if self._armed and COMMIT in data:
                    when, self._armed = self._armed, None
                    self._cut(client, server, when, data)
                    return
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _cut(self, client: socket.socket, server: socket.socket, when: When, last: bytes) -> None:
        client.shutdown(socket.SHUT_RDWR)  # the client hears no answer
        self.cuts += 1
        if when == "after":
            server.sendall(last)
            server.shutdown(socket.SHUT_WR)
        elif when == "before":
            server.shutdown(socket.SHUT_RDWR)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            while data := _received(server):
                with suppress(OSError):
                    client.sendall(data)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(CHUNK_BYTES)
    except OSError:
        return b""
