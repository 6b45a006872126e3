"""A plugin's hands without an engine."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from keyturn.api import Bundle, Finished, NotSent, Secret
from keyturn.clock import Clock
from keyturn.http import HttpClient
from keyturn.testing.clock import FakeClock


class FakeContext:
    """`keyturn.api.Context` for tests: references from a dict, time from a clock, everything said is kept.

    HTTP is the real client. `run` stands in for a vendor's tool; without it `run` raises NotSent. Close it when done.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        references: Mapping[str, str] | None = None,
        run: Callable[[Sequence[str], Bundle, Secret | None], Finished] | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.references = dict(references or {})
        self.sealed: dict[str, list[Secret]] = {}
        self.notes: list[tuple[str, dict[str, str]]] = []
        self._clients: list[HttpClient] = []
        self._run = run

    def resolve(self, reference: str) -> Secret:
        """The value given for this reference. Raises NotSent where there is none."""
        if reference not in self.references:
            raise NotSent(f"{reference} does not resolve", code="reference-unresolved")
        return Secret(self.references[reference])

    def http(
        self,
        base_url: str,
        *,
        username: Secret | None = None,
        password: Secret | None = None,
        ca: Path | None = None,
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpClient:
        """The real client, on this context's clock."""
        client = HttpClient(
            base_url,
            now=self.now,
            seal=self.seal,
            username=username,
            password=password,
            ca=ca,
            proxy=proxy,
            headers=headers,
        )
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close every client that was handed out."""
        while self._clients:
            self._clients.pop().close()

    def run(
        self, argv: Sequence[str], *, files: Bundle | None = None, stdin: Secret | None = None, timeout_s: float = 60.0
    ) -> Finished:
        """What the given stand-in answers."""
        if self._run is None:
            raise NotSent("this test gave no child processes", code="no-run")
        del timeout_s
        return self._run(argv, files or Bundle(), stdin)

    def wait(self, check: Callable[[], bool], *, every_s: float, at_most_s: float) -> bool:
        """Poll on the clock."""
        ends_at = self.clock.monotonic() + at_most_s
        while not check():
            if self.clock.monotonic() >= ends_at or self.clock.wait(every_s):
                return False
        return True

    def fingerprint(self, value: str) -> str:
        """A keyed fingerprint; the same in every FakeContext."""
        return hmac.new(b"keyturn.testing", value.encode(), hashlib.sha256).hexdigest()[:32]

    def seal(self, attempt_id: str, raw: Secret) -> None:
        """Keep the raw answer under its attempt id."""
        self.sealed.setdefault(attempt_id, []).append(raw)

    def note(self, event: str, fields: Mapping[str, str]) -> None:
        """Keep the line."""
        self.notes.append((event, dict(fields)))

    def now(self) -> float:
        """Epoch seconds by the clock."""
        return self.clock.now()
