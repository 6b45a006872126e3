"""A configuration, changed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from member.member import ENTITY, TOKEN, Member, member
from program import Folder, write_private

Change = Callable[[dict[str, Any]], object]

ACCOUNT, SECRET, DERIVED = "providers.sahamati", f"secrets.{ENTITY}", f"secrets.{TOKEN}"
FORCED = ("--force", "--reason", "test", "--yes")
ROTATE = ("rotate", ENTITY, *FORCED)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Member]:
    """A member that manages its entity secret; for a module that names it as its own."""
    with member(tmp_path / "member", secrets={TOKEN: None}) as built:
        built.begin()
        yield built


def configured(one: Folder, change: Change) -> None:
    """The configuration, changed by hand."""
    config = json.loads(one.config.read_text())
    change(config)
    write_private(one.config, json.dumps(config, indent=2))


def put(path: str, **changes: Any) -> Change:
    """Keys below the place that is named with dots; None takes a key away."""

    def change(config: dict[str, Any]) -> None:
        place = config
        for step in path.split("."):
            place = place.setdefault(step, {})
        place.update(changes)
        for name in [name for name, value in changes.items() if value is None]:
            del place[name]

    return change
