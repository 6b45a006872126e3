"""`keyturn plan`: what a rotation would do, from configuration and journal alone."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.cli.app import Report
from keyturn.cli.estate import Estate
from keyturn.engine.job import Job
from keyturn.engine.plan import Plan, make_plan
from keyturn.engine.record.fold import fold
from keyturn.engine.rounds import is_due
from keyturn.expiry import span
from keyturn.model import Mode
from keyturn.steps import Step

REFUSED = 3


def report(estate: Estate, globs: Sequence[str], *, only_due: bool, compromised: bool) -> Report:
    """The answer of `keyturn plan`; exit 3 where one would be refused. Raises UsageError for a broken secret."""
    jobs = [estate.job(name) for name in estate.names(globs)]
    if only_due:
        rows, now = estate.summaries(), estate.journal.now()
        jobs = [job for job in jobs if is_due(job, rows, now).ready]
    plans = [plan_of(estate, job, compromised=compromised) for job in jobs]
    refused = any(problem.fatal for plan in plans for problem in plan.problems)
    return Report(
        data={"plans": [plan.as_data() for plan in plans]},
        text="\n".join(line for plan in plans for line in lines(plan, compromised=compromised)) or "nothing is due",
        exit_code=REFUSED if refused else 0,
    )


def plan_of(estate: Estate, job: Job, *, compromised: bool = False) -> Plan:
    """The plan of the next ordinary rotation."""
    state = fold(job.name, estate.journal.events(job.name))
    return make_plan(job, state, mode=Mode.NORMAL, compromised=compromised)


def lines(plan: Plan, *, compromised: bool = False) -> list[str]:
    """One plan for people."""
    old = f"version {plan.previous.number} -> " if plan.previous else ""
    bridge = plan.frozen.bridge if Step.BRIDGE in plan.frozen.steps else ()
    found = [
        f"{plan.secret}  {old}version {plan.number}",
        f"  overlap  {plan.overlap}: {plan.choices.why}",
        f"  steps    {' '.join(step.value for step in plan.frozen.steps)}",
        *([f"  slot     {plan.slot}"] if plan.slot else []),
        f"  sinks    {', '.join(sink.key for sink in plan.frozen.sinks)}",
        f"  ends     {_ends(plan)}",
        *([f"  reset    {_reset(plan)}"] if plan.mode is Mode.BREAK_GLASS else []),
        *([f"  bridge   {', '.join(bridge)}, renewed just before issue"] if bridge else []),
        f"  outage   {_outage(plan)}",
        f"  digest   {plan.digest}",
    ]
    found += [f"  {'refused' if p.fatal else 'warning'}  {p.text} [{p.code}]" for p in plan.problems]
    return [*found, f"  next: {_next(plan, compromised=compromised)}"]


def _ends(plan: Plan) -> str:
    if not plan.ends:
        return "nothing"
    which = ", ".join(f"version {number}" for number in plan.ends)
    if Step.HOLD not in plan.frozen.steps:
        return f"{which}, by issue"
    waits = [f"held for {plan.frozen.hold_s:g} s"] if plan.frozen.hold_s else []
    waits += [f"{one.name} acknowledged" for one in plan.frozen.consumers if one.acknowledge]
    return f"{which}, once {' and '.join(waits)}" if waits else f"{which}, once the new one serves"


def _reset(plan: Plan) -> str:
    """What break-glass costs besides."""
    used = " and ".join(plan.frozen.traits.reset_by)
    return f"by the {used}, which is used up by that; the vendor gives another one"


def _outage(plan: Plan) -> str:
    """The longest one declared; where only what was derived from the old version outlives it, that is said."""
    traits = plan.frozen.traits
    if plan.frozen.outage_s:
        return f"up to {plan.frozen.outage_s:g} s"
    if not plan.ends or not traits.dies_by_issue or traits.grace_s:
        return "none"
    return (
        f"none for what was derived before, which lives for {span(traits.derived_s)} at most; "
        "the old version itself ends at once"
    )


def _next(plan: Plan, *, compromised: bool) -> str:
    for problem in plan.problems:
        if problem.fatal:
            return problem.hint or f"keyturn status {plan.secret}"
    more = " --compromised --reason TEXT" if compromised else ""
    if plan.mode is Mode.BREAK_GLASS:
        return f"keyturn recover {plan.secret} --plan {plan.digest}{more or ' --reason TEXT'}"
    return f"keyturn rotate {plan.secret} --plan {plan.digest}{more}"
