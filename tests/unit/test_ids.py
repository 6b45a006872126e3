"""Ids sort by time and are what RFC 9562 says."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.ids import new_id, short, uuid7
from keyturn.testing.clock import FakeClock

TIMES_S = st.floats(min_value=0, max_value=200_000_000_000)
ENTROPY = st.binary(min_size=10, max_size=10)


def test_the_example_of_rfc_9562_comes_out() -> None:
    # RFC 9562, A.6: 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F
    entropy = (0xCC3 << 64 | 0x18C4DC0C0C07398F).to_bytes(10, "big")
    assert uuid7(0x017F22E279B0 / 1000, entropy) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(TIMES_S, ENTROPY)
def test_every_id_is_a_version_7_uuid(now_s: float, entropy: bytes) -> None:
    made = uuid.UUID(uuid7(now_s, entropy))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


@given(TIMES_S, ENTROPY, ENTROPY)
def test_a_later_id_sorts_later(now_s: float, one: bytes, other: bytes) -> None:
    assert uuid7(now_s, one) < uuid7(now_s + 0.01, other)


def test_ids_of_one_instant_differ_also_in_short() -> None:
    clock = FakeClock()
    ids = [new_id(clock) for _ in range(100)]
    assert len(set(ids)) == 100
    assert len({short(id_) for id_ in ids}) == 100


def test_too_little_entropy_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected 10 bytes"):
        uuid7(0, b"short")
