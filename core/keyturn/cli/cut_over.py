"""What a cut-over cost, in words: for the outcome of a rotation, for status and for history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def cut_over(receipt: Mapping[str, Any]) -> list[str]:
    """The outage against what is accepted, how long consumers were held back, and who was not told to drain.

    `receipt` is what `Ended` has, as data; rows of earlier versions of Keyturn lack the newer facts.
    """
    outage_ms, accepted_ms = receipt.get("outage_ms") or 0, receipt.get("accepted_ms") or 0
    drained_ms, undrained = receipt.get("drained_ms") or 0, receipt.get("undrained") or {}
    more = f", more than the accepted {_length(accepted_ms)}" if 0 < accepted_ms < outage_ms else ""
    return [
        *([f"outage: {_length(outage_ms)}{more}"] if outage_ms else []),
        *([f"consumers drained: {_length(drained_ms)}"] if drained_ms else []),
        *(f"{name} was not told to drain: {why}" for name, why in undrained.items()),
    ]


def _length(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s".replace(".0 s", " s")  # noqa: PLR2004 - ms in a second
