"""How the simulated Token Service misbehaves when told: faults that hit single requests, once or a few times."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

KINDS = ("user-token", "entity-token", "read", "reset")
ANY = "any"
"""What a fault may be `on`: one of the four calls, or any of them."""

HOWS: Mapping[str, bool] = {
    "timeout-before": False,  # contract 9.2: nothing happens, no answer comes
    "timeout-after": False,  # contract 9.1: committed, no answer comes
    "reset-before": False,  # contract 9.2: the connection breaks, nothing happened
    "reset-after": False,  # contract 9.1: committed, the connection breaks before the answer
    "late": True,  # contract 9.3: `late:SECONDS`, the connection breaks at once, the commit comes later
    "slow": True,  # contract 9.22: `slow:SECONDS`, committed at once, the answer comes later
    "cut-json": False,  # contract 9.4: committed, the answer breaks off in the middle
    "bad-length": False,  # contract 9.4: committed, Content-Length ends the answer too early
    "bad-utf8": False,  # contract 9.4: committed, a byte of the answer is no UTF-8
    "portal-before": False,  # contract 9.5: somebody else resets first, then the request is served
    "portal-after": False,  # contract 9.5: the request is served, then somebody else resets
    "token-revoked": False,  # contract 9.16: every user token is revoked first, then the request is served
}
"""What may happen besides a status, and whether it takes seconds."""

STATUS = re.compile(r"(?P<status>[2345]\d\d)(?P<after>-after)?(?::(?P<form>.*))?")
FORMS = ("json", "empty", "html", "oauth")
"""`STATUS[:FORM]` (contract 9.1, 9.17, 9.21): nothing happened; with `-after` it did. A 3xx leads to a login page."""
RETRY = re.compile(r"\d+|date|none")
"""The form of a 429: seconds in Retry-After, a date in it, or none of it."""

HOSTILE = (
    *("reset-before", "reset-after", "late:1", "cut-json", "bad-length", "500:empty", "502:html", "502-after:html"),
    *("504-after:html", "429:0", "token-revoked"),
)
"""Without time-outs, which teach a client nothing that a reset does not, and cost its whole patience."""


@dataclass(frozen=True, kw_only=True)
class Spoiled:
    """The status that stands in place of an answer, how its body looks, and whether the call took effect."""

    status: int
    form: str
    after: bool


def spoiled(how: str) -> Spoiled | None:
    """What a `STATUS[-after][:FORM]` asks for; None for any other word. Raises ValueError for an unknown form."""
    match = STATUS.fullmatch(how)
    if not match:
        return None
    status, form = int(match["status"]), match["form"] or "json"
    if not (RETRY.fullmatch(match["form"] or "none") if status == 429 else form in FORMS):
        message = f"expected STATUS[-after][:FORM] with one of {', '.join(FORMS)}; 429: SECONDS, date or none"
        raise ValueError(message)
    return Spoiled(status=status, form=form, after=bool(match["after"]))


def check_how(how: str) -> None:
    """Raises ValueError where `how` is no fault."""
    name, _, argument = how.partition(":")
    if spoiled(how) or (name in HOWS and not HOWS[name]):
        return
    if not HOWS.get(name) or not re.fullmatch(r"\d+(\.\d+)?", argument):
        message = f"expected how: {', '.join(HOWS)} (late and slow with :SECONDS), or STATUS[-after][:FORM]"
        raise ValueError(message)


@dataclass(kw_only=True)
class Fault:
    """`how` (with its argument after a colon) on `times` requests of kind `on`, after `skip` of them."""

    on: str
    how: str
    times: int = 1
    skip: int = 0

    def __post_init__(self) -> None:
        if self.on not in (*KINDS, ANY):
            message = f"expected on: {', '.join((*KINDS, ANY))}"
            raise ValueError(message)
        check_how(self.how)

    def hits(self, on: str) -> bool:
        """Whether this request is spoiled. Counts it."""
        if not self.times or self.on not in (on, ANY):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


def fault_from(data: Mapping[str, Any]) -> Fault:
    """A fault as JSON has it. Raises ValueError for an unknown property, kind or way."""
    unknown = set(data) - {each.name for each in fields(Fault)}
    if unknown or not {"on", "how"} <= set(data):
        message = "expected the properties on, how, times, skip"
        raise ValueError(message)
    return Fault(**data)


@dataclass
class FaultBook:
    """The faults still to come. With a seed it is *hostile*: every fourth request or so fails in some way."""

    faults: list[Fault] = field(default_factory=list)
    dice: random.Random | None = None

    def next_for(self, on: str) -> str:
        """How this request is spoiled, which uses the fault up; empty where it is not."""
        for fault in self.faults:
            if fault.hits(on):
                return fault.how
        if self.dice and self.dice.random() < 0.25:
            return self.dice.choice(HOSTILE)
        return ""

    def hostile(self, seed: int | None) -> None:
        """Random faults from a seed; None: an end to them."""
        self.dice = None if seed is None else random.Random(seed)  # noqa: S311 - repeatable, not secret
