"""A sink in memory: a store that survives crashes and misbehaves when told, and the plugin in front of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from keyturn.api import (
    Bundle,
    Conflict,
    Context,
    DiscardRequest,
    DiscardResponse,
    Fields,
    Held,
    Kind,
    Plugin,
    PromoteRequest,
    ReadRequest,
    ReadResponse,
    Refused,
    SinkCall,
    SinkInspectRequest,
    SinkInspectResponse,
    SinkTraits,
    SinkVersion,
    StageRequest,
    WriteResponse,
)
from keyturn.clock import Clock
from keyturn.testing.fakes.options import FakePlace, FakeSinkAccount
from keyturn.testing.faults import Wire

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One stored value. `version` and `journal_id` are None where somebody else wrote it."""

    fields: Fields = field(repr=False)
    revision: str
    version: SinkVersion | None = None
    journal_id: str | None = None
    meta: Fields = field(default_factory=dict)

    def is_(self, version_id: str | None) -> bool:
        """Whether this is that version of ours."""
        return self.version is not None and self.version.id == version_id


@dataclass(frozen=True, kw_only=True)
class Known:
    """A version that was once written here: enough to recognise it when somebody puts it back."""

    version: SinkVersion
    journal_id: str
    fingerprints: Fields


@dataclass(kw_only=True)
class Place:
    """What one path holds."""

    current: Entry | None = None
    pending: Entry | None = None
    previous: list[Entry] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)


class FakeStore:
    """The far side of the fake sink. Plan misbehaviour in `faults`; `meddled` lets a foreign writer come first."""

    def __init__(self, clock: Clock, name: str = "fake") -> None:
        self.name = name
        self.wire = Wire(clock)
        self.faults = self.wire.faults
        self.places: dict[str, Place] = {}
        self.log: list[tuple[str, str, str]] = []
        self._revision = 0

    def serves(self, path: str) -> dict[str, str] | None:
        """The oracle: what consumers read at this path now."""
        self.wire.tick()
        current = self.at(path).current
        return dict(current.fields) if current else None

    def foreign_write(self, path: str, fields: Fields) -> None:
        """Somebody else writes the current value."""
        place = self.at(path)
        if place.current:
            place.previous.insert(0, place.current)
        place.current = Entry(fields=dict(fields), revision=self.revision())

    def foreign_stage(self, path: str, fields: Fields) -> None:
        """Somebody else leaves a pending value."""
        self.at(path).pending = Entry(fields=dict(fields), revision=self.revision())

    def at(self, path: str) -> Place:
        """The place, made when first asked for."""
        return self.places.setdefault(path, Place())

    def revision(self) -> str:
        """A token that no other entry has."""
        self._revision += 1
        return f"r{self._revision}"


