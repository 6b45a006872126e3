"""What a cut-over cost, in words: for the outcome of a rotation, for status and for history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MS_APART = 1000
"""Outages that differ by less are one."""


def cut_over(receipt: Mapping[str, Any]) -> list[str]:
    """The outage against what is accepted, and by endpoint; how long consumers were held back, and who was not told.

    `receipt` is what `Ended` has, as data; rows of earlier versions of Keyturn lack the newer facts.
    """
    outage_ms, accepted_ms = receipt.get("outage_ms") or 0, receipt.get("accepted_ms") or 0
    drained_ms, undrained = receipt.get("drained_ms") or 0, receipt.get("undrained") or {}
    more = f", more than the accepted {_length(accepted_ms)}" if 0 < accepted_ms < outage_ms else ""
    return [
        *([f"outage: {_length(outage_ms)}{more}"] if outage_ms else []),
        *_by_endpoint(receipt),
        *([f"consumers drained: {_length(drained_ms)}"] if drained_ms else []),
        *(f"{name} was not told to drain: {why}" for name, why in undrained.items()),
    ]


def _by_endpoint(receipt: Mapping[str, Any]) -> list[str]:
    """Where it lasted how long, if that differs; and where it was not over yet."""
    outages, outstanding = receipt.get("outages_ms") or {}, receipt.get("outstanding") or ()
    lengths = outages.values()
    differ = bool(outages) and (bool(outstanding) or max(lengths) - min(lengths) > MS_APART)
    longest_first = sorted(outages.items(), key=lambda one: (-one[1], one[0])) if differ else []
    return [
        *(f"outage at {endpoint}: {_length(ms)}" for endpoint, ms in longest_first),
        *(f"{endpoint} has not accepted the new version yet" for endpoint in outstanding),
    ]


def _length(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s".replace(".0 s", " s")  # noqa: PLR2004 - ms in a second
