"""Accounts: what stands under `providers:` and `sinks:`, checked by the plugin that `kind` names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from keyturn.config import shapes
from keyturn.config.files import Source
from keyturn.config.model import Account, UsedReference
from keyturn.config.problems import AS_MAP, RENAME, SECTIONS, Path, Problems, dotted, scope_of, suggestion
from keyturn.config.sections import account_name
from keyturn.errors import UsageError
from keyturn.options import Options
from keyturn.plugins.hookspecs import Kind, Plugin
from keyturn.references import sink_of

Find = Callable[[Kind, str], Plugin]
"""Finds a plugin by kind and name. Raises UsageError for one that is unknown or broken."""

KINDS = {"providers": Kind.PROVIDER, "sinks": Kind.SINK}


class NoOptions(Options):
    """For a plugin that takes no options at this place."""


@dataclass(frozen=True)
class Work:
    """What reading one configuration shares: the source, the plugins, and what was found so far."""

    source: Source
    find: Find
    problems: Problems
    accounts: dict[tuple[str, str], Account] = field(default_factory=dict)
    plugins: dict[tuple[str, str], Plugin] = field(default_factory=dict)
    references: list[UsedReference] = field(default_factory=list)

    @cached_property
    def _sections(self) -> dict[str, dict[str, Any]]:
        return {
            section: {key: value for key, value in self.source.data.get(section, {}).items() if isinstance(value, dict)}
            for section in SECTIONS
        }

    def section(self, name: str) -> Mapping[str, Any]:
        """The entries of `providers`, `sinks` or `secrets` that are maps at all."""
        return self._sections[name]

    def note_references(self, model: type[BaseModel], data: Any, path: Path) -> None:
        """Keep every reference, and refuse those to a sink that is not configured."""
        for inner, text in shapes.references(model, data):
            where = path + inner
            self.references.append(UsedReference(text=text, path=dotted(where), scope=scope_of(where), at=where))
            sink = sink_of(text)
            if sink is not None and sink not in self.source.data.get("sinks", {}):
                hint = suggestion(sink, self.section("sinks"))
                self.problems.add(
                    "unknown-sink", f"the reference names sink {sink}, which is not configured", where, hint=hint
                )

    def ask_pure(self, plugin: Plugin, what: str, ask: Callable[[], Any], path: Path) -> Any:
        """The answer of a plugin's pure function, or None with a problem added where it raises."""
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 - somebody else's code; the message may hold anything
            message = f"{what} of plugin {plugin.name} raised {type(error).__name__}"
            self.problems.add("plugin-broken", message, path, hint="keyturn plugins shows where it comes from")
            return None


def refuse_non_maps(work: Work) -> None:
    """A problem for each account and secret that is not a map."""
    for section in SECTIONS:
        entries = work.source.data.get(section, {})
        for name in entries.keys() - work.section(section).keys():
            work.problems.add("bad-value", "expected a map of keys and values", (section, name), hint=AS_MAP)


def read_account(work: Work, section: str, name: str, data: Mapping[str, Any]) -> None:
    """Check one account; a good one is added to `work.accounts`, its plugin in any case where it is known."""
    path: Path = (section, name)
    _check_name(work, name, path)
    kind = data.get("kind")
    if not isinstance(kind, str):
        work.problems.add("missing-key", "kind is missing", path, hint="add kind: and the name of a plugin")
        return
    try:
        plugin = work.find(KINDS[section], kind)
    except UsageError as error:
        work.problems.add(error.code, error.message, (*path, "kind"), hint=error.hint)
        return
    work.plugins[section, name] = plugin
    model = plugin.account or NoOptions
    own = shapes.anchored(model, {key: value for key, value in data.items() if key != "kind"}, work.source.folder)
    work.note_references(model, own, path)
    options = work.problems.validate(model, own, path)
    if options is not None:
        work.accounts[section, name] = Account(name=name, kind=kind, plugin=plugin, options=options)


def _check_name(work: Work, name: str, path: Path) -> None:
    try:
        account_name(name)
    except ValueError as error:
        work.problems.add("bad-name", str(error), path, hint=RENAME)
