"""A plugin's hands without an engine."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keyturn.api import Answer, Bundle, Finished, NotSent, Secret
from keyturn.clock import Clock
from keyturn.http import HttpClient
from keyturn.testing.clock import FakeClock


class _Client(HttpClient):
    """The real client on a line that can be cut. `admit` raises NotSent where it is."""

    def __init__(self, base_url: str, *, admit: Callable[[bool], None], **more: Any) -> None:
        super().__init__(base_url, **more)
        self._admit = admit

    def call(self, method: str, path: str, *, mutates: bool, **more: Any) -> Answer:
        """See `keyturn.api.Http.call`."""
        self._admit(mutates)
        return super().call(method, path, mutates=mutates, **more)


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
        self._cut_in = 0
        self._cut_changes_only = False

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
        local_address: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpClient:
        """The real client, on this context's clock."""
        client = _Client(
            base_url,
            admit=self._admit,
            now=self.now,
            seal=self.seal,
            username=username,
            password=password,
            ca=ca,
            proxy=proxy,
            local_address=local_address,
            headers=headers,
        )
        self._clients.append(client)
        return client

    def cut(self, nth: int = 1, *, changes_only: bool = False) -> None:
        """Let the nth coming HTTP call be NotSent. With `changes_only` those that change nothing do not count."""
        self._cut_in, self._cut_changes_only = nth, changes_only

    def _admit(self, mutates: bool) -> None:  # noqa: FBT001 - a callback
        if not self._cut_in or (self._cut_changes_only and not mutates):
            return
        self._cut_in -= 1
        if not self._cut_in:
            raise NotSent("the line is cut", code="unreachable")

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
