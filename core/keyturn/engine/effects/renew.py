"""What is asked of `Bench.renewer`: to renew a secret that is derived from the one under rotation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RenewRequest:
    """Renew `secret` with the present value of `source`, for that one's rotation.

    One that was made for this rotation after `since` (epoch s) and is published is good enough.
    """

    secret: str
    source: str
    rotation: str
    since: float
