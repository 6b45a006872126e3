"""In place, behind proxies that hear of a change each at its own time: the first is enough, the rest is owed."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.attack_kit import act
from engine.promises import chain_is_whole, never_broken, never_lost, no_leak
from engine.test_crashes import end_is_good
from keyturn.api import Bundle, InspectRequest, InspectResponse
from keyturn.cli.cut_over import cut_over
from keyturn.engine.decisions.actions import ProbeNow
from keyturn.engine.decisions.looks import Looks, ProbeLook
from keyturn.engine.decisions.partial import asked
from keyturn.engine.decisions.view import View
from keyturn.engine.entry import resume
from keyturn.engine.limits import Limits
from keyturn.engine.operator import abandon, drop
from keyturn.engine.outcome import Outcome
from keyturn.engine.record.receipt import debts
from keyturn.engine.record.state import RotationState, VersionState
from keyturn.engine.record.summary import summarise
from keyturn.errors import RefusedError
from keyturn.model import Mode, Problem, Verdict
from keyturn.steps import Step
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes.hashed import FIELD, HashedProvider
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig

ACTIVATION_S = 65.0
"""What the fake declares: the proxies' usual time and a minute."""
LONG_AGO_S = 10_000.0


class Watching(FakeClock):
    """Has a client call every proxy with what the first sink serves, each time that time has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.rig: Rig | None = None
        self.refusals: list[tuple[str, float]] = []

    def advance(self, seconds: float) -> None:
        """Let it pass, then call."""
        super().advance(seconds)
        served = self.rig.served()[0] if self.rig else None
        if self.rig and served:
            accepting = self.rig.vendor.accepted_by(Bundle(dict(served)))
            self.refusals += [(name, self.now()) for name in self.rig.vendor.endpoints if name not in accepting]


@dataclass
class Portal(Rig):
    """Three proxies that know version 1 since long ago; `lags` is how long each takes to hear of the next."""

    fake: str = "hashed"
    lags: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.vendor.join("p3")
        self.adopt()
        self.clock.advance(LONG_AGO_S)
        for name, proxy in self.vendor.endpoints.items():
            proxy.lag_s = self.lags.get(name, 5.0)

    def down(self, name: str, *, hangs: bool = False) -> None:
        """From the next issue on it does not answer. Until then a rotation would not begin."""
        patch, proxy = self.vendor.patch, self.vendor.endpoints[name]  # type: ignore[attr-defined]

        def patched(call: Any) -> Any:
            proxy.down_until, proxy.hangs = math.inf, hangs
            self.vendor.patch = patch  # type: ignore[attr-defined]
            return patch(call)

        self.vendor.patch = patched  # type: ignore[attr-defined]

    def meddled(self) -> None:
        """Somebody else changes it just after our next issue."""
        patch, vendor = self.vendor.patch, self.vendor  # type: ignore[attr-defined]

        def patched(call: Any) -> Any:
            answer = patch(call)
            vendor.admin_patches()  # type: ignore[attr-defined]
            vendor.patch = patch  # type: ignore[attr-defined]
            return answer

        self.vendor.patch = patched  # type: ignore[attr-defined]

    def back(self, name: str) -> None:
        """It answers again, and goes on doing so."""
        vars(self.vendor).pop("patch", None)
        self.vendor.endpoints[name].down_until = 0.0

    @property
    def rotation(self) -> RotationState:
        """The latest."""
        rotation = self.state().rotation
        assert rotation is not None
        return rotation

    @property
    def kept_down_s(self) -> float:
        """From issue to the last promote."""
        sent, promoted = self.rotation.issue_sent_at, self.rotation.promoted_at
        assert sent is not None
        assert promoted is not None, "nothing was published"
        return promoted - sent

    def owed(self, kind: str = "verify") -> list[str]:
        """Where."""
        return [debt.where for debt in debts(self.state()) if debt.kind == kind]

    def version(self, number: int) -> VersionState:
        """By number."""
        return next(v for v in self.state().versions.values() if v.number == number)


def portal(folder: Path, **lags: float) -> Portal:
    folder.mkdir(exist_ok=True)
    return Portal(folder=folder, lags=lags)


def stuck(outcome: Outcome, code: str) -> bool:
    return (outcome.status, outcome.code, outcome.exit_code) == ("stuck", code, 5)


# Published when the first proxy has changed


def test_consumers_are_not_kept_down_by_the_slowest_proxy(tmp_path: Path) -> None:
    rig = portal(tmp_path, p2=40.0, p3=60.0)
    outcome = rig.rotate()
    assert outcome.status == "done"
    assert rig.kept_down_s <= 5 + 2 * rig.limits.poll_s
    end_is_good(rig, "slow")


def test_consumers_are_not_kept_down_by_a_proxy_that_is_down_and_it_is_finished_when_it_returns(tmp_path: Path) -> None:
    rig = portal(tmp_path)
    rig.down("p3")
    outcome = rig.rotate()
    assert (outcome.status, outcome.exit_code) == ("unfinished", 6)
    assert "p3 does not say of version 2" in outcome.text
    assert rig.kept_down_s <= 5 + 2 * rig.limits.poll_s
    assert rig.owed() == ["p3"]
    assert {e for e, proof in rig.version(1).proofs.items() if proof.verdict == "dead"} == {"p1", "p2"}
    rig.clock.advance(3600)
    assert rig.run().status == "unfinished"
    rig.back("p3")
    outcome = rig.run()
    assert (outcome.status, rig.owed()) == ("done", [])
    end_is_good(rig, "returned")


def test_consumers_are_hardly_kept_down_by_a_proxy_that_hangs(tmp_path: Path) -> None:
    rig = portal(tmp_path, p1=30.0, p2=60.0)
    rig.with_limits(probe_s=20.0, call_s=60.0)
    rig.down("p3", hangs=True)
    assert rig.rotate().status == "unfinished"
    assert rig.kept_down_s <= 30 + 3 * rig.limits.gap_probe_s + 2 * rig.limits.poll_s


def test_a_proxy_that_takes_both_is_no_evidence(tmp_path: Path) -> None:
    rig = portal(tmp_path, p1=2.0, p2=20.0, p3=50.0)
    rig.vendor.endpoints["p1"].cache_s = 40.0
    assert rig.rotate().status == "done"
    assert 20 <= rig.kept_down_s <= 22 + rig.limits.poll_s


def test_where_the_only_one_that_heard_takes_both_nothing_is_published_until_it_shows(tmp_path: Path) -> None:
    rig = portal(tmp_path, p1=2.0)
    rig.vendor.endpoints["p1"].cache_s = 100.0
    rig.down("p2")
    rig.down("p3")
    outcome = rig.rotate()
    assert outcome.status == "unfinished"
    assert "p1 accepts version 2 (200) and still accepts version 1 (200)" in outcome.text
    assert rig.version(2).published is False
    rig.clock.advance(60)
    rig.run()
    assert rig.version(2).published


def test_a_gap_is_sat_through_however_long_the_proxies_may_take(tmp_path: Path) -> None:
    rig = portal(tmp_path, p1=50.0, p2=50.0, p3=50.0)
    rig.with_limits(patience_s=10.0)
    assert rig.rotate().status == "done"


def test_a_dead_current_version_is_replaced_at_the_first_proxy_that_changed_too(tmp_path: Path) -> None:
    rig = portal(tmp_path)
    rig.vendor.admin_patches()  # type: ignore[attr-defined]
    rig.clock.advance(60)
    rig.down("p3")
    assert rig.rotate(mode=Mode.CURRENT_DEAD, reason="changed in the portal").status == "unfinished"
    assert (rig.version(2).published, rig.owed()) == (True, ["p3"])


# Nothing dead is published


def test_where_no_proxy_heard_nothing_is_published_and_all_are_named_with_their_evidence(tmp_path: Path) -> None:
    rig = portal(tmp_path, p1=400.0, p2=400.0, p3=400.0)
    outcome = rig.rotate()
    assert stuck(outcome, "not-synchronised")
    for proxy in ("p1", "p2", "p3"):
        assert f"{proxy} refuses version 2 (401) and still accepts version 1 (200)" in outcome.text
    assert outcome.next.startswith("have p1, p2, p3 synchronised at the vendor")
    assert outcome.next.endswith("then: keyturn resume app/main")
    assert never_broken(rig)
    assert rig.version(2).published is False
    rig.clock.advance(400)
    assert rig.run().status == "done"
    end_is_good(rig, "heard at last")


def test_whoever_had_it_synchronised_and_resumes_at_once_is_waited_with(tmp_path: Path) -> None:
    rig = portal(tmp_path, p1=400.0, p2=400.0, p3=400.0)
    rig.rotate()
    rig.clock.advance(400 - (rig.clock.now() - (rig.rotation.issued_at or 0.0)) - 10)
    began = rig.clock.now()
    bench = rig.bench()
    assert resume(bench, rig.job(bench), scheduled=True).status == "stuck", "a scheduled run only looks"
    assert rig.clock.now() - began < rig.limits.poll_s
    assert rig.run().status == "done"


def test_a_secret_that_somebody_else_changed_in_the_middle_is_never_published(tmp_path: Path) -> None:
    rig = portal(tmp_path)
    rig.meddled()
    rig.vendor.problems = (  # type: ignore[attr-defined]
        Problem(code="changed", text="the key was last changed by mallory at 12:04:05", fatal=False),
    )
    outcome = rig.rotate()
    assert stuck(outcome, "new-refused")
    assert "the key was last changed by mallory at 12:04:05" in outcome.text
    assert "p1 refuses version 2 (401) and refuses version 1 (401)" in outcome.text
    assert rig.version(2).published is False
    assert "--current-dead" in outcome.next
    rig.rotate(mode=Mode.CURRENT_DEAD, reason="mallory")
    rig.settle()
    end_is_good(rig, "meddled")


@pytest.mark.parametrize("verified", [False, True])
def test_a_secret_that_was_changed_between_two_runs_is_not_published_on_the_word_of_the_first(
    tmp_path: Path, verified: bool
) -> None:
    for at in count(4):
        rig = portal(tmp_path / f"{at}", p2=50.0, p3=50.0)
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, "after")  # type: ignore[misc]
        with suppress(Crash):
            rig.rotate()
        rig.crash = lambda journal: journal
        if rig.version(2).accepted and (Step.VERIFY in rig.rotation.done) == verified:
            break
    assert rig.version(2).published is False
    rig.vendor.admin_patches()  # type: ignore[attr-defined]
    rig.clock.advance(rig.limits.lease_s + 1)
    assert stuck(rig.run(), "new-refused")
    assert rig.version(2).published is False


class _Shows(HashedProvider):
    """Shows the value in force."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        newest = self.vendor.newest("main")
        bundle = Bundle({FIELD: newest.fields[FIELD]}) if newest else None
        return replace(super().inspect(request), bundle=bundle)


