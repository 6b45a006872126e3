"""Option types that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

NEW_FILE = click.Path(path_type=Path, dir_okay=False)
"""A file that the command writes."""


def words(known: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], frozenset[str]]:
    """A callback that reads words divided by commas and refuses the unknown ones."""

    def read(ctx: click.Context, param: click.Parameter, value: str) -> frozenset[str]:
        found = frozenset(word for word in value.split(",") if word)
        if found - set(known):
            raise click.BadParameter(f"expected some of {', '.join(known)}", ctx=ctx, param=param)
        return found

    return read
