"""The simulated Configuration API: what one request asks for, and the answer. Strict where the contract is strict."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from keyturn_pingauthorize.simulator_world import Refusal, World, fingerprint

URN = "urn:{}:schemas:configuration:2.0:{}"
PREFIXES = ("pingidentity", "unboundid")
EXTENSION_TYPE = "http-servlet-extension:sideband-api"
SECRET_TYPE = "sideband-api-shared-secret"  # noqa: S105 - a type's name
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
REMOVE_PATH = re.compile(r'^(?:\[(?P<list>[a-zA-Z-]+) eq|(?P<other>[a-zA-Z-]+)\[value eq) "(?P<name>[^"]+)"\]$')


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request. `path` is what stands after /config, still percent-encoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    params: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer; a body of None is empty."""

    status: int
    body: Any = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a request wants, once understood. `run` changes the world and answers; refusals come out of it too."""

    on: str
    run: Callable[[], Reply]
    name: str = ""
    value: str = field(default="", repr=False)

    @property
    def mark(self) -> str:
        """The value's fingerprint, where there is a value."""
        return fingerprint(self.value) if self.value else ""


class ConfigurationApi:
    """One server's Configuration API. Understanding a request changes nothing; its task does."""

    def __init__(self, world: World, index: int, *, user: str, password: str, extension: str = "Sideband API") -> None:
        self._world, self._index, self._extension = world, index, extension
        self._login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def understand(self, asked: Asked) -> Task:
        """The task, or Refusal."""
        self._admit(asked)
        kind, _, name = asked.path.strip("/").partition("/")
        name = unquote(name)
        if kind == "http-servlet-extensions":
            return self._extension_task(asked, name)
        if kind == "sideband-api-shared-secrets":
            return self._secret_task(asked, name) if name else self._secrets_task(asked)
        raise Refusal(404, "no such resource")  # contract 3.8

    def _admit(self, asked: Asked) -> None:
        if asked.headers.get("authorization") != self._login:
            raise Refusal(401, "")  # contract 3.8: no body
        right = "read" if asked.method == "GET" else "write"
        if self._world.switches.forbidden in (right, "all"):
            raise Refusal(403, "")  # contract 3.8: no body
        if not any(kind in asked.headers.get("accept", "*/*") for kind in ("json", "*/*")):
            raise Refusal(415, "Accept must allow application/json")  # contract 3.1
        if right == "write":
            self._check_scope(asked)

    def _check_scope(self, asked: Asked) -> None:
        scope = asked.params.get("applyChangeTo")
        if scope is None and self._world.switches.require_apply_change_to:
            raise Refusal(400, "applyChangeTo is required: the server belongs to a server group")  # contract 3.7
        if scope not in (None, "single-server", "server-group"):
            raise Refusal(400, "applyChangeTo: expected single-server or server-group")  # contract 3.7

    # the extension

    def _extension_task(self, asked: Asked, name: str) -> Task:
        if name != self._extension:
            raise Refusal(404, f"the HTTP servlet extension '{name}' does not exist")  # contract 3.8
        if asked.method == "GET":
            return Task(on="read", run=lambda: Reply(status=200, body=self._extension_body()))  # contract 3.2
        if asked.method == "PATCH":
            return self._patch_task(asked)
        raise Refusal(405, "use GET or PATCH")

    def _patch_task(self, asked: Asked) -> Task:
        operation = self._operation(_json(asked.body))
        scope = asked.params.get("applyChangeTo", "single-server")
        if operation.get("op") == "add":
            names = self._names_to_add(operation)
            return Task(on="add", name=",".join(names), run=lambda: self._change(scope, self._world.add, names))
        if operation.get("op") == "remove":
            name = self._name_to_remove(str(operation.get("path", "")))
            return Task(on="remove", name=name or "*", run=lambda: self._change(scope, self._world.remove, name))
        raise Refusal(400, "op: expected add or remove")  # contract 3.4; replace is not simulated: nobody may send it

    def _operation(self, body: dict[str, Any]) -> dict[str, Any]:
        """The one operation, in either dialect (contract 3.4), if this server speaks it (contract 10.4)."""
        dialect = "go" if "operations" in body else "documented"
        operations = body.get("operations", body.get("Operations"))
        _only(body, {"schemas", "operations", "Operations"})
        if self._world.switches.dialects not in ("both", dialect):
            raise Refusal(400, "the request holds no operations")
        if not isinstance(operations, list) or len(operations) != 1 or not isinstance(operations[0], dict):
            raise Refusal(400, "expected one operation")
        return operations[0]

    def _names_to_add(self, operation: dict[str, Any]) -> list[str]:
        _only(operation, {"op", "path", "value"})
        if not _is_list(str(operation.get("path", ""))):
            raise Refusal(400, "path: no such property")  # contract 3.8
        value = operation.get("value")
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise Refusal(400, "value: expected names")
        return names

    def _name_to_remove(self, path: str) -> str | None:
        """The name; None for the bare path, which wipes the list (contract 3.4, 10.9)."""
        if _is_list(path):
            return None
        match = REMOVE_PATH.match(path)
        if not match or not _is_list(match["list"] or match["other"]):
            raise Refusal(400, "path: expected a filter on shared-secrets")
        return match["name"]

    def _change(self, scope: str, change: Callable[[int, Any], None], what: Any) -> Reply:
        for index in self._world.reached(self._index, scope):
            change(index, what)
        return Reply(status=200, body=self._extension_body())  # contract 3.4: the whole object

    def _extension_body(self) -> dict[str, Any]:
        member, switches = self._world.members[self._index], self._world.switches
        body: dict[str, Any] = {
            "schemas": [URN.format(switches.urn_prefix, EXTENSION_TYPE)],
            "id": self._extension,
            "requestLimit": "5 mb",
            "requestContextMethod": "state",
            "sharedSecretHeaderName": member.header,
            "meta": {"resourceType": "Sideband API HTTP Servlet Extension"},
            **self._messages(),
        }
        if member.names or not switches.absent_when_empty:  # contract 10.7
            body["sharedSecrets"] = list(member.names)
        return body

    # secrets

    def _secrets_task(self, asked: Asked) -> Task:
        if asked.method == "GET":
            return Task(on="read", run=lambda: self._list(asked))
        if asked.method != "POST":
            raise Refusal(405, "use GET or POST")
        body = {key.lower(): value for key, value in _json(asked.body).items()}  # contract 3.1: names in any case
        _only(body, {"schemas", "secretname", "sharedsecret"})
        name, value = body.get("secretname"), body.get("sharedsecret")
        schemas = [URN.format(prefix, SECRET_TYPE) for prefix in PREFIXES]
        if not isinstance(body.get("schemas"), list) or not set(schemas) & set(body["schemas"]):
            raise Refusal(400, "schemas: expected a sideband-api-shared-secret")  # contract 3.3
        if not isinstance(name, str) or not name or not isinstance(value, str) or not value:
            raise Refusal(400, "secretName and sharedSecret are required")  # contract 1: required
        return Task(on="create", name=name, value=value, run=lambda: self._create(name, value))

    def _secret_task(self, asked: Asked, name: str) -> Task:
        if asked.method == "GET":
            return Task(on="read", run=lambda: self._get(name))
        if asked.method == "DELETE":
            return Task(on="delete", name=name, run=lambda: self._delete(name))
        raise Refusal(400, "shared-secret is read-only after creation")  # contract 1, 10.3

    def _list(self, asked: Asked) -> Reply:
        whole = [self._secret_body(name) for name in self._world.objects(self._index)]
        start = int(asked.params.get("startIndex", "1")) - 1
        found = whole[start : start + self._world.switches.page_size]
        schemas = ["urn:ietf:params:scim:api:messages:2.0:ListResponse"]
        return Reply(status=200, body={"schemas": schemas, "totalResults": len(whole), "Resources": found})  # 3.6

    def _get(self, name: str) -> Reply:
        if name not in self._world.objects(self._index):
            raise Refusal(404, f"the secret '{name}' does not exist")  # contract 3.8
        return Reply(status=200, body=self._secret_body(name))

    def _create(self, name: str, value: str) -> Reply:
        self._world.create(name, value)
        return Reply(status=self._world.switches.post_status, body={**self._secret_body(name), **self._messages()})

    def _delete(self, name: str) -> Reply:
        self._world.delete(name)
        return Reply(status=self._world.switches.delete_status)  # contract 3.5: 204 or 200, no body

    def _secret_body(self, name: str) -> dict[str, Any]:
        switches = self._world.switches
        body: dict[str, Any] = {
            "schemas": [URN.format(switches.urn_prefix, SECRET_TYPE)],
            "id": name,
            "meta": {"resourceType": "Sideband API Shared Secret"},
        }
        return {**body, "sharedSecret": "********"} if switches.masked else body  # contract 3.3, 10.7

    def _messages(self) -> dict[str, Any]:
        action = {"property": "shared-secrets", "type": "server-restart", "synopsis": "restart the server"}
        actions = [action] if self._world.switches.required_actions else []  # contract 3.9, 10.6
        prefix = self._world.switches.urn_prefix
        return {f"urn:{prefix}:schemas:configuration:messages:2.0": {"notifications": [], "requiredActions": actions}}


def error_body(refusal: Refusal, *, number: bool) -> dict[str, Any] | None:
    """The SCIM error (contract 3.8), with the status as text or as a number and a scimType (contract 10.1)."""
    if not refusal.detail:
        return None
    body: dict[str, Any] = {"schemas": [ERROR], "status": str(refusal.status), "detail": refusal.detail}
    return {**body, "status": refusal.status, "scimType": "invalidValue"} if number else body


def _json(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(parsed, dict):
        raise Refusal(400, "the body is not an object")
    return parsed


def _only(body: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(body) - known)
    if unknown:
        raise Refusal(400, f"unknown property {unknown[0]}")  # contract 3.8


def _is_list(path: str) -> bool:
    """Hyphen-case and camelCase name the same property (contract 3.1)."""
    return path.replace("-", "").lower() == "sharedsecrets"
