"""A clock on which something happens at the very moment at which a vendor has made a change and is slow to answer."""

from __future__ import annotations

from collections.abc import Callable

from keyturn.testing.clock import FakeClock

ANSWERS_S = 5.0
"""How slow such an answer is; nothing else waits for so long."""


class Moment(FakeClock):
    """Something happens once the vendor has made the change and takes its time to answer, if it answers at all."""

    def __init__(self) -> None:
        super().__init__()
        self.happens: Callable[[], object] | None = None

    def wait(self, seconds: float) -> bool:
        if self.happens and seconds >= ANSWERS_S:
            happens, self.happens = self.happens, None
            happens()
        return super().wait(seconds)
