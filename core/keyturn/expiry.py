"""How long a version was granted to live, whether that is shorter than it should be, and how to say so. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from keyturn.clock import iso

PLAUSIBLE_BEFORE = 253_370_764_800.0
"""The beginning of the year 9999, epoch seconds: what is reckoned from an expiry before it still has a date."""

UNITS_S = (("days", 86_400), ("hours", 3600), ("minutes", 60))


@dataclass(frozen=True, kw_only=True)
class Short:
    """A version that was granted less than `expected_s`, seconds; it ends at `expires_at`, epoch seconds.

    `held`: it would be due at once, and so would the next one. Its expiry does not make it due: a person must act.
    """

    granted_s: float
    expected_s: float
    expires_at: float
    held: bool

    def said(self, now: float) -> str:
        """What was granted, and what is left of it."""
        wanted = f"where at least {span(self.expected_s)} were expected"
        return f"granted {span(self.granted_s)} {wanted}; {until(self.expires_at, now)}"


def plausible(at: object) -> TypeGuard[float]:
    """Whether this is an instant that something can expire at (epoch s): not infinite, no number at all, or absurd.

    Zero is not: vendors write it for "never".
    """
    return isinstance(at, int | float) and not isinstance(at, bool) and 0 < at < PLAUSIBLE_BEFORE


def span(seconds: float) -> str:
    """A length of time as people say it, rounded down: `23 days`, `26 hours`."""
    for unit, length_s in UNITS_S:
        if seconds >= 2 * length_s:
            return f"{seconds // length_s:.0f} {unit}"
    return f"{seconds // 1:.0f} seconds"


def left(expires_at: float, now: float) -> str:
    """What is left before an expiry, or how long it has been over."""
    if now < expires_at:
        return f"{span(expires_at - now)} left"
    return f"expired {span(now - expires_at)} ago"


def until(expires_at: float, now: float) -> str:
    """An expiry as people read it: when, and how far away that is."""
    if now < expires_at:
        return f"expires {iso(expires_at)}, {left(expires_at, now)}"
    return f"expired {iso(expires_at)}, {span(now - expires_at)} ago"
