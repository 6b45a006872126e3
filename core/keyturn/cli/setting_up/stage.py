"""What stands on the demo's stage: simulated vendors, and the sinks that their secrets are published to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.cli.setting_up.simulate import made, missing, running
from keyturn.errors import UsageError
from keyturn.plugins.hookspecs import Kind, Plugin
from keyturn.plugins.registry import Registry
from keyturn.plugins.simulator import RunningSimulator

FILE = "file"
FILES = "files"
SERVED = "served"
OPTIONS: Mapping[str, Mapping[str, str]] = {"aws": {"server": "moto"}, "circle": {"way": "api"}}
"""Options of simulators: a server that somebody else wrote, rather than our own fake; no person who has to act."""


@dataclass(frozen=True, kw_only=True)
class Cast:
    """One simulated vendor and what it wants configured."""

    plugin: Plugin
    simulator: RunningSimulator
    configuration: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """One sink: its name in the configuration, what stands under that name, and the logins that this refers to.

    `url` is where it listens; empty for files.
    """

    name: str
    plugin: Plugin
    account: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    url: str = ""

    def place(self, path: str) -> dict[str, Any]:
        """An entry of a secret's `sinks:`."""
        account = _validated(self.plugin.account, {key: value for key, value in self.account.items() if key != "kind"})
        return {"to": self.name, **(self.plugin.place(account, path) if self.plugin.place else {})}

    def path(self, secret: str) -> str:
        """Where it keeps a secret."""
        return f"{secret}.json" if self.plugin.name == FILE else secret


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A sink that the demo does without: why, and how to have it."""

    sink: str
    reason: str
    hint: str

    @classmethod
    def of(cls, sink: str, error: UsageError) -> LeftOut:
        """Because of this error."""
        return cls(sink=sink, reason=error.message, hint=error.hint)

    @property
    def line(self) -> str:
        """For people."""
        return f"left out: the sink {self.sink}: {self.reason}; to have it: {self.hint}"


@contextmanager
def on_stage(plugin: Plugin, folder: Path) -> Iterator[Cast]:
    """A vendor's simulator, running."""
    with running(made(plugin, OPTIONS.get(plugin.name, {}))) as simulator:
        yield Cast(plugin=plugin, simulator=simulator, configuration=simulator.configuration(folder))


@contextmanager
def on_shelf(plugin: Plugin, folder: Path) -> Iterator[Shelf]:
    """A sink that can be written to: the file sink as it is, any other with its simulator running."""
    if plugin.name == FILE:
        yield Shelf(name=FILES, plugin=plugin, account={"kind": FILE, "folder": SERVED})
        return
    with running(made(plugin, OPTIONS.get(plugin.name, {}))) as simulator:
        ((name, account),) = simulator.configuration(folder)["sinks"].items()
        url = simulator.urls[0]
        yield Shelf(name=name, plugin=plugin, account=account, environment=simulator.environment, url=url)


def sinks(registry: Registry, named: Sequence[str]) -> tuple[list[Plugin], list[LeftOut]]:
    """The sinks to publish to, and those that can not be had here.

    Without names all that the demo can have, file first. Raises UsageError for a named one that can not be had.
    """
    found, left_out = [], []
    for name in named or _known(registry):
        try:
            found.append(_usable(registry, name))
        except UsageError as error:
            if named:
                raise
            left_out.append(LeftOut.of(name, error))
    return found, left_out


def _known(registry: Registry) -> list[str]:
    names = {claim.name for claim in registry.listed() if claim.kind is Kind.SINK}
    return sorted(names, key=lambda name: (name != FILE, name))


def _usable(registry: Registry, name: str) -> Plugin:
    """The plugin, once its libraries and those of its simulator were imported. Raises UsageError."""
    plugin = registry.find(Kind.SINK, name)
    try:
        registry.load(plugin)
    except UsageError as error:
        if isinstance(error.__cause__, ImportError):
            raise missing(error.__cause__, plugin) from error
        raise
    if name != FILE:
        made(plugin, OPTIONS.get(name, {}))
    return plugin


def places(each: Cast, name: str, shelves: Sequence[Shelf]) -> list[dict[str, Any]]:
    """The value goes to every sink, each artefact to a place of its own in the first."""
    apart = [{**shelves[0].place(artefact_path(name, one)), "fields": [one]} for one in artefacts(each, name)]
    return [*(shelf.place(shelf.path(name)) for shelf in shelves), *apart]


def artefact_path(secret: str, artefact: str) -> str:
    """Where a secret's artefact is kept, in every sink."""
    return f"{secret}.{artefact}"


def artefacts(each: Cast, name: str) -> tuple[str, ...]:
    """The artefacts of a secret."""
    secret = each.configuration["secrets"][name]
    plugin, configured = each.plugin, each.configuration["providers"][secret["provider"]]
    account = _validated(plugin.account, {key: value for key, value in configured.items() if key != "kind"})
    target = _validated(plugin.target, secret.get("target", {}))
    traits: Any = plugin.traits(account, target) if plugin.traits else None
    return tuple(traits.artefacts) if traits else ()


def _validated(model: type[Any] | None, options: Mapping[str, Any]) -> Any:
    return model.model_validate(options) if model else None


def with_files(data: Any, logins: Mapping[str, str]) -> Any:
    """The same configuration with `file:` references for the simulators' `env:` ones."""
    if isinstance(data, Mapping):
        return {key: with_files(value, logins) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [with_files(value, logins) for value in data]
    return logins.get(data, data) if isinstance(data, str) else data
