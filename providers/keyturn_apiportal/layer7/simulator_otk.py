"""A token endpoint of OTK, as the portal's ingress and every proxy have one (contract 1, 4)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from keyturn_apiportal.layer7.simulator_answers import Reply, as_json
from keyturn_apiportal.layer7.simulator_proxy import Revision

FORM = "application/x-www-form-urlencoded"
GRANT = "client_credentials"
ERRORS: Mapping[str, tuple[int, str, str]] = {
    "3003000": (500, "server_error", "The request failed due to some unknown reason"),
    "3003103": (400, "invalid_request", "The request is missing a parameter or has one twice"),
    "3003113": (400, "invalid_grant", "The given grant is invalid"),
    "3003115": (400, "invalid_scope", "No registered scope value for this client has been requested"),
    "3003117": (400, "unauthorized_client", "The client is not authorized for this grant"),
    "3003119": (400, "unsupported_grant_type", "The given grant type is not supported"),
    "3003201": (401, "invalid_client", "The given client credentials were not valid"),
    "3003203": (400, "invalid_request", "The given prefix is invalid"),
}
"""Contract 4: the status, `error` and text of every x-ca-err."""


@dataclass(frozen=True, kw_only=True)
class Manners:
    """What the switches say about this endpoint."""

    now: float
    token_life_s: float
    refused: int = 401
    says: str = ""
    says_first: bool = False
    err_header: bool = True
    echo: bool = False


@dataclass(frozen=True, kw_only=True)
class TokenRequest:
    """What was asked for, as far as it can be read; `wrong` is the code of what is not right about it."""

    client_id: str = ""
    secret: str = field(default="", repr=False)
    scope: str = ""
    wrong: str = ""


def token_request(headers: Mapping[str, str], body: bytes) -> TokenRequest:
    """The form and the credentials: Basic, or fields (contract 1, 4)."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return TokenRequest(wrong="3003103")
    given = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
    form = {name: values[0] for name, values in given.items()}
    client_id, secret = basic(headers.get("authorization", "")) or (
        form.get("client_id", ""),
        form.get("client_secret", ""),
    )
    twice = any(len(values) > 1 for values in given.values())
    missing = not (form.get("grant_type") and client_id and secret)
    wrong = "3003103" if twice or missing else "" if form["grant_type"] == GRANT else "3003119"
    return TokenRequest(client_id=client_id, secret=secret, scope=form.get("scope", ""), wrong=wrong)


def basic(header: str) -> tuple[str, str] | None:
    """The id and secret of a Basic header; None where there is none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ("", "")
    client_id, _, secret = decoded.partition(":")
    return client_id, secret


def token_reply(
    asked: TokenRequest,
    find: Callable[[str, str], Revision | None],
    make: Callable[[], str],
    manners: Manners,
) -> Reply:
    """A token, or why not (contract 4). `find` knows the clients, `make` a new token."""
    if asked.wrong:
        return refused(asked.wrong, manners)
    if manners.says and manners.says_first:
        return refused(manners.says, manners)
    client = find(asked.client_id, asked.secret)
    if client is None:
        return refused("3003201", manners, asked.secret)
    wrong = manners.says or _unfit(client, asked.scope)
    if wrong:
        return refused(wrong, manners)
    scope = asked.scope or client.scope
    made = {"access_token": make(), "token_type": "Bearer", "expires_in": int(manners.token_life_s), "scope": scope}
    return as_json(made)


def _unfit(client: Revision, scope: str) -> str:
    """The code for a client that may not have such a token, whatever its credentials (contract 4)."""
    if client.public:
        return "3003117"
    registered = set(client.scope.split())
    return "" if registered and set(scope.split()) <= registered else "3003115"


def refused(code: str, manners: Manners, secret: str = "") -> Reply:
    """An error of OTK's, with its code in a header or without one (contract 4, 7.10, 7.14)."""
    status, name, text = ERRORS.get(code, (400, "invalid_request", "The request was refused"))
    if code == "3003201":
        status = manners.refused
    if manners.echo and secret:
        text += f", found {secret}"
    headers = {"x-ca-err": code} if manners.err_header else {}
    return as_json({"error": name, "error_description": text}, status, headers)
