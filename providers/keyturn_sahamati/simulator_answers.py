"""What the simulated Token Service writes: envelopes, secrets with their expiry, tokens that look real, errors."""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

from keyturn_sahamati.simulator_switches import Switches
from keyturn_sahamati.simulator_world import Entity, Refusal, Version

ISSUER = "https://iam.simulated.invalid/auth/realms/sahamati"
PHRASES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 410: "Gone"}
PAGE = "<html><head><title>{status}</title></head><body><h1>{status}</h1><p>This is not JSON.</p></body></html>"
IST = timedelta(hours=5, minutes=30)
LONG_PAST_S = 1_600_000_000.0
OTHER_ENTITY = "fip-somebody-else"
WAIT_S = 30


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer as it goes over the wire."""

    status: int
    body: bytes = field(default=b"", repr=False)
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(body: Mapping[str, Any], status: int = 200) -> Reply:
    """A JSON answer."""
    return Reply(status=status, body=json.dumps(body, ensure_ascii=False).encode())


def envelope(now: float, switches: Switches, txn_id: str = "") -> dict[str, Any]:
    """The first three members of every answer (contract 2.1, 2.5, 9.15)."""
    at = datetime.fromtimestamp(now, UTC)
    fraction = f"{at:%f}" + "551" if switches.nine_digits else f"{at:%f}"[:3]
    echoed = txn_id if txn_id and switches.echo_txn else str(uuid.uuid4())
    return {"ver": "1.0.0", "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{fraction}Z", "txnId": echoed}


def error(refusal: Refusal, now: float, switches: Switches, txn_id: str = "") -> Reply:
    """The error in its form (contract 2.5, 9.15, 9.17)."""
    if refusal.form == "empty":
        return Reply(status=refusal.status, type="text/plain")
    if refusal.form == "html":
        return Reply(status=refusal.status, body=PAGE.format(status=refusal.status).encode(), type="text/html")
    if refusal.form == "oauth":
        return as_json({"error": "unauthorized", "error_description": refusal.text}, refusal.status)
    phrase = PHRASES.get(refusal.status, "Internal Server Error")
    body = {**envelope(now, switches, txn_id), "errorCode": phrase, "errorMsg": refusal.text}
    return as_json({_key(name, switches): value for name, value in body.items()}, refusal.status)


def _key(name: str, switches: Switches) -> str:
    return name.lower() if switches.lower_case_errors else name


def throttled(form: str, now: float, switches: Switches) -> Reply:
    """A 429: `form` is the seconds in Retry-After, `date`, or `none` (contract 4.10, 9.21)."""
    asked = {"date": {"Retry-After": formatdate(now + WAIT_S, usegmt=True)}, "none": {}}.get(
        form, {"Retry-After": form}
    )
    body = {**envelope(now, switches), "errorCode": "Too Many Requests", "errorMsg": "slow down"}
    return Reply(status=429, body=json.dumps(body).encode(), headers=asked)


def secret_answer(
    entity: Entity, version: Version | None, now: float, switches: Switches, *, txn_id: str, message: str = ""
) -> dict[str, Any]:
    """What reset and read answer (contract 2.3, 2.4). A member without a secret has null ones (undocumented)."""
    body: dict[str, Any] = {
        **envelope(now, switches, txn_id),
        "entityId": OTHER_ENTITY if switches.other_entity else entity.id,  # contract 9.15
        "secret": version.value if version else None,
    }
    expires_at = version.expires_at if version else None
    body |= _expiry(expires_at, switches)
    if message:
        body["message"] = message
    if switches.extra_members:  # contract 7, 9.15
        body |= {"entityType": entity.roles[0], "audit": {"requestedBy": "iam", "attempts": 1}}
    return body if switches.null_form == "null" else {key: one for key, one in body.items() if one is not None}


def _expiry(expires_at: float | None, switches: Switches) -> dict[str, Any]:
    """Both members about the expiry, in the form that the switches say (contract 4.4, 4.5, 9.10 to 9.12)."""
    if expires_at is None:
        return {"expiresOn": None, "expirationDate": None}
    forms: dict[str, Any] = {
        "s": int(expires_at),
        "ms": int(expires_at * 1000),
        "text": str(int(expires_at)),
        "ms-text": str(int(expires_at * 1000)),
        "null": None,
        "past": int(LONG_PAST_S),
    }
    body = {} if switches.expires_on == "absent" else {"expiresOn": forms[switches.expires_on]}
    return {**body, **_expiration_date(expires_at, switches.expiration_date)}


def _expiration_date(expires_at: float, form: str) -> dict[str, str]:
    if form == "absent":
        return {}
    moved = {"ist": IST, "wrong": -timedelta(days=109)}.get(form, timedelta())
    at = datetime.fromtimestamp(expires_at, UTC) + moved
    return {"expirationDate": f"{at:%Y-%m-%dT%H:%M:%S}.{at:%f}"[:-3] + ("Z" if form == "z" else "")}


def token_answer(
    token: str, life_s: float, scope: str, now: float, switches: Switches, *, message: str = ""
) -> dict[str, Any]:
    """What both token calls answer (contract 2.1, 2.2)."""
    body: dict[str, Any] = {
        **envelope(now, switches),
        "accessToken": token,
        "expiresIn": int(life_s),
        "tokenType": "Bearer",
    }
    if message:
        body["message"] = message  # contract 2.2: the field of the warning
    extra = {"refreshExpiresIn": 0, "notBeforePolicy": 0, "scope": scope}
    return {**body, **extra} if switches.extra_members else body


USER_SCOPE = "email secret-expiry-ts profile entityMetadata"
ENTITY_SCOPE = "email microprofile-jwt profile address phone offline_access"


def user_token(username: str, administers: Sequence[str], now: float, switches: Switches) -> str:
    """A user's JWT (contract 2.1), with the claim that names entities or without (contract 9.17)."""
    entities = {"own": administers, "others": [OTHER_ENTITY]}.get(switches.entity_meta)
    meta = {} if entities is None else {"entity_meta": {entity: ["ADMIN"] for entity in entities}}
    more = {"azp": "iam-users", "preferred_username": username, "email": username, **meta}
    return _jwt(now, switches.user_token_life_s, USER_SCOPE, more)


def entity_token(entity: Entity, now: float, switches: Switches) -> str:
    """An entity's JWT (contract 2.2)."""
    azp = OTHER_ENTITY if switches.other_entity else entity.id
    return _jwt(now, switches.entity_token_life_s, ENTITY_SCOPE, {"azp": azp, "acr": "1", "roles": list(entity.roles)})


def _jwt(now: float, life_s: float, scope: str, more: Mapping[str, Any]) -> str:
    """A token that only the service can judge: it is looked up, its signature is noise."""
    claims = {"exp": int(now + life_s), "iat": int(now), "jti": str(uuid.uuid4()), "iss": ISSUER, "typ": "Bearer"}
    head = {"alg": "RS256", "typ": "JWT", "kid": "simulated-1"}
    parts = [
        json.dumps(head).encode(),
        json.dumps({**claims, "sub": str(uuid.uuid4()), "scope": scope, **more}).encode(),
    ]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, secrets.token_bytes(256)))
