"""`keyturn rotate`: plan, approval, and one rotation after the other."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import click

from keyturn.cli.acting.shared import attempt, known, report, required_reason
from keyturn.cli.acting.times import duration
from keyturn.cli.app import Report, Session
from keyturn.cli.estate import Estate
from keyturn.cli.looking.plan import lines
from keyturn.engine.entry import Ask, rotate
from keyturn.engine.job import Job
from keyturn.engine.outcome import Outcome
from keyturn.engine.plan import Plan, make_plan
from keyturn.engine.record.fold import fold
from keyturn.errors import HeldElsewhereError, RefusedError, UnfinishedError, UsageError
from keyturn.model import Mode

POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was typed. `command` and `more` are what is typed again before and after the secrets' names."""

    command: str = "rotate"
    more: str = ""
    names: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    yes: bool = False
    request: str = ""
    wait: str | None = None
    mode: str | None = None
    force: bool = False
    compromised: bool = False
    reason: str = ""

    def checked(self) -> Asked:
        """Itself. Raises UsageError where options contradict each other or a reason is missing."""
        if bool(self.names) == bool(self.globs):
            raise UsageError(
                "names-needed", "expected either names or --match", hint="keyturn rotate NAME, or --match GLOB"
            )
        if self.yes and self.digests:
            raise UsageError("approval-twice", "expected either --yes or --plan", hint="leave one of them out")
        given = {
            "--force": self.force,
            "--compromised": self.compromised,
            "--current-dead": self.mode == Mode.CURRENT_DEAD,
        }
        required_reason(self.reason, *(option for option, on in given.items() if on))
        return self

    @property
    def options(self) -> str:
        """The options that belong to the plan, as typed again."""
        typed = [f"--{self.mode}"] if self.mode and self.command == "rotate" else []
        typed += ["--compromised"] if self.compromised else []
        typed += ["--force"] if self.force else []
        return self.more + "".join(f" {one}" for one in [*typed, *(["--reason TEXT"] if self.reason else [])])


def rotate_all(session: Session, asked: Asked, *, detailed: bool) -> Report:
    """Rotate what was asked for; one that fails does not stop the others."""
    asked = asked.checked()
    wait_s = duration(asked.wait, "--wait") if asked.wait else 0.0
    with session.estate() as estate:
        names = [known(estate, name) for name in dict.fromkeys(asked.names)] or estate.names(asked.globs)
        jobs = [estate.job(name) for name in names]
        plans = {job.name: plan_of(estate, job, asked) for job in jobs}
        digests = approved(session, asked, list(plans.values()))
        outcomes = _rotations(estate, jobs, asked, digests, wait_s)
        return report(session, estate, outcomes, detailed=detailed)


def plan_of(estate: Estate, job: Job, asked: Asked) -> Plan:
    """What is asked for, from configuration and journal alone."""
    state = fold(job.name, estate.journal.events(job.name))
    return make_plan(job, state, mode=Mode(asked.mode or Mode.NORMAL), compromised=asked.compromised)


def approved(session: Session, asked: Asked, plans: Sequence[Plan]) -> dict[str, str | None]:
    """The digest that each secret is bound to; None where anything was approved. Raises where nothing was."""
    if asked.yes:
        return dict.fromkeys((plan.secret for plan in plans), None)
    if asked.digests:
        # One that fits none of the given ones is bound to the first: the engine refuses it and names both.
        return {plan.secret: plan.digest if plan.digest in asked.digests else asked.digests[0] for plan in plans}
    if session.json or not (sys.stdin.isatty() and session.err.isatty()):
        raise _approval_needed(asked, plans)
    for plan in plans:
        session.say("\n".join(lines(plan, compromised=asked.compromised)[:-1]))
    if not click.confirm(f"{asked.command} now?", err=True):
        raise RefusedError("not-approved", "not approved", hint="nothing was changed")
    return {plan.secret: plan.digest for plan in plans}


def _approval_needed(asked: Asked, plans: Sequence[Plan]) -> UsageError:
    names = " ".join(plan.secret for plan in plans)
    digests = " ".join(f"--plan {plan.digest}" for plan in plans)
    one = len(plans) == 1
    return UsageError(
        "approval-needed",
        f"nobody can be asked here; the {'digest is' if one else 'digests are'} "
        + ", ".join(f"{plan.digest}{'' if one else f' ({plan.secret})'}" for plan in plans),
        hint=f"keyturn {asked.command} {names} {digests}{asked.options}, or with --yes",
        fields={plan.secret: plan.digest for plan in plans},
    )


def _rotations(
    estate: Estate, jobs: Iterable[Job], asked: Asked, digests: dict[str, str | None], wait_s: float
) -> Iterator[Outcome]:
    until = estate.clock.monotonic() + wait_s
    for job in jobs:
        ask = Ask(
            mode=Mode(asked.mode or Mode.NORMAL),
            reason=asked.reason,
            request=asked.request,
            digest=digests[job.name],
            force=asked.force,
            compromised=asked.compromised,
        )
        yield attempt(job.name, lambda job=job, ask=ask: _one(estate, job, ask, until))  # type: ignore[misc]


def _one(estate: Estate, job: Job, ask: Ask, until: float) -> Outcome:
    """One rotation, once the secret is free."""
    if estate.clock.stopped:
        hint = f"keyturn rotate {job.name}"
        raise UnfinishedError("not-begun", "stopped before this one began", hint=hint, place=job.name)
    while True:
        try:
            return rotate(estate.bench, job, ask)
        except HeldElsewhereError as held:
            waits = held.code == "held-elsewhere" and estate.clock.monotonic() < until
            if not waits or estate.clock.wait(POLL_S):
                raise
