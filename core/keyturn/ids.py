"""Identifiers: UUIDv7 (RFC 9562, section 5.7), so that ids sort by the time they were made."""

from __future__ import annotations

import secrets
import uuid

from keyturn.clock import Clock

ENTROPY_BYTES = 10
SHORT_LENGTH = 8


def uuid7(now_s: float, entropy: bytes) -> str:
    """The UUIDv7 of an instant (epoch seconds) and ten bytes of entropy, 74 bits of which are used."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"expected {ENTROPY_BYTES} bytes of entropy, got {len(entropy)}")
    milliseconds = int(now_s * 1000) & ((1 << 48) - 1)
    low = int.from_bytes(entropy, "big")
    bits = milliseconds << 80 | low
    bits = bits & ~(0xF << 76) | 0x7 << 76  # version 7
    bits = bits & ~(0b11 << 62) | 0b10 << 62  # variant of RFC 9562
    return str(uuid.UUID(int=bits))


def new_id(clock: Clock) -> str:
    """A fresh id of this instant."""
    return uuid7(clock.now(), secrets.token_bytes(ENTROPY_BYTES))


def short(id_: str) -> str:
    """The end of an id, for people. The beginning is time: ids made together share it."""
    return id_[-SHORT_LENGTH:]
