"""A provider on a bench: the real plugin and HTTP client, on a clock under control, against the simulated service."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from keyturn.api import (
    Attempt,
    Bundle,
    Call,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    ProbeRequest,
    ProbeResponse,
    Problem,
    Settled,
    SettleRequest,
    SettleResponse,
    Version,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.context import FakeContext
from keyturn_sahamati.hook import keyturn_plugin
from keyturn_sahamati.options import Account, Target
from keyturn_sahamati.simulator import ENTITY, SECRET, TOKEN, Simulator

PATIENCE_S = 20.0
NOTHING_BEFORE = {"entity_secret": "", "expires_on": ""}
"""The witness of a look that found no secret: with it a reset is sent although no look went well."""
SHORT_S = 0.4
"""How long a call may take that will get no answer."""


def references(sim: Simulator) -> dict[str, str]:
    """What the account's references resolve to."""
    return {f"env:{name}": value for name, value in sim.environment.items()}


def account_of(sim: Simulator, **options: Any) -> Account:
    """The simulator's account, with the vendor's own delays."""
    login = {"base_url": sim.base_url, "username": "env:SAHAMATI_USER", "password": "env:SAHAMATI_PASSWORD"}
    return Account.model_validate({**login, **options})


class Bench:
    """One provider at one service: short names for the verbs. `fresh` goes on in another process."""

    def __init__(self, sim: Simulator, clock: FakeClock, *, entity: str = ENTITY, **options: Any) -> None:
        self.sim, self.clock, self.entity = sim, clock, entity
        self.context = FakeContext(clock, references=references(sim))
        self.account = account_of(sim, **options)
        self.target = Target(entity_id=entity)
        self.provider = keyturn_plugin().load()(self.context, self.account)
        self.witness: Mapping[str, str] = {}
        self.attempts: list[Attempt] = []
        self.patience_s = PATIENCE_S
        self.old = Bundle(sim.initial[SECRET]["bundle"])

    def fresh(self) -> None:
        """Go on in another process."""
        self.provider = keyturn_plugin().load()(self.context, self.account)

    def call(self, attempt: str = "", target: Target | None = None, source: Version | None = None) -> Call:
        """A call with the bench's patience."""
        return Call(
            secret=TOKEN if target else SECRET,
            rotation_id="rotation-1",
            attempt_id=attempt or str(uuid.uuid4()),
            deadline_at=self.clock.now() + self.patience_s,
            target=target or self.target,
            source=source,
        )

    def inspect(self, *, current: bool = True, want_value: bool = False) -> InspectResponse:
        """Look; what it saw is the witness of the next reset."""
        version = Version(id="v1", number=1, bundle=self.old) if current else None
        request = InspectRequest(call=self.call(), current=version, want_value=want_value)
        answer = self.provider.inspect(request)
        assert isinstance(answer, InspectResponse)
        self.witness = answer.witness
        return answer

    def problem(self) -> Problem:
        """The one problem that a look finds."""
        (found,) = self.inspect().problems
        return found

    def issue(self, *, patience_s: float | None = None) -> IssueResponse:
        """One reset."""
        usual, self.patience_s = self.patience_s, patience_s or self.patience_s
        call = self.call()
        self.patience_s = usual
        self.attempts.append(Attempt(id=call.attempt_id, sent_at=self.clock.now(), deadline_at=call.deadline_at))
        new = Version(id="v2", number=2, bundle=Bundle({"entity_id": self.entity}))
        answer = self.provider.issue(IssueRequest(call=call, new=new, witness=self.witness))
        assert isinstance(answer, IssueResponse)
        return answer

    def settle(self) -> SettleResponse:
        """Look for the truth, with the answers that were sealed."""
        raws = tuple(raw for attempt in self.attempts for raw in self.context.sealed.get(attempt.id, ()))
        new = Version(id="v2", number=2, bundle=Bundle({"entity_id": self.entity}))
        request = SettleRequest(
            call=self.call(), new=new, witness=self.witness, attempts=tuple(self.attempts), raws=raws
        )
        answer = self.provider.settle(request)
        assert isinstance(answer, SettleResponse)
        return answer

    def settled(self) -> Settled:
        """Its outcome."""
        return self.settle().outcome

    def settled_within(self, outcome: Settled, *, at_most_s: float = 120.0, every_s: float = 24.0) -> bool:
        """Whether that outcome is seen by looking as often as the account says."""
        return self.context.wait(lambda: self.settled() is outcome, every_s=every_s, at_most_s=at_most_s)

    def probe(self, bundle: Bundle) -> ProbeResponse:
        """Ask about a secret."""
        request = ProbeRequest(call=self.call(), endpoint=self.account.url, bundle=bundle)
        answer = self.provider.probe(request)
        assert isinstance(answer, ProbeResponse)
        return answer

    def current(self) -> Bundle:
        """What the service holds."""
        return Bundle(self.sim.current(self.entity))

    def resets(self) -> list[str]:
        """The transaction ids of all resets that reached the service, committed or not."""
        return [entry["txnId"] for entry in self.sim.log if (entry["event"], entry["on"]) == ("attempt", "reset")]

    def committed(self) -> int:
        """How many resets took effect."""
        return len(self.sim.commits)

    def asked(self, on: str) -> int:
        """How many calls of one kind reached the service."""
        return len([entry for entry in self.sim.log if (entry["event"], entry["on"]) == ("attempt", on)])


def same(one: Bundle, other: Bundle) -> bool:
    """Whether two bundles hold the same secret."""
    return one["entity_secret"].same_as(other["entity_secret"])


@contextmanager
def running_bench(*, entity: str = ENTITY, **options: Any) -> Iterator[Bench]:
    """A running service with a provider on it; all gone afterwards."""
    clock = FakeClock()
    with Simulator(now=clock.now) as sim:
        bench = Bench(sim, clock, entity=entity, **options)
        try:
            yield bench
        finally:
            bench.context.close()
