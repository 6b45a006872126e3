"""A configuration, changed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from member.member import ENTITY, TOKEN
from program import Folder, write_private

Change = Callable[[dict[str, Any]], object]

ACCOUNT, SECRET, DERIVED = "providers.sahamati", f"secrets.{ENTITY}", f"secrets.{TOKEN}"


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
