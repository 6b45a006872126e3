"""The five verbs of the Vault sink. Each looks, decides, and changes what it must, by check-and-set."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from keyturn.api import (
    Conflict,
    Context,
    DiscardRequest,
    DiscardResponse,
    Held,
    PluginError,
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
from keyturn_vault.client import Vault
from keyturn_vault.engine import Engine
from keyturn_vault.options import VALUE_BYTES_MAX, Account, subject
from keyturn_vault.problems import Seen, problems
from keyturn_vault.records import Entry, Pending, Stored, ledger_key
from keyturn_vault.shelf import Look, Shelf, side_by_side
from keyturn_vault.tidying import New, leftovers

SHOWN_MAX = 10
"""How many earlier versions `inspect` answers with."""

CLEANING_PAUSES_S = (0.3, 1.0)
"""A clean-up is tried once more after each of these."""

OLDER_MAX = 110
"""How many are looked at where one is searched for: more than a configuration can ask to be kept."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Staged:
    """What this instance staged at a path, and the place since then: a promote can begin with the write."""

    look: Look
    new: New

    @classmethod
    def after(cls, look: Look, new: New) -> Staged:
        """From what was seen before."""
        front = look.front
        pending = Pending(revision=front.pending_latest + 1, entry=new.entry, key=new.key, bundle=new.bundle, prints={})
        front = replace(front, pending=pending, ledger={new.key: new.entry, **front.ledger})
        return cls(look=replace(look, front=front), new=new)

    def fits(self, request: PromoteRequest, new: New) -> bool:
        """Whether `request` promotes this very version over what was seen."""
        seen, expects = self.look.current, request.expects
        ours = self.new.entry.journal_id == new.entry.journal_id
        same = ours and self.new.version == new.version and self.new.key == new.key
        return bool(same and seen and expects and expects.revision == str(seen.revision))


