"""What the vendor's answers mean. Pure: the spellings, units and zones it has used are brought to one form here."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, quote_plus

from keyturn.api import Answer, Secret

MILLISECONDS_FROM = 1e11
"""Contract 4.4: from here on a number counts milliseconds; as seconds it would be in the year 5138."""

YEARS_10_S = 10 * 365.25 * 86_400.0
IST = timezone(timedelta(hours=5, minutes=30))
SAME_S = 60.0
TEXT_CHARS_MAX = 200
HIDDEN = "..."
VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """When a secret ends: `at` in epoch seconds, None where nobody says. `remark`: where the vendor contradicts itself.

    `expires_on` is the vendor's own number, as text, for comparing with what it says later.
    """

    at: float | None
    expires_on: str
    remark: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """What the vendor holds for one entity (contract 2.3, 2.4). Without `secret` it has none, or did not say."""

    entity_id: str | None
    secret: Secret | None
    expiry: Expiry
    txn_id: str | None = None
    message: str = ""
    vendor_now: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Minted:
    """A token of a user or an entity (contract 2.1, 2.2). `life_s` as stated; `message` is the vendor's warning."""

    value: Secret
    life_s: float | None
    claims: Mapping[str, Any] = field(repr=False)
    message: str = ""


def held(answer: Answer, *, now: float, hide: Iterable[Secret] = ()) -> Held | None:
    """The secret in an answer to reset or read; None where it is no such answer. `hide`: as `said` does."""
    return held_in(answer.json, now=now, at=vendor_now(answer), hide=hide)


def held_in(body: object, *, now: float, at: float | None = None, hide: Iterable[Secret] = ()) -> Held | None:
    """The same of a parsed body. `now` is only for telling possible instants from impossible ones."""
    members = any_case(body)
    entity_id, secret = members.get("entityid"), members.get("secret")
    # What is there in another form is no "nothing": a reset would end a secret that we can not read.
    if not isinstance(body, dict) or not (_text_or_none(entity_id) and _text_or_none(secret)):
        return None
    value = Secret(secret) if secret else None
    return Held(
        entity_id=entity_id,
        secret=value,
        expiry=expiry(members.get("expireson"), members.get("expirationdate"), now=now),
        txn_id=line(members.get("txnid")) or None,
        message=said(members.get("message"), *hide, *([value] if value else [])),
        vendor_now=at,
    )


def minted(answer: Answer, *, hide: Iterable[Secret] = ()) -> Minted | None:
    """The token in an answer; None where there is none that a header could carry. `hide`: as `said` does."""
    members = any_case(answer.json)
    token = members.get("accesstoken")
    if not isinstance(token, str) or not VISIBLE.fullmatch(token):
        return None
    life_s = number(members.get("expiresin"))
    value = Secret(token)
    message = members.get("message")
    return Minted(
        value=value,
        life_s=life_s if life_s and life_s > 0 else None,
        claims=claims(value),
        # A warning is there or not, whatever it says (contract 2.2).
        message=(said(message, *hide, value) or "(without text)") if message is not None else "",
    )


def expiry(expires_on: object, expiration_date: object, *, now: float) -> Expiry:
    """Contract 4.4 and 4.5: `expiresOn` rules; the date is compared with it, and stands in where there is no other."""
    count = number(expires_on)
    seen = "" if count is None else f"{count:.15g}"
    at, date = epoch(expires_on, now=now), _moment(expiration_date)
    if at is None:
        remark = "" if expires_on is None else "expiresOn is no instant near our times"
        # Without a zone the earlier of both readings, so that the secret is renewed early.
        return Expiry(at=epoch(_in_zone(date, IST), now=now) if date else None, expires_on=seen, remark=remark)
    readings = [_in_zone(date, zone) for zone in (UTC, IST)] if date else [at]
    agree = any(abs(reading - at) <= SAME_S for reading in readings)
    return Expiry(at=at, expires_on=seen, remark="" if agree else "expiresOn and expirationDate differ")


def epoch(value: object, *, now: float) -> float | None:
    """Seconds from seconds, milliseconds or either as text; None for what is no instant near our times."""
    at = number(value)
    if at is None:
        return None
    at = at / 1000 if at >= MILLISECONDS_FROM else at
    return at if abs(at - now) <= YEARS_10_S else None


def number(value: object) -> float | None:
    """A finite number, also from text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def instant(text: object) -> float | None:
    """Epoch seconds of a timestamp that names its zone; fractions of any length (contract 2.1)."""
    moment = _moment(text)
    return moment.timestamp() if moment and moment.tzinfo else None


def vendor_now(answer: Answer) -> float | None:
    """The vendor's clock: the body's timestamp where it names its zone, else the Date header."""
    at = instant(any_case(answer.json).get("timestamp"))
    return at if at is not None else _http_date(answer.headers.get("date", ""))


def claims(token: Secret) -> Mapping[str, Any]:
    """The claims of a JWT, its signature not verified (contract 2.2); empty for any other token."""
    parts = token.reveal().split(".")
    try:
        middle = parts[1] + "=" * (-len(parts[1]) % 4)
        found = json.loads(base64.urlsafe_b64decode(middle))
    except (IndexError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def entities(token: Minted) -> frozenset[str] | None:
    """The entities that a user token names as its own (contract 2.1); None where it names none at all."""
    meta = token.claims.get("entity_meta")
    return frozenset(line(name) for name in meta) if isinstance(meta, dict) else None


def error_text(answer: Answer, *hide: Secret) -> str:
    """What an error answer says, in any of its forms (contract 2.5). `hide`: as `said` does."""
    members = any_case(answer.json)
    words = [said(members.get(name), *hide) for name in ("errorcode", "errormsg", "error", "error_description")]
    return ": ".join(word for word in words if word)


def any_case(body: object) -> dict[str, Any]:
    """The members by lower-case name, the vendor's own change (contract 2.5); none where this is no object."""
    return {name.lower(): value for name, value in body.items()} if isinstance(body, dict) else {}


def said(text: object, *hide: Secret) -> str:
    """Words of the vendor's as they may be shown: these values taken out *before* it is shortened, then `line`."""
    return line(without(text, *hide)) if isinstance(text, str) else ""


def without(text: str, *hide: Secret) -> str:
    """The text without these values, in the spellings that they travel in (contract 7)."""
    found = {spelling for value in hide if value for spelling in _spellings(value.reveal())}
    for spelling in sorted(found, key=len, reverse=True):
        text = text.replace(spelling, HIDDEN)
    return text


def _spellings(value: str) -> set[str]:
    raw = value.encode(errors="replace")
    based = {base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    return {value, quote(raw, safe=""), quote_plus(raw), json.dumps(value)[1:-1], *based}


def line(text: object) -> str:
    """Text of the vendor's on one line, shortened; empty for anything else."""
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:TEXT_CHARS_MAX]


def _text_or_none(value: object) -> bool:
    """Also false for half a surrogate pair, which JSON can write and nobody can store."""
    return value is None or (isinstance(value, str) and value.encode(errors="replace").decode() == value)


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip()) if isinstance(text, str) else None
    except ValueError:
        return None


def _in_zone(moment: datetime, zone: timezone) -> float:
    """Epoch seconds; `zone` is for a moment that names none."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def _http_date(text: str) -> float | None:
    try:
        return _in_zone(parsedate_to_datetime(text), UTC)
    except ValueError:
        return None
