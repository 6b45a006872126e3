"""One round over many secrets: what is in flight, owed or due, worked on side by side; held ones are left out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any

from keyturn.config.model import ManagedSecret
from keyturn.engine.bench import Bench
from keyturn.engine.checking import look, look_due, waits_for_person
from keyturn.engine.effects.runner import is_dead
from keyturn.engine.entry import Ask, resume, rotate
from keyturn.engine.job import Job
from keyturn.engine.outcome import Outcome
from keyturn.engine.record.events import NOT_APPROVED
from keyturn.engine.record.state import SecretState
from keyturn.engine.record.summary import summarise
from keyturn.errors import HeldElsewhereError, KeyturnError
from keyturn.journal.store import Lease, LeaseHeld, Summary
from keyturn.model import Traits
from keyturn.schedule import Due, ScheduleFacts, due

WORKERS = 4
CLAIM_NAMES_MAX = 100
OF_SOURCE = frozenset({"source-refused", "issue-refused"})
"""Why a derived secret could not be made that lies with its source, or may."""

Seen = tuple[str | None, str | None]
"""The ids of the current version and of the latest rotation. Others now, and some runner was faster."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one secret needs in this round: `resume`, `rotate` or `check`, and why.

    `seen` is what it was found by: the current version, and the rotation that had begun last; `distrusted_at` when
    a secret derived from it could not be made (epoch s).
    """

    name: str
    what: str
    why: str
    seen: Seen = (None, None)
    distrusted_at: float = 0.0


def facts(name: str, after: Iterable[str], summaries: Mapping[str, Summary]) -> ScheduleFacts:
    """What the schedule needs to know of a secret, from the summary rows alone."""
    row = summaries.get(name)
    versions = row.state.get("versions", []) if row else []
    current = next((v for v in versions if v["state"] == "current"), None)
    return ScheduleFacts(
        name=name,
        current_since=current["since"] if current else None,
        expires_at=current["expires_at"] if current else None,
        # Rows of earlier versions of Keyturn have it not.
        issued_at=current.get("issued_at") if current else None,
        after={other: summaries[other].state.get("rotated_at") if other in summaries else None for other in after},
    )


def is_due(job: Job, summaries: Mapping[str, Summary], now: float) -> Due:
    """Where this secret stands in its schedule."""
    return due_of(job.secret, job.traits, summaries, now)


def due_of(secret: ManagedSecret, traits: Traits, summaries: Mapping[str, Summary], now: float) -> Due:
    """The same for whoever has no plugins at hand: the vendor's own least age and least life count too."""
    policy = replace(secret.rotate, min_age_s=max(secret.rotate.min_age_s, traits.min_age_s))
    known = replace(facts(secret.name, policy.after, summaries), life_min_s=traits.life_min_s)
    return due(policy, known, now)


def _seen(row: Summary | None) -> Seen:
    if row is None:
        return (None, None)
    current = next((v["id"] for v in row.state["versions"] if v["state"] == "current"), None)
    rotation = row.state["rotation"]
    return (current, rotation["id"] if rotation else None)


def scan(jobs: Iterable[Job], summaries: Mapping[str, Summary], now: float) -> list[Work]:
    """What this round has to do; reads summary rows only."""
    found, listed = [], list(jobs)
    distrusted = _distrusted(listed, summaries)
    for job in listed:
        row = summaries.get(job.name)
        when = is_due(job, summaries, now)
        waits = row is not None and (row.state["paused_until"] > now or _refused_until(job, summaries) > now)
        ready = when.ready and not waits and not _turned_down(job, summaries)
        unseen = look_due(job.traits, row, now, distrusted.get(job.name, 0.0))
        busy = row is not None and row.next_at is not None
        if ready and (not busy or (row is not None and _superseded(job, row))):
            found.append(Work(name=job.name, what="rotate", why=when.why, seen=_seen(row)))
        elif row and _goes_on(row, now, unseen):
            found.append(Work(name=job.name, what="resume", why=row.status))
        elif unseen:
            found.append(Work(name=job.name, what="check", why=unseen, distrusted_at=distrusted.get(job.name, 0.0)))
    return sorted(found, key=lambda one: one.what == "check")  # what only looks can wait


def _goes_on(row: Summary, now: float, unseen: str) -> bool:
    """Whether there is work in flight for this round. Where only a person can go on, a look that is due comes first."""
    if row.next_at is None or row.next_at <= now:
        return row.next_at is not None
    return row.status != "holding" and not (unseen and waits_for_person(row))


def _refused_until(job: Job, summaries: Mapping[str, Summary]) -> float:
    """Until when what refused the last rotation is not tried again (epoch s); a source that is well again is."""
    state, well = summaries[job.name].state, job.secret.source and not _open(summaries, job.secret.source)
    waits = [one.get("again_s", 0.0) for one in _open(summaries, job.name) if not (well and one["code"] in OF_SOURCE)]
    return float(state["checked_at"]) + max(waits) if waits else 0.0


def _turned_down(job: Job, summaries: Mapping[str, Summary]) -> bool:
    """Whether somebody at the vendor turned it down: he is not asked the same again by a schedule."""
    return any(problem["code"] == NOT_APPROVED for problem in _open(summaries, job.name))


