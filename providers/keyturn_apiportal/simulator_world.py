"""What the small simulators here share: time, late deeds, access tokens, and what each gateway has heard so far."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

TOKEN_LIFE_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Switches:
    """How the portal is. `sync_s`: how late each gateway hears of a change; one that is late for ever is deaf.

    `forbidden`: the login lacks the rights to change anything. `hang_s`: how long an answer that never comes is
    waited for.
    """

    gateway_down: Sequence[int] = ()
    sync_s: Sequence[float] = ()
    forbidden: bool = False
    hang_s: float = 60.0


Wired = TypeVar("Wired", bound=Switches)


class World(Generic[Wired]):
    """Time, the log, late deeds, tokens, and what each gateway has heard so far. Everything under `lock`."""

    def __init__(self, now: Callable[[], float], gateways: int, switches: Wired) -> None:
        self.now, self.switches = now, switches
        self.lock = threading.RLock()
        self.log: list[dict[str, Any]] = []
        self.client_id, self.client_secret = "keyturn-rotator", secrets.token_urlsafe(18)
        self._tokens: dict[str, float] = {}
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._told: list[tuple[float, frozenset[str]]] = []
        self._heard = [0] * gateways

    def tick(self) -> None:
        """Let happen what is due."""
        for due in sorted((one for one in self._later if one[0] <= self.now()), key=lambda one: one[0]):
            self._later.remove(due)
            due[1]()
        for gateway, heard in enumerate(self._heard):
            since = self.now() - self.switches.sync_s[gateway]
            known = [index for index, (at, _) in enumerate(self._told) if at <= since]
            self._heard[gateway] = max([heard, *known])

    def later(self, seconds: float, deed: Callable[[], object]) -> None:
        """Do it that much later."""
        self._later.append((self.now() + seconds, deed))

    def tell(self, accepted: frozenset[str]) -> None:
        """What is accepted from now on; each gateway hears of it when it does."""
        self._told.append((self.now(), accepted))
        self.tick()

    def heard(self, gateway: int) -> frozenset[str]:
        """What this gateway accepts now."""
        self.tick()
        return self._told[self._heard[gateway]][1]

    def record(self, on: str, status: int, **more: Any) -> None:
        """A line of the log, without values."""
        self.log.append({"at": self.now(), "on": on, "status": status, **more})

    def grant(self) -> str:
        """A new access token."""
        token = secrets.token_urlsafe(24)
        self._tokens[token] = self.now() + TOKEN_LIFE_S
        return token

    def revoke_tokens(self) -> None:
        """No access token is good any more."""
        self._tokens.clear()

    def admits(self, authorization: str) -> bool:
        """Whether this header has an access token that is good now."""
        token = authorization.removeprefix("Bearer ")
        return self._tokens.get(token, 0.0) > self.now()
