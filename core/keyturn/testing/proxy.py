"""A reverse proxy on loopback that misbehaves when told: in front of any HTTP server, for the tests of a plugin.

`with FaultProxy(server.url) as proxy: proxy.fault("cut_after", On("PUT", r"^/v1/kv/data/"))`: the server commits, and
the client never hears of it. Without faults it is transparent, and costs less than a millisecond.
"""

from __future__ import annotations

import itertools
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import urlsplit

from keyturn.clock import Clock, SystemClock
from keyturn.testing.http_message import BrokenMessage, Message, answer
from keyturn.testing.proxy_line import Line

__all__ = ["ANY", "Entry", "FaultProxy", "On", "Plan", "Seen", "answer"]

ACCEPT_POLL_S = 0.02
GIVEN_UP_POLL_S = 0.01
STOP_S_MAX = 10.0
PIECES = 8


@dataclass(frozen=True)
class Way:
    """One way to misbehave: whether it hangs first, whether the server hears of it, and how the answer goes out."""

    hangs: Literal["", "before", "after"] = ""
    forwards: bool = True
    ends: Literal["whole", "reset", "cut", "half", "other", "slow"] = "whole"


WAYS = {
    "refuse": Way(forwards=False, ends="reset"),
    "cut_before": Way(forwards=False, ends="cut"),
    "cut_after": Way(ends="cut"),
    "cut_inside": Way(ends="half"),
    "hang_before": Way(hangs="before"),
    "hang_after": Way(hangs="after"),
    "answer": Way(forwards=False, ends="other"),
    "answer_after": Way(ends="other"),
    "slow_body": Way(ends="slow"),
}
"""Every fault by name. Nobody listening at all is `stop()`."""
TRANSPARENT = Way()


@dataclass(frozen=True)
class On:
    """Which requests: by method, and by regular expressions searched in path and query, `Name: value` lines, body."""

    method: str = ""
    path: str = ""
    header: str = ""
    body: str = ""

    def fits(self, request: Message) -> bool:
        """Whether this request is meant."""
        return (
            self.method in ("", request.method)
            and bool(re.search(self.path, request.target))
            and (not self.header or any(re.search(self.header, f"{n}: {v}", re.IGNORECASE) for n, v in request.headers))
            and (not self.body or bool(re.search(self.body.encode(), request.body)))
        )


ANY = On()


