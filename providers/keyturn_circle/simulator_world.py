"""The state of the simulated Circle and its rules. No HTTP here; callers hold `World.lock`."""

from __future__ import annotations

import base64
import hashlib
import math
import secrets
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from keyturn_circle.simulator_answers import Refusal
from keyturn_circle.simulator_cipher import made_key, opened, pem
from keyturn_circle.simulator_faults import MUTATING
from keyturn_circle.simulator_switches import DOWN, FIELD, Switches

RATES: Mapping[str, int] = {"wallets": 5}
"""Requests per second of endpoints with a rate of their own (contract 1)."""
FILE_BYTES = 240


@dataclass(kw_only=True)
class Generation:
    """One entity secret (hex) with its recovery file. It is seen in force from `seen_from` until `seen_until`."""

    value: str = field(repr=False)
    file: str = field(repr=False)
    since: float
    seen_from: float
    seen_until: float = math.inf


@dataclass(kw_only=True)
class Wallet:
    """A wallet of somebody's: it can sign."""

    id: str
    set_id: str
    blockchain: str
    kind: str = "EOA"
    address: str = field(default_factory=lambda: f"0x{secrets.token_hex(20)}")


@dataclass(kw_only=True)
class Entity:
    """One account's registration in one environment. The last generation is the one in force."""

    app_id: str
    environment: str
    generations: list[Generation] = field(default_factory=list)
    wallet_sets: dict[str, str] = field(default_factory=dict)
    wallets: dict[str, Wallet] = field(default_factory=dict)
    first_answers: dict[str, tuple[str, Any]] = field(default_factory=dict, repr=False)
    flaps_until: float = 0.0
    looks: int = 0

    @property
    def current(self) -> Generation | None:
        """The generation in force."""
        return self.generations[-1] if self.generations else None


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who asks for something (`api` or `console`), under which request id, and which ciphertexts came before."""

    by: str
    request: str = ""
    reused: frozenset[str] = frozenset()


class Log(list[dict[str, Any]]):
    """Attempts and commits in order: fingerprints and ids, never values."""

    @property
    def reused(self) -> list[str]:
        """The sha256 of every ciphertext that a client sent more than once (what a proxy repeats does not count)."""
        sent = Counter(one for entry in self if not entry.get("repeated") for one in entry.get("ciphertexts", ()))
        return [one for one, times in sent.items() if times > 1]


@dataclass
class _Late:
    at: float
    apply: Callable[[], object]


class World:
    """Entities by name (`test`, `live`, `neighbour`), switches, ciphertexts that were seen, and the log.

    `clock` gives epoch seconds. The server's second key pair, where it takes one, is made when it is first needed.
    """

    def __init__(self, clock: Callable[[], float], key: RSAPrivateKey, entities: Mapping[str, Entity]) -> None:
        self.lock = threading.RLock()
        self.switches = Switches()
        self.entities = dict(entities)
        self.log = Log()
        self._clock, self._first_key = clock, key
        self._key_calls = 0
        self._seen: set[str] = set()
        self._late: list[_Late] = []
        self._calls: dict[tuple[str, str], list[float]] = {}
        self._moment: float | None = None

    # time and order

    def now(self) -> float:
        """The clock. While something late takes effect, the time at which it was due."""
        return self._clock() if self._moment is None else self._moment

    def switch(self, changes: Mapping[str, Any]) -> None:
        """Change switches. Raises ValueError, and then nothing has changed."""
        self.switches = self.switches.changed(changes)
        if "key_calls" in changes:
            self._key_calls = 0
        if self.switches.key_calls:
            self._key(2)  # made now: no request waits for it

    def later(self, seconds: float, apply: Callable[[], object]) -> None:
        """Let something take effect when the clock says so."""
        self._late.append(_Late(self._clock() + seconds, apply))

    def tick(self) -> None:
        """Let what is late take effect, if its time has come. Comes before everything that looks or acts."""
        due = sorted((late for late in self._late if late.at <= self._clock()), key=lambda late: late.at)
        self._late = [late for late in self._late if late not in due]
        for self._moment, apply in ((late.at, late.apply) for late in due):
            apply()
        self._moment = None

    def standing(self, on: str) -> str:
        """The fault that hits every request of this kind now, by the switches; empty for none."""
        switches = self.switches
        if on in DOWN[switches.down]:
            return switches.down_how
        if switches.replay and on in MUTATING:
            return "replayed"
        return f"slow:{switches.slow_s}" if switches.slow_s else ""

    def admit(self, name: str, on: str) -> None:
        """Contract 1, 8.12: so many requests a second, per entity and endpoint. Raises Refusal."""
        limit, now = self.switches.rate_limit, self._clock()
        second = [at for at in self._calls.get((name, on), []) if at > now - 1.0]
        if limit and len(second) >= RATES.get(on, limit):
            raise Refusal(429)
        self._calls[name, on] = [*second, now]

    # keys and ciphertexts

    @property
    def key(self) -> RSAPrivateKey:
        """The server's key pair now (contract 8.1: it may be replaced)."""
        replaced = 0 < self.switches.key_calls <= self._key_calls
        return self._key(2) if replaced else self._first_key

    def _key(self, number: int) -> RSAPrivateKey:
        return made_key(self._first_key.key_size, number)

    def public_key(self) -> str:
        """What the call for the public key answers."""
        shown = pem(self.key, self.switches.public_key)
        self._key_calls += 1
        return shown

    def arrive(self, ciphertexts: Iterable[str]) -> frozenset[str]:
        """Take note of ciphertexts, whatever becomes of them; those that were seen before (contract 2.5, 4, 8.2)."""
        times = Counter(ciphertexts)
        reused = frozenset(one for one in times if times[one] > 1 or one in self._seen)
        self._seen |= times.keys()
        return reused

    def _open(self, ciphertext: str, sender: Sender, place: str) -> str:
        """The secret in a ciphertext, as hex (contract 8.2, 8.3). Raises Refusal."""
        if self.switches.ledger_first:
            _refuse_reuse(ciphertext, sender, place)
        value = opened(self.key, ciphertext)
        if value is None:
            raise Refusal(int(self.switches.bad_ciphertext), quoted={place: ciphertext})
        return value

    # what a secret is good for

    def judge(self, entity: Entity, ciphertext: str, sender: Sender) -> None:
        """Contract 2.5: whether the secret in a ciphertext is the active one. Raises Refusal."""
        seen = self._seen_in_force(entity)
        if not seen and len(entity.generations) < 2:
            raise Refusal(156016)
        value = self._open(ciphertext, sender, FIELD)
        if self.switches.rotate_first:
            raise Refusal(156019)  # contract 8.5
        if value not in [one.value for one in seen]:
            raise Refusal(156013, quoted={FIELD: ciphertext})
        _refuse_reuse(ciphertext, sender, FIELD)

    def _seen_in_force(self, entity: Entity) -> Sequence[Generation]:
        """What one of the back ends takes for the secret in force (contract 8.7)."""
        now = self.now()
        if now < entity.flaps_until:
            entity.looks += 1
            return entity.generations[-2:-1] if entity.looks % 2 else entity.generations[-1:]
        return [one for one in entity.generations if one.seen_from <= now < one.seen_until]

    def accepts(self, bundle: Mapping[str, str], name: str) -> bool:
        """The oracle: whether this bundle's secret is accepted now; of a flapping pair both are."""
        entity, now = self.entities[name], self.now()
        flapping = entity.generations[-2:] if now < entity.flaps_until else []
        inside = [one for one in entity.generations if one.seen_from <= now < one.seen_until]
        return bundle.get("entity_secret") in [one.value for one in (*inside, *flapping)]

    # changes

    def register(self, entity: Entity, new: str, sender: Sender) -> str:
        """Set the first secret (contract 2.2); the recovery file. Raises Refusal."""
        if entity.current:
            raise Refusal(156015)
        value = self._open(new, sender, self._field("register", 0))
        _refuse_reuse(new, sender, self._field("register", 0))
        return self.commit("register", entity, value, sender)

    def rotate(self, entity: Entity, current: str, new: str, sender: Sender) -> str:
        """Replace the secret by showing the one in force (contract 2.3); the renewed file. Raises Refusal."""
        if not entity.current:
            raise Refusal(156016)
        first, second = self._field("rotate", 0), self._field("rotate", 1)
        if self._open(current, sender, first) != entity.current.value:
            raise Refusal(156013, quoted={first: current})
        value = self._open(new, sender, second)
        for place, ciphertext in ((first, current), (second, new)):
            _refuse_reuse(ciphertext, sender, place)
        self._refuse_same(entity.current, value, {second: new})
        return self.commit("rotate", entity, value, sender)

    def reset(self, entity: Entity, file: str, new: str, sender: Sender) -> str:
        """Replace the secret by showing the recovery file in force (contract 2.4, 8.8); the renewed one."""
        if not entity.current:
            raise Refusal(156016)
        if self.switches.ledger_first:
            _refuse_reuse(new, sender, self._field("reset", 1))
        if file != entity.current.file:
            raise Refusal(156018, quoted={self._field("reset", 0): file})
        value = self._open(new, sender, self._field("reset", 1))
        _refuse_reuse(new, sender, self._field("reset", 1))
        self._refuse_same(entity.current, value, {self._field("reset", 1): new})
        return self.commit("reset", entity, value, sender)

    def _refuse_same(self, current: Generation, value: str, quoted: Mapping[str, str]) -> None:
        """Contract 8.4: a new secret that equals the current one. Raises Refusal."""
        if value == current.value and self.switches.same_secret == "refused":  # noqa: S105 - a word, not a password
            raise Refusal(2, quoted=quoted)

    def commit(self, on: str, entity: Entity, value: str, sender: Sender) -> str:
        """Let a secret take the place of the one in force, which dies at once (contract 0, 8.7)."""
        now, switches, file = self.now(), self.switches, made_file()
        if entity.current:
            entity.current.seen_until = now + switches.old_lives_s
        made = Generation(value=value, file=file, since=now, seen_from=now + switches.new_waits_s)
        entity.generations.append(made)
        entity.flaps_until = now + switches.flaps_s
        self.switches = switches.changed({"rotate_first": False})
        entry = {"on": on, "environment": entity.environment, "appId": entity.app_id, "by": sender.by}
        self.record("commit", **entry, request=sender.request, value=fingerprint(value), file=fingerprint(file))
        return file

    def _field(self, on: str, index: int) -> str:
        return self.switches.call(on)[2][index]

    # how it is

    def attempt(self, sender: Sender, ciphertexts: Iterable[str], **entry: Any) -> None:
        """Write an attempt into the log; a status of 0 had no answer from the service itself."""
        digests = [hashlib.sha256(one.encode()).hexdigest() for one in ciphertexts]
        self.record("attempt", by=sender.by, request=sender.request, ciphertexts=digests, **entry)

    def record(self, event: str, **entry: Any) -> None:
        """Write an attempt or a commit into the log."""
        self.log.append({"event": event, "at": self.now(), **entry})

    def state(self) -> dict[str, Any]:
        """Everything but values."""
        self.tick()
        return {
            "now": self.now(),
            "entities": {name: _without_values(entity) for name, entity in self.entities.items()},
            "ciphertexts": len(self._seen),
            "late": len(self._late),
            "switches": asdict(self.switches),
        }


