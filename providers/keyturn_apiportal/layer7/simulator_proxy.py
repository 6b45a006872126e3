"""One simulated proxy: which credentials it takes at each moment, by what it has heard. No HTTP here."""

from __future__ import annotations

import hashlib
import math
import secrets
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from keyturn_apiportal.layer7.simulator_switches import ProxySwitches

FAILURES = {
    "old-otk": ("ERROR", "OTK older than 4.4 cannot take hashed keys"),
    "error": ("ERROR", "the key could not be written to the key store"),
    "validation-error": ("VALIDATION_ERROR", "the key is not valid on this proxy"),
}
"""How a proxy may fail to take a key (contract 3, 7.9): status and message, as the Deployments tab has them."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A key as the portal gives it to its proxies; `digest` is the SHA-512 of its secret."""

    api_key: str
    digest: str
    hashed: bool
    live: bool
    public: bool = False
    scope: str = ""


@dataclass(kw_only=True)
class Arrival:
    """A revision on its way: in force from `due` on; `failed` says why it never will be."""

    revision: Revision
    due: float
    failed: str = ""


@dataclass(kw_only=True)
class ProxyState:
    """What one proxy knows. Callers hold `World.lock`. `down_since`: it takes no connections."""

    name: str
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    switches: ProxySwitches = field(default_factory=ProxySwitches)
    arrivals: dict[str, list[Arrival]] = field(default_factory=dict)
    tokens: dict[str, float] = field(default_factory=dict, repr=False)
    down_since: float | None = None
    looks: int = 0

    # what it hears

    def hear(self, revision: Revision, now: float, *, known: bool = False) -> None:
        """Contract 3, 7.9: it takes a change some time after the commit, or never; `known`: it has it already."""
        switches = self.switches
        failed = switches.sync if switches.sync in FAILURES else ""
        if failed == "old-otk" and not revision.hashed:
            failed = ""
        waits = switches.sync in ("on-demand", "never") or failed
        due = -math.inf if known else math.inf if waits else now + switches.sync_s
        self.arrivals.setdefault(revision.api_key, []).append(Arrival(revision=revision, due=due, failed=failed))

    def deploy(self, now: float) -> None:
        """Somebody pushes every key to it: what it can take it takes now (contract 3: On Demand)."""
        for arrival in self._open(now):
            if self.switches.sync not in ("never", arrival.failed):
                arrival.due, arrival.failed = now, ""

    def returned(self, now: float) -> None:
        """It is up again; what it missed comes as if it was committed now."""
        since, self.down_since = self.down_since, None
        for arrival in self._open(since if since is not None else now):
            if math.isfinite(arrival.due):
                arrival.due = max(arrival.due, now + self.switches.sync_s)

    def _open(self, now: float) -> Iterator[Arrival]:
        return (one for arrivals in self.arrivals.values() for one in arrivals if one.due > now)

    def _heard_at(self, now: float) -> float:
        """While it is down it hears of nothing."""
        return now if self.down_since is None else min(now, self.down_since)

    # what it takes

    def holds(self, api_key: str, now: float) -> bool:
        """Whether its key store has this key as one that may be used (contract 6: keyStoreCheck)."""
        return any(one.live for one in self._taken(api_key, self._heard_at(now)))

    def accepts(self, api_key: str, secret: str, now: float) -> bool:
        """The oracle: whether some answer of this proxy would accept this pair now."""
        moments = {self._heard_at(now), self._heard_at(now) - self.switches.flap_s}
        return any(self._match(api_key, secret, moment) is not None for moment in moments)

    def look(self, api_key: str, secret: str, now: float) -> Revision | None:
        """The client with these credentials, as the next answer sees it; behind a balancer each other one lags."""
        self.looks += 1
        return self._match(api_key, secret, now - (self.switches.flap_s if self.looks % 2 else 0.0))

    def _match(self, api_key: str, secret: str, at: float) -> Revision | None:
        digest = digest_of(secret)
        return next((one for one in self._taken(api_key, at) if one.live and one.digest == digest), None)

    def _taken(self, api_key: str, at: float) -> Sequence[Revision]:
        """The revision in force, and with a cache those that it replaced a short while ago (contract 7.9)."""
        there = [one for one in self.arrivals.get(api_key, []) if one.due <= at]
        cached = [old.revision for old, new in pairwise(there) if at < new.due + self.switches.cache_s]
        return [*(one.revision for one in there[-1:]), *cached]

    # tokens

    def token(self, now: float) -> str:
        """A bearer token of this proxy, which lives until its end whatever becomes of the key (contract 4)."""
        made = secrets.token_urlsafe(24)
        self.tokens[made] = now + self.switches.token_life_s
        return made

    def knows(self, token: str, now: float) -> bool:
        """Whether this bearer token is good here."""
        return self.tokens.get(token, 0.0) > now

    # how it is

    def deployment(self, api_key: str, now: float) -> tuple[str, str]:
        """The state of a key here, and a message (contract 3)."""
        arrivals = self.arrivals.get(api_key)
        if not arrivals:
            return "NOT_DEPLOYED", ""
        last = arrivals[-1]
        if last.due <= self._heard_at(now):
            return ("DEPLOYED" if last.revision.live else "NOT_DEPLOYED"), ""
        if last.failed:
            return FAILURES[last.failed]
        return ("PENDING_DEPLOYMENT" if last.revision.live else "PENDING_UNDEPLOYMENT"), ""

    @property
    def deployment_type(self) -> str:
        """How keys come to this proxy (contract 3)."""
        return "ON_DEMAND" if self.switches.sync == "on-demand" else "AUTOMATIC"

    def shown(self, now: float) -> dict[str, Any]:
        """Everything but values."""
        return {
            "name": self.name,
            "down": self.down_since is not None,
            "switches": vars(self.switches),
            "tokens": sum(end > now for end in self.tokens.values()),
            "keys": {key: self.deployment(key, now)[0] for key in self.arrivals},
        }


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha512(secret.encode()).hexdigest()
