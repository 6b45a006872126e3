"""The four calls of the simulated Token Service: what a request asks for, and the answer. Strict where the contract is.

Callers hold `World.lock`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from keyturn_sahamati.simulator_answers import (
    ENTITY_SCOPE,
    USER_SCOPE,
    Reply,
    as_json,
    entity_token,
    error,
    secret_answer,
    token_answer,
    user_token,
)
from keyturn_sahamati.simulator_world import Grant, Refusal, World

PATHS: Mapping[str, str] = {
    "user/token/generate": "user-token",  # contract 2.1
    "entity/token/generate": "entity-token",  # contract 2.2
    "entity/secret/reset": "reset",  # contract 2.3
    "entity/secret/read": "read",  # contract 2.4
}
"""Below /v1 (contract 1), with the names that faults know them by."""

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")  # contract 7
NAMES: Mapping[str, str] = {"ver": "Ver", "timestamp": "Timestamp", "txnId": "Txn Id", "entityId": "Entity Id"}
IN_GRACE = "The secret for entity with ID {} is expired and within the grace period"
BY_DEFAULT = "The default validity of {} days was applied"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request: the call's name, its headers, and its body."""

    on: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def entity_id(self) -> str:
        """The entity it is about, as far as that can be seen; for logs, and for whoever meddles."""
        try:
            return str(json.loads(self.body)["entityId"])
        except (ValueError, KeyError, TypeError):
            return _first(parse_qs(self.body.decode(errors="replace")), "id")

    @property
    def txn_id(self) -> str:
        """The attempt's id, as far as it can be seen."""
        try:
            return str(json.loads(self.body)["txnId"])
        except (ValueError, KeyError, TypeError):
            return ""


class Calls:
    """What the service does with a request."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls: Mapping[str, Callable[[Asked], Reply]] = {
            "user-token": self._user_token,
            "entity-token": self._entity_token,
            "reset": self._reset,
            "read": self._read,
        }

    def perform(self, asked: Asked, fault: str = "") -> Reply:
        """The answer, refusals included. Whatever came of it is in the log."""
        try:
            reply = self._calls[asked.on](asked)
        except Refusal as refusal:
            reply = error(refusal, self._world.now(), self._world.switches, asked.txn_id)
        self.note(asked, reply.status, fault)
        return reply

    def note(self, asked: Asked, status: int, fault: str = "") -> None:
        """Write an attempt into the log; a status of 0 had no answer from the service itself."""
        more = {"fault": fault} if fault else {}
        entry = {"on": asked.on, "entity": asked.entity_id, "txnId": asked.txn_id, "status": status}
        self._world.record("attempt", **entry, **more)

    # tokens

    def _user_token(self, asked: Asked) -> Reply:
        form = _form(asked, ("username", "password"), "User Id/Password is missing in the request")  # contract 2.1
        world, now = self._world, self._world.now()
        user = world.log_in(form["username"], form["password"])
        token = user_token(form["username"], user.administers, now, world.switches)
        life_s = world.switches.user_token_life_s
        world.user_tokens[token] = Grant(holder=form["username"], expires_at=now + life_s)
        return as_json(token_answer(token, life_s, USER_SCOPE, now, world.switches))

    def _entity_token(self, asked: Asked) -> Reply:
        form = _form(asked, ("id", "secret"), "Entity Id/Secret is missing in the request")  # contract 2.2
        world, now = self._world, self._world.now()
        message = IN_GRACE.format(form["id"]) if world.judge(form["id"], form["secret"]) else ""
        token = entity_token(world.entities[form["id"]], now, world.switches)
        life_s = world.switches.entity_token_life_s
        world.entity_tokens[token] = Grant(holder=form["id"], expires_at=now + life_s, secret=form["secret"])
        return as_json(token_answer(token, life_s, ENTITY_SCOPE, now, world.switches, message=message))

    # secrets

    def _reset(self, asked: Asked) -> Reply:
        token, body = self._admitted(asked)
        days, world = body.get("secretExpiryDays"), self._world
        if days is not None and (type(days) is not int or days < 1):
            raise Refusal(400, "secretExpiryDays must be a positive integer")  # contract 2.3: an integer
        by = world.administrator(token, body["entityId"])
        until = world.bearer(token).expires_at
        made = world.reset(body["entityId"], by=by, txn_id=asked.txn_id, days=days, until=until)
        message = BY_DEFAULT.format(world.switches.maximum_days) if made.by_default else ""
        answer = secret_answer(
            world.entities[body["entityId"]],
            made.version,
            world.now(),
            world.switches,
            txn_id=asked.txn_id,
            message=message,
        )
        return as_json(_spoiled_secret(answer, world.switches.reset_answers))

    def _read(self, asked: Asked) -> Reply:
        token, body = self._admitted(asked)
        world = self._world
        if "secretExpiryDays" in body and world.switches.strict:
            raise Refusal(400, "secretExpiryDays is not for reading")  # contract 2.4: never send it on read
        world.administrator(token, body["entityId"])
        entity, version = world.entities[body["entityId"]], world.read(body["entityId"])
        return as_json(secret_answer(entity, version, world.now(), world.switches, txn_id=asked.txn_id))

    def _admitted(self, asked: Asked) -> tuple[str, dict[str, Any]]:
        """The bearer token and the body of a request about a secret (contract 2.3, 2.6, 9.18, 9.19)."""
        _need_type(asked, JSON)
        strict = self._world.switches.strict
        token = _bearer(asked.headers.get("authorization", ""), strict=strict)
        self._world.bearer(token)
        body = _object(asked.body)
        for name in NAMES if strict else ("entityId",):
            if not isinstance(body.get(name), str) or not body[name]:
                raise Refusal(400, f"{NAMES[name]} is missing in the request")
        if strict and not TIMESTAMP.fullmatch(body["timestamp"]):
            raise Refusal(400, "Timestamp is not valid")
        return token, body


def _spoiled_secret(answer: dict[str, Any], how: str) -> dict[str, Any]:
    """Contract 9.14: the reset took effect, its answer lacks the secret."""
    if how == "missing":
        return {key: one for key, one in answer.items() if key != "secret"}
    return {**answer, "secret": ""} if how == "empty" else answer


def _need_type(asked: Asked, wanted: str) -> None:
    if asked.headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
        raise Refusal(415, f"Content-Type must be {wanted}")  # contract 9.19


def _form(asked: Asked, names: tuple[str, str], missing: str) -> dict[str, str]:
    """The fields of a form; a plus sign that was not percent-encoded is a blank (contract 2.1, 7)."""
    _need_type(asked, FORM)
    found = parse_qs(asked.body.decode(errors="replace"))
    form = {name: _first(found, name) for name in names}
    if not all(form.values()):
        raise Refusal(400, missing)
    return form


def _first(found: Mapping[str, list[str]], name: str) -> str:
    return found.get(name, [""])[0]


def _bearer(header: str, *, strict: bool) -> str:
    """The token; a lenient server takes it without its scheme (contract 2.6)."""
    scheme, _, token = header.partition(" ")
    if scheme == "Bearer" and token:
        return token
    if strict or not header:
        raise Refusal(401, "Bearer token is missing in the request")
    return header


def _object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(parsed, dict):
        raise Refusal(400, "the body is not an object")
    return parsed
