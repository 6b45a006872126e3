"""What a flavour is: the facts in which one way of replacing a portal's credential differs from another. Pure data.

Traits follow from it, and so does how the core finds out what became of a lost answer (contract 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keyturn.api import Field, Repeat, Revoke, Slot, Traits


class Tells(StrEnum):
    """How the portal shows that a call took effect whose answer was lost."""

    LABEL = "label"
    """The new credential carries the label that we gave it."""
    SEAL = "seal"
    """Only by its sealed answer: a credential that was not there before may be somebody else's."""
    CHANGE = "change"
    """The mark of the one credential, or of the slot, has moved; the portal made the value."""
    VALUE = "value"
    """The credential has the value that we made; where the portal does not show it, the proxies are asked."""


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """One way of replacing a credential. `in_place`: on one proxy it is always the old or the new one.

    `readable`: the portal may show the value again. `live_max` as in the traits; None where the portal has no limit
    that is known.
    """

    name: str
    fields: tuple[Field, ...]
    tells: Tells
    in_place: bool = False
    slots: tuple[str, ...] = ()
    live_max: int | None = None
    readable: bool = False
    repeat: Repeat = Repeat.DESTROYS
    revoke: Revoke = Revoke.NONE


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds: how long every proxy may take to hear of a change, how late a call may still take effect, and so on.

    `derived_s` is the longest life of a token that was obtained with a credential; `patience_s` how long an approval
    is waited for; `watch_s` how long a disabled credential is kept before it is deleted.
    """

    sync_s: float
    settle_s: float
    derived_s: float = 0.0
    min_age_s: float = 0.0
    check_every_s: float | None = None
    patience_s: float = 7 * 86_400.0
    settle_every_s: float = 2.0
    watch_s: float = 0.0


def traits_of(flavour: Flavour, times: Times, *, probe_leaves: str) -> Traits:
    """The traits of a secret of this flavour. Pure.

    In place, the answer of the portal is not yet the commit on its proxies, and what is replaced has to be in force.
    """
    return Traits(
        fields=flavour.fields,
        live_max=1 if flavour.in_place else flavour.live_max,
        grace_s=0.0 if flavour.in_place else None,
        slots=tuple(Slot(name=slot) for slot in flavour.slots),
        repeat=flavour.repeat,
        readable=flavour.readable,
        needs_current=flavour.in_place,
        revoke=flavour.revoke,
        decoy=True,
        probe_leaves=probe_leaves,
        activation_s=times.sync_s,
        revocation_s=times.sync_s,
        settle_s=times.settle_s,
        settle_every_s=times.settle_every_s,
        derived_s=0.0 if flavour.in_place else times.derived_s,
        min_age_s=times.min_age_s,
        check_every_s=times.check_every_s,
        patience_s=times.patience_s,
        watch_s=times.watch_s if flavour.revoke is Revoke.REFUSE_REMOVE else 0.0,
    )
