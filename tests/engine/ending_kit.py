"""Rounds, as a scheduled `run` makes them, over one rig or over an entity secret and its tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from engine.bridge_kit import ENTITY, TOKEN, Entity, Tokens
from engine.promises import sealed_values
from keyturn.engine import operator
from keyturn.engine.bench import Bench
from keyturn.engine.entry import Ask, rotate
from keyturn.engine.job import Job
from keyturn.engine.outcome import Outcome
from keyturn.engine.record.state import SecretState, VersionState
from keyturn.engine.renewing import Renewer
from keyturn.engine.rounds import carry_out, is_due, scan
from keyturn.journal import open_journal
from keyturn.model import Mode
from keyturn.plugins.overlap import OverlapPolicy
from keyturn.schedule import Due, RotatePolicy
from keyturn.testing.fakes.options import TokenTarget
from keyturn.testing.rig import Rig

HOUR = 3600.0
DAY = 86_400.0


SECOND = "app/second"


@dataclass
class Twins(Entity):
    """An entity secret with two tokens; the second is bridged as well."""

    policy: OverlapPolicy = field(default_factory=lambda: OverlapPolicy(accept_outage_s=60.0, bridge=(TOKEN, SECOND)))

    def __post_init__(self) -> None:
        super().__post_init__()
        folder = self.folder / "second"
        folder.mkdir()
        account = {"issuer": self.vendor, "life": "24h"}
        self.second = Second(folder=folder, fake="token", account=account, clock=self.clock, entity=self)

    def bench(self, operator: str = "olga@test") -> Bench:
        bench = super().bench(operator)
        of = {TOKEN: self.tokens, SECOND: self.second}
        return replace(bench, renewer=Renewer(lambda: bench, lambda name: of[name].job(bench)))

    def begin(self) -> None:
        super().begin()
        bench = self.bench()
        assert rotate(bench, self.second.job(bench), Ask(mode=Mode.FIRST)).status == "done"
        bench.journal.close()


@dataclass
class Second(Tokens):
    """Another token of the same entity secret."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.target = TokenTarget(name="second", token_of=ENTITY)

    def job(self, bench: Bench) -> Job:
        job = super().job(bench)
        return replace(job, secret=replace(job.secret, name=SECOND, subject="fake:second"))


@dataclass
class Scheduled(Rig):
    """A rig with a schedule, and traits that a test may bend."""

    rotate_by: RotatePolicy = field(default_factory=RotatePolicy)
    bent: dict[str, Any] = field(default_factory=dict)

    def job(self, bench: Bench) -> Job:
        job = super().job(bench)
        traits = replace(job.traits, **self.bent)
        return replace(job, secret=replace(job.secret, rotate=self.rotate_by), traits=traits)


def one_round(rig: Rig, jobs_of: Callable[[Bench], list[Job]] | None = None) -> list[Outcome]:
    """What one `keyturn run` does now."""
    bench = rig.bench()
    try:
        jobs = {job.name: job for job in (jobs_of(bench) if jobs_of else [rig.job(bench)])}
        work = scan(jobs.values(), bench.journal.summaries(), bench.journal.now())
        return list(carry_out(bench, jobs, work, rotations_max=20, stopping=lambda: False))
    finally:
        bench.journal.close()


def where_due(rig: Rig) -> Due:
    """Where the schedule says that the rig's secret stands."""
    bench = rig.bench()
    try:
        return is_due(rig.job(bench), bench.journal.summaries(), bench.journal.now())
    finally:
        bench.journal.close()


def both(entity: Entity, secret: RotatePolicy, token: RotatePolicy) -> Callable[[Bench], list[Job]]:
    """The jobs of an entity secret and its token, with these schedules."""

    def jobs(bench: Bench) -> list[Job]:
        found = [(entity.job(bench), secret), (entity.tokens.job(bench), token)]
        return [replace(job, secret=replace(job.secret, rotate=policy)) for job, policy in found]

    return jobs


def version(state: SecretState, number: int) -> VersionState:
    """One version by its number."""
    return next(one for one in state.versions.values() if one.number == number)


def verdicts(rig: Rig, number: int) -> list[str]:
    """What is on record of an old version, one word for each endpoint."""
    return [proof.verdict for proof in version(rig.state(), number).proofs.values()]


def previous(rig: Rig) -> list[int]:
    """The numbers of replaced versions that are not closed."""
    return [one.number for one in rig.state().previous]


def alive(rig: Rig) -> int:
    """How many values of ours the vendor accepts now."""
    return sum(bool(rig.vendor.accepted_by(value)) for value in sealed_values(rig))


def looks(rig: Rig) -> int:
    """How often an endpoint was asked."""
    return sum(rig.vendor.probes.values())


def pause(entity: Entity, name: str, until: float) -> None:
    """Somebody pauses one of the two."""
    bench = entity.bench()
    job = entity.tokens.job(bench) if name == TOKEN else entity.job(bench)
    operator.pause(bench, job, until=until, reason="freeze")
    bench.journal.close()


def journaled(entity: Entity, secret: str = ENTITY) -> list[tuple[str, dict[str, Any]]]:
    """The types and data of a secret's events."""
    journal = open_journal(entity.settings, clock=entity.clock, runner="reader", operator="reader")
    try:
        return [(event.type, dict(event.data)) for event in journal.events(secret)]
    finally:
        journal.close()
