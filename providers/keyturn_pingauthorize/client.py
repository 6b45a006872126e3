"""The Configuration API of one PingAuthorize server, as far as a rotation needs it. Nothing here decides anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote

from keyturn.api import Answer, Doubt, Http, NotSent, Refused, Secret

EXTENSIONS = "/http-servlet-extensions"
SECRETS = "/sideband-api-shared-secrets"
URN = "urn:{}:schemas:configuration:2.0:{}"
EXTENSION_TYPE = "http-servlet-extension:sideband-api"
SECRET_TYPE = "sideband-api-shared-secret"  # noqa: S105 - a type's name
MESSAGES = tuple(f"urn:{prefix}:schemas:configuration:messages:2.0" for prefix in ("pingidentity", "unboundid"))
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
OK = tuple(range(200, 300))
"""Contracts differ in which 2xx they mean: any of them is done (contract 3.3, 3.5)."""

PAGES_MAX = 100


@dataclass(frozen=True, kw_only=True)
class Extension:
    """The Sideband API servlet extension of one server. `vendor_now` is its clock, epoch seconds."""

    header: str
    names: tuple[str, ...]
    actions: tuple[str, ...] = ()
    vendor_now: float | None = None


@dataclass(frozen=True, kw_only=True)
class Wire:
    """The ways of speaking in which the vendor's own sources differ (contract 3.1, 3.4, 3.7)."""

    extension: str
    dialect: Literal["go", "documented"] = "go"
    urn_prefix: str = "pingidentity"
    apply_change_to: str = "single-server"


