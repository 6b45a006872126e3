"""The one place that talks to the server: hvac's raw adapter, own time-outs, retries on reads, log in again on 403.

What happened                                    raised                                code
the request can not be sent at all               NotSent                               unsendable
no connection, DNS                               NotSent                               unreachable
a certificate that is not trusted                NotSent                               tls-unverified, ca-unusable
time-out, cut                                    Doubt if it mutates, else NotSent     timeout, cut
TLS that is none, not JSON                       Doubt if it mutates, else NotSent     tls-failed, vault-answer
an answer                                        see `answers`
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from hvac.adapters import RawAdapter
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout, InvalidHeader, InvalidURL, RequestException, Timeout
from urllib3.exceptions import NewConnectionError

from keyturn.api import Context, Doubt, NotSent
from keyturn_vault.answers import NOT_THE_SERVER, Asked, Reply, checked, denied, unknown_token, unsure
from keyturn_vault.client_login import Login
from keyturn_vault.options import Account

CONNECTIONS_MAX = 64
PAUSES_S = (0.1, 0.4)
"""Reads are tried once more after each of these."""

RETRIED = frozenset({"unreachable", "timeout", "cut", "throttled", "vault-standby", "vault-failed", "vault-answer"})
TELLING = frozenset({400, 403, 404})
"""What these mean only the server itself can say: a proxy's page for them is no answer."""

UNSENDABLE = (InvalidHeader, InvalidURL, UnicodeError)
"""What building a request raises. Their texts may quote a header or the body, so they are dropped."""


class Vault:
    """One server, one way to log in, for one run. Safe to use from many threads: the token goes with each request."""

    def __init__(self, context: Context, account: Account) -> None:
        self._context, self._account = context, account
        self._login = Login(context, account.auth, self._exchange)
        self._adapter: RawAdapter | None = None

    def read(
        self, path: str, *, deadline_at: float, params: Mapping[str, str] | None = None, or_denied: bool = False
    ) -> Reply:
        """GET below `/v1/`, retried within the deadline. A 404 is handed back; so is a 403 with `or_denied`."""
        asked = Asked(method="LIST" if params and "list" in params else "GET", path=path)
        for pause_s in PAUSES_S:
            try:
                return self._answer(asked, deadline_at, params=params, or_denied=or_denied)
            except NotSent as error:
                if error.code not in RETRIED or self._context.now() + pause_s >= deadline_at:
                    raise
            self._context.wait(lambda: False, every_s=pause_s, at_most_s=pause_s)
        return self._answer(asked, deadline_at, params=params, or_denied=or_denied)

    def write(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, deadline_at: float) -> Reply:
        """Send one change, once. A 404 is handed back. Raises Conflict where a check-and-set did not match."""
        return self._answer(Asked(method=method, path=path, mutates=True, body=body), deadline_at)

    def _answer(
        self, asked: Asked, deadline_at: float, *, params: Mapping[str, str] | None = None, or_denied: bool = False
    ) -> Reply:
        token = self._login.token(deadline_at)
        reply = self._exchange(asked, token, deadline_at, params)
        if reply.status != HTTPStatus.FORBIDDEN:
            return checked(asked, reply)
        if or_denied:
            return reply
        # Nothing was done (contract 3.2), so a change may be sent again as well.
        fresh = self._login.after_denial(token, deadline_at)
        if fresh.token is None:
            raise unknown_token(asked, fresh.spent) if fresh.spent else denied(asked)
        return checked(asked, self._exchange(asked, fresh.token, deadline_at, params))

    def _exchange(
        self, asked: Asked, token: str | None, deadline_at: float, params: Mapping[str, str] | None = None
    ) -> Reply:
        """One request and its answer, whatever its status. Raises NotSent, Doubt."""
        left_s = deadline_at - self._context.now()
        if left_s <= 0:
            raise NotSent("the call's deadline is over", code="deadline-over")
        account = self._account
        headers = {"X-Vault-Token": token} if token else {}
        if asked.method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        try:
            response = self._connected().request(
                "GET" if asked.method == "LIST" else asked.method,
                f"/v1/{asked.path}",
                headers=headers,
                raise_exception=False,
                json=asked.body,
                params=params,
                timeout=(min(account.connect_timeout, left_s), min(account.read_timeout, left_s)),
            )
        except UNSENDABLE:
            raise NotSent(f"{asked}: the request can not be written as HTTP", code="unsendable") from None
        except (RequestException, OSError) as error:
            raise _broken(asked, error, account.url) from None
        return _reply(asked, response)

    def _connected(self) -> RawAdapter:
        # Made when it is needed: what is wrong with the CA file is the call's outcome, not the plugin's end.
        if self._adapter is None:
            self._adapter = RawAdapter(
                base_uri=self._account.url,
                session=self._session(),
                namespace=self._account.namespace,
                allow_redirects=False,
            )
        return self._adapter

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # neither proxies, nor .netrc, nor another CA bundle
        session.verify = self._ca()
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=CONNECTIONS_MAX, max_retries=0)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session

    def _ca(self) -> str | bool:
        ca = self._account.ca
        if ca is None:
            return True
        self._context.resolve(f"file:{ca.absolute()}")  # checks who can write it
        try:
            ssl.create_default_context(cafile=ca)
        except OSError:
            hint = "name a PEM file with the certificate of the authority in the option ca"
            raise NotSent(f"the CA file {ca} holds no certificate", code="ca-unusable", hint=hint) from None
        return str(ca)


