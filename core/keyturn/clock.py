"""Time: the only module that reads a clock or sleeps, so that everything else takes time as an argument."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time in epoch seconds, a monotonic counter in seconds, and an interruptible wait."""

    def now(self) -> float:
        """Wall time, epoch seconds, UTC."""

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes backwards."""

    def wait(self, seconds: float) -> bool:
        """Let time pass. True when somebody asked the process to stop meanwhile."""

    def sit_out(self, seconds: float) -> None:
        """Let time pass, also when asked to stop: for where stopping would leave consumers without a valid value."""

    def stop(self) -> None:
        """Ask for a stop: from a signal handler or another thread."""

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for."""


class SystemClock:
    """The machine's own clock. `stop()` ends every wait, from a signal handler or another thread."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def now(self) -> float:
        """Wall time, epoch seconds, UTC."""
        return time.time()  # noqa: TID251 - the one place

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        return time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Let time pass, or return True at once when stopped."""
        return self._stopped.wait(max(0.0, seconds))

    def sit_out(self, seconds: float) -> None:
        """Let time pass, also when stopped."""
        threading.Event().wait(max(0.0, seconds))

    def stop(self) -> None:
        """End this and every later wait at once."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()


def iso(at: float) -> str:
    """An instant as people and JSON see it: UTC, seconds, `Z`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
