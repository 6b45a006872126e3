"""Option types that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click


class _NewFile(click.Path):
    """A path that may be looked at: one in a folder that is closed to us is a wrong command line, not a bug."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            path.lstat()
        except FileNotFoundError:
            pass
        except OSError as error:
            self.fail(f"{path}: {error.strerror}", param, ctx)
        return path


NEW_FILE = _NewFile(path_type=Path, dir_okay=False)
"""A file that the command writes."""


def words(known: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], frozenset[str]]:
    """A callback that reads words divided by commas and refuses the unknown ones."""

    def read(ctx: click.Context, param: click.Parameter, value: str) -> frozenset[str]:
        found = frozenset(word for word in value.split(",") if word)
        if found - set(known):
            raise click.BadParameter(f"expected some of {', '.join(known)}", ctx=ctx, param=param)
        return found

    return read
