"""What a rotation goes by: fixed in the journal at its start, so that a changed configuration touches the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from keyturn.model import Field, Maker, Rate, Recipe, Repeat, Revoke, Slot, Traits
from keyturn.steps import Step


@dataclass(frozen=True, kw_only=True)
class FrozenSink:
    """One place to publish to. `fields`: stored name to bundle field. `empty`: nothing was there at the start."""

    key: str
    sink: str
    fields: Mapping[str, str]
    artefact: bool = False
    empty: bool = False
    keep_previous: int = 1


@dataclass(frozen=True, kw_only=True)
class FrozenConsumer:
    """One consumer and what it takes part in."""

    name: str
    acknowledge: bool = False
    announce: bool = False
    quiesce: bool = False
    must_drain: bool = True
    release: bool = False


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """Everything a rotation needs to know of plan and policy. Times in seconds. `bridge`: as the choices have it.

    `excused`: endpoints of which nobody expects that they accept the version before.
    """

    provider: str
    overlap: str
    why: str
    subject: str
    steps: tuple[Step, ...]
    endpoints: tuple[str, ...]
    sinks: tuple[FrozenSink, ...]
    traits: Traits
    consumers: tuple[FrozenConsumer, ...] = ()
    hold_s: float = 0.0
    hold_max_s: float | None = None
    retire_window: str | None = None
    outage_s: float = 0.0
    bridge: tuple[str, ...] = ()
    excused: tuple[str, ...] = ()
    options: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """The frozen plan as JSON-ready data."""
        return asdict(self)

    def without(self, dropped: frozenset[str]) -> Frozen:
        """This plan without the endpoints, sinks and consumers that an operator dropped."""
        if not dropped:
            return self
        return replace(
            self,
            endpoints=tuple(e for e in self.endpoints if e not in dropped),
            sinks=tuple(s for s in self.sinks if s.key not in dropped),
            consumers=tuple(c for c in self.consumers if c.name not in dropped),
        )


def frozen_from(data: Mapping[str, Any]) -> Frozen:
    """The frozen plan as it was stored; fields of a newer writer are left out."""
    known = _known(Frozen, data)
    return Frozen(
        **{
            **known,
            "steps": tuple(Step(step) for step in data["steps"]),
            "endpoints": tuple(data["endpoints"]),
            "bridge": tuple(data.get("bridge", ())),
            "excused": tuple(data.get("excused", ())),
            "sinks": tuple(FrozenSink(**_known(FrozenSink, sink)) for sink in data["sinks"]),
            "consumers": tuple(FrozenConsumer(**_known(FrozenConsumer, one)) for one in data["consumers"]),
            "traits": _traits_from(data["traits"]),
        }
    )


def _traits_from(data: Mapping[str, Any]) -> Traits:
    return Traits(
        **{
            **_known(Traits, data),
            "fields": tuple(_field_from(one) for one in data["fields"]),
            "slots": tuple(Slot(**_known(Slot, one)) for one in data["slots"]),
            "rates": tuple(Rate(**_known(Rate, one)) for one in data["rates"]),
            "reset_by": tuple(data.get("reset_by", ())),
            "repeat": Repeat(data["repeat"]),
            "revoke": Revoke(data["revoke"]),
        }
    )


def _field_from(data: Mapping[str, Any]) -> Field:
    recipe = Recipe(**_known(Recipe, data["recipe"])) if data.get("recipe") else None
    return Field(**{**_known(Field, data), "by": Maker(data["by"]), "recipe": recipe})


def _known(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in data.items() if name in names}
