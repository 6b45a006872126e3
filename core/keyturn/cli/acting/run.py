"""`keyturn run`: rounds over all secrets that have something to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from keyturn.cli.acting.shared import HOLDING, NOTHING_DUE, WAITING, report
from keyturn.cli.acting.times import duration
from keyturn.cli.app import Report, Session
from keyturn.cli.estate import Estate
from keyturn.cli.render import error_text
from keyturn.engine.alerts import ARTEFACT, Finding, Standing, send_alerts
from keyturn.engine.job import Job
from keyturn.engine.outcome import Outcome
from keyturn.engine.plan import beginning
from keyturn.engine.rounds import Work, carry_out, failed, is_due, scan
from keyturn.errors import KeyturnError, StuckError
from keyturn.journal.store import Summary

ATTENTION, UNFINISHED = 8, 6
OVERDUE = "overdue"
WATCH_S_MIN, WATCH_S_MAX = 1.0, 60.0


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was typed."""

    globs: tuple[str, ...] = ()
    watch: bool = False
    dry_run: bool = False
    budget: str | None = None
    detailed: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """What one round is about. `lost`: in flight, but no longer configured."""

    jobs: Mapping[str, Job]
    broken: list[Outcome]
    lost: list[Outcome]
    work: list[Work]


@dataclass(kw_only=True)
class Did:
    """What came of a round. `held`: another runner works on them. `left`: for the next run."""

    outcomes: list[Outcome] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    attention: list[Standing] = field(default_factory=list)


def run_rounds(session: Session, wanted: Wanted) -> Report:
    """One round, or with --watch rounds until stopped."""
    budget_s = duration(wanted.budget, "--time-budget") if wanted.budget else None
    with session.estate() as estate:
        if wanted.dry_run:
            return _foretold(session, estate, survey(estate, wanted.globs), detailed=wanted.detailed)
        end = estate.clock.monotonic() + budget_s if budget_s is not None else None

        def stopping() -> bool:
            return estate.clock.stopped or (end is not None and estate.clock.monotonic() >= end)

        if not wanted.watch:
            return _round(session, estate, wanted, stopping)
        return _watch(session, estate, wanted, stopping, end)


def _watch(session: Session, estate: Estate, wanted: Wanted, stopping: Callable[[], bool], end: float | None) -> Report:
    """Rounds until stopped. People read each one that differs from the one before; JSON has the last one."""
    said = ""
    while True:
        answer = _round(session, estate, wanted, stopping)
        if answer.text != said and not session.json:
            said = answer.text
            session.settle()
            session.out.write(f"{said}\n")
            session.out.flush()
            session.say(error_text(answer.error).rstrip("\n") if answer.error else "watching")
        if stopping() or estate.clock.wait(_pause_s(estate, end)):
            return answer if session.json else Report(exit_code=answer.exit_code)


def _pause_s(estate: Estate, end: float | None) -> float:
    """Until something is expected to happen, within bounds."""
    now = estate.journal.now()
    soon = min((row.next_at for row in estate.summaries().values() if row.next_at), default=now + WATCH_S_MAX)
    pause_s = min(max(soon - now, WATCH_S_MIN), WATCH_S_MAX)
    return pause_s if end is None else max(0.0, min(pause_s, end - estate.clock.monotonic()))


def survey(estate: Estate, globs: Iterable[str]) -> Round:
    """What there is to do, from configuration and summary rows."""
    wanted, rows = list(globs), estate.summaries()
    lost = [_lost(name) for name, row in rows.items() if _is_lost(estate, row) and _matches(name, wanted)]
    jobs: dict[str, Job] = {}
    broken = []
    for name in estate.names(glob for glob in wanted if not any(fnmatchcase(one.secret, glob) for one in lost)):
        if not _matches(name, wanted):
            continue
        try:
            jobs[name] = estate.job(name)
        except KeyturnError as error:
            broken.append(failed(name, error))
    return Round(jobs=jobs, broken=broken, lost=lost, work=scan(jobs.values(), rows, estate.journal.now()))


