"""What the journal holds: one dataclass per event type, and the one table that writes and reads them.

Events never hold a value. Fields that a newer writer added survive in `extra`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from keyturn.journal.store import Draft, Event

TYPES: dict[str, type[Body]] = {}


@dataclass(frozen=True, kw_only=True)
class Body:
    """What happened. `extra` keeps fields that this version does not know."""

    TYPE: ClassVar[str] = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __init_subclass__(cls) -> None:
        TYPES[cls.TYPE] = cls


@dataclass(frozen=True, kw_only=True)
class Adopted(Body):
    """A version that somebody else made was taken over as current.

    `sinks` are the places that have yet to be given it, `tell` the consumers that have yet to be told; `artefacts`
    the names of those that belong to it.
    """

    TYPE = "version.adopted"
    version: str
    number: int
    handle: str | None = None
    slot: str | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    expires_at: float | None = None
    how: str = ""
    sinks: tuple[str, ...] = ()
    tell: tuple[str, ...] = ()
    artefacts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Checked(Body):
    """Vendor and sinks were looked at without a rotation: all problems there are, as code, text, hint and fatal.

    `expires_at` is what the vendor says of the current version now, where it says anything.
    """

    TYPE = "secret.checked"
    problems: tuple[Mapping[str, Any], ...] = ()
    expires_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Started(Body):
    """A rotation passed its preflight; `frozen` is what it will go by (`plan.Frozen` as data).

    `knowing`: it may end a value at the vendor that is not ours.
    """

    TYPE = "rotation.started"
    version: str
    number: int
    mode: str
    frozen: Mapping[str, Any]
    digest: str
    slot: str | None = None
    previous: str | None = None
    reason: str = ""
    request: str = ""
    compromised: bool = False
    knowing: bool = False


@dataclass(frozen=True, kw_only=True)
class Minted(Body):
    """Our fields were made and sealed."""

    TYPE = "version.minted"
    version: str
    fingerprints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sent(Body):
    """An effect is about to be asked for: the intent, durable before it. `supplied` fingerprints what a reset is by."""

    TYPE = "call.sent"
    step: str
    verb: str
    target: str
    attempt: str
    version: str
    deadline_at: float
    witness: Mapping[str, str] = field(default_factory=dict)
    supplied: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answered(Body):
    """What came of it: done, already, waiting, not_sent, refused, conflict or doubt. `hint`: what to do about that."""

    TYPE = "call.answered"
    step: str
    verb: str
    target: str
    attempt: str
    version: str
    outcome: str
    code: str = ""
    why: str = ""
    hint: str = ""
    handle: str | None = None
    expires_at: float | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SettledAs(Body):
    """What became of the attempts in doubt, found by looking. Only final answers are recorded.

    `since`: when the old version was last seen in force before that (epoch s), where it was looked for.
    """

    TYPE = "issue.settled"
    version: str
    outcome: str
    handle: str | None = None
    expires_at: float | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    since: float | None = None


@dataclass(frozen=True, kw_only=True)
class Supplied(Body):
    """An operator handed in artefacts that this version lacked; they were sealed.

    `sinks` are places that no rotation puts them into: they have yet to be given them.
    """

    TYPE = "artefact.supplied"
    version: str
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    sinks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reissuing(Body):
    """The value of the issued version is gone: the rotation goes on with another new version."""

    TYPE = "rotation.reissuing"
    version: str
    number: int
    slot: str | None = None


@dataclass(frozen=True, kw_only=True)
class Moved(Body):
    """A version changed its state."""

    TYPE = "version.moved"
    version: str
    move: str


@dataclass(frozen=True, kw_only=True)
class Accepted(Body):
    """An endpoint was seen to accept the new version."""

    TYPE = "endpoint.accepted"
    version: str
    endpoint: str
    evidence: str = ""
    probes: int = 1


@dataclass(frozen=True, kw_only=True)
class Proved(Body):
    """What was found out about an old version at one endpoint: dead, by-contract, unproven, accepted or contradicted.

    `accepted` is no contradiction yet: the vendor may go on accepting it `until` then (epoch s) at most.
    """

    TYPE = "endpoint.proved"
    version: str
    endpoint: str
    verdict: str
    why: str = ""
    until: float | None = None


@dataclass(frozen=True, kw_only=True)
class StepDone(Body):
    """A step of the rotation is complete."""

    TYPE = "step.done"
    step: str


@dataclass(frozen=True, kw_only=True)
class WaitingFor(Body):
    """The rotation waits. `kind`: hold, person, vendor, retry. `again`: when a run looks at it, if before `until`.

    `seen_at`: when the old version was last seen in force (epoch s), where what is waited for may end it at any time.
    """

    TYPE = "rotation.waiting"
    step: str
    kind: str
    text: str
    until: float | None = None
    again: float | None = None
    missing: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    seen_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class BecameStuck(Body):
    """A person must act."""

    TYPE = "rotation.stuck"
    step: str
    code: str
    reason: str
    next: str


@dataclass(frozen=True, kw_only=True)
class Undoing(Body):
    """The rotation turns back, before the point of no return. `hint` is what a person should type or do about it."""

    TYPE = "rotation.undoing"
    code: str
    reason: str
    hint: str = ""


NOT_APPROVED = "request-not-approved"
"""Why a rotation turned back whose issue was a request: nobody asks again before a person says so."""


@dataclass(frozen=True, kw_only=True)
class Forward(Body):
    """It can not turn back any more (issue took effect after all): forward only."""

    TYPE = "rotation.forward"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Ended(Body):
    """The end, and the receipt: done, undone, abandoned or superseded.

    `outages_ms` is the outage of each endpoint that may have one of its own, and `outage_ms` the longest; `outstanding`
    are those that had yet to accept the version. `accepted_ms` is the outage that the policy accepts, `drained_ms` how
    long consumers were held back, `undrained` why some were not told to drain, by name.
    """

    TYPE = "rotation.ended"
    outcome: str
    issued: bool = False
    published: bool = False
    retired: bool = False
    old_refused: bool | None = None
    outage_ms: int = 0
    outages_ms: Mapping[str, int] = field(default_factory=dict)
    outstanding: tuple[str, ...] = ()
    accepted_ms: int = 0
    drained_ms: int = 0
    undrained: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Acknowledged(Body):
    """A consumer reads this version, or a named operator waived that it says so."""

    TYPE = "consumer.acknowledged"
    version: str
    consumer: str
    waived: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class HoldChanged(Body):
    """An operator moved or ended the hold."""

    TYPE = "hold.changed"
    until: float
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Paused(Body):
    """No rotation begins by schedule until then; `until` 0 ends the pause."""

    TYPE = "secret.paused"
    until: float
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Dropped(Body):
    """An operator took a frozen endpoint or sink out of the rotation in flight."""

    TYPE = "frozen.dropped"
    what: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Repaired(Body):
    """A sink was brought back to the current version outside a rotation."""

    TYPE = "sink.repaired"
    version: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Told(Body):
    """A consumer was told of an adopted version; with a `reason` it was not, and need not be."""

    TYPE = "consumer.told"
    version: str
    consumer: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Alerted(Body):
    """An alert went out, once for this key."""

    TYPE = "alert.sent"
    key: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Noted(Body):
    """A plugin's remark for the operator."""

    TYPE = "plugin.noted"
    event: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Unknown(Body):
    """An event type that a newer version wrote; kept, never acted on."""

    TYPE = ""
    type: str = ""


def draft(body: Body, rotation_id: str | None = None) -> Draft:
    """The event as the journal stores it."""
    data = {f.name: _plain(getattr(body, f.name)) for f in fields(body) if f.name != "extra"}
    return Draft(type=body.TYPE, data={**body.extra, **data}, rotation_id=rotation_id)


def foretold(secret: str, drafts: Sequence[Draft], *, after: int, at: float, operator: str) -> list[Event]:
    """The events as the journal will store them, but for their hashes: enough to fold."""
    return [
        Event(
            secret=secret,
            seq=after + number,
            at=at,
            type=one.type,
            data=one.data,
            rotation_id=one.rotation_id,
            runner="",
            operator=operator,
            prev="",
            hash="",
        )
        for number, one in enumerate(drafts, 1)
    ]


def body(event: Event) -> Body:
    """The event as the engine reads it."""
    kind = TYPES.get(event.type)
    if kind is None:
        return Unknown(type=event.type, extra=event.data)
    known = {f.name for f in fields(kind)} - {"extra"}
    data = {name: tuple(value) if isinstance(value, list) else value for name, value in event.data.items()}
    extra = {name: value for name, value in data.items() if name not in known}
    return kind(**{name: value for name, value in data.items() if name in known}, extra=extra)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value