class FakeSink:
    """The plugin in front of a `FakeStore`."""

    def __init__(self, context: Context, account: FakeSinkAccount) -> None:
        self.context = context
        self.account = account
        self.store: FakeStore = account.world

    def inspect(self, request: SinkInspectRequest, /) -> SinkInspectResponse:
        """See `keyturn.api.Sink.inspect`."""
        place = self._look("inspect", request.call)
        return SinkInspectResponse(
            place=f"{self.store.name}:{request.call.place.path}",
            current=self._held(place, place.current),
            pending=self._held(place, place.pending),
            previous=tuple(held for e in place.previous if (held := self._held(place, e))),
            meta=place.current.meta if place.current else {},
            sink_now=self.store.wire.clock.now(),
        )

    def stage(self, request: StageRequest, /) -> WriteResponse:
        """See `keyturn.api.Sink.stage`."""
        self._check_size(request.bundle)
        return self._write("stage", request.call, request.version, lambda: self._stage(request))

    def promote(self, request: PromoteRequest, /) -> WriteResponse:
        """See `keyturn.api.Sink.promote`."""
        self._check_size(request.bundle)
        return self._write("promote", request.call, request.version, lambda: self._promote(request))

    def read(self, request: ReadRequest, /) -> ReadResponse:
        """See `keyturn.api.Sink.read`."""
        place, wanted = self._look("read", request.call), request.version_id
        entries = [place.current] if wanted is None else [place.current, place.pending, *place.previous]
        for entry in entries:
            held = self._held(place, entry)
            if entry and held and wanted in (None, held.version_id):
                return ReadResponse(bundle=Bundle(entry.fields), held=held)
        return ReadResponse(bundle=None, held=None)

    def discard(self, request: DiscardRequest, /) -> DiscardResponse:
        """See `keyturn.api.Sink.discard`."""
        version = SinkVersion(id=request.version_id, number=0)
        return self._write("discard", request.call, version, lambda: self._discard(request))

    def _stage(self, request: StageRequest) -> WriteResponse:
        place = self.store.at(request.call.place.path)
        for entry in (place.pending, place.current):
            if entry and entry.is_(request.version.id):
                return _already(entry, request.bundle)
        if place.pending and place.pending.journal_id != request.call.journal_id:
            raise Conflict("somebody else's pending value is there", code="foreign-pending")
        place.pending = self._entry(request)
        return WriteResponse()

    def _promote(self, request: PromoteRequest) -> WriteResponse:
        place, expects = self.store.at(request.call.place.path), request.expects
        if place.current and place.current.is_(request.version.id):
            return _already(place.current, request.bundle)
        here = place.current.revision if place.current else None
        if self.account.compares and here != (expects.revision if expects else None):
            raise Conflict("the place does not hold what was expected", code="foreign-current")
        staged = place.pending if place.pending and place.pending.is_(request.version.id) else None
        if staged:
            _already(staged, request.bundle)
        earlier = [place.current, *place.previous] if place.current else place.previous
        kept = [entry for entry in earlier if not entry.is_(request.version.id)]
        place.previous = kept[: request.keep_previous if self.account.keeps_previous else 0]
        place.current = self._entry(request)
        place.pending = None if staged else place.pending
        return WriteResponse()

    def _discard(self, request: DiscardRequest) -> DiscardResponse:
        place, unwanted = self.store.at(request.call.place.path), request.version_id
        current = self._held(place, place.current)
        if current and current.version_id == unwanted:
            raise Refused("this version is current", code="is-current")
        kept = [entry for entry in place.previous if not entry.is_(unwanted)]
        was_pending = place.pending is not None and place.pending.is_(unwanted)
        already = not was_pending and len(kept) == len(place.previous)
        place.previous = kept
        place.pending = None if was_pending else place.pending
        return DiscardResponse(already=already)

    def _entry(self, request: StageRequest | PromoteRequest) -> Entry:
        entry = Entry(
            fields=request.bundle.reveal(),
            revision=self.store.revision(),
            version=request.version,
            journal_id=request.call.journal_id,
            meta=dict(request.meta),
        )
        prints = request.bundle.fingerprints(self.context.fingerprint)
        known = Known(version=request.version, journal_id=request.call.journal_id, fingerprints=prints)
        self.store.at(request.call.place.path).known.append(known)
        return entry

    def _held(self, place: Place, entry: Entry | None) -> Held | None:
        if entry is None:
            return None
        prints = {name: self.context.fingerprint(value) for name, value in entry.fields.items()}
        unknown = Held(version_id=None, journal_id=None, number=None, fingerprints=prints, revision=entry.revision)
        if entry.version:
            return _as(unknown, entry.version, entry.journal_id)
        # Somebody put an old value of ours back (a restore): the content tells, not who wrote it.
        match = next((known for known in reversed(place.known) if known.fingerprints == prints), None)
        return _as(unknown, match.version, match.journal_id) if match else unknown

    def _look(self, verb: str, call: SinkCall) -> Place:
        return self.store.wire.look(verb, call.deadline_at, lambda: replace(self.store.at(call.place.path)))

    def _write(self, verb: str, call: SinkCall, version: SinkVersion, apply: Callable[[], T]) -> T:
        path = call.place.path
        self.store.log.append((verb, path, version.id))
        return self.store.wire.send(
            verb,
            call.deadline_at,
            lambda _at: apply(),
            meddle=lambda: self.store.foreign_write(path, {"foreign": "value"}),
        )

    def _check_size(self, bundle: Bundle) -> None:
        size = sum(len(name.encode()) + len(text.encode()) for name, text in bundle.reveal().items())
        if size > self.account.bytes_max:
            raise Refused(f"more than {self.account.bytes_max} bytes", code="too-large")


def _as(held: Held, version: SinkVersion, journal_id: str | None) -> Held:
    return replace(held, version_id=version.id, number=version.number, journal_id=journal_id)


def _already(entry: Entry, bundle: Bundle) -> WriteResponse:
    if dict(entry.fields) != bundle.reveal():
        raise Conflict("this version is there with another value", code="other-value")
    return WriteResponse(already=True)


def _traits(account: FakeSinkAccount, _place: Any) -> SinkTraits:
    return SinkTraits(**account.model_dump())


def _subject(_account: Any, place: FakePlace) -> str:
    return place.path


PLUGIN = Plugin(
    kind=Kind.SINK,
    name="fake",
    summary="a sink in memory, for tests",
    load=lambda: FakeSink,
    account=FakeSinkAccount,
    target=FakePlace,
    traits=_traits,
    subject=_subject,
)


def store_account(store: FakeStore, options: Mapping[str, Any] | None = None) -> FakeSinkAccount:
    """The account options of a sink in front of this store."""
    return FakeSinkAccount(world=store, **(options or {}))
