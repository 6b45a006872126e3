"""The Vault sink's options: an account is a mount and a way to log in, a place is one path below it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from keyturn.api import LocalPath, Options, Reference, Seconds, SinkTraits, Url

SEGMENT = re.compile(r"[A-Za-z0-9._@:=+-]+", re.ASCII)
PATH_CHARS_MAX = 400
VALUE_BYTES_MAX = 500_000
"""Below the entry limits of every storage (contract 4.1)."""

KUBERNETES_JWT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
DEFAULT_PORTS = {"https": 443, "http": 80}


def _path(path: str) -> str:
    # The far side, or a library on the way, would resolve `..` and drop empty parts (contract 1.4).
    segments = path.split("/")
    if not all(SEGMENT.fullmatch(segment) and segment.strip(".") for segment in segments):
        message = "expected parts of letters, digits and . _ @ : = + - between single slashes, none of dots alone"
        raise ValueError(message)
    if len(path) > PATH_CHARS_MAX:
        message = f"expected at most {PATH_CHARS_MAX} characters"
        raise ValueError(message)
    return path


SafePath = Annotated[str, AfterValidator(_path)]
"""A path that means the same to every program it passes."""


class AppRole(Options):
    """A role id and a secret id; `wrapped`: the reference holds a wrapping token that contains the secret id."""

    role_id: Reference = Field(description="the role id")
    secret_id: Reference = Field(description="the secret id, or with wrapped the token that wraps it")
    wrapped: bool = Field(default=False, description="whether secret_id is response-wrapped; it is unwrapped once")
    mount: SafePath = Field(default="approle", description="where the AppRole method is mounted")


class Kubernetes(Options):
    """The pod's own service account."""

    role: str = Field(description="the role to log in as")
    jwt_file: LocalPath = Field(default=KUBERNETES_JWT, description="the service account's token, read at each login")
    mount: SafePath = Field(default="kubernetes", description="where the Kubernetes method is mounted")


class Jwt(Options):
    """A token of another issuer."""

    role: str = Field(description="the role to log in as")
    jwt: Reference = Field(description="the signed token, read at each login")
    mount: SafePath = Field(default="jwt", description="where the JWT method is mounted")


class Auth(Options):
    """One way to log in. Nothing ambient is used: no environment variable, no token file of the home folder."""

    token: Reference | None = Field(default=None, description="a token; it can not be renewed by logging in again")
    token_file: LocalPath | None = Field(
        default=None, description="a file with a token that somebody else keeps fresh, read again when it is refused"
    )
    approle: AppRole | None = Field(default=None, description="AppRole")
    kubernetes: Kubernetes | None = Field(default=None, description="a Kubernetes service account")
    jwt: Jwt | None = Field(default=None, description="a token of another issuer (JWT, OIDC)")

    @model_validator(mode="after")
    def _exactly_one(self) -> Auth:
        ways = (self.token, self.token_file, self.approle, self.kubernetes, self.jwt)
        if sum(way is not None for way in ways) != 1:
            message = "expected exactly one of token, token_file, approle, kubernetes, jwt"
            raise ValueError(message)
        return self


class Account(Options):
    """One KV mount of one server."""

    url: Url = Field(description="the server; http:// on loopback only")
    auth: Auth = Field(description="the way to log in: exactly one of its keys")
    mount: SafePath = Field(default="kv", description="the KV engine, version 2")
    namespace: SafePath | None = Field(default=None, description="the namespace of mount and login")
    pending: SafePath = Field(
        default="keyturn-pending", description="the tree of pending versions below the mount; hide it from consumers"
    )
    ca: LocalPath | None = Field(
        default=None, description="the only certificate authorities that are trusted (those of the certifi package)"
    )
    connect_timeout: Seconds = Field(default=3.0, gt=0, description="how long connecting may take")
    read_timeout: Seconds = Field(default=10.0, gt=0, description="how long an answer may take")


class Place(Options):
    """One path. `keep_previous` outranks what the engine asks for."""

    path: SafePath = Field(description="the path below the mount, without data/")
    keep_previous: int | None = Field(
        default=None,
        ge=0,
        description="number of earlier versions that stay readable (what the secret's rotate section says unless set)",
    )


def traits(account: Account, place: Place) -> SinkTraits:  # noqa: ARG001 - the same for all
    """What this sink can do."""
    return SinkTraits(hides_pending=True, compares=True, keeps_previous=True, bytes_max=VALUE_BYTES_MAX)


def subject(account: Account, place: Place) -> str:
    """The place's canonical name. A namespace is a prefix of the path (contract 1.3), so it is written as one."""
    parts = urlsplit(account.url)
    port = parts.port if parts.port != DEFAULT_PORTS[parts.scheme] else None
    host = f"{parts.hostname}:{port}" if port else f"{parts.hostname}"
    return f"vault:{host}:{'/'.join(filter(None, (account.namespace, account.mount, place.path)))}"


def place_of(account: Account, path: str) -> dict[str, str]:
    """The place that PATH means in a reference `SINK:PATH#FIELD`: with or without the mount before it."""
    return {"path": path.removeprefix(f"{account.mount}/")}
