"""Facts about the source that tests and pages are made of: files, functions, calls. Read once, never imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHIPPED = ("core", "providers", "sinks")
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One file of the source. `path` is relative to the repository."""

    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text)

    @property
    def name(self) -> str:
        """Its dotted name."""
        return ".".join(self.path.with_suffix("").parts[1:]).removesuffix(".__init__")

    @property
    def lines(self) -> int:
        """How long it is."""
        return self.text.count("\n")

    @cached_property
    def functions(self) -> tuple[FunctionNode, ...]:
        """All functions and methods, nested ones too."""
        return tuple(node for node in ast.walk(self.tree) if isinstance(node, FunctionNode))

    @cached_property
    def calls(self) -> tuple[tuple[ast.Call, FunctionNode | None], ...]:
        """All calls with the innermost function around each."""
        return tuple(_calls(self.tree, None))


def _calls(node: ast.AST, around: FunctionNode | None) -> Iterator[tuple[ast.Call, FunctionNode | None]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child, around
        yield from _calls(child, child if isinstance(child, FunctionNode) else around)


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    """The python files below these folders of the repository."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(Module(path.relative_to(ROOT), path.read_text()) for path in paths)


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def argument(call: ast.Call, name: str, position: int | None = None) -> ast.expr | None:
    """What a call passes by this name, or at this position."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[position] if position is not None and position < len(call.args) else None


def parameters(function: FunctionNode) -> list[str]:
    """The names of a function's positional parameters, without self."""
    names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names
