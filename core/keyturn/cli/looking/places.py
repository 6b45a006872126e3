"""What each configured place serves as far as the journal knows: nothing is asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.config import ManagedSecret
from keyturn.config.model import Binding


@dataclass(frozen=True, kw_only=True)
class Place:
    """One place of a secret. `serves` is a version's number; `why` is said of a promote that did not work.

    `state`: `published` (of the current version), `behind`, `failed` (tried in vain), `missing` (an artefact that never
    reached us); None without a current version.
    """

    key: str
    serves: int | None = None
    state: str | None = None
    why: str | None = None

    @property
    def line(self) -> str:
        """For people: which version was published here last."""
        if self.state == "missing":
            return f"{self.key}: {self.why}"
        version = "not published yet" if self.serves is None else f"version {self.serves}, as published"
        behind = "; behind" if self.serves is not None and self.state != "published" else ""
        return f"{self.key}: {version}{behind}{f': {self.why}' if self.why else ''}"

    def as_data(self) -> dict[str, Any]:
        """As one JSON object."""
        return {"place": self.key, "serves": self.serves, "state": self.state, "why": self.why}


def places(state: Mapping[str, Any], secret: ManagedSecret | None) -> tuple[Place, ...]:
    """The configured places of a secret whose summary row says `state`."""
    current = next((v for v in state.get("versions", ()) if v["state"] == "current"), None)
    return tuple(_place(binding, state, current) for binding in (secret.sinks if secret else ()))


def _place(binding: Binding, state: Mapping[str, Any], current: Mapping[str, Any] | None) -> Place:
    key, rotation = f"{binding.sink}:{binding.subject}", state.get("rotation")
    if current is None:
        return Place(key=key)
    lacks = sorted(set(current.get("lacks", ())) & set(binding.fields.values()))
    if lacks:
        return Place(key=key, state="missing", why=f"version {current['number']} has no {' and no '.join(lacks)}")
    if not rotation or rotation["to"] != current["id"]:
        return _adopted(key, current["number"], state)
    return _in_rotation(key, current["number"], _older(state, current), rotation)


def _adopted(key: str, current: int, state: Mapping[str, Any]) -> Place:
    """A place of a version that did not come by the latest rotation: published, or owed an adopted one."""
    if any(debt["kind"] == "publish" and debt["where"] == key for debt in state.get("debts", ())):
        return Place(key=key, state="behind")
    return Place(key=key, serves=current, state="published")


def _in_rotation(key: str, current: int, older: int | None, rotation: Mapping[str, Any]) -> Place:
    """A place that the latest rotation published to, or did not yet, or does not know."""
    if rotation["sinks"].get(key):
        return Place(key=key, serves=current, state="published")
    serves = older if key in rotation["sinks"] else None
    why = rotation.get("failed", {}).get(key)
    why = why and why.removeprefix(f"{key}: ")
    return Place(key=key, serves=serves, state="behind" if why is None else "failed", why=why)


def _older(state: Mapping[str, Any], current: Mapping[str, Any]) -> int | None:
    numbers = (v["number"] for v in state["versions"] if v["id"] != current["id"] and v["state"] == "previous")
    return max(numbers, default=None)
