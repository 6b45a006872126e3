"""Two secrets of one journal: an entity secret, and a token that is minted with it and bridges its end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keyturn.engine.bench import Bench
from keyturn.engine.entry import Ask, rotate
from keyturn.engine.job import Job
from keyturn.engine.outcome import Outcome
from keyturn.engine.record.fold import fold
from keyturn.engine.record.state import SecretState
from keyturn.engine.renewing import Renewer
from keyturn.journal import open_journal
from keyturn.model import Mode
from keyturn.plugins.overlap import OverlapPolicy
from keyturn.secret import Bundle
from keyturn.testing.fakes.options import TokenTarget
from keyturn.testing.rig import Rig

ENTITY, TOKEN = "app/main", "app/token"


@dataclass
class Tokens(Rig):
    """The token's vendor and sinks; its journal is the entity's."""

    entity: Rig | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.entity
        self.settings, self.identity = self.entity.settings, self.entity.identity
        self.target = TokenTarget(name="main", token_of=ENTITY)

    def job(self, bench: Bench) -> Job:
        job = super().job(bench)
        return replace(job, secret=replace(job.secret, name=TOKEN, source=ENTITY, subject="fake:token"))


@dataclass
class Entity(Rig):
    """The entity secret; every process of it can renew the token."""

    fake: str = "grace"
    policy: OverlapPolicy = field(default_factory=lambda: OverlapPolicy(accept_outage_s=60.0, bridge=(TOKEN,)))

    def __post_init__(self) -> None:
        super().__post_init__()
        folder = self.folder / "token"
        folder.mkdir()
        account = {"issuer": self.vendor, "life": "24h"}
        self.tokens = Tokens(folder=folder, fake="token", account=account, clock=self.clock, entity=self)

    def bench(self, operator: str = "olga@test") -> Bench:
        bench = super().bench(operator)
        return replace(bench, renewer=Renewer(lambda: bench, lambda _: self.tokens.job(bench)))

    def begin(self) -> None:
        """Both are managed: the entity secret is adopted, the first token was minted with it."""
        self.adopt()
        assert self.token(mode=Mode.FIRST).status == "done"

    def token(self, **ask: Any) -> Outcome:
        """One process that rotates the token by itself."""
        bench = self.bench()
        try:
            return rotate(bench, self.tokens.job(bench), Ask(**ask))
        finally:
            bench.journal.close()

    def token_state(self) -> SecretState:
        journal = open_journal(self.settings, clock=self.clock, runner="reader", operator="reader")
        try:
            return fold(TOKEN, journal.events(TOKEN))
        finally:
            journal.close()

    def token_number(self) -> int:
        current = self.token_state().current
        assert current
        return current.number

    def token_works(self) -> bool:
        """Whether what consumers read as the token is accepted, in every sink."""
        return all(self.tokens.vendor.accepted_by(Bundle(dict(value))) for value in self.tokens.served() if value)


def pair(folder: Path, **more: Any) -> Entity:
    """An entity secret and its token, both managed."""
    entity = Entity(folder=folder, **more)
    entity.begin()
    return entity
