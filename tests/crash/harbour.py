"""A town whose secret goes to three sinks: Vault (a real OpenBao), AWS (the strict fake) and a file, behind proxies."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hvac.exceptions import InvalidPath

from keyturn.cli.estate import Estate, Wiring, open_estate
from keyturn.engine.entry import Ask, resume, rotate
from keyturn.engine.limits import Limits
from keyturn.engine.outcome import Outcome
from keyturn.errors import KeyturnError
from keyturn.testing.proxy import Entry, FaultProxy, Seen
from keyturn_aws.simulator import StrictFake
from keyturn_aws.simulator_world import Call
from keyturn_pingauthorize.simulator import Simulator

from .town import SECRET, Town, write_private

VALUE = "shared_secret"
FIELDS = {"vault": "password", "aws": "SIDEBAND_SECRET", "gateway": VALUE}
FAR = "far"
"""What the one field of the secret is called in each sink."""

QUICK = Limits(call_s=5.0, probe_s=3.0, notify_s=5.0, lease_s=5.0, poll_s=0.1, tries_per_run=1)
POLICY = """
path "kv/data/*" { capabilities = ["create", "read", "update"] }
path "kv/metadata/*" { capabilities = ["create", "delete", "list", "patch", "read"] }
path "kv/destroy/*" { capabilities = ["update"] }
"""
ENDED = ("done", "undone", "quiet", "stuck")


class Vault(Protocol):
    """What these tests need of a server: `root` may do all."""

    url: str

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request below `/v1/` as root."""


@dataclass
class Harbour(Town):
    """`vault_line` and `aws_line` are the proxies that the sinks talk to; `far_line` makes Vault a fourth sink."""

    bao: Vault = field(kw_only=True)
    aws: StrictFake = field(kw_only=True)
    vault_line: FaultProxy = field(kw_only=True)
    aws_line: FaultProxy = field(kw_only=True)
    far_line: FaultProxy | None = field(kw_only=True, default=None)
    adopted: bool = field(kw_only=True, default=True)
    place: str = field(default_factory=lambda: f"place-{secrets.token_hex(4)}")

    @property
    def sinks(self) -> list[dict[str, Any]]:
        places: list[tuple[str, dict[str, str]]] = [
            ("vault", {"path": self.place}),
            ("aws", {"name": self.place}),
            ("gateway", {"path": "sideband.json"}),
        ]
        far = [{"to": FAR, "path": f"{self.place}-{FAR}"}] if self.far_line else []
        return far + [{"to": to, **place, "fields": {FIELDS[to]: VALUE}} for to, place in places]

    @property
    def accounts(self) -> dict[str, dict[str, Any]]:
        login = {"approle": {"role_id": "file:state/role-id", "secret_id": "file:state/secret-id"}}
        vault = {"kind": "vault", "auth": login, "read_timeout": "2s"}
        keys = {"access_key_id": "file:state/aws-id", "secret_access_key": "file:state/aws-key"}
        far = {FAR: {**vault, "url": self.far_line.url}} if self.far_line else {}
        return {
            **far,
            "vault": {**vault, "url": self.vault_line.url},
            "aws": {
                "kind": "aws",
                "region": self.aws.world.region,
                "endpoint": self.aws_line.url,
                "read_timeout": "2s",
                **keys,
            },
        }

    def build(self) -> None:
        """Also let the runner into both stores, and adopt what the gateway uses into all sinks."""
        self.more["secret"] = {"sinks": self.sinks, **self.more.get("secret", {})}
        super().build()
        self.configure(lambda config: config["sinks"].update(self.accounts))
        role = let_in(self.bao)
        for name, text in (*role.items(), ("aws-id", self.aws.access_key_id), ("aws-key", "made-up-secret-key")):
            write_private(self.folder / "state" / name, text)
        if self.adopted:
            self.adopt()

    def configure(self, change: Any) -> None:
        """Change the configuration file."""
        config = json.loads(self.config.read_text())
        change(config)
        write_private(self.config, json.dumps(config, indent=2))

    # what is served

    def everywhere(self) -> dict[str, dict[str, Any]]:
        """What consumers read in each sink."""
        return {
            "vault": self.bao.call("GET", f"kv/data/{self.place}")["data"]["data"],
            "aws": json.loads(self.aws_says("GetSecretValue")["SecretString"]),
            "gateway": json.loads(self.file.read_text()),
        }

    def values(self) -> dict[str, str]:
        """The one value in each sink, whatever its field is called there."""
        return {sink: fields[FIELDS[sink]] for sink, fields in self.everywhere().items()}

    def aws_says(self, operation: str, **more: Any) -> Any:
        ask = {"SecretId": self.place, **more}
        return self.aws.world.perform(Call(operation=operation, ask=ask, access_key=self.aws.access_key_id))

    def written(self) -> tuple[int, int]:
        """How many versions Vault and AWS have ever been given."""
        vault = self.bao.call("GET", f"kv/metadata/{self.place}")["data"]["current_version"]
        return vault, len(self.aws.world.state()[self.place]["versions"])

    def pending(self) -> list[str]:
        """Where something is still pending, in any sink."""
        try:
            tree = self.bao.call("LIST", "kv/metadata/keyturn-pending")["data"]["keys"]
        except InvalidPath:
            tree = []
        vault = [f"vault: {key}" for key in tree if key.startswith(self.place)]
        stages = self.aws.world.state()[self.place]["versions"].values()
        aws = ["aws" for each in stages if "AWSPENDING" in each]
        return vault + aws + [f"file: {one.name}" for one in self.folder.glob("secrets/.keyturn/*.pending.json")]

    # runs in this process

    def rotate(self) -> Outcome | KeyturnError:
        """One run that begins a rotation."""
        return self._run(lambda estate: rotate(estate.bench, estate.job(SECRET), Ask()))

    def resume(self) -> Outcome | KeyturnError:
        """One run that carries on."""
        return self._run(lambda estate: resume(estate.bench, estate.job(SECRET)))

    def _run(self, act: Any) -> Outcome | KeyturnError:
        estate: Estate = open_estate(str(self.config), wiring=Wiring(limits=QUICK))
        try:
            outcome: Outcome = act(estate)
        except KeyturnError as error:
            return error
        else:
            return outcome
        finally:
            estate.close()

    def finish(self, runs: int = 6) -> list[str]:
        """Carry on until quiet; what each run came to."""
        said: list[str] = []
        while len(said) < runs and (not said or said[-1] not in ENDED):
            outcome = self.resume()
            said.append(outcome.status if isinstance(outcome, Outcome) else outcome.code)
        return said


