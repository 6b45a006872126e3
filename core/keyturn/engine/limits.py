"""Every bound of the engine in one frozen place, with its unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long and how often. Seconds unless the name says otherwise."""

    call_s: float = 60.0
    probe_s: float = 20.0
    gap_probe_s: float = 3.0
    """How long a first probe may take while others wait for it; who is silent is given longer, apart."""
    notify_s: float = 60.0
    poll_s: float = 1.0
    lease_s: float = 60.0
    patience_s: float = 300.0
    """The longest the process itself waits for something; anything longer is left to the next run."""
    looks_fresh_s: float = 60.0
    """How old an observation may be to count as `now`."""
    skew_s: float = 120.0
    tries_per_run: int = 3
    issues_per_rotation: int = 5
    turns_per_drive: int = 10_000
    renew_s: float = 300.0
    """How long a derived secret may take to be renewed, from the first look to its last sink."""
    bridge_least_s: float = 2 * 86_400.0
    """A secret that expires sooner is rotated without the bridge that could not be made."""
    bridge_fresh_s: float = 300.0
    """How old that may be when issue ends what it was derived from."""
    drain_s: float = 900.0
    """The dead-man deadline handed to consumers that drain."""
    attend_s: float = 600.0
    """How long a person attends; below `drain_s`, since consumers are drained for all of that time."""
    margin_s: float = 15.0
    """What must be left of a drain besides all that is waited for in it: clocks differ, and consumers wake up early."""
