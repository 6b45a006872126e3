"""What all secrets of one process share: journal, escrow, clock, fence, and who acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from keyturn.clock import Clock
from keyturn.engine.fence import Fence
from keyturn.engine.limits import Limits
from keyturn.engine.record.events import Body
from keyturn.escrow import Escrow
from keyturn.journal.store import Journal
from keyturn.secret import Secret

Told = Callable[[str, Body], None]
"""Progress: the secret's name and the event that was just journaled."""


class Answers:
    """Which secret and version an attempt belongs to, so that a raw answer can be sealed from anywhere."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[str, str]] = {}
        self._escrow: Escrow | None = None

    def keep_in(self, escrow: Escrow) -> None:
        """Where to seal from now on."""
        self._escrow = escrow

    def expect(self, attempt_id: str, secret: str, version_id: str) -> None:
        """An answer to this attempt may come."""
        self._of[attempt_id] = (secret, version_id)

    def seal(self, attempt_id: str, raw: Secret) -> None:
        """Seal a raw answer under its attempt; answers nobody expects (a probe's) are not kept."""
        if attempt_id in self._of and self._escrow:
            secret, version_id = self._of[attempt_id]
            self._escrow.seal_answer(secret, attempt_id, version_id, raw)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """What all secrets of one process share. `entropy` gives random bytes, `tell` is told of each event.

    `values` are all secret values at hand, which the fence takes out of every message; `left_alone` the secrets
    of which a call outlived its deadline: this process begins nothing more with them. `renewer` rotates secrets that
    are derived from another one (`engine.renewing.Renewer`); None where there are none.
    """

    journal: Journal
    escrow: Escrow
    clock: Clock
    fence: Fence
    resolve: Callable[[str], Secret]
    notifier: Any
    renewer: Any = None
    runner: str
    operator: str
    entropy: Callable[[int], bytes]
    answers: Answers = field(default_factory=Answers)
    values: set[str] = field(default_factory=set, repr=False)
    left_alone: set[str] = field(default_factory=set)
    limits: Limits = field(default_factory=Limits)
    tell: Told = field(default=lambda *_: None)
