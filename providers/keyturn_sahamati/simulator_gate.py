"""The address list in front of the simulated service: who is not on it never gets as far as HTTP (contract 4.9, 9.20).

It also breaks connections the hard way when told. Bytes go through as they are, TLS included.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress

START_S_MAX = 10.0
CHUNK = 65_536
TLS_ALERT = bytes.fromhex("15030300020228")
"""A record with the fatal alert `handshake_failure`."""


class Gate:
    """Takes connections in a thread and joins each to the server behind it, unless its address is refused.

    `rule` says for an address how it is refused: `timeout`, `reset`, `tls`, or empty where it may pass.
    """

    def __init__(self, rule: Callable[[str], str]) -> None:
        self._rule = rule
        self._callers: dict[int, tuple[str, asyncio.StreamWriter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self, bound: socket.socket, behind: int) -> None:
        """Take connections from a listening socket to the port `behind` on loopback."""
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(bound, behind, ready)), daemon=True)
        self._thread.start()
        ready.wait(START_S_MAX)

    def stop(self) -> None:
        """Break every connection and take none any more."""
        if self._loop and self._thread:
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(START_S_MAX)
        self._loop = self._thread = None

    def address_of(self, port: int) -> str:
        """The address of the caller whose connection reaches the server from this port."""
        return self._callers[port][0] if port in self._callers else ""

    def reset(self, port: int) -> None:
        """Break this caller's connection with a TCP reset."""
        if self._loop and port in self._callers:
            self._loop.call_soon_threadsafe(_break, self._callers[port][1])

    async def _serve(self, bound: socket.socket, behind: int, ready: threading.Event) -> None:
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda r, w: self._keep(self._meet(r, w, behind)), sock=bound)
        ready.set()
        await self._over.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, meeting: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(meeting)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: int) -> None:
        address = writer.get_extra_info("peername")[0]
        try:
            refusal = self._rule(address)
            if refusal:
                await _refuse(refusal, reader, writer)
            else:
                await self._join(address, reader, writer, behind)
        except OSError:
            pass  # somebody hung up: that is all there is to it
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _join(
        self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, behind: int
    ) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", behind)
        port = to_server.get_extra_info("sockname")[1]
        self._callers[port] = (address, writer)
        ways = [asyncio.ensure_future(_pump(reader, to_server)), asyncio.ensure_future(_pump(from_server, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Nothing is awaited before it is closed: `stop` may cancel this very wait.
            for way in ways:
                way.cancel()
            del self._callers[port]
            to_server.close()
            await asyncio.gather(*ways, return_exceptions=True)
            with suppress(OSError):
                await to_server.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()


async def _refuse(refusal: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if refusal == "reset":
        _break(writer)
    elif refusal == "tls":
        await reader.read(CHUNK)  # unread bytes would turn the alert into a reset
        writer.write(TLS_ALERT)
        await writer.drain()
    else:
        # Under TLS this is a time-out while connecting: the handshake is never answered.
        while await reader.read(CHUNK):
            pass


def _break(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
