"""A provider on a bench: the real plugin, the real context and HTTP client, against simulated servers."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keyturn.api import (
    Bundle,
    Call,
    Half,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    NotSent,
    ProbeRequest,
    ProbeResponse,
    RetireRequest,
    RetireResponse,
    Secret,
    Settled,
    SettleRequest,
    SettleResponse,
    Verdict,
    Version,
)
from keyturn.clock import SystemClock
from keyturn.context import PluginContext
from keyturn_pingauthorize.hook import keyturn_plugin
from keyturn_pingauthorize.options import Account, Target
from keyturn_pingauthorize.simulator import FIRST, SECRET, Simulator

CLOCK = SystemClock()


def uuid7() -> str:
    """A time-ordered id, as the engine makes them."""
    stamp = int(CLOCK.now() * 1000)
    bits = stamp << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=bits))


def until(check: Callable[[], bool], *, at_most_s: float = 5.0) -> bool:
    """Poll a promise that comes true by itself."""
    end = time.monotonic() + at_most_s
    while not check():
        if time.monotonic() > end or CLOCK.wait(0.01):
            return False
    return True


class Bench:
    """One provider, one version to issue, and short names for the verbs."""

    def __init__(self, sim: Simulator, folder: Path, **options: Any) -> None:
        self.sim = sim
        self.notes: list[tuple[str, Mapping[str, str]]] = []
        self.value = "Canary" + secrets.token_hex(20)
        self.new = Version(id=uuid7(), number=2, bundle=Bundle({"shared_secret": self.value}))
        self.deadline_s = 20.0
        self.environment = dict(sim.environment)
        self.context = PluginContext(
            resolver=self._resolve,
            now=CLOCK.now,
            wait=CLOCK.wait,
            fingerprint=lambda value: f"fp{len(value)}",
            seal=lambda _attempt, _raw: None,
            note=lambda event, fields: self.notes.append((event, fields)),
            scratch=folder,
        )
        defaults: dict[str, Any] = {
            "servers": sim.urls,
            "username": "env:PAZ_USER",
            "password": "env:PAZ_PASSWORD",
            "mirror_timeout": 0.5,
            "poll": 0.02,
        }
        self.account = Account.model_validate({**defaults, **options})
        self.provider = keyturn_plugin().load()(self.context, self.account)

    def _resolve(self, reference: str) -> Secret:
        name = reference.removeprefix("env:")
        if name not in self.environment:
            raise NotSent(f"{reference} is not set")
        return Secret(self.environment[name])

    def call(self) -> Call:
        return Call(
            secret=SECRET,
            rotation_id=uuid7(),
            attempt_id=uuid7(),
            deadline_at=CLOCK.now() + self.deadline_s,
            target=Target(),
        )

    def inspect(self, current: str | None = FIRST) -> InspectResponse:
        version = Version(id=uuid7(), number=1, handle=current) if current else None
        known = (version.handle,) if version and version.handle else ()
        answer = self.provider.inspect(InspectRequest(call=self.call(), current=version, known=known))
        assert isinstance(answer, InspectResponse)
        return answer

    def codes(self, *, fatal: bool | None = None) -> set[str]:
        """The codes of the problems that inspect reports."""
        return {p.code for p in self.inspect().problems if fatal in (None, p.fatal)}

    def issue(self) -> IssueResponse:
        answer = self.provider.issue(IssueRequest(call=self.call(), new=self.new))
        assert isinstance(answer, IssueResponse)
        return answer

    def settle(self) -> SettleResponse:
        answer = self.provider.settle(SettleRequest(call=self.call(), new=self.new))
        assert isinstance(answer, SettleResponse)
        return answer

    def settled(self) -> Settled:
        return self.settle().outcome

    def probe(self, value: str, server: int = 0) -> ProbeResponse:
        bundle = Bundle({"shared_secret": value})
        request = ProbeRequest(call=self.call(), endpoint=self.account.servers[server], bundle=bundle)
        answer = self.provider.probe(request)
        assert isinstance(answer, ProbeResponse)
        return answer

    def verdicts(self, value: str) -> set[Verdict]:
        return {self.probe(value, server).verdict for server in range(len(self.account.servers))}

    def refuse(self, handle: str = FIRST) -> RetireResponse:
        return self._retire(handle, Half.REFUSE)

    def remove(self, handle: str = FIRST) -> RetireResponse:
        return self._retire(handle, Half.REMOVE)

    def _retire(self, handle: str, half: Half) -> RetireResponse:
        answer = self.provider.retire(RetireRequest(call=self.call(), handle=handle, half=half))
        assert isinstance(answer, RetireResponse)
        return answer

    @property
    def old_value(self) -> str:
        value = self.sim.initial[SECRET]["bundle"]["shared_secret"]
        assert isinstance(value, str)
        return value

    def lists(self) -> list[list[str]]:
        return [list(member.names) for member in self.sim.world.members]

    def sent(self, on: str) -> list[tuple[int, str]]:
        """The committed requests of one kind: server and name."""
        return [(e["server"], e["name"]) for e in self.sim.log if e["on"] == on and 200 <= e["status"] < 300]


@contextmanager
def running_bench(folder: Path, *, servers: int = 2, **options: Any) -> Iterator[Bench]:
    """A running cluster with a provider on it; all gone afterwards."""
    with Simulator(servers=servers) as sim:
        bench = Bench(sim, folder, **options)
        try:
            yield bench
        finally:
            bench.context.close()
