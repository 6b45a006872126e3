"""The preflight of a secret without a rotation: looks at vendor and sinks, and changes nothing anywhere.

`check` records nothing either; `look`, for a run, records what it found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.clock import iso
from keyturn.engine.bench import Bench
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.leases import Held, holding
from keyturn.engine.effects.vendor import shown_by
from keyturn.engine.job import Job
from keyturn.engine.outcome import Outcome
from keyturn.engine.plan import make_plan
from keyturn.engine.preflight import Findings, preflight
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import SecretState
from keyturn.engine.record.summary import summarise
from keyturn.journal.store import Lease, Summary
from keyturn.model import Mode, Problem, Revoke, Traits
from keyturn.plugins.provider import Seen
from keyturn.secret import Bundle
from keyturn.states import State

AGAIN_S = 3600.0
"""How long after a look that found what refuses a rotation the next one is due."""

TRY_AGAIN_S = 600.0
"""How long after a refusal by something that does not pass by itself a due rotation is tried again."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was seen of one secret now. `managed`: it has a current version."""

    secret: str
    managed: bool
    endpoints: tuple[str, ...]
    problems: tuple[Problem, ...]


class _NoLease(Held):
    """Stands where a lease would: who only looks holds none, so that any write fails."""

    def __init__(self) -> None:
        """Without a lease, and without the thread that renews it."""


class _Onlooker(Driver):
    """Sees everything; what it sees is neither journaled nor sealed."""

    def append(self, *bodies: ev.Body, rotation: str | None = None) -> None:
        """Nothing is journaled."""

    def keep(self, version_id: str, bundle: Bundle) -> None:
        """Nothing is sealed."""


def check(bench: Bench, job: Job, known_handles: Collection[str]) -> Checked:
    """Look at vendor and sinks. `known_handles` are those of live versions of any secret: others are orphans."""
    driver = _Onlooker(bench, job, _NoLease())
    findings, managed = preflight(driver, Mode.NORMAL), driver.state.current is not None
    plan = make_plan(job, driver.state, mode=Mode.NORMAL)
    # Where nothing is ever removed, a handle is no version of anybody's: it names what the secret belongs to.
    seen = findings.vendor.seen if findings.vendor and job.traits.revoke is not Revoke.NONE else ()
    known = {*known_handles, *(v.handle for v in driver.state.versions.values() if v.handle)}
    return Checked(
        secret=job.name,
        managed=managed,
        endpoints=findings.vendor.endpoints if findings.vendor else (),
        problems=(
            *plan.problems,
            *findings.problems,
            *orphans(seen, known, managed=managed),
            *drift(driver.state, seen),
        ),
    )


def look_due(traits: Traits, row: Summary | None, now: float, distrusted_at: float = 0.0) -> str:
    """Why a run looks at this secret although nothing is due; empty where it does not, or one is in flight. Pure.

    `distrusted_at` is when a derived secret could not be made (epoch s; 0: never).
    """
    current = next((v for v in row.state["versions"] if v["state"] == "current"), None) if row else None
    if row is None or current is None or not _settled(row):
        return ""
    seen_at = row.state.get("checked_at") or current["since"] or 0.0  # rows of older writers have no `checked_at`
    if distrusted_at > seen_at:
        return "a secret derived from it could not be made"
    late_at = (row.state.get("rotation") or {}).get("look_again_at")
    if late_at and seen_at < late_at <= now:
        return "a call of the rotation that was undone may have taken effect late"
    open_ = any(problem["fatal"] for problem in row.state.get("problems", ()))
    every_s = [*([AGAIN_S] if open_ else []), *([traits.check_every_s] if traits.check_every_s else [])]
    if not every_s or now - seen_at < min(every_s):
        return ""
    return f"{'problems were' if open_ else 'last'} seen at {iso(seen_at)}"


def _settled(row: Summary) -> bool:
    """Whether no run has work on it before it is due: what waits for a person alone keeps nobody from looking."""
    by_person = row.status == "debts" and row.next_at is None
    return row.status in ("current", "holding") or by_person or waits_for_person(row)


