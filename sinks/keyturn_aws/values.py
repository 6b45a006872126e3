"""How a bundle becomes the text that consumers read, and back. Pure."""

from __future__ import annotations

import json
from typing import Any

from keyturn.api import Bundle, Refused
from keyturn_aws.options import TEXT_BYTES_MAX

FOREIGN_FIELD = "value"
"""What a text that is no JSON object is called."""


def encoded(bundle: Bundle) -> str:
    """One JSON object, keys sorted. Raises Refused `value-too-long` (contract 4.1)."""
    text = json.dumps(bundle.reveal(), sort_keys=True, ensure_ascii=False)
    size = len(text.encode())
    if size > TEXT_BYTES_MAX:
        raise Refused(f"expected at most {TEXT_BYTES_MAX} bytes, got {size}", code="value-too-long")
    return text


def is_ours_in_form(text: str) -> bool:
    """Whether it is a JSON object of texts. Anything else would change its form when Keyturn writes it."""
    found = _loaded(text)
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def decoded(text: str) -> Bundle:
    """The fields of what is stored; what somebody else stored may be anything."""
    found = _loaded(text)
    if not isinstance(found, dict):
        return Bundle({FOREIGN_FIELD: text})
    return Bundle({name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()})
