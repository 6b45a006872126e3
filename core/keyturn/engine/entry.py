"""How a rotation begins: by rotate, by the schedule, by rollback, or goes on by resume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from keyturn.engine.bench import Bench
from keyturn.engine.checking import note
from keyturn.engine.custody import check_supplied, hand_in, told
from keyturn.engine.decisions.actions import ProbeNow
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.leases import holding
from keyturn.engine.effects.proof import take_proof
from keyturn.engine.effects.sinks import announced
from keyturn.engine.effects.vendor import probe
from keyturn.engine.job import Job
from keyturn.engine.loop import drive, let_go, waits_for_person
from keyturn.engine.marker import try_places
from keyturn.engine.outcome import Outcome
from keyturn.engine.plan import Plan, make_plan, unable
from keyturn.engine.preflight import Findings, freeze, preflight
from keyturn.engine.record import events as ev
from keyturn.engine.record.fold import fold
from keyturn.engine.record.receipt import ended, has_debts
from keyturn.engine.record.state import SecretState, VersionState
from keyturn.engine.serving import bring_up, not_all
from keyturn.errors import RefusedError, StuckError
from keyturn.expiry import span
from keyturn.journal.store import Lease
from keyturn.model import Mode, Problem, Settled, Verdict
from keyturn.plugins.provider import Waiting
from keyturn.secret import Bundle
from keyturn.states import Move, State
from keyturn.steps import Step


@dataclass(frozen=True, kw_only=True, eq=False)
class Ask:
    """What an operator, or the schedule, asked for. `digest`: only if the plan is still this one.

    `wanted` is asked under the lease: what was due when it was looked up may have been done by another runner since.
    `scheduled`: nobody reads the answer now, so what preflight found is recorded.
    """

    mode: Mode = Mode.NORMAL
    reason: str = ""
    request: str = ""
    digest: str | None = None
    force: bool = False
    compromised: bool = False
    to_number: int | None = None
    supplied: Bundle = field(default_factory=Bundle)
    scheduled: bool = False
    wanted: Callable[[SecretState], bool] = lambda _: True

    @property
    def knowing(self) -> bool:
        """Whether a value at the vendor that is not ours may be ended. `--force` alone is about age, not about that."""
        return self.compromised or (self.force and self.mode in (Mode.FIRST, Mode.CURRENT_DEAD, Mode.BREAK_GLASS))


def rotate(bench: Bench, job: Job, ask: Ask, *, lease: Lease | None = None) -> Outcome:
    """Begin a rotation and carry it as far as it goes now. Raises RefusedError before anything was changed."""
    with holding(bench, job.name, lease=lease) as held:
        driver = Driver(bench, job, held)
        again = _asked_before(driver, ask) or _recovering(driver, ask)
        if again:
            return again
        if not ask.wanted(driver.state):
            return carry_on(driver)
        way = _make_way(driver, ask.mode)
        plan = make_plan(job, driver.after(*way), mode=ask.mode, compromised=ask.compromised)
        _check_plan(driver, plan, ask)
        findings = preflight(driver, ask.mode, knowing=ask.knowing)
        if findings.problems and (ask.scheduled or not findings.fatal):
            note(driver, findings.problems)
        if findings.fatal:
            raise refusal(job.name, findings.fatal)
        lacking = tuple(one for one in _unbridged(driver, plan) if one.fatal) or try_places(
            driver, findings.sinks, artefacts=ask.mode is not Mode.BREAK_GLASS
        )
        if lacking:
            raise refusal(job.name, lacking)
        if driver.state.rotation:
            let_go(driver)  # this one may not drain anybody, and so would tell nobody to go on
        _start(driver, plan, findings, ask, way=way)
        return _noted(driver, drive(driver), ask)


def recover(bench: Bench, job: Job, ask: Ask) -> Outcome:
    """Replace a current version that is dead or lost, on the strength of what it came with (break-glass).

    Raises UsageError `not-an-artefact`; RefusedError before anything was changed.
    """
    outcome = rotate(bench, job, replace(ask, mode=Mode.BREAK_GLASS))
    if outcome.status != "waiting" or not job.traits.attended or not ask.supplied:
        return outcome
    unused = f"what was handed in is not used: whoever attends uploads the {' and '.join(ask.supplied)} himself"
    return replace(outcome, text=f"{outcome.text}; {unused}")


def _noted(driver: Driver, outcome: Outcome, ask: Ask) -> Outcome:
    """Why a scheduled rotation was undone goes on record like what preflight finds: nobody read the answer."""
    if ask.scheduled and outcome.status == "undone":
        hint = outcome.next or f"keyturn history {driver.job.name}"
        note(driver, [Problem(code=outcome.code, text=outcome.text, hint=hint)])
    return outcome


def _unbridged(driver: Driver, plan: Plan) -> tuple[Problem, ...]:
    """Derived secrets that could not be renewed before issue, since they have no version yet."""
    names = plan.frozen.bridge if Step.BRIDGE in plan.frozen.steps else ()
    states = (fold(name, driver.bench.journal.events(name)) for name in names)
    ends = plan.previous.expires_at if plan.previous else None
    soon = ends is not None and ends - driver.now() < driver.bench.limits.bridge_least_s
    return tuple(
        Problem(
            code="bridge-unmanaged",
            text=f"{state.secret} is to be renewed before this one ends, and has no current version yet",
            fatal=not soon,
            hint=f"keyturn rotate {state.secret} --first",
        )
        for state in states
        if state.current is None
    )


def resume(
    bench: Bench,
    job: Job,
    *,
    supplied: Bundle | None = None,
    attend: Callable[[Waiting], None] | None = None,
    scheduled: bool = False,
    lease: Lease | None = None,
    wait_s: float = 0.0,
) -> Outcome:
    """Carry on with whatever is in flight or owed; what is `supplied` goes to the version that it came out of.

    `scheduled`: nobody asked for this. With `attend` a person is there to act at the vendor: it shows him what he needs
    for that, and he is waited for here, for `Limits.attend_s`.
    """
    with holding(bench, job.name, lease=lease, wait_s=wait_s) as held:
        driver = Driver(bench, job, held)
        driver.supplied = supplied or Bundle()
        driver.attending, driver.show = attend is not None, attend or driver.show
        driver.scheduled = scheduled
        return carry_on(driver)


def carry_on(driver: Driver) -> Outcome:
    """Carry on, with what was handed in. Whose version it came out of may be known only on the way."""
    owner = check_supplied(driver)
    said = hand_in(driver, owner)
    outcome, before = _carried_on(driver, said), driver.state.seq
    late = hand_in(driver, owner)
    if driver.state.seq != before:
        outcome = _carried_on(driver, late)
    return told(driver, outcome, said or late)


def _carried_on(driver: Driver, said: str) -> Outcome:
    """Drive the latest rotation, if it is open or left debts, and do what is owed of an adopted version.

    Until it has published the rotation comes first: no place that is down keeps the others from the new version.
    """
    if unpublished(driver):
        return _published_first(driver)
    served = _served(driver, said)
    deaf = announced(driver)
    rotation = driver.state.rotation
    if rotation and (rotation.open or has_debts(driver.state)):
        outcome = drive(driver)
    else:
        text = f"repaired: {', '.join(served)}" if served else "nothing is in flight"
        outcome = Outcome(secret=driver.job.name, status="quiet", text=text)
    return _not_told(driver, outcome, deaf) if deaf and outcome.status == "quiet" else outcome


def _served(driver: Driver, said: str) -> list[str]:
    """Give places what they are owed of the current version. Raises RefusedError; StuckError where `said` was done."""
    try:
        return bring_up(driver) if driver.state.unserved else []
    except (RefusedError, StuckError) as error:
        raise not_all(driver, [error], said) from None


def _published_first(driver: Driver) -> Outcome:
    outcome = drive(driver)
    if unpublished(driver) and driver.state.unserved and not driver.looks.overran:
        with suppress(RefusedError, StuckError):  # it stays owed, and status says so
            bring_up(driver)
    return outcome


def _not_told(driver: Driver, outcome: Outcome, deaf: Sequence[str]) -> Outcome:
    number = driver.state.current.number if driver.state.current else 0
    text = f"not told of version {number}: {'; '.join(deaf)}"
    return replace(outcome, status="unfinished", text=text, next=f"keyturn resume {driver.job.name}")


def rollback(bench: Bench, job: Job, ask: Ask) -> Outcome:
    """Rotate back to the version that was current before, while both live."""
    with holding(bench, job.name) as held:
        driver = Driver(bench, job, held)
        refuse_in_flight(driver)
        target = _rollback_target(driver.state, ask.to_number)
        plan = make_plan(job, driver.state, mode=Mode.ROLLBACK)
        plan = replace(plan, number=target.number, slot=target.slot)
        findings = preflight(driver, Mode.ROLLBACK)
        refused = [p for p in findings.fatal if p.code not in ("current-refused", "endpoint-silent")]
        refused += _old_must_serve(driver, findings, target)
        if refused:
            raise refusal(job.name, tuple(refused))
        _start(driver, plan, findings, ask, target)
        return drive(driver)


def _rollback_target(state: SecretState, number: int | None) -> VersionState:
    earlier = [v for v in state.versions.values() if v.published and v is not state.current]
    wanted = [v for v in earlier if number in (None, v.number)]
    living = [v for v in wanted if v.state is State.PREVIOUS and not v.refuse_sent]
    traits = state.rotation.frozen.traits if state.rotation else None
    if living and traits and traits.coexist:
        return living[-1]
    text = "there is no earlier version that the vendor still accepts"
    if wanted and traits and not traits.coexist:
        text = f"the vendor has replaced version {wanted[-1].number} and can not make it current again"
    elif wanted:
        text = f"{text}: the retire of version {wanted[-1].number} was sent"
    raise RefusedError(
        "no-rollback", text, hint=f"keyturn rotate {state.secret} goes forward to a new version", place=state.secret
    )


def _old_must_serve(driver: Driver, findings: Findings, target: VersionState) -> list[Problem]:
    endpoints = findings.vendor.endpoints if findings.vendor else ()
    probe(driver, ProbeNow(pairs=tuple((target.id, endpoint) for endpoint in endpoints)))
    return [
        Problem(
            code="rollback-refused",
            text=f"version {target.number} is not accepted at {endpoint} now",
            hint=f"make it accepted there again, or go forward: keyturn rotate {driver.job.name}",
        )
        for endpoint in endpoints
        if driver.looks.probes[target.id, endpoint].verdict is not Verdict.ACCEPTED
    ]


def _asked_before(driver: Driver, ask: Ask) -> Outcome | None:
    """The same request id happens once: a repetition carries on with what the first one began."""
    rotation = driver.state.rotation
    if not ask.request or rotation is None or ask.request not in driver.state.requests:
        return None
    if rotation.request == ask.request and (rotation.open or has_debts(driver.state)):
        return carry_on(driver)
    done = driver.state.requests[ask.request]
    how = f", and ended {rotation.ended.outcome}" if rotation.id == done and rotation.ended else ""
    text = f"request {ask.request} was carried out before, as rotation {done}{how}"
    return Outcome(secret=driver.job.name, status="quiet", text=text)


def _recovering(driver: Driver, ask: Ask) -> Outcome | None:
    """Have at hand what a recovery needs, and carry on with one that is under way: it is not begun once more."""
    unable_ = unable(driver.job, ask.mode)
    if unable_:
        raise refusal(driver.job.name, unable_)
    if ask.mode is not Mode.BREAK_GLASS:
        return None
    lacking = take_proof(driver, ask.supplied)
    if lacking:
        raise refusal(driver.job.name, lacking)
    if not unpublished(driver) or driver.rotation.mode is not Mode.BREAK_GLASS:
        return None
    outcome = drive(driver)
    return None if outcome.status in ("stuck", "undone") else outcome


def _make_way(driver: Driver, mode: Mode) -> tuple[ev.Body, ...]:
    """An older rotation is carried on first; one that holds or only owes is superseded. How an unpublished one ends.

    Raises RefusedError where that one may go on.
    """
    if unpublished(driver):
        drive(driver)
    if not unpublished(driver):
        return ()
    way = _turned_back(driver) or (given_up(driver) if mode in (Mode.CURRENT_DEAD, Mode.BREAK_GLASS) else ())
    if not way and mode is Mode.BREAK_GLASS and not driver.to.sent:
        way = (ev.Moved(version=driver.to.id, move=Move.WITHDRAW.value),)  # nothing of it has left this machine
    if not way:
        refuse_in_flight(driver)
    return way


def _turned_back(driver: Driver) -> tuple[ev.Body, ...]:
    """How one ends that turns back and waits only for what a person was shown: only the next version voids that."""
    undoing, look = driver.rotation.undoing, driver.looks.settle
    unused = look is not None and look.outcome is Settled.NOT_APPLIED
    if undoing is None or not driver.rotation.by_person or not unused:
        return ()
    return (ev.Moved(version=driver.to.id, move=Move.WITHDRAW.value), ended(driver.state, "undone", undoing.reason))


def unpublished(driver: Driver) -> bool:
    """Whether a rotation is in flight that has not published its version."""
    rotation = driver.state.rotation
    return rotation is not None and rotation.open and driver.to.state is State.PENDING


def refuse_in_flight(driver: Driver) -> None:
    """Raises RefusedError while a rotation has not published its version yet."""
    if not unpublished(driver):
        return
    attends = " --attend" if waits_for_person(driver) else ""
    waiting = driver.rotation.waiting
    decided = f", and waits: {waiting.text}" if waiting and waiting.kind == "vendor" else ""
    raise RefusedError(
        "rotation-in-flight",
        f"the rotation to version {driver.to.number} has not published yet{decided}",
        hint=f"keyturn resume {driver.job.name}{attends}, or keyturn abandon {driver.job.name} --reason TEXT",
        place=driver.job.name,
    )


def given_up(driver: Driver) -> tuple[ev.Body, ...]:
    """How a stuck rotation ends where the current version is dead, or another one is adopted. Nothing: it may go on."""
    rotation, to = driver.rotation, driver.to
    attempts = [a for a in rotation.attempts if a.version == to.id]
    sent = (a.deadline_at for a in attempts if a.outcome != "waiting")  # what was only shown has no deadline
    doubt_until = max(sent, default=0.0) + rotation.frozen.traits.settle_s
    if rotation.stuck and rotation.stuck.code == "old-refused":
        return (ev.Moved(version=to.id, move=Move.WITHDRAW.value), ended(driver.state, "undone", rotation.stuck.reason))
    unsettled = any(a.in_doubt for a in attempts) and driver.now() > doubt_until
    if rotation.frozen.traits.dies_by_issue and attempts and (rotation.stuck or unsettled):
        # What it may have issued ends with the next issue, like any version before.
        return (ev.Moved(version=to.id, move=Move.STRAND.value),)
    return ()


def _check_plan(driver: Driver, plan: Plan, ask: Ask) -> None:
    if ask.digest and ask.digest != plan.digest:
        raise RefusedError(
            "plan-changed",
            f"the plan is now {plan.digest}, not {ask.digest}",
            hint=f"look at it again: keyturn plan {driver.job.name}",
            place=driver.job.name,
        )
    fatal = [problem for problem in plan.problems if problem.fatal]
    young = _too_young(driver, ask) if ask.mode is not Mode.BREAK_GLASS else ()
    if fatal or young:
        raise refusal(driver.job.name, (*fatal, *young))


def _too_young(driver: Driver, ask: Ask) -> tuple[Problem, ...]:
    current = driver.state.current
    min_age_s = max(driver.job.secret.rotate.min_age_s, driver.job.traits.min_age_s)
    told = ask.force or ask.compromised or ask.scheduled  # the schedule has weighed the age itself
    if current is None or current.adopted or told or current.current_since is None or current.lacks:
        return ()  # only another rotation makes an artefact that never reached us
    age_s = driver.now() - current.current_since
    if age_s >= min_age_s:
        return ()
    text = f"version {current.number} is {span(age_s)} old, and is kept for {span(min_age_s)} at least"
    return (Problem(code="too-young", text=text, hint="add --force --reason TEXT to rotate all the same"),)


def _start(
    driver: Driver,
    plan: Plan,
    findings: Findings,
    ask: Ask,
    existing: VersionState | None = None,
    way: Sequence[ev.Body] = (),
) -> None:
    """Freeze the plan into the journal; an older rotation ends in the same transaction, its unpublished `way` first."""
    subject = findings.vendor.subject if findings.vendor else plan.frozen.subject
    claim_subject(driver, subject)
    current = driver.state.current
    if current and findings.value:
        driver.keep(current.id, findings.value)
    rotation_id = driver.new_id()
    started = ev.Started(
        version=existing.id if existing else driver.new_id(),
        number=existing.number if existing else plan.number,
        mode=ask.mode.value if existing is None else Mode.ROLLBACK.value,
        frozen=replace(freeze(plan, findings), subject=subject).as_data(),
        digest=plan.digest,
        slot=plan.slot,
        previous=current.id if current else None,
        reason=ask.reason,
        request=ask.request,
        compromised=ask.compromised,
        knowing=ask.knowing,
    )
    older = driver.state.rotation
    ends = older is not None and older.open and not any(isinstance(body, ev.Ended) for body in way)
    superseded = (ended(driver.state, "superseded", f"by {rotation_id}"),) if ends else ()
    driver.append(*way, *superseded, started, rotation=rotation_id)


def claim_subject(driver: Driver, subject: str) -> None:
    """Bind the subject to this secret. Raises RefusedError where it is bound to another one."""
    owner = driver.bench.journal.claim_subject(subject, driver.job.name)
    if owner != driver.job.name:
        raise RefusedError(
            "subject-taken",
            f"{subject} is already managed as {owner}",
            hint="two secrets can not be one and the same thing at the vendor: remove one from the configuration",
            place=driver.job.name,
        )


def refusal(secret: str, problems: tuple[Problem, ...]) -> RefusedError:
    """All problems as one error; the first gives the code and the hint."""
    first = problems[0]
    return RefusedError(
        first.code,
        "; ".join(problem.text for problem in problems),
        hint=first.hint or "nothing was changed",
        place=secret,
        fields={"codes": " ".join(problem.code for problem in problems)},
    )
