"""The states of a version and the only legal moves between them. Pure; tested as a full grid."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a version stands. Exactly one version of a managed secret is current."""

    PENDING = "pending"
    CURRENT = "current"
    PREVIOUS = "previous"
    RETIRED = "retired"


class Move(StrEnum):
    """What can happen to a version.

    `publish`: the first promote was sent. `replace`: another version was published. `withdraw`: undone at the vendor.
    `strand`: issued, but its value is gone for good. `retire`: the vendor was made to refuse it, or did so itself.
    """

    PUBLISH = "publish"
    REPLACE = "replace"
    WITHDRAW = "withdraw"
    STRAND = "strand"
    RETIRE = "retire"


MOVES: dict[tuple[State, Move], State] = {
    (State.PENDING, Move.PUBLISH): State.CURRENT,
    (State.PENDING, Move.WITHDRAW): State.RETIRED,
    (State.PENDING, Move.STRAND): State.PREVIOUS,
    (State.CURRENT, Move.REPLACE): State.PREVIOUS,
    (State.PREVIOUS, Move.PUBLISH): State.CURRENT,
    (State.PREVIOUS, Move.RETIRE): State.RETIRED,
}


class IllegalMoveError(Exception):
    """This move is not in the table: a bug, never an operator's fault."""


def moved(state: State, move: Move) -> State:
    """The state after the move. Raises IllegalMoveError."""
    try:
        return MOVES[state, move]
    except KeyError:
        raise IllegalMoveError(f"{move} is not a legal move from {state}") from None
