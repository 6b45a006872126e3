"""What every decision looks at: the journal's state, this run's looks, the limits and the time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.engine.decisions.actions import Action, Effects, Leave, Pause, ProbeNow, Stop
from keyturn.engine.decisions.looks import Looks, SinkLook
from keyturn.engine.limits import Limits
from keyturn.engine.plan import way_out
from keyturn.engine.record.frozen import Frozen, FrozenSink
from keyturn.engine.record.state import RotationState, SecretState, VersionState
from keyturn.model import Traits
from keyturn.steps import Step


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One secret at one moment. `configured`: keys of the sinks and consumers that the configuration names now.

    `attending`: a person is there to act at the vendor. `attended`: one has to, by the configuration as it is now.
    `scheduled`: nobody asked for this run.
    """

    state: SecretState
    rotation: RotationState
    looks: Looks
    limits: Limits
    now: float
    configured: frozenset[str]
    attending: bool = False
    scheduled: bool = False
    attended: bool | None = None

    @property
    def plan(self) -> Frozen:
        """What the rotation goes by."""
        return self.rotation.plan

    @property
    def traits(self) -> Traits:
        """The provider's traits as frozen at the start."""
        return self.rotation.frozen.traits

    @property
    def to(self) -> VersionState:
        """The version that the rotation moves to."""
        return self.state.under_way or self.state.versions[self.rotation.to]

    @property
    def compromised(self) -> bool:
        """Whether holds end and acknowledgements are waived; an emergency that was undone waives nothing."""
        return self.rotation.compromised and self.to.id == self.rotation.to

    @property
    def hold_ends(self) -> float | None:
        """When the hold is over (epoch s). It belongs to the version: an undone successor does not shorten it."""
        return 0.0 if self.compromised else self.to.hold_until

    @property
    def name(self) -> str:
        """The secret's name, for commands to type."""
        return self.state.secret

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Frozen, configured and discovered endpoints, less the dropped ones."""
        found = self.looks.vendor.endpoints if self.looks.vendor else ()
        joined = dict.fromkeys((*self.plan.endpoints, *found))
        return tuple(endpoint for endpoint in joined if endpoint not in self.rotation.dropped)

    @property
    def fresh_since(self) -> float:
        """Observations older than this do not count as `now`; those from before an effect are gone anyway."""
        return self.now - self.limits.looks_fresh_s


def filled(view: View) -> tuple[FrozenSink, ...]:
    """The places whose fields the new version has; an artefact that never reached us has nothing to store."""
    have = view.to.fingerprints
    return tuple(sink for sink in view.plan.sinks if all(name in have for name in sink.fields.values()))


def serves(view: View, sink: FrozenSink, look: SinkLook) -> VersionState | None:
    """The version of ours that this sink serves, told by its content."""
    if look.found is None or look.found.current is None:
        return None
    return view.state.by_fingerprints(look.found.current.fingerprints, sink.fields)


def effects(view: View, step: Step, verb: str, targets: Sequence[str]) -> Action | None:
    """The effects still to ask for, with a bounded number of tries in one run. None when all are done."""
    todo = [target for target in targets if not view.rotation.finished(verb, target)]
    if not todo:
        return None
    failures = {t: view.looks.failures[verb, t] for t in todo if (verb, t) in view.looks.failures}
    ready = [t for t in todo if t not in failures or failures[t].tries < view.limits.tries_per_run]
    if not ready:
        target, failure = next(iter(failures.items()))
        why = failure.why.removeprefix(f"{target}: ")
        return Leave(step=step, kind="retry", text=f"{verb} at {target} did not work yet: {why}")
    wait_until = max((failures[t].at + view.limits.poll_s for t in ready if t in failures), default=0.0)
    if wait_until > view.now and all(t in failures for t in ready):
        return Pause(step=step, until=wait_until, at_most=wait_until, text=f"{verb} is tried again")
    return Effects(step=step, verb=verb, targets=tuple(ready))


def known_effects(view: View, step: Step, verb: str, targets: Sequence[str]) -> Action | None:
    """The same, where some targets may be configured no more: first the others, then stuck."""
    todo = [target for target in targets if not view.rotation.finished(verb, target)]
    action = effects(view, step, verb, [target for target in todo if target in view.configured])
    return action or (unconfigured(view, step) if set(todo) - view.configured else None)


def probe(view: View, pairs: Sequence[tuple[str, str]], *, since: float) -> ProbeNow | None:
    """The probes that were not made since then. None when all were."""
    todo = tuple(pair for pair in pairs if view.looks.verdict(*pair, since=since) is None)
    return ProbeNow(pairs=todo) if todo else None


def evidence(view: View, version: VersionState, endpoints: Sequence[str]) -> str:
    """What each of these endpoints said of this version when it was asked last."""
    looks = {endpoint: view.looks.probes.get((version.id, endpoint)) for endpoint in endpoints}
    return "; ".join(f"{e} said: {look.evidence}" if look else f"{e} was not asked" for e, look in looks.items())


def heard_of_it(view: View) -> tuple[str, ...]:
    """The endpoints that have to accept the version before, as long as it is the current one."""
    return tuple(endpoint for endpoint in view.endpoints if endpoint not in view.plan.excused)


def or_without(view: View, silent: Sequence[str]) -> str:
    """How to go on without an endpoint that will not answer any more; empty where none would be left."""
    if not silent or len(view.endpoints) == 1:
        return ""
    return f" (without {silent[0]}: keyturn resume {view.name} --drop {silent[0]} --reason TEXT)"


def way_back(view: View, otherwise: str) -> str:
    """What to type where the vendor refuses what should be accepted: it shows what somebody else made since."""
    shows = view.looks.vendor is not None and view.looks.vendor.shows
    if not (shows and view.traits.dies_by_issue):
        return otherwise
    if view.rotation.compromised:  # an attacker may have made it
        return way_out(view.name, view.traits, "--compromised")
    return f"keyturn adopt {view.name} --from-vendor"


def unconfigured(view: View, step: Step) -> Stop | None:
    """Stuck, where something frozen is no longer named by the configuration (or seen at the vendor)."""
    frozen = [sink.key for sink in view.plan.sinks] + [one.name for one in view.plan.consumers]
    gone = [key for key in frozen if key not in view.configured]
    vendor = view.looks.vendor
    if vendor and not vendor.error:
        gone += [endpoint for endpoint in view.plan.endpoints if endpoint not in vendor.endpoints]
    if not gone:
        return None
    return Stop(
        step=step,
        code="frozen-unconfigured",
        reason=f"the rotation began with {gone[0]}, which the configuration no longer names",
        next=f"put it back, or: keyturn resume {view.name} --drop {gone[0]} --reason TEXT",
    )