class VaultSink:
    """One mount of one server, in one run. Safe to use from many threads."""

    def __init__(self, context: Context, account: Account) -> None:
        self._context, self._account = context, account
        self._vault = Vault(context, account)
        self._engine = Engine(self._vault, account.mount)
        self._staged: dict[str, Staged] = {}

    def inspect(self, request: SinkInspectRequest, /) -> SinkInspectResponse:
        """Look at the place; change nothing.

        Repeat: always. Target gone: all fields empty. Raises: NotSent, Refused. After a crash in the middle: nothing
        changed.
        """
        shelf, path = self._shelf(request.call), request.call.place.path
        look = shelf.look(SHOWN_MAX)
        mount = self._engine.settings(request.call.deadline_at)
        folder = look.front.latest == 0 and shelf.is_folder()
        current, pending = look.current, look.front.pending
        if pending and current and current.entry and pending.version_id == current.version_id:
            pending = None  # promoted by a call that did not get to its end
        return SinkInspectResponse(
            place=subject(self._account, request.call.place),
            current=current.held if current else None,
            pending=pending.held if pending else None,
            previous=tuple(_previous(look))[:SHOWN_MAX],
            problems=problems(
                Seen(look=look, mount=mount, folder=folder, journal_id=request.call.journal_id), self._account, path
            ),
            meta=dict(current.entry.meta) if current and current.entry else {},
            sink_now=look.front.at,
        )

    def stage(self, request: StageRequest, /) -> WriteResponse:
        """Write a pending version into the pending tree.

        Repeat: yes; same id and same value is done, same id and another value is Conflict. Target gone: created.
        Raises: NotSent, Refused, Conflict (another journal's pending), Doubt. After a crash in the middle: call it
        again.
        """
        shelf = self._shelf(request.call)
        look = shelf.look(OLDER_MAX)
        new, pending = self._new(request, look), look.front.pending
        _refuse_other_value(look, new)
        if look.current and look.current.version_id == new.version.id:
            return WriteResponse(already=True)
        if pending and (pending.entry is None or pending.entry.journal_id != request.call.journal_id):
            raise Conflict("somebody else's version is pending here", code="pending-foreign")
        named = _name(shelf, look, new)
        already = pending is not None and pending.version_id == new.version.id
        if not already:
            shelf.keep_pending(new.entry, new.bundle, look.front.pending_latest)
        if named:
            self._staged[request.call.place.path] = Staged.after(look, new)
        return WriteResponse(already=already)

    def promote(self, request: PromoteRequest, /) -> WriteResponse:
        """Let consumers read the version, if they read what was expected until now.

        Repeat: yes; already current is done. Target gone: written when `expects` is None, else Conflict. Raises:
        NotSent, Refused, Conflict, Doubt. After a crash in the middle: consumers read old or new, never a mixture.
        """
        shelf = self._shelf(request.call)
        staged = self._staged.pop(request.call.place.path, None)
        if staged and staged.fits(request, new := self._new(request, staged.look)):
            # The outage of some vendors is as long as this: nothing comes before the write.
            return self._switch(shelf, staged.look, new, request)
        look = shelf.look(OLDER_MAX)
        new = self._new(request, look)
        _refuse_other_value(look, new)
        if look.current and look.current.version_id == new.version.id:
            self._tidy(shelf, look, new, request)
            return WriteResponse(already=True)
        _expect(look, request.expects)
        known = look.front.ledger.get(new.key)
        if known is None or known.version_id != new.version.id:
            # Before consumers can read it, so that after a crash the content is told.
            shelf.note({new.key: new.entry})
        return self._switch(shelf, look, new, request)

    def read(self, request: ReadRequest, /) -> ReadResponse:
        """Read a version back, or what consumers read.

        Repeat: always. Target gone: an empty answer. Raises: NotSent, Refused. After a crash in the middle: nothing
        changed.
        """
        shelf = self._shelf(request.call)
        found = shelf.newest() if request.version_id is None else _find(shelf, request.version_id)
        return ReadResponse(bundle=found.bundle if found else None, held=found.held if found else None)

    def discard(self, request: DiscardRequest, /) -> DiscardResponse:
        """Drop a pending or previous version.

        Repeat: yes. Target gone: done. Raises: NotSent, Refused (it is current, or another journal's), Doubt. After a
        crash in the middle: call it again.
        """
        shelf, unwanted = self._shelf(request.call), request.version_id
        look = shelf.look(OLDER_MAX)
        if look.current and look.current.version_id == unwanted:
            raise Refused("this version is what consumers read: promote another one first", code="is-current")
        found = [one for one in look.everything if one.version_id == unwanted]
        if not found:
            return DiscardResponse(already=True)
        if any(one.entry and one.entry.journal_id != request.call.journal_id for one in found):
            raise Refused("this version was written by another journal", code="foreign-version")
        self._staged.pop(request.call.place.path, None)
        if any(one is look.front.pending for one in found):
            shelf.drop_pending()
        if copies := [one.revision for one in found if one is not look.front.pending]:
            shelf.destroy(copies)
        shelf.note(_unnamed(look, {one.key for one in found}, but=found))
        return DiscardResponse()

    def _switch(self, shelf: Shelf, look: Look, new: New, request: PromoteRequest) -> WriteResponse:
        """The one request that consumers see, and what comes after it."""
        try:
            shelf.write(new.bundle, look.front.latest)
        except Conflict:
            # An answer that was lost on the way looks like a conflict: then ours is there.
            look = shelf.look(OLDER_MAX)
            if look.current is None or look.current.key != new.key:
                self._quietly(new, [partial(shelf.note, _unnamed(look, {new.key}))])
                raise Conflict(f"somebody else was first: {_served(look)}", code="place-moved") from None
        self._tidy(shelf, look, new, request)
        return WriteResponse()

    def _tidy(self, shelf: Shelf, look: Look, new: New, request: PromoteRequest) -> None:
        """Clean up after the switch, all at once."""
        own = request.call.place.keep_previous
        left = leftovers(look, new, request.keep_previous if own is None else own)
        calls: list[Callable[[], None]] = []
        if left.pending:
            calls.append(shelf.drop_pending)
        if left.revisions:
            calls.append(partial(shelf.destroy, left.revisions))
        if left.notes:
            calls.append(partial(shelf.note, left.notes))
        self._quietly(new, calls)

    def _quietly(self, new: New, calls: Sequence[Callable[[], None]]) -> None:
        """Make calls on which nothing depends: what fails is left for the next promote, which looks again."""
        failed = {code for code in side_by_side([partial(self._tried, call) for call in calls]) if code}
        if failed:
            self._context.note("left-over", {"version": new.version.id, "because": ", ".join(sorted(failed))})

    def _tried(self, call: Callable[[], None]) -> str:
        """Make one clean-up call, which may be repeated, a few times: a server that restarts is back in a moment."""
        for pause_s in (*CLEANING_PAUSES_S, 0.0):
            try:
                call()
            except PluginError as error:
                if isinstance(error, Refused) or not pause_s:
                    return error.code
            else:
                return ""
            self._context.wait(lambda: False, every_s=pause_s, at_most_s=pause_s)
        return ""

    def _shelf(self, call: SinkCall) -> Shelf:
        """The place, once it is known that it can be one. Raises Refused, NotSent."""
        path, pending = call.place.path, self._account.pending
        if f"{path}/".startswith(f"{pending}/"):
            raise Refused(f"{path} is in the tree of pending versions: choose another path", code="path-in-pending")
        self._engine.check(call.deadline_at)
        return Shelf(
            self._vault, self._account, path, fingerprint=self._context.fingerprint, deadline_at=call.deadline_at
        )

    def _new(self, request: StageRequest | PromoteRequest, look: Look) -> New:
        """The version to write, with what was noted of it before. Raises Refused where it does not fit."""
        content = request.bundle.reveal()
        _refuse_unfit(content)
        key = ledger_key(content, self._context.fingerprint)
        pending = look.front.pending
        earlier = [look.front.ledger.get(key), pending.entry if pending else None]
        same = [entry for entry in earlier if entry and entry.version_id == request.version.id]
        entry = Entry(
            version_id=request.version.id,
            number=request.version.number,
            journal_id=request.call.journal_id,
            meta={name: text for meta in (*(one.meta for one in same), request.meta) for name, text in meta.items()},
            unknown={name: value for one in same for name, value in one.unknown.items()},
        )
        entry.refuse_long()
        return New(version=request.version, bundle=request.bundle, key=key, entry=entry)


