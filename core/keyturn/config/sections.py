"""The configuration's own option types, as written in the file. Plugins bring the types of their accounts and targets.

The descriptions are the JSON Schema's and the reference page's.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from keyturn.options import Options, Reference, Seconds, Url, seconds
from keyturn.windows import Window, check_zone, parse_window

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)*")
ACCOUNT = re.compile(r"[a-z0-9][a-z0-9_-]*")
NAME_LENGTH_MAX = 200
CRON_FIELDS = 5
CRON_SAMPLE = datetime(2024, 1, 1, tzinfo=UTC)
YEAR_S = 366 * 86_400.0
ROTATE = "when it is rotated (never unless set)"
OVERLAP = "how old and new live side by side"
SHARE = re.compile(r"(\d{1,2}(?:\.\d+)?)%")
RESERVED = frozenset({"env", "file", "exec"})
"""Account names that a reference could not tell from its own forms."""


def name(text: str) -> str:
    """A secret's or a consumer's name: no part of it can leave a folder. Raises ValueError."""
    if not NAME.fullmatch(text) or ".." in text or len(text) > NAME_LENGTH_MAX:
        message = "expected a name of a-z 0-9 . _ - in parts divided by /, without .., at most 200 characters"
        raise ValueError(message)
    return text


def account_name(text: str) -> str:
    """An account's name, as references write it. Raises ValueError."""
    if not ACCOUNT.fullmatch(text) or len(text) > NAME_LENGTH_MAX or text in RESERVED:
        message = "expected a name of a-z 0-9 _ - other than env, file and exec"
        raise ValueError(message)
    return text


def _iso_date(value: object) -> date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    message = "expected a date such as 2026-01-04"
    raise ValueError(message)


def _cron(text: str) -> str:
    try:
        if len(text.split()) == CRON_FIELDS:
            CronSim(text, CRON_SAMPLE)
            return text
    except CronSimError:
        pass
    message = "expected five cron fields: minute, hour, day of month, month, day of week"
    raise ValueError(message)


def _argument(text: str) -> str:
    if "\0" in text:
        message = "expected a text without NUL characters"
        raise ValueError(message)
    return text


def _recipient(text: str) -> str:
    if not text.startswith("age1"):
        message = "expected an age recipient, which begins with age1"
        raise ValueError(message)
    return text


def _environment_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        message = "expected the name of an environment variable"
        raise ValueError(message)
    return text


def _window(value: object) -> Window:
    if isinstance(value, str):
        return parse_window(value)
    message = 'expected a window such as "Sun 02:00-04:00 Europe/Berlin"'
    raise ValueError(message)


@dataclass(frozen=True)
class Share:
    """A part of a whole, between 0 and 1."""

    part: float


def lead(value: object) -> float | Share:
    """`20d` as seconds, `50%` as a share. Raises ValueError."""
    if isinstance(value, Share) or not str(value).endswith("%"):
        return value if isinstance(value, Share) else _length(value)
    match = SHARE.fullmatch(str(value))
    part = float(match.group(1)) / 100 if match else 0.0
    if part > 0:
        return Share(part)
    message = "expected a share of its life between 0% and 100%, such as 50%"
    raise ValueError(message)


def _length(value: object) -> float:
    with suppress(ValueError):
        if (length_s := seconds(value)) > 0:
            return length_s
    message = "expected a duration such as 20d, or a share of its life such as 50%"
    raise ValueError(message)


Argv = Annotated[tuple[Annotated[str, AfterValidator(_argument)], ...], Field(min_length=1)]
Name = Annotated[str, AfterValidator(name)]
Positive = Annotated[Seconds, Field(gt=0)]
WindowText = Annotated[Window, BeforeValidator(_window)]


class JournalSection(Options):
    """Where the journal is."""

    kind: Literal["sqlite", "postgresql"] = Field(description="sqlite: one machine; postgresql: many")
    path: Path | None = Field(None, description="the database file of kind sqlite")
    url: Reference | None = Field(None, description="reference to the connection URL of kind postgresql")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.kind == "sqlite" and (self.path is None or self.url is not None):
            message = "kind sqlite takes path: and nothing else"
            raise ValueError(message)
        if self.kind == "postgresql" and (self.url is None or self.path is not None):
            message = "kind postgresql takes url: and nothing else"
            raise ValueError(message)
        return self


class EscrowSection(Options):
    """Who can open the sealed values."""

    identities: Annotated[tuple[Reference, ...], Field(min_length=1)] = Field(
        description="references to age identities of the runner"
    )
    recipients: tuple[Annotated[str, AfterValidator(_recipient)], ...] = Field(
        (), description="further age recipients, such as an offline one"
    )


class CallSection(Options):
    """A command or a URL."""

    exec: Argv | None = Field(None, description="the command and its arguments; no shell")
    url: Url | None = Field(None, description="the URL that is called with POST")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.exec is None) == (self.url is None):
            message = "expected exactly one of exec: and url:"
            raise ValueError(message)
        return self


class NotifySection(CallSection):
    """How to tell a consumer."""

    stdin: Literal["bundle"] | None = Field(None, description="bundle: the command reads the value as JSON")
    env: dict[Annotated[str, AfterValidator(_environment_name)], Reference] = Field(
        default_factory=dict, description="environment variables of the command, as references"
    )
    timeout: Positive = Field(60.0, description="how long one attempt may take")

    @model_validator(mode="after")
    def _for_commands(self) -> Self:
        if self.exec is None and (self.stdin is not None or self.env):
            message = "stdin: and env: belong to exec:"
            raise ValueError(message)
        return self


