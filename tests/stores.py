"""The two stores that secrets are published to: a real OpenBao and the strict AWS fake."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash.harbour import let_in
from keyturn_aws.simulator import StrictFake
from keyturn_aws.simulator_world import Call
from keyturn_vault.simulator import OpenBao
from program import write_private


@dataclass
class Stores:
    """Both, with a place of its own in each for every `leaf`."""

    bao: OpenBao
    aws: StrictFake
    place: str = field(default_factory=lambda: f"store-{secrets.token_hex(4)}")

    def places(self, leaf: str, **more: Any) -> list[dict[str, Any]]:
        """Entries of a secret's `sinks:`."""
        path = f"{self.place}-{leaf}"
        return [{"to": "vault", "path": path, **more}, {"to": "aws", "name": path, **more}]

    def accounts(self) -> dict[str, Any]:
        """Entries of `sinks:`; their logins are files that `let_in` writes."""
        login = {"approle": {"role_id": "file:state/role-id", "secret_id": "file:state/secret-id"}}
        keys = {"access_key_id": "file:state/aws-id", "secret_access_key": "file:state/aws-key"}
        return {
            "vault": {"kind": "vault", "url": self.bao.url, "auth": login},
            "aws": {"kind": "aws", "region": self.aws.world.region, "endpoint": self.aws.url, **keys},
        }

    def let_in(self, folder: Path) -> None:
        """Write the logins into state/ of this folder."""
        keys = {"aws-id": self.aws.access_key_id, "aws-key": "made-up-secret-key"}
        for name, text in {**let_in(self.bao), **keys}.items():
            write_private(folder / "state" / name, text)

    def read(self, leaf: str) -> list[dict[str, str]]:
        """What consumers read in OpenBao and in AWS."""
        path = f"{self.place}-{leaf}"
        ask = Call(operation="GetSecretValue", ask={"SecretId": path}, access_key=self.aws.access_key_id)
        vault = self.bao.call("GET", f"kv/data/{path}")["data"]["data"]
        return [vault, json.loads(self.aws.world.perform(ask)["SecretString"])]