def _open(summaries: Mapping[str, Summary], name: str) -> list[Mapping[str, Any]]:
    """What the last look at a secret found that refuses a rotation."""
    state = summaries[name].state if name in summaries else {}
    return [problem for problem in state.get("problems", ()) if problem["fatal"]]


def _distrusted(jobs: Iterable[Job], summaries: Mapping[str, Summary]) -> Mapping[str, float]:
    """Secrets whose derived ones could not be made of late, and when that was found: they are worth a look."""
    found: dict[str, float] = {}
    for job in jobs:
        if job.secret.source and _open(summaries, job.name):
            at = summaries[job.name].state["checked_at"]
            found[job.secret.source] = max(found.get(job.secret.source, 0.0), at)
    return found


def _superseded(job: Job, row: Summary) -> bool:
    """Whether the next rotation may begin before an older one ended: published, and nothing waits for a retire of ours.

    An old version that ends without us must not keep the next one from coming in time.
    """
    rotation = row.state["rotation"]
    ends_itself = job.traits.own_expiry or job.traits.dies_by_issue
    return ends_itself and rotation is not None and (rotation["published_at"] is not None or not rotation["open"])


def carry_out(
    bench: Bench,
    jobs: Mapping[str, Job],
    work: Iterable[Work],
    *,
    rotations_max: int,
    stopping: Callable[[], bool],
) -> Iterator[Outcome]:
    """Do the work side by side; outcomes come as they are known. Begins nothing new once `stopping`."""
    todo = [one for one in work if one.name not in bench.left_alone]
    rotations = {one.name for one in [one for one in todo if one.what == "rotate"][:rotations_max]}
    queue = _Queue(bench, {one.name: one for one in todo if one.what != "rotate" or one.name in rotations})

    def do(_: int) -> Outcome | None:
        if stopping():
            return None
        one, lease = queue.take()
        return _one(bench, jobs[one.name], one, lease)

    with ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="round") as pool:
        yield from (outcome for outcome in pool.map(do, range(len(queue))) if outcome)


class _Queue:
    """The round's work, shared with other runners: what nobody holds comes first, in order, then what somebody holds.

    The latter is tried once more: its holder may be known to be dead, or done. Now and then it is looked whether a
    holder was killed on this machine, so that nobody waits for the end of a dead runner's lease.
    """

    def __init__(self, bench: Bench, work: Mapping[str, Work]) -> None:
        self._bench, self._left, self._lock = bench, dict(work), threading.Lock()
        self._passed: list[str] = []
        self._look_at = 0.0

    def __len__(self) -> int:
        return len(self._left)

    def take(self) -> tuple[Work, Lease | None]:
        """The next piece of work, with its lease where it was free."""
        with self._lock:
            lease = self._passed_by() or self._claim()
            name = lease.subject if lease else next(iter(self._left))
            self._passed = list(takewhile(lambda one: one != name, self._left))
            return self._left.pop(name), lease

    def _passed_by(self) -> Lease | None:
        """One of those that somebody held at the last claim, if it is free now; dead holders' leases are ended."""
        now = self._bench.clock.monotonic()
        if now < self._look_at:
            return None
        self._look_at = now + self._bench.limits.lease_s / 6
        for name in self._passed:
            try:
                return self._bench.journal.acquire(name, self._bench.runner, ttl_s=self._bench.limits.lease_s)
            except LeaseHeld as held:
                if is_dead(held.lease.runner):
                    self._bench.journal.bury(held.lease)
        return None

    def _claim(self) -> Lease | None:
        names, ttl_s = list(self._left), self._bench.limits.lease_s
        for begin in range(0, len(names), CLAIM_NAMES_MAX):
            some = names[begin : begin + CLAIM_NAMES_MAX]
            lease = self._bench.journal.claim(some, self._bench.runner, ttl_s=ttl_s)
            if lease:
                return lease
        return None


def _one(bench: Bench, job: Job, work: Work, lease: Lease | None) -> Outcome | None:
    try:
        if work.what == "rotate":
            wanted = partial(_still_due, bench, work)
            ask = Ask(reason=f"schedule: {work.why}", scheduled=True, wanted=wanted)
            outcome = rotate(bench, job, ask, lease=lease)
            return None if outcome.status == "quiet" else outcome
        if work.what == "check":
            return look(bench, job, distrusted_at=work.distrusted_at, lease=lease)
        return resume(bench, job, scheduled=True, lease=lease)
    except HeldElsewhereError:
        return None
    except KeyturnError as error:
        return failed(job.name, error)
    except Exception as error:  # noqa: BLE001 - a bug met by one secret must not end the round of the others
        return failed(job.name, _bug(error))


def _still_due(bench: Bench, work: Work, state: SecretState) -> bool:
    """Whether all is as when the round looked, and nobody paused it: a long round comes to it much later."""
    return _seen(summarise(state)) == work.seen and state.paused_until <= bench.journal.now()


def _bug(error: Exception) -> KeyturnError:
    return KeyturnError("bug", f"unexpected {type(error).__name__}", hint="report it; the other secrets went on")


def failed(name: str, error: KeyturnError) -> Outcome:
    """An error as the outcome of one secret among many."""
    return Outcome(secret=name, status="error", code=error.code, text=str(error), next=error.hint, error=error)