@pytest.mark.parametrize("provider", [HashedProvider, _Shows])
def test_adopting_from_the_vendor_is_said_only_where_the_vendor_shows_a_value(tmp_path: Path, provider: Any) -> None:
    rig = portal(tmp_path)
    traits: Any = rig.plugin.traits
    rig.plugin = replace(
        rig.plugin,
        load=lambda: provider,
        traits=lambda account, target: replace(traits(account, target), readable=True),
    )
    rig.meddled()
    outcome = rig.rotate()
    assert stuck(outcome, "new-refused")
    shows = provider is _Shows
    assert (outcome.next == "keyturn adopt app/main --from-vendor") == shows
    assert ("somebody else changed it" in outcome.text) == shows
    assert "--from-vendor" not in outcome.next or shows


# What is owed


def test_every_proxy_that_still_takes_the_old_version_is_named_and_the_others_are_proven(tmp_path: Path) -> None:
    rig = portal(tmp_path, p2=400.0, p3=500.0)
    outcome = rig.rotate()
    assert stuck(outcome, "not-synchronised")
    for proxy in ("p2", "p3"):
        assert f"{proxy} refuses version 2 (401) and still accepts version 1 (200)" in outcome.text
    assert outcome.next.startswith("have p2, p3 synchronised")
    assert rig.rotation.stuck is not None
    assert rig.clock.now() - (rig.rotation.issued_at or 0.0) >= ACTIVATION_S
    assert [e for e, proof in rig.version(1).proofs.items() if proof.verdict == "dead"] == ["p1"]
    row = summarise(rig.state())
    assert [debt["where"] for debt in row.state["debts"] if debt["kind"] == "verify"] == ["p2", "p3"]
    assert row.state["rotation"]["gap_since"] is None, "they are debts, not the gap"
    rig.clock.advance(400)
    assert rig.run().next.startswith("have p3 synchronised")
    assert rig.owed() == ["p3"]
    rig.clock.advance(400)
    assert rig.run().status == "done"
    end_is_good(rig, "both")


