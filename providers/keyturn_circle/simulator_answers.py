"""What the simulated Circle writes: `data` envelopes, errors by code, pages of a proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from keyturn_circle.simulator_switches import Switches

ERRORS: Mapping[int, tuple[int, str]] = {
    -1: (400, "Something went wrong."),
    2: (400, "API parameter invalid."),
    3: (403, "Forbidden"),
    401: (401, "Invalid credentials."),
    404: (404, "Resource not found"),
    405: (405, "Method not allowed"),
    429: (429, "Too many requests."),
    155258: (400, "The wallet has no balance."),
    155601: (409, "The wallet set already exists."),
    156001: (404, "Cannot find target wallet in the system."),
    156004: (400, "Reuse of an entity secret ciphertext is not allowed."),
    156005: (404, "Cannot find the wallet set in the system."),
    156006: (400, "TEST_API key can only be used with testnets, LIVE_API key with mainnets."),
    156007: (401, "TEST_API key or LIVE_API key is not found."),
    156008: (400, "Cannot find the entity config in the system."),
    156010: (404, "Cannot find the entity in the system."),
    156013: (400, "The entity secret is invalid."),
    156014: (400, "The pagination parameter is invalid."),
    156015: (409, "The secret for this entity has already been set."),
    156016: (403, "The entity secret has not been set yet."),
    156018: (403, "The recovery file is invalid."),
    156019: (403, "The current entity secret is invalid. Please rotate it first."),
    156020: (403, "Please use a new idempotency key."),
    156021: (409, "A new wallet set id is needed."),
    156023: (400, "The message to sign is malformed."),
    156024: (400, "The message to sign is malformed."),
    156025: (400, "The typed data to sign is malformed."),
    156026: (409, "The request to sign is malformed."),
    156027: (400, "The blockchain is not supported."),
    175403: (409, "The idempotency key was used before."),
    177602: (400, "Reuse of an entity secret ciphertext is not allowed."),
    177603: (400, "Cannot find the entity config in the system."),
    177604: (400, "The entity secret is invalid."),
    177605: (400, "The entity secret has not been set yet."),
    177606: (400, "The current entity secret is invalid. Please rotate it first."),
    177607: (400, "Please use a new idempotency key."),
}
"""Contract 3: the HTTP status and the text of every code."""

PAGE = "<html><head><title>{status}</title></head><body><h1>{status}</h1><p>This is not JSON.</p></body></html>"
WAIT_S = 1
BODILESS = (204, 304)


class Refusal(Exception):
    """What the service answers in place of a result. `quoted` are parts of the request, by their place in it."""

    def __init__(self, code: int, text: str = "", quoted: Mapping[str, Any] | None = None) -> None:
        self.code = code
        self.status, usual = ERRORS.get(code, (400, "Unknown error."))
        self.text = text or usual
        self.quoted = dict(quoted or {})
        super().__init__(f"{code}: {self.text}")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer as it goes over the wire; `code` is that of its error."""

    status: int
    body: bytes = field(default=b"", repr=False)
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    code: int | None = None


def as_json(body: Any, status: int = 200, code: int | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON answer."""
    return Reply(status=status, body=json.dumps(body).encode(), code=code, headers=headers or {})


def data(body: Mapping[str, Any], status: int = 200) -> Reply:
    """A success (contract 1)."""
    return as_json({"data": body}, status)


def error(refusal: Refusal, switches: Switches, now: float) -> Reply:
    """An error (contract 1), which quotes the request where the switch says so (contract 8.16)."""
    body: dict[str, Any] = {"code": refusal.code, "message": refusal.text}
    if refusal.quoted and switches.echo == "errors":
        body["errors"] = [_detail(place, value) for place, value in refusal.quoted.items()]
    elif refusal.quoted and switches.echo == "message":
        body["message"] += " Found: " + ", ".join(str(value) for value in refusal.quoted.values())
    headers = retry_after(switches.retry_after, now) if refusal.status == 429 else {}
    return as_json(body, refusal.status, refusal.code, headers)


def _detail(place: str, value: Any) -> dict[str, Any]:
    return {
        "error": "invalid_value",
        "message": f"fail to validate {place}",
        "location": place,
        "invalidValue": value,
        "constraints": {},
    }


def instead(status: int, form: str, now: float) -> Reply:
    """What a proxy or the platform answers (contract 8.10, 8.12); the form of a 429 is that of its Retry-After."""
    if status == 429:
        return as_json({"code": 429, "message": ERRORS[429][1]}, 429, 429, retry_after(form, now))
    if form == "empty" or status in BODILESS:
        return Reply(status=status, type="text/plain")
    if form == "html":
        return Reply(status=status, body=PAGE.format(status=status).encode(), type="text/html")
    return as_json({"message": "trouble at the platform"}, status)


def retry_after(form: str, now: float) -> dict[str, str]:
    """The header that says how long to wait: in so many seconds, at a date, or none."""
    if form in ("none", "json"):
        return {}
    seconds = {"date": formatdate(now + WAIT_S, usegmt=True), "seconds": str(WAIT_S)}
    return {"Retry-After": seconds.get(form, form)}


def recovery_answer(file: str, how: str, switches: Switches) -> Reply:
    """The answer of a change: its recovery file, or what is in its place (contract 2.2, 8.11)."""
    if how == "html":
        return Reply(status=switches.success, body=PAGE.format(status=switches.success).encode(), type="text/html")
    if how == "no-data":
        return as_json({}, switches.success)
    return data({} if how == "missing" else {switches.answer_field: _spoiled_file(file, how)}, switches.success)


def _spoiled_file(file: str, how: str) -> str:
    return {"empty": "", "not-base64": f"<{file[1:-1]}>", "truncated": file[: len(file) // 2 | 1]}.get(how, file)


def text_of(body: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The texts in these members of a request; refuses what is missing or no text (contract 3: code 2)."""
    for name in names:
        if not isinstance(body.get(name), str) or not body[name]:
            raise Refusal(2, quoted={name: body.get(name)})
    return [body[name] for name in names]
