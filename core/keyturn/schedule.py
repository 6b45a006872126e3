"""When a secret is due. Pure: the same policy, facts and time always give the same answer.

An *occurrence* is a moment at which a policy asks for a new version: a step of `every`, a tick of `cron`, the time
before expiry, or the rotation of a secret named by `after`. It is done once a version became current at or after it,
so missed occurrences do not pile up and none fires twice. From an occurrence follows its *start*: not before the
version is `min_age` old, moved to the next opening of the window, spread by jitter inside that opening.

Expiry outranks window and `min_age`: where waiting would pass the expiry minus a margin (half of the time from the
occurrence to the expiry, at most a day), the start is the occurrence itself.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from enum import StrEnum
from zoneinfo import ZoneInfo

from cronsim import CronSim

from keyturn.clock import iso
from keyturn.windows import Window, in_window, next_open, opening, parse_window

__all__ = [
    "Due",
    "DueStatus",
    "RotatePolicy",
    "ScheduleFacts",
    "Window",
    "due",
    "in_window",
    "next_cron",
    "next_open",
    "parse_window",
]

DAY_S = 86_400.0
GRACE_S = DAY_S
"""How long something may be due, beyond one opening of its window, before it is overdue; seconds."""

ANCHOR = date(2024, 1, 1)
"""Where `every` without `from` begins: a Monday."""


@dataclass(frozen=True, kw_only=True)
class RotatePolicy:
    """When to rotate; times in seconds. Nothing set: never.

    `every_s` counts from midnight of `from_date` in the policy's zone (`timezone`, else the window's, else UTC); whole
    days are counted on the calendar. `cron` has five fields. `keep_previous` is how many earlier versions a sink keeps
    readable.
    """

    every_s: float | None = None
    from_date: date | None = None
    cron: str | None = None
    timezone: str | None = None
    window: Window | None = None
    before_expiry_s: float | None = None
    after: tuple[str, ...] = ()
    jitter_s: float = 0.0
    min_age_s: float = 0.0
    keep_previous: int = 1

    @property
    def zone(self) -> ZoneInfo:
        """The zone that dates and cron are read in."""
        return ZoneInfo(self.timezone or (self.window.zone if self.window else "UTC"))


@dataclass(frozen=True, kw_only=True)
class ScheduleFacts:
    """What the journal knows, epoch seconds. `current_since` None: unmanaged.

    `after` gives for each secret of `RotatePolicy.after` when its current version was rotated in; leave adopted ones
    out, since adoption never rotates anything.
    """

    name: str
    current_since: float | None
    expires_at: float | None = None
    after: Mapping[str, float | None] = field(default_factory=dict)


class DueStatus(StrEnum):
    """Where a secret stands in its schedule."""

    NOT_DUE = "not-due"
    DUE = "due"
    OVERDUE = "overdue"
    NEVER = "never"


@dataclass(frozen=True, kw_only=True)
class Due:
    """The answer. `ready`: a rotation may start now. `at`: the earliest start (epoch s), None where there is none.

    Due or overdue but not ready means that a window was missed: `at` is then its next opening.
    """

    status: DueStatus
    at: float | None
    why: str
    ready: bool = False


@dataclass(frozen=True, kw_only=True)
class _Occurrence:
    """`prompt`: neither jitter nor `min_age` delays it."""

    at: float
    why: str
    prompt: bool = False


def due(policy: RotatePolicy, facts: ScheduleFacts, now: float) -> Due:
    """Where this secret stands at `now` (epoch s)."""
    if facts.current_since is None:
        return Due(status=DueStatus.NEVER, at=None, why="it has no current version")
    starts = [(_start(policy, facts, one), one) for one in _occurrences(policy, facts, facts.current_since)]
    if not starts:
        return Due(status=DueStatus.NEVER, at=None, why="nothing says when")
    start, occurrence = min(starts, key=lambda pair: pair[0])
    if now < start:
        return Due(status=DueStatus.NOT_DUE, at=start, why=occurrence.why)
    late = now - start > _grace_s(policy) or (facts.expires_at is not None and now >= facts.expires_at)
    status = DueStatus.OVERDUE if late else DueStatus.DUE
    for _, other in (pair for pair in starts if pair[0] <= now):
        if _may_start(policy, facts, other, now):
            return Due(status=status, at=start, why=other.why, ready=True)
    reopens = _next_open(policy, now)
    return Due(status=status, at=reopens, why=f"{occurrence.why}; waiting for the window")


def _occurrences(policy: RotatePolicy, facts: ScheduleFacts, since: float) -> Iterator[_Occurrence]:
    """The first occurrence of each cause after the current version came."""
    if policy.every_s is not None:
        at = _next_step(policy, policy.every_s, since)
        yield _Occurrence(at=at, why=f"scheduled for {iso(at)}")
    if policy.cron is not None:
        tick = next_cron(policy.cron, policy.zone, since)
        if tick is not None:
            yield _Occurrence(at=tick, why=f"scheduled for {iso(tick)}")
    if policy.before_expiry_s is not None and facts.expires_at is not None:
        at = _before_expiry(policy.before_expiry_s, facts.expires_at, since)
        yield _Occurrence(at=at, why=f"expires {iso(facts.expires_at)}")
    for name in policy.after:
        rotated = facts.after.get(name)
        if rotated is not None and rotated > since:
            yield _Occurrence(at=rotated, why=f"{name} was rotated {iso(rotated)}", prompt=True)


def _before_expiry(before_s: float, expires_at: float, since: float) -> float:
    """The time to replace what expires. Half its life, where it lives shorter than asked: else it would never rest."""
    at = expires_at - before_s
    return at if at > since else since + max(0.0, expires_at - since) / 2


def _next_step(policy: RotatePolicy, every_s: float, since: float) -> float:
    """The first step of `every` after `since`."""
    first = policy.from_date or ANCHOR
    if every_s % DAY_S:
        begin = _midnight(first, policy.zone)
        return begin + max(0, math.floor((since - begin) / every_s) + 1) * every_s
    days = round(every_s / DAY_S)
    today = datetime.fromtimestamp(since, policy.zone).date()
    step = max(0, (today - first).days // days)
    at = _midnight(first + timedelta(days=step * days), policy.zone)
    return at if at > since else _midnight(first + timedelta(days=(step + 1) * days), policy.zone)


def _midnight(day: date, zone: ZoneInfo) -> float:
    return datetime.combine(day, wall_time(), zone).timestamp()


def next_cron(expression: str, zone: ZoneInfo, since: float) -> float | None:
    """The first tick after `since`, or None where none comes. Raises CronSimError for a bad expression."""
    for tick in CronSim(expression, datetime.fromtimestamp(since, zone)):
        # In the repeated hour of autumn cronsim may answer with a tick of the first pass, already over.
        at = tick.astimezone(UTC).timestamp()
        if at > since:
            return at
    return None


def _start(policy: RotatePolicy, facts: ScheduleFacts, occurrence: _Occurrence) -> float:
    """When a rotation for this occurrence may start at the earliest."""
    begin, end, latest = occurrence.at, math.inf, _latest(facts, occurrence)
    if not occurrence.prompt:
        begin = max(begin, (facts.current_since or 0.0) + policy.min_age_s)
    if policy.window is not None:
        begin, end = opening(policy.window, begin)
    if begin > latest:
        return occurrence.at
    if occurrence.prompt:
        return begin
    return begin + _share(facts.name, occurrence.at) * min(policy.jitter_s, end - begin, latest - begin)


def _latest(facts: ScheduleFacts, occurrence: _Occurrence) -> float:
    """The latest start that leaves a margin before the expiry; infinite where no expiry follows the occurrence."""
    if facts.expires_at is None or occurrence.at >= facts.expires_at:
        return math.inf
    return facts.expires_at - min((facts.expires_at - occurrence.at) / 2, DAY_S)


def _may_start(policy: RotatePolicy, facts: ScheduleFacts, occurrence: _Occurrence, now: float) -> bool:
    return _next_open(policy, now) == now or _next_open(policy, now) > _latest(facts, occurrence)


def _next_open(policy: RotatePolicy, now: float) -> float:
    return now if policy.window is None else next_open(policy.window, now)


def _grace_s(policy: RotatePolicy) -> float:
    length = policy.window.longest_s if policy.window else 0.0
    return length + min(GRACE_S, policy.every_s or GRACE_S)


def _share(name: str, occurrence: float) -> float:
    """A number in [0, 1) that belongs to this secret and occurrence for ever."""
    digest = hashlib.sha256(f"{name}\n{occurrence:.0f}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48
