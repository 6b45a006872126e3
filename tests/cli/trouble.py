"""What makes a rotation impossible, and the way out that its text tells: the shape of every vendor's list of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from program import Folder, Ran

Team = TypeVar("Team", bound=Folder)


@dataclass(frozen=True)
class Trouble(Generic[Team]):
    """How it comes about, what is said about it, and `do`: what the text says."""

    name: str
    arise: Callable[[Team], object]
    code: str
    says: str
    todo: str
    do: Callable[[Team], object]

    def __str__(self) -> str:
        return self.name

    def is_told(self, ran: Ran, secret: str) -> None:
        """Refused with the code, the place and the next step; nothing was changed."""
        assert ran.code == 3, ran.said
        assert "refused, nothing was changed" in ran.out
        assert re.search(rf"error\[{self.code}\]: .*{re.escape(self.says)}", ran.err), ran.err
        assert re.search(rf"where: {secret}\n +next: .*{re.escape(self.todo)}", ran.err), ran.err


def unchanged(seen: Callable[[], object], act: Callable[[], object]) -> None:
    """What is seen before is seen after."""
    before = seen()
    act()
    assert seen() == before


def next_step(said: str) -> tuple[str, ...]:
    """The one command that a text ends with, with a reason where it wants one."""
    (command,) = re.findall(r"next: keyturn ([^;,\n]*)", said)
    return tuple(shlex.split(command.replace("TEXT", "told")))
