"""The net under the rope: takes known values out of any text, in the spellings they travel in."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from keyturn.secret import HIDDEN

SHORTEST = 6
"""Values shorter than this are not searched for: they would blank out ordinary words."""


def spellings(value: str) -> set[str]:
    """The value plain, percent-encoded, base64 (both alphabets, with and without padding) and JSON-escaped."""
    raw = value.encode()
    plain64, url64 = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()
    return {
        value,
        quote(value, safe=""),
        quote_plus(value),
        plain64,
        plain64.rstrip("="),
        url64,
        url64.rstrip("="),
        json.dumps(value)[1:-1],
    }


def scrub(text: str, values: Iterable[str]) -> str:
    """The text without any of these values."""
    found = {one for value in values if len(value) >= SHORTEST for one in spellings(value)}
    for one in sorted(found, key=len, reverse=True):
        text = text.replace(one, HIDDEN)
    return text
