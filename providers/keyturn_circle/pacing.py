"""At most so many calls a second at one endpoint (contract 1), kept here so that the vendor need not refuse."""

from __future__ import annotations

import threading
from collections import defaultdict, deque

from keyturn.api import Context
from keyturn_circle.options import CALLS_PER_S

WINDOW_S = 1.05
"""A second, and what one call may travel faster than another."""
LOOK_S = 0.02


class Pacing:
    """When each endpoint was called of late. One for each account and run."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._calls: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=CALLS_PER_S))

    def count(self, endpoint: str) -> None:
        """Count a call that is made at once: one that changes something is never held back."""
        with self._lock:
            self._calls[endpoint].append(self._context.now())

    def turn(self, endpoint: str) -> None:
        """Wait until this endpoint may be called again; seconds at most, also where the clock was set back."""
        now = self._context.now()
        with self._lock:
            calls = self._calls[endpoint]
            at = max(now, calls[0] + WINDOW_S) if len(calls) == CALLS_PER_S else now
            at = min(at, now + len(calls) * WINDOW_S)
            calls.append(at)
        if at > now:
            # Asked to stop: the call goes out nevertheless, and at worst proves nothing.
            self._context.wait(lambda: self._context.now() >= at, every_s=min(LOOK_S, at - now), at_most_s=at - now)

    def rest(self, endpoint: str) -> None:
        """Count this endpoint as called too often, by others too: the next turn is a second from now."""
        now = self._context.now()
        with self._lock:
            self._calls[endpoint].extend([now] * CALLS_PER_S)
