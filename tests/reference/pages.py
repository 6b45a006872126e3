"""The pages under docs/reference: error codes, exit codes, commands, seams, configuration, and its JSON Schema."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

import click

from keyturn.cli.acting import shared
from keyturn.cli.app import PROGRAM, Session, program
from keyturn.cli.looking import status
from keyturn.cli.render import SEVERITY
from keyturn.config.schema import json_schema
from keyturn.engine.outcome import EXIT
from keyturn.plugins import context, overlap, provider, sink
from keyturn.plugins.hookspecs import Kind
from keyturn.plugins.registry import BUILT_IN, Registry

from .codes import ERRORS, Use, uses
from .source import ROOT

FOLDER = ROOT / "docs/reference"
WRITTEN = "<!-- Written from the code by `make docs`; a test fails when it is stale. -->"


def _page(title: str, *parts: Iterable[str]) -> str:
    return "\n".join([f"# {title}", "", WRITTEN, "", *(line for part in parts for line in part)]).rstrip("\n") + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        cells = (" ".join(cell.replace("|", "\\|").replace("<", "&lt;").split()) for cell in row)
        yield f"| {' | '.join(cells)} |"
    yield ""


# Codes

SECTIONS: Mapping[str, tuple[str, str]] = {
    "error": ("Errors", "What a command ends with. The text says what is true now, the hint what to type next."),
    "config": (
        "Errors in the configuration",
        "All at once, each with file, line and column; they end with exit code 2.",
    ),
    "problem": ("Problems", "What plan, preflight and check find. Fatal ones refuse a rotation with exit code 3."),
    "stuck": ("Stuck", "Exit code 5: a person must act. `keyturn status` says what is valid now and what to type."),
    "undone": ("Undone", "Why a rotation turned back. Exit code 4: the old version was seen accepted afterwards."),
    "plugin": (
        "What plugins, vendors and sinks answer",
        "Reasons in the journal and in messages. Other plugins bring codes of their own.",
    ),
}


def errors_page() -> str:
    """Every code, by kind."""
    return _page(
        "Error codes",
        ["Runbooks branch on codes: they stay as they are. `{…}` stands for what is filled in.", ""],
        *(_codes(kind, *head) for kind, head in SECTIONS.items()),
    )


def _codes(kind: str, title: str, text: str) -> Iterator[str]:
    yield from (f"## {title}", "", text, "")
    found: dict[str, list[Use]] = {}
    for use in uses():
        if use.kind == kind and use.code:
            found.setdefault(use.code, []).append(use)
    with_exit = kind == "error"
    yield from _table(
        ("code", *(("exit",) if with_exit else ()), "says", "do"),
        [
            (
                f"`{code}`",
                *((_exits(made),) if with_exit else ()),
                _each(u.text for u in made),
                _each(u.hint for u in made),
            )
            for code, made in found.items()
        ],
    )


def _exits(made: Iterable[Use]) -> str:
    return ", ".join(sorted({str(ERRORS[use.maker].exit_code) for use in made}))


def _each(texts: Iterable[str]) -> str:
    return "; or: ".join(dict.fromkeys(text for text in texts if text))


# Exit codes

ATTENTION = "attention: a problem, a short life, overdue, unmanaged, or paused past its date"
DETAILED: Mapping[int, str] = {
    shared.NOTHING_DUE: "with `--detailed-exitcode`: nothing was due",
    shared.HOLDING: "with `--detailed-exitcode`: holding or waiting",
}


def exit_codes_page() -> str:
    """Every exit code with its meaning, its error class and the outcomes that end with it."""
    meanings = {0: "done, nothing due, or holding as planned", 1: "a bug in Keyturn or in a plugin"}
    for kind in ERRORS.values():
        if kind.exit_code not in meanings:
            text = " ".join((kind.__doc__ or "").split()).rstrip(".")
            meanings[kind.exit_code] = text[:1].lower() + text[1:]
    meanings |= {status.ATTENTION: ATTENTION, **DETAILED}
    rows = [
        (str(code), meaning, ", ".join(f"`{name}`" for name, exit_code in EXIT.items() if exit_code == code))
        for code, meaning in sorted(meanings.items())
    ]
    severity = ", ".join(str(code) for code in SEVERITY)
    return _page(
        "Exit codes",
        _table(("exit", "meaning", "outcome of one secret"), rows),
        [f"A command about several secrets ends with the most severe code, in this order: {severity}."],
    )


# Commands


def cli_page() -> str:
    """The help text of every command."""
    top = click.Context(program, info_name=PROGRAM, obj=Session(), terminal_width=100, **program.context_settings)
    return _page("Command line", _help(program, top))


def _help(command: click.Command, ctx: click.Context) -> Iterator[str]:
    level = "#" * min(2 + ctx.command_path.count(" "), 4)
    yield from (f"{level} {ctx.command_path}", "", "```", command.get_help(ctx).rstrip(), "```", "")
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            if inner is not None:
                below = click.Context(inner, parent=ctx, info_name=name, terminal_width=100, max_content_width=100)
                yield from _help(inner, below)


# Seams

SEAMS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "Provider": (
        "One vendor, one kind of secret, one account.",
        (provider.Provider, provider.Minter, provider.BreakGlass),
    ),
    "Sink": ("Where consumers read a secret.", (sink.Sink,)),
    "Overlap": ("How old and new live side by side. Pure.", (overlap.Overlap,)),
    "Context": ("What Keyturn gives a plugin.", (context.Context, context.Http)),
}


def seams_page() -> str:
    """The protocols with their verbs and the data on both sides."""
    parts = [_seam(title, text, kinds) for title, (text, kinds) in SEAMS.items()]
    return _page("Seams", ["Import all of this from `keyturn.api`.", ""], *parts)


def _seam(title: str, text: str, kinds: Sequence[type]) -> Iterator[str]:
    yield from (f"## {title}", "", text, "")
    for kind in kinds:
        yield from (f"### {kind.__name__}", "", _doc(kind), "")
        for name, function in verbs(kind).items():
            yield from (f"#### {kind.__name__}.{name}", "", "```python", _signature(name, function), "```", "")
            yield from (_doc(function), "")
    for data in dict.fromkeys(one for kind in kinds for one in data_of(kind)):
        yield from (f"### {data.__name__}", "", _doc(data), "")
        yield from _table(("field", "type", "default"), [_field(one) for one in fields(data)])


def verbs(kind: type) -> dict[str, Callable[..., Any]]:
    """The public methods of a protocol."""
    return {name: one for name, one in vars(kind).items() if inspect.isfunction(one) and not name.startswith("_")}


def data_of(kind: type) -> Iterator[type[Any]]:
    """The dataclasses that a protocol's methods take and give, and those inside them."""
    for function in verbs(kind).values():
        for hint in get_type_hints(function).values():
            yield from _dataclasses(hint)


