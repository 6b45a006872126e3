"""Telling consumers: run a command or call a URL, at least once, with rotation and version id."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from keyturn.clock import iso
from keyturn.config.model import Notify
from keyturn.errors import Doubt, NotSent, Refused
from keyturn.process import run
from keyturn.secret import Bundle, Secret


@dataclass(frozen=True, kw_only=True, eq=False)
class NotifyRequest:
    """`event` is announce, quiesce or release; `until` the dead-man deadline of a drain (epoch s), None elsewhere."""

    event: str
    notify: Notify | None
    secret: str
    consumer: str
    rotation: str
    version: str
    number: int
    until: float | None = None
    bundle: Bundle | None = field(default=None, repr=False)

    def facts(self) -> dict[str, str]:
        """What a consumer is told; never a value."""
        told = {
            "event": self.event,
            "secret": self.secret,
            "consumer": self.consumer,
            "rotation": self.rotation,
            "version": self.version,
            "number": str(self.number),
        }
        return told if self.until is None else {**told, "until": iso(self.until)}


class Notifier:
    """Runs the commands and calls the URLs of consumers."""

    def __init__(self, resolve: Callable[[str], Secret]) -> None:
        self._resolve = resolve

    def notify(self, request: NotifyRequest) -> None:
        """Tell one consumer. Raises NotSent, Refused (it answered no) or Doubt."""
        if request.notify is None:
            return
        if request.notify.exec:
            self._run(request, request.notify)
        elif request.notify.url:
            _post(request, request.notify.url, request.notify.timeout_s)

    def _run(self, request: NotifyRequest, notify: Notify) -> None:
        told = {f"KEYTURN_{name.upper()}": text for name, text in request.facts().items()}
        declared = {name: self._resolve(reference).reveal() for name, reference in notify.env.items()}
        stdin = None
        if notify.stdin == "bundle" and request.bundle is not None:
            stdin = Secret(json.dumps(request.bundle.reveal()))
        finished = run(notify.exec or (), env={**declared, **told}, stdin=stdin, timeout_s=notify.timeout_s)
        if finished.code != 0:
            raise NotSent(f"{(notify.exec or ('',))[0]} ended with exit code {finished.code}", code="consumer-exit")


def _post(request: NotifyRequest, url: str, timeout_s: float) -> None:
    from keyturn.engine.effects.posting import post  # noqa: PLC0415 - asyncio is loaded only where a URL is called

    host = urlsplit(url).hostname
    try:
        status = post(url, request.facts(), timeout_s)
    except httpx.ConnectError as error:
        raise NotSent(f"{host} can not be reached: {type(error).__name__}", code="unreachable") from error
    except (httpx.HTTPError, TimeoutError) as error:
        raise Doubt(f"{host} did not answer in {timeout_s:g} s: {type(error).__name__}", code="no-answer") from error
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Doubt(f"{host} answered {status}", code=f"http-{status}")
    if not httpx.codes.is_success(status):
        raise Refused(f"{host} answered {status}", code=f"http-{status}")
