"""The five verbs of the file sink. Each opens the place, looks, decides, and changes at most one thing at a time."""

from __future__ import annotations

import grp
from collections.abc import Iterator
from contextlib import contextmanager

from keyturn.api import (
    Bundle,
    Conflict,
    Context,
    DiscardRequest,
    DiscardResponse,
    Doubt,
    Held,
    NotSent,
    Problem,
    PromoteRequest,
    ReadRequest,
    ReadResponse,
    Refused,
    SinkCall,
    SinkInspectRequest,
    SinkInspectResponse,
    StageRequest,
    WriteResponse,
)
from keyturn_file.disk import Access, failing_as, try_lock
from keyturn_file.options import TEXT_BYTES_MAX, Account, subject
from keyturn_file.records import Entry, Stored, rendered
from keyturn_file.spot import Serving, Spot, opened

LOCK_POLL_S = 0.02


class FileSink:
    """One folder in one run."""

    def __init__(self, context: Context, account: Account) -> None:
        self._context = context
        self._fingerprint = context.fingerprint
        self._account = account

    def inspect(self, request: SinkInspectRequest, /) -> SinkInspectResponse:
        """Look at the place; change nothing.

        Repeat: always. Target gone: all fields empty. Raises: NotSent, Refused. After a crash in the middle: nothing
        changed.
        """
        with self._looking(request.call) as spot:
            serving, pending = spot.serving(), spot.pending()
            current = serving.entry if serving else None
            if pending and current and pending.entry.version_id == current.version_id:
                pending = None  # promoted by a call that died before it tidied up
            return SinkInspectResponse(
                place=subject(self._account, request.call.place),
                current=current.held() if current else None,
                pending=pending.entry.held() if pending else None,
                previous=tuple(stored.entry.held() for stored in spot.previous(current)),
                problems=self._problems(spot) if serving else (),
                meta=dict(current.meta) if current else {},
            )

    def stage(self, request: StageRequest, /) -> WriteResponse:
        """Write a pending version into the private folder.

        Repeat: yes; same id and same value is done, same id and another value is Conflict. Target gone: created.
        Raises: NotSent, Refused, Conflict (another journal's pending), Doubt. After a crash in the middle: call it
        again.
        """
        with self._writing(request.call) as spot:
            serving, pending = spot.serving(), spot.pending()
            new = _stored(request, spot, pending)
            if pending and pending.entry.journal_id != request.call.journal_id:
                raise Conflict("another journal's version is pending here", code="foreign-pending")
            known = [serving.entry if serving else None, pending.entry if pending else None]
            if any(_same(entry, new.entry) for entry in known):
                return WriteResponse(already=True)
            self._in_time(request.call)
            spot.keep_pending(new)
            return WriteResponse()

    def promote(self, request: PromoteRequest, /) -> WriteResponse:
        """Let consumers read the version, if they read what was expected until now.

        Repeat: yes; already current is done. Target gone: written when `expects` is None, else Conflict. Raises:
        NotSent, Refused, Conflict, Doubt. After a crash in the middle: consumers read old or new, never a mixture.
        """
        with self._writing(request.call) as spot:
            serving = spot.serving()
            new = _stored(request, spot, spot.pending())
            if serving and _same(serving.entry, new.entry):
                self._tidy(spot, new.entry, request)
                return WriteResponse(already=True)
            _expect(serving, request.expects)
            self._replace(spot, new, serving, request)
            return WriteResponse()

    def read(self, request: ReadRequest, /) -> ReadResponse:
        """Read a version back, or what consumers read.

        Repeat: always. Target gone: an empty answer. Raises: NotSent, Refused. After a crash in the middle: nothing
        changed.
        """
        with self._looking(request.call) as spot:
            serving = spot.serving()
            if serving and request.version_id in (None, serving.entry.version_id):
                return ReadResponse(bundle=serving.bundle, held=serving.entry.held())
            found = _beside(spot, request.version_id) if request.version_id else None
            return ReadResponse(bundle=found.bundle if found else None, held=found.entry.held() if found else None)

    def discard(self, request: DiscardRequest, /) -> DiscardResponse:
        """Drop a pending or previous version.

        Repeat: yes. Target gone: done. Raises: NotSent, Refused (it is current, or another journal's), Doubt. After a
        crash in the middle: call it again.
        """
        with self._writing(request.call) as spot:
            serving, pending = spot.serving(), spot.pending()
            if serving and request.version_id and serving.entry.version_id == request.version_id:
                raise Refused("this version is what consumers read: promote another one first", code="is-current")
            found = _beside(spot, request.version_id)
            if found is None:
                return DiscardResponse(already=True)
            if found.entry.journal_id != request.call.journal_id:
                raise Refused("this version was written by another journal", code="foreign-version")
            if pending and pending.entry.version_id == request.version_id:
                spot.drop_pending()
            spot.drop_previous(found.entry)
            return DiscardResponse()

    def _replace(self, spot: Spot, new: Stored, serving: Serving | None, request: PromoteRequest) -> None:
        """Keep the old value, announce the new one in the ledger, then the one step that consumers see."""
        access = self._access()
        if serving:
            spot.keep_previous(Stored(entry=serving.entry, bundle=_kept(serving)))
        spot.keep_ledger(spot.ledger().with_next(new.entry, serving.entry if serving else None))
        self._in_time(request.call)
        home = spot.replace(new.bundle, access)
        home.sync()
        self._tidy(spot, new.entry, request)

    def _tidy(self, spot: Spot, current: Entry, request: PromoteRequest) -> None:
        own = request.call.place.keep_previous
        keep = request.keep_previous if own is None else own
        with failing_as(Doubt):
            pending = spot.pending()
            if pending and pending.entry.version_id == current.version_id:
                spot.drop_pending()
            spot.drop_previous(current)  # there after a rollback to it
            for stored in spot.previous(current)[keep:]:
                spot.drop_previous(stored.entry)

    @contextmanager
    def _looking(self, call: SinkCall) -> Iterator[Spot]:
        self._in_time(call)
        with failing_as(NotSent), opened(self._account, call.place, self._fingerprint, writing=False) as spot:
            yield spot

    @contextmanager
    def _writing(self, call: SinkCall) -> Iterator[Spot]:
        self._in_time(call)
        with failing_as(NotSent), opened(self._account, call.place, self._fingerprint, writing=True) as spot:
            self._lock(spot, call)
            spot.sweep()
            yield spot

    def _lock(self, spot: Spot, call: SinkCall) -> None:
        descriptor = spot.lock()
        left_s = call.deadline_at - self._context.now()
        free = try_lock(descriptor) or self._context.wait(
            lambda: try_lock(descriptor), every_s=LOCK_POLL_S, at_most_s=left_s
        )
        if not free:
            raise NotSent("another process is writing to this place", code="place-busy")

    def _in_time(self, call: SinkCall) -> None:
        if self._context.now() >= call.deadline_at:
            raise NotSent("the call's deadline is over", code="deadline-over")

    def _access(self) -> Access:
        group = self._account.group
        try:
            return Access(mode=self._account.mode, gid=grp.getgrnam(group).gr_gid if group else None)
        except KeyError:
            raise Refused(f"there is no group {group}: create it, or name another", code="group-unknown") from None

    def _problems(self, spot: Spot) -> tuple[Problem, ...]:
        mode = spot.mode()
        if not mode & ~self._account.mode:
            return ()
        text = f"expected mode {self._account.mode:04o}, found {mode:04o}"
        return (Problem(code="file-mode", text=text, fatal=False, hint="chmod it; the next promote sets the mode"),)


