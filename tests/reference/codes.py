"""Every stable code that a person or a runbook can meet, with what is said and what to do, found in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from keyturn import errors
from keyturn.journal import JournalError

from .source import SHIPPED, FunctionNode, Module, argument, called, modules, parameters

ERRORS: Mapping[str, type[errors.KeyturnError]] = {
    kind.__name__: kind
    for kind in (
        errors.KeyturnError,
        errors.UsageError,
        errors.RefusedError,
        errors.UndoneError,
        errors.StuckError,
        errors.UnfinishedError,
        errors.HeldElsewhereError,
        JournalError,
    )
}


@dataclass(frozen=True)
class Shape:
    """How a kind of call carries a code, a text and a hint: by keyword, or at a position."""

    kind: str
    code: tuple[str, int | None]
    text: tuple[str, int | None]
    hint: str = "hint"


SHAPES: Mapping[str, Shape] = {
    **{name: Shape("error", ("code", 0), ("message", 1)) for name in ERRORS},
    **{name: Shape("plugin", ("code", None), ("why", 0)) for name in ("NotSent", "Refused", "Conflict", "Doubt")},
    "unsure": Shape("plugin", ("code", None), ("why", 0)),
    "_Failure": Shape("plugin", ("code", None), ("why", None)),
    "Failure": Shape("plugin", ("code", None), ("why", None)),
    "Result": Shape("plugin", ("code", None), ("why", None)),
    "Problem": Shape("problem", ("code", None), ("text", None)),
    "Stop": Shape("stuck", ("code", None), ("reason", None), "next"),
    "Undoing": Shape("undone", ("code", None), ("reason", None)),
    "add": Shape("config", ("code", 0), ("message", 1)),
    "_Stop": Shape("config", ("code", 0), ("message", 1)),
}


@dataclass(frozen=True)
class Use:
    """One place where a code is made. `maker`: the class; `code` is empty where it is passed on from elsewhere."""

    kind: str
    maker: str
    code: str
    text: str
    hint: str
    where: str
    passed_on: bool = False
    hinted: bool = True


@cache
def uses() -> tuple[Use, ...]:
    """All uses, fakes and simulators left out."""
    found = [use for module in modules(*SHIPPED) if _counts(module) for use in _uses(module)]
    return tuple(sorted(found, key=lambda use: (use.kind, use.code, use.where)))


def _counts(module: Module) -> bool:
    return "testing" not in module.path.parts and not module.path.name.startswith("simulator")


def _uses(module: Module) -> Iterator[Use]:
    for call, around in module.calls:
        shape = SHAPES.get(called(call))
        if shape is None or not _meant(call, shape, module):
            continue
        code = argument(call, *shape.code)
        if code is None:
            continue
        for site in _sites(code, call, around, module):
            text, hint = argument(call, *shape.text), argument(call, shape.hint)
            for one in site.texts(code) or ("",):
                yield Use(
                    kind=shape.kind,
                    maker=called(call),
                    code=one,
                    text=" or ".join(site.texts(text)[-1:]),
                    hint=" or ".join(site.texts(hint)[-1:]),
                    where=f"{module.path}:{call.lineno}",
                    passed_on=isinstance(code, ast.Attribute) and code.attr == "code",
                    hinted=hint is not None,
                )


def _meant(call: ast.Call, shape: Shape, module: Module) -> bool:
    if shape.kind == "config":
        return module.name.startswith("keyturn.config")
    return isinstance(call.func, ast.Name)  # click has a UsageError too


@dataclass(frozen=True)
class Site:
    """Where an expression is looked at: its function, and the call of that function which is meant, if any."""

    module: Module
    around: FunctionNode | None
    line: int
    caller: Site | None = None
    call: ast.Call | None = None

    def texts(self, node: ast.expr | None) -> tuple[str, ...]:
        """The texts that an expression can be, as far as the module tells; computed parts stand in braces."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return (node.value,)
        if isinstance(node, ast.JoinedStr):
            return ("".join(_part(part) for part in node.values),)
        if isinstance(node, ast.IfExp):
            return (*self.texts(node.body), *self.texts(node.orelse))
        if isinstance(node, ast.BoolOp):
            return tuple(text for value in node.values for text in self.texts(value))
        if isinstance(node, ast.Name) and self.around is not None:
            return tuple(dict.fromkeys(self._named(node.id, self.around)))
        return ()

    def _named(self, name: str, around: FunctionNode) -> Iterator[str]:
        """What a local name can be: as passed by the caller, or as assigned before."""
        names = parameters(around)
        if name in names and self.caller and self.call:
            yield from self.caller.texts(argument(self.call, name, names.index(name)))
        for node in ast.walk(around):
            if isinstance(node, ast.Assign) and node.lineno < self.line:
                for value in _assigned(name, node):
                    yield from Site(self.module, around, node.lineno).texts(value)


def _sites(code: ast.expr, call: ast.Call, around: FunctionNode | None, module: Module) -> Iterator[Site]:
    """The call itself; where its code is a parameter of a helper, once for each call of that helper."""
    if not (around and isinstance(code, ast.Name) and code.id in parameters(around)):
        yield Site(module, around, call.lineno)
        return
    for one, caller in module.calls:
        if called(one) == around.name and one is not call:
            yield Site(module, around, call.lineno, Site(module, caller, one.lineno), one)


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    value = part.value if isinstance(part, ast.FormattedValue) else part
    while isinstance(value, ast.Call):
        value = value.func
    name = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "…")
    return f"{{{name}}}"


def _assigned(name: str, node: ast.Assign) -> Iterator[ast.expr]:
    for target in node.targets:
        if isinstance(target, ast.Name) and target.id == name:
            yield node.value
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            for one, value in zip(target.elts, node.value.elts, strict=True):
                if isinstance(one, ast.Name) and one.id == name:
                    yield value
