"""One secret under its lease: the folded state, this run's looks, the values at hand, and the way to the journal."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from dataclasses import replace

from keyturn.engine.bench import Bench
from keyturn.engine.decisions.looks import Looks
from keyturn.engine.effects.leases import Held
from keyturn.engine.fence import Ask, Result
from keyturn.engine.job import BoundSink, Job
from keyturn.engine.record import events as ev
from keyturn.engine.record.fold import fold
from keyturn.engine.record.state import RotationState, SecretState, VersionState
from keyturn.engine.record.summary import summarise
from keyturn.errors import StuckError
from keyturn.ids import uuid7
from keyturn.journal.store import Draft
from keyturn.mint import given
from keyturn.model import Version
from keyturn.plugins.provider import Call, Waiting
from keyturn.plugins.sink import SinkCall
from keyturn.secret import Bundle
from keyturn.states import State

REMARKS: contextvars.ContextVar[list[ev.Noted] | None] = contextvars.ContextVar("remarks", default=None)
"""Where a plugin's notes go during one call."""


class Driver:
    """What every effect works on. Values are kept in memory only as long as the run.

    `public` names the fields whose values are no secret. `attending`: a person is there to act at the vendor;
    `scheduled`: nobody asked for this run. `show` hands what he is to be shown to whoever can. `supplied` is what
    an operator handed in for the version that is set, `proof` what a reset is proven by, with where it was found.
    `held` is None where nothing is journaled.
    """

    def __init__(self, bench: Bench, job: Job, held: Held | None) -> None:
        self.bench = bench
        self.job = job
        self._held = held
        self.state: SecretState = fold(job.name, bench.journal.events(job.name))
        rotation = self.state.rotation
        waited = rotation.waiting if rotation else None
        self.looks = Looks(began_at=bench.journal.now(), old_at=waited.seen_at if waited else None)
        self.remarks: list[ev.Noted] = []
        self.decoy: Bundle | None = None
        self.supplied = Bundle()
        self.proof = Bundle()
        self.proof_from = ""
        self.attending = False
        self.scheduled = False
        self.show: Callable[[Waiting], None] = lambda _: None
        self.waits_for = ""
        self._bundles: dict[str, Bundle] = {}
        self._odd: set[tuple[str, str]] = set()
        self._unwritten: list[ev.Body] = []
        self._written = self.state
        self.public = frozenset(one.name for one in job.traits.fields if not one.sensitive)
        self._source_state: SecretState | None = None

    @property
    def held(self) -> Held:
        """The lease."""
        if self._held is None:
            message = "nothing is journaled without a lease"
            raise AssertionError(message)
        return self._held

    @property
    def rotation(self) -> RotationState:
        """The latest rotation."""
        if self.state.rotation is None:
            message = "there is no rotation to drive"
            raise AssertionError(message)
        return self.state.rotation

    @property
    def to(self) -> VersionState:
        """The version under way."""
        return self.state.under_way or self.state.versions[self.rotation.to]

    def now(self) -> float:
        """Epoch seconds by the journal's clock."""
        return self.bench.journal.now()

    def new_id(self) -> str:
        """A fresh UUIDv7."""
        return uuid7(self.now(), self.bench.entropy(10))

    @property
    def holds_back(self) -> bool:
        """Whether there are events that were folded and are not journaled yet."""
        return bool(self._unwritten)

    def hold_back(self, *bodies: ev.Body) -> None:
        """Go on with these events as if they were journaled; they are, in one transaction with those that come next.

        For the gap alone, and for what says only what has happened: whoever dies in between settles by looking, as
        after any answer that was not journaled in time (ADR 0018).
        """
        self._written = self._written if self.holds_back else self.state
        self._unwritten += bodies
        self.state = self.after(*bodies)

    def flush(self) -> None:
        """Journal what was held back. Raises LeaseLost."""
        if self.holds_back:
            self.append()

    def append(self, *new: ev.Body, rotation: str | None = None) -> None:
        """Journal these events in one transaction, fold them, tell of them. Raises LeaseLost."""
        bodies, start = (*self._unwritten, *new), self._written if self.holds_back else self.state
        rotation_id = rotation or (self.state.rotation.id if self.state.rotation else None)
        noted = [self._clean(one) for one in self.remarks]
        del self.remarks[: len(noted)]  # a call that is still under way goes on adding
        begins = next((number for number, body in enumerate(bodies) if isinstance(body, ev.Started)), len(bodies))
        before = self.state.rotation.id if self.state.rotation else rotation_id
        drafts = [ev.draft(body, before) for body in (*noted, *bodies[:begins])]
        drafts += [ev.draft(body, rotation_id) for body in bodies[begins:]]
        summary = summarise(self._ahead(start, drafts))
        stored = self.bench.journal.append(self.job.name, drafts, lease=self.held.lease, summary=summary)
        self.state = fold(self.job.name, stored, start)
        self._unwritten.clear()
        for body in (*noted, *bodies):
            self.bench.tell(self.job.name, body)

    def _clean(self, remark: ev.Noted) -> ev.Noted:
        clean = self.bench.fence.clean
        fields = {name: clean(f"{text}") for name, text in remark.fields.items()}
        return ev.Noted(event=clean(remark.event), fields=fields)

    def after(self, *bodies: ev.Body) -> SecretState:
        """The state as it would be after these events; nothing is journaled."""
        rotation_id = self.state.rotation.id if self.state.rotation else None
        return self._ahead(self.state, [ev.draft(body, rotation_id) for body in bodies]) if bodies else self.state

    def _ahead(self, state: SecretState, drafts: Sequence[Draft]) -> SecretState:
        """The state as it will be, for the summary row that is stored in the same transaction."""
        events = ev.foretold(self.job.name, drafts, after=state.seq, at=self.now(), operator=self.bench.operator)
        return fold(self.job.name, events, state)

    def ask(self, asks: Sequence[Ask], landed: Callable[[int, Result], None] | None = None) -> list[Result]:
        """Call plugins side by side through the fence; an overrun makes this process leave the subject alone."""

        def arrived(index: int, result: Result) -> None:
            self.bench.values.update(result.values)
            self._remark_odd(asks[index], result)
            if landed:
                landed(index, result)

        token = REMARKS.set(self.remarks)
        try:
            results = self.bench.fence.call_all(asks, arrived)
        finally:
            REMARKS.reset(token)
        if any(result.overran for result in results):
            self.looks = replace(self.looks, overran=True)
        return results

    def _remark_odd(self, ask: Ask, result: Result) -> None:
        """What no calendar has counts as unknown; the operator hears of it, once a run."""
        for name, said in result.odd.items():
            if (ask.plugin, name) not in self._odd:
                self._odd.add((ask.plugin, name))
                told = {"plugin": ask.plugin, "verb": ask.verb, name: said}
                self.remarks.append(ev.Noted(event="expiry-implausible", fields=told))

    def bundle(self, version_id: str) -> Bundle | None:
        """A version's value, from memory or the escrow."""
        if version_id not in self._bundles:
            found = self.bench.escrow.open_version(self.job.name, version_id)
            if found is None:
                return None
            self.remember(version_id, found)
        return self._bundles[version_id]

    def readable(self, version_id: str) -> Bundle | None:
        """A version's value where it is known; None too where its envelope does not open here any more."""
        try:
            return self.bundle(version_id)
        except StuckError:
            return None

    def keep(self, version_id: str, bundle: Bundle) -> None:
        """Seal a version's value, durably, before anything else is done with it."""
        self.bench.escrow.seal_version(self.job.name, version_id, bundle)
        self.remember(version_id, bundle)

    def remember(self, version_id: str, bundle: Bundle) -> None:
        """Have a value at hand for this run; from now on the fence takes it out of every message."""
        self._bundles[version_id] = bundle
        self._hide(bundle)

    def _hide(self, bundle: Bundle) -> None:
        """Public fields stay in messages; a source's too, where they have the name of one of ours."""
        self.bench.values.update(text for name, text in bundle.reveal().items() if name not in self.public)

    def fingerprints(self, bundle: Bundle) -> dict[str, str]:
        """The keyed fingerprints of a bundle's fields."""
        return bundle.fingerprints(self.bench.escrow.fingerprint)

    def version(self, state: VersionState) -> Version:
        """A version as a plugin sees it, with its value where it is known."""
        known = self.bundle(state.id) if state.state is State.PENDING else self.readable(state.id)
        bundle = known or Bundle(given(self.job.traits, state.slot))
        return Version(id=state.id, number=state.number, slot=state.slot, handle=state.handle, bundle=bundle)

    def call(self, *, within_s: float, attempt: str = "") -> Call:
        """What every provider call carries."""
        rotation = self.state.rotation
        return Call(
            secret=self.job.name,
            rotation_id=rotation.id if rotation else "",
            attempt_id=attempt or self.new_id(),
            deadline_at=self.now() + within_s,
            target=self.job.secret.target,
            compromised=bool(rotation and rotation.compromised),
            source=self.source(),
        )

    @property
    def source_state(self) -> SecretState | None:
        """What the journal says of the secret that this one is derived from, as last read."""
        return self._source_state

    def source(self) -> Version | None:
        """The current version of the secret that this one is derived from, with its value from the escrow."""
        name = self.job.secret.source
        if name is None:
            return None
        before = self._source_state or SecretState(secret=name)
        self._source_state = fold(name, self.bench.journal.events(name, after=before.seq), before)
        current = self._source_state.current
        if current is None:
            return None
        bundle = self.bench.escrow.open_version(name, current.id) or Bundle()
        self._hide(bundle)
        return Version(id=current.id, number=current.number, slot=current.slot, handle=current.handle, bundle=bundle)

    def sink_call(self, sink: BoundSink) -> SinkCall:
        """What every sink call carries."""
        return SinkCall(
            secret=self.job.name,
            place=sink.place,
            deadline_at=self.now() + self.bench.limits.call_s,
            journal_id=self.bench.journal.id,
        )

    def ask_provider(self, verb: str, request: object, within_s: float) -> Ask:
        """One provider call."""
        return Ask(
            plugin=self.job.account.name,
            target=self.job.provider,
            verb=verb,
            request=request,
            within_s=within_s,
            public=self.public,
        )

    def ask_sink(self, sink: BoundSink, verb: str, request: object) -> Ask:
        """One sink call."""
        return Ask(
            plugin=sink.key,
            target=sink.target,
            verb=verb,
            request=request,
            within_s=self.bench.limits.call_s,
            public=frozenset(stored for stored, source in sink.fields.items() if source in self.public),
        )
