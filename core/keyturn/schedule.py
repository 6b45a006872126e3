"""When a secret is due. Pure: the same policy, facts and time always give the same answer.

An *occurrence* is a moment at which a policy asks for a new version: a step of `every`, a tick of `cron`, the time
before expiry, or the rotation of a secret named by `after`. It is done once a version became current at or after it,
so missed occurrences do not pile up and none fires twice. From an occurrence follows its *start*: not before the
version is `min_age` old, moved to the next opening of the window, spread by jitter inside that opening.

Expiry outranks window and `min_age`: where waiting would pass the expiry minus a margin (half of the time from the
occurrence to the expiry, at most a day), the start is the occurrence itself. What is past its expiry is overdue,
whether anything renews it or not.

A version that was granted less than the vendor should grant is *short*. Where that leaves no more than the time before
expiry at which it is replaced, it is *held*: its expiry does not make it due, since the next one would be as short.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from enum import StrEnum
from zoneinfo import ZoneInfo

from cronsim import CronSim

from keyturn.clock import iso
from keyturn.expiry import Short
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

SHORT_SHARE_MIN = 0.25
"""A short version is not replaced before this share of its life is over: its successor may be as short."""

ANCHOR = date(2024, 1, 1)
"""Where `every` without `from` begins: a Monday."""


@dataclass(frozen=True, kw_only=True)
class RotatePolicy:
    """When to rotate; times in seconds. Nothing set: never.

    `every_s` counts from midnight of `from_date` in the policy's zone (`timezone`, else the window's, else UTC); whole
    days are counted on the calendar. `cron` has five fields. `before_expiry_share` is a share (0 to 1) of the
    version's life, in place of `before_expiry_s`. `keep_previous` is how many earlier versions a sink keeps readable.
    """

    every_s: float | None = None
    from_date: date | None = None
    cron: str | None = None
    timezone: str | None = None
    window: Window | None = None
    before_expiry_s: float | None = None
    before_expiry_share: float | None = None
    after: tuple[str, ...] = ()
    jitter_s: float = 0.0
    min_age_s: float = 0.0
    keep_previous: int = 1

    @property
    def zone(self) -> ZoneInfo:
        """The zone that dates and cron are read in."""
        return ZoneInfo(self.timezone or (self.window.zone if self.window else "UTC"))

    @property
    def renews_before_expiry(self) -> bool:
        """Whether an expiry makes anything due."""
        return self.before_expiry_s is not None or self.before_expiry_share is not None

    def lead_s(self, life_s: float) -> float | None:
        """How long before its expiry a version that lives so long is replaced; None: its expiry says nothing."""
        return self.before_expiry_s if self.before_expiry_share is None else self.before_expiry_share * life_s


@dataclass(frozen=True, kw_only=True)
class ScheduleFacts:
    """What the journal knows, epoch seconds. `current_since` None: unmanaged.

    `issued_at` is when the vendor was asked for the current version; None where nobody knows (it was adopted).
    `life_min_s` is the least that the vendor should grant.

    `after` gives for each secret of `RotatePolicy.after` when its current version was rotated in; leave adopted ones
    out, since adoption never rotates anything.
    """

    name: str
    current_since: float | None
    expires_at: float | None = None
    issued_at: float | None = None
    life_min_s: float = 0.0
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

    Due or overdue but not ready means that a window was missed: `at` is then its next opening; or that it expires, or
    expired, and nothing renews it: `at` is then the next start for another cause. `short`: it was granted too little.
    """

    status: DueStatus
    at: float | None
    why: str
    ready: bool = False
    short: Short | None = None


@dataclass(frozen=True, kw_only=True)
class _Occurrence:
    """`prompt`: neither jitter nor `min_age` delays it."""

    at: float
    why: str
    prompt: bool = False


_Start = tuple[float, _Occurrence]
"""When a rotation for an occurrence may start at the earliest (epoch s), and the occurrence."""


def due(policy: RotatePolicy, facts: ScheduleFacts, now: float) -> Due:
    """Where this secret stands at `now` (epoch s)."""
    if facts.current_since is None:
        return Due(status=DueStatus.NEVER, at=None, why="it has no current version")
    short = _short(policy, facts)
    occurrences = _occurrences(policy, facts, facts.current_since, short)
    starts = sorted(((_start(policy, facts, one), one) for one in occurrences), key=lambda pair: pair[0])
    begun = [pair for pair in starts if pair[0] <= now]
    found = _begun(policy, facts, begun, now) if begun else _not_begun(facts, starts, short, now)
    return replace(found, short=short)


def _begun(policy: RotatePolicy, facts: ScheduleFacts, begun: Sequence[_Start], now: float) -> Due:
    """Something asks for a new version now; the first cause that may start is the reason."""
    start, first = begun[0]
    status = DueStatus.OVERDUE if _is_late(policy, facts, start, now) else DueStatus.DUE
    for _, occurrence in begun:
        if _may_start(policy, facts, occurrence, now):
            return Due(status=status, at=start, why=occurrence.why, ready=True)
    return Due(status=status, at=_next_open(policy, now), why=f"{first.why}; waiting for the window")


