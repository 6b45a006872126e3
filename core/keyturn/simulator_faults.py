"""How a simulator misbehaves when told: faults that hit single requests, once or a few times.

For plugins' `simulator_faults` modules, which say what may go wrong at their vendor; and for the simulators that obey.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ANY = "any"
"""What a fault may be `on`, besides a simulator's own kinds and groups of calls."""

STATUS = re.compile(r"(?P<status>[2345]\d\d)(?P<after>-after)?(?::(?P<form>.*))?")
"""`STATUS[:FORM]`: nothing happened, and this is the answer; with `-after` it happened."""
RETRY = re.compile(r"\d+|date|none")
"""The form of a 429: seconds in Retry-After, a date in it, or none of it."""
SECONDS = re.compile(r"\d+(\.\d+)?")
HOSTILE_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class FaultRules:
    """What may go wrong at one vendor.

    `kinds` are its calls, `groups` names for several of them; `hows` the words, and whether one takes `:SECONDS`;
    `forms` how the body of a `STATUS[-after][:FORM]` may look, the usual one first; `answers` the words of
    `answer:WORD`; `also` a regular expression of further words. `hostile` are the faults that a seed draws from. With
    `servers` a fault may be at one of several.
    """

    kinds: tuple[str, ...]
    hows: Mapping[str, bool]
    forms: tuple[str, ...]
    answers: tuple[str, ...] = ()
    hostile: tuple[str, ...] = ()
    also: str = ""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    servers: bool = False

    @property
    def properties(self) -> tuple[str, ...]:
        """What a fault is made of, as JSON has it."""
        return ("on", "how", "times", "skip", *(("server",) if self.servers else ()))

    def check_on(self, on: str) -> None:
        """Raises ValueError where `on` is no kind or group of calls."""
        known = (*self.kinds, *self.groups, ANY)
        if on not in known:
            message = f"expected on: {', '.join(known)}"
            raise ValueError(message)

    def check_how(self, how: str) -> None:
        """Raises ValueError where `how` is no fault."""
        name, _, argument = how.partition(":")
        simple = self.hows.get(how) is False or (name == "answer" and argument in self.answers)
        timed = self.hows.get(name) and SECONDS.fullmatch(argument)
        if not (simple or timed or re.fullmatch(self.also or "(?!)", how) or spoiled(how, self)):
            raise ValueError("expected how: " + "; ".join(self._hows()))

    def _hows(self) -> Iterator[str]:
        yield ", ".join(f"{name}:SECONDS" if takes_s else name for name, takes_s in self.hows.items())
        if self.forms:
            yield f"STATUS[-after][:FORM] with a form of {', '.join(self.forms)}"
        if self.answers:
            yield f"answer: with one of {', '.join(self.answers)}"
        if self.also:
            yield self.also

    def covers(self, on: str, kind: str) -> bool:
        """Whether what is on `on` hits a call of this kind."""
        return on in (kind, ANY) or kind in self.groups.get(on, ())


@dataclass(frozen=True, kw_only=True)
class Spoiled:
    """The status that stands in place of an answer, how its body looks, and whether the call took effect."""

    status: int
    form: str
    after: bool


def spoiled(how: str, rules: FaultRules) -> Spoiled | None:
    """What a `STATUS[-after][:FORM]` asks for; None for any other word. Raises ValueError for an unknown form."""
    match = STATUS.fullmatch(how)
    if not match or not rules.forms:
        return None
    status, form = int(match["status"]), match["form"] or rules.forms[0]
    if not (RETRY.fullmatch(match["form"] or "none") if status == 429 else form in rules.forms):
        message = f"expected STATUS[-after][:FORM] with one of {', '.join(rules.forms)}; 429: SECONDS, date or none"
        raise ValueError(message)
    return Spoiled(status=status, form=form, after=bool(match["after"]))


@dataclass(kw_only=True)
class Fault:
    """`how` (with its argument after a colon) on `times` requests of kind `on`, after `skip` of them.

    At one `server` (its index), where a simulator has several, or at any.
    """

    on: str
    how: str
    times: int = 1
    skip: int = 0
    server: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.on, str) or not isinstance(self.how, str):
            raise ValueError("expected words for on and how")  # noqa: TRY004 - whoever sent it as JSON is told
        if type(self.times) is not int or type(self.skip) is not int or self.times < 1 or self.skip < 0:
            raise ValueError("expected times from 1 on, and skip from 0 on")
        if self.server is not None and type(self.server) is not int:
            raise ValueError("expected a server by its number")

    def hits(self) -> bool:
        """Whether this request, which it is about, is spoiled. Counts it."""
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class FaultBook:
    """The faults still to come. With a seed it is *hostile*: every fourth request or so fails in some way."""

    rules: FaultRules
    faults: list[Fault] = field(default_factory=list)
    dice: random.Random | None = None

    def add(self, **fault: Any) -> None:
        """Plan one more, by the properties of `Fault`. Raises ValueError for an unknown kind of call or way."""
        self.faults.append(self.understood(fault))

    def add_from(self, data: Mapping[str, Any]) -> None:
        """Plan one more, as JSON has it. Raises ValueError, for an unknown property too."""
        self.faults.append(self.understood(data))

    def understood(self, data: Mapping[str, Any]) -> Fault:
        """A fault as JSON has it, not planned yet. Raises ValueError for an unknown property, kind or way."""
        known = self.rules.properties
        if not isinstance(data, Mapping) or set(data) - set(known) or not {"on", "how"} <= set(data):
            message = f"expected the properties {', '.join(known)}"
            raise ValueError(message)
        fault = Fault(**data)
        self.rules.check_on(fault.on)
        self.rules.check_how(fault.how)
        return fault

    def next_for(self, on: str, server: int | None = None) -> str:
        """How this request is spoiled, which uses the fault up; empty where it is not."""
        for fault in self._about(on, server):
            if fault.hits():
                return fault.how
        if self.dice and self.rules.hostile and self.dice.random() < HOSTILE_SHARE:
            return self.dice.choice(self.rules.hostile)
        return ""

    def _about(self, on: str, server: int | None) -> Iterator[Fault]:
        for fault in self.faults:
            if fault.times and fault.server in (None, server) and self.rules.covers(fault.on, on):
                yield fault

    def hostile(self, seed: int | None) -> None:
        """Random faults from a seed; None: an end to them."""
        self.dice = None if seed is None else random.Random(seed)  # noqa: S311 - repeatable, not secret

    def clear(self) -> None:
        """Plan nothing any more, and be hostile no more."""
        self.faults.clear()
        self.hostile(None)
