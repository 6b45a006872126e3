"""A whole Keyturn in one process: a fake vendor, fake sinks, a real journal and escrow, and time under control."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pyrage import x25519  # type: ignore[import-untyped] # it ships no types

from keyturn.config.model import Account, Consumer, ManagedSecret
from keyturn.engine.adoption import Adoption, adopt
from keyturn.engine.bench import Answers, Bench
from keyturn.engine.effects.driver import REMARKS
from keyturn.engine.entry import Ask, resume, rotate
from keyturn.engine.fence import Fence
from keyturn.engine.job import BoundSink, Job
from keyturn.engine.limits import Limits
from keyturn.engine.outcome import Outcome
from keyturn.engine.record.events import Noted
from keyturn.engine.record.fold import fold
from keyturn.engine.record.state import SecretState
from keyturn.escrow import Escrow
from keyturn.journal import JournalSettings, make_journal, open_journal
from keyturn.journal.store import Journal
from keyturn.overlaps import alternating, cutover, dual, grace
from keyturn.plugins.overlap import Overlap, OverlapPolicy
from keyturn.schedule import RotatePolicy
from keyturn.secret import Bundle
from keyturn.testing.clock import FakeClock
from keyturn.testing.context import FakeContext
from keyturn.testing.fake_sink import FakeSink, FakeStore, store_account
from keyturn.testing.fakes import FAKES, Vendor
from keyturn.testing.fakes.options import FakePlace

LIMITS = Limits(call_s=5.0, probe_s=5.0, notify_s=5.0, lease_s=120.0, patience_s=600.0, poll_s=1.0)
OVERLAPS: Mapping[str, Callable[[], Overlap]] = {
    "dual": dual.Dual,
    "alternating": alternating.Alternating,
    "grace": grace.Grace,
    "cutover": cutover.Cutover,
}


class FakeNotifier:
    """Consumers that answer as planned: `plan[(event, consumer)]` is a list of errors to raise, one a call."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int]] = []
        self.plan: dict[tuple[str, str], list[Exception]] = {}

    def notify(self, request: Any) -> None:
        """Record what a consumer was told; raise what was planned."""
        self.told.append((request.event, request.consumer, request.number))
        planned = self.plan.get((request.event, request.consumer))
        if planned:
            raise planned.pop(0)