def test_a_proxy_that_takes_neither_holds_somebody_elses_secret(tmp_path: Path) -> None:
    rig = portal(tmp_path, p3=400.0)
    rig.rotate()
    rig.vendor.endpoints["p3"].blind_to |= {rig.version(1).handle or "", rig.version(2).handle or ""}
    outcome = rig.run()
    assert stuck(outcome, "new-refused")
    assert "p3 refuses version 2 (401) and refuses version 1 (401)" in outcome.text


def test_a_proxy_that_takes_both_in_the_end_is_told_apart_from_one_that_is_behind(tmp_path: Path) -> None:
    rig = portal(tmp_path)
    rig.vendor.endpoints["p3"].cache_s = 1000.0
    outcome = rig.rotate()
    assert stuck(outcome, "old-still-accepted")
    assert "p3" in outcome.text


def test_the_next_rotation_does_not_wait_for_a_proxy_that_never_heard_of_this_one(tmp_path: Path) -> None:
    rig = portal(tmp_path)
    rig.down("p3")
    rig.rotate()
    assert rig.rotate(force=True, reason="again").status == "unfinished"
    state = rig.state()
    assert state.current is not None
    assert (state.current.number, rig.owed()) == (3, ["p3"])
    rig.back("p3")
    assert rig.run().status == "done"
    end_is_good(rig, "superseded")


