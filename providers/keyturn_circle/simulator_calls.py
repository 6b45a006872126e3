"""The calls of the simulated Circle: who may make them, what a request asks for, and the answer.

Strict as the contract. Callers hold `World.lock`.
"""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn_circle.simulator_answers import Refusal, Reply, data, error, recovery_answer, text_of
from keyturn_circle.simulator_faults import MUTATING
from keyturn_circle.simulator_switches import FIELD, Switches
from keyturn_circle.simulator_world import Entity, Sender, Wallet, World

BASE = "/v1/w3s"
PATHS: Mapping[tuple[str, str], str] = {
    ("GET", f"{BASE}/config/entity"): "entity",  # contract 2.1
    ("GET", f"{BASE}/config/entity/publicKey"): "public-key",  # contract 2.1
    ("POST", f"{BASE}/developer/sign/message"): "sign",  # contract 2.5
    ("POST", f"{BASE}/developer/sign/typedData"): "sign",  # contract 2.5
    ("POST", f"{BASE}/developer/walletSets"): "wallet-sets",  # contract 2.5
    ("POST", f"{BASE}/developer/wallets"): "wallets",  # contract 2.5
    ("GET", f"{BASE}/walletSets"): "list-wallet-sets",
    ("GET", f"{BASE}/wallets"): "list-wallets",
}
TESTNETS = ("ETH-SEPOLIA", "MATIC-AMOY", "AVAX-FUJI", "SOL-DEVNET", "ARB-SEPOLIA", "BASE-SEPOLIA", "OP-SEPOLIA")
MAINNETS = ("ETH", "MATIC", "AVAX", "SOL", "ARB", "BASE", "OP")
KEY = re.compile(r"(?:TEST|LIVE)_API_KEY:[^:]+:[^:]+")
HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})+")
TYPED_DATA = {"types", "domain", "primaryType", "message"}
OTHER_APP = "00000000-0000-4000-8000-00000000feed"
COUNT_MAX = 20
ACCOUNTS = ("EOA", "SCA")
SIGNER: Mapping[str, type] = {"walletId": str, "walletAddress": str, "blockchain": str, "memo": str, FIELD: str}
SIGN_MESSAGE: Mapping[str, type] = {**SIGNER, "message": str, "encodedByHex": bool}
SIGN_TYPED_DATA: Mapping[str, type] = {**SIGNER, "data": str}
MAKE_SET: Mapping[str, type] = {"idempotencyKey": str, "name": str, FIELD: str}
MAKE_WALLETS: Mapping[str, type] = {
    "idempotencyKey": str,
    "walletSetId": str,
    "accountType": str,
    FIELD: str,
    "blockchains": list,
    "count": int,
    "metadata": list,
}
"""The members that a body may have (contract 2.5), with their types in JSON."""


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """What an API key opens: an entity by name; `whole` without the rights to its developer-controlled wallets not."""

    entity: str
    whole: bool = True


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request; `on` is its kind, or `nowhere` (contract 8.9). `repeated`: a proxy delivers it once more."""

    on: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    reused: frozenset[str] = field(default=frozenset(), repr=False)
    repeated: bool = False

    @property
    def members(self) -> dict[str, Any]:
        """The body's members, as far as they can be seen."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    @property
    def request_id(self) -> str:
        """The id that the logs keep: one that is no UUID is ignored there (contract 1)."""
        given = self.headers.get("x-request-id", "")
        return given if _is_uuid(given) else ""

    def ciphertexts(self, switches: Switches) -> list[str]:
        """The ciphertexts that it carries, whatever else is wrong with it."""
        names = {FIELD, *switches.call("register")[2], *switches.call("rotate")[2], switches.call("reset")[2][1]}
        return [value for name, value in self.members.items() if name in names and isinstance(value, str)]


def kind_of(method: str, path: str, switches: Switches) -> tuple[str, int]:
    """What a request is for, and 404 or 405 where there is no such call (contract 2.3, 8.9)."""
    for on in MUTATING:
        if switches.call(on)[:2] == (method, path):
            closed = {"off": 404, "405": 405}.get(switches.rest, 0)
            return on, 0 if on == "register" else closed
    if (method, path) in PATHS:
        return PATHS[method, path], 0
    opened = MUTATING if switches.rest == "on" else ("register",)
    taken = {*(switches.call(on)[1] for on in opened), *(other for _, other in PATHS)}
    return "nowhere", 405 if path in taken else 404


