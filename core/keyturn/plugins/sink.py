"""The sink seam: where consumers read a secret. Five verbs; a consumer never sees a pending version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from keyturn.model import Fields, Problem
from keyturn.secret import Bundle


@dataclass(frozen=True, kw_only=True)
class SinkTraits:
    """What a sink can do: hide a pending version, compare before it sets, keep previous ones, and its size limit.

    `stages_empty` False: a place that serves nothing yet can not be staged, only promoted.
    """

    hides_pending: bool = True
    stages_empty: bool = True
    compares: bool = True
    keeps_previous: bool = True
    bytes_max: int = 65_536


@dataclass(frozen=True, kw_only=True)
class SinkCall:
    """What every sink call carries. `place` is this sink's own place options, already validated."""

    secret: str
    place: Any
    deadline_at: float
    journal_id: str


@dataclass(frozen=True, kw_only=True)
class SinkVersion:
    """The version to write: its id and number travel with the value."""

    id: str
    number: int


@dataclass(frozen=True, kw_only=True)
class Held:
    """One version that a sink holds.

    `version_id`, `journal_id` and `number` are None where somebody else wrote it. `fingerprints` are keyed, one for
    each field as stored. `revision` is the sink's own compare-and-set token; the engine only hands it back.
    """

    version_id: str | None
    journal_id: str | None
    number: int | None
    fingerprints: Fields
    revision: str


@dataclass(frozen=True, kw_only=True)
class SinkInspectRequest:
    """Look at one place."""

    call: SinkCall


@dataclass(frozen=True, kw_only=True)
class SinkInspectResponse:
    """The place as it is now. `place` is its canonical name; `meta` is what was stored with the current version."""

    place: str
    current: Held | None = None
    pending: Held | None = None
    previous: tuple[Held, ...] = ()
    problems: tuple[Problem, ...] = ()
    meta: Fields = field(default_factory=dict)
    sink_now: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class StageRequest:
    """Write a pending version, invisible to consumers. `meta` is non-secret and stored with it."""

    call: SinkCall
    version: SinkVersion
    bundle: Bundle
    meta: Fields = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class PromoteRequest:
    """Make this version current, if `expects` (None: nothing at all) is what the place serves now.

    `keep_previous` is how many earlier versions stay readable in the sink, where it keeps any.
    """

    call: SinkCall
    version: SinkVersion
    bundle: Bundle
    expects: Held | None
    keep_previous: int = 1
    meta: Fields = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WriteResponse:
    """`already`: this very version was there before the call."""

    already: bool = False


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """Read one version by id, or what consumers read (`version_id` None)."""

    call: SinkCall
    version_id: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadResponse:
    """The stored fields, and what the sink knows of them. `bundle` is None where there is no such version."""

    bundle: Bundle | None
    held: Held | None


@dataclass(frozen=True, kw_only=True)
class DiscardRequest:
    """Drop one pending or previous version; never the current one."""

    call: SinkCall
    version_id: str


@dataclass(frozen=True, kw_only=True)
class DiscardResponse:
    """`already`: it was not there."""

    already: bool = False


@runtime_checkable
class Sink(Protocol):
    """Five verbs. May raise NotSent, Refused, Conflict or Doubt."""

    def inspect(self, request: SinkInspectRequest, /) -> SinkInspectResponse:
        """Look at the place; change nothing.

        Repeat: always. Target gone: all fields empty. Raises: NotSent, Refused. After a crash in the middle: nothing
        changed.
        """

    def stage(self, request: StageRequest, /) -> WriteResponse:
        """Write a pending version that no consumer can see.

        Repeat: yes; same id and same value is done, same id and another value is Conflict. Target gone: created, or
        Refused without `stages_empty`. Raises: NotSent, Refused, Conflict (somebody else's pending), Doubt. After a
        crash in the middle: call it again.
        """

    def promote(self, request: PromoteRequest, /) -> WriteResponse:
        """Make the version current by compare-and-set.

        Repeat: yes; already current is done. Target gone: written when `expects` is None, else Conflict. Raises:
        NotSent, Refused, Conflict, Doubt. After a crash in the middle: consumers read old or new, never a mixture.
        """

    def read(self, request: ReadRequest, /) -> ReadResponse:
        """Read a version back.

        Repeat: always. Target gone: an empty answer. Raises: NotSent, Refused. After a crash in the middle: nothing
        changed.
        """

    def discard(self, request: DiscardRequest, /) -> DiscardResponse:
        """Drop a pending or previous version.

        Repeat: yes. Target gone: done. Raises: NotSent, Refused (it is current), Doubt. After a crash in the middle:
        call it again.
        """


SINK_VERBS: Mapping[str, type[Any]] = {
    "inspect": SinkInspectResponse,
    "stage": WriteResponse,
    "promote": WriteResponse,
    "read": ReadResponse,
    "discard": DiscardResponse,
}
"""What the fence requires each verb to answer."""