def test_a_proxy_that_fell_silent_after_it_had_heard_refuses_the_next_rotation_as_ever(tmp_path: Path) -> None:
    rig = portal(tmp_path)
    assert rig.rotate().status == "done"
    rig.vendor.endpoints["p3"].down_until = math.inf
    with pytest.raises(RefusedError) as caught:
        rig.rotate(force=True, reason="again")
    assert caught.value.code == "endpoint-silent"


def test_a_proxy_that_is_gone_for_good_is_dropped(tmp_path: Path) -> None:
    rig = portal(tmp_path)
    rig.down("p3")
    rig.rotate()
    assert act(rig, drop, what="p3", reason="scrapped").status == "done"
    end = rig.rotation.ended
    assert end is not None
    assert (sorted(end.outages_ms), end.outstanding) == (["p1", "p2"], ())


def test_what_a_rotation_that_was_abandoned_owes_is_tried_by_every_run(tmp_path: Path) -> None:
    rig = portal(tmp_path)
    rig.down("p3")
    rig.rotate()
    end = act(rig, abandon, reason="later").ended
    assert end is not None
    assert end.outstanding == ("p3",)
    assert summarise(rig.state()).next_at is not None
    assert "p3" in rig.run().text
    rig.back("p3")
    rig.run()
    assert (rig.owed(), rig.owed("prove")) == ([], [])
    assert summarise(rig.state()).next_at is None


def test_what_can_only_be_verified_is_owed_and_tried_too(tmp_path: Path) -> None:
    """The old value is not known, so that nothing is left to prove of it."""
    rig = portal(tmp_path)
    rig.down("p3")
    rig.rotate()
    bench = rig.bench()
    lease = bench.journal.acquire("app/main", "test", ttl_s=1.0)
    bench.escrow.drop("app/main", rig.version(1).id, lease=lease)
    bench.journal.release(lease)
    assert rig.run().status == "unfinished"
    assert {proof.verdict for proof in rig.version(1).proofs.values()} == {"dead", "by-contract"}
    act(rig, abandon, reason="later")
    assert (rig.owed(), rig.owed("prove")) == (["p3"], [])
    assert "p3" in rig.run().text
    assert summarise(rig.state()).next_at is not None
    rig.back("p3")
    rig.run()
    assert rig.owed() == []


def test_a_proxy_is_not_called_unsynchronised_before_its_time_is_over(tmp_path: Path) -> None:
    rig = portal(tmp_path, p1=30.0, p2=30.0, p3=30.0)
    traits: Any = rig.plugin.traits
    rig.plugin = replace(rig.plugin, traits=lambda account, target: replace(traits(account, target), probes_max=3))
    outcome = rig.rotate()
    assert (outcome.status, outcome.exit_code) == ("unfinished", 6)
    assert "p1 refuses version 2 (401) and still accepts version 1 (200)" in outcome.text
    rig.clock.advance(30)
    assert rig.run().status == "done"


# The reported outage


def test_the_outage_of_each_proxy_lasts_until_it_accepts_what_consumers_read(tmp_path: Path) -> None:
    clock = Watching()
    rig = Portal(folder=tmp_path, clock=clock, lags={"p2": 40.0, "p3": 200.0})
    clock.rig = rig
    rig.rotate()
    rig.clock.advance(200)
    end = rig.run().ended
    assert end is not None
    assert end.outage_ms == max(end.outages_ms.values()) == end.outages_ms["p3"] >= 200_000
    assert end.outages_ms["p1"] <= 7_000
    assert 40_000 <= end.outages_ms["p2"] <= 42_000
    inside(rig, end.outages_ms, clock.refusals)
    assert {name for name, _ in clock.refusals} == {"p1", "p2", "p3"}


