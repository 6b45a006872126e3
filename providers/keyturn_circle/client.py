"""The calls of Circle's API (contract 2), and nothing else of it. What an answer says of a secret: `asking`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keyturn.api import Doubt, Http, NotSent, PluginError, Refused, Secret
from keyturn_circle.answers import Reply, reply
from keyturn_circle.codes import Meaning, hint
from keyturn_circle.pacing import Pacing

ENTITY = "/v1/w3s/config/entity"
PUBLIC_KEY = f"{ENTITY}/publicKey"
SIGN = "/v1/w3s/developer/sign/message"
WALLET_SETS = "/v1/w3s/developer/walletSets"
WALLETS = "/v1/w3s/developer/wallets"

READABLE = tuple(status for status in (*range(200, 300), *range(400, 500)) if status != 408)  # noqa: PLR2004
"""Statuses whose bodies are read. A time-out of somebody on the way is none of the vendor's answers."""

CODES: Mapping[int, str] = {
    3: "api-key-rights",
    401: "api-key-refused",
    156006: "wrong-environment",
    156007: "api-key-refused",
}
NO_CALL = (404, 405)
TRIES = 3
"""How often what changes nothing is sent where the vendor says that it was too much."""


class Unsure(Doubt):
    """A refusal that may be of a second copy of a call that took effect. It is `refusal` if asking shows that not."""

    def __init__(self, why: str, refusal: Refused) -> None:
        super().__init__(why, code="answer-in-doubt")
        self.refusal = refusal


class CircleApi:
    """The service at one base URL. `meanings` goes before the table of codes.

    No error's text holds anything that was sent. Each call may raise NotSent and Refused, and those that change
    something Doubt.
    """

    def __init__(self, http: Http, pacing: Pacing, meanings: Mapping[int, str]) -> None:
        self._http, self._pacing, self._meanings = http, pacing, meanings

    def read(self, path: str, api_key: Secret, *, deadline_at: float) -> Reply:
        """What a GET answers with a success. Where others call too it may be too much, so it is tried again."""
        for _ in range(TRIES):
            self._pacing.turn(path)
            got = self._call("GET", path, None, api_key, mutates=False, deadline_at=deadline_at)
            if not got.throttled:
                break
            self._pacing.rest(path)
        if not got.good:
            raise _no_answer(got, f"GET {path}")
        return got

    def ask(self, path: str, body: Mapping[str, Any], api_key: Secret, *, deadline_at: float) -> Reply:
        """What a call with a ciphertext answers that changes no secret, success or not."""
        self._pacing.turn(path)
        got = self._call("POST", path, body, api_key, mutates=False, deadline_at=deadline_at)
        if got.throttled:
            self._pacing.rest(path)  # whoever tries again does so with a fresh ciphertext
        return got

    def make(self, path: str, body: Mapping[str, Any], api_key: Secret, *, attempt: str, deadline_at: float) -> Reply:
        """What a call answers that makes something, and changes no secret."""
        self._pacing.turn(path)
        label = {"X-Request-Id": attempt}
        got = self._call("POST", path, body, api_key, mutates=True, deadline_at=deadline_at, headers=label)
        if not got.good:
            raise _refusal(got, f"POST {path}")
        return got

    def change(
        self, method: str, path: str, body: Mapping[str, str], api_key: Secret, *, attempt: str, deadline_at: float
    ) -> Reply:
        """The one call that replaces a secret: never held back, its answer sealed before it is parsed.

        The attempt's id goes along, and finds the call in the Console's log (contract 7).
        """
        self._pacing.count(path)
        got = self._call(
            method,
            path,
            body,
            api_key,
            mutates=True,
            deadline_at=deadline_at,
            seal=attempt,
            headers={"X-Request-Id": attempt},
        )
        if not got.good:
            raise _refusal(got, f"{method} {path}")
        return got

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        api_key: Secret,
        *,
        mutates: bool,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Reply:
        key = api_key.reveal()
        sent = {**(headers or {}), "Authorization": f"Bearer {key}"}
        try:
            answer = self._http.call(method, path, ok=READABLE, mutates=mutates, json=body, headers=sent, **more)
        except PluginError as error:
            raise _transport(error, f"{method} {path}", mutates=mutates) from None
        return reply(answer, self._meanings, [key, *key.split(":")[1:], *_texts(body)])


TOLD_BY_ASKING = frozenset(
    {Meaning.ALREADY_SET, Meaning.NOT_SET, Meaning.RECOVERY_REFUSED, Meaning.REUSED, Meaning.ROTATE_FIRST}
)
"""What the vendor answers where it changed nothing, or where it has done so by an earlier copy of this very call."""


def _texts(body: object) -> Iterator[str]:
    """The values of a body, in which an answer's words are searched for them."""
    if isinstance(body, Mapping):
        for value in body.values():
            yield from _texts(value)
    elif isinstance(body, str):
        yield body


def _transport(error: PluginError, what: str, *, mutates: bool) -> PluginError:
    """The same error without words of the far side's. A redirect may follow what was done: POST, then see elsewhere."""
    http = error.code.startswith("http-")
    why = f"{what}: answered {error.code.removeprefix('http-')}" if http else error.why
    if error.code.startswith("http-3"):
        return (Doubt if mutates else NotSent)(f"{why}, a redirect", code=error.code)
    return type(error)(why, code=error.code)


def _refusal(got: Reply, what: str) -> NotSent | Refused | Doubt:
    """What a refused change means.

    Where something on the way delivers a call twice, the second answer says `already set`, `current secret invalid` or
    `ciphertext reused` after the first one took effect: only looking tells (contract 7).
    """
    why = f"{what}: answered {got.words}"
    if got.throttled:
        return NotSent(f"{why}{got.wait}", code="throttled")
    if got.meaning is Meaning.DOUBT and got.status in NO_CALL:
        return Refused(
            f"{why}: there is no such call",
            code="no-such-call",
            hint="set way: console in the account: a person rotates in the Console; set method and path only as "
            "Circle names them to you, no other path is ever tried",
        )
    if got.meaning is Meaning.OPERATOR:
        return Refused(why, code=_operator(got), hint=hint(got.code))
    if got.meaning is Meaning.BUG:
        return Refused(
            why, code="request-rejected", hint="compare paths and field names of the account with what Circle documents"
        )
    doubt = f"{why}, which does not tell whether it took effect"
    if got.meaning in TOLD_BY_ASKING:
        return Unsure(doubt, Refused(why, code="vendor-refused", hint=hint(got.code)))
    return Doubt(doubt, code="answer-in-doubt")


def _no_answer(got: Reply, what: str) -> NotSent | Refused:
    """What it means that a GET is refused."""
    why = f"{what}: answered {got.words}"
    if got.throttled:
        return NotSent(
            f"{why}{got.wait}", code="throttled", hint="wait as long as it says, or a second; then try again"
        )
    if got.meaning is Meaning.OPERATOR or got.status == 401:  # noqa: PLR2004
        return Refused(why, code=_operator(got), hint=hint(got.code or got.status))
    return Refused(
        why, code="contract-broken", hint="check base_url; if it is right, the API has changed: do not rotate"
    )


def _operator(got: Reply) -> str:
    return CODES.get(got.code or got.status) or CODES.get(got.status, "vendor-refused")