@dataclass
class Rig:
    """One secret `app/main` at a fake vendor, published to two fake sinks. `crash` wraps the journal of one process.

    Artefacts go to a place of their own in the first store, or in a store of their own called `custody`.
    """

    folder: Path
    fake: str = "open"
    account: Mapping[str, Any] = field(default_factory=dict)
    policy: OverlapPolicy = field(default_factory=lambda: OverlapPolicy(hold_s=60.0, accept_outage_s=60.0))
    consumers: tuple[Consumer, ...] = ()
    sinks: Sequence[str] = ("near", "far")
    custody: str | None = None
    clock: FakeClock = field(default_factory=FakeClock)
    notifier: FakeNotifier = field(default_factory=FakeNotifier)
    limits: Limits = LIMITS
    crash: Callable[[Journal], Journal] = lambda journal: journal
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.vendor: Vendor = FAKES[self.fake].make_vendor(self.clock, self.account)
        self.plugin = FAKES[self.fake].plugin
        self.stores = {
            name: FakeStore(self.clock, name=name) for name in (*self.sinks, *([self.custody] if self.custody else []))
        }
        self.settings = JournalSettings(kind="sqlite", path=self.folder / "journal.db")
        make_journal(self.settings, clock=self.clock).close()
        self.identity = str(x25519.Identity.generate())
        self.runners = 0
        self.target = self.plugin.target(name="main") if self.plugin.target else None

    def bench(self, operator: str = "olga@test") -> Bench:
        """What one process has in hand: a journal opened anew, under a runner name of its own."""
        self.runners += 1
        runner = f"runner-{self.runners}"
        journal = self.crash(open_journal(self.settings, clock=self.clock, runner=runner, operator=operator))
        answers = Answers()
        escrow = Escrow(journal, [self.identity], [], journal.now)
        answers.keep_in(escrow)
        values: set[str] = set()
        return Bench(
            journal=journal,
            escrow=escrow,
            clock=self.clock,
            fence=Fence(lambda: tuple(values)),
            resolve=lambda reference: FakeContext(self.clock).resolve(reference),
            notifier=self.notifier,
            runner=runner,
            operator=operator,
            entropy=random.Random(self.runners).randbytes,  # noqa: S311 - repeatable on purpose
            answers=answers,
            values=values,
            limits=self.limits,
            tell=lambda secret, body: self.lines.append(f"{secret} {type(body).__name__} {body}"),
        )

    def job(self, bench: Bench) -> Job:
        """The secret with its plugins, as one process sees it."""
        assert self.plugin.traits is not None
        traits: Any = self.plugin.traits(self.vendor.account, self.target)
        context = _RigContext(self.clock, bench)
        secret = ManagedSecret(
            name="app/main",
            provider="vendor",
            target=self.target,
            rotate=RotatePolicy(),
            overlap=self.policy,
            sinks=(),
            consumers=self.consumers,
            subject="fake:main",
        )
        return Job(
            secret=secret,
            account=Account(name="vendor", kind=self.fake, plugin=self.plugin, options=self.vendor.account),
            provider=self.plugin.load()(context, self.vendor.account),
            traits=traits,
            sinks=tuple(self._bound(context, name, traits) for name in self.sinks) + self._custody(context, traits),
            overlaps=lambda name: OVERLAPS[name](),
        )

    def _bound(self, context: Any, name: str, traits: Any) -> BoundSink:
        fields = {one.name: one.name for one in traits.fields if not one.artefact}
        sink = FakeSink(context, store_account(self.stores[name]))
        place = FakePlace(path="app/main")
        return BoundSink(key=f"{name}:app/main", sink=name, plugin="fake", target=sink, place=place, fields=fields)

    def _custody(self, context: Any, traits: Any) -> tuple[BoundSink, ...]:
        """Artefacts go to a place of their own."""
        sink = FakeSink(context, store_account(self.stores[self.custody or self.sinks[0]]))
        return tuple(
            BoundSink(
                key=f"custody:{name}",
                sink="custody",
                plugin="fake",
                target=sink,
                place=FakePlace(path=f"custody/{name}"),
                fields={name: name},
                artefact=True,
            )
            for name in traits.artefacts
        )

    def adopt(self) -> Outcome:
        """Take over what an admin made at the vendor."""
        handle, bundle, slot = self.vendor.seed()
        plain = Bundle({name: value for name, value in bundle.items() if name != "recovery_file"})
        bench = self.bench()
        try:
            return adopt(bench, self.job(bench), Adoption(bundle=plain, handle=handle, slot=slot))
        finally:
            bench.journal.close()

    def rotate(self, **ask: Any) -> Outcome:
        """One process that rotates."""
        bench = self.bench()
        try:
            return rotate(bench, self.job(bench), Ask(**ask))
        finally:
            bench.journal.close()

    def run(self, supplied: Bundle | None = None) -> Outcome:
        """One process that carries on."""
        bench = self.bench()
        try:
            return resume(bench, self.job(bench), supplied=supplied)
        finally:
            bench.journal.close()

    def state(self) -> SecretState:
        """What the journal says."""
        journal = open_journal(self.settings, clock=self.clock, runner="reader", operator="reader")
        try:
            return fold("app/main", journal.events("app/main"))
        finally:
            journal.close()

    def settle(self, runs: int = 12, step_s: float = 200.0) -> Outcome:
        """Run until quiet, letting time pass in between; the last outcome."""
        outcome = self.run()
        for _ in range(runs):
            if outcome.status in ("quiet", "stuck"):
                return outcome
            self.clock.advance(step_s)
            outcome = self.run()
        return outcome

    def served(self) -> list[Mapping[str, str] | None]:
        """What consumers read, from every sink."""
        return [store.serves("app/main") for store in self.stores.values()]

    def with_limits(self, **changes: Any) -> None:
        """Other limits from now on."""
        self.limits = replace(self.limits, **changes)


class _RigContext(FakeContext):
    """A context whose fingerprints and sealing are the estate's."""

    def __init__(self, clock: FakeClock, bench: Bench) -> None:
        super().__init__(clock)
        self._bench = bench

    def fingerprint(self, value: str) -> str:
        """The estate's keyed fingerprint."""
        return self._bench.escrow.fingerprint(value)

    def seal(self, attempt_id: str, raw: Any) -> None:
        """Into the estate's escrow."""
        self._bench.answers.seal(attempt_id, raw)

    def note(self, event: str, fields: Mapping[str, str]) -> None:
        """Into the journal, with the next event."""
        remarks = REMARKS.get()
        if remarks is not None:
            remarks.append(Noted(event=event, fields=dict(fields)))
