"""Registration: the data a plugin hands over, and the one hook, which takes no arguments.

Any plugin can read the arguments of any pluggy hook, so a hook that took some would be a leak (ADR 0002).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pluggy

from keyturn.model import Traits
from keyturn.plugins.sink import SinkTraits

API = 1
"""The version of these seams. A plugin says which one it was written for."""

hookspec = pluggy.HookspecMarker("keyturn")
hookimpl = pluggy.HookimplMarker("keyturn")


class Kind(StrEnum):
    """The three kinds of plugins, and the entry point group of each: `keyturn.<kind>s`."""

    PROVIDER = "provider"
    SINK = "sink"
    OVERLAP = "overlap"

    @property
    def group(self) -> str:
        """The entry point group."""
        return f"keyturn.{self.value}s"


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What one plugin registers. Options are pydantic models (`keyturn.api.Options`); everything else is plain.

    `account` are the options under `providers:` or `sinks:`; `target` those of one secret (a provider's `target:`, a
    sink's place). `traits` and `subject` are pure functions of both. `load` imports the implementation and returns a
    factory: `load()(context, account)`. `simulator` imports the vendor's simulator, where there is one. `place` (sinks)
    gives the target options that PATH means in a reference `SINK:PATH#FIELD`, from account and path; pure. `source`
    (providers) names the configured secret that a target derives its value from, or None; pure. Its current version
    travels with every call (`Call.source`), and a rotation of it makes this one due. `extras`
    names the optional verbs it has (`make`, `reset`); `requires` is what pip installs where a library of it is missing.
    `commands` are commands of its own, by name with one line of help (providers, by the extra verb `command`).
    """

    kind: Kind
    name: str
    summary: str
    load: Callable[[], Callable[..., Any]]
    api: int = API
    account: type[Any] | None = None
    target: type[Any] | None = None
    traits: Callable[[Any, Any], Traits] | Callable[[Any, Any], SinkTraits] | None = None
    subject: Callable[[Any, Any], str] | None = None
    place: Callable[[Any, str], Mapping[str, Any]] | None = None
    source: Callable[[Any, Any], str | None] | None = None
    extras: tuple[str, ...] = ()
    requires: str = ""
    commands: Mapping[str, str] = field(default_factory=dict)
    simulator: Callable[[], Any] | None = None


@hookspec
def keyturn_plugin() -> Plugin:  # type: ignore[empty-body]
    """Return this plugin's registration. Takes no arguments, does nothing else."""