class Calls:
    """What the service does with a request. `keys` are the API keys."""

    def __init__(self, world: World, keys: Mapping[str, ApiKey]) -> None:
        self._world, self._keys = world, keys
        self._calls: Mapping[str, Callable[[Asked, Entity, str], Reply]] = {
            "entity": self._entity,
            "public-key": lambda *_: data({"publicKey": world.public_key()}),
            "register": self._register,
            "rotate": self._rotate,
            "reset": self._reset,
            "sign": self._sign,
            "wallet-sets": self._wallet_sets,
            "wallets": self._wallets,
            "list-wallet-sets": lambda _, entity, __: data({"walletSets": _sets(entity)}),
            "list-wallets": lambda _, entity, __: data({"wallets": [_shown(one) for one in entity.wallets.values()]}),
        }

    def perform(self, asked: Asked, closed: int, fault: str = "") -> Reply:
        """The answer, refusals included. Whatever came of it is in the log."""
        try:
            name = self._admitted(asked, closed)
            entity = self._world.entities[name]
            how = fault.partition(":")[2] if fault.startswith("answer:") else self._world.switches.recovery_answers
            reply = self._calls[asked.on](asked, entity, how)
        except Refusal as refusal:
            reply = error(refusal, self._world.switches, self._world.now())
        self.note(asked, reply.status, reply.code, fault)
        return reply

    def note(self, asked: Asked, status: int, code: int | None = None, fault: str = "") -> None:
        """Write an attempt into the log; a status of 0 had no answer from the service itself."""
        entry: dict[str, Any] = {"on": asked.on, "path": asked.path, "status": status, "code": code}
        entry |= {"fault": fault} if fault else {}
        entry |= {"repeated": True} if asked.repeated else {}
        self._world.attempt(_sender(asked), asked.ciphertexts(self._world.switches), **entry)

    def _admitted(self, asked: Asked, closed: int) -> str:
        """The entity that the API key opens (contract 1, 8.12, 8.13). Raises Refusal."""
        known = self._key(asked.headers.get("authorization", ""))
        if self._world.switches.key_answers != "ok":
            raise Refusal(int(self._world.switches.key_answers))
        if closed:
            raise Refusal(closed)
        if not known.whole and asked.on not in ("entity", "public-key"):
            raise Refusal(3)
        self._world.admit(known.entity, asked.on)
        return known.entity

    def _key(self, header: str) -> ApiKey:
        scheme, _, key = header.partition(" ")
        if scheme != "Bearer" or not KEY.fullmatch(key):
            raise Refusal(401, "Malformed authorization. Is the authorization type missing?")
        if key in self._keys:
            return self._keys[key]
        known = {one.rpartition(":")[0] for one in self._keys}
        raise Refusal(401 if key.rpartition(":")[0] in known else 156007)

    # configuration

    def _entity(self, _: Asked, entity: Entity, __: str) -> Reply:
        return data({"appId": OTHER_APP if self._world.switches.other_entity else entity.app_id})  # contract 8.13

    def _register(self, asked: Asked, entity: Entity, how: str) -> Reply:
        (new,) = self._fields(asked, "register")
        return self._changed(self._world.register(entity, new, _sender(asked)), how)

    def _rotate(self, asked: Asked, entity: Entity, how: str) -> Reply:
        current, new = self._fields(asked, "rotate")
        return self._changed(self._world.rotate(entity, current, new, _sender(asked)), how)

    def _reset(self, asked: Asked, entity: Entity, how: str) -> Reply:
        file, new = self._fields(asked, "reset")
        return self._changed(self._world.reset(entity, file, new, _sender(asked)), how)

    def _fields(self, asked: Asked, on: str) -> list[str]:
        names = self._world.switches.call(on)[2]
        return text_of(_object(asked, dict.fromkeys(names, str)), names)

    def _changed(self, file: str, how: str) -> Reply:
        return recovery_answer(file, how, self._world.switches)

    # what a secret is for

    def _sign(self, asked: Asked, entity: Entity, _: str) -> Reply:
        """Contract 2.5, 8.15: nothing is kept of it."""
        typed = asked.path.endswith("typedData")
        body = _object(asked, SIGN_TYPED_DATA if typed else SIGN_MESSAGE)
        text, ciphertext = text_of(body, ("data" if typed else "message", FIELD))
        looks: list[Callable[[], object]] = [
            lambda: self._world.judge(entity, ciphertext, _sender(asked)),
            lambda: self._signable(entity, body, text, typed=typed),
        ]
        for look in looks if self._world.switches.checks == "secret-first" else reversed(looks):
            look()
        how = self._world.switches.sign_answers
        signature = "" if how == "empty-signature" else f"0x{secrets.token_hex(65)}"
        return data({} if how == "no-signature" else {"signature": signature})

    def _signable(self, entity: Entity, body: Mapping[str, Any], text: str, *, typed: bool) -> None:
        how = self._world.switches.sign_answers
        if how.isdigit():
            raise Refusal(int(how), quoted={"message": text})
        wallet = _wallet(entity, body)
        if wallet is None:
            raise Refusal(156001, quoted={"walletId": body.get("walletId")})
        if typed and not _is_typed_data(text):
            raise Refusal(156025, quoted={"data": text})
        if body.get("encodedByHex") is True and not HEX.fullmatch(text):
            raise Refusal(156023, quoted={"message": text})

    def _wallet_sets(self, asked: Asked, entity: Entity, _: str) -> Reply:
        body = _object(asked, MAKE_SET)
        key, name = self._creating(asked, entity, body, "name")
        return self._once(entity, key, body, lambda: data({"walletSet": _new_set(entity, name)}, 201))

    def _wallets(self, asked: Asked, entity: Entity, _: str) -> Reply:
        body = _object(asked, MAKE_WALLETS)
        key, set_id = self._creating(asked, entity, body, "walletSetId")
        if set_id not in entity.wallet_sets:
            raise Refusal(156005)
        chains, count, kind = body.get("blockchains"), body.get("count", 1), body.get("accountType", ACCOUNTS[0])
        if not chains or not 1 <= count <= COUNT_MAX or kind not in ACCOUNTS:
            raise Refusal(2, quoted={"blockchains": chains, "count": count, "accountType": kind})
        _check_chains(chains, entity.environment)
        wanted = [chain for chain in chains for _ in range(count)]
        return self._once(
            entity,
            key,
            body,
            lambda: data({"wallets": [_new_wallet(entity, set_id, chain, kind) for chain in wanted]}, 201),
        )

    def _creating(self, asked: Asked, entity: Entity, body: dict[str, Any], name: str) -> tuple[str, str]:
        """What everything that creates something must carry (contract 4): a UUID v4, and a fresh ciphertext."""
        key, ciphertext, named = text_of(body, ("idempotencyKey", FIELD, name))
        if not _is_uuid(key) or uuid.UUID(key).version != 4:
            raise Refusal(2, quoted={"idempotencyKey": key})
        self._world.judge(entity, ciphertext, _sender(asked))
        return key, named

    def _once(self, entity: Entity, key: str, body: Mapping[str, Any], make: Callable[[], Reply]) -> Reply:
        """Contract 4, 8.14: the same request again gets the first answer; another body is refused."""
        same = json.dumps({name: one for name, one in body.items() if name != FIELD}, sort_keys=True)
        known, answer = entity.first_answers.get(key, (same, None))
        if known != same:
            raise Refusal(156020, quoted={"idempotencyKey": key})
        reply: Reply = answer or make()
        entity.first_answers[key] = (same, reply)
        return reply


