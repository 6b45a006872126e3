"""What is asked of the mount, once in a run: that it is a KV engine of version 2, and how it is set."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from keyturn.api import Refused
from keyturn_vault.client import Vault

KV_VERSION = "2"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How versions are kept, by the mount or by one path of it. `versions_max` 0: the other one says."""

    cas_required: bool = False
    versions_max: int = 0
    deleted_after: str = ""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Settings:
        """From the answer about a mount or a path (contract 2.4)."""
        after = str(data.get("delete_version_after") or "")
        return cls(
            cas_required=bool(data.get("cas_required")),
            versions_max=int(data.get("max_versions") or 0),
            deleted_after="" if after.strip("0hms") == "" else after,
        )


class Engine:
    """One mount, in one run. Safe to use from many threads."""

    def __init__(self, vault: Vault, mount: str) -> None:
        self._vault, self._mount = vault, mount
        self._lock = threading.Lock()
        self._checked = False
        self._settings: Settings | None = None
        self._asked = False

    def check(self, deadline_at: float) -> None:
        """Raises Refused `kv-version`, `vault-no-mount`. Where it may not be asked, the calls for data will tell."""
        with self._lock:
            if self._checked:
                return
            path = f"sys/internal/ui/mounts/{self._mount}"
            reply = self._vault.read(path, deadline_at=deadline_at, or_denied=True)
            if reply.found:
                self._judge(reply.data)
            self._checked = True

    def settings(self, deadline_at: float) -> Settings | None:
        """How the mount is set, or None where it may not be asked."""
        with self._lock:
            if not self._asked:
                reply = self._vault.read(f"{self._mount}/config", deadline_at=deadline_at, or_denied=True)
                self._settings = None if reply.status == HTTPStatus.FORBIDDEN else Settings.of(reply.data)
                self._asked = True
            return self._settings

    def _judge(self, data: Mapping[str, Any]) -> None:
        found = str(data.get("path", "")).strip("/")
        if found != self._mount:
            why = f"{self._mount} is no mount, {found} is: correct the option mount"
            raise Refused(why, code="vault-no-mount", hint=f"write mount: {found}, and what follows it into the path")
        version = str((data.get("options") or {}).get("version") or "1")
        if data.get("type") != "kv" or version != KV_VERSION:
            kind = f"{data.get('type')} engine of version {version}"
            why = f"{self._mount} is a {kind}, without check-and-set: expected a kv engine of version {KV_VERSION}"
            hint = f"name another mount, or upgrade this one: bao kv enable-versioning {self._mount}"
            raise Refused(why, code="kv-version", hint=hint)
