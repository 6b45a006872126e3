"""The plan of a rotation before anything is asked of the vendor: overlap, steps, outage, digest. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from keyturn.engine.job import Job
from keyturn.engine.record.frozen import Frozen, FrozenConsumer, FrozenSink
from keyturn.engine.record.state import SecretState, VersionState
from keyturn.model import Mode, Problem, Traits
from keyturn.plugins.overlap import Choices, ChooseRequest, Live, Overlap, OverlapPolicy
from keyturn.steps import Step, derive

BEST_FIRST = ("alternating", "dual", "grace", "cutover")
"""`auto` takes the first that fits, never one with an outage that the policy does not accept."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a rotation would do. `ends`: numbers of the versions that it ends. Approve it by its `digest`."""

    secret: str
    mode: Mode
    number: int
    previous: VersionState | None
    slot: str | None
    overlap: str
    frozen: Frozen
    choices: Choices
    ends: tuple[int, ...]
    problems: tuple[Problem, ...]
    digest: str

    def as_data(self) -> dict[str, Any]:
        """The plan as one JSON object."""
        return {
            "secret": self.secret,
            "mode": self.mode.value,
            "version": self.number,
            "replaces": self.previous.number if self.previous else None,
            "slot": self.slot,
            "overlap": self.overlap,
            "why": self.choices.why,
            "steps": [step.value for step in self.frozen.steps],
            "hold_s": self.frozen.hold_s,
            "outage_s": self.frozen.outage_s,
            "ends": list(self.ends),
            "sinks": [sink.key for sink in self.frozen.sinks],
            "problems": [asdict(problem) for problem in self.problems],
            "digest": self.digest,
        }


def make_plan(job: Job, state: SecretState, *, mode: Mode, compromised: bool = False) -> Plan:
    """Plan the next rotation of this secret from configuration and journal alone."""
    name, choices = choose(job, state)
    if compromised:
        choices = replace(choices, bridge=())
    # A dead current version needs no hold, but an older one that lives may still be in use.
    lives_on = mode is Mode.CURRENT_DEAD and job.traits.coexist and any(v.live for v in state.previous)
    frozen = _frozen(job, name, choices, Mode.NORMAL if lives_on else mode)
    ends = () if job.traits.own_expiry else tuple(v.number for v in state.versions.values() if v.published and v.live)
    plan = Plan(
        secret=job.name,
        mode=mode,
        number=state.next_number,
        previous=state.current,
        slot=choices.slot,
        overlap=name,
        frozen=replace(frozen, hold_s=0.0) if compromised else frozen,
        choices=choices,
        ends=ends,
        problems=(
            *unable(job, mode),
            *_unfit(job, state, choices, mode),
            *_entry_problems(job, state, mode),
            *_room(job, state, mode),
        ),
        digest="",
    )
    return replace(plan, digest=_digest(plan, compromised=compromised))


def _unfit(job: Job, state: SecretState, choices: Choices, mode: Mode) -> tuple[Problem, ...]:
    """What the policy has against it: an outage that is there already is nothing to accept."""
    waived = "outage-not-accepted" if mode is Mode.BREAK_GLASS else ""
    hints = {"no-idle-slot": _make_room(job, state, mode)}
    return tuple(
        replace(problem, hint=hints.get(problem.code, problem.hint))
        for problem in choices.problems
        if problem.code != waived
    )


def choose(job: Job, state: SecretState) -> tuple[str, Choices]:
    """The overlap by name, or the best that fits where the policy says `auto`; its choices may hold problems."""
    policy = job.secret.overlap
    request = ChooseRequest(
        traits=job.traits,
        policy=policy,
        live=tuple(Live(number=v.number, slot=v.slot, current=v is state.current) for v in state.live),
        drainable=any(one.quiesce for one in job.consumers),
    )
    if policy.strategy != "auto":
        return policy.strategy, job.overlaps(policy.strategy).choose(request)
    return _best(job.overlaps, request)


def _best(overlaps: Callable[[str], Overlap], request: ChooseRequest) -> tuple[str, Choices]:
    offers = [(name, overlaps(name).choose(request)) for name in BEST_FIRST]
    fitting = [(name, choices) for name, choices in offers if not choices.problems]
    if fitting:
        return fitting[0]
    return next(
        ((name, choices) for name, choices in offers if all(p.code != "overlap-unfit" for p in choices.problems)),
        offers[-1],
    )