class LimitsSection(Options):
    """Bounds of one run."""

    rotations_per_run: int = Field(20, ge=1, le=100_000, description="how many rotations may begin in one run")
    call: Annotated[Seconds, Field(ge=1, le=600)] = Field(
        60.0, description="how long one call to a vendor or a sink may take before it counts as lost"
    )
    lease: Annotated[Seconds, Field(ge=1, le=3600)] = Field(
        60.0, description="how long a runner that went silent keeps a secret from the others"
    )
    patience: Annotated[Seconds, Field(ge=0, le=86_400)] = Field(
        300.0, description="the longest a command itself waits; anything longer is left to the next run"
    )


class RotateSection(Options):
    """When to rotate. Nothing set: never."""

    every: Annotated[Seconds, Field(ge=60, le=20 * YEAR_S)] | None = Field(
        None, description="the cadence, counted on the calendar from `from`"
    )
    from_: Annotated[date, BeforeValidator(_iso_date)] | None = Field(
        None, alias="from", description="the first date of the cadence (2024-01-01 unless set)"
    )
    cron: Annotated[str, AfterValidator(_cron)] | None = Field(None, description="five cron fields, in place of every")
    timezone: Annotated[str, AfterValidator(check_zone)] | None = Field(
        None, description="the zone of cron and from (the window's zone, else UTC, unless set)"
    )
    window: WindowText | None = Field(None, description="when a rotation may start: Sun 02:00-04:00 Europe/Berlin")
    before_expiry: Annotated[float | Share, BeforeValidator(lead)] | None = Field(
        None,
        description="so long before the vendor's expiry, or when this share of its life is left: 20d, 50%; "
        "outranks the window",
    )
    after: tuple[Name, ...] = Field((), description="also after these secrets were rotated")
    jitter: Annotated[Seconds, Field(ge=0, le=YEAR_S)] = Field(0.0, description="spread the start over this time")
    min_age: Annotated[Seconds, Field(ge=0, le=YEAR_S)] = Field(0.0, description="not before a version is this old")
    keep_previous: int = Field(1, ge=0, le=100, description="earlier versions that stay readable in sinks")

    @model_validator(mode="after")
    def _one_calendar(self) -> Self:
        if self.every is not None and self.cron is not None:
            message = "expected every: or cron:, not both"
            raise ValueError(message)
        if self.from_ is not None and self.every is None:
            message = "from: belongs to every:"
            raise ValueError(message)
        return self


class OverlapSection(Options):
    """How old and new live side by side."""

    strategy: str = Field("auto", description="auto, or the name of an overlap plugin")
    hold: Annotated[Seconds, Field(ge=0)] | None = Field(None, description="how long both serve")
    hold_max: Annotated[Seconds, Field(ge=0)] | None = Field(None, description="when a hold that can not end alerts")
    retire_window: WindowText | None = Field(None, description="when the old version may be retired")
    accept_outage: Annotated[Seconds, Field(ge=0)] | None = Field(None, description="the longest outage accepted")
    bridge: tuple[Name, ...] = Field(
        (), description="secrets derived from this one, renewed with its old value just before that one ends"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.hold is not None and self.hold_max is not None and self.hold_max < self.hold:
            message = "expected hold_max: not shorter than hold:"
            raise ValueError(message)
        return self


class ConsumerSection(Options):
    """Whoever reads the secret."""

    name: Name = Field(description="its name, unique in the secret")
    acknowledge: Literal["required"] | None = Field(None, description="required: confirms each version")
    announce: NotifySection | None = Field(None, description="tell it of a new version")
    quiesce: NotifySection | None = Field(None, description="tell it to drain before the old version dies")
    drain: Literal["required", "best-effort"] = Field(
        "required", description="required: no rotation while it can not be told to drain; best-effort: without it"
    )
    release: NotifySection | None = Field(None, description="tell it to go on")


class SecretSection(Options):
    """One secret. `target` and each sink's place are checked by the plugins' own types."""

    provider: str = Field(description="the account under providers:")
    target: dict[str, Any] = Field(default_factory=dict, description="what to rotate there: the provider's options")
    rotate: RotateSection = Field(default_factory=RotateSection.model_construct, description=ROTATE)
    overlap: OverlapSection = Field(default_factory=OverlapSection.model_construct, description=OVERLAP)
    sinks: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)] = Field(description="where it is published")
    consumers: tuple[ConsumerSection, ...] = Field((), description="who reads it")

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [consumer.name for consumer in self.consumers]
        if len(set(names)) != len(names):
            message = "expected each consumer's name once"
            raise ValueError(message)
        return self


class DefaultsSection(Options):
    """What holds for every secret that does not say otherwise."""

    rotate: dict[str, Any] = Field(default_factory=dict, description=ROTATE)
    overlap: dict[str, Any] = Field(default_factory=dict, description=OVERLAP)


class RootSection(Options):
    """The whole configuration."""

    keyturn: Literal["1"] = Field(description="the version of this format")
    journal: JournalSection = Field(description="where the journal is")
    escrow: EscrowSection = Field(description="who can open the sealed values")
    alerts: tuple[CallSection, ...] = Field((), description="where alerts go")
    limits: LimitsSection = Field(default_factory=LimitsSection.model_construct, description="bounds of one run")
    plugins: tuple[Path, ...] = Field((), description="single files that are plugins")
    providers: dict[str, dict[str, Any]] = Field(default_factory=dict, description="accounts at vendors, by name")
    sinks: dict[str, dict[str, Any]] = Field(default_factory=dict, description="accounts in sinks, by name")
    defaults: DefaultsSection = Field(
        default_factory=DefaultsSection.model_construct, description="what holds where a secret does not say otherwise"
    )
    secrets: dict[str, dict[str, Any]] = Field(default_factory=dict, description="secrets, by name")