def _matches(name: str, globs: list[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def _is_lost(estate: Estate, row: Summary) -> bool:
    rotation = row.state.get("rotation")
    configured = row.secret in estate.configuration.secrets or row.secret in estate.configuration.broken
    return bool(rotation and rotation["open"]) and not configured


def _lost(name: str) -> Outcome:
    return failed(
        name,
        StuckError(
            "secret-unconfigured",
            "a rotation is in flight, and the configuration no longer names this secret; nothing was changed",
            hint=f"put {name} back into the configuration, then: keyturn abandon {name} --reason TEXT",
            place=name,
        ),
    )


def _round(session: Session, estate: Estate, wanted: Wanted, stopping: Callable[[], bool]) -> Report:
    found = survey(estate, wanted.globs)
    did = _carry_out(estate, found, stopping)
    did.outcomes += [*found.broken, *found.lost]
    did.attention = _attention(estate, found.jobs)
    for trouble in send_alerts(estate.bench, estate.configuration.alerts, found.jobs, did.attention):
        session.say(f"alert not delivered: {trouble}")
    return _answer(session, estate, found, did, detailed=wanted.detailed)


def _carry_out(estate: Estate, found: Round, stopping: Callable[[], bool]) -> Did:
    rotations_max = estate.configuration.limits.rotations_per_run
    outcomes = list(carry_out(estate.bench, found.jobs, found.work, rotations_max=rotations_max, stopping=stopping))
    known = {outcome.secret for outcome in outcomes}
    beyond = [one.name for one in found.work if one.what == "rotate"][rotations_max:]
    silent = [one.name for one in found.work if one.name not in known and one.name not in beyond]
    if stopping():
        return Did(outcomes=outcomes, left=sorted([*silent, *beyond]))
    return Did(outcomes=outcomes, held=sorted(silent), left=sorted(beyond))


def _attention(estate: Estate, jobs: Mapping[str, Job]) -> list[Standing]:
    """What a person should look at, after the round."""
    rows, now = estate.summaries(), estate.journal.now()
    standings = [
        Standing(
            name=name,
            row=rows.get(name),
            due=is_due(job, rows, now),
            now=now,
            begin=beginning(name, job.traits, job.sinks[0].sink if job.sinks else "SINK"),
        )
        for name, job in jobs.items()
    ]
    return [one for one in standings if one.findings]


def _answer(session: Session, estate: Estate, found: Round, did: Did, *, detailed: bool) -> Report:
    steps = _steps(did)
    wants = [(one, _sure(one.name, finding, steps)) for one in did.attention for finding in one.findings]
    wants = [(one, finding) for one, finding in wants if finding.attention]
    answer = report(
        session,
        estate,
        did.outcomes,
        more_codes=[*([ATTENTION] if wants else []), *([UNFINISHED] if did.left else [])],
        data={
            "held_elsewhere": did.held,
            "left": did.left,
            "attention": [
                {"secret": one.name, "what": finding.what, "text": finding.text, "next": finding.next}
                for one, finding in wants
            ],
        },
    )
    texts = [answer.text] if answer.text else []
    said = {(one.secret, code) for one in did.outcomes if one.error for code in _codes(one.error)}
    told = {(one.secret, ARTEFACT) for one in did.outcomes if one.attention}
    texts += [
        f"{one.name}: {finding.text}\n  next: {finding.next}"
        for one, finding in wants
        if (one.name, finding.code) not in said
        and (one.name, finding.what) not in told
        and not (finding.what == OVERDUE and one.name in steps)
    ]
    texts += [f"left for the next run: {', '.join(did.left)}"] if did.left else []
    code = answer.exit_code
    return Report(
        data=answer.data,
        text="\n".join(texts) or _quiet(estate, found),
        exit_code=_detailed(estate, found, did, code) if detailed else code,
        error=answer.error,
    )


def _steps(did: Did) -> dict[str, str]:
    """What helps those secrets that were not rotated for a reason, by name."""
    problems = {one.name: finding.next for one in did.attention for finding in one.findings if finding.code}
    return problems | {one.secret: one.next for one in did.outcomes if one.exit_code and one.next}


def _sure(name: str, finding: Finding, steps: Mapping[str, str]) -> Finding:
    """What is overdue for a reason is helped by what helps against that: just to rotate it would be refused again."""
    return replace(finding, next=steps[name]) if finding.what == OVERDUE and name in steps else finding


def _codes(error: KeyturnError) -> list[str]:
    """What an error has told of: what refuses a rotation may be several problems."""
    return [error.code, *str(error.fields.get("codes", "")).split()]


def _quiet(estate: Estate, found: Round) -> str:
    rows = estate.summaries()
    waits = [name for name in found.jobs if name in rows and rows[name].status in WAITING]
    return f"nothing was due; holding or waiting: {', '.join(waits)}" if waits else "nothing was due"


def _detailed(estate: Estate, found: Round, did: Did, code: int) -> int:
    rows = estate.summaries()
    waits = any(rows[name].status in WAITING for name in found.jobs if name in rows)
    unfinished = {one.status for one in did.outcomes if one.exit_code == UNFINISHED}
    if waits and (code == 0 or (code == UNFINISHED and not did.left and unfinished <= {"waiting"})):
        return HOLDING
    return NOTHING_DUE if code == 0 and not found.work else code


def _foretold(session: Session, estate: Estate, found: Round, *, detailed: bool) -> Report:
    """What a round would do."""
    answer = report(session, estate, [*found.broken, *found.lost])
    work = [{"secret": one.name, "what": one.what, "why": one.why} for one in found.work]
    texts = [answer.text] if answer.text else []
    texts += [f"{one.name}: would {one.what} ({one.why})" for one in found.work]
    code = answer.exit_code
    return Report(
        data={**answer.data, "work": work},
        text="\n".join(texts) or "nothing is due",
        exit_code=NOTHING_DUE if detailed and code == 0 and not work else code,
        error=answer.error,
    )
