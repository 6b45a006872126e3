"""HTTP for plugins: one small-pool client per base URL, and one rule for what each failure means.

What happened                                     raised                                code
the request could not be built                    NotSent                               unsendable
no connection, DNS, proxy, TLS                    NotSent                               unreachable, tls-unverified
time-out, cut, 5xx, 429, unlisted 2xx, not JSON   Doubt if it mutates, else NotSent     timeout, cut, http-NNN, not-json
any other status that is not listed               Refused                               http-NNN
"""

from __future__ import annotations

import json as jsonlib
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx

from keyturn.errors import Doubt, KeyturnError, NotSent, PluginError, Refused
from keyturn.files import check_private
from keyturn.plugins.context import Answer
from keyturn.redact import one_line
from keyturn.secret import Secret

for _name in ("httpx", "httpcore"):
    # Below WARNING they print URLs and header lists, which may hold values.
    logging.getLogger(_name).setLevel(logging.WARNING)

NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
"""What httpx raises before the first byte of a request has left this machine for its target."""

UNSENDABLE = (httpx.InvalidURL, TypeError, ValueError)
"""What building a request raises (UnicodeError is one). Their texts may quote a header, so they are dropped."""

DETAIL_CHARS_MAX = 1000


@dataclass(frozen=True, kw_only=True)
class HttpLimits:
    """The bounds of every call. `deadline_at` shortens the times further."""

    connect_s_max: float = 5.0
    read_s_max: float = 15.0
    body_bytes_max: int = 1_048_576
    connections_max: int = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class _Received:
    """What came back before the exchange ended. `cut` is None when it is all there."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: _Failure | None = None


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """Why an exchange broke off: `sent` says whether the request may have reached its target."""

    code: str
    why: str
    sent: bool


def ssl_context(ca: Path | None) -> ssl.SSLContext:
    """The process's one context for this CA file (None: the machine's trust store).

    Raises NotSent, code `ca-unusable`, where the file can not be read, holds no certificate or is open to others.
    """
    if ca is None:
        return _ssl_context(None, 0)
    try:
        found = ca.stat()
        check_private(ca, found, secret=False)
        return _ssl_context(ca, found.st_mtime_ns)
    except OSError as error:  # ssl.SSLError is one
        raise NotSent(f"the CA file {ca} is not usable: {error.strerror}", code="ca-unusable") from error
    except KeyturnError as error:
        raise NotSent(f"the CA file {ca} is not usable: {error.message}", code="ca-unusable") from error


@lru_cache(maxsize=32)
def _ssl_context(ca: Path | None, _changed_ns: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


class HttpClient:
    """The `Http` of the plugin context: synchronous, TLS always verified, redirects never followed, never a retry.

    `now` gives epoch seconds and is what deadlines are compared with. `seal` takes an attempt id and a raw body.
    No cookie is kept: calls share nothing but the connections. Environment proxies are not trusted; `proxy` is the only
    way to one. `local_address` is the address of this machine that connections are made from.
    """

    def __init__(  # noqa: PLR0913 - a client spelled out; all but the URL have names
        self,
        base_url: str,
        *,
        now: Callable[[], float],
        seal: Callable[[str, Secret], None],
        username: Secret | None = None,
        password: Secret | None = None,
        ca: Path | None = None,
        proxy: str | None = None,
        local_address: str | None = None,
        headers: Mapping[str, str] | None = None,
        limits: HttpLimits | None = None,
    ) -> None:
        self._now, self._seal, self._limits = now, seal, limits or HttpLimits()
        self._place = httpx.URL(base_url).netloc.decode()
        self._client = httpx.Client(
            base_url=base_url,
            transport=httpx.HTTPTransport(
                verify=ssl_context(ca),
                proxy=proxy,
                local_address=local_address,
                limits=httpx.Limits(max_connections=self._limits.connections_max),
            ),
            auth=_basic(username, password),
            cookies=_no_cookies(),
            headers={"accept": "application/json", "accept-encoding": "identity", **(headers or {})},
            follow_redirects=False,
            trust_env=False,
        )

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def call(  # noqa: PLR0913 - the Http protocol's one call
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
        """Send one request; see `keyturn.plugins.context.Http.call`."""
        built = self._build(method, path, json=json, data=form, params=params, headers=headers, deadline_at=deadline_at)
        received = self._exchange(built, deadline_at) if isinstance(built, httpx.Request) else built
        if isinstance(received, _Received) and seal is not None and received.body:
            self._seal(seal, Secret(received.body.decode(errors="replace")))
        judged = judge(received, ok=ok, mutates=mutates, what=f"{method} {path} at {self._place}")
        if isinstance(judged, PluginError):
            # Raised here and not where httpx raised, whose exceptions carry the request and so its headers.
            raise judged
        return judged

    def _build(self, method: str, path: str, *, deadline_at: float, **parts: Any) -> httpx.Request | _Failure:
        left_s = deadline_at - self._now()
        if left_s <= 0:
            return _Failure(code="deadline-passed", why="no time was left to send it", sent=False)
        read_s = min(self._limits.read_s_max, left_s)
        timeout = httpx.Timeout(read_s, connect=min(self._limits.connect_s_max, left_s))
        try:
            return self._client.build_request(method, path, timeout=timeout, **parts)
        except UNSENDABLE as error:
            return _Failure(
                code="unsendable", why=f"it can not be written as HTTP ({type(error).__name__})", sent=False
            )

    def _exchange(self, request: httpx.Request, deadline_at: float) -> _Received | _Failure:
        try:
            response = self._client.send(request, stream=True)
        except (httpx.HTTPError, UnicodeError) as error:
            return _failure(error)
        try:
            return self._read(response, deadline_at)
        finally:
            response.close()

    def _read(self, response: httpx.Response, deadline_at: float) -> _Received:
        body, cut = bytearray(), None
        try:
            for chunk in response.iter_bytes():
                body += chunk
                cut = self._too_much(len(body), deadline_at)
                if cut:
                    break
        except (httpx.HTTPError, httpx.StreamError) as error:
            cut = _failure(error)
        bounded = bytes(body[: self._limits.body_bytes_max])
        return _Received(status=response.status_code, headers=dict(response.headers), body=bounded, cut=cut)

    def _too_much(self, size: int, deadline_at: float) -> _Failure | None:
        if size > self._limits.body_bytes_max:
            why = f"the answer is longer than {self._limits.body_bytes_max} bytes"
            return _Failure(code="answer-too-long", why=why, sent=True)
        if self._now() >= deadline_at:
            return _Failure(code="timeout", why="the answer was not complete in time", sent=True)
        return None


def judge(
    received: _Received | _Failure, *, ok: Sequence[int], mutates: bool, what: str
) -> Answer | NotSent | Refused | Doubt:
    """What one exchange means, by the table at the top. Pure."""
    unsure = Doubt if mutates else NotSent
    if isinstance(received, _Failure):
        return (unsure if received.sent else NotSent)(f"{what}: {received.why}", code=received.code)
    if received.cut:
        return unsure(f"{what}: {received.cut.why}", code=received.cut.code)
    status, code = received.status, f"http-{received.status}"
    parsed, is_json = _parse(received.body)
    if status in ok:
        if httpx.codes.is_success(status) and not is_json:
            return unsure(f"{what}: answered {status} with something that is not JSON", code="not-json")
        text = Secret(received.body.decode(errors="replace"))
        return Answer(status=status, headers=received.headers, json=parsed, text=text)
    why = f"{what}: answered {status}{_detail(parsed)}{_retry_after(received.headers)}"
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or status in (408, 429) or httpx.codes.is_success(status):
        return unsure(why, code=code)
    return Refused(why, code=code)


def _basic(username: Secret | None, password: Secret | None) -> httpx.BasicAuth | None:
    if username is None:
        return None
    return httpx.BasicAuth(username.reveal(), password.reveal() if password else "")


def _no_cookies() -> CookieJar:
    """A jar that takes nothing: httpx has no switch for its own."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