def _refuse_unfit(content: dict[str, str]) -> None:
    try:
        size = len(json.dumps(content, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        # The original names the value; the engine would store another one.
        raise Refused("the value is no Unicode text: store it as base64", code="value-text") from None
    if size > VALUE_BYTES_MAX:
        raise Refused(f"expected at most {VALUE_BYTES_MAX} bytes, got {size}", code="value-too-long")


def _refuse_other_value(look: Look, new: New) -> None:
    if any(one.version_id == new.version.id and one.key != new.key for one in look.everything):
        raise Conflict("this version id is known here with another value", code="same-id")


def _expect(look: Look, expects: Held | None) -> None:
    if look.soft_deleted:
        raise Conflict(
            "somebody deleted what was served here: undelete it, or delete its metadata", code="soft-deleted"
        )
    if expects is None and look.current:
        raise Conflict(f"expected an empty place: {_served(look)}", code="place-taken")
    if expects and (look.current is None or str(look.current.revision) != expects.revision):
        raise Conflict(f"the place does not hold what was expected: {_served(look)}", code="place-moved")


def _served(look: Look) -> str:
    """What is there, and whose it is, as far as it can be seen."""
    current = look.current
    if current is None:
        return "nothing is served there"
    whose = f"version {current.entry.number} of ours" if current.entry else "somebody else's value"
    return f"{whose}, KV version {current.revision} of {current.written}"


def _name(shelf: Shelf, look: Look, new: New) -> bool:
    """Let the ledger name a version that is about to be staged; whether it does.

    Not on a path without versions, since that would show it in lists. Not over another version with this value.
    """
    known = look.front.ledger.get(new.key)
    if look.front.latest and known is None:
        shelf.note({new.key: new.entry})
        return True
    return known is not None and known.version_id == new.version.id


def _unnamed(look: Look, keys: Collection[str], but: Sequence[Stored | Pending] = ()) -> dict[str, Entry | None]:
    """Takes these contents out of the ledger, where nothing `but` what is dropped now holds them."""
    held = {one.key for one in look.everything if one not in but}
    return {key: None for key in keys if key in look.front.ledger and key not in held}


def _previous(look: Look) -> list[Held]:
    """Earlier versions, the last one served first; of each its newest copy, and none of the current one."""
    newest = {stored.version_id or f"foreign {stored.revision}": stored for stored in reversed(look.older)}
    current = look.current.version_id if look.current else None
    kept = sorted(newest.values(), key=lambda stored: -stored.revision)
    return [stored.held for stored in kept if current is None or stored.version_id != current]


def _find(shelf: Shelf, version_id: str) -> Stored | Pending | None:
    front = shelf.front()
    if front.pending and front.pending.version_id == version_id:
        return front.pending
    return shelf.opened(front, OLDER_MAX).of(version_id) if front.names(version_id) else None
