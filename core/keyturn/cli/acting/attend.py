"""`keyturn resume --attend`: what a person is shown who sets the new version at the vendor himself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keyturn.cli.app import Session
from keyturn.clock import Clock
from keyturn.errors import KeyturnError, UsageError
from keyturn.plugins.provider import Waiting


def check_attended(session: Session, name: str) -> None:
    """Raises UsageError `attend-needs-a-person`: in one JSON document nobody reads what he is to paste in time."""
    if session.json:
        text = "--attend shows a person what to paste, and then waits for him: with --json nobody would read it"
        raise UsageError("attend-needs-a-person", text, hint=f"keyturn resume {name} --attend, without --json")


@contextmanager
def watched(session: Session, name: str, clock: Clock) -> Iterator[Callable[[Waiting], None]]:
    """Shows what to paste; whoever was shown something hears of it where it is not watched any more."""
    shown: list[Waiting] = []

    def seen(waiting: Waiting) -> None:
        shown.append(waiting)
        show(session, clock, waiting)

    try:
        yield seen
    except KeyturnError:
        if shown:
            session.say(f"what was shown is not watched here any more: do not use it (used: keyturn resume {name})")
        raise


def show(session: Session, clock: Clock, waiting: Waiting) -> None:
    """The vendor's steps on stderr; each value below its name on stdout, and nowhere else.

    What can not be written nobody has seen: then it is stopped, as by Ctrl-C.
    """
    session.say(f"\n{steps(waiting.text)}\n")
    try:
        for field, value in waiting.show.reveal().items():
            session.out.write(f"{field}:\n{value}\n\n")
        session.out.flush()
    except OSError:
        session.say("what to paste could not be written to standard output")
        clock.stop()


def steps(text: str) -> str:
    """The numbered steps of a text, each on a line of its own."""
    return re.sub(r";? (?=\d+\. )", "\n  ", text)