def _parse(body: bytes) -> tuple[Any, bool]:
    """The JSON in a body, and whether it was JSON. An empty body is JSON None."""
    if not body.strip():
        return None, True
    try:
        return jsonlib.loads(body), True
    except (ValueError, RecursionError):
        return None, False


def _detail(parsed: object) -> str:
    """The SCIM `detail` of an error, on one line; the fence scrubs it.

    Never shortened, since a value that is cut in half is not found by any scrubber: one that is too long is left out.
    """
    detail = parsed.get("detail") if isinstance(parsed, dict) else None
    if not isinstance(detail, str) or not detail:
        return ""
    if len(detail) > DETAIL_CHARS_MAX:
        return f" (with a detail of {len(detail)} characters, which is not shown)"
    return f" ({one_line(detail)})"


def _retry_after(headers: Mapping[str, str]) -> str:
    wait = headers.get("retry-after", "")
    return f", asking to wait {wait} s" if wait.isdecimal() and len(wait) <= len("86400") else ""


def _failure(error: Exception) -> _Failure:
    """What an exception of httpx means. Its text is not used: it can quote headers."""
    kind = type(error).__name__
    if isinstance(error, UnicodeError):
        return _Failure(code="unsendable", why=f"it can not be written as HTTP ({kind})", sent=False)
    if isinstance(error, NEVER_SENT):
        return _no_connection(error)
    if isinstance(error, httpx.TimeoutException):
        return _Failure(code="timeout", why="no complete answer in time", sent=True)
    return _Failure(code="cut", why=f"the connection broke ({kind})", sent=True)


def _no_connection(error: Exception) -> _Failure:
    chain = _causes(error)
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = f"the certificate is not trusted: {cause.verify_message}"
            return _Failure(code="tls-unverified", why=why, sent=False)
    root = next((c for c in reversed(chain) if isinstance(c, OSError)), None)
    reason = (getattr(root, "strerror", None) or getattr(root, "reason", None)) if root else None
    return _Failure(code="unreachable", why=f"no connection: {reason or type(error).__name__}", sent=False)


def _causes(error: BaseException) -> list[BaseException]:
    """An exception and what it came from, outermost first."""
    chain: list[BaseException] = [error]
    for _ in range(16):
        below = chain[-1].__cause__ or chain[-1].__context__
        if below is None:
            break
        chain.append(below)
    return chain