def _frozen(job: Job, overlap: str, choices: Choices, mode: Mode) -> Frozen:
    policy: OverlapPolicy = job.secret.overlap
    steps = derive(job.traits, choices, mode)
    return Frozen(
        provider=job.account.name,
        overlap=overlap,
        why=choices.why,
        subject=job.secret.subject,
        steps=steps,
        endpoints=(),
        sinks=tuple(
            FrozenSink(key=s.key, sink=s.sink, fields=s.fields, artefact=s.artefact, keep_previous=s.keep_previous)
            for s in job.sinks
        ),
        traits=job.traits,
        consumers=tuple(
            FrozenConsumer(
                name=one.name,
                acknowledge=one.acknowledge,
                announce=one.announce is not None,
                quiesce=one.quiesce is not None,
                must_drain=one.must_drain,
                release=one.release is not None,
            )
            for one in job.consumers
        ),
        hold_s=choices.hold_s,
        hold_max_s=policy.hold_max_s if Step.HOLD in steps else None,
        retire_window=policy.retire_window,
        outage_s=choices.outage_s,
        bridge=choices.bridge,
        options=job.options,
        plugins=job.plugins,
    )


def beginning(name: str, traits: Traits, sink: str = "SINK") -> str:
    """What to type for a secret without a current version."""
    if traits.own_expiry:
        return f"keyturn rotate {name} --first"
    way = "--from-vendor" if traits.readable else f"--from-sink {sink}"
    return f"keyturn adopt {name} {way}, or keyturn rotate {name} --first"


def resets(traits: Traits) -> bool:
    """Whether a dead current version is replaced by break-glass, since an ordinary issue would need its value."""
    return traits.needs_current and bool(traits.reset_by)


def way_out(name: str, traits: Traits, *options: str) -> str:
    """What to type for a secret whose current version is dead."""
    typed = ("recover", name) if resets(traits) else ("rotate", name, "--current-dead")
    return " ".join(("keyturn", *typed, *options, "--reason TEXT"))


def somebody_elses(name: str, traits: Traits) -> str:
    """What to type where a value of somebody else's is in force."""
    return f"{way_out(name, traits)}; or: keyturn adopt {name} --from-stdin < FILE, if its maker hands it over"


def recovery_by_file(name: str, traits: Traits) -> str:
    """What to type to reset a secret by an artefact that we do not have, or not the right one."""
    supply = [] if traits.attended else [f"--supply {field}=@FILE" for field in traits.reset_by]
    return " ".join(("keyturn recover", name, *supply, "--reason TEXT"))


def unable(job: Job, mode: Mode) -> tuple[Problem, ...]:
    """Why no rotation of this secret can begin so, whatever its state."""
    if mode is Mode.CURRENT_DEAD and resets(job.traits):
        text = "without the current value the vendor sets no other one, unless it is reset"
        return (Problem(code="needs-recovery", text=text, hint=way_out(job.name, job.traits)),)
    if mode is Mode.BREAK_GLASS and not ("reset" in job.account.plugin.extras and job.traits.reset_by):
        text = f"{job.account.kind} has no way to reset a secret on the strength of an artefact"
        hint = f"keyturn rotate {job.name} --current-dead --reason TEXT"
        return (Problem(code="no-break-glass", text=text, hint=hint),)
    return ()


def _entry_problems(job: Job, state: SecretState, mode: Mode) -> tuple[Problem, ...]:
    current = state.current
    if current is None and mode is Mode.NORMAL:
        return (
            Problem(
                code="unmanaged",
                text="there is no current version yet",
                hint=beginning(job.name, job.traits),
            ),
        )
    if current is not None and mode is Mode.FIRST:
        return (
            Problem(
                code="not-first",
                text=f"version {current.number} is current already",
                hint=f"keyturn rotate {job.name}",
            ),
        )
    return ()


def _make_room(job: Job, state: SecretState, mode: Mode) -> str:
    """What to type while the vendor holds as many as it can: with the end of a hold the older one goes.

    Where the current one is dead that is the one that is good. What is stuck has a way out of its own.
    """
    if state.rotation and state.rotation.stuck:
        return state.rotation.stuck.next
    if mode is Mode.CURRENT_DEAD and state.fallback:
        return way_back_to(state, state.fallback)
    return f"let the hold end, or: keyturn hold {job.name} --end; then: keyturn run {job.name}"


def way_back_to(state: SecretState, version: VersionState) -> str:
    """What to type where the current version is dead and this one still lives beside it."""
    return f"keyturn rollback {state.secret} --reason TEXT, which goes back to version {version.number}"


def _room(job: Job, state: SecretState, mode: Mode) -> tuple[Problem, ...]:
    """Live versions, debts included, count against what the vendor can hold."""
    room = job.traits.live_max
    if room is None or not job.traits.coexist or len(state.live) < room:
        return ()
    live = ", ".join(str(v.number) for v in state.live)
    return (
        Problem(
            code="no-room",
            text=f"the vendor holds {room} versions at once, and {live} are live",
            hint=_make_room(job, state, mode),
        ),
    )


def _digest(plan: Plan, *, compromised: bool) -> str:
    """What an approval binds to: everything but the endpoints, which preflight finds."""
    told = {**plan.as_data(), "digest": "", "problems": []}
    # Compromised waives acknowledgements, also where there is no hold that it could end.
    facts = {**told, "frozen": plan.frozen.as_data(), "compromised": compromised}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
