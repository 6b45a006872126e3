"""Which instants an expiry can be."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from keyturn.clock import iso
from keyturn.expiry import PLAUSIBLE_BEFORE, plausible


@pytest.mark.parametrize("at", [1, 1.5, 1.8e9, PLAUSIBLE_BEFORE - 1])
def test_an_instant_that_a_calendar_has_is_plausible(at: float) -> None:
    assert plausible(at)
    assert iso(at)


@pytest.mark.parametrize("at", [math.inf, -math.inf, math.nan, -1.0, 0, PLAUSIBLE_BEFORE, 1e300, 10**400])
def test_what_no_calendar_has_is_not(at: float) -> None:
    assert not plausible(at)


@pytest.mark.parametrize("at", [None, "2026-01-04", True, [1.0]])
def test_what_is_no_number_is_not(at: object) -> None:
    assert not plausible(at)


def test_the_last_year_of_the_calendar_is_left_for_what_is_reckoned_from_an_expiry() -> None:
    assert datetime(9999, 1, 1, tzinfo=UTC).timestamp() == PLAUSIBLE_BEFORE
