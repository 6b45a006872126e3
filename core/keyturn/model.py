"""The words of the protocol as plain data: what a vendor can do (`Traits`), and what a version is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from keyturn.secret import Bundle

Fields = Mapping[str, str]
"""Names to plain, non-secret texts."""

URL_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class Maker(StrEnum):
    """Who makes a field of the bundle."""

    US = "us"
    VENDOR = "vendor"
    SLOT = "slot"
    FIXED = "fixed"


class Repeat(StrEnum):
    """What sending `issue` again after it may have been applied does."""

    SAFE = "safe"
    DUPLICATES = "duplicates"
    DESTROYS = "destroys"


class Revoke(StrEnum):
    """How a vendor can be made to refuse a version: not at all, by refusing, or by refusing and later removing."""

    NONE = "none"
    REFUSE = "refuse"
    REFUSE_REMOVE = "refuse+remove"


class Half(StrEnum):
    """The two halves of retiring: `refuse` (reversible where the vendor can) and `remove` (for good)."""

    REFUSE = "refuse"
    REMOVE = "remove"


class Verdict(StrEnum):
    """What one endpoint says of one value now. Anything that proves nothing is `unknown`."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Settled(StrEnum):
    """What became of an attempt whose answer was lost.

    `replaced`: neither the new nor the old version is in force, so somebody else's is.
    """

    APPLIED = "applied"
    APPLIED_GONE = "applied_gone"
    PARTLY = "partly"
    NOT_APPLIED = "not_applied"
    REPLACED = "replaced"
    UNKNOWN = "unknown"


class Mode(StrEnum):
    """How a rotation begins."""

    NORMAL = "normal"
    FIRST = "first"
    CURRENT_DEAD = "current-dead"
    BREAK_GLASS = "break-glass"
    ROLLBACK = "rollback"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How we make a value: `length` characters of `alphabet` after `prefix`, never beginning with `forbid_prefix`."""

    alphabet: str = URL_SAFE
    length: int = 43
    prefix: str = ""
    forbid_prefix: str = ""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of the bundle; `value` is for fixed ones.

    An artefact comes out of issue and has sinks of its own; without one that is `required` a version lacks something.
    `pattern` is a regular expression that the whole of an artefact must match, where a person hands it in.
    """

    name: str
    by: Maker
    recipe: Recipe | None = None
    value: str = ""
    sensitive: bool = True
    artefact: bool = False
    required: bool = True
    pattern: str = ""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A fixed place at the vendor that versions use in turn, with the fields that come with it."""

    name: str
    fixed: Fields = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """At most `calls` in `per_s` seconds, `burst` of them at once."""

    calls: int
    per_s: float
    burst: int = 1


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What one kind of secret can do at its vendor, declared before anything is called.

    Times are seconds. `live_max` is how many versions the vendor accepts at once (None: no limit; 1: in place).
    `grace_s` is how long the old version lives after issue (None: issue does not end it; 0: it dies at once).
    `grace_max_s` is how long the vendor may go on accepting it though nothing relies on that: observed and recorded.
    `settle_s` is how long after an attempt's deadline a late commit may still appear, `settle_every_s` the shortest
    time between two looks for it. `derived_s` is the longest life of what the vendor derives from a version (tokens,
    signed URLs) and is added to the hold. With `own_expiry` each version ends at its expiry and in no other way,
    whatever is issued after it. A version that is granted a life shorter than `life_min_s` is alerted, and its expiry
    alone never renews it where it would be due at once. `check_every_s` is how often a run looks at the vendor although
    nothing is due.

    `attended`: replacing a version is what a person does at the vendor, so nothing is drained or shown before somebody
    attends; `patience_s` is how long is waited for that. `reset_by` names the artefacts by which `BreakGlass.reset`
    replaces a version without its value. `probe_every_s` is the shortest time between two probes of a value that was
    not accepted. `watch_s` is how long a version that the vendor was made to refuse is kept there before it is removed
    for good: until then a person can have it accepted again, where somebody turns out to miss it.
    """

    fields: tuple[Field, ...]
    live_max: int | None
    grace_s: float | None
    grace_max_s: float = 0.0
    own_expiry: bool = False
    slots: tuple[Slot, ...] = ()
    repeat: Repeat = Repeat.DESTROYS
    readable: bool = False
    needs_current: bool = False
    answer_is_commit: bool = False
    revoke: Revoke = Revoke.NONE
    decoy: bool = False
    probes_max: int = 600
    probe_leaves: str = "nothing"
    probe_every_s: float = 0.0
    watch_s: float = 0.0
    activation_s: float = 60.0
    revocation_s: float = 60.0
    settle_s: float = 30.0
    settle_every_s: float = 0.0
    derived_s: float = 0.0
    min_age_s: float = 0.0
    life_min_s: float = 0.0
    check_every_s: float | None = None
    attended: bool = False
    patience_s: float = 7 * 86_400.0
    reset_by: tuple[str, ...] = ()
    rates: tuple[Rate, ...] = ()

    @property
    def dies_by_issue(self) -> bool:
        """Whether issue ends the old version, at once or after the vendor's grace."""
        return self.grace_s is not None or self.live_max == 1

    @property
    def coexist(self) -> bool:
        """Whether old and new can be accepted side by side until we retire the old one."""
        return not self.dies_by_issue

    def made_by(self, maker: Maker) -> tuple[Field, ...]:
        """The fields with this maker, artefacts left out."""
        return tuple(f for f in self.fields if f.by is maker and not f.artefact)

    @property
    def artefacts(self) -> tuple[str, ...]:
        """Names of the fields that have sinks of their own."""
        return tuple(f.name for f in self.fields if f.artefact)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the artefacts that a version can not do without."""
        return tuple(f.name for f in self.fields if f.artefact and f.required)


@dataclass(frozen=True, kw_only=True, eq=False)
class Version:
    """One version of a secret as a plugin sees it. `handle` is its public name at the vendor, once it has one."""

    id: str
    number: int
    slot: str | None = None
    handle: str | None = None
    bundle: Bundle = field(default_factory=Bundle)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something a check found. `fatal` ones refuse a rotation; `passing` ones may clear up by themselves.

    `again_s` is how long a run waits before it asks again (a login that is refused too often may be locked); seconds.
    """

    code: str
    text: str
    fatal: bool = True
    passing: bool = False
    hint: str = ""
    again_s: float = 0.0
