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


def decoded(text: str) -> Bundle:
    """The fields of what is stored; what somebody else stored may be anything."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return Bundle({FOREIGN_FIELD: text})
    return Bundle({name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()})
