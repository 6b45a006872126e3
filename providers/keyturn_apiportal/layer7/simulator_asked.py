"""What a request to PAPI asks for: which call it is, and the members of its body."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from keyturn_apiportal.layer7.simulator_answers import Refusal

ID = r"(?P<application>[^/']+)"
KEY = r"(?P<key>[^/]+)"
TENANT = r"/(?P<tenant>[^/]+)"
BASE = rf"{TENANT}/api-management/1\.0"
CALLS: tuple[tuple[str, str, str], ...] = (
    ("POST", r"/auth/oauth/v2/token", "token"),  # contract 1
    ("GET", rf"{BASE}/applications", "apps"),  # contract 2
    ("GET", rf"{BASE}/applications/{ID}", "app"),
    ("PUT", rf"{BASE}/applications/{ID}", "put-app"),
    ("GET", rf"{BASE}/applications/{ID}/(?P<status>request-status)", "requests"),
    ("GET", rf"{BASE}/applications/{ID}/api-keys", "keys"),
    ("POST", rf"{BASE}/applications/{ID}/api-keys", "post-key"),
    ("GET", rf"{BASE}/applications/{ID}/api-keys/{KEY}", "key"),
    ("PUT", rf"{BASE}/applications/{ID}/api-keys/{KEY}", "put-key"),
    ("DELETE", rf"{BASE}/applications/{ID}/api-keys/{KEY}", "delete"),
    ("PATCH", rf"{BASE}/applications/{ID}/api-keys/{KEY}/secret", "patch"),
    ("GET", rf"{BASE}/api-keys", "keys"),
    ("GET", rf"{BASE}/requests", "requests"),
    ("PUT", rf"{BASE}/requests/(?P<request>[^/]+)/reviews", "review"),
    ("GET", rf"{TENANT}/tenant-admin/1\.0/settings/(?P<setting>\w+)", "settings"),
    ("GET", rf"{TENANT}/Settings\('(?P<odata>\w+)'\)", "settings"),
    ("GET", rf"{TENANT}/Applications\('{ID}'\)", "get-legacy"),
    ("PUT", rf"{TENANT}/Applications\('{ID}'\)", "put-legacy"),
    ("GET", rf"{TENANT}/GenerateNewSharedSecret", "suggest"),
    ("GET", rf"{TENANT}/deployments/1\.0/proxies", "proxies"),  # contract 3
    ("GET", rf"{TENANT}/deployments/1\.0/applications/{ID}/api-keys/{KEY}/proxies", "deployments"),
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request; `on` is its kind, or `nowhere`; `closed` the status where there is no such call (404, 405).

    `repeated`: it was not sent again, but it counts, or is delivered, once more.
    """

    on: str
    method: str = "GET"
    path: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    closed: int = 0
    repeated: bool = False

    @property
    def echo(self) -> str:
        """What an error quotes (contract 7.14)."""
        return self.body.decode(errors="replace")

    def members(self) -> dict[str, Any]:
        """The body, a JSON object. Raises Refusal."""
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "the body must be application/json")
        try:
            parsed = json.loads(self.body)
        except ValueError:
            raise Refusal(400, "the body is not JSON") from None
        if not isinstance(parsed, dict):
            raise Refusal(400, "the body is not an object")
        return parsed


def asked_of(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Asked:
    """What a request is for."""
    request: dict[str, Any] = {"method": method, "path": path, "query": query, "headers": headers, "body": body}
    matches = [(verb, on, re.fullmatch(pattern, path)) for verb, pattern, on in CALLS]
    found = [(verb, on, match.groupdict()) for verb, on, match in matches if match]
    for verb, on, names in found:
        if verb == method:
            return Asked(on=on, names=names, **request)
    return Asked(on="nowhere", names=found[0][2] if found else {}, closed=405 if found else 404, **request)


def again(asked: Asked) -> Asked:
    """The same request, which nobody sent a second time."""
    return replace(asked, repeated=True)


def checked(members: Mapping[str, Any], takes: Mapping[str, type], needs: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """A body in which nothing else is than these members, each of its type. Raises Refusal."""
    for name in needs:
        if name not in members:
            raise Refusal(400, f"{name} is missing", name)
    for name, value in members.items():
        if type(value) is not takes.get(name):
            raise Refusal(400, f"{name} is not valid", name)
    return members
