"""Strict YAML: maps, lists and texts, and where each of them stands.

Built from parser events, so that nothing is guessed (`012345`, `no`, `1e3` are texts), nothing is shared (aliases could
blow up), no tag makes an object, and no key is read twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from keyturn.config.problems import Mark, Path, Problems

DEPTH_MAX = 32


@dataclass(frozen=True, kw_only=True)
class Document:
    """One file's data (maps, lists, texts only), and the place of each key and list entry."""

    data: Any
    marks: Mapping[Path, Mark]


class _Stop(Exception):
    """The rest of the file can not be understood."""

    def __init__(self, code: str, message: str, mark: Mark, *, hint: str) -> None:
        super().__init__(message)
        self.code, self.message, self.mark, self.hint = code, message, mark, hint


@dataclass
class _Builder:
    file: str
    events: Iterator[Any]
    problems: Problems
    marks: dict[Path, Mark] = field(default_factory=dict)

    def value(self, event: Any, path: Path) -> Any:
        """The data that begins with this event."""
        self._refuse_magic(event)
        if len(path) > DEPTH_MAX:
            raise _Stop("yaml-depth", f"more than {DEPTH_MAX} levels", self.mark(event), hint="nest it less deeply")
        if isinstance(event, yaml.ScalarEvent):
            return event.value
        return self._map(path) if isinstance(event, yaml.MappingStartEvent) else self._list(path)

    def _refuse_magic(self, event: Any) -> None:
        mark = self.mark(event)
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise _Stop("yaml-alias", "anchors and aliases are not taken", mark, hint="write it out, or use defaults:")
        if event.tag:
            raise _Stop("yaml-tag", "tags are not taken", mark, hint="remove what begins with !")

    def _map(self, path: Path) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event)
            inner = (*path, key)
            if key in made:
                self._duplicate(inner, self.mark(event))
            else:
                self.marks[inner] = self.mark(event)
            value = self.value(next(self.events), inner)
            made.setdefault(key, value)
        return made

    def _key(self, event: Any) -> str:
        self._refuse_magic(event)
        if not isinstance(event, yaml.ScalarEvent):
            raise _Stop("yaml-syntax", "a key is a text", self.mark(event), hint="write the key as a plain text")
        return str(event.value)

    def _duplicate(self, path: Path, mark: Mark) -> None:
        first = self.marks[path]
        message = f"{path[-1]} was written before, at {first}"
        self.problems.add("duplicate-key", message, path, hint="keep one of them", mark=mark)

    def _list(self, path: Path) -> list[Any]:
        made: list[Any] = []
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            inner = (*path, len(made))
            if not isinstance(event, yaml.AliasEvent):
                self.marks[inner] = self.mark(event)
            made.append(self.value(event, inner))
        return made

    def mark(self, event: Any) -> Mark:
        return Mark(file=self.file, line=event.start_mark.line + 1, column=event.start_mark.column + 1)


def parse(content: bytes, file: str, problems: Problems) -> Document:
    """One YAML document. What is wrong with it is added to `problems`; the data is then empty."""
    builder = _Builder(file, iter(()), problems)
    try:
        builder.events = yaml.parse(content.decode(), Loader=yaml.CSafeLoader)
        return Document(data=_only_document(builder), marks=builder.marks)
    except _Stop as stop:
        code, message, mark, hint = stop.code, stop.message, stop.mark, stop.hint
    except UnicodeDecodeError:
        code, message, hint = "yaml-syntax", "the file is not UTF-8", "save it as UTF-8"
        mark = Mark(file=file, line=1, column=1)
    except yaml.YAMLError as error:
        code, message, hint = "yaml-syntax", _what(error), "quote texts that hold special characters"
        mark = _where(error, file)
    problems.add(code, message, (), hint=hint, mark=mark)
    return Document(data={}, marks=builder.marks)


def _only_document(builder: _Builder) -> Any:
    data: Any = {}
    documents = 0
    for event in builder.events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _Stop("yaml-syntax", "a file holds one document", builder.mark(event), hint="remove the line ---")
            data = builder.value(next(builder.events), ())
    return data


def _what(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or "not YAML")


def _where(error: yaml.YAMLError, file: str) -> Mark:
    mark = getattr(error, "problem_mark", None)
    return Mark(file=file, line=mark.line + 1, column=mark.column + 1) if mark else Mark(file=file, line=1, column=1)
