"""One table writes and reads the journal: what goes in comes out, of this version, of an older and of a newer one."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.engine.record import events as ev
from keyturn.engine.record.fold import fold
from keyturn.engine.record.receipt import debts
from keyturn.engine.record.state import SecretState
from keyturn.engine.record.summary import summarise
from keyturn.journal.store import GENESIS, Draft, Event, chain_hash
from keyturn.states import State

V1 = Path(__file__).parents[1] / "data/journal-v1.jsonl"
KINDS = {name: kind for name, kind in ev.TYPES.items() if kind is not ev.Unknown}
often = settings(max_examples=15, deadline=None)
TYPES_V1 = 23
texts = st.text(max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
LEAVES: Mapping[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: st.integers(0, 2**40),
    float: st.floats(0, 4e9),
    bool: st.booleans(),
    type(None): st.none(),
    Any: plain,
}


def of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of this type."""
    if hint in LEAVES:
        return LEAVES[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        return st.one_of(*map(of, inner))
    if origin is tuple:
        return st.lists(of(inner[0]), max_size=3).map(tuple)
    return st.dictionaries(of(inner[0]), of(inner[1]), max_size=3)


def bodies(kind: type[ev.Body]) -> st.SearchStrategy[ev.Body]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{f.name: of(hints[f.name]) for f in fields(kind) if f.name != "extra"})


def stored(draft: Draft, seq: int = 1) -> Event:
    """The event as it comes back from a store: through JSON."""
    return Event(
        secret="app/main",
        seq=seq,
        at=float(seq),
        type=draft.type,
        data=json.loads(json.dumps(dict(draft.data))),
        rotation_id=draft.rotation_id,
        runner="r",
        operator="o",
        prev="",
        hash="",
    )


@pytest.mark.parametrize("name", sorted(KINDS))
@often
@given(data=st.data())
def test_an_event_comes_back_as_it_was_written(name: str, data: st.DataObject) -> None:
    body = data.draw(bodies(KINDS[name]))
    assert ev.body(stored(ev.draft(body))) == body


@pytest.mark.parametrize("name", sorted(KINDS))
@often
@given(data=st.data())
def test_fields_of_a_newer_writer_survive_being_read_and_written(name: str, data: st.DataObject) -> None:
    draft = ev.draft(data.draw(bodies(KINDS[name])))
    newer = Draft(type=name, data={**draft.data, "from_the_future": {"a": [1]}, "also": "b"})
    again = ev.draft(ev.body(stored(newer)))
    assert json.loads(json.dumps(dict(again.data))) == json.loads(json.dumps(dict(newer.data)))


@often
@given(texts.filter(lambda name: name not in ev.TYPES), st.dictionaries(texts, plain, max_size=3))
def test_an_event_of_an_unknown_type_is_kept_and_changes_nothing(name: str, data: dict[str, Any]) -> None:
    event = stored(Draft(type=name, data=data), seq=7)
    body = ev.body(event)
    assert isinstance(body, ev.Unknown)
    assert (body.type, body.extra) == (name, event.data)
    assert fold("app/main", [event]) == SecretState(secret="app/main", seq=7, at=7.0)


def test_an_event_foretold_folds_as_the_one_that_is_stored() -> None:
    draft = ev.draft(ev.Adopted(version="v1", number=1, handle="h"))
    ahead = ev.foretold("app/main", [draft], after=0, at=1.0, operator="o")
    assert fold("app/main", ahead) == fold("app/main", [stored(draft)])


# The journal of the first version. It is never written again: what that version wrote stays readable for ever.


def journal_v1() -> list[Event]:
    return [Event(**json.loads(line)) for line in V1.read_text().splitlines()]


def test_the_journal_of_version_1_has_an_event_of_each_type_that_version_wrote() -> None:
    written = {event.type for event in journal_v1()}
    assert written <= KINDS.keys()
    assert len(written) == TYPES_V1


def test_the_chain_of_version_1_still_holds() -> None:
    prev = GENESIS
    for event in journal_v1():
        hashed = {name: value for name, value in vars(event).items() if name not in ("prev", "hash")}
        assert (event.prev, event.hash) == (prev, chain_hash(prev=prev, **hashed))
        prev = event.hash


def test_the_journal_of_version_1_is_understood_to_the_last_field() -> None:
    for event in journal_v1():
        body = ev.body(event)
        assert not isinstance(body, ev.Unknown)
        assert not body.extra
        written = json.loads(json.dumps(dict(ev.draft(body).data)))
        assert {name: written[name] for name in event.data} == dict(event.data)


def test_the_journal_of_version_1_still_tells_the_same_story() -> None:
    state = fold("app/main", journal_v1())
    told = {v.number: (v.state, v.handle, v.refused, v.removed) for v in state.versions.values()}
    assert told == {
        1: (State.RETIRED, "h1", True, True),
        2: (State.PREVIOUS, "h2", False, False),
        3: (State.CURRENT, "h3", False, False),
    }
    rotation = state.rotation
    assert rotation is not None
    assert rotation.ended is not None
    assert (rotation.ended.outcome, rotation.ended.outage_ms) == ("done", 0)
    assert (set(rotation.dropped), rotation.reissues, rotation.attempts[0].settled) == ({"e9"}, 1, "applied_gone")
    assert (state.paused_until, set(state.alerts)) == (0.0, {"stuck:r1"})
    assert [(debt.kind, debt.number) for debt in debts(state)] == [("retire", 2)]
    assert summarise(state).status == "debts"