def _refuse_reuse(ciphertext: str, sender: Sender, place: str) -> None:
    if ciphertext in sender.reused:
        raise Refusal(156004, quoted={place: ciphertext})


def _without_values(entity: Entity) -> dict[str, Any]:
    current = entity.current
    return {
        "app_id": entity.app_id,
        "environment": entity.environment,
        "secret": fingerprint(current.value) if current else None,
        "recovery_file": fingerprint(current.file) if current else None,
        "registered_at": current.since if current else None,
        "generations": len(entity.generations),
        "wallet_sets": dict(entity.wallet_sets),
        "wallets": {one.id: one.blockchain for one in entity.wallets.values()},
    }


def made_entity(environment: str, app_id: str, now: float, *, registered: bool, canary: str = "") -> Entity:
    """An entity with or without a secret; a secret comes with an empty wallet to sign with, called `canary`."""
    entity = Entity(app_id=app_id, environment=environment)
    if registered:
        made = Generation(value=made_hex(), file=made_file(), since=now, seen_from=now)
        entity.generations.append(made)
    if canary:
        set_id = str(uuid.uuid4())
        entity.wallet_sets[set_id] = "rotation canary, do not use"
        chain = "ETH-SEPOLIA" if environment == "test" else "ETH"
        entity.wallets[canary] = Wallet(id=canary, set_id=set_id, blockchain=chain)
    return entity


def made_hex() -> str:
    """A secret of somebody's: 32 random bytes as hex (contract 1)."""
    return secrets.token_hex(32)


def made_file() -> str:
    """A recovery file: base64, and nothing to read in it (contract 2.2)."""
    return base64.b64encode(b"SIMULATED-RECOVERY-FILE:" + secrets.token_bytes(FILE_BYTES)).decode()


def fingerprint(value: str) -> str:
    """A short name for a value in logs."""
    return hashlib.sha256(value.encode()).hexdigest()[:12]
