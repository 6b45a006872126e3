"""The hash chain of one secret's events, shared by all stores. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from keyturn.journal.store import GENESIS, Broken, Draft, Event, chain_hash

Head = tuple[int, str]
"""The `seq` and hash of a chain's last event."""

START: Head = (0, GENESIS)


def encode(data: Mapping[str, object]) -> str:
    """Event data or state as stored. Raises TypeError or ValueError for what is no JSON (a Secret, NaN)."""
    return json.dumps(dict(data), sort_keys=True, separators=(",", ":"), allow_nan=False)


def link(secret: str, draft: Draft, *, head: Head, at: float, runner: str, operator: str) -> Event:
    """The event that follows `head`."""
    seq, prev = head
    event = Event(
        secret=secret,
        seq=seq + 1,
        at=at,
        type=draft.type,
        data=json.loads(encode(draft.data)),  # as it will be read back: keys are text, tuples are lists
        rotation_id=draft.rotation_id,
        runner=runner,
        operator=operator,
        prev=prev,
        hash="",
    )
    return _with_hash(event)


def first_broken(secret: str, events: Iterable[Event], kept: Iterable[Head] = ()) -> Broken | None:
    """The first broken link of one whole chain. `kept` are heads noted elsewhere: the chain must still hold them."""
    wanted = dict(kept)
    seq, prev = START
    try:
        for event in events:
            if reason := _flaw(event, seq + 1, prev, wanted.pop(seq + 1, event.hash)):
                return Broken(secret=secret, seq=seq + 1, reason=reason)
            seq, prev = event.seq, event.hash
    except (ValueError, TypeError):
        return Broken(secret=secret, seq=seq + 1, reason="the event can not be read")
    if any(number > seq for number in wanted):
        return Broken(secret=secret, seq=seq + 1, reason="the event is missing: the chain was cut off")
    return None


def _flaw(event: Event, seq: int, prev: str, kept_hash: str) -> str | None:
    if event.seq != seq:
        return "the event is missing"
    if event.prev != prev:
        return "the event does not follow the one before it"
    if event.hash != _with_hash(event).hash:
        return "the event was changed"
    if event.hash != kept_hash:
        return "the event is not the one that was noted elsewhere"
    return None


def _with_hash(event: Event) -> Event:
    columns = {name: value for name, value in vars(event).items() if name != "hash"}
    return Event(**columns, hash=chain_hash(**columns))
