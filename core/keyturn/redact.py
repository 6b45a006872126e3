"""The net under the rope: takes known values out of any text, in the spellings they travel in."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus

from keyturn.secret import HIDDEN

SHORTEST = 6
"""Values shorter than this are not searched for: they would blank out ordinary words."""

COMMAND = "keyturn"
"""A login may well be called so, and what a person should type begins with it: never taken out."""


def one_line(text: str) -> str:
    """The text without what moves a cursor, as it is fit for a message."""
    return "".join(c if c.isprintable() else " " for c in text)


@lru_cache(maxsize=16_384)  # every answer is searched for all values of a run
def spellings(value: str) -> frozenset[str]:
    """The value plain, on one line, percent-encoded, base64 (both alphabets, padded or not) and JSON-escaped."""
    raw = value.encode(errors="replace")  # a vendor can write half a surrogate pair
    plain64, url64 = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()
    return frozenset(
        (
            value,
            one_line(value),
            quote(raw, safe=""),
            quote_plus(raw),
            plain64,
            plain64.rstrip("="),
            url64,
            url64.rstrip("="),
            json.dumps(value)[1:-1],
        )
    )


def scrub(text: str, values: Iterable[str]) -> str:
    """The text without any of these values."""
    if not text:
        return text
    sought = (value for value in values if len(value) >= SHORTEST and value != COMMAND)
    found = {one for value in sought for one in spellings(value) if one in text}
    for one in sorted(found, key=len, reverse=True):
        text = text.replace(one, HIDDEN)
    return text
