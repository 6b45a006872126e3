"""The four calls of the IAM service (contract 2), and nothing else of it. Nothing here decides what a failure means."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from keyturn.api import Answer, Doubt, Http, NotSent, PluginError, Refused, Secret
from keyturn_sahamati.answers import Held, Minted, error_text, held, minted, without

HEARD_S = 300.0
"""How long an answer proves that this address is let in: a round of a process that runs for days (contract 4.9)."""

READABLE = (200, 400, 401, 403, 429)
"""Statuses whose bodies are read. None of them leaves a reset in doubt (contract 6)."""

USER: Mapping[int, str] = {401: "user-refused", 403: "user-refused"}
ENTITY: Mapping[int, str] = {401: "secret-refused"}
ADMIN: Mapping[int, str] = {401: "not-administrator", 403: "not-administrator"}
"""What each call means by these statuses (contract 2.1 to 2.4, 6). An old user token looks like `not-administrator`."""


class IamApi:
    """The service at one base URL. No error's text holds a value that was sent.

    Every call may raise NotSent or Refused, with the codes above, `throttled`, `request-rejected`, `page-NNN` for an
    answer that is not the service's own, `contract-broken`, and those of `keyturn.api.Http`. `reset` also raises Doubt.
    """

    def __init__(self, http: Http, *, now: Callable[[], float]) -> None:
        self._http, self._now = http, now
        self._heard_at = -math.inf

    @property
    def heard(self) -> bool:
        """Whether it answered 200 of late, so that this address is let in."""
        return self._now() - self._heard_at <= HEARD_S

    def user_token(self, username: Secret, password: Secret, *, deadline_at: float) -> Minted:
        """Contract 2.1."""
        form = {"username": username.reveal(), "password": password.reveal()}
        path = "/v1/user/token/generate"
        return _token(self._ask(path, USER, form=form, hide=password, deadline_at=deadline_at), password)

    def entity_token(self, entity_id: str, secret: Secret, *, deadline_at: float) -> Minted:
        """Contract 2.2: the use of the secret."""
        form = {"id": entity_id, "secret": secret.reveal()}
        path = "/v1/entity/token/generate"
        return _token(self._ask(path, ENTITY, form=form, hide=secret, deadline_at=deadline_at), secret)

    def read(self, token: Secret, entity_id: str, *, txn_id: str, deadline_at: float) -> Held:
        """Contract 2.4. Never sends `secretExpiryDays`."""
        body = self._envelope(entity_id, txn_id)
        answer = self._ask("/v1/entity/secret/read", ADMIN, json=body, hide=token, deadline_at=deadline_at)
        return self._held(answer, entity_id, token, mutates=False)

    def reset(self, token: Secret, entity_id: str, *, days: int, txn_id: str, deadline_at: float) -> Held:
        """Contract 2.3: the one call that changes something. Sealed under `txn_id`, the attempt, before parsing."""
        body = {**self._envelope(entity_id, txn_id), "secretExpiryDays": days}
        answer = self._ask(
            "/v1/entity/secret/reset",
            ADMIN,
            json=body,
            hide=token,
            seal=txn_id,
            mutates=True,
            deadline_at=deadline_at,
        )
        return self._held(answer, entity_id, token, mutates=True)

    def _ask(
        self,
        path: str,
        denied: Mapping[int, str],
        *,
        deadline_at: float,
        hide: Secret,
        mutates: bool = False,
        **parts: Any,
    ) -> Answer:
        """`hide` is the value that the request carries: of a call of an administrator, the user token."""
        headers = {"Authorization": f"Bearer {hide.reveal()}"} if denied is ADMIN else None
        try:
            answer = self._http.call(
                "POST", path, ok=READABLE, mutates=mutates, deadline_at=deadline_at, headers=headers, **parts
            )
        except PluginError as error:
            # A redirect may follow what was done: POST, then see elsewhere.
            redirected = mutates and error.code.startswith("http-3")
            raise (Doubt if redirected else type(error))(without(error.why, hide), code=error.code) from None
        if answer.status != 200:  # noqa: PLR2004
            raise self._refusal(answer, path, denied, hide)
        self._heard_at = self._now()
        return answer

    def _refusal(self, answer: Answer, path: str, denied: Mapping[int, str], hide: Secret) -> NotSent | Refused:
        status, said = answer.status, error_text(answer, hide)
        why = f"POST {path}: answered {status}{f' ({said})' if said else ''}"
        if status == 429:  # noqa: PLR2004
            return NotSent(f"{why}{_wait(answer)}", code="throttled")
        if _is_page(answer) and not (self.heard and denied is ADMIN):
            return NotSent(f"{why} with a page that is not the service's own", code=f"page-{status}")
        return Refused(why, code=denied.get(status, "request-rejected"))

    def _held(self, answer: Answer, entity_id: str, token: Secret, *, mutates: bool) -> Held:
        found = held(answer, now=self._now(), hide=[token])
        unsure = Doubt if mutates else Refused
        if found is None:
            raise unsure("expected an entity's secret, got something else", code="contract-broken")
        if found.entity_id not in (None, entity_id):
            raise unsure(f"asked about {entity_id}, the answer is about another entity", code="contract-broken")
        return found

    def _envelope(self, entity_id: str, txn_id: str) -> dict[str, object]:
        """The four fields that each request carries, though the vendor's own clients leave some out (contract 2.6)."""
        now = datetime.fromtimestamp(self._now(), UTC)
        stamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"ver": "1.0.0", "timestamp": stamp, "txnId": txn_id, "entityId": entity_id}


def ask_with_token(http: Http, path: str, token: Secret, *, deadline_at: float) -> int:
    """The status with which a place that takes entity tokens answers this one: 200 to 299, 401 or 403."""
    headers = {"Authorization": f"Bearer {token.reveal()}"}
    ok = (*range(200, 300), 401, 403)
    return http.call("GET", path, ok=ok, mutates=False, deadline_at=deadline_at, headers=headers).status


def address_towards(url: str, local: str | None = None) -> str | None:
    """The address of this machine that connections to this URL leave from; nothing is sent. None where unknown.

    `local` asks for that one: None where it is not this machine's, or can not lead there.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):  # the latter: a label of the name is too long
        return None
    addresses = (_leaves_from(each, local) for each in found)
    return next((address for address in addresses if address), None)


def _leaves_from(found: tuple[Any, ...], local: str | None) -> str | None:
    family, kind, protocol, _, address = found
    try:
        with socket.socket(family, kind, protocol) as asking:
            if local:
                asking.bind((local, 0))
            asking.connect(address)
            return str(asking.getsockname()[0])
    except OSError:
        return None


def _token(answer: Answer, sent: Secret) -> Minted:
    found = minted(answer, hide=[sent])
    if found is None:
        raise Refused("expected a token, got something else", code="contract-broken")
    return found


def _is_page(answer: Answer) -> bool:
    """Whether this is a gateway's or a firewall's answer: HTML, or a 403 that is no JSON object (contract 4.9)."""
    html = "html" in answer.headers.get("content-type", "")
    return html or (answer.status == 403 and not isinstance(answer.json, dict))  # noqa: PLR2004


def _wait(answer: Answer) -> str:
    """Contract 4.10: seconds or an HTTP date."""
    wait = answer.headers.get("retry-after", "")
    plain = wait.isprintable() and len(wait) <= len("Sun, 06 Nov 1994 08:49:37 GMT")
    return f", asking to wait {wait}{' s' if wait.isdecimal() else ''}" if wait and plain else ""
