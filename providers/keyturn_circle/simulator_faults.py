"""How the simulated Circle misbehaves when told: faults that hit single requests, once or a few times."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

MUTATING = ("register", "rotate", "reset")
KINDS = (*MUTATING, "sign", "public-key", "entity", "wallet-sets", "wallets", "list-wallet-sets", "list-wallets")
ANY = "any"
"""What a fault may be `on`: one kind of call, or any of them."""

HOWS: Mapping[str, bool] = {
    "timeout-before": False,  # contract 8.10: nothing happens, no answer comes
    "timeout-after": False,  # contract 8.10: committed, no answer comes
    "reset-before": False,  # contract 8.10: the connection breaks, nothing happened
    "reset-after": False,  # contract 8.10: committed, the connection breaks before the answer
    "late": True,  # contract 8.10: `late:SECONDS`, the connection breaks at once, the commit comes later
    "slow": True,  # contract 8.10: `slow:SECONDS`, committed at once, the answer comes later
    "held": True,  # contract 8.7: `held:SECONDS`, in flight for so long, and judged only then
    "cut": False,  # contract 8.10: committed, the connection breaks in the middle of the answer
    "bad-length": False,  # contract 8.10: committed, Content-Length ends the answer too early
    "bad-utf8": False,  # contract 8.11: committed, a byte of the answer is no UTF-8
    "elsewhere-before": False,  # contract 8.6: somebody rotates in the Console, then the request is served
    "elsewhere-after": False,  # contract 8.6: the request is served, then somebody rotates in the Console
    "replayed": False,  # contract 8.2: a proxy delivers the request twice and passes on the second answer
}
"""What may happen besides a status, and whether it takes seconds."""

ANSWERS = ("ok", "missing", "empty", "not-base64", "truncated", "html", "no-data")
"""`answer:WORD`, contract 8.11: committed, and what the 2xx then has for a recovery file."""
CODE = re.compile(r"code(?P<after>-after)?:(?P<code>-?\d+)")
"""`code:N`: the error of that number in place of the call (contract 3); with `code-after:N` the call took effect."""
STATUS = re.compile(r"(?P<status>[2345]\d\d)(?P<after>-after)?(?::(?P<form>.*))?")
FORMS = ("json", "empty", "html")
"""`STATUS[:FORM]` (contract 8.10, 8.12): nothing happened; with `-after` it did."""
RETRY = re.compile(r"\d+|date|none")
"""The form of a 429 (contract 8.12): seconds in Retry-After, a date in it, or none of it."""

HOSTILE = (
    *("reset-before", "reset-after", "late:1", "cut", "bad-length", "500:empty", "502:html", "500-after:empty"),
    *("502-after:html", "503-after:html", "429:0", "429:none", "replayed", "answer:missing", "code-after:-1"),
)
"""Without time-outs, which teach a client nothing that a broken connection does not, and cost its whole patience."""


@dataclass(frozen=True, kw_only=True)
class Spoiled:
    """What stands in place of an answer: a status and its form, or an error's `code`; and whether the call was made."""

    status: int = 0
    form: str = "json"
    code: int | None = None
    after: bool


def spoiled(how: str) -> Spoiled | None:
    """What `STATUS[-after][:FORM]` or `code[-after]:N` asks for; None for other words. Raises ValueError."""
    coded = CODE.fullmatch(how)
    if coded:
        return Spoiled(code=int(coded["code"]), after=bool(coded["after"]))
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
    if spoiled(how) or HOWS.get(how) is False or (name == "answer" and argument in ANSWERS):
        return
    if not HOWS.get(name) or not re.fullmatch(r"\d+(\.\d+)?", argument):
        message = (
            f"expected how: {', '.join(HOWS)} (late, slow and held with :SECONDS), STATUS[-after][:FORM], "
            f"code[-after]:N, or answer: with one of {', '.join(ANSWERS)}"
        )
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
        if type(self.times) is not int or type(self.skip) is not int or self.times < 1 or self.skip < 0:
            message = "expected times from 1 on, and skip from 0 on"
            raise ValueError(message)
        check_how(f"{self.how}")

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
