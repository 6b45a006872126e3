"""How the fake misbehaves when told: faults that hit single calls, a few of them, or all for a while."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from keyturn_aws.simulator_calls import OPERATIONS

GROUPS = ("any", "read", "write")
HOWS = (
    "throttle",  # refused with ThrottlingException, nothing happened
    "status",  # `status:503`, nothing happened
    "status-after",  # `status-after:500`, committed all the same
    "reset-before",  # the connection breaks without an answer, nothing happened
    "reset-after",  # committed, then the connection breaks without an answer
    "hang-before",  # no answer; served when released, nothing happens where the client gives up first
    "hang-after",  # committed, no answer until released
    "late",  # `late:SECONDS`, the commit and the answer come late
    "stale",  # a read sees everything as it was before the last write
)


@dataclass(kw_only=True)
class Fault:
    """`how` (with its argument after a colon) on `times` calls after `skip`, or on all of them for `for_s` seconds.

    `on` is an operation, or one of `any`, `read`, `write`; `name` narrows it to one secret. `until` is set on arrival.
    """

    on: str
    how: str
    times: int = 1
    skip: int = 0
    name: str = ""
    for_s: float | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        kinds = (*GROUPS, *OPERATIONS)
        if self.on not in kinds or self.kind not in HOWS:
            message = f"expected on: {', '.join(kinds)} and how: {', '.join(HOWS)}"
            raise ValueError(message)

    @property
    def kind(self) -> str:
        """What happens, without its argument."""
        return self.how.partition(":")[0]

    @property
    def argument(self) -> str:
        """What stands after the colon."""
        return self.how.partition(":")[2]

    def hits(self, operation: str, name: str, now: float) -> bool:
        """Whether this call is spoiled. Counts it."""
        group = "write" if OPERATIONS[operation].writes else "read"
        if self.on not in ("any", group, operation) or self.name not in ("", name):
            return False
        if self.until is not None:
            return now < self.until
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return self.times >= 0


def fault_from(data: Mapping[str, Any]) -> Fault:
    """A fault as JSON has it. Raises ValueError for an unknown property, call or way."""
    known = {each.name for each in fields(Fault)} - {"until"}
    if set(data) - known or not {"on", "how"} <= set(data):
        message = f"expected the properties {', '.join(sorted(known))}"
        raise ValueError(message)
    return Fault(**data)


class FaultBook:
    """The faults still to come."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.releases = 0

    def add(self, fault: Fault, now: float) -> None:
        """Plan one more; a fault `for_s` seconds begins `now`."""
        with self._lock:
            fault.until = None if fault.for_s is None else now + fault.for_s
            self._faults.append(fault)

    def next_for(self, operation: str, name: str, now: float) -> Fault | None:
        """The fault that hits this call, used up."""
        with self._lock:
            return next((fault for fault in self._faults if fault.hits(operation, name, now)), None)

    @property
    def pending(self) -> int:
        """How many faults are still to come."""
        with self._lock:
            return sum(fault.times > 0 for fault in self._faults)

    def release(self) -> None:
        """Let go of every call that hangs."""
        with self._lock:
            self.releases += 1

    def clear(self) -> None:
        """Plan nothing any more, and let go of what hangs."""
        with self._lock:
            self._faults.clear()
        self.release()
