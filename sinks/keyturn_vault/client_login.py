"""Logging in: with what is configured and nothing else, once for all threads, and again when the token is refused."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from keyturn.api import Context, Doubt, NotSent, Refused, Secret
from keyturn_vault.answers import Asked, Reply, checked, quoted
from keyturn_vault.options import AppRole, Auth

TOKEN = re.compile(r"[\x21-\x7e]+")

_unwrapped: dict[str, Secret] = {}
"""Secret ids by the digest of the token that wrapped them. A wrapping token works once, and a process may make many
sinks of one account, so this belongs to the process."""
_unwrapping = threading.Lock()


class Exchange(Protocol):
    """One request and its answer."""

    def __call__(self, asked: Asked, token: str | None, deadline_at: float, /) -> Reply:
        """Raises NotSent, Doubt."""


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """What a denial leads to: another token to try, or none; `spent`: where the one that is no good comes from."""

    token: str | None = field(default=None, repr=False)
    spent: str = ""


class Login:
    """Holds the token of one run. Safe to use from many threads."""

    def __init__(self, context: Context, auth: Auth, exchange: Exchange) -> None:
        self._context, self._auth, self._exchange = context, auth, exchange
        self._lock = threading.Lock()
        self._token: str | None = None

    def token(self, deadline_at: float) -> str:
        """The token; the first call logs in. Raises NotSent, and Refused `vault-login`, `vault-unwrapped`."""
        with self._lock:
            if self._token is None:
                self._token = self._log_in(deadline_at)
            return self._token

    def after_denial(self, token: str, deadline_at: float) -> Fresh:
        """What to do where `token` was denied something. A good token is kept: another one would not help.

        Raises what `token` does.
        """
        if self._is_good(token, deadline_at):
            return Fresh()
        with self._lock:
            # Another thread may have been here before.
            if self._token == token:
                self._token = self._log_in(deadline_at)
            if self._token == token:
                return Fresh(spent=str(self._auth.token or self._auth.token_file or "the login"))
            return Fresh(token=self._token)

    def _is_good(self, token: str, deadline_at: float) -> bool:
        asked = Asked(method="GET", path="auth/token/lookup-self")
        return self._exchange(asked, token, deadline_at).found

    def _log_in(self, deadline_at: float) -> str:
        auth = self._auth
        if auth.token:
            return _usable(self._context.resolve(auth.token).reveal())
        if auth.token_file:
            return _usable(self._file(auth.token_file.absolute()))
        if auth.approle:
            return self._ask(auth.approle.mount, self._approle(auth.approle, deadline_at), deadline_at)
        if auth.kubernetes:
            jwt = self._file(auth.kubernetes.jwt_file.absolute())
            return self._ask(auth.kubernetes.mount, {"role": auth.kubernetes.role, "jwt": jwt}, deadline_at)
        if auth.jwt:
            jwt = self._context.resolve(auth.jwt.jwt).reveal()
            return self._ask(auth.jwt.mount, {"role": auth.jwt.role, "jwt": jwt}, deadline_at)
        raise Refused("no way to log in is configured", code="vault-login")

    def _file(self, path: object) -> str:
        return self._context.resolve(f"file:{path}").reveal().strip()

    def _approle(self, approle: AppRole, deadline_at: float) -> dict[str, str]:
        secret_id = self._context.resolve(approle.secret_id)
        if approle.wrapped:
            secret_id = self._unwrap(secret_id, deadline_at)
        return {"role_id": self._context.resolve(approle.role_id).reveal(), "secret_id": secret_id.reveal()}

    def _unwrap(self, wrapping: Secret, deadline_at: float) -> Secret:
        token = _usable(wrapping.reveal())
        digest = hashlib.sha256(token.encode()).hexdigest()
        with _unwrapping:
            if digest not in _unwrapped:
                _unwrapped[digest] = self._unwrap_once(token, deadline_at)
            return _unwrapped[digest]

    def _unwrap_once(self, token: str, deadline_at: float) -> Secret:
        # The wrapping token itself must be the request's token (contract 5.3).
        asked = Asked(method="POST", path="sys/wrapping/unwrap", mutates=True)
        try:
            reply = self._exchange(asked, token, deadline_at)
        except Doubt:
            why = (
                "no answer to the unwrapping of the secret id, which works once: wrap another one if it is refused now"
            )
            raise NotSent(why, code="vault-unwrap-lost") from None
        if reply.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
            why = (
                "the wrapped secret id was unwrapped before, or is over its time: "
                "if that was no earlier command of yours, it is stolen"
            )
            hint = "bao write -f -wrap-ttl=10m auth/approle/role/ROLE/secret-id wraps a fresh one; keep its token there"
            raise Refused(f"{why}, destroy it, and wrap another one", code="vault-unwrapped", hint=hint)
        secret_id = _in(asked, checked(Asked(method="POST", path=asked.path), reply).data, "secret_id")
        return Secret(secret_id)

    def _ask(self, mount: str, body: Mapping[str, str], deadline_at: float) -> str:
        # A login changes nothing that anybody reads, so that a lost one was as good as not sent.
        asked = Asked(method="POST", path=f"auth/{mount}/login", body=body)
        reply = self._exchange(asked, None, deadline_at)
        if reply.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
            why = f"{asked}: not let in{quoted(asked, reply)}; check role, credentials, and that this method is enabled"
            raise Refused(why, code="vault-login", hint=self._mend())
        return _usable(_in(asked, checked(asked, reply).auth, "client_token"))

    def _mend(self) -> str:
        """What helps where the server lets nobody in."""
        approle, other = self._auth.approle, self._auth.kubernetes or self._auth.jwt
        if approle:
            make = f"bao write -f auth/{approle.mount}/role/ROLE/secret-id"
            return f"keep a fresh secret id where {approle.secret_id} is read from: {make}; check {approle.role_id} too"
        role = f"role {other.role} of auth/{other.mount}" if other else "the role"
        return f"compare {role} with the token's issuer, audience, subject and time"


def _in(asked: Asked, answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise Refused(f"{asked}: the answer holds no {name}", code="vault-login")
    return value


def _usable(token: str) -> str:
    # What is no header would be quoted by the library that refuses it.
    if not TOKEN.fullmatch(token):
        raise Refused("the token is no token: expected visible ASCII without blanks", code="vault-login")
    return token
