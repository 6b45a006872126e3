"""One secret with everything that acts on it, and what all secrets of a process share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn.config.model import Account, Consumer, ManagedSecret
from keyturn.model import Traits
from keyturn.plugins.overlap import Overlap
from keyturn.secret import Bundle


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundSink:
    """One place of one sink. `fields`: stored name to bundle field. `stages_empty`: as its `SinkTraits` say."""

    key: str
    sink: str
    plugin: str
    target: Any
    place: Any
    fields: Mapping[str, str]
    artefact: bool = False
    stages_empty: bool = True
    keep_previous: int = 1

    def stored(self, bundle: Bundle) -> Bundle:
        """The bundle as this place stores it; fields that are not there yet are left out."""
        return Bundle({name: bundle[source] for name, source in self.fields.items() if source in bundle})


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One configured secret, its provider account and its places. `options`: a digest of what is configured for it."""

    secret: ManagedSecret
    account: Account
    provider: Any
    traits: Traits
    sinks: tuple[BoundSink, ...]
    overlaps: Callable[[str], Overlap]
    options: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The secret's name."""
        return self.secret.name

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """Who reads the secret."""
        return self.secret.consumers

    @property
    def configured(self) -> frozenset[str]:
        """The keys of sinks and consumers that the configuration names."""
        return frozenset({sink.key for sink in self.sinks} | {one.name for one in self.consumers})

    def sink(self, key: str) -> BoundSink:
        """The place with this key."""
        return next(sink for sink in self.sinks if sink.key == key)