def waits_for_person(row: Summary) -> bool:
    """Whether a rotation has published nothing yet, and goes on only when a person comes: that may take days. Pure."""
    rotation = row.state["rotation"]
    waiting = rotation and rotation["waiting"]
    return bool(row.status == "waiting" and waiting and waiting["kind"] == "person" and not rotation["published_at"])


def look(bench: Bench, job: Job, *, distrusted_at: float = 0.0, lease: Lease | None = None) -> Outcome:
    """Look at vendor and sinks now, record what refuses a rotation, and change nothing else. Raises HeldElsewhere.

    `distrusted_at` is as `look_due` takes it.
    """
    with holding(bench, job.name, lease=lease) as held:
        driver = Driver(bench, job, held)
        if not look_due(job.traits, summarise(driver.state), driver.now(), distrusted_at):
            return Outcome(secret=job.name, status="quiet", text="another runner looked just now")
        found = preflight(driver, Mode.NORMAL)
        if driver.looks.overran:
            bench.left_alone.add(job.name)
        note(driver, found.problems, due=True, expires_at=_of_ours(driver, found))
        said = ", ".join(problem.code for problem in found.fatal) or "all is well"
        status = "waiting" if waits_for_person(summarise(driver.state)) else "quiet"
        return Outcome(secret=job.name, status=status, text=f"looked at: {said}", next=f"keyturn status {job.name}")


def _of_ours(driver: Driver, found: Findings) -> float | None:
    """When the current version expires by the vendor's word, where what it shows is that version."""
    shown = shown_by(driver.job.traits, found.vendor) if found.vendor else Bundle()
    current = driver.state.current
    ours = bool(shown) and current and driver.fingerprints(shown).items() <= current.fingerprints.items()
    return found.vendor.expires_at if ours and found.vendor else None


def note(driver: Driver, problems: Iterable[Problem], *, due: bool = False, expires_at: float | None = None) -> None:
    """Record what was found; without `due` only what is new, or waits to be tried again: nothing is told twice."""
    kept = tuple(
        {"code": one.code, "text": one.text, "hint": one.hint, "fatal": one.fatal, "again_s": _again_s(one)}
        for one in sorted(problems, key=lambda one: not one.fatal)
    )
    if due or any(one["again_s"] for one in kept) or _codes(kept) != _codes(driver.state.problems):
        driver.append(ev.Checked(problems=kept, expires_at=expires_at))


def _again_s(problem: Problem) -> float:
    """How long a run waits before it tries once more what this refused."""
    return max(problem.again_s, 0.0 if problem.passing or not problem.fatal else TRY_AGAIN_S)


def _codes(problems: Iterable[Mapping[str, Any]]) -> set[tuple[str, bool]]:
    return {(one["code"], one["fatal"]) for one in problems}


def orphans(seen: Iterable[Seen], known: Collection[str], *, managed: bool) -> Iterable[Problem]:
    """What lives at the vendor and no journal row knows: a stray of ours, or somebody else's. Never touched.

    Of a secret that is not `managed` it may be the very one that consumers use.

    A slot always holds some value; the idle one's, which nobody was given, is no stray.
    """
    strays = [one.handle for one in seen if one.handle not in known and one.slot is None]
    if strays:
        yield Problem(
            code="unknown-at-vendor",
            text=f"the vendor has what the journal does not know: {', '.join(strays)}",
            fatal=False,
            hint="remove it at the vendor if nobody uses it, or adopt it as a secret of its own"
            if managed
            else "adopt what consumers use; remove nothing at the vendor before that",
        )


def drift(state: SecretState, listed: Iterable[Seen]) -> Iterable[Problem]:
    """Where the vendor lists handles, those of live versions are among them and those of refused ones are not."""
    seen = {one.handle: one for one in listed}
    for version in state.versions.values() if seen else ():
        if version.handle is None:
            continue
        if version.state is State.CURRENT and version.handle not in seen:
            text = f"the vendor does not list {version.handle}, which is current"
            yield Problem(
                code="current-not-listed", text=text, hint="its evidence is the probe: keyturn check --online"
            )
        if version.refused and version.handle in seen and seen[version.handle].enabled:
            text = f"the vendor lists {version.handle} (version {version.number}), which was retired"
            yield Problem(code="retired-but-listed", text=text, fatal=False, hint=f"keyturn run {state.secret}")
