"""One account in one run: the client, and the user token that reads and resets are made with."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from keyturn.api import Context, NotSent, Refused, Secret
from keyturn_sahamati.answers import entities
from keyturn_sahamati.client import IamApi, address_towards
from keyturn_sahamati.options import Account

READ_AGE_S_MAX = 300.0
RESET_AGE_S_MAX = 60.0
"""A reset takes a user token from just before it: its validity may be cut to that token's (contract 4.2)."""

REFUSED_S = 3_600.0
"""How long a refused password is not sent again: the account may be locked otherwise (contract 6, ASSUMED)."""

Answered = TypeVar("Answered")


@dataclass(frozen=True, kw_only=True, eq=False)
class UserToken:
    """A user token, when it was minted and when it ends (epoch s).

    `fresh`: minted in this very call. `entities`: those it names, if any.
    """

    value: Secret
    minted_at: float
    ends_at: float
    entities: frozenset[str] | None
    fresh: bool = True


@dataclass(frozen=True, kw_only=True)
class _Refusal:
    """A login that was refused, by its keyed fingerprint."""

    login: str
    at: float
    why: str


class Session:
    """Mints one user token in a run, keeps it in memory only, and mints once more where it is too old or refused."""

    def __init__(self, context: Context, account: Account) -> None:
        self._context, self._account = context, account
        self._lock = threading.Lock()
        self._token: UserToken | None = None
        self._refusal: _Refusal | None = None

    @cached_property
    def api(self) -> IamApi:
        """The service. Raises NotSent `ca-unusable`."""
        account = self._account
        http = self._context.http(account.url, ca=account.ca, proxy=account.proxy, local_address=account.local_address)
        return IamApi(http, now=self._context.now)

    @property
    def heard(self) -> bool:
        """Whether the service has answered in this run."""
        return "api" in self.__dict__ and self.api.heard

    def token(self, *, age_s_max: float, deadline_at: float) -> UserToken:
        """A user token no older than that. Raises what `IamApi.user_token` does, and NotSent for an unknown login.

        One call mints, and the others wait for it: at most half of their time, so that none outlives its deadline.
        """
        if not self._lock.acquire(timeout=max(0.0, deadline_at - self._context.now()) / 2):
            raise NotSent("another call of this account still waits for its user token", code="timeout")
        try:
            kept, now = self._token, self._context.now()
            if kept and now - kept.minted_at <= age_s_max and now < kept.ends_at:
                return replace(kept, fresh=False)
            self._token = None
            self._token = self._mint(deadline_at)
            return self._token
        finally:
            self._lock.release()

    def drop(self, token: UserToken) -> None:
        """Forget a token that was refused."""
        with self._lock:
            if self._token and self._token.value is token.value:
                self._token = None

    def read_with(self, ask: Callable[[UserToken], Answered], *, deadline_at: float) -> Answered:
        """Ask with a user token; where an older one is refused, once more with a fresh one (contract 6)."""
        token = self.token(age_s_max=READ_AGE_S_MAX, deadline_at=deadline_at)
        try:
            return ask(token)
        except Refused as refusal:
            if token.fresh or refusal.code != "not-administrator":
                raise
        self.drop(token)
        return ask(self.token(age_s_max=READ_AGE_S_MAX, deadline_at=deadline_at))

    def whence(self) -> str:
        """What a person needs to know of the address that calls leave from (contract 4.9)."""
        account = self._account
        if account.proxy:
            return f"through the proxy {account.proxy}, whose own address the vendor sees"
        address = account.local_address or address_towards(account.url)
        return f"from {address}" if address else "from an address that the system does not tell"

    def stranded(self) -> str:
        """The configured address to call from, where this machine can not reach the service from it; else empty."""
        account = self._account
        local = "" if account.proxy else account.local_address or ""
        reached = address_towards(account.url, local) or address_towards(account.url) is None
        return "" if reached else local

    def _mint(self, deadline_at: float) -> UserToken:
        username = self._context.resolve(self._account.username)
        password = self._context.resolve(self._account.password)
        login, now = self._context.fingerprint(f"{username.reveal()}\n{password.reveal()}"), self._context.now()
        if self._refusal and self._refusal.login == login and now < self._refusal.at + REFUSED_S:
            raise Refused(self._refusal.why, code="user-refused")
        try:
            made = self.api.user_token(username, password, deadline_at=deadline_at)
        except Refused as refusal:
            if refusal.code == "user-refused":
                self._refusal = _Refusal(login=login, at=now, why=refusal.why)
            raise
        ends_at = now + made.life_s if made.life_s else math.inf
        return UserToken(value=made.value, minted_at=now, ends_at=ends_at, entities=entities(made))
