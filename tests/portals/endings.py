"""What is true at every moment of a rotation that goes wrong, and at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keyturn.cli.estate import Wiring
from program import Ran

from .partners import SECRET, WAYS, Partners, partners

ROTATE = ("rotate", SECRET, "--force", "--reason", "test", "--yes")
RUNS_MAX, APART_S = 8, 700.0


@contextmanager
def team(folder: Path, name: str, **more: Any) -> Iterator[Partners]:
    """A team about to rotate."""
    with partners(folder, name, **more) as one:
        one.begin()
        yield one
        never_told(one)


def act(one: Partners, wiring: Wiring | None = None) -> Ran:
    """Type what the team is about to do."""
    return one.keyturn(*ROTATE, wiring=wiring)


def runs(one: Partners) -> list[Ran]:
    """A schedule's runs, until there is nothing more to do."""
    ran: list[Ran] = []
    while len(ran) < RUNS_MAX and (not ran or one.row(SECRET).status != "current"):
        one.clock.advance(APART_S)
        ran.append(one.keyturn("run"))
        assert kept(one), "promise P1"
    return ran


def kept(one: Partners) -> bool:
    """Promise P1: what every proxy takes is served, opens from the escrow, or is made anew by the next run."""
    next_is_recorded = one.row(SECRET).status in ("rotating", "unfinished", "waiting")
    return one.safe() or next_is_recorded


def in_order(one: Partners) -> None:
    """Consumers read what every proxy takes, and nothing that Keyturn gave up or replaced is accepted anywhere."""
    assert one.row(SECRET).status == "current", one.keyturn("status", SECRET).said
    assert one.everywhere(one.served()), "promise P2"
    others = [known for known in one.escrowed() if known != one.served()]
    assert [known for known in others if one.accepted_at(known)] == [], "what was replaced or given up is dead"


def types(one: Partners) -> list[str]:
    """The journal, as the types of its events."""
    return [event.type for event in one.events(SECRET)]


def said_of(one: Partners, kind: str) -> list[dict[str, Any]]:
    """The events of this type."""
    return [dict(event.data) for event in one.events(SECRET) if event.type == kind]


def never_told(one: Partners) -> None:
    """Promise P4: no value in anything that was said or journaled."""
    journal = (one.folder / "state/journal.db").read_bytes().decode(errors="replace")
    values = [text for kept in (one.served(), *one.escrowed()) for name, text in kept.items() if name != "client_id"]
    assert not [value for value in values for text in (*one.said, journal, *one.alerts) if value in text]


__all__ = ["ROTATE", "SECRET", "WAYS", "act", "in_order", "kept", "never_told", "runs", "said_of", "team", "types"]
