"""What an answer of Circle's holds (contract 1), and what of it may be said. Pure.

An error answer may echo what was sent in its `errors`, so these are never quoted.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn.api import Answer, Secret
from keyturn_circle.codes import Meaning, meaning

WORD_CHARS_MAX = 40
"""No ciphertext, secret or recovery file is in words as short as this; an id with hyphens is."""

TEXT_CHARS_MAX = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Reply:
    """One answer: `data` of a success, else `code` and `meaning`. `words` is fit for messages."""

    status: int
    data: Mapping[str, Any] = field(repr=False)
    words: str
    code: int | None = None
    meaning: Meaning | None = None
    wait: str = ""

    @property
    def good(self) -> bool:
        """Whether the vendor says that it did what was asked."""
        return self.meaning is None

    @property
    def throttled(self) -> bool:
        """Whether there were too many calls: then nothing was done (contract 1)."""
        return self.status == 429  # noqa: PLR2004

    def text(self, *names: str) -> str:
        """A text within `data`, by the names on the way to it; empty where there is none."""
        found: Any = self.data
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, str) else ""


def reply(answer: Answer, changed: Mapping[int, str], sent: Iterable[str] = ()) -> Reply:
    """The answer as plain data. `changed` goes before the table of codes; `sent` are the values it may echo."""
    body = answer.json if isinstance(answer.json, dict) else {}
    if 200 <= answer.status < 300:  # noqa: PLR2004
        data = body.get("data")
        return Reply(status=answer.status, data=data if isinstance(data, dict) else {}, words=str(answer.status))
    code = body.get("code")
    code = code if isinstance(code, int) and not isinstance(code, bool) else None
    return Reply(
        status=answer.status,
        data={},
        words=_words(answer.status, code, clean(body.get("message"), sent)),
        code=code,
        meaning=meaning(code, answer.status, changed),
        wait=_wait(answer.headers.get("retry-after", "")),
    )


def _words(status: int, code: int | None, message: str) -> str:
    if code is None:
        return f"{status} without a code"
    return f"{status}, {code}{f' ({message})' if message else ''}"


def clean(message: object, sent: Iterable[str] = ()) -> str:
    """The vendor's words on one line; empty where they hold, or may hold, a value."""
    if not isinstance(message, str) or len(message) > TEXT_CHARS_MAX:
        return ""
    line = "".join(c if c.isprintable() else " " for c in message).strip().rstrip(".")
    long = any(len(word) > WORD_CHARS_MAX for word in line.split())
    return "" if long or any(value and value in line for value in sent) else line


def _wait(seconds: str) -> str:
    return f", asking to wait {seconds} s" if seconds.isdecimal() and len(seconds) <= len("86400") else ""


def well_formed(text: str) -> Secret | None:
    """A recovery file without white space around it; None where it is not base64, or empty (contract 2.2)."""
    file = text.strip()
    try:
        return Secret(file) if base64.b64decode(file, validate=True) else None
    except ValueError:
        return None


def file_in(raw: Secret, name: str) -> Secret | None:
    """The recovery file in a raw answer that was sealed; None where there is none, or it is not whole."""
    try:
        body = json.loads(raw.reveal())
    except (ValueError, RecursionError):
        return None
    data = body.get("data") if isinstance(body, dict) else None
    found = data.get(name) if isinstance(data, dict) else None
    return well_formed(found) if isinstance(found, str) else None