@dataclass(eq=False)
class Plan:
    """A fault that waits for its requests. `reached` is set when the first one came; `hits` counts them."""

    how: str
    on: On
    nth: int
    times: int | None
    answer: Message | None
    over_s: float
    hits: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let what hangs go on; what would hang later does not."""
        self.released.set()

    def takes(self, request: Message) -> bool:
        """Whether this request is spoiled. Counts it."""
        if (self.times is not None and self.hits >= self.times) or not self.on.fits(request):
            return False
        self.nth -= 1
        if self.nth > 0:
            return False
        self.hits += 1
        self.reached.set()
        return True


@dataclass(frozen=True)
class Seen:
    """A request as a hook sees it: its number since the proxy was made, from 1; no headers, no query, no body.

    `operation` is the value of the header that names the operation, for services with one path for all.
    """

    number: int
    method: str
    path: str
    operation: str


@dataclass(frozen=True)
class Entry:
    """A request that ended. `status` is what the client was told, None for nothing; times are epoch seconds."""

    seen: Seen
    fault: str
    status: int | None
    at: float
    until: float


def _nothing(_: Seen) -> None:
    pass


class FaultProxy:
    """Keeps connections alive on both sides, one thread for each; can go down and come up again on the same port.

    `before` is called with each request that came, `after` when the server has answered and the client has not heard
    of it: between two calls of a client, whatever happens in there has happened. `delay_s` passes each way.
    """

    def __init__(self, upstream: str, *, operation_header: str = "X-Amz-Target", clock: Clock | None = None) -> None:
        parts = urlsplit(upstream)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError("expected an upstream such as http://127.0.0.1:8200")
        self.before: Callable[[Seen], None] = _nothing
        self.after: Callable[[Seen], None] = _nothing
        self.delay_s = 0.0
        self.port = 0
        self._upstream = (parts.hostname, parts.port)
        self._operation_header = operation_header
        self._clock = clock or SystemClock()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._plans: list[Plan] = []
        self._log: list[Entry] = []
        self._lines: dict[Line, threading.Thread] = {}
        self._acceptor: threading.Thread | None = None
        self._stopping = threading.Event()

    # what it is told

    def fault(
        self,
        how: str,
        on: On = ANY,
        *,
        nth: int = 1,
        times: int | None = 1,
        answer: Message | None = None,
        over_s: float = 1.0,
    ) -> Plan:
        """Spoil the `nth` of these requests from now on and those after it, `times` in all (None: until `clear`).

        A request that an earlier fault spoils is not counted by a later one. `answer` is what `answer` and
        `answer_after` say, `over_s` how long `slow_body` takes. Raises ValueError.
        """
        if how not in WAYS or (WAYS[how].ends == "other") != (answer is not None):
            message = f"expected one of {', '.join(WAYS)}, and an answer for answer and answer_after alone"
            raise ValueError(message)
        plan = Plan(how=how, on=on, nth=nth, times=times, answer=answer, over_s=over_s)
        with self._lock:
            self._plans.append(plan)
        return plan

    def clear(self) -> None:
        """Everything behaves from now on, and what hangs goes on."""
        with self._lock:
            plans, self._plans = self._plans, []
        for plan in plans:
            plan.release()

    # what it is

    @property
    def url(self) -> str:
        """Its base URL; known once started."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> list[Entry]:
        """The requests that ended, in the order in which they did."""
        with self._lock:
            return list(self._log)

    def start(self) -> None:
        """Listen; returns when connections are taken."""
        if self._acceptor:
            return
        listener = _listener(self.port)
        self.port = listener.getsockname()[1]
        self._stopping = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, args=(listener, self._stopping), daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Stop listening and drop every connection. May be called from a hook."""
        acceptor, self._acceptor = self._acceptor, None
        self._stopping.set()
        if acceptor:
            acceptor.join(STOP_S_MAX)
        with self._lock:
            lines = dict(self._lines)
        for line in lines:
            line.unplug()
        for thread in lines.values():
            if thread is not threading.current_thread():
                thread.join(STOP_S_MAX)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # what it does

    def _accept(self, listener: socket.socket, stopping: threading.Event) -> None:
        with listener:
            while not stopping.is_set():
                with suppress(TimeoutError):
                    client, _ = listener.accept()
                    self._take(Line(client, self._upstream), stopping)

    def _take(self, line: Line, stopping: threading.Event) -> None:
        thread = threading.Thread(target=self._serve, args=(line, stopping), daemon=True)
        with self._lock:
            self._lines[line] = thread
        thread.start()

    def _serve(self, line: Line, stopping: threading.Event) -> None:
        try:
            with suppress(OSError):  # one side went away: the other one loses its connection too
                while not stopping.is_set() and self._exchange(line, stopping):
                    pass
        finally:
            line.close()
            with self._lock:
                del self._lines[line]

    def _exchange(self, line: Line, stopping: threading.Event) -> bool:
        """One request and its answer; whether the connection goes on."""
        request = line.next_request()
        if request is None:
            return False
        at = self._clock.now()
        call = _Call(line, request, self._seen(request), self._planned(request), stopping)
        self.before(call.seen)
        reply = self._reply(call)
        entry = Entry(call.seen, call.fault, reply.status if reply else None, at, self._clock.now())
        with self._lock:
            self._log.append(entry)  # before it is said: who has heard the answer finds it in the log
        return call.say(reply) and request.lasting

    def _seen(self, request: Message) -> Seen:
        path = request.target.partition("?")[0]
        return Seen(next(self._numbers), request.method, path, request.header(self._operation_header))

    def _planned(self, request: Message) -> Plan | None:
        with self._lock:
            return next((plan for plan in self._plans if plan.takes(request)), None)

    def _reply(self, call: _Call) -> Message | None:
        """What the client shall be told; None: nothing."""
        try:
            call.stopping.wait(self.delay_s)
            call.hang("before")
            answered = call.line.forward(call.request) if call.way.forwards else None
            if answered:
                self.after(call.seen)
            call.hang("after")
            call.stopping.wait(self.delay_s)
        except OSError:  # the server is gone, or the client has given up
            return None
        if call.way.ends in ("reset", "cut"):
            return None
        return call.plan.answer if call.plan and call.plan.answer else answered


@dataclass(frozen=True)
class _Call:
    """One request on its way, and what is planned for it."""

    line: Line
    request: Message
    seen: Seen
    plan: Plan | None
    stopping: threading.Event

    @property
    def fault(self) -> str:
        return self.plan.how if self.plan else ""

    @property
    def way(self) -> Way:
        return WAYS[self.plan.how] if self.plan else TRANSPARENT

    def hang(self, when: Literal["before", "after"]) -> None:
        """Hang, if that is planned here, until released. Raises BrokenMessage where nobody waits any more."""
        while self.plan and self.way.hangs == when and not self.plan.released.wait(GIVEN_UP_POLL_S):
            if self.stopping.is_set() or self.line.given_up():
                raise BrokenMessage("nobody waits any more")

    def say(self, reply: Message | None) -> bool:
        """Tell the client; whether its connection goes on."""
        if reply is None:
            if self.way.ends != "cut":
                self.line.reset()
            return False
        wire = reply.wire()
        if self.way.ends == "half":
            self.line.say(wire[: len(wire) - max(1, (len(reply.body) + 1) // 2)])
            return False
        for piece in self._pieces(wire):
            self.line.say(piece)
        return reply.lasting

    def _pieces(self, wire: bytes) -> Iterator[bytes]:
        if self.plan is None or self.way.ends != "slow":
            yield wire
            return
        size = len(wire) // PIECES + 1
        starts = range(0, len(wire), size)
        for start in starts:
            self.stopping.wait(self.plan.over_s / len(starts))
            yield wire[start : start + size]


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    listener.settimeout(ACCEPT_POLL_S)
    return listener
