"""A configuration once read: plain frozen data. Times are seconds, paths absolute, values are references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.config.problems import ALL, ConfigProblem, refusal
from keyturn.plugins.hookspecs import Plugin
from keyturn.plugins.overlap import OverlapPolicy
from keyturn.schedule import RotatePolicy


@dataclass(frozen=True, kw_only=True)
class JournalSettings:
    """`kind` is `sqlite` (with `path`) or `postgresql` (with `url_ref`, a reference)."""

    kind: str
    path: Path | None = None
    url_ref: str | None = None


@dataclass(frozen=True, kw_only=True)
class EscrowSettings:
    """`identities` are references to age identities, the first one is used to seal; `recipients` are age recipients."""

    identities: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AlertSettings:
    """Where alerts go: exactly one of a command and a URL."""

    exec: tuple[str, ...] | None = None
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """At most so many rotations begin in one run; how long a call, a lease and a wait may take; seconds."""

    rotations_per_run: int = 20
    call_s: float = 60.0
    lease_s: float = 60.0
    patience_s: float = 300.0


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account at a vendor or in a sink. `kind` is the plugin's name, `options` the plugin's own type."""

    name: str
    kind: str
    plugin: Plugin
    options: Any


@dataclass(frozen=True, kw_only=True)
class Notify:
    """Tell a consumer: exactly one of a command and a URL. `stdin` is `bundle` where the command reads the value.

    `env` are references for the command's environment. `timeout_s` bounds one attempt.
    """

    exec: tuple[str, ...] | None = None
    url: str | None = None
    stdin: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """Whoever reads the secret. `acknowledge`: it has to confirm each version.

    `must_drain`: a rotation turns back where it could not be told to drain; else that is recorded, and it goes on.
    """

    name: str
    acknowledge: bool = False
    announce: Notify | None = None
    quiesce: Notify | None = None
    must_drain: bool = True
    release: Notify | None = None


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One place in one sink. `place` is the sink plugin's own type, `subject` its canonical name.

    `fields` are the sink's field names to the bundle's; every field but the artefacts unless written.
    """

    sink: str
    place: Any
    fields: Mapping[str, str]
    subject: str


@dataclass(frozen=True, kw_only=True)
class ManagedSecret:
    """One secret as configured. `target` is the provider plugin's own type; `subject` what it is at the vendor.

    `source` names the secret whose current value this one is derived from; it comes after that one without being told.
    """

    name: str
    provider: str
    target: Any
    rotate: RotatePolicy
    overlap: OverlapPolicy
    sinks: tuple[Binding, ...]
    consumers: tuple[Consumer, ...]
    subject: str
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class UsedReference:
    """A reference, and where it is written: `path` dotted, `at` step by step. `scope` is what a problem there stops."""

    text: str
    path: str
    scope: str
    at: tuple[str | int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that is configured.

    `secrets` holds those that may be used; `broken` those that may not, with the problems that stop them. Call
    `require_usable` first: where a problem stops everything, the other fields mean nothing.
    """

    path: Path
    folder: Path
    journal: JournalSettings
    escrow: EscrowSettings
    alerts: tuple[AlertSettings, ...] = ()
    limits: Limits = field(default_factory=Limits)
    plugins: tuple[Path, ...] = ()
    providers: Mapping[str, Account] = field(default_factory=dict)
    sinks: Mapping[str, Account] = field(default_factory=dict)
    secrets: Mapping[str, ManagedSecret] = field(default_factory=dict)
    broken: Mapping[str, tuple[ConfigProblem, ...]] = field(default_factory=dict)
    references: tuple[UsedReference, ...] = ()
    problems: tuple[ConfigProblem, ...] = ()

    def require_usable(self) -> None:
        """Raise UsageError `config-invalid`, listing every problem, where one of them stops everything."""
        if any(problem.scope == ALL for problem in self.problems):
            raise refusal(self.problems)

    def require(self, names: Iterable[str]) -> None:
        """Raise UsageError `config-invalid` with what stops these secrets, where something does."""
        stopping = {problem: None for name in names for problem in self.broken.get(name, ())}
        if stopping:
            raise refusal(stopping)