def _broken(asked: Asked, error: Exception, url: str) -> NotSent | Doubt:
    """What it means that a request ended without an answer. The error's own text is dropped."""
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        why = f"{url} shows a certificate that is not trusted: check the option ca"
        hint = "name the certificate of its authority in the option ca, and the host as the certificate does in url"
        return NotSent(why, code="tls-unverified", hint=hint)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        why = f"{url} does not speak TLS as expected"
        hint = "check scheme and port of the option url, and what stands in between"
        return unsure(why, code="tls-failed", asked=asked, hint=hint)
    if any(isinstance(cause, NewConnectionError | ConnectTimeout) for cause in causes):
        return NotSent(f"no connection to {url}: check the address, and that the server runs", code="unreachable")
    if isinstance(error, Timeout):
        return unsure("no answer in time", code="timeout", asked=asked)
    return unsure("the connection broke before the answer was there", code="cut", asked=asked)


def _causes(error: object) -> Iterator[object]:
    """The error and what it wraps: requests puts urllib3's first in its arguments, and that has a `reason`."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]


def _reply(asked: Asked, response: requests.Response) -> Reply:
    at = _epoch(response.headers.get("Date", ""))
    reply = Reply(status=response.status_code, at=at)
    try:
        body = response.json() if response.content else {}
    except ValueError:
        body = None
    if reply.status == HTTPStatus.NOT_FOUND and isinstance(body, dict) and not _is_ours(asked, body):
        # Taken for the server's, it would say that the place is empty.
        why = "HTTP 404 in words that are not the server's: is this the server, or a proxy?"
        raise unsure(why, code="vault-answer", asked=asked, hint=NOT_THE_SERVER)
    if isinstance(body, dict):
        errors = tuple(str(one) for one in body.get("errors") or ())
        return replace(reply, data=body.get("data") or {}, auth=body.get("auth") or {}, errors=errors)
    if reply.found or reply.status in TELLING:
        why = f"HTTP {reply.status} with something that is not JSON: is this the server, or a proxy?"
        raise unsure(why, code="vault-answer", asked=asked, hint=NOT_THE_SERVER)
    return reply


def _is_ours(asked: Asked, body: Mapping[str, Any]) -> bool:
    """Whether the server itself wrote this 404: it has errors, or shows what was deleted; to a PATCH it is empty."""
    return "errors" in body or "data" in body or (asked.method == "PATCH" and not body)


def _epoch(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
