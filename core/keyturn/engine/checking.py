"""The preflight of a secret without a rotation: looks at vendor and sinks, and writes nothing anywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from keyturn.engine.bench import Bench
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.leases import Held
from keyturn.engine.job import Job
from keyturn.engine.plan import make_plan
from keyturn.engine.preflight import Findings, preflight
from keyturn.engine.record.events import Body
from keyturn.engine.record.state import SecretState
from keyturn.model import Mode, Problem
from keyturn.plugins.provider import Seen
from keyturn.secret import Bundle
from keyturn.states import State


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

    def append(self, *bodies: Body, rotation: str | None = None) -> None:
        """Nothing is journaled."""

    def keep(self, version_id: str, bundle: Bundle) -> None:
        """Nothing is sealed."""


def check(bench: Bench, job: Job, known_handles: Collection[str]) -> Checked:
    """Look at vendor and sinks. `known_handles` are those that any secret's journal knows: others are orphans."""
    driver = _Onlooker(bench, job, _NoLease())
    findings = preflight(driver, Mode.NORMAL)
    plan = make_plan(job, driver.state, mode=Mode.NORMAL)
    seen = findings.vendor.seen if findings.vendor else ()
    return Checked(
        secret=job.name,
        managed=driver.state.current is not None,
        endpoints=findings.vendor.endpoints if findings.vendor else (),
        problems=(*plan.problems, *findings.problems, *orphans(seen, known_handles), *drift(driver.state, findings)),
    )


def orphans(seen: Iterable[Seen], known: Collection[str]) -> Iterable[Problem]:
    """What lives at the vendor and no journal row knows: a stray of ours, or somebody else's. Never touched."""
    strays = [one.handle for one in seen if one.handle not in known]
    if strays:
        yield Problem(
            code="unknown-at-vendor",
            text=f"the vendor has what the journal does not know: {', '.join(strays)}",
            fatal=False,
            hint="remove it at the vendor if nobody uses it, or adopt it as a secret of its own",
        )


def drift(state: SecretState, findings: Findings) -> Iterable[Problem]:
    """Where the vendor lists handles, those of live versions are among them and those of refused ones are not."""
    seen = {one.handle: one for one in findings.vendor.seen} if findings.vendor else {}
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