def inside(rig: Portal, outages_ms: Mapping[str, int], refusals: list[tuple[str, float]]) -> None:
    """Every refusal that a client met lies in the outage that is reported for that proxy."""
    sent = rig.rotation.issue_sent_at
    assert sent is not None
    outside = [(name, at - sent) for name, at in refusals if not 0 <= at - sent <= outages_ms[name] / 1000]
    assert not outside


def test_where_the_answer_is_the_commit_the_outage_ends_with_the_last_promote(tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path, fake="console", account={"way": "api"})
    rig.adopt()
    end = rig.rotate().ended
    assert end is not None
    assert (end.outages_ms, end.outstanding) == ({}, ())
    assert end.outage_ms == rig.state().rotation.outage_ms  # type: ignore[union-attr]


def test_the_receipt_names_outages_that_differ_and_who_is_still_outstanding() -> None:
    alike = {"outage_ms": 5000, "outages_ms": {"p1": 5000, "p2": 4500}}
    assert cut_over(alike) == ["outage: 5 s"]
    apart = {"outage_ms": 65_000, "outages_ms": {"p1": 5000, "p2": 65_000}, "outstanding": ["p3"]}
    assert cut_over(apart) == [
        "outage: 65 s",
        "outage at p2: 65 s",
        "outage at p1: 5 s",
        "p3 has not accepted the new version yet",
    ]


# Who is asked when


def looked(**ago_s: float) -> View:
    """Of these endpoints the last answer, so many seconds ago: those whose name begins with s said nothing."""
    probes = {
        ("v2", name): ProbeLook(
            at=1000.0 - ago, verdict=Verdict.UNKNOWN if name.startswith("s") else Verdict.REFUSED, evidence=""
        )
        for name, ago in ago_s.items()
    }
    looks = Looks(began_at=0.0, probes=probes, probe_counts=dict.fromkeys(probes, 2))
    limits = Limits(probe_s=20.0, gap_probe_s=3.0, looks_fresh_s=60.0)
    unused: Any = None
    return View(state=unused, rotation=unused, looks=looks, limits=limits, now=1000.0, configured=frozenset())


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (looked(p1=1, s1=9), ProbeNow(pairs=(("v2", "p1"),), within_s=3.0)),
        (looked(p1=0.5, s1=9), None),
        (looked(p1=0.5, s1=24), ProbeNow(pairs=(("v2", "s1"),), within_s=6.0)),
        (looked(s1=1, s2=2), ProbeNow(pairs=(("v2", "s1"), ("v2", "s2")), within_s=6.0)),
    ],
    ids=["answering ones alone", "silent ones seldom", "silent ones apart, longer", "nobody else waits"],
)
def test_those_who_answer_never_wait_for_those_who_do_not(view: View, expected: ProbeNow | None) -> None:
    assert asked(view, list(view.looks.probes), 1.0) == expected


# Any world


PROXY = st.fixed_dictionaries(
    {"lag_s": st.sampled_from([0, 3, 20, 80, 300]), "cache_s": st.sampled_from([0, 0, 0, 15]), "down": st.booleans()}
)


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.tuples(PROXY, PROXY, PROXY), st.booleans(), st.integers(0, 30))
def test_whatever_the_proxies_do_nothing_is_lost_and_refusals_lie_in_the_reported_outage(
    proxies: tuple[dict[str, Any], ...], hangs: bool, dies_at: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = Watching()
        rig = Portal(folder=Path(folder), clock=clock)
        clock.rig = rig
        for (name, proxy), wanted in zip(rig.vendor.endpoints.items(), proxies, strict=True):
            proxy.lag_s, proxy.cache_s = wanted["lag_s"], wanted["cache_s"]
            if wanted["down"]:
                rig.down(name, hangs=hangs)
        rig.crash = lambda journal: CrashingJournal(journal, dies_at or 10_000, "after")
        with suppress(Crash):
            rig.rotate()
        rig.crash = lambda journal: journal
        rig.clock.advance(rig.limits.lease_s + 1)
        assert never_lost(rig)
        for name in rig.vendor.endpoints:
            rig.back(name)
        for _ in range(2):  # what has not been sent before it died is sent now
            rig.settle()
            rig.clock.advance(400)
        rig.settle()
        end_is_good(rig, f"{proxies}")
        assert no_leak(rig)
        assert chain_is_whole(rig)
        rotation = rig.state().rotation
        if rotation and rotation.ended and rotation.ended.outages_ms:
            inside(rig, rotation.ended.outages_ms, clock.refusals)
