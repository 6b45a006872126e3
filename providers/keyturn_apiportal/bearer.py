"""OAuth2 client credentials: one bearer token in a run, kept in memory only, and renewed where it is refused.

For every portal; what its answers mean is its adapter's to say.
"""

from __future__ import annotations

import base64
import math
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from keyturn.api import Answer, Context, Doubt, Http, NotSent, Refused, Secret

UNAUTHORISED = 401
REFUSALS = (400, 401, 403)
REFUSED_S = 3_600.0
"""How long a login that was refused is not sent again: who goes on asking may be locked out."""

EARLY_S = 10.0
"""A token is renewed this long before it ends, so that it does not end on the way."""

LOGIN_HINT = "check url, client_id and client_secret of the account, and that the client may have the scope"
VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, kw_only=True)
class Login:
    """Where a token comes from. `client_id` and `client_secret` are references, resolved when they are needed.

    `basic`: id and secret go by HTTP Basic, if every server reads them alike there, else as fields of the form.
    `repeats`: a call that changes something and is answered 401 counts as not done and is sent once more with a fresh
    token (contract 1, ASSUMED); else it is doubt.
    """

    url: str
    path: str
    client_id: str
    client_secret: str
    scope: str = ""
    basic: bool = True
    repeats: bool = True
    ca: Path | None = None
    proxy: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Token:
    value: Secret
    ends_at: float


class Session:
    """One client at one portal, in one run. Safe to share between threads.

    `api_url` is what paths hang on; `ca` and `proxy` are for it (those of `login` for where the token comes from).
    """

    def __init__(
        self, context: Context, login: Login, *, api_url: str, ca: Path | None = None, proxy: str | None = None
    ) -> None:
        self._context, self._login = context, login
        self._api_url, self._ca, self._proxy = api_url, ca, proxy
        self._lock = threading.Lock()
        self._token: _Token | None = None
        self._refused: tuple[str, float, str] | None = None

    def call(  # noqa: PLR0913 - as `Http.call`, which it wraps
        self,
        method: str,
        path: str,
        *,
        ok: Sequence[int] = (200,),
        mutates: bool = False,
        deadline_at: float,
        json: object | None = None,
        params: Mapping[str, str] | None = None,
        seal: str | None = None,
    ) -> Answer:
        """`keyturn.api.Http.call` with the token; after a 401 once more with a fresh one.

        Raises what that raises, and NotSent or Refused where no token is to be had: `login-refused` where the client
        is refused, `token-refused` where a fresh token is.
        """
        parts: dict[str, Any] = {"ok": (*ok, UNAUTHORISED), "mutates": mutates, "deadline_at": deadline_at}
        parts |= {"json": json, "params": params, "seal": seal}
        token = self._current(deadline_at)
        answer = self._http.call(method, path, headers=_bearer(token), **parts)
        if answer.status != UNAUTHORISED:
            return answer
        if mutates and not self._login.repeats:
            raise Doubt(f"{method} {path}: answered 401, which is not taken as proof that nothing was done")
        self._drop(token)
        answer = self._http.call(method, path, headers=_bearer(self._current(deadline_at)), **parts)
        if answer.status == UNAUTHORISED:
            raise Refused(f"{method} {path}: answered 401 to a fresh token", code="token-refused", hint=LOGIN_HINT)
        return answer

    @cached_property
    def _http(self) -> Http:
        return self._context.http(self._api_url, ca=self._ca, proxy=self._proxy)

    @cached_property
    def _token_http(self) -> Http:
        return self._context.http(self._login.url, ca=self._login.ca, proxy=self._login.proxy)

    def _current(self, deadline_at: float) -> _Token:
        """One call fetches, the others wait for it: at most half of their time, so that none outlives its deadline."""
        if not self._lock.acquire(timeout=max(0.0, deadline_at - self._context.now()) / 2):
            raise NotSent("another call of this account still waits for its token", code="timeout")
        try:
            if self._token is None or self._context.now() >= self._token.ends_at - EARLY_S:
                self._token = self._fetch(deadline_at)
            return self._token
        finally:
            self._lock.release()

    def _drop(self, token: _Token) -> None:
        with self._lock:
            if self._token is token:
                self._token = None

    def _fetch(self, deadline_at: float) -> _Token:
        login, now = self._login, self._context.now()
        client = self._context.resolve(login.client_id)
        secret = self._context.resolve(login.client_secret)
        print_ = self._context.fingerprint(f"{client.reveal()}\n{secret.reveal()}")
        if self._refused and self._refused[0] == print_ and now < self._refused[1] + REFUSED_S:
            raise Refused(self._refused[2], code="login-refused", hint=LOGIN_HINT)
        form, headers = _client_credentials(login, client, secret)
        answer = self._token_http.call(
            "POST", login.path, ok=(200, *REFUSALS), mutates=False, deadline_at=deadline_at, form=form, headers=headers
        )
        if answer.status in REFUSALS:
            why = f"POST {login.path}: answered {answer.status} to the client of {login.client_id}"
            self._refused = (print_, now, why)
            raise Refused(why, code="login-refused", hint=LOGIN_HINT)
        return _token_in(answer, now)


def basic(client_id: Secret, client_secret: Secret) -> dict[str, str]:
    """HTTP Basic, as a header of one call; id and secret are percent-encoded first (RFC 6749, section 2.3.1)."""
    pair = ":".join(quote(one.reveal(), safe="") for one in (client_id, client_secret))
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def by_header(client_id: Secret, client_secret: Secret) -> bool:
    """Whether every server reads them alike in HTTP Basic: not all decode what is percent-encoded there."""
    return all(quote(one.reveal(), safe="") == one.reveal() for one in (client_id, client_secret))


def _client_credentials(login: Login, client: Secret, secret: Secret) -> tuple[dict[str, str], dict[str, str]]:
    """The form and the headers of a token request."""
    form = {"grant_type": "client_credentials", **({"scope": login.scope} if login.scope else {})}
    if login.basic and by_header(client, secret):
        return form, basic(client, secret)
    return {**form, "client_id": client.reveal(), "client_secret": secret.reveal()}, {}


def _token_in(answer: Answer, now: float) -> _Token:
    body = answer.json if isinstance(answer.json, dict) else {}
    value, life_s = body.get("access_token"), body.get("expires_in")
    if not isinstance(value, str) or not VISIBLE.fullmatch(value):
        raise Refused("expected a token, got something else", code="contract-broken")
    if not isinstance(life_s, int | float) or life_s <= 0:
        life_s = math.inf
    return _Token(value=Secret(value), ends_at=now + life_s)


def clock_of(answer: Answer) -> float | None:
    """The clock of whoever answered (epoch s), by its Date header; None where it has none."""
    try:
        return parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return None


def _bearer(token: _Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.value.reveal()}"}
