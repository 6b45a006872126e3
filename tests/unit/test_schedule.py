"""When a secret is due: named cases, and properties over years and clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.schedule import (
    Due,
    DueStatus,
    RotatePolicy,
    ScheduleFacts,
    due,
    in_window,
    next_cron,
    next_open,
    parse_window,
)

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0
DAY = 24 * HOUR
SUNDAY_NIGHT = parse_window("Sun 02:00-04:00 Europe/Berlin")


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def berlin(text: str, *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


def facts(since: float | None, **more: object) -> ScheduleFacts:
    return ScheduleFacts(name="a/b", current_since=since, **more)  # type: ignore[arg-type]


def ask(policy: RotatePolicy, known: ScheduleFacts, now: float) -> tuple[DueStatus, bool]:
    answer = due(policy, known, now)
    return answer.status, answer.ready


NOT_DUE, READY, MISSED = (DueStatus.NOT_DUE, False), (DueStatus.DUE, True), (DueStatus.DUE, False)


# Windows


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("Sun 02:00-04:00 Europe/Berlin", "2026-01-04T02:00", "2026-01-04T04:00"),
        ("Mon-Thu 09:00-16:00 Europe/Berlin", "2026-01-08T15:59", "2026-01-09T10:00"),
        ("Fri-Mon 09:00-10:00 Europe/Berlin", "2026-01-04T09:30", "2026-01-06T09:30"),
        ("Sat 22:00-02:00 Europe/Berlin", "2026-01-04T01:59", "2026-01-03T01:59"),
        ("Sat 22:00-24:00, Tue 01:00-02:00 Europe/Berlin", "2026-01-06T01:00", "2026-01-04T00:00"),
        ("00:00-24:00 Europe/Berlin", "2026-01-04T23:59", ""),
        ("05:00-06:00 Europe/Berlin", "2026-01-07T05:30", "2026-01-07T06:00"),
    ],
)
def test_a_window_is_open_from_its_begin_until_before_its_end(text: str, inside: str, outside: str) -> None:
    window = parse_window(text)
    assert in_window(window, berlin(inside))
    assert not outside or not in_window(window, berlin(outside))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Europe/Berlin",
        "Sun 02:00-04:00",
        "Sun 02:00-04:00 Europe/Nowhere",
        "Son 02:00-04:00 UTC",
        "Sun 2:00-4:00 UTC",
        "Sun 02:60-04:00 UTC",
        "Sun 02:00-24:01 UTC",
        "Sun 02:00-02:00 UTC",
        "Sun 24:00-02:00 UTC",
        "Sun 02:00-04:00,, UTC",
        "Sun 02:00-04:00 ../../etc/passwd",
    ],
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_window(text)


def test_in_the_missing_hour_bounds_move_inwards() -> None:
    # 2026-03-29: 02:00 is followed by 03:00.
    assert next_open(SUNDAY_NIGHT, berlin("2026-03-29T01:00")) == berlin("2026-03-29T03:00")
    early = parse_window("Sun 02:00-02:45 Europe/Berlin")
    assert next_open(early, berlin("2026-03-28T12:00")) == berlin("2026-04-05T02:00")
    late = parse_window("Sun 02:30-05:00 Europe/Berlin")
    assert next_open(late, berlin("2026-03-29T01:00")) == berlin("2026-03-29T03:30")


def test_the_repeated_hour_is_open_in_both_passes() -> None:
    # 2026-10-25: 02:59 summer time is followed by 02:00 winter time.
    window = parse_window("Sun 02:00-03:00 Europe/Berlin")
    for fold in (0, 1):
        assert in_window(window, berlin("2026-10-25T02:30", fold=fold))
    assert next_open(window, berlin("2026-10-24T12:00")) == berlin("2026-10-25T02:00", fold=0)
    assert not in_window(window, berlin("2026-10-25T03:00"))


ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"])
TIMES = st.integers(int(utc("2025-01-01")), int(utc("2028-01-01")))


@st.composite
def windows(draw: st.DrawFn) -> str:
    first, last = (draw(st.sampled_from(["Mon", "Wed", "Fri", "Sat", "Sun"])) for _ in range(2))
    begin, end = draw(st.lists(st.integers(0, 95), min_size=2, max_size=2, unique=True))
    clock = "-".join(f"{quarter // 4:02}:{quarter % 4 * 15:02}" for quarter in (begin, end))
    return f"{first}-{last} {clock} {draw(ZONES)}"


@given(windows(), TIMES)
def test_the_next_opening_is_open_and_nothing_before_it_is(text: str, now: int) -> None:
    window = parse_window(text)
    opens = next_open(window, now)
    assert opens >= now
    assert in_window(window, opens)
    assert not any(in_window(window, now + (opens - now) * part / 16) for part in range(16) if opens > now)
    assert next_open(window, now + 1) >= opens


# Schedules


def test_unset_is_never_due() -> None:
    answer = due(RotatePolicy(jitter_s=9, window=SUNDAY_NIGHT), facts(0.0, expires_at=3.0), 2.0)
    assert (answer.status, answer.at) == (DueStatus.NEVER, None)


def test_what_is_past_its_expiry_is_overdue_though_nothing_renews_it() -> None:
    answer = due(RotatePolicy(), facts(0.0, expires_at=DAY), DAY)
    assert (answer.status, answer.ready, answer.why) == (DueStatus.OVERDUE, False, "expired 1970-01-02T00:00:00Z")
    later = due(RotatePolicy(every_s=7 * DAY), facts(0.0, expires_at=DAY), 2 * DAY)
    assert (later.status, later.ready) == (DueStatus.OVERDUE, False)
    assert later.at is not None


def test_a_secret_without_a_current_version_is_never_due() -> None:
    answer = due(RotatePolicy(every_s=DAY), facts(None), 1e9)
    assert (answer.status, answer.ready) == (DueStatus.NEVER, False)


def test_every_hangs_on_the_calendar_and_not_on_the_last_rotation() -> None:
    policy = RotatePolicy(every_s=30 * DAY, from_date=date(2026, 1, 4))
    late = facts(utc("2026-01-09T13:00"))
    assert due(policy, late, utc("2026-01-10")).at == utc("2026-02-03")
    assert ask(policy, late, utc("2026-02-02T23:59")) == NOT_DUE
    assert ask(policy, late, utc("2026-02-03")) == READY


def test_nothing_is_due_before_from() -> None:
    policy = RotatePolicy(every_s=DAY, from_date=date(2026, 6, 1))
    assert due(policy, facts(utc("2026-01-01T05:00")), utc("2026-05-01")).at == utc("2026-06-01")


def test_missed_occurrences_do_not_pile_up() -> None:
    policy = RotatePolicy(every_s=7 * DAY, from_date=date(2026, 1, 1))
    now = utc("2026-03-01T12:00")
    assert due(policy, facts(utc("2026-01-01T01:00")), now).ready
    assert ask(policy, facts(now), now + 1) == NOT_DUE


def test_whole_days_stay_at_midnight_over_a_clock_change() -> None:
    policy = RotatePolicy(every_s=DAY, from_date=date(2026, 3, 1), timezone="Europe/Berlin")
    assert due(policy, facts(berlin("2026-03-29T12:00")), berlin("2026-03-29T13:00")).at == berlin("2026-03-30T00:00")


def test_hours_are_counted_through_a_clock_change() -> None:
    policy = RotatePolicy(every_s=12 * HOUR, from_date=date(2026, 1, 1))
    assert due(policy, facts(utc("2026-03-29T00:00")), utc("2026-03-29T01:00")).at == utc("2026-03-29T12:00")


def test_an_occurrence_waits_for_its_window_and_a_missed_window_for_the_next() -> None:
    policy = RotatePolicy(every_s=30 * DAY, from_date=date(2026, 1, 1), window=SUNDAY_NIGHT)
    known = facts(berlin("2026-01-05T12:00"))
    opens = berlin("2026-02-01T02:00")
    assert due(policy, known, berlin("2026-01-31T03:00")).at == opens
    assert ask(policy, known, opens) == READY
    assert ask(policy, known, opens + 3 * HOUR) == MISSED
    assert due(policy, known, opens + 3 * HOUR).at == opens + 7 * DAY
    assert ask(policy, known, opens + 27 * HOUR) == (DueStatus.OVERDUE, False)
    assert ask(policy, known, opens + 7 * DAY) == (DueStatus.OVERDUE, True)


def test_a_version_that_is_too_young_waits() -> None:
    policy = RotatePolicy(every_s=DAY, from_date=date(2026, 1, 1), min_age_s=6 * HOUR)
    assert due(policy, facts(utc("2026-01-01T23:00")), utc("2026-01-02T01:00")).at == utc("2026-01-02T05:00")


def test_expiry_outranks_the_window() -> None:
    policy = RotatePolicy(before_expiry_s=2 * DAY, window=SUNDAY_NIGHT)
    thursday = berlin("2026-01-08T12:00")
    known = facts(thursday - 30 * DAY, expires_at=thursday)
    assert ask(policy, known, thursday - 2 * DAY - 1) == NOT_DUE
    assert ask(policy, known, thursday - 2 * DAY) == READY
    assert ask(policy, known, thursday + 1) == (DueStatus.OVERDUE, True)


def test_a_window_that_opens_well_before_expiry_is_waited_for() -> None:
    policy = RotatePolicy(before_expiry_s=20 * DAY, window=SUNDAY_NIGHT)
    expires = berlin("2026-01-28T12:00")
    known = facts(expires - 90 * DAY, expires_at=expires)
    assert due(policy, known, expires - 20 * DAY).at == berlin("2026-01-11T02:00")
    # Both later windows were missed; none opens any more before the margin.
    assert ask(policy, known, berlin("2026-01-26T00:00"))[1]


def test_a_life_shorter_than_before_expiry_is_renewed_at_half() -> None:
    policy = RotatePolicy(before_expiry_s=12 * HOUR)
    assert due(policy, facts(1000.0, expires_at=1000.0 + HOUR, issued_at=1000.0), 1001.0).at == 1000.0 + HOUR / 2


def test_what_was_adopted_late_in_its_life_is_due_at_once() -> None:
    policy = RotatePolicy(before_expiry_s=20 * DAY)
    answer = due(policy, facts(1000.0, expires_at=1000.0 + 19 * DAY), 1001.0)
    assert (answer.status, answer.at, answer.ready) == (DueStatus.DUE, 1000.0, True)


def test_a_share_of_the_life_is_counted_from_the_issue_and_else_from_when_it_became_current() -> None:
    policy = RotatePolicy(before_expiry_share=0.25)
    issued = facts(10 * DAY, issued_at=0.0, expires_at=80 * DAY)
    assert due(policy, issued, 11 * DAY).at == 60 * DAY
    assert due(policy, facts(40 * DAY, expires_at=80 * DAY), 41 * DAY).at == 70 * DAY


@pytest.mark.parametrize(
    ("policy", "late_at"),
    [
        (RotatePolicy(before_expiry_s=12 * HOUR), 100 * DAY - 6 * HOUR),
        (RotatePolicy(before_expiry_s=20 * DAY), 81 * DAY),
        (RotatePolicy(before_expiry_share=0.01), 99.5 * DAY),
        (RotatePolicy(before_expiry_s=300 * DAY), 51 * DAY),
    ],
    ids=["half of a short lead", "a day of a long one", "half of a share", "a day, where it is renewed at half"],
)
def test_what_expires_is_overdue_once_half_of_the_lead_is_over_and_at_most_a_day(
    policy: RotatePolicy, late_at: float
) -> None:
    known = facts(0.0, issued_at=0.0, expires_at=100 * DAY)
    assert ask(policy, known, late_at - 1) == READY
    assert ask(policy, known, late_at + 1) == (DueStatus.OVERDUE, True)


def test_a_start_that_waited_for_its_window_is_not_overdue_at_once() -> None:
    policy = RotatePolicy(before_expiry_s=20 * DAY, window=parse_window("Wed 02:00-04:00 Europe/Berlin"))
    expires = berlin("2026-01-28T12:00")
    opens = due(policy, facts(expires - 90 * DAY, expires_at=expires), expires - 21 * DAY).at
    assert opens is not None
    assert ask(policy, facts(expires - 90 * DAY, expires_at=expires), opens + 60) == READY


def short(granted: float, *, lead: float, floor: float = 45 * DAY) -> tuple[RotatePolicy, ScheduleFacts]:
    """Issued at 0, current a minute later."""
    known = facts(60.0, issued_at=0.0, expires_at=granted, life_min_s=floor)
    return RotatePolicy(before_expiry_s=lead), known


def test_a_short_version_that_would_be_due_at_once_is_held_and_says_so() -> None:
    policy, known = short(DAY, lead=20 * DAY)
    answer = due(policy, known, DAY - 3 * HOUR)
    assert (answer.status, answer.ready, answer.at) == (DueStatus.OVERDUE, False, None)
    assert answer.why == (
        "held, since the next one may be as short: granted 24 hours where at least 45 days were expected; "
        "expires 1970-01-02T00:00:00Z, 3 hours left"
    )
    assert due(policy, known, 4 * DAY).why.endswith("expired 1970-01-02T00:00:00Z, 3 days ago")
    assert not any(due(policy, known, hour * HOUR).ready for hour in range(24 * 30))


def test_another_cause_still_makes_a_held_version_due() -> None:
    policy, known = short(DAY, lead=20 * DAY)
    weekly = RotatePolicy(before_expiry_s=policy.before_expiry_s, every_s=7 * DAY, from_date=date(1970, 1, 1))
    assert due(weekly, known, 6 * DAY).at == 7 * DAY
    assert not due(weekly, known, 6 * DAY).ready
    assert due(weekly, known, 7 * DAY).ready


def test_a_short_version_with_more_than_the_lead_is_renewed_from_what_was_granted() -> None:
    policy, known = short(30 * DAY, lead=20 * DAY)
    answer = due(policy, known, DAY)
    assert (answer.status, answer.at) == (DueStatus.NOT_DUE, 10 * DAY)
    assert answer.short is not None
    assert not answer.short.held


def test_a_short_version_just_above_the_lead_rests_for_a_quarter_of_its_life() -> None:
    policy, known = short(20 * DAY + HOUR, lead=20 * DAY)
    assert due(policy, known, DAY).at == (20 * DAY + HOUR) / 4


def test_a_share_holds_what_is_shorter_than_that_share_of_the_least_life() -> None:
    policy = RotatePolicy(before_expiry_share=0.5)
    assert not any(due(policy, short(DAY, lead=0)[1], hour * HOUR).ready for hour in range(24 * 7))
    assert due(policy, short(30 * DAY, lead=0)[1], DAY).at == 15 * DAY


def test_what_was_adopted_is_never_short() -> None:
    known = facts(60.0, expires_at=DAY, life_min_s=45 * DAY)
    answer = due(RotatePolicy(before_expiry_s=20 * DAY), known, HOUR)
    assert (answer.short, answer.status) == (None, DueStatus.DUE)


@given(st.integers(1, 200 * int(HOUR)), st.integers(1, 100 * int(HOUR)), st.integers(1, 4 * int(HOUR)))
def test_short_versions_one_after_the_other_never_make_a_loop(granted: int, lead: int, round_s: int) -> None:
    at, policy = 0.0, RotatePolicy(before_expiry_s=float(lead))
    for _ in range(20):
        known = facts(at + 1, issued_at=at, expires_at=at + granted, life_min_s=300 * HOUR)
        answer = due(policy, known, at + 1)
        if answer.at is None:
            return
        assert answer.at >= at + granted / 4
        at = max(answer.at, at + round_s)


def test_after_follows_the_other_secrets_rotation_at_once() -> None:
    policy = RotatePolicy(after=("net/entity",), min_age_s=HOUR, jitter_s=HOUR)
    assert ask(policy, facts(100.0, after={"net/entity": 200.0}), 200.0) == READY
    assert ask(policy, facts(300.0, after={"net/entity": 200.0}), 400.0) == (DueStatus.NEVER, False)
    assert ask(policy, facts(100.0, after={"net/entity": None}), 400.0) == (DueStatus.NEVER, False)


def test_cron_ticks_once_in_the_missing_and_in_the_repeated_hour() -> None:
    policy = RotatePolicy(cron="30 2 * * *", timezone="Europe/Berlin")
    spring = due(policy, facts(berlin("2026-03-28T12:00")), berlin("2026-03-28T13:00"))
    assert spring.at is not None
    assert datetime.fromtimestamp(spring.at, BERLIN).date() == date(2026, 3, 29)
    autumn = berlin("2026-10-25T02:30", fold=0)
    assert due(policy, facts(autumn - HOUR), autumn - 1).at == autumn
    for minutes in (1, 40, 59, 61):
        assert ask(policy, facts(autumn + minutes * 60), autumn + minutes * 60 + 1) == NOT_DUE


def test_jitter_belongs_to_the_secret_and_stays_in_the_window() -> None:
    policy = RotatePolicy(every_s=DAY, from_date=date(2026, 1, 1), window=SUNDAY_NIGHT, jitter_s=30 * DAY)
    since, now = berlin("2026-01-05T12:00"), berlin("2026-01-06T12:00")
    names = [f"s/{number}" for number in range(50)]
    starts = [due(policy, ScheduleFacts(name=name, current_since=since), now).at or 0.0 for name in names]
    assert all(in_window(SUNDAY_NIGHT, start) for start in starts)
    assert len(set(starts)) == 50
    assert max(starts) - min(starts) > HOUR


POLICIES = st.builds(
    RotatePolicy,
    every_s=st.sampled_from([None, 6 * HOUR, DAY, 7 * DAY, 30 * DAY]),
    from_date=st.dates(date(2025, 1, 1), date(2026, 1, 1)),
    cron=st.sampled_from([None, "30 2 * * *", "*/30 1-3 * * 0", "0 10 15 1,4,7,10 *"]),
    timezone=ZONES,
    window=st.one_of(st.none(), windows().map(parse_window)),
    before_expiry_s=st.sampled_from([None, 12 * HOUR, 20 * DAY]),
    before_expiry_share=st.sampled_from([None, None, 0.1, 0.5]),
    jitter_s=st.sampled_from([0.0, 1800.0, 2 * DAY]),
    min_age_s=st.sampled_from([0.0, HOUR]),
)


@settings(max_examples=150)
@given(POLICIES, TIMES, st.one_of(st.none(), st.integers(1, 100 * int(DAY))), st.integers(0, 90 * int(DAY)))
def test_an_answer_is_the_same_every_time_and_true(
    policy: RotatePolicy, since: int, life: int | None, wait: int
) -> None:
    known = facts(float(since), expires_at=None if life is None else float(since + life))
    now = float(since + wait)
    answer = due(policy, known, now)
    assert answer == due(policy, known, now)
    if answer.status is DueStatus.NOT_DUE:
        assert answer.at is not None
        assert answer.at > now
        assert due(policy, known, answer.at).ready or policy.window is not None
    if answer.ready and policy.window is not None and life is None:
        assert in_window(policy.window, now)


@settings(max_examples=150)
@given(POLICIES, TIMES, st.integers(0, 60 * int(DAY)), st.integers(0, 60 * int(DAY)))
def test_once_due_it_stays_due_until_it_is_rotated(policy: RotatePolicy, since: int, wait: int, more: int) -> None:
    rank = {DueStatus.NEVER: 0, DueStatus.NOT_DUE: 0, DueStatus.DUE: 1, DueStatus.OVERDUE: 2}
    known = facts(float(since))
    first, later = (due(policy, known, float(at)).status for at in (since + wait, since + wait + more))
    assert rank[first] <= rank[later]


@settings(max_examples=60)
@given(
    st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 */6 * * *", "15 1-3 * * *"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    st.sampled_from(["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-05", "2026-10-04"]),
    st.integers(1, 7000),
)
def test_no_tick_fires_twice_over_a_clock_change(cron: str, zone: str, day: str, took: int) -> None:
    since, seen = utc(day) - DAY, []
    while since < utc(day) + 2 * DAY:
        tick = next_cron(cron, ZoneInfo(zone), since)
        assert tick is not None
        assert tick > since
        seen.append(tick)
        since = tick + took
    assert seen == sorted(set(seen))
    if cron == "30 2 * * *":
        days = [datetime.fromtimestamp(tick, ZoneInfo(zone)).date() for tick in seen]
        assert len(days) == len(set(days))


@settings(max_examples=60)
@given(POLICIES, TIMES)
def test_driving_the_clock_rotates_in_the_window_and_never_twice_for_one_occurrence(
    policy: RotatePolicy, since: int
) -> None:
    at = float(since)
    for _ in range(12):
        answer: Due = due(policy, facts(at), at)
        assert not answer.ready
        if answer.at is None:
            return
        start = answer.at
        assert start > at
        assert policy.window is None or in_window(policy.window, start)
        assert due(policy, facts(at), start).ready
        at = start + 1.0
