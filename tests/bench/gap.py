"""How long consumers have nothing valid in a cut-over: `python -m bench.gap FOLDER` in tests/.

The vendor and three sinks are 50 ms away, each way. What can not be avoided is the vendor's answer, from its commit
until it is here, and the slowest promote, from its sending until consumers are served. All times are of one clock, and
of the same rotation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from bench.far_side import ANSWERED, CLOCK, CLOUD, FAR, NEAR, SINKS, VENDOR, FarSide, far_side
from keyturn.cli.estate import Wiring, open_estate
from keyturn.engine.entry import Ask, rotate
from keyturn.testing.faults import CrashingJournal
from program import write_private
from wallets.wallets import SECRET, Wallets

T = TypeVar("T")
CUT_OVERS = 7
ONE_WAY_S = 0.05
LOGIN = {"approle": {"role_id": "file:state/role-id", "secret_id": "file:state/secret-id"}}


@dataclass(frozen=True)
class Gap:
    """One cut-over; seconds."""

    whole_s: float
    answer_s: float
    promote_s: float
    writes_s: tuple[float, ...]

    @property
    def needed_s(self) -> float:
        """The vendor's answer until it is here, and the slowest promote until it is served."""
        return self.answer_s + self.promote_s

    @property
    def ratio(self) -> float:
        """How much longer it is than it has to be."""
        return self.whole_s / self.needed_s

    def __str__(self) -> str:
        whole, needed, answer, promote, writes = (
            1000 * each for each in (self.whole_s, self.needed_s, self.answer_s, self.promote_s, sum(self.writes_s))
        )
        return (
            f"gap of a cut-over    {whole:6.1f} ms   answer + slowest promote {needed:6.1f} ms "
            f"({answer:.1f} + {promote:.1f})   x{self.ratio:.2f}   "
            f"{len(self.writes_s)} durable writes in it {writes:.1f} ms"
        )


class TimedJournal(CrashingJournal):
    """A journal that notes when each durable write began and ended, and never crashes."""

    writes_at: list[tuple[float, float]]

    def _write(self, write: Callable[[], T]) -> T:
        at = CLOCK.now()
        written = write()
        self.writes_at.append((at, CLOCK.now()))
        return written


@dataclass
class Distant(Wallets):
    """Wallets whose vendor and sinks are a way off. `sent` is when the promote to each sink left."""

    far: FarSide = field(kw_only=True)
    sent: dict[str, float] = field(default_factory=dict)
    writes_at: list[tuple[float, float]] = field(default_factory=list)

    def cut_over(self) -> Gap:
        """One rotation."""
        self.sent.clear()
        self.writes_at.clear()
        self.far.since()
        estate = open_estate(str(self.config), wiring=Wiring(clock=self.clock, inject=self._note, journal=self._timed))
        try:
            outcome = rotate(estate.bench, estate.job(SECRET), Ask(force=True, reason="bench"))
        finally:
            estate.close()
        assert outcome.status == "done", outcome.text
        return self._measured(self.far.since())

    def _note(self, moment: str, plugin: str, verb: str) -> None:
        if (moment, verb) == ("before", "promote"):
            self.sent[plugin.partition(":")[0]] = CLOCK.now()

    def _timed(self, journal: Any) -> TimedJournal:
        timed = TimedJournal(journal, at=-1)
        timed.writes_at = self.writes_at
        return timed

    def _measured(self, moments: dict[str, list[float]]) -> Gap:
        committed, left = moments[VENDOR][-1], max(self.sent[name] for name in SINKS)
        served = {name: min(at for at in moments[name] if at > committed) for name in SINKS}
        return Gap(
            whole_s=max(served.values()) - committed,
            answer_s=moments[ANSWERED][-1] - committed + ONE_WAY_S,
            promote_s=max(served[name] - self.sent[name] for name in SINKS),
            writes_s=tuple(until - at for at, until in self.writes_at if committed <= at <= left),
        )


@contextmanager
def distant(folder: Path) -> Iterator[Distant]:
    """A secret at Circle, by API, served by two places in OpenBao and one in AWS."""
    folder.mkdir(mode=0o700)
    with far_side(ONE_WAY_S) as far:
        vaults = {name: {"kind": "vault", "url": far.facts[name], "auth": LOGIN} for name in (NEAR, FAR)}
        cloud = {"kind": "aws", "region": far.facts["region"], "endpoint": far.facts[CLOUD]}
        keys = {"access_key_id": "file:state/aws-id", "secret_access_key": "file:state/aws-key"}
        one = Distant(
            folder=folder,
            clock=CLOCK,
            sim=SimpleNamespace(url=far.facts[VENDOR], **far.facts["sim"]),  # type: ignore[arg-type] # what it reads
            secret={"sinks": places()},
            sinks={**vaults, CLOUD: {**cloud, **keys}},
            far=far,
        )
        one.build()
        for name in ("role-id", "secret-id", "aws-id"):
            write_private(folder / "state" / name, far.facts[name])
        write_private(folder / "state/aws-key", "made-up-secret-key")
        one.begin()
        yield one


def places() -> list[dict[str, Any]]:
    """Where consumers read it, and the custody of its recovery file."""
    fields = ["entity_secret"]
    vaults = [{"to": name, "path": f"bench-{name}", "fields": fields} for name in (NEAR, FAR)]
    custody = {"to": "custody", "path": "circle.recovery", "fields": ["recovery_file"]}
    return [*vaults, {"to": CLOUD, "name": "bench", "fields": fields}, custody]


def gap_of_a_cut_over(folder: Path) -> Gap:
    """The median of some cut-overs."""
    with distant(folder / "wallets") as one:
        one.cut_over()  # finds everything made after that
        gaps = [one.cut_over() for _ in range(CUT_OVERS)]
    return sorted(gaps, key=lambda gap: gap.ratio)[CUT_OVERS // 2]


if __name__ == "__main__":
    sys.stdout.write(str(gap_of_a_cut_over(Path(sys.argv[1]))))