@dataclass(frozen=True, kw_only=True)
class ConfigApi:
    """The Configuration API of one server, until a deadline (epoch seconds).

    Reads raise NotSent or Refused; `create`, `add`, `remove` and `delete` also Doubt. There is no replace, no PUT and
    no removal without a name: each could wipe the list (contract 3.4).
    """

    server: str
    http: Http = field(repr=False)
    wire: Wire
    deadline_at: float

    def extension(self) -> Extension:
        """Contract 3.2. Refused `http-404` where there is none, `not-sideband-api` where it is of another type."""
        answer = self._send("GET", self._extension_path(), mutates=False)
        return self._parse_extension(answer, mutates=False)

    def has(self, name: str) -> bool:
        """Whether this server sees the secret object. By name and not by filter (contract 3.6)."""
        return self._send("GET", _secret_path(name), mutates=False, ok=(200, 404)).status != 404  # noqa: PLR2004

    def names(self) -> tuple[str, ...]:
        """All secret objects this server sees, page by page (contract 3.6)."""
        found: list[str] = []
        for _ in range(PAGES_MAX):
            total, page = self._page(start=len(found) + 1)
            found += page
            if not page or len(found) >= total:
                return tuple(found)
        raise NotSent(f"{self.server}: its list of secrets does not end", code="unexpected-answer")

    def _page(self, *, start: int) -> tuple[int, list[str]]:
        params = {"startIndex": str(start)} if start > 1 else {}
        body = self._send("GET", SECRETS, mutates=False, params=params).json
        found = body.get("Resources") if isinstance(body, dict) else None
        if not isinstance(found, list):
            raise NotSent(f"{self.server}: expected a list of secrets, got something else", code="unexpected-answer")
        total = body.get("totalResults")
        names = [str(item["id"]) for item in found if isinstance(item, dict) and "id" in item]
        return total if isinstance(total, int) else len(found), names

    def create(self, name: str, value: Secret, *, attempt: str) -> tuple[str, ...]:
        """Contract 3.3; the actions the server says it needs. An existing name is Refused `http-409`.

        The raw answer is sealed under the attempt before it is read, as any answer to issue.
        """
        body = {
            "schemas": [URN.format(self.wire.urn_prefix, SECRET_TYPE)],
            "secretName": _plain(name),
            "sharedSecret": value.reveal(),
        }
        return _actions(self._send("POST", SECRETS, mutates=True, json=body, seal=attempt).json)

    def add(self, name: str) -> Extension:
        """Add one name to the list; the list as answered (contract 3.4)."""
        many = self.wire.dialect == "documented"
        return self._patch({"op": "add", "path": self._list_path(), "value": [_plain(name)] if many else _plain(name)})

    def remove(self, name: str) -> Extension:
        """Take one name out of the list; the list as answered (contract 3.4)."""
        return self._patch({"op": "remove", "path": f'[{self._list_path()} eq "{_plain(name)}"]'})

    def delete(self, name: str) -> None:
        """Contract 3.5: any 2xx, and absent is done. A referenced one is Refused `http-409`."""
        self._send("DELETE", _secret_path(name), mutates=True, ok=(*OK, 404))

    def _patch(self, operation: dict[str, Any]) -> Extension:
        # The shipped Go client sends `operations` and nothing else; the documentation `Operations` with `schemas`.
        body: dict[str, Any] = {"operations": [operation]}
        if self.wire.dialect == "documented":
            body = {"schemas": [PATCH_OP], "Operations": [operation]}
        return self._parse_extension(self._send("PATCH", self._extension_path(), mutates=True, json=body), mutates=True)

    def _send(
        self,
        method: str,
        path: str,
        *,
        mutates: bool,
        ok: Sequence[int] = OK,
        json: object | None = None,
        params: Mapping[str, str] | None = None,
        seal: str | None = None,
    ) -> Answer:
        scope = self.wire.apply_change_to
        if mutates and scope != "none":
            params = {**(params or {}), "applyChangeTo": scope}  # contract 3.7
        return self.http.call(
            method, path, ok=ok, mutates=mutates, deadline_at=self.deadline_at, json=json, params=params, seal=seal
        )

    def _parse_extension(self, answer: Answer, *, mutates: bool) -> Extension:
        body = answer.json
        header = body.get("sharedSecretHeaderName") if isinstance(body, dict) else None
        names = body.get("sharedSecrets", []) if isinstance(body, dict) else None  # absent when empty (contract 3.2)
        if not isinstance(header, str) or not isinstance(names, list):
            unsure = Doubt if mutates else NotSent
            raise unsure(f"{self.server}: expected the extension, got something else", code="unexpected-answer")
        if not mutates and not _is_sideband(body.get("schemas")):
            raise Refused(
                f"{self.server}: {self.wire.extension!r} is not a Sideband API extension", code="not-sideband-api"
            )
        return Extension(
            header=header,
            names=tuple(str(name) for name in names),
            actions=_actions(body),
            vendor_now=_date(answer.headers.get("date", "")),
        )

    def _extension_path(self) -> str:
        return f"{EXTENSIONS}/{quote(_plain(self.wire.extension), safe='')}"

    def _list_path(self) -> str:
        return "shared-secrets" if self.wire.dialect == "go" else "sharedSecrets"


def _plain(name: str) -> str:
    """A name that can not end a path segment or a quoted filter. An empty one would mean the whole list."""
    if not name or name in (".", "..") or not name.isprintable() or any(c in name for c in '"\\,'):
        raise Refused("expected a plain object name without quotes, commas or backslashes", code="unsafe-name")
    return name


def _secret_path(name: str) -> str:
    return f"{SECRETS}/{quote(_plain(name), safe='')}"


def _is_sideband(schemas: object) -> bool:
    """Siblings have the same list (contract 3.2), and both URN prefixes are in use (contract 3.1)."""
    wanted = {URN.format(prefix, EXTENSION_TYPE) for prefix in ("pingidentity", "unboundid")}
    return isinstance(schemas, list) and any(schema in wanted for schema in schemas if isinstance(schema, str))


def _actions(body: object) -> tuple[str, ...]:
    """The synopsis of each required action (contract 3.9): the change may be stored without being active."""
    parts = [body.get(urn) for urn in MESSAGES] if isinstance(body, dict) else []
    actions = [action for part in parts if isinstance(part, dict) for action in part.get("requiredActions") or []]
    return tuple(str(action.get("synopsis", action.get("type", ""))) for action in actions if isinstance(action, dict))


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
