"""Asking one proxy, at its token endpoint, whether it accepts a client's id and secret. Nothing here raises.

What a refusal looks like differs from vendor to vendor: `judge` says it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from keyturn.api import Answer, Http, NotSent, ProbeResponse, Refused, Secret, Verdict
from keyturn_apiportal.bearer import basic, by_header

ANY_STATUS = tuple(range(200, 600))
WORD = re.compile(r"[a-z_]{1,40}")
UNAUTHORISED, TOO_MANY, SERVER = 401, 429, 500

Judge = Callable[[Answer], tuple[Verdict, str]]
"""What an answer of a token endpoint means, and why: a few words without a value. Pure."""


@dataclass(frozen=True, kw_only=True)
class TokenProbe:
    """How the token endpoints of one account are asked.

    `form` has the grant and the scope. `basic`: id and secret go by HTTP Basic, if every server reads them alike there,
    else as fields of the form.
    `revoke_path`: where the token that comes back is revoked (unset: it is only dropped, and lives to its end).
    """

    path: str
    form: Mapping[str, str] = field(default_factory=lambda: {"grant_type": "client_credentials"})
    basic: bool = True
    revoke_path: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Client:
    """The id and the secret to ask about."""

    id: Secret
    secret: Secret

    def post(self, http: Http, path: str, form: Mapping[str, str], *, by_basic: bool, deadline_at: float) -> Answer:
        """One request in this client's name. Raises what `Http.call` does."""
        by_basic = by_basic and by_header(self.id, self.secret)
        headers = basic(self.id, self.secret) if by_basic else None
        if not by_basic:
            form = {**form, "client_id": self.id.reveal(), "client_secret": self.secret.reveal()}
        return http.call(
            "POST", path, ok=ANY_STATUS, mutates=False, deadline_at=deadline_at, form=form, headers=headers
        )


def judged(answer: Answer) -> tuple[Verdict, str]:
    """The plain OAuth2 rule: a token is accepted, `invalid_client` is refused, all else proves nothing. Pure."""
    status, error = answer.status, error_word(answer)
    shown = f"{status}{f' {error}' if error else ''}"
    if status == 200 and token_of(answer):  # noqa: PLR2004
        return Verdict.ACCEPTED, shown
    if error == "invalid_client" and status in (400, UNAUTHORISED):
        return Verdict.REFUSED, shown
    return Verdict.UNKNOWN, f"{shown}, which proves nothing"


def ask(
    http: Http, probe: TokenProbe, client: Client, *, deadline_at: float, judge: Judge = judged
) -> tuple[ProbeResponse, Secret | None]:
    """Ask for a token: what the proxy says (evidence without its name), and the token where one was given.

    5xx, 429, a time-out, no connection: unknown, with why. The token is the caller's to drop: see `revoke`.
    """
    try:
        answer = client.post(http, probe.path, probe.form, by_basic=probe.basic, deadline_at=deadline_at)
    except (NotSent, Refused) as error:
        return ProbeResponse(verdict=Verdict.UNKNOWN, evidence=error.why), None
    verdict, why = judge(answer)
    return ProbeResponse(verdict=verdict, evidence=why), token_of(answer)


def revoke(http: Http, probe: TokenProbe, client: Client, token: Secret | None, *, deadline_at: float) -> None:
    """Revoke the token of a probe, where a path for it is configured. One that fails changes nothing."""
    if not probe.revoke_path or token is None:
        return
    form = {"token": token.reveal(), "token_type_hint": "access_token"}
    try:
        client.post(http, probe.revoke_path, form, by_basic=probe.basic, deadline_at=deadline_at)
    except (NotSent, Refused):
        return


def token_of(answer: Answer) -> Secret | None:
    """The token in an answer, if any."""
    value = answer.json.get("access_token") if isinstance(answer.json, dict) else None
    return Secret(value) if isinstance(value, str) and value else None


def error_word(answer: Answer) -> str:
    """The OAuth2 `error` of an answer; empty where it has none, or one that is no plain word."""
    word = answer.json.get("error") if isinstance(answer.json, dict) else None
    return word if isinstance(word, str) and WORD.fullmatch(word) else ""
