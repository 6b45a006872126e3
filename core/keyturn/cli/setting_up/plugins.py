"""`keyturn plugins`, `schema`, `plugin`: what is installed, what it takes, and what commands it brings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keyturn.cli.app import Report, Session
from keyturn.config import json_schema, locate, read
from keyturn.config.problems import suggestion
from keyturn.errors import UsageError
from keyturn.files import write_private
from keyturn.plugins.hookspecs import Kind, Plugin
from keyturn.plugins.registry import Registry


def registry(session: Session) -> Registry:
    """The installed plugins, and the single files of the configuration where there is one."""
    try:
        return Registry(read(locate(session.config)).plugins)
    except UsageError:
        if session.config:
            raise
        return Registry()


def listing(session: Session) -> Report:
    """The answer of `plugins`: by name, without importing any distribution."""
    found = registry(session)
    claims = [
        {
            "kind": one.kind.value,
            "name": one.name,
            "distribution": one.distribution,
            "version": one.version,
            "source": one.source,
        }
        for one in found.listed()
    ]
    broken = [{"source": source, "message": str(error)} for source, error in found.broken().items()]
    lines = [f"{one.kind.value:<9} {one.name:<16} {one.owner:<20} {one.source}" for one in found.listed()]
    lines += [f"broken    {one['source']}: {one['message']}" for one in broken]
    return Report(data={"plugins": claims, "broken": broken}, text="\n".join(lines))


def detail(session: Session, kind: str, name: str) -> Report:
    """The answer of `plugins --verbose KIND NAME`. Raises UsageError for one that is unknown or broken."""
    plugin = registry(session).find(Kind(kind), name)
    account, target = options(plugin.account), options(plugin.target)
    lines = [f"{plugin.kind} {plugin.name}: {plugin.summary}"]
    lines += _option_lines("account", account) + _option_lines("target" if kind == "provider" else "place", target)
    lines += [f"  command {name:<14} {told}" for name, told in plugin.commands.items()]
    return Report(
        data={
            "kind": plugin.kind.value,
            "name": plugin.name,
            "summary": plugin.summary,
            "api": plugin.api,
            "simulator": plugin.simulator is not None,
            "account": account,
            "target": target,
            "commands": dict(plugin.commands),
        },
        text="\n".join(lines),
    )


def options(model: type[Any] | None) -> list[dict[str, Any]]:
    """An option type as data: name, whether it is required, default, description."""
    fields = model.model_fields if model else {}
    return [
        {
            "name": field.alias or name,
            "required": field.is_required(),
            "default": _default(field),
            "description": field.description or "",
        }
        for name, field in fields.items()
    ]


def _default(field: Any) -> str | None:
    value = None if field.is_required() else field.get_default(call_default_factory=True)
    return None if value in (None, (), [], {}) else str(value)


def _option_lines(title: str, found: Sequence[dict[str, Any]]) -> list[str]:
    def line(one: dict[str, Any]) -> str:
        said = "required" if one["required"] else f"default {one['default']}" if one["default"] else "optional"
        return f"    {one['name']:<22} {said}" + (f"; {one['description']}" if one["description"] else "")

    return [f"  {title} options", *map(line, found)] if found else []


def schema(session: Session, out: Path | None) -> Report:
    """The answer of `schema`: the JSON Schema of the configuration with the options of all installed plugins."""
    found = registry(session)
    names = {kind: [one.name for one in found.listed() if one.kind is kind] for kind in Kind}
    made = json_schema(found.find, names)
    text = json.dumps(made, indent=2)
    if out:
        write_private(out, f"{text}\n".encode())
        text = f"written: {out}\n  next: begin keyturn.yaml with: # yaml-language-server: $schema={out}"
    return Report(data={"schema": made, "out": str(out) if out else None}, text=text)


def named(found: Registry, name: str, kinds: Sequence[Kind]) -> Plugin:
    """The plugin of this name, of the first of these kinds that has one. Raises UsageError."""
    listed = [one for one in found.listed() if one.kind in kinds]
    claimed = {one.kind for one in listed if one.name == name}
    if not claimed:
        hint = suggestion(name, {one.name for one in listed})
        raise UsageError("plugin-unknown", f"there is no plugin called {name}", hint=hint)
    return found.find(min(claimed, key=kinds.index), name)
