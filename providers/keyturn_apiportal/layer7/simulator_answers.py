"""What the simulated portal and its proxies write: objects, pages of a list, errors in three shapes, token answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from keyturn_apiportal.layer7.simulator_switches import Switches

PAGE = "<html><head><title>{status}</title></head><body><h1>{status}</h1><p>This is not JSON.</p></body></html>"
ASTERISKS = "*" * 8
WAIT_S = 1
BODILESS = (204, 304)
NAMES: Mapping[int, str] = {
    400: "ValidationException",
    401: "UnauthorizedException",
    403: "ForbiddenException",
    404: "ResourceNotFoundException",
    405: "MethodNotAllowedException",
    409: "ConflictException",
    415: "UnsupportedMediaTypeException",
    423: "LockedException",
}


class Refusal(Exception):
    """What PAPI answers in place of a result; `field` is the part of the request that it is about."""

    def __init__(self, status: int, text: str, field_name: str = "") -> None:
        self.status, self.text, self.field = status, text, field_name
        super().__init__(f"{status}: {text}")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer as it goes over the wire."""

    status: int
    body: bytes = field(default=b"", repr=False)
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON answer; with 204 there is no body."""
    if status in BODILESS:
        return Reply(status=status, headers=headers or {})
    return Reply(status=status, body=json.dumps(body).encode(), headers=headers or {})


def error(refusal: Refusal, shape: str, echo: str = "") -> Reply:
    """An error of PAPI (contract 1, 7.3), which quotes the request where it is told to (contract 7.14)."""
    text = refusal.text + (f", found {echo}" if echo else "")
    details = [{"field": refusal.field, "error": text, "key": f"error.{refusal.field or 'request'}"}]
    validation = details if refusal.status == 400 else []
    if shape == "top":
        return as_json({"userErrorMessage": text, "validationErrors": validation}, refusal.status)
    if shape == "bare":
        return as_json({"validationErrors": details}, refusal.status)
    detail = {"errorCode": "483", "userErrorKey": "error.validation", "validationErrors": validation}
    name = NAMES.get(refusal.status, "InternalServerException")
    whole = {"code": name, "message": {"lang": "en", "value": text}, "detail": detail}
    return as_json({"error": whole}, refusal.status)


def instead(status: int, form: str, now: float, echo: str = "") -> Reply:
    """What a gateway or the platform answers (contract 7.1, 7.3); the form of a 429 is that of its Retry-After."""
    if status == 429:
        return as_json({"userErrorMessage": "too many requests"}, 429, retry_after(form, now))
    if form == "empty" or status in BODILESS:
        return Reply(status=status, type="text/plain")
    if form == "html":
        return Reply(status=status, body=PAGE.format(status=status).encode(), type="text/html")
    shape = {"old": "top", "bare": "bare"}.get(form, "nested")
    return error(Refusal(status, "trouble at the platform"), shape, echo)


def retry_after(form: str, now: float) -> dict[str, str]:
    """The header that says how long to wait: in so many seconds, at a date, or none."""
    if form == "none":
        return {}
    return {"Retry-After": formatdate(now + WAIT_S, usegmt=True) if form == "date" else form}


def paged(items: Sequence[Mapping[str, Any]], query: Mapping[str, str], switches: Switches) -> Reply:
    """One page of a list (contract 1, 7.13): `page` from 0, `size`, `sort=field,ORDER`. Raises Refusal."""
    page, size = _number(query, "page", 0), min(_number(query, "size", 20), switches.page_max)
    if not size:
        raise Refusal(400, "size must be from 1 on", "size")
    name, _, order = query.get("sort", "").partition(",")
    chosen = sorted(items, key=lambda item: str(item.get(name))) if name else list(items)
    if order.upper() == "DESC":
        chosen.reverse()
    body: dict[str, Any] = {"results": chosen[page * size : (page + 1) * size]}
    return as_json({**body, **_totals(len(chosen), size, switches.totals)})


def _number(query: Mapping[str, str], name: str, usual: int) -> int:
    text = query.get(name, str(usual))
    if not text.isdecimal():
        raise Refusal(400, f"{name} must be a number", name)
    return int(text)


def _totals(count: int, size: int, how: str) -> dict[str, int]:
    if how == "absent":
        return {}
    said = {"low": count // 2, "high": count * 2 + 1}.get(how, count)
    return {"totalElements": said, "totalPages": -(-said // size)}


def with_secret(reply: Reply, how: str, old: str | None) -> Reply:
    """The same answer with another `keySecret` than it should have (contract 7.6)."""
    if how == "no-body":
        return Reply(status=204)
    body = json.loads(reply.body) if reply.body else {}
    name = next((one for one in ("keySecret", "KeySecret") if one in body), "")
    if not name:
        return reply
    words = {"asterisks": ASTERISKS, "empty": "", "old": old or ASTERISKS}
    kept = {key: value for key, value in body.items() if key != name}
    return as_json(kept if how == "missing" else {**body, name: words[how]}, reply.status)
