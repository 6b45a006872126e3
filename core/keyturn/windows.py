"""Weekly windows in a time zone: `Sun 02:00-04:00 Europe/Berlin`. Pure.

Grammar: spans separated by commas, then the zone. A span is `[DAY[-DAY]] HH:MM-HH:MM`; without a day it is every day.
A span that ends before it begins crosses midnight and belongs to the day on which it opens; `24:00` ends a day.

At a clock change: a bound inside the missing hour moves inwards (so a span that lies in it does not open that day), and
a span that touches the repeated hour opens at its first pass and closes at its last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as wall_time
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 1440
SEARCH_DAYS = 16
"""Two weeks and two days: a weekly span may vanish once in the missing hour."""

SPAN = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))?\s+)?(\d\d):(\d\d)-(\d\d):(\d\d)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Span:
    """Open on `days` (0 is Monday) from `begin_min` to `end_min`, minutes after midnight of the day it opens."""

    days: frozenset[int]
    begin_min: int
    end_min: int


@dataclass(frozen=True, kw_only=True)
class Window:
    """When something may be done."""

    text: str
    spans: tuple[Span, ...]
    zone: str

    @property
    def longest_s(self) -> float:
        """The length of its longest span, seconds."""
        return max(span.end_min - span.begin_min for span in self.spans) * 60.0


def parse_window(text: str) -> Window:
    """The window that a text says. Raises ValueError."""
    spans, _, zone = text.strip().rpartition(" ")
    if not spans:
        message = 'expected a window such as "Sun 02:00-04:00 Europe/Berlin"'
        raise ValueError(message)
    check_zone(zone)
    return Window(text=text, spans=tuple(_span(part.strip()) for part in spans.split(",")), zone=zone)


def check_zone(name: str) -> str:
    """The name of a time zone that this machine knows. Raises ValueError."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        message = "expected a time zone such as Europe/Berlin or UTC"
        raise ValueError(message) from None
    return name


def _span(text: str) -> Span:
    match = SPAN.fullmatch(text)
    if match is None:
        message = 'expected each span as "Sun 02:00-04:00" or "Mon-Thu 09:00-16:00"'
        raise ValueError(message)
    first, last, *digits = match.groups()
    hour, minute, end_hour, end_minute = (int(part) for part in digits)
    begin, end = _minutes(hour, minute), _minutes(end_hour, end_minute)
    if begin in (end, DAY_MINUTES):
        message = "expected a span that ends after it begins; a whole day is 00:00-24:00"
        raise ValueError(message)
    return Span(days=_days(first, last), begin_min=begin, end_min=end if end > begin else end + DAY_MINUTES)


def _minutes(hour: int, minute: int) -> int:
    total = hour * 60 + minute
    if minute >= 60 or total > DAY_MINUTES:  # noqa: PLR2004 - minutes of an hour
        message = "expected times from 00:00 to 24:00"
        raise ValueError(message)
    return total


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    begin = _day(first)
    end = begin if last is None else _day(last)
    return frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def _day(name: str) -> int:
    if name.lower() not in DAYS:
        message = "expected a day: Mon, Tue, Wed, Thu, Fri, Sat or Sun"
        raise ValueError(message)
    return DAYS.index(name.lower())


def in_window(window: Window, now: float) -> bool:
    """Whether the window is open at `now` (epoch s)."""
    return opening(window, now)[0] == now


def next_open(window: Window, now: float) -> float:
    """The earliest moment from `now` on (epoch s) at which the window is open: `now` itself where it is."""
    return opening(window, now)[0]


def opening(window: Window, now: float) -> tuple[float, float]:
    """The next opening from `now` on: when one can begin (`now` itself inside it), and when it closes; epoch s."""
    zone = ZoneInfo(window.zone)
    today = datetime.fromtimestamp(now, zone).date()
    for offset in range(-1, SEARCH_DAYS):
        intervals = [one for one in _intervals(window, today + timedelta(days=offset), zone) if one[1] > now]
        if intervals:
            begin, end = min(intervals)
            return max(begin, now), end
    message = f"window {window.text} never opens"
    raise ValueError(message)


def _intervals(window: Window, day: date, zone: ZoneInfo) -> Iterator[tuple[float, float]]:
    """The openings that begin on this day."""
    for span in window.spans:
        if day.weekday() in span.days:
            begin, end = _at(day, span.begin_min, zone, fold=0), _at(day, span.end_min, zone, fold=1)
            if begin < end:
                yield begin, end


def _at(day: date, minutes: int, zone: ZoneInfo, *, fold: int) -> float:
    """The instant of a wall time.

    In the missing hour fold 0 is later and fold 1 earlier; in the repeated hour fold 0 is the first pass, 1 the last.
    """
    wall = datetime.combine(day, wall_time()) + timedelta(minutes=minutes)
    return wall.replace(tzinfo=zone, fold=fold).timestamp()
