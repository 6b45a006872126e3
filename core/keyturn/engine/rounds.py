"""One round over many secrets: what is in flight, owed or due, worked on side by side; held ones are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from keyturn.engine.bench import Bench
from keyturn.engine.entry import Ask, resume, rotate
from keyturn.engine.job import Job
from keyturn.engine.loop import Outcome
from keyturn.errors import HeldElsewhereError, KeyturnError
from keyturn.journal.store import Summary
from keyturn.schedule import Due, ScheduleFacts, due

WORKERS = 4


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one secret needs in this round: `resume` or `rotate`, and why."""

    name: str
    what: str
    why: str


def facts(job_name: str, after: Iterable[str], summaries: Mapping[str, Summary]) -> ScheduleFacts:
    """What the schedule needs to know of a secret, from the summary rows alone."""
    row = summaries.get(job_name)
    versions = row.state.get("versions", []) if row else []
    current = next((v for v in versions if v["state"] == "current"), None)
    return ScheduleFacts(
        name=job_name,
        current_since=current["since"] if current else None,
        expires_at=current["expires_at"] if current else None,
        after={name: summaries[name].state.get("rotated_at") if name in summaries else None for name in after},
    )


def is_due(job: Job, summaries: Mapping[str, Summary], now: float) -> Due:
    """Where this secret stands in its schedule."""
    policy = job.secret.rotate
    return due(policy, facts(job.name, policy.after, summaries), now)


def scan(jobs: Iterable[Job], summaries: Mapping[str, Summary], now: float) -> list[Work]:
    """What this round has to do; reads summary rows only."""
    found = []
    for job in jobs:
        row = summaries.get(job.name)
        if row and row.next_at is not None:
            if row.next_at <= now or row.status != "holding" or not row.state["rotation"]["open"]:
                found.append(Work(name=job.name, what="resume", why=row.status))
        elif not (row and row.state["paused_until"] > now):
            when = is_due(job, summaries, now)
            if when.ready:
                found.append(Work(name=job.name, what="rotate", why=when.why))
    return found


def carry_out(
    bench: Bench,
    jobs: Mapping[str, Job],
    work: Iterable[Work],
    *,
    rotations_max: int,
    stopping: Callable[[], bool],
) -> Iterator[Outcome]:
    """Do the work side by side; outcomes come as they are known. Begins nothing new once `stopping`."""
    todo = list(work)
    rotations = [one for one in todo if one.what == "rotate"][:rotations_max]
    chosen = [one for one in todo if one.what == "resume" or one in rotations]

    def do(one: Work) -> Outcome | None:
        return None if stopping() else _one(bench, jobs[one.name], one)

    with ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="round") as pool:
        yield from (outcome for outcome in pool.map(do, chosen) if outcome)


def _one(bench: Bench, job: Job, work: Work) -> Outcome | None:
    if job.name in bench.left_alone:
        return None
    try:
        if work.what == "rotate":
            return rotate(bench, job, Ask(reason=f"schedule: {work.why}"))
        return resume(bench, job)
    except HeldElsewhereError:
        return None
    except KeyturnError as error:
        return failed(job.name, error)
    except Exception as error:  # noqa: BLE001 - a bug met by one secret must not end the round of the others
        return failed(job.name, _bug(error))


def _bug(error: Exception) -> KeyturnError:
    return KeyturnError("bug", f"unexpected {type(error).__name__}", hint="report it; the other secrets went on")


def failed(name: str, error: KeyturnError) -> Outcome:
    """An error as the outcome of one secret among many."""
    return Outcome(secret=name, status="error", code=error.code, text=str(error), next=error.hint, error=error)
