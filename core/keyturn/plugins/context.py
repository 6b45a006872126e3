"""What Keyturn gives a plugin: references, HTTP, child processes, waiting, fingerprints, notes, time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from keyturn.secret import Bundle, Secret


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """One HTTP answer. `json` is None where the body is empty; the raw body may hold values: never print it."""

    status: int
    headers: Mapping[str, str]
    json: Any = field(repr=False)
    text: Secret = field(repr=False)


class Http(Protocol):
    """One small-pool client for one base URL. Never retries a call that changes something; never follows redirects."""

    def call(  # noqa: PLR0913 - one call, spelled out
        self,
        method: str,
        path: str,
        *,
        ok: Sequence[int] = (200,),
        mutates: bool,
        deadline_at: float,
        json: object | None = None,
        form: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        seal: str | None = None,
    ) -> Answer:
        """Send one request.

        `ok` lists the statuses handed back (a listed 4xx comes back as an Answer). No connection, or TLS trouble:
        NotSent. 5xx, 429, time-out, an answer cut short or not JSON: Doubt if it mutates, else NotSent. Any other 4xx
        or 3xx: Refused. With `seal` (an attempt id) the raw body is sealed before it is parsed.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """How a child process ended."""

    code: int
    out: Secret = field(repr=False)
    err: Secret = field(repr=False)


class Context(Protocol):
    """The plugin's hands. One per plugin instance; everything it returns is safe to keep for one run."""

    def resolve(self, reference: str) -> Secret:
        """The value behind `env:NAME`, `file:PATH`, `exec:COMMAND` or `SINK:PATH#FIELD`.

        Raises NotSent with the reference (never the value) where it does not resolve.
        """

    def http(
        self,
        base_url: str,
        *,
        username: Secret | None = None,
        password: Secret | None = None,
        ca: Path | None = None,
        proxy: str | None = None,
        local_address: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Http:
        """A client for one base URL; HTTP Basic when a user name is given. TLS is always verified.

        `local_address` is the address of this machine that connections are made from (unset: the system's choice).
        """

    def run(
        self, argv: Sequence[str], *, files: Bundle | None = None, stdin: Secret | None = None, timeout_s: float = 60.0
    ) -> Finished:
        """Run a child with an empty environment plus PATH.

        Each of `files` is written 0600 into a private folder, and `{name}` in argv is replaced by its path; the folder
        is removed afterwards.
        """

    def wait(self, check: Callable[[], bool], *, every_s: float, at_most_s: float) -> bool:
        """Poll until `check` is true. False when the time is over or the process was asked to stop."""

    def fingerprint(self, value: str) -> str:
        """The keyed fingerprint of a value, the same on every runner of this estate."""

    def seal(self, attempt_id: str, raw: Secret) -> None:
        """Seal a raw answer under its attempt id before it is parsed. Never fenced."""

    def note(self, event: str, fields: Mapping[str, str]) -> None:
        """A line for the operator and the journal: fixed text and plain fields, never a value."""

    def now(self) -> float:
        """Epoch seconds by the journal's clock."""
