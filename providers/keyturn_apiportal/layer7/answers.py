"""What the portal's API answers: keys, settings, requests, and errors in three shapes. Pure.

A message may repeat what was sent (contract 1, 7.14), so of an error only codes, keys and names of fields are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn.api import Answer, Bundle, Secret
from keyturn_apiportal.layer7.options import CLIENT_ID, CLIENT_SECRET

Members = Mapping[str, Any]
MASKED = re.compile(r"\**")
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,60}")
PLAIN_CHARS_MAX = 24
"""A longer word with a digit in it may be a value."""

ENABLED, DISABLED, DELETE_FAILED, REGISTERING = "ENABLED", "DISABLED", "DELETE_FAILED", "PENDING_REGISTRATION"
"""Contract 2: states of a key."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Key:
    """One api key. `secret` is None where it is not shown; `raw` is the whole object, as it came.

    `mark` moves with each change (contract 2, ASSUMED); `expires_at` is epoch seconds.
    """

    id: str
    name: str
    status: str
    hashed: bool
    secret: Secret | None
    mark: str
    default: bool
    auth_method: str
    oauth_type: str
    expires_at: float | None
    raw: Members = field(repr=False)

    @property
    def enabled(self) -> bool:
        """Whether it can be used."""
        return self.status == ENABLED

    @property
    def value(self) -> Bundle | None:
        """Id and secret, where the secret is shown."""
        return Bundle({CLIENT_ID: self.id, CLIENT_SECRET: self.secret}) if self.secret else None


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """An error of the portal: `words` are its codes and keys, `fields` what it is about."""

    words: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        about = f"about {', '.join(self.fields)}" if self.fields else ""
        return ", ".join(filter(None, (*self.words, about)))


def member(body: object, name: str) -> Any:
    """A member of an object, whatever the case of its name: the older form writes `ApiKey` for `apiKey`."""
    if not isinstance(body, Mapping):
        return None
    if name in body:
        return body[name]
    return next((value for one, value in body.items() if isinstance(one, str) and one.lower() == name.lower()), None)


def key_of(body: object, *, mark_field: str, value_field: str = "keySecret") -> Key | None:
    """A key, of either form; None where this is none."""
    name = member(body, "apiKey")
    if not isinstance(body, Mapping) or not isinstance(name, str) or not name:
        return None
    return Key(
        id=name,
        name=text(member(body, "name")),
        status=text(member(body, "status")) or ENABLED,
        hashed=member(body, "keySecretHashed") is True,
        secret=shown(member(body, value_field)),
        mark=text(member(body, mark_field)),
        default=member(body, "defaultKey") is True,
        auth_method=text(member(body, "authMethod")) or "SECRET",
        oauth_type=text(member(body, "oauthType")),
        expires_at=_expiry(member(body, "secretExpiryTs")),
        raw=body,
    )


def shown(value: object) -> Secret | None:
    """A secret; None for what stands in place of one: asterisks, nothing, an empty text (contract 2, 8)."""
    return Secret(value) if isinstance(value, str) and not MASKED.fullmatch(value) else None


def text(value: object) -> str:
    """A text, or a number as one; empty for anything else."""
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def items(body: object) -> list[Any]:
    """The results on a page of a list, or the list itself (contract 1, 3)."""
    found = body if isinstance(body, list) else member(body, "results")
    return list(found) if isinstance(found, list) else []


def parsed(raw: Secret) -> object:
    """A sealed raw answer; None where it is not JSON."""
    try:
        return json.loads(raw.reveal())
    except (ValueError, RecursionError):
        return None


def complaint(answer: Answer) -> Complaint:
    """What an error says, in any of its three shapes (contract 1); nothing of what is no error of the portal's."""
    body = answer.json
    error = member(body, "error")
    detail = member(error, "detail")
    words = [member(error, "code"), member(detail, "errorCode"), member(detail, "userErrorKey")]
    found = [one for place in (detail, error, body) for one in items_of(member(place, "validationErrors"))]
    words += [member(one, "key") for one in found]
    return Complaint(
        words=tuple(dict.fromkeys(_plain(words))),
        fields=tuple(dict.fromkeys(_plain(member(f, "field") for f in found))),
    )


def items_of(value: object) -> list[Any]:
    """A list, or none."""
    return value if isinstance(value, list) else []


def _plain(words: Any) -> Iterator[str]:
    for word in words:
        plain = isinstance(word, str) and (word.isdecimal() or WORD.fullmatch(word))
        if plain and (len(word) <= PLAIN_CHARS_MAX or not any(c.isdecimal() for c in word)):
            yield word


def _expiry(value: object) -> float | None:
    """Milliseconds; 0 for none (contract 2)."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0
    return number / 1000 if number > 0 else None
