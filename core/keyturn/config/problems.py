"""What is wrong with a configuration: each problem with its place, and how far it reaches."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from keyturn.config.shapes import known_keys, loose_scalars
from keyturn.errors import UsageError

Path = tuple[str | int, ...]
"""Keys and list positions from the top of the configuration."""

Model = TypeVar("Model", bound=BaseModel)

ALL = "all"
SECTIONS = {"providers": "provider", "sinks": "sink", "secrets": "secret"}
VALUE_ERROR = "Value error, "
SHOWN_MAX = 100
AS_MAP = "write its keys below it, each as key: value"
AS_LIST = "write it in brackets: [one] or [one, another]"
AS_SCHEMA = "keyturn schema shows what it may be"
RENAME = "write another name"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True)
class ConfigProblem:
    """One error in the configuration. `path` is dotted.

    `scope` is what it stops: `all`, `provider:NAME` or `sink:NAME` (all that uses the account), or `secret:NAME`.
    """

    code: str
    message: str
    file: str
    line: int
    column: int
    path: str
    scope: str
    hint: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {where}{self.message}"


def scope_of(path: Path) -> str:
    """What an error at this path stops."""
    section = SECTIONS.get(str(path[0])) if path else None
    return f"{section}:{path[1]}" if section and len(path) > 1 else ALL


def dotted(path: Path) -> str:
    """A path as people write it: `secrets.gateway/sideband.sinks[0].path`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:SHOWN_MAX]}" for step in path)
    return text.removeprefix(".")


def suggestion(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"known: {', '.join(names)}" if names else "nothing is configured there"


@dataclass(frozen=True)
class Problems:
    """Collects problems. `marks` says where each path stands; `folder` is where relative paths start."""

    marks: Mapping[Path, Mark]
    file: str
    folder: FilePath
    found: list[ConfigProblem] = field(default_factory=list)

    def add(self, code: str, message: str, path: Path, *, hint: str, mark: Mark | None = None) -> None:
        """One more, at `mark` or the nearest known place; it stops what its path belongs to."""
        mark = mark or self.mark(path)
        self.found.append(
            ConfigProblem(
                code=code,
                message=message,
                file=mark.file,
                line=mark.line,
                column=mark.column,
                path=dotted(path),
                scope=scope_of(path),
                hint=hint,
            )
        )

    def mark(self, path: Path) -> Mark:
        """Where this path, or the nearest one around it, stands."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path) or Mark(file=self.file, line=1, column=1)

    def stopping(self, scope: str) -> tuple[ConfigProblem, ...]:
        """Those that stop this scope directly."""
        return tuple(problem for problem in self.found if problem.scope == scope)

    def validate(self, model: type[Model], data: Any, path: Path) -> Model | None:
        """The data as this model, or None with everything that is wrong with it added."""
        if not isinstance(data, dict):
            self.add("bad-value", "expected a map of keys and values", path, hint=AS_MAP)
            return None
        before = len(self.found)
        seen: set[Path] = set()
        for inner, message in loose_scalars(model, data):
            seen.add(inner)
            self.add("bad-value", message, path + inner, hint=AS_SCHEMA)
        try:
            made = model.model_validate(data, context={"folder": self.folder})
        except ValidationError as error:
            for one in error.errors(include_url=False, include_input=False, include_context=False):
                inner = data_path(one["loc"], data)
                if inner not in seen:
                    self._translate(one, model, inner, path)
            return None
        except Exception as error:  # noqa: BLE001 - a plugin's validator may raise anything
            message = f"its options can not be checked: {type(error).__name__}"
            self.add("plugin-broken", message, path, hint="tell the plugin's author; keyturn plugins names the plugin")
            return None
        return made if len(self.found) == before else None

    def _translate(self, error: ErrorDetails, model: type[BaseModel], inner: Path, path: Path) -> None:
        """One error of pydantic in our words, without the input."""
        if error["type"] == "extra_forbidden":
            key = str(inner[-1])[:SHOWN_MAX]
            self.add(
                "unknown-key", f"unknown key {key}", path + inner, hint=suggestion(key, known_keys(model, inner[:-1]))
            )
        elif error["type"] == "missing":
            key = str(error["loc"][-1])
            self.add("missing-key", f"{key} is missing", path + inner, hint=f"add {key}:")
        elif error["type"] in ("tuple_type", "list_type"):
            self.add("bad-value", "expected a list", path + inner, hint=AS_LIST)
        else:
            text = error["msg"].removeprefix(VALUE_ERROR)
            self.add("bad-value", text[:1].lower() + text[1:], path + inner, hint=AS_SCHEMA)


def data_path(loc: Path, data: Any) -> Path:
    """The part of a pydantic location that exists in the data (it also names union arms and the like)."""
    path: list[str | int] = []
    for step in loc:
        inner = dict(enumerate(data)) if isinstance(data, list) else data
        if isinstance(inner, dict) and step in inner:
            data = inner[step]
            path.append(step)
    return tuple(path)


def refusal(problems: Iterable[ConfigProblem]) -> UsageError:
    """The error that shows all of these problems."""
    listed = tuple(problems)
    lines = [f"{one} ({one.hint})" for one in listed]
    noun = "problem" if len(listed) == 1 else "problems"
    return UsageError(
        "config-invalid",
        "\n".join((f"the configuration has {len(listed)} {noun}", *lines)),
        hint="correct the lines named above, then: keyturn check",
        fields={"count": str(len(listed)), "codes": ",".join(sorted({one.code for one in listed}))},
    )
