"""The full grid of states and moves: what is legal, and that everything else is refused."""

from __future__ import annotations

from itertools import product

import pytest

from keyturn.states import IllegalMoveError, Move, State, moved

LEGAL = {
    (State.PENDING, Move.PUBLISH): State.CURRENT,
    (State.PENDING, Move.WITHDRAW): State.RETIRED,
    (State.PENDING, Move.STRAND): State.PREVIOUS,
    (State.CURRENT, Move.REPLACE): State.PREVIOUS,
    (State.PREVIOUS, Move.PUBLISH): State.CURRENT,
    (State.PREVIOUS, Move.RETIRE): State.RETIRED,
}
GRID = list(product(State, Move))


@pytest.mark.parametrize(("state", "move"), [cell for cell in GRID if cell in LEGAL])
def test_a_legal_move_leads_where_the_protocol_says(state: State, move: Move) -> None:
    assert moved(state, move) is LEGAL[state, move]


@pytest.mark.parametrize(("state", "move"), [cell for cell in GRID if cell not in LEGAL])
def test_every_other_move_is_refused_and_named(state: State, move: Move) -> None:
    with pytest.raises(IllegalMoveError, match=f"{move} is not a legal move from {state}"):
        moved(state, move)


def test_the_current_version_is_never_retired_at_once() -> None:
    assert {move for state, move in LEGAL if state is State.CURRENT} == {Move.REPLACE}


def test_a_retired_version_never_comes_back() -> None:
    assert not [move for state, move in LEGAL if state is State.RETIRED]
