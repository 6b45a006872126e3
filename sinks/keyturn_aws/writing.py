"""Stage and promote one version of one secret: look, decide, and change one thing that consumers see."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from keyturn.api import (
    Bundle,
    Conflict,
    Fields,
    Held,
    PluginError,
    PromoteRequest,
    Refused,
    StageRequest,
)
from keyturn_aws.failures import Said
from keyturn_aws.labels import PENDING, PREVIOUS, Labelled, Mark, new_mark, tags_of
from keyturn_aws.remote import Remote
from keyturn_aws.values import encoded


@dataclass(frozen=True, kw_only=True, eq=False)
class New:
    """The version to write, as AWS will keep it."""

    id: str
    mark: Mark
    bundle: Bundle = field(repr=False)
    text: str = field(repr=False)
    tags: Fields

    @classmethod
    def of(cls, request: StageRequest | PromoteRequest) -> New:
        """The version of a request. Raises Refused, before anything is sent, where AWS could not keep it."""
        mark = new_mark(request.version, request.call.journal_id)
        return cls(
            id=request.version.id,
            mark=mark,
            bundle=request.bundle,
            text=encoded(request.bundle),
            tags=tags_of(request.version.id, mark, request.meta),
        )


def stage(remote: Remote, new: New) -> bool:
    """Make it pending; whether it was there already. Raises NotSent, Refused, Conflict, Doubt."""
    seen = remote.look()
    remote.refuse_deleted(seen)
    if not seen.current:
        # The first version would be current at once (contract 3.3).
        raise Refused("the secret has no version yet: publish writes the first one", code="empty-place")
    remote.refuse_rotating(seen)
    _label_current(remote, seen)
    seen = _without_stale_pending(remote, new, seen)
    if new.id in seen.labels:
        return _staged_before(remote, new, seen)
    seen.room_for((new.mark.label, PENDING, PREVIOUS), new.tags)
    remote.put(new.id, new.text, (PENDING, new.mark.label), seen)
    return False


def _label_current(remote: Remote, seen: Labelled) -> None:
    """A first version that only its tags call ours would be nobody's once they speak of the next one."""
    mark = seen.mark(seen.current) if seen.current else None
    if seen.current and mark:
        remote.add(mark.label, seen.current, seen)


def _without_stale_pending(remote: Remote, new: New, seen: Labelled) -> Labelled:
    """A put would take AWSPENDING from whoever has it (contract 2.4): ours may go, anybody else's may not."""
    stale = seen.pending
    if stale is None or stale == new.id:
        return seen
    mark = seen.mark(stale)
    if mark is None or mark.journal_id != new.mark.journal_id:
        who = f"journal {mark.journal_id}" if mark else "somebody else"
        raise Conflict(f"version {stale} of {who} is pending here", code="pending-foreign")
    remote.drop(stale, seen, previous=False)
    return remote.look()


def _staged_before(remote: Remote, new: New, seen: Labelled) -> bool:
    _same_value(remote, new)
    wanted = {new.mark.label} if new.id == seen.current else {new.mark.label, PENDING}
    missing = wanted - seen.labels[new.id]
    for label in sorted(missing):
        remote.add(label, new.id, seen)
    return PENDING not in missing


def promote(remote: Remote, new: New, expects: Held | None) -> bool:
    """Make it current; whether it was already. Raises NotSent, Refused, Conflict, Doubt."""
    seen = remote.look()
    remote.refuse_deleted(seen)
    if seen.current == new.id:
        _same_value(remote, new)
        return True
    remote.refuse_rotating(seen)
    if not seen.current:
        return _first(remote, new, expects, seen)
    if expects is None or expects.revision != seen.current:
        raise _conflict(remote, seen, expects)
    brought = _bring(remote, new, seen)
    try:
        remote.switch(new.id, expects.revision)
    except Said as said:
        _settle(remote, new, expects, said, brought=brought)
    return False


def _first(remote: Remote, new: New, expects: Held | None, seen: Labelled) -> bool:
    """Write the first version, which is current at once (contract 3.1, 3.3); whether it was there already."""
    if expects is not None:
        raise _conflict(remote, seen, expects)
    if seen.exists:
        if remote.put(new.id, new.text, (new.mark.passing.label,), seen):
            return False
        _withdraw(remote, new)
        raise _conflict(remote, remote.look(), None)
    if remote.create(new.id, new.text, new.tags):
        return False
    seen = remote.look()
    remote.refuse_deleted(seen)
    if seen.current != new.id:
        raise _conflict(remote, seen, None)
    _same_value(remote, new)
    return True


def _bring(remote: Remote, new: New, seen: Labelled) -> bool:
    """See that the version is there before the switch; whether this call put it there."""
    if new.id in seen.labels:
        _same_value(remote, new)
        return False
    # A pending version of somebody else is left alone: what consumers read is what matters now.
    labels = (new.mark.passing.label,) if seen.pending else (new.mark.passing.label, PENDING)
    seen.room_for((*labels, new.mark.label, PREVIOUS), new.tags)
    remote.put(new.id, new.text, labels, seen)
    return True


def _settle(remote: Remote, new: New, expects: Held, said: Said, *, brought: bool) -> None:
    """The switch was refused. One whose answer was lost looks the same when it is sent again (contract 5.2)."""
    seen = remote.look()
    if seen.current == new.id:
        return
    if brought:
        _withdraw(remote, new)
    if seen.current == expects.revision:
        raise said.final() from None
    raise _conflict(remote, seen, expects)


def _withdraw(remote: Remote, new: New) -> None:
    """Take back what this call put beside the current version; where that fails, the next stage does it."""
    try:
        seen = remote.look()
        if new.id in seen.labels and new.id != seen.current:
            remote.drop(new.id, seen, previous=False)
    except PluginError:
        return


def _same_value(remote: Remote, new: New) -> None:
    if not remote.holds(new.id, new.bundle):
        raise Conflict("this version id is known here with another value", code="same-id")


def _conflict(remote: Remote, seen: Labelled, expects: Held | None) -> Conflict:
    if expects is None:
        return Conflict(f"expected an empty place, found {_who(remote, seen)}", code="place-taken")
    return Conflict(f"expected version {expects.revision}, found {_who(remote, seen)}", code="place-moved")


def _who(remote: Remote, seen: Labelled) -> str:
    """What consumers read and when it was written, as far as AWS says."""
    if not seen.current:
        return "none"
    mark = seen.mark(seen.current)
    whose = f" of journal {mark.journal_id}" if mark else " of somebody else"
    try:
        found = remote.value(seen.current)
    except PluginError:
        found = None
    when = (
        f", written {datetime.fromtimestamp(found.made_at, UTC):%Y-%m-%dT%H:%M:%SZ}" if found and found.made_at else ""
    )
    return f"version {seen.current}{whose}{when}"


def tidy(remote: Remote, new: New, keep_previous: int) -> None:
    """After a switch: mark it as ours, not pending any more; drop versions that are too many; write its metadata.

    Raises PluginError, which does not mean that the switch failed: doing all of it again is right.
    """
    seen = remote.look()
    if seen.current != new.id:
        return
    remote.add(new.mark.label, new.id, seen)
    for label in sorted(seen.labels[new.id] & {PENDING, new.mark.passing.label}):
        remote.take_off(label, new.id)
    for version_id, label in seen.marks_of(new.mark.journal_id, seen.previous)[keep_previous:]:
        remote.take_off(label, version_id)
    tags = seen.tags_for(new.tags)
    if tags:
        remote.tag(tags)