def _dataclasses(hint: Any) -> Iterator[type[Any]]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
        for inner in get_type_hints(hint).values():
            yield from _dataclasses(inner)
    for inner in get_args(hint):
        yield from _dataclasses(inner)


def _signature(name: str, function: Callable[..., Any]) -> str:
    parameters = str(inspect.signature(function)).replace("'", "").replace("(self, /)", "()")
    return f"def {name}{parameters.replace('(self, ', '(').replace(', /)', ')')}"


def _doc(of: Any) -> str:
    return inspect.cleandoc(of.__doc__ or "")


def _field(one: Any) -> tuple[str, str, str]:
    default = "" if "MISSING" in repr(one.default) else f"`{one.default!r}`"
    if "MISSING" not in repr(one.default_factory):
        default = "empty"
    return f"`{one.name}`", f"`{one.type}`", default


# Configuration


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema with the options of the built-in plugins."""
    registry = Registry()
    built_in = [claim for claim in registry.listed() if claim.distribution == BUILT_IN]
    return json_schema(registry.find, {kind: [one.name for one in built_in if one.kind is kind] for kind in Kind})


def schema_page() -> str:
    """The JSON Schema, for editors."""
    return json.dumps(schema(), indent=2) + "\n"


def configuration_page() -> str:
    """Every key of the configuration and every option of the built-in plugins."""
    made = schema()
    top = {name: made["properties"][name] for name in made["properties"]}
    sections = {name: one for name, one in made["$defs"].items() if name.endswith("Section")}
    inner = {name: one for name, one in made["$defs"].items() if name not in sections}
    return _page(
        "Configuration",
        ["Strict YAML. Durations are written `90s`, `30m`, `12h`, `7d`; a reference says where a value is.", ""],
        ["## The file", "", *_options({**made, "properties": top})],
        ["## One secret: `secrets.NAME`", "", *_options(top["secrets"]["additionalProperties"])],
        *([f"## {_heading(name)}", "", *_described(one)] for name, one in sorted(sections.items())),
        *_plugins(Kind.PROVIDER, "target"),
        *_plugins(Kind.SINK, "place"),
        *([f"## {name}", "", *_described(one)] for name, one in sorted(inner.items())),
    )


def _heading(section: str) -> str:
    return section.removesuffix("Section")


def _plugins(kind: Kind, of_secret: str) -> Iterator[list[str]]:
    registry = Registry()
    for arm in schema()["properties"][kind.group.removeprefix("keyturn.")]["additionalProperties"]["allOf"]:
        name = arm["if"]["properties"]["kind"]["const"]
        plugin = registry.find(kind, name)
        account = {**arm["then"], "properties": {k: v for k, v in arm["then"]["properties"].items() if k != "kind"}}
        yield [f"## {kind.value.capitalize()} `{name}`", "", f"{plugin.summary}.", "", *_described(account)]
        if plugin.target:
            own = json_schema(registry.find, {kind: [name]})["properties"]["secrets"]["additionalProperties"]
            place = own["properties"]["sinks"]["items"] if kind is Kind.SINK else own["properties"]["target"]
            yield [f"### Its {of_secret}", "", *_described(place["anyOf"][0])]


def _described(one: Mapping[str, Any]) -> Iterator[str]:
    if "description" in one:
        yield from (one["description"], "")
    yield from _options(one)


def _options(one: Mapping[str, Any]) -> Iterator[str]:
    required = one.get("required", ())
    rows = [
        (f"`{name}`", _type(option), _default(name, option, required), option.get("description", ""))
        for name, option in one.get("properties", {}).items()
    ]
    yield from _table(("key", "type", "default", "meaning"), rows) if rows else ("No options.", "")


def _default(name: str, option: Mapping[str, Any], required: Sequence[str]) -> str:
    if name in required:
        return "required"
    default = option.get("default")
    return "" if default in (None, [], {}, ()) else f"`{json.dumps(default)}`"


def _type(option: Mapping[str, Any]) -> str:
    if "$ref" in option:
        name = _heading(option["$ref"].rpartition("/")[2])
        return f"[{name}](#{name.lower()})"
    if "enum" in option:
        return ", ".join(dict.fromkeys(f"`{value}`" for value in option["enum"]))
    if "const" in option:
        return f"`{option['const']}`"
    if "anyOf" in option and "type" not in option:
        return " or ".join(dict.fromkeys(_type(one) for one in option["anyOf"] if one.get("type") != "null"))
    return _plain_type(option)


def _plain_type(option: Mapping[str, Any]) -> str:
    kind = option.get("type", "any")
    if kind == "array":
        return f"list of {_type(option.get('items', {}))}"
    if kind == "object":
        return "map"
    if "ms|s|m|h|d|w" in option.get("pattern", ""):
        return "duration"
    return {"string": "text", "integer": "number"}.get(kind, kind) if isinstance(kind, str) else "text"


PAGES: Mapping[str, Callable[[], str]] = {
    "errors.md": errors_page,
    "exit-codes.md": exit_codes_page,
    "cli.md": cli_page,
    "seams.md": seams_page,
    "configuration.md": configuration_page,
    "keyturn.schema.json": schema_page,
}
