"""Finding and reading the configuration: one file, or the `*.yaml` of one folder as if they were one."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from keyturn.config.problems import AS_MAP, SECTIONS, Mark, Path, Problems
from keyturn.config.yaml_nodes import Document, parse
from keyturn.errors import UsageError
from keyturn.references import Untrusted, read_trusted

BYTES_MAX = 4 * 1_048_576
FILES_MAX = 1_000
SYSTEM_PLACE = FilePath("/etc/keyturn/keyturn.yaml")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A configuration as written: data, places and the problems of reading it. Relative paths start at `folder`."""

    path: FilePath
    folder: FilePath
    data: Mapping[str, Any]
    problems: Problems

    @property
    def plugins(self) -> tuple[FilePath, ...]:
        """The single-file plugins it names: the registry wants them before `load`."""
        named = self.data.get("plugins", [])
        return tuple(self.folder / one for one in named if isinstance(one, str)) if isinstance(named, list) else ()


def locate(
    argument: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    folder: FilePath | None = None,
) -> FilePath:
    """Where the configuration is: the argument, `KEYTURN_CONFIG`, `./keyturn.yaml`, then /etc/keyturn/keyturn.yaml.

    Raises UsageError `config-missing`.
    """
    here = folder or FilePath.cwd()
    named = argument or environ.get("KEYTURN_CONFIG")
    places = [here / named] if named else [here / "keyturn.yaml", SYSTEM_PLACE]
    for place in places:
        if place.exists():
            return place
    raise UsageError(
        "config-missing",
        f"no configuration at {', '.join(map(str, places))}",
        hint="keyturn init writes one; --config PATH or KEYTURN_CONFIG names another place",
    )


def read(path: FilePath) -> Source:
    """Read a file or a folder. Raises UsageError `config-missing`, `config-mode` or `config-size`.

    What is wrong inside the files becomes problems.
    """
    whole = path.absolute()
    folder = whole if whole.is_dir() else whole.parent
    files = sorted(folder.glob("*.yaml")) if whole.is_dir() else [whole]
    if not files or len(files) > FILES_MAX:
        count = f"{len(files)} files"
        raise UsageError(
            "config-missing", f"{count} in folder {path}, expected 1 to {FILES_MAX}", hint="ls *.yaml there"
        )
    marks: dict[Path, Mark] = {}
    problems = Problems(marks=marks, file=str(path), folder=folder)
    documents = [parse(_content(file), _shown(file, path), problems) for file in files]
    return Source(path=path, folder=folder, data=_merge(documents, marks, problems), problems=problems)


def _shown(file: FilePath, path: FilePath) -> str:
    """The file as the operator would type it."""
    return str(path / file.name) if path.is_dir() else str(path)


def _content(file: FilePath) -> bytes:
    try:
        return read_trusted(file, bytes_max=BYTES_MAX)
    except Untrusted as error:
        if error.mode:
            hint = f"chmod go-w {shlex.quote(str(file))} (and its folder); its owner is root or who runs keyturn"
            raise UsageError("config-mode", f"refusing to read it: {error.why}", hint=hint, place=str(file)) from None
        code = "config-size" if "larger" in error.why else "config-missing"
        raise UsageError(code, f"can not read it: {error.why}", hint=f"ls -lL {file}", place=str(file)) from None


def _merge(documents: Sequence[Document], marks: dict[Path, Mark], problems: Problems) -> dict[str, Any]:
    """All files as one. Providers, sinks and secrets come together by name; anything else is written in one file."""
    merged: dict[str, Any] = {}
    for document in documents:
        for path, value in _pieces(document, problems):
            into = merged.setdefault(str(path[0]), {}) if len(path) > 1 else merged
            name = str(path[-1])
            if name not in into:
                into[name] = value
            elif path != ("keyturn",):
                message = f"{name} is also defined at {marks[path]}"
                problems.add("defined-twice", message, path, hint="keep one of them", mark=document.marks[path])
        for path, mark in document.marks.items():
            marks.setdefault(path, mark)
    return merged


def _pieces(document: Document, problems: Problems) -> Iterator[tuple[Path, Any]]:
    """What one file defines: whole top-level keys, or single names of the sections that come together."""
    if not isinstance(document.data, dict):
        problems.add("bad-value", "expected a map of keys and values", (), hint=AS_MAP)
        return
    for key, value in document.data.items():
        if key not in SECTIONS:
            yield (key,), value
        elif isinstance(value, dict):
            yield from (((key, name), inner) for name, inner in value.items())
        else:
            problems.add("bad-value", "expected a map of names", (key,), hint=AS_MAP, mark=document.marks[(key,)])
