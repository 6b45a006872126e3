"""The connections of one account to the proxies behind a portal: one client each, made when it is needed."""

from __future__ import annotations

from pathlib import Path

from keyturn.api import Context, Http


class Lines:
    """One client per base URL, all of them behind the same proxy and with the same authority."""

    def __init__(self, context: Context, *, ca: Path | None, proxy: str | None) -> None:
        self._context, self._ca, self._proxy = context, ca, proxy
        self._lines: dict[str, Http] = {}

    def to(self, url: str) -> Http:
        """The client for this base URL."""
        if url not in self._lines:
            self._lines[url] = self._context.http(url, ca=self._ca, proxy=self._proxy)
        return self._lines[url]
