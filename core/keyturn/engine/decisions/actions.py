"""What `decide` can ask for. Plain data; the loop carries it out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyturn.engine.record.events import Body
from keyturn.model import Half
from keyturn.steps import Step


@dataclass(frozen=True, kw_only=True)
class Mint:
    """Make our fields and seal them."""


@dataclass(frozen=True, kw_only=True)
class Effects:
    """The same effect on several targets, side by side: stage, promote, discard, quiesce, release, announce."""

    step: Step
    verb: str
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class IssueNow:
    """Send one issue (or reset, in a break-glass rotation)."""


@dataclass(frozen=True, kw_only=True)
class SettleNow:
    """Look what became of the attempts in doubt. `final`: nothing that was sent can take effect any more."""

    final: bool = False


@dataclass(frozen=True, kw_only=True)
class ReissueNow:
    """Go on with another new version, since this one's value is gone."""


@dataclass(frozen=True, kw_only=True)
class RetireNow:
    """Make the vendor refuse, or remove, one version."""

    step: Step
    version: str
    half: Half


@dataclass(frozen=True, kw_only=True)
class LookAtVendor:
    """Inspect the vendor."""


@dataclass(frozen=True, kw_only=True)
class LookAtSinks:
    """Inspect these places."""

    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ProbeNow:
    """Probe these (version id or DECOY, endpoint) pairs, side by side; each may take `within_s` (None: as usual)."""

    pairs: tuple[tuple[str, str], ...]
    within_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class TidyEscrow:
    """Drop sealed values that nothing needs any more."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Write these events; nothing else happens."""

    bodies: tuple[Body, ...]


@dataclass(frozen=True, kw_only=True)
class Pause:
    """Let time pass until `until` (epoch s), then look again. `at_most`: when patience is the next run's."""

    step: Step
    until: float
    at_most: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Leave:
    """End this run's work on the secret; a later run goes on, at `again` (epoch s) or else `until`.

    `kind`: hold, person, vendor, retry.
    """

    step: Step
    kind: str
    text: str
    until: float | None = None
    again: float | None = None
    missing: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Stuck: a person must act. `next` is the exact next command."""

    step: Step
    code: str
    reason: str
    next: str


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """Nothing is left to do."""


Action = (
    Mint
    | Effects
    | IssueNow
    | SettleNow
    | ReissueNow
    | RetireNow
    | LookAtVendor
    | LookAtSinks
    | ProbeNow
    | TidyEscrow
    | Record
    | Pause
    | Leave
    | Stop
    | Quiet
)

WAITS: tuple[type[Action], ...] = (Pause, Stop, Leave)
"""What only waits, the most urgent first: tried again by this process, done by a person, left to a later run."""


def most_urgent(waits: Iterable[Action]) -> Action | None:
    """The wait that counts. None where there is none."""
    return min(waits, key=lambda one: WAITS.index(type(one)), default=None)
