"""How answers look: the JSON document, errors, what is true of a secret after a command, and several exit codes."""

from __future__ import annotations

import gc
import json
import os
import traceback
from collections.abc import Iterable, Mapping

from keyturn.errors import KeyturnError
from keyturn.redact import scrub
from keyturn.secret import Secret

SEVERITY = (1, 5, 2, 4, 3, 6, 8, 7, 0)
"""Exit codes, the most severe first, for commands that work on several secrets."""


def most_severe(codes: Iterable[int]) -> int:
    """The one exit code for several secrets."""
    return min(codes, key=SEVERITY.index, default=0)


def document(command: str, exit_code: int, data: Mapping[str, object], error: KeyturnError | None) -> str:
    """The one JSON document of a command, with a line's end."""
    whole = {
        "keyturn": 1,
        "command": command,
        "exit_code": exit_code,
        **data,
        "error": error.as_data() if error else None,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def error_text(error: KeyturnError) -> str:
    """An error for people: what, where, and what to type or do next."""
    lines = [f"error[{error.code}]: {error.message}"]
    if error.place:
        lines.append(f"  where: {error.place}")
    if error.hint:
        lines.append(f"  next: {error.hint}")
    return "\n".join(lines) + "\n"


def bug(error: Exception) -> KeyturnError:
    """An exception that nobody expected: one scrubbed line; the traceback only with KEYTURN_DEBUG=1."""
    values = _live_values()
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if os.environ.get("KEYTURN_DEBUG") == "1":
        text += "\n" + "".join(traceback.format_exception(error))
    hint = "keyturn status shows what is true; KEYTURN_DEBUG=1 shows where it happened, for a report"
    return KeyturnError("bug", scrub(text, values), hint=hint)


def _live_values() -> list[str]:
    """Every value in this process's memory. Slow, and only for the last fence."""
    return [found.reveal() for found in gc.get_objects() if type(found) is Secret]