def _stored(request: StageRequest | PromoteRequest, spot: Spot, pending: Stored | None) -> Stored:
    """The version as it will be stored. Raises Conflict where its id is known with another value."""
    waiting = pending.entry if pending and pending.entry.version_id == request.version.id else None
    known = spot.ledger().of(request.version.id) or waiting
    _refuse_too_long(request)

    def made(fingerprints: dict[str, str], revision: str) -> Entry:
        return Entry(
            version_id=request.version.id,
            number=request.version.number,
            journal_id=request.call.journal_id,
            fingerprints=fingerprints,
            revision=revision,
            meta={**(waiting.meta if waiting else {}), **request.meta},
            unknown=known.unknown if known else {},
        )

    entry = spot.entry(request.bundle, made)
    for other in (known, waiting):
        if other and other.fingerprints != entry.fingerprints:
            raise Conflict("this version id is known here with another value", code="same-id")
    return Stored(entry=entry, bundle=request.bundle)


def _refuse_too_long(request: StageRequest | PromoteRequest) -> None:
    size = len(rendered(request.bundle, request.call.place.format))
    if size > TEXT_BYTES_MAX:
        raise Refused(f"expected at most {TEXT_BYTES_MAX} bytes, got {size}", code="value-too-long")


def _expect(serving: Serving | None, expects: Held | None) -> None:
    if expects is None and serving is not None:
        raise Conflict("expected an empty place, found a version", code="place-taken")
    if expects is not None and (serving is None or serving.entry.revision != expects.revision):
        raise Conflict("the place does not hold what was expected", code="place-moved")


def _kept(serving: Serving) -> Bundle:
    if serving.bundle is None:
        # Replacing it would lose it: there is no way to keep what can not be read.
        raise Refused("the file is not of this place's format: move it away first", code="foreign-format")
    return serving.bundle


def _same(entry: Entry | None, new: Entry) -> bool:
    return bool(entry and entry.version_id == new.version_id and entry.fingerprints == new.fingerprints)


def _beside(spot: Spot, version_id: str) -> Stored | None:
    pending = spot.pending()
    kept = [*([pending] if pending else []), *spot.previous(None)]
    return next((stored for stored in kept if stored.entry.version_id == version_id), None)
