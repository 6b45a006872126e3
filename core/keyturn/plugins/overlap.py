"""The overlap seam: how old and new live side by side. Pure: chooses within what the traits allow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from keyturn.model import Problem, Traits


@dataclass(frozen=True, kw_only=True)
class OverlapPolicy:
    """What the operator asked for; seconds. `accept_outage_s` None: no outage is accepted.

    `bridge` names secrets derived from this one, which are renewed with its old value just before issue ends that.
    """

    strategy: str = "auto"
    hold_s: float | None = None
    hold_max_s: float | None = None
    retire_window: str | None = None
    accept_outage_s: float | None = None
    bridge: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Live:
    """A version that the vendor still accepts, oldest first, as far as the journal knows."""

    number: int
    slot: str | None
    current: bool


@dataclass(frozen=True, kw_only=True)
class ChooseRequest:
    """`drainable`: some consumer can be told to drain."""

    traits: Traits
    policy: OverlapPolicy
    live: tuple[Live, ...] = ()
    drainable: bool = False


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What an overlap decided. `outage_s` is the longest outage it declares; 0 means none by design.

    `bridge`: the derived secrets to renew just before issue, as the policy names them.
    """

    slot: str | None = None
    holds: bool = False
    hold_s: float = 0.0
    retires: bool = False
    drains: bool = False
    outage_s: float = 0.0
    bridge: tuple[str, ...] = ()
    why: str = ""
    problems: tuple[Problem, ...] = field(default=())


class Overlap(Protocol):
    """One verb, pure. `choose` answers with fatal problems where this overlap can not serve these traits."""

    def choose(self, request: ChooseRequest, /) -> Choices:
        """Choose slot, hold, drain and outage.

        Repeat: always. Target gone: does not apply. Raises: nothing. After a crash in the middle: nothing changed.
        """