def as_told(code: int, asked: Asked, switches: Switches, now: float) -> Reply:
    """The error of a fault, which quotes the request as a real one would."""
    quoted = {name: asked.members[name] for name in asked.members if asked.members[name]}
    return error(Refusal(code, quoted=quoted), switches, now)


def _sender(asked: Asked) -> Sender:
    return Sender(by="api", request=asked.request_id, reused=asked.reused)


def _object(asked: Asked, takes: Mapping[str, type]) -> dict[str, Any]:
    """The body, in which nothing else is taken than these members, each of its type (contract 3). Raises Refusal."""
    if asked.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(2, "Content-Type must be application/json")
    if not asked.members:
        raise Refusal(2, "the body is not a JSON object")
    wrong = {name: value for name, value in asked.members.items() if type(value) is not takes.get(name)}
    if wrong:
        raise Refusal(2, quoted=wrong)
    return asked.members


def _wallet(entity: Entity, body: Mapping[str, Any]) -> Wallet | None:
    """The wallet that signs: by its id, or by address and chain (contract 2.5). Raises Refusal."""
    if "walletId" in body:
        if not _is_uuid(body["walletId"]):
            raise Refusal(2, quoted={"walletId": body["walletId"]})  # contract 3: also for a bad UUID
        return entity.wallets.get(body["walletId"])
    address, chain = text_of(body, ("walletAddress", "blockchain"))
    _check_chains([chain], entity.environment)
    return next((one for one in entity.wallets.values() if (one.address, one.blockchain) == (address, chain)), None)


def _check_chains(chains: list[Any], environment: str) -> None:
    right, wrong = (TESTNETS, MAINNETS) if environment == "test" else (MAINNETS, TESTNETS)
    for chain in chains:
        if chain in wrong:
            raise Refusal(156006)  # contract 8.13
        if chain not in right:
            raise Refusal(156027)


def _is_typed_data(text: str) -> bool:
    try:
        parsed = json.loads(text)
    except ValueError:
        return False
    return isinstance(parsed, dict) and set(parsed) >= TYPED_DATA


def _is_uuid(text: Any) -> bool:
    try:
        return str(uuid.UUID(text)) == str(text).lower()
    except (ValueError, TypeError, AttributeError):
        return False


def _sets(entity: Entity) -> list[dict[str, Any]]:
    return [{"id": key, "name": name, "custodyType": "DEVELOPER"} for key, name in entity.wallet_sets.items()]


def _new_set(entity: Entity, name: str) -> dict[str, Any]:
    key = str(uuid.uuid4())
    entity.wallet_sets[key] = name
    return {"id": key, "name": name, "custodyType": "DEVELOPER"}


def _new_wallet(entity: Entity, set_id: str, chain: str, kind: str) -> dict[str, Any]:
    made = Wallet(id=str(uuid.uuid4()), set_id=set_id, blockchain=chain, kind=kind)
    entity.wallets[made.id] = made
    return _shown(made)


def _shown(wallet: Wallet) -> dict[str, Any]:
    return {
        "id": wallet.id,
        "walletSetId": wallet.set_id,
        "blockchain": wallet.blockchain,
        "address": wallet.address,
        "accountType": wallet.kind,
        "custodyType": "DEVELOPER",
        "state": "LIVE",
    }
