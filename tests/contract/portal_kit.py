"""Worlds for the two small portals: the real plugin and HTTP client against the simulator, on a driven clock."""

from __future__ import annotations

import itertools
from typing import Any

from keyturn.api import (
    Attempt,
    Bundle,
    Call,
    Half,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    Plugin,
    ProbeRequest,
    RetireRequest,
    RetireResponse,
    SettleRequest,
    SettleResponse,
    Verdict,
    Version,
    Waiting,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.context import FakeContext

HOW = {"refused": "403", "before": "reset-before", "after": "reset-after"}
"""The kit's faults in the simulator's words; `late:S` is the same, `unavailable` a cut line."""
PATIENCE_S = 20.0


class PortalWorld:
    """What the shared suite asks of a world. `changes` is the group of calls that change something."""

    tick_s = 1.0
    changes = "change"

    def __init__(self, sim: Any, plugin: Plugin, clock: FakeClock, secret: str) -> None:
        self.sim, self.plugin, self.clock, self.secret = sim, plugin, clock, secret
        assert plugin.account
        assert plugin.target
        account, (target,) = dict(sim.account()), self._targets()
        account.pop("kind")
        self.account = plugin.account.model_validate(account)
        self.target = plugin.target.model_validate(target)
        self.context = FakeContext(clock, references={f"env:{name}": value for name, value in sim.environment.items()})

    def _targets(self) -> list[dict[str, Any]]:
        return [one["target"] for one in self.sim.configuration(None)["secrets"].values()]

    def misbehave(self, verb: str, fault: str, nth: int = 1) -> None:
        if fault == "unavailable":
            self.context.cut(nth, changes_only=verb in ("issue", "retire"))
        else:
            self.sim.fault(self.changes, fault if fault.startswith("late") else HOW[fault], skip=nth - 1)

    def person(self, waiting: Waiting) -> Bundle:
        raise AssertionError(f"nobody is waited for here: {waiting}")


class Bench:
    """One provider at one portal, with short names for the verbs and the versions so far."""

    def __init__(self, world: Any) -> None:
        self.world, self.sim, self.clock = world, world.sim, world.clock
        self.provider = world.plugin.load()(world.context, world.account)
        self.current: Version = world.seed()
        self.known: tuple[str, ...] = (self.current.handle or "",)
        self._numbers = itertools.count(2)
        self._before = self.inspect()
        self._attempts: list[Attempt] = []
        self.new = self.next()

    def fresh(self) -> None:
        """Go on in another process, by the account as it is now."""
        self.provider = self.world.plugin.load()(self.world.context, self.world.account)

    def next(self) -> Version:
        """The next version, in the idle slot where there are slots."""
        number = next(self._numbers)
        slots = [slot.name for slot in self.traits.slots if slot.name != self.current.slot]
        fixed = {field.name: field.value for field in self.traits.fields if field.value}
        self._before, self._attempts = self.inspect(), []
        slot = slots[0] if slots else None
        self.new = Version(id=f"0197-{number}", number=number, slot=slot, bundle=Bundle(fixed))
        return self.new

    @property
    def traits(self) -> Any:
        """The traits of the secret."""
        return self.world.plugin.traits(self.world.account, self.world.target)

    def call(self, attempt: str = "look", patience_s: float = PATIENCE_S) -> Call:
        """A call with some patience."""
        return Call(
            secret=self.world.secret,
            rotation_id="rotation-1",
            attempt_id=attempt,
            deadline_at=self.clock.now() + patience_s,
            target=self.world.target,
        )

    def inspect(self) -> InspectResponse:
        """Look."""
        request = InspectRequest(call=self.call(), current=self.current, known=self.known)
        answer = self.provider.inspect(request)
        assert isinstance(answer, InspectResponse)
        return answer

    def codes(self) -> set[str]:
        """The codes of the problems that a look finds."""
        return {problem.code for problem in self.inspect().problems}

    def issue(self) -> Version:
        """One attempt; the whole new version."""
        call = self.call(f"attempt-{self.new.id}-{len(self._attempts)}")
        self._attempts.append(Attempt(id=call.attempt_id, sent_at=self.clock.now(), deadline_at=call.deadline_at))
        answer = self.provider.issue(IssueRequest(call=call, new=self.new, witness=self._before.witness))
        assert isinstance(answer, IssueResponse)
        return self._whole(answer.handle, answer.bundle)

    def settle(self, *, sealed: bool = True) -> SettleResponse:
        """Look what became of it; with the answers that were sealed, or without."""
        raws = [raw for one in self._attempts for raw in self.world.context.sealed.get(one.id, ())]
        request = SettleRequest(
            call=self.call(),
            new=self.new,
            witness=self._before.witness,
            attempts=tuple(self._attempts),
            raws=tuple(raws) if sealed else (),
        )
        answer = self.provider.settle(request)
        assert isinstance(answer, SettleResponse)
        return answer

    def adopt(self, settled: SettleResponse) -> Version:
        """The version that was found applied."""
        return self._whole(settled.handle, settled.bundle)

    def _whole(self, handle: str | None, bundle: Bundle) -> Version:
        self.new = Version(
            id=self.new.id,
            number=self.new.number,
            slot=self.new.slot,
            handle=handle,
            bundle=self.new.bundle.with_(bundle),
        )
        self.known = (*self.known, handle or "")
        return self.new

    def retire(self, version: Version, successor: Version | None = None) -> RetireResponse:
        """Make the portal refuse it."""
        request = RetireRequest(
            call=self.call("retire"),
            handle=version.handle or "",
            slot=version.slot,
            half=Half.REFUSE,
            successor=successor.handle if successor else None,
        )
        answer = self.provider.retire(request)
        assert isinstance(answer, RetireResponse)
        return answer

    def verdicts(self, version: Version) -> list[Verdict]:
        """What each gateway says, through the provider."""
        return [
            self.provider.probe(ProbeRequest(call=self.call(), endpoint=one, bundle=version.bundle)).verdict
            for one in self.world.account.gateways
        ]

    def sent(self, on: str) -> list[int]:
        """The statuses of the calls of one kind."""
        return [entry["status"] for entry in self.sim.log if entry["on"] == on]
