"""The database's time without asking for it at every turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from keyturn.clock import Clock
from keyturn.journal.faults import JournalError

REMEASURE_S = 5.0
JUMP_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The database's time and the wall's, both less the monotonic one, as they were at `at` (monotonic)."""

    at: float
    database_less: float
    wall_less: float


class DatabaseTime:
    """The database's clock, carried on by this machine's monotonic one for a few seconds.

    What decides (leases, times of events) is read in the transaction itself and never comes from here.
    """

    def __init__(self, clock: Clock, ask: Callable[[], float]) -> None:
        self._clock = clock
        self._ask = ask
        self._measured: Measured | None = None

    def now(self) -> float:
        """Epoch seconds. Once the database has answered, a time when it does not is bridged. Raises JournalError."""
        known = self._measured
        if known is None or self._is_old(known):
            known = self._measured = self._measure(known)
        return known.database_less + self._clock.monotonic()

    def _is_old(self, known: Measured) -> bool:
        now = self._clock.monotonic()
        # A machine that slept, or whose clock was set, has a wall clock that left the monotonic one.
        jumped = abs(self._clock.now() - now - known.wall_less) > JUMP_S
        return jumped or not known.at <= now < known.at + REMEASURE_S

    def _measure(self, known: Measured | None) -> Measured:
        began = self._clock.monotonic()
        wall_less = self._clock.now() - began
        try:
            database = self._ask()
        except JournalError:
            if known is None:
                raise
            return replace(known, at=self._clock.monotonic(), wall_less=wall_less)
        ended = self._clock.monotonic()
        return Measured(at=ended, database_less=database - (began + ended) / 2, wall_less=wall_less)
