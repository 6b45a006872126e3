"""How the simulated cluster misbehaves when told: faults that hit single requests, once or a few times."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

CHANGES = ("create", "add", "remove", "delete")
KINDS = (*CHANGES, "change", "read", "probe")
"""What a fault may be `on`. `change` is any of the first four, `read` every GET of the Configuration API, `probe` the
Sideband API."""

HOWS = (
    "timeout-before",  # contract 10.2: nothing happens, no answer comes
    "timeout-after",  # 10.2: committed, no answer comes
    "reset-before",  # 10.2: the connection breaks, nothing happened
    "reset-after",  # 10.2: committed, the answer is cut in the middle
    "late",  # 10.2: `late:SECONDS`, the commit and the answer come late
    "reset-late",  # 10.2: `reset-late:SECONDS`, the connection breaks at once, the commit comes late
    "status",  # 10.1: `status:500`, nothing happened, SCIM error
    "status-after",  # 10.1: `status-after:500`, committed all the same
    "empty",  # 10.1: `empty:500`, nothing happened, no body
    "html",  # 10.1: a proxy's page with status 200, nothing happened
    "html-after",  # 10.1: committed, the proxy's page hides it
    "429",  # 10.18: with Retry-After, nothing happened
    "foreign-add",  # 10.12: another administrator adds `foreign-add:NAME` first, then the request is served
    "foreign-remove",  # 10.12
    "foreign-delete",  # 10.12
)
HOSTILE = ("reset-before", "reset-after", "late:0.2", "status:500", "status-after:500", "html", "html-after", "429")
"""Without time-outs, which teach a client nothing that a reset does not, and cost its whole patience."""


@dataclass(kw_only=True)
class Fault:
    """`how` (with its argument after a colon) on `times` requests of kind `on`, at one server or any, after `skip`."""

    on: str
    how: str
    server: int | None = None
    times: int = 1
    skip: int = 0

    def __post_init__(self) -> None:
        if self.on not in KINDS or self.how.partition(":")[0] not in HOWS:
            message = f"expected on: {', '.join(KINDS)} and how: {', '.join(HOWS)}"
            raise ValueError(message)

    @property
    def name(self) -> str:
        """What happens, without its argument."""
        return self.how.partition(":")[0]

    def hits(self, on: str, server: int) -> bool:
        """Whether this request is spoiled. Counts it."""
        if not self.times or self.server not in (None, server) or self.on not in (on, _group(on)):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True

    @property
    def argument(self) -> str:
        """What stands after the colon."""
        return self.how.partition(":")[2]


def _group(on: str) -> str:
    return "change" if on in CHANGES else on


def fault_from(data: Mapping[str, Any]) -> Fault:
    """A fault as JSON has it. Raises ValueError for an unknown property, kind or way."""
    unknown = set(data) - {each.name for each in fields(Fault)}
    if unknown or not {"on", "how"} <= set(data):
        message = "expected the properties on, how, server, times, skip"
        raise ValueError(message)
    return Fault(**data)


@dataclass
class FaultBook:
    """The faults still to come. With a seed it is *hostile*: every fourth request or so fails in some way."""

    faults: list[Fault] = field(default_factory=list)
    dice: random.Random | None = None

    def next_for(self, on: str, server: int) -> Fault | None:
        """The fault that hits this request, used up."""
        for fault in self.faults:
            if fault.hits(on, server):
                return fault
        if self.dice and self.dice.random() < 0.25:
            return Fault(on=on, how=self.dice.choice(HOSTILE))
        return None

    def hostile(self, seed: int | None) -> None:
        """Random faults from a seed; None: an end to them."""
        self.dice = None if seed is None else random.Random(seed)  # noqa: S311 - repeatable, not secret