def _not_begun(facts: ScheduleFacts, starts: Sequence[_Start], short: Short | None, now: float) -> Due:
    """Nothing asks for a new version yet, which is bad where it is past its expiry, or held."""
    at, why = (starts[0][0], starts[0][1].why) if starts else (None, "nothing says when")
    if short and short.held:
        return Due(status=DueStatus.OVERDUE, at=at, why=f"held, since the next one may be as short: {short.said(now)}")
    if facts.expires_at is not None and now >= facts.expires_at:
        return Due(status=DueStatus.OVERDUE, at=at, why=f"expired {iso(facts.expires_at)}")
    return Due(status=DueStatus.NEVER if at is None else DueStatus.NOT_DUE, at=at, why=why)


def _short(policy: RotatePolicy, facts: ScheduleFacts) -> Short | None:
    """Whether the current version was granted too little. A share is then one of the life that was expected."""
    if facts.expires_at is None or facts.issued_at is None:
        return None
    granted_s, lead_s = facts.expires_at - facts.issued_at, policy.lead_s(facts.life_min_s)
    if granted_s >= facts.life_min_s:
        return None
    held = lead_s is not None and granted_s <= lead_s
    return Short(granted_s=granted_s, expected_s=facts.life_min_s, expires_at=facts.expires_at, held=held)


def _occurrences(
    policy: RotatePolicy, facts: ScheduleFacts, since: float, short: Short | None
) -> Iterator[_Occurrence]:
    """The first occurrence of each cause after the current version came."""
    if policy.every_s is not None:
        at = _next_step(policy, policy.every_s, since)
        yield _Occurrence(at=at, why=f"scheduled for {iso(at)}")
    if policy.cron is not None:
        tick = next_cron(policy.cron, policy.zone, since)
        if tick is not None:
            yield _Occurrence(at=tick, why=f"scheduled for {iso(tick)}")
    replaced_at = _before_expiry(policy, facts, since, short)
    if replaced_at is not None:
        why = f"expires {iso(facts.expires_at)}" if facts.expires_at else "the vendor set it no expiry yet"
        yield _Occurrence(at=replaced_at, why=why)
    for name in policy.after:
        rotated = facts.after.get(name)
        if rotated is not None and rotated > since:
            yield _Occurrence(at=rotated, why=f"{name} was rotated {iso(rotated)}", prompt=True)


def _before_expiry(policy: RotatePolicy, facts: ScheduleFacts, since: float, short: Short | None) -> float | None:
    """The time to replace what expires. Half its life, where it lives shorter than asked: else it would never rest.

    What was adopted late in its life has had its rest elsewhere: it is due.
    """
    if facts.expires_at is None and facts.issued_at is None and facts.life_min_s and policy.renews_before_expiry:
        return since  # it is older than the vendor's rule of expiry: the first reset gives it one
    if facts.expires_at is None or (short and short.held):
        return None
    lead_s = policy.lead_s(facts.expires_at - (since if facts.issued_at is None else facts.issued_at))
    if lead_s is None:
        return None
    at = facts.expires_at - lead_s
    if short:
        return max(at, facts.expires_at - (1 - SHORT_SHARE_MIN) * short.granted_s)
    if at > since or facts.issued_at is None:
        return max(at, since)
    return since + max(0.0, facts.expires_at - since) / 2


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
    """The latest start that leaves a margin before the expiry: at once, where that is over; infinite without one."""
    if facts.expires_at is None:
        return math.inf
    if occurrence.at >= facts.expires_at:
        return occurrence.at
    return facts.expires_at - min((facts.expires_at - occurrence.at) / 2, DAY_S)


def _may_start(policy: RotatePolicy, facts: ScheduleFacts, occurrence: _Occurrence, now: float) -> bool:
    return _next_open(policy, now) == now or _next_open(policy, now) > _latest(facts, occurrence)


def _next_open(policy: RotatePolicy, now: float) -> float:
    return now if policy.window is None else next_open(policy.window, now)


def _is_late(policy: RotatePolicy, facts: ScheduleFacts, start: float, now: float) -> bool:
    """Later than the grace allows, or less than half is left of what there was before the expiry."""
    if facts.expires_at is not None and now >= start + max(0.0, facts.expires_at - start) / 2:
        return True
    return now - start > _grace_s(policy)


def _grace_s(policy: RotatePolicy) -> float:
    length = policy.window.longest_s if policy.window else 0.0
    return length + min(GRACE_S, policy.every_s or GRACE_S)


def _share(name: str, occurrence: float) -> float:
    """A number in [0, 1) that belongs to this secret and occurrence for ever."""
    digest = hashlib.sha256(f"{name}\n{occurrence:.0f}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48
