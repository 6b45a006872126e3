"""What an answer of the server means. Pure. Only the texts of its `errors` are ever shown, never a body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from keyturn.api import Conflict, Doubt, NotSent, PluginError, Refused

ERROR_CHARS_MAX = 200
QUOTED_CHARS_MIN = 4
CAS_MISMATCH = "check-and-set parameter did not match"
NO_ROUTE = "no handler for route"
NO_NAMESPACE = "namespace not found"
NOT_READY = frozenset({412, 472, 473})
"""A replica that has not caught up, or a standby that does not serve (contract 3.3)."""

NOT_THE_SERVER = "check the option url: another program answers there, or a proxy or login page on the way"
"""What to do about an answer that is none of the server's."""

RIGHTS = {"GET": "read", "LIST": "list", "PATCH": "patch", "DELETE": "delete", "POST": "create, update"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as people may see it. `method` LIST is what a policy calls it."""

    method: str
    path: str
    mutates: bool = False
    body: Mapping[str, Any] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Reply:
    """One answer. `data` may hold values; `at` is the server's clock, epoch seconds, where it says so."""

    status: int
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    auth: Mapping[str, Any] = field(default_factory=dict, repr=False)
    errors: tuple[str, ...] = field(default=(), repr=False)
    at: float | None = None

    @property
    def found(self) -> bool:
        """Whether what was asked for is there."""
        return self.status < HTTPStatus.BAD_REQUEST

    def says(self, words: str) -> bool:
        """Whether one of the errors contains these words."""
        return any(words in error.lower() for error in self.errors)


def checked(asked: Asked, reply: Reply) -> Reply:
    """The answer where it is one: 2xx, or a 404 that says that nothing is there (contract 3.1).

    Raises Conflict `place-moved` for a check-and-set that did not match, else NotSent, Refused or Doubt.
    """
    problem = _problem(asked, reply)
    if problem:
        raise problem
    return reply


def _problem(asked: Asked, reply: Reply) -> PluginError | None:
    status = reply.status
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if status < HTTPStatus.BAD_REQUEST:
        why = f"{asked}: redirected, which is never followed with a token: name the active node or the load balancer"
        hint = "write the address that it redirects to, or that of the load balancer, into the option url"
        return NotSent(why, code="vault-redirects", hint=hint)
    if status in NOT_READY or status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unwell(asked, reply)
    if status == HTTPStatus.NOT_FOUND:
        return _missing(asked, reply)
    return _refused(asked, reply)


def _unwell(asked: Asked, reply: Reply) -> PluginError:
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        hint = "try again later; where it lasts, look at the server's rate limit quotas (sys/quotas/rate-limit)"
        return NotSent(f"{asked}: too many requests, by the server's quota", code="throttled", hint=hint)
    if reply.status in NOT_READY:
        why = f"{asked}: this node can not serve it now (HTTP {reply.status})"
        return NotSent(why, code="vault-standby", hint="try again; where it lasts, name the active node")
    if reply.status == HTTPStatus.SERVICE_UNAVAILABLE and reply.says("sealed"):
        hint = "unseal it: bao operator unseal, with as many key shares as it asks for; then try again"
        return NotSent("the server is sealed: unseal it", code="vault-sealed", hint=hint)
    return unsure(f"the server failed with HTTP {reply.status}{quoted(asked, reply)}", code="vault-failed", asked=asked)


def _missing(asked: Asked, reply: Reply) -> PluginError | None:
    if reply.says(NO_NAMESPACE):
        why = f"{asked}: there is no such namespace: correct the option namespace"
        hint = "bao namespace list shows those that exist: correct the option namespace, or make it"
        return Refused(why, code="vault-no-namespace", hint=hint)
    if reply.says(NO_ROUTE):
        why = f"{asked}: nothing is mounted there: correct the option mount (or namespace), or enable the KV engine"
        hint = (
            "bao secrets list shows what is mounted: correct the option mount, or mount a KV engine, version 2, there"
        )
        return Refused(why, code="vault-no-mount", hint=hint)
    if asked.mutates and asked.method == "POST":
        why = "a 404, which the server never answers to it"
        return unsure(why, code="vault-answer", asked=asked, hint=NOT_THE_SERVER)
    return None


def _refused(asked: Asked, reply: Reply) -> PluginError:
    if reply.status == HTTPStatus.FORBIDDEN:
        return denied(asked)
    if reply.says(CAS_MISMATCH):
        return Conflict("somebody else wrote to this place at the same moment", code="place-moved")
    return Refused(f"{asked}: refused with HTTP {reply.status}{quoted(asked, reply)}", code="vault-refused")


def unsure(why: str, *, code: str, asked: Asked, hint: str = "") -> Doubt | NotSent:
    """A change may have happened; a look has not."""
    return (Doubt if asked.mutates else NotSent)(f"{asked}: {why}", code=code, hint=hint)


def denied(asked: Asked) -> Refused:
    """What was denied, and the line of policy that grants it."""
    rights = ", ".join(f'"{right}"' for right in RIGHTS[asked.method].split(", "))
    line = f'path "{asked.path}" {{ capabilities = [{rights}] }}'
    return Refused(
        f"{asked}: denied; the policy wants {line}, and the mount must exist",
        code="vault-denied",
        hint="correct mount and path, or add that line to the policy; all lines that it needs: docs/plugins/vault.md",
    )


def unknown_token(asked: Asked, where: str) -> Refused:
    """Why a token is refused that nobody here can renew; `where` it comes from."""
    why = f"{asked}: the token of {where} is expired or revoked, and can not be renewed: put a fresh one in its place"
    hint = f"put a fresh token where {where} is read from, then try again; approle, kubernetes and jwt log in again"
    return Refused(why, code="vault-token", hint=hint)


def quoted(asked: Asked, reply: Reply) -> str:
    """The server's own words: one line, bounded, and without anything that was in the request."""
    text = " ".join("; ".join(reply.errors).split())
    for value in _strings(asked.body):
        if len(value) >= QUOTED_CHARS_MIN:
            text = text.replace(value, "<hidden>")
    return f": {text[:ERROR_CHARS_MAX]}" if text else ""


def _strings(data: object) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _strings(value)
