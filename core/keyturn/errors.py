"""Every error a person can meet: a stable code, what is true now, a place, and what to type next.

KeyturnError                 exit
├── UsageError                 2   the command line or the configuration is wrong; nothing was changed
├── RefusedError               3   a check refused before anything was changed
├── UndoneError                4   failed, and undone: the old version is good
├── StuckError                 5   a person must act
├── UnfinishedError            6   the next run goes on
└── HeldElsewhereError         7   another runner holds the subject

Plugin errors (what a provider or sink may raise; the fence turns anything else into Doubt or NotSent):

PluginError
├── NotSent     the call had no effect and can be made again later
├── Refused     the other side said no, and nothing was changed
├── Conflict    a sink does not hold what was expected
└── Doubt       sent, outcome unknown: settled by looking
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class KeyturnError(Exception):
    """Base of all errors shown to a person. Messages start lower case and never hold a secret value."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self, code: str, message: str, *, hint: str, place: str = "", fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.place = place
        self.fields = dict(fields or {})

    def as_data(self) -> dict[str, object]:
        """The error as one JSON object, stable for runbooks."""
        return {
            "code": self.code,
            "message": self.message,
            "place": self.place,
            "hint": self.hint,
            "fields": self.fields,
            "exit_code": self.exit_code,
        }

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class UsageError(KeyturnError):
    """The command line or the configuration is wrong; nothing was changed."""

    exit_code = 2


class RefusedError(KeyturnError):
    """A check refused before anything was changed."""

    exit_code = 3


class UndoneError(KeyturnError):
    """Failed and undone: the old version was seen accepted in this run."""

    exit_code = 4


class StuckError(KeyturnError):
    """A person must act."""

    exit_code = 5


class UnfinishedError(KeyturnError):
    """Not finished; the next run goes on."""

    exit_code = 6


class HeldElsewhereError(KeyturnError):
    """Another runner holds the subject."""

    exit_code = 7


class PluginError(Exception):
    """What a plugin tells the engine. `why` is one line for people and never holds a value.

    `hint` is what a person should type or do: whoever gives one stands for its `code` too, which people then meet.
    """

    def __init__(self, why: str, *, code: str = "", hint: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.code = code
        self.hint = hint


class NotSent(PluginError):
    """The call had no effect (never left this machine, or could not change anything): it can be made again later."""


class Refused(PluginError):
    """The other side refused, and nothing was changed."""


class Conflict(PluginError):
    """A sink does not hold what was expected."""


class Doubt(PluginError):
    """Sent, outcome unknown. Settled by looking, never by repeating blindly."""