def let_in(bao: Vault) -> dict[str, str]:
    """An AppRole login with a policy for all places; what its files hold, by their names."""
    if "approle/" not in bao.call("GET", "sys/auth")["data"]:
        bao.call("POST", "sys/auth/approle", {"type": "approle"})
        bao.call("POST", "sys/policies/acl/keyturn", {"policy": POLICY})
        bao.call("POST", "auth/approle/role/keyturn", {"token_policies": ["keyturn"]})
    role_id = bao.call("GET", "auth/approle/role/keyturn/role-id")["data"]["role_id"]
    secret_id = bao.call("POST", "auth/approle/role/keyturn/secret-id")["data"]["secret_id"]
    return {"role-id": role_id, "secret-id": secret_id}


@contextmanager
def harbour(folder: Path, bao: Vault, aws: StrictFake, *, far: bool = False, adopted: bool = True) -> Iterator[Harbour]:
    """A harbour that is built; unless told otherwise version 1 is served everywhere."""
    folder.mkdir()
    folder.chmod(0o700)
    with ExitStack() as stack:
        sim = stack.enter_context(Simulator())
        vault_line, aws_line, far_line = (stack.enter_context(FaultProxy(url)) for url in (bao.url, aws.url, bao.url))
        one = Harbour(
            folder=folder,
            sim=sim,
            more={"account": {"servers": sim.urls}},
            bao=bao,
            aws=aws,
            vault_line=vault_line,
            aws_line=aws_line,
            far_line=far_line if far else None,
            adopted=adopted,
        )
        one.build()
        yield one


@dataclass(frozen=True)
class Publishing:
    """How a publish went: each sink's switch as its proxy saw it, and the whole promote phase as the journal did."""

    round_trip_s: float
    switches: tuple[Entry, ...]
    phase_s: float
    sum_s: float

    @property
    def switched_s(self) -> float:
        """From the first request for a switch until the last of them was answered."""
        return max(each.until for each in self.switches) - min(each.at for each in self.switches)

    def __str__(self) -> str:
        switched, trip, phase, calls = (
            1000 * each for each in (self.switched_s, self.round_trip_s, self.phase_s, self.sum_s)
        )
        return (
            f"publish into {len(self.switches)} sinks {switched:6.1f} ms   one round trip {trip:6.1f} ms   "
            f"x{switched / trip:.2f}   whole phase {phase:.0f} ms, its calls one by one {calls:.0f} ms"
        )


def publish_through(one: Harbour, round_trip_s: float) -> Publishing:
    """Rotate with this long a way to every sink but the file."""
    lines = [line for line in (one.vault_line, one.aws_line, one.far_line) if line]
    for line in lines:
        line.delay_s = round_trip_s / 2
    seq = one.events()[-1].seq
    outcome = one.rotate()
    assert isinstance(outcome, Outcome), outcome
    assert outcome.status == "done", outcome.text
    promotes = [event for event in one.events() if event.seq > seq and event.data.get("verb") == "promote"]
    began = min(event.at for event in promotes if event.type == "call.sent")
    ended = max(event.at for event in promotes if event.type == "call.answered")
    calls = [[entry for entry in line.log if began <= entry.at <= ended] for line in lines]
    return Publishing(
        round_trip_s=round_trip_s,
        switches=tuple(next(entry for entry in each if is_switch(entry.seen, one.place)) for each in calls),
        phase_s=ended - began,
        sum_s=sum(entry.until - entry.at for each in calls for entry in each),
    )


def is_switch(seen: Seen, place: str) -> bool:
    """Whether this is the call after which consumers read the new version."""
    vault = seen.method == "POST" and seen.path in (f"/v1/kv/data/{place}", f"/v1/kv/data/{place}-{FAR}")
    return vault or seen.operation.endswith(".UpdateSecretVersionStage")
