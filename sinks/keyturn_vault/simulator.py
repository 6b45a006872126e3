"""A real OpenBao on loopback, with a KV engine and a token that may do what the sink needs and nothing else.

It is no imitation: the contract page holds because the server does. What only Vault does (contract 8) tests make up.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import requests
from hvac.adapters import RawAdapter

from keyturn_vault.simulator_process import Server, free_port, poll

MOUNT = "kv"
PENDING = "keyturn-pending"
POLICY = """\
path "kv/data/*" {
  capabilities = ["create", "read", "update"]
}
path "kv/metadata/*" {
  capabilities = ["create", "delete", "patch", "read"]
}
path "kv/destroy/*" {
  capabilities = ["update"]
}
"""
"""The smallest policy for all places of one mount; the plugin's page shows the same."""

READY_S_MAX = 20.0


class OpenBao:
    """A server in memory. `url` and `root` (a token that may do all) are known before it is started.

    `tls` makes it speak https, with an authority of its own in `ca`. It ends with the thread that started it.
    """

    def __init__(self, *, port: int = 0, tls: bool = False) -> None:
        self._port, self._tls = port or free_port(), tls
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._port}"
        self.root = secrets.token_urlsafe(24)
        self._server = Server()
        self._token = ""

    def start(self) -> None:
        """Take connections on return. Raises OSError where the port is taken."""
        free_port(self._port)
        try:
            self._start()
        except BaseException:
            self._server.stop()
            raise

    def _start(self) -> None:
        folder = self._server.make_folder()
        words = ["-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{self._port}", "-log-level=warn"]
        if self._tls:
            words += ["-dev-tls", f"-dev-tls-cert-dir={folder}"]
        self._server.start(words, {"BAO_DEV_ROOT_TOKEN_ID": self.root})
        # Asked as root: somebody else's server on this port does not know our token.
        poll(lambda: self._server.running and self.did("GET", "sys/mounts"), "OpenBao did not start", READY_S_MAX)
        self._prepare()

    def stop(self) -> None:
        """Take none any more; all that it held is gone."""
        self._server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        return [self.url]

    @property
    def environment(self) -> dict[str, str]:
        """What the reference in `configuration` resolves to: a token with the smallest policy."""
        return {"KEYTURN_VAULT_TOKEN": self._token}

    @property
    def initial(self) -> dict[str, dict[str, Any]]:
        """Nothing is in use already."""
        return {}

    @property
    def ca(self) -> Path:
        """The authority of its certificate, with `tls`."""
        return next(self._server.folder.glob("*ca.pem"))

    def configuration(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - others put files there
        """The `sinks` of a configuration."""
        account = {"kind": "vault", "url": self.url, "mount": MOUNT, "auth": {"token": "env:KEYTURN_VAULT_TOKEN"}}
        return {"sinks": {"vault-local": {**account, **({"ca": str(self.ca)} if self._tls else {})}}}

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str = "",
        namespace: str = "",
        wrap_ttl: str = "",
    ) -> dict[str, Any]:
        """One request below `/v1/`, as root unless told otherwise. Raises hvac.exceptions.VaultError."""
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(self.ca) if self._tls else True
            adapter = RawAdapter(self.url, token=token or self.root, namespace=namespace or None, session=session)
            headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
            answer = adapter.request(method, f"/v1/{path}", headers=headers, json=body, wrap_ttl=wrap_ttl)
            found: dict[str, Any] = answer.json() if answer.content else {}
            return found

    def mount(self, path: str, *, version: int = 2, namespace: str = "", cas_required: bool = True) -> None:
        """Mount a KV engine, and wait until it serves."""
        options = {"version": str(version)}
        self.call("POST", f"sys/mounts/{path}", {"type": "kv", "options": options}, namespace=namespace)
        if version > 1:
            config = {"cas_required": cas_required}
            poll(lambda: self.did("POST", f"{path}/config", config, namespace), f"{path} does not serve", READY_S_MAX)

    def token(self, policy: str = POLICY, *, namespace: str = "") -> str:
        """A token with this policy and the default one."""
        name = f"keyturn-{secrets.token_hex(4)}"
        self.call("POST", f"sys/policies/acl/{name}", {"policy": policy}, namespace=namespace)
        made = self.call("POST", "auth/token/create", {"policies": [name], "ttl": "24h"}, namespace=namespace)
        return str(made["auth"]["client_token"])

    def _prepare(self) -> None:
        self.mount(MOUNT)
        self._token = self.token()

    def did(self, method: str, path: str, body: Mapping[str, Any] | None = None, namespace: str = "") -> bool:
        """Whether this request, as root, succeeds."""
        try:
            self.call(method, path, body, namespace=namespace)
        except Exception:  # noqa: BLE001 - not listening yet, no certificate yet, an engine that is not ready yet
            return False
        return True


def simulator(options: Mapping[str, str]) -> OpenBao:
    """A server from text options: `port` (a free one). Raises ValueError for others."""
    unknown = set(options) - {"port"}
    if unknown:
        message = f"expected the option port, found {', '.join(sorted(unknown))}"
        raise ValueError(message)
    return OpenBao(port=int(options.get("port", "0")))
