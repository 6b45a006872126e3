"""A clock that tests drive: time passes only when somebody waits or advances it."""

from __future__ import annotations

import threading

START_S = 1_800_000_000.0


class FakeClock:
    """`keyturn.clock.Clock` for tests, safe to share between threads. `wait` lets time pass at once."""

    def __init__(self, start_s: float = START_S) -> None:
        self._lock = threading.Lock()
        self._wall_s = start_s
        self._monotonic_s = 0.0
        self._stopped = False

    def now(self) -> float:
        """Wall time, epoch seconds, UTC."""
        with self._lock:
            return self._wall_s

    def monotonic(self) -> float:
        """Seconds that were waited or advanced so far; `jump` does not touch it."""
        with self._lock:
            return self._monotonic_s

    def wait(self, seconds: float) -> bool:
        """Advance by `seconds`, unless stopped. True when `stop` was called."""
        if not self.stopped:
            self.advance(max(0.0, seconds))
        return self.stopped

    def sit_out(self, seconds: float) -> None:
        """Advance by `seconds`, stopped or not."""
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        if seconds < 0:
            raise ValueError("time does not go backwards; use jump for a wall clock that was set")
        with self._lock:
            self._wall_s += seconds
            self._monotonic_s += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forwards or backwards, as a person or NTP does."""
        with self._lock:
            self._wall_s += seconds

    def stop(self) -> None:
        """Ask for a stop: every later wait answers True and lets no time pass."""
        with self._lock:
            self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        with self._lock:
            return self._stopped
