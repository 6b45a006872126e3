"""A provider on a bench: the real plugin and HTTP client, on a clock under control, against the simulated Circle."""

from __future__ import annotations

import secrets
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from keyturn.api import (
    Attempt,
    Bundle,
    Call,
    CommandRequest,
    CommandResponse,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    Mode,
    ProbeRequest,
    ProbeResponse,
    Problem,
    ResetRequest,
    Secret,
    Settled,
    SettleRequest,
    SettleResponse,
    Version,
    Waiting,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.context import FakeContext
from keyturn_circle.hook import keyturn_plugin
from keyturn_circle.options import Account, Target
from keyturn_circle.simulator import SECRET, Simulator

FIELD, FILE = "entity_secret", "recovery_file"
PATIENCE_S = 20.0
SHORT_S = 0.4
"""How long a call may take that will get no answer."""

BITS = 2048
"""Of the simulated server's key: as good as the real size here, and made quickly."""


def references(sim: Simulator) -> dict[str, str]:
    """What the account's references resolve to."""
    return {f"env:{name}": value for name, value in sim.environment.items()}


def account_of(sim: Simulator, **options: Any) -> Account:
    """The simulator's account, replaced by calls unless said otherwise."""
    usual = {"environment": "test", "api_key": "env:CIRCLE_API_KEY", "base_url": sim.url, "way": "api"}
    return Account.model_validate({**usual, "key_bits": BITS, **options})


class Bench:
    """One provider at one entity: short names for the verbs. `fresh` goes on in another process."""

    def __init__(self, sim: Simulator, clock: FakeClock, *, canary: bool = True, **options: Any) -> None:
        self.sim, self.clock = sim, clock
        self.context = FakeContext(clock, references=references(sim))
        self.account = account_of(sim, **options)
        self.target = Target(canary_wallet=sim.canary if canary else None)
        self.witness: Mapping[str, str] = {}
        self.attempts: list[Attempt] = []
        self.supplied = Bundle()
        self.patience_s = PATIENCE_S
        self.current: Version | None = None
        if sim.initial:
            first = sim.initial[SECRET]
            self.current = Version(id="v1", number=1, handle=first["handle"], bundle=Bundle(first["bundle"]))
        self.new = Version(id="v2", number=2, bundle=Bundle({FIELD: secrets.token_hex(32)}))
        self.fresh()

    def fresh(self) -> None:
        """Go on in another process."""
        self.provider = keyturn_plugin().load()(self.context, self.account)

    def configure(self, **options: Any) -> None:
        """Go on with other options."""
        self.account = account_of(self.sim, **options)
        self.fresh()

    def call(self, attempt: str = "") -> Call:
        """A call with the bench's patience."""
        return Call(
            secret=SECRET,
            rotation_id="rotation-1",
            attempt_id=attempt or str(uuid.uuid4()),
            deadline_at=self.clock.now() + self.patience_s,
            target=self.target,
        )

    def inspect(self, *, mode: Mode = Mode.NORMAL, knowing: bool = False) -> InspectResponse:
        """Look; what it saw is the witness of what follows."""
        request = InspectRequest(call=self.call(), current=self.current, mode=mode, knowing=knowing)
        answer = self.provider.inspect(request)
        assert isinstance(answer, InspectResponse)
        self.witness = answer.witness
        return answer

    def problem(self, **how: Any) -> Problem:
        """The one problem that a look finds."""
        (found,) = self.inspect(**how).problems
        return found

    def issue(self) -> IssueResponse:
        """One attempt to rotate, or to register where there is no current secret."""
        answer = self.provider.issue(
            IssueRequest(call=self._attempt(), new=self.new, current=self.current, witness=self.witness)
        )
        assert isinstance(answer, IssueResponse)
        return answer

    def reset(self, file: str | None = None) -> IssueResponse:
        """One attempt to reset with a recovery file."""
        request = ResetRequest(
            call=self._attempt(), new=self.new, supplied=Bundle({FILE: file} if file else {}), witness=self.witness
        )
        answer = self.provider.reset(request)
        assert isinstance(answer, IssueResponse)
        return answer

    def settle(self, *, final: bool = False, mode: Mode = Mode.NORMAL) -> SettleResponse:
        """Look for the truth, with the answers that were sealed."""
        raws = tuple(raw for attempt in self.attempts for raw in self.context.sealed.get(attempt.id, ()))
        request = SettleRequest(
            call=self.call(),
            new=self.new,
            current=self.current,
            witness=self.witness,
            attempts=tuple(self.attempts),
            raws=raws,
            supplied=self.supplied,
            final=final,
            mode=mode,
        )
        answer = self.provider.settle(request)
        assert isinstance(answer, SettleResponse)
        return answer

    def settled(self, **how: Any) -> Settled:
        """Its outcome."""
        return self.settle(**how).outcome

    def probe(self, version: Version | None) -> ProbeResponse:
        """Ask about a version."""
        assert version
        request = ProbeRequest(call=self.call(), endpoint=self.account.endpoint, bundle=version.bundle)
        answer = self.provider.probe(request)
        assert isinstance(answer, ProbeResponse)
        return answer

    def command(self, name: str) -> CommandResponse:
        """One of the plugin's own commands."""
        answer = self.provider.command(CommandRequest(call=self.call(), name=name, current=self.current))
        assert isinstance(answer, CommandResponse)
        return answer

    def click(self, waiting: Waiting) -> str:
        """A person pastes what was shown; the recovery file that the Console gives."""
        return str(self.sim.console_rotate(**waiting.show.reveal()))

    def _attempt(self) -> Call:
        call = self.call()
        self.attempts.append(Attempt(id=call.attempt_id, sent_at=self.clock.now(), deadline_at=call.deadline_at))
        return call

    # what the vendor saw

    def asked(self, *on: str) -> list[dict[str, Any]]:
        """The attempts of these kinds (of all, where none is named), each as often as a client sent it."""
        kinds = [entry for entry in self.sim.log if entry["event"] == "attempt" and not entry.get("repeated")]
        return [entry for entry in kinds if not on or entry["on"] in on]

    def commits(self) -> list[dict[str, Any]]:
        """The changes that took effect."""
        return [entry for entry in self.sim.log if entry["event"] == "commit"]

    def bad(self) -> int:
        """How often a secret was refused that we asked with."""
        return len([entry for entry in self.asked("sign", "wallet-sets") if entry["code"] in (156013, 156016)])

    def in_force(self, version: Version | None) -> bool:
        """Whether the vendor accepts this version now."""
        return bool(version and self.sim.accepts(version.bundle.reveal()))


def sent_twice(sim: Simulator) -> list[str]:
    """The ciphertexts that a client sent more than once; a late call is in the log when it came and when it acted."""
    came = [
        one
        for one in sim.log
        if not one.get("repeated") and not (one.get("fault", "").startswith("late") and one["status"])
    ]
    times = Counter(text for entry in came for text in entry.get("ciphertexts", ()))
    return [text for text, count in times.items() if count > 1]


def revealed(bundle: Bundle, name: str = FILE) -> str:
    """A field in clear; empty where it is not there."""
    return bundle.get(name, Secret("")).reveal()


@contextmanager
def running_bench(*, registered: bool = True, **options: Any) -> Iterator[Bench]:
    """A running service with a provider on it; all gone afterwards."""
    clock = FakeClock()
    with Simulator(now=clock.now, wait=clock.wait, registered=registered, key_bits=BITS) as sim:
        sim.switch(rest="on")
        bench = Bench(sim, clock, **options)
        try:
            yield bench
        finally:
            bench.context.close()
