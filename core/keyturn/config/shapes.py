"""What option types expect at a place: used for suggestions, strict scalars, references and relative paths."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, PlainValidator

from keyturn import options

Steps = tuple[str | int, ...]
INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")
REFERENCE_CHECKS = tuple(one.func for one in get_args(options.Reference)[1:])


@dataclass(frozen=True)
class Shape:
    """One arm of an annotation: a plain type and what was attached to it."""

    base: Any
    attached: tuple[Any, ...] = ()

    @property
    def converts(self) -> bool:
        """Whether the option's author reads the text himself."""
        return any(isinstance(one, BeforeValidator | PlainValidator) for one in self.attached)

    @property
    def is_reference(self) -> bool:
        """Whether a reference stands here."""
        return any(isinstance(one, AfterValidator) and one.func in REFERENCE_CHECKS for one in self.attached)

    @property
    def model(self) -> type[BaseModel] | None:
        """The option type, where it is one."""
        return self.base if isinstance(self.base, type) and issubclass(self.base, BaseModel) else None


def arms(annotation: Any, attached: tuple[Any, ...] = ()) -> Iterator[Shape]:
    """The plain types an annotation allows."""
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *more = get_args(annotation)
        yield from arms(base, (*attached, *more))
    elif origin in (Union, types.UnionType):
        for arm in get_args(annotation):
            yield from arms(arm, attached)
    else:
        yield Shape(annotation, attached)


def below(shape: Shape, step: str | int) -> tuple[Shape, ...]:
    """What may stand under one key, or at one position of a list."""
    # Under a map any key is as good as another, and in a list any position: that is what makes the cache small.
    return _below(shape, step if shape.model else type(step)())


@lru_cache(maxsize=4096)
def _below(shape: Shape, step: str | int) -> tuple[Shape, ...]:
    return tuple(_found_below(shape, step))


def _found_below(shape: Shape, step: str | int) -> Iterator[Shape]:
    if shape.model is not None:
        for name, info in shape.model.model_fields.items():
            if step in (name, info.alias):
                yield from arms(info.annotation, tuple(info.metadata))
        return
    inner = [one for one in get_args(shape.base) if one is not Ellipsis]
    if inner and isinstance(get_origin(shape.base), type):
        yield from arms(inner[-1] if isinstance(step, str) else inner[0])


def shapes_at(model: type[BaseModel], path: Steps) -> list[Shape]:
    """What may stand at this path of the model's data."""
    found = [Shape(model)]
    for step in path:
        found = [deeper for shape in found for deeper in below(shape, step)]
    return found


def known_keys(model: type[BaseModel], path: Steps) -> set[str]:
    """The keys that are known at this path."""
    models = (shape.model for shape in shapes_at(model, path))
    return {info.alias or name for one in models if one for name, info in one.model_fields.items()}


def texts(model: type[BaseModel], data: Any) -> Iterator[tuple[Steps, list[Shape], str]]:
    """Each scalar of the data with its path and what may stand there."""
    for path, text in scalars(data):
        yield path, shapes_at(model, path), text


def scalars(data: Any, path: Steps = ()) -> Iterator[tuple[Steps, str]]:
    """Each scalar of the data with its path."""
    if isinstance(data, str):
        yield path, data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from scalars(value, (*path, key))
    elif isinstance(data, list):
        for position, value in enumerate(data):
            yield from scalars(value, (*path, position))


def loose_scalars(model: type[BaseModel], data: Any) -> Iterator[tuple[Steps, str]]:
    """Texts that pydantic would read as a number or a truth value although they are not plainly one (`yes`, `012`)."""
    for path, shapes, text in texts(model, data):
        wanted = {shape.base for shape in shapes if shape.base is not type(None)}
        if not wanted or any(shape.converts for shape in shapes) or not wanted <= {bool, int, float}:
            continue
        if wanted == {bool} and text not in ("true", "false"):
            yield path, "expected true or false"
        elif wanted == {int} and not INTEGER.fullmatch(text):
            yield path, "expected a whole number such as 0 or 42"
        elif float in wanted and not NUMBER.fullmatch(text):
            yield path, "expected a number such as 0.5 or 42"


def references(model: type[BaseModel], data: Any) -> Iterator[tuple[Steps, str]]:
    """Each reference in the data."""
    for path, shapes, text in texts(model, data):
        if any(shape.is_reference for shape in shapes):
            yield path, text


def anchored(model: type[BaseModel], data: dict[str, Any], folder: FilePath) -> dict[str, Any]:
    """The data with relative paths, where the model wants paths, made relative to `folder`."""
    return dict(_anchored(data, [Shape(model)], folder))


def _anchored(data: Any, shapes: list[Shape], folder: FilePath) -> Any:
    if isinstance(data, str):
        return str(folder / data) if data and any(shape.base is FilePath for shape in shapes) else data
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    made = {
        step: _anchored(value, [b for shape in shapes for b in below(shape, step)], folder) for step, value in pairs
    }
    return made if isinstance(data, dict) else list(made.values())
