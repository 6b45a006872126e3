"""A simulated Sahamati Token Service on loopback: a real HTTP server that keeps state, and misbehaves when told.

In a process: `with Simulator() as sim: ...`. From another one: POST to `/simulator/faults` and `/simulator/portal`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from keyturn.simulator import Listener, bound_socket
from keyturn.simulator_faults import Fault, FaultBook
from keyturn_sahamati.simulator_app import Server
from keyturn_sahamati.simulator_faults import RULES
from keyturn_sahamati.simulator_gate import Gate
from keyturn_sahamati.simulator_switches import DAY_S
from keyturn_sahamati.simulator_world import Entity, User, Version, World, made_secret

SECRET = "network/entity"  # noqa: S105 - a secret's name
TOKEN = "network/entity-token"  # noqa: S105 - a secret's name
ENTITY = "fiu-demo"
NEVER_EXPIRED = "fip-legacy"
"""A member whose secret has no expiry: it is older than the rule, and was never reset (contract 9.10)."""
NEW_MEMBER = "aa-new"
"""A member without any secret yet."""
NEIGHBOUR = "fip-neighbour"
"""A member that the designated user does not administer (contract 9.17)."""
FIRST_LIFE_S = 30 * DAY_S
USER = "rotator+keyturn@member.example"
"""With a plus sign, which a client must percent-encode (contract 2.1)."""


class Simulator:
    """One environment with four members, three of which are administered by the designated user.

    `base_url` is what the option of that name takes; `initial` the secret to adopt; `environment` what the references
    in `configuration` need. All times come from `now` (epoch seconds); with a driven clock give `wait` too: slow
    answers and time-outs then let its time pass, and take none of the test's.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
        now: Callable[[], float] | None = None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        clock = now or (lambda: datetime.now(UTC).timestamp())
        self._user = User(password=_password(), administers=[ENTITY, NEVER_EXPIRED, NEW_MEMBER])
        self.world = World(clock, _members(clock()), {USER: self._user})
        self.book = FaultBook(RULES)
        self._port, self._tls = port, tls
        self._first_value = self.world.entities[ENTITY].versions[0].value
        self._gate = Gate(self._refusal)
        self._listener = Listener(Server(self.world, self.book, self, self._gate, wait).app, tls=tls, date=False)

    def start(self) -> None:
        """Take connections; the same port each time."""
        bound = bound_socket(self._port)
        self._port = bound.getsockname()[1]
        self._listener.start()
        self._gate.start(bound, self._listener.port)

    def stop(self) -> None:
        """Break every connection and take none any more."""
        self._gate.stop()
        self._listener.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # what it is

    @property
    def urls(self) -> list[str]:
        """Where it listens; known once started. The simulator's own pages are there too, under `/simulator`."""
        return [f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"]

    @property
    def base_url(self) -> str:
        """What the option `base_url` takes."""
        return f"{self.urls[0]}/iam"

    @property
    def network_url(self) -> str:
        """What the option `token_probe_url` takes: 200 for an entity token that is accepted, else 401."""
        return f"{self.urls[0]}/simulator/network"

    @property
    def control_url(self) -> str:
        """The server behind the address list: orders get through to it from everywhere."""
        return self._listener.url

    @property
    def environment(self) -> dict[str, str]:
        """What the references in `configuration` resolve to."""
        return {"SAHAMATI_USER": USER, "SAHAMATI_PASSWORD": self._user.password}

    @property
    def initial(self) -> dict[str, dict[str, Any]]:
        """By secret name: the bundle that consumers use already, to be adopted."""
        return {SECRET: {"bundle": {"entity_id": ENTITY, "entity_secret": self._first_value}}}

    def configuration(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - other vendors put files there
        """The `providers` and `secrets` of a configuration, with short delays; the sinks are the caller's."""
        short = {"activation": "5s", "settle": "2s", "settle_every": "200ms", "min_reset_interval": "0s"}
        login = {"username": "env:SAHAMATI_USER", "password": "env:SAHAMATI_PASSWORD"}
        account = {"kind": "sahamati", "base_url": self.base_url, **login, **short}
        if self._tls:
            account["ca"] = str(self._tls[0])
        here = {"provider": "sahamati"}
        return {
            "providers": {"sahamati": account},
            "secrets": {
                SECRET: {**here, "target": {"entity_id": ENTITY, "expiry": "90d"}, "rotate": {"before_expiry": "20d"}},
                TOKEN: {**here, "target": {"token_of": SECRET}, "rotate": {"before_expiry": "12h"}},
            },
        }

    @property
    def log(self) -> list[dict[str, Any]]:
        """In order: every `attempt` (on, entity, txnId, status, fault), and every `commit` of a reset.

        A commit has entity, by whom, txnId, the days asked for, and the value's fingerprint.
        """
        with self.world.lock:
            self.world.tick()
            return [dict(entry) for entry in self.world.log]

    @property
    def commits(self) -> list[dict[str, Any]]:
        """The resets that took effect, by whomever."""
        return [entry for entry in self.log if entry["event"] == "commit"]

    def accepts(self, bundle: Mapping[str, str]) -> bool:
        """Whether the entity secret, or the entity token, of this bundle is accepted now."""
        with self.world.lock:
            self.world.tick()
            return self.world.accepts(bundle)

    def current(self, entity: str = ENTITY) -> dict[str, str]:
        """The bundle of the secret that is current at the service, whoever made it. Raises IndexError without one."""
        with self.world.lock:
            self.world.tick()
            return {"entity_id": entity, "entity_secret": self.world.entities[entity].versions[-1].value}

    # what it is told

    def fault(self, on: str, how: str, *, times: int = 1, skip: int = 0) -> None:
        """Spoil the next requests of this kind; see `simulator_faults`."""
        with self.world.lock:
            self.book.add(on=on, how=how, times=times, skip=skip)

    def switch(self, **changes: Any) -> None:
        """Change how the service is; see `simulator_switches`."""
        self.obey({"switches": changes})

    def expire(self, entity: str = ENTITY, *, in_s: float | None) -> None:
        """Let the current secret expire that many seconds from now (negative: it has), or never."""
        self.obey({"expiry": {entity: in_s}})

    def portal_reset(self, entity: str = ENTITY, *, by: str = "portal", days: int | None = None) -> None:
        """A person at the portal, or another client, resets the secret (contract 9.5). Raises KeyError."""
        with self.world.lock:
            self.world.tick()
            self.world.reset(entity, by=by, days=days)

    def portal_password(self, user: str = USER) -> str:
        """A person sets a new password by mail, which is the way out of an expired one (contract 4.11)."""
        with self.world.lock:
            self.world.users[user].password = _password()
            self.world.switch({"password_expired": False})
            return self.world.users[user].password

    def obey(self, orders: dict[str, Any]) -> None:
        """Orders as `/simulator/faults` takes them: faults, switches, hostile, expiry, revoke, clear.

        `revoke` is `user-tokens`. Raises ValueError or TypeError, and then nothing has changed.
        """
        known = ("faults", "switches", "hostile", "expiry", "revoke", "clear")
        if set(orders) - set(known) or orders.get("revoke", "user-tokens") != "user-tokens":
            message = f"expected orders: {', '.join(known)}; revoke: user-tokens"
            raise ValueError(message)
        faults = [self.book.understood(each) for each in orders.get("faults", [])]
        with self.world.lock:
            self.world.tick()
            expiries = self._expiries(orders.get("expiry", {}))
            self.world.switch(orders.get("switches", {}))
            self._follow(orders, faults, expiries)

    def _follow(
        self, orders: Mapping[str, Any], faults: Sequence[Fault], expiries: Sequence[tuple[Version, float | None]]
    ) -> None:
        if orders.get("clear"):
            self.book.clear()
        self.book.faults.extend(faults)
        if "hostile" in orders:
            self.book.hostile(orders["hostile"])
        if "revoke" in orders:
            self.world.revoke_user_tokens()
        for version, expires_at in expiries:
            version.expires_at = expires_at

    def _expiries(self, wanted: Mapping[str, float | None]) -> list[tuple[Version, float | None]]:
        found = []
        for entity, in_s in wanted.items():
            if entity not in self.world.entities or not self.world.entities[entity].versions:
                message = f"expected an entity with a secret, found {entity}"
                raise ValueError(message)
            current = self.world.entities[entity].versions[-1]
            found.append((current, None if in_s is None else self.world.now() + in_s))
        return found

    def portal(self, orders: dict[str, Any]) -> dict[str, str]:
        """Orders as `/simulator/portal` takes them: entity, by, days; or user, answered with the new password."""
        if set(orders) == {"user"}:
            return {"password": self.portal_password(orders["user"])}
        if "entity" not in orders or set(orders) - {"entity", "by", "days"}:
            message = "expected entity, by, days; or user"
            raise ValueError(message)
        self.portal_reset(orders["entity"], by=orders.get("by", "portal"), days=orders.get("days"))
        return {}

    def _refusal(self, address: str) -> str:
        """How the gate refuses an address (contract 9.20); a 403 is the server's own to give."""
        switches = self.world.switches
        listed = switches.allowed is None or address in switches.allowed
        return "" if listed or switches.refusal.startswith("403") else switches.refusal


def _members(now: float) -> list[Entity]:
    def version(expires_at: float | None) -> Version:
        return Version(value=made_secret("usual"), since=now - 60 * DAY_S, expires_at=expires_at)

    return [
        Entity(id=ENTITY, versions=[version(now + FIRST_LIFE_S)]),
        Entity(id=NEVER_EXPIRED, roles=("FIP",), versions=[version(None)]),
        Entity(id=NEW_MEMBER, roles=("AA",)),
        Entity(id=NEIGHBOUR, roles=("FIP",), versions=[version(now + FIRST_LIFE_S)]),
    ]


def _password() -> str:
    """One that a client must percent-encode."""
    return f"{secrets.token_urlsafe(12)}+%& {secrets.token_urlsafe(4)}"


def simulator(options: Mapping[str, str]) -> Simulator:
    """A simulator from text options: `port` (a free one). Raises ValueError for others."""
    unknown = set(options) - {"port"}
    if unknown:
        message = f"expected the option port, found {', '.join(sorted(unknown))}"
        raise ValueError(message)
    return Simulator(port=int(options.get("port", "0")))
