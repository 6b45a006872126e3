"""Times as people type them."""

from __future__ import annotations

from datetime import datetime

from keyturn.clock import iso
from keyturn.errors import UsageError
from keyturn.options import seconds


def duration(text: str, option: str) -> float:
    """`90s`, `2h`, `1h30m` as seconds. Raises UsageError `bad-duration`."""
    try:
        return seconds(text)
    except ValueError as error:
        raise UsageError("bad-duration", f"{option}: {error}, found {text!r}", hint=f"{option} 30m") from error


def moment(text: str, option: str, now: float) -> float:
    """An instant (epoch s): ISO 8601 with a zone, or a duration from now. Raises UsageError `bad-time`."""
    try:
        at = now + seconds(text)
    except ValueError:
        at = _instant(text, option, now)
    if at <= now:
        raise UsageError("bad-time", f"{option}: {text} is over", hint=f"{option} 2h, or --end")
    return at


def _instant(text: str, option: str, now: float) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise UsageError(
            "bad-time",
            f"{option}: expected a time with a zone or a duration from now, found {text!r}",
            hint=f"{option} 2h, or {option} {iso(now + 7200)}",
        )
    return at.timestamp()
