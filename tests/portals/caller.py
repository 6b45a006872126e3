"""A consumer that never stops: it reads what the store serves and calls a proxy with it, every 20 ms."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle

import httpx

from keyturn.clock import SystemClock

EVERY_S = 0.02
Bundle = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One call: when the store was read (epoch s), at which proxy, and whether it was let in."""

    at: float
    proxy: str
    accepted: bool


@dataclass
class Caller:
    """`read` is the store, `call` one call of a proxy; each proxy in turn."""

    proxies: list[str]
    read: Callable[[], Bundle]
    call: Callable[[httpx.Client, str, Bundle], bool]
    heard: list[Heard] = field(default_factory=list)
    trouble: list[Exception] = field(default_factory=list)

    @property
    def refused(self) -> list[Heard]:
        """The calls that were not let in."""
        return [one for one in self.heard if not one.accepted]

    def versions_used(self) -> int:
        return len({one.at for one in self.heard})

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Calls until the block ends. Whatever else went wrong is raised then."""
        done = threading.Event()
        thread = threading.Thread(target=self._run, args=(done,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(timeout=30)
        assert self.trouble == []

    def _run(self, done: threading.Event) -> None:
        clock = SystemClock()
        with httpx.Client(timeout=10, trust_env=False) as client:
            for proxy in cycle(self.proxies):
                if done.wait(EVERY_S):
                    return
                try:
                    at = clock.now()
                    accepted = self.call(client, proxy, self.read())
                    self.heard.append(Heard(at=at, proxy=proxy, accepted=accepted))
                except Exception as error:  # noqa: BLE001 - told at the end, where the test sees it
                    self.trouble.append(error)
                    return
