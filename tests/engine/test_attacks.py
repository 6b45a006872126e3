"""Histories made to break the promises: a crash, a lost answer, an operator, an admin and a second runner together."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine.attack_kit import DAY, TELL, act, adopted, back, current, handle, held, numbers
from engine.promises import never_broken
from engine.test_crashes import end_is_good
from keyturn.config.model import Consumer
from keyturn.engine.adoption import Adoption, adopt
from keyturn.engine.entry import resume
from keyturn.engine.job import Job
from keyturn.engine.operator import abandon, change_hold, drop
from keyturn.errors import NotSent, RefusedError, UsageError
from keyturn.model import Mode, Verdict
from keyturn.plugins.overlap import OverlapPolicy
from keyturn.plugins.provider import IssueRequest, IssueResponse, ProbeRequest, ProbeResponse
from keyturn.testing.fakes.approle import AppRoleProvider
from keyturn.testing.fakes.open import OpenProvider
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig

# P3: what an undone, abandoned or rolled back successor leaves of an older hold


def test_an_undone_successor_leaves_the_older_hold_as_it_was_and_its_retire_still_happens(tmp_path: Path) -> None:
    rig = held(tmp_path, policy=OverlapPolicy(hold_s=DAY))
    rig.vendor.faults.add("issue", "refused")
    assert rig.rotate(force=True, reason="again").status == "undone"
    outcome = rig.run()
    assert (outcome.status, numbers(rig)[1]) == ("holding", "previous")
    rig.clock.advance(DAY)
    rig.settle()
    end_is_good(rig, "undone successor")
    assert (current(rig), numbers(rig)[1]) == (2, "retired")


def test_an_undone_successor_does_not_end_a_hold_that_an_operator_made_longer(tmp_path: Path) -> None:
    rig = held(tmp_path)
    act(rig, change_hold, until=rig.clock.now() + 10 * DAY, reason="kong is slow")
    rig.vendor.faults.add("issue", "refused")
    assert rig.rotate(force=True, reason="again").status == "undone"
    rig.clock.advance(DAY)
    assert rig.run().status == "holding"
    assert numbers(rig)[1] == "previous"
    rig.clock.advance(10 * DAY)
    rig.settle()
    end_is_good(rig, "longer hold")


def test_an_undone_emergency_does_not_end_the_older_hold(tmp_path: Path) -> None:
    rig = held(tmp_path, policy=OverlapPolicy(hold_s=DAY), consumers=(Consumer(name="kong", acknowledge=True),))
    rig.vendor.faults.add("issue", "refused")
    assert rig.rotate(compromised=True, reason="leaked").status == "undone"
    assert rig.run().missing == ("kong",)
    assert numbers(rig)[1] == "previous"
    assert rig.state().waived == frozenset()


def test_a_dead_current_does_not_end_the_hold_of_an_older_version_that_lives(tmp_path: Path) -> None:
    rig = held(tmp_path, policy=OverlapPolicy(hold_s=DAY))
    for endpoint in ("e1", "e2"):
        rig.vendor.admin_removes(handle(rig, 2), endpoint)
    outcome = rig.rotate(mode=Mode.CURRENT_DEAD, reason="removed by hand")
    assert (outcome.status, numbers(rig)[1]) == ("holding", "previous")
    rig.clock.advance(DAY)
    rig.settle()
    end_is_good(rig, "dead current")


def test_a_rollback_never_drops_an_issue_in_doubt(tmp_path: Path) -> None:
    rig = held(tmp_path, fake="approle")
    rig.vendor.faults.add("issue", "after")
    rig.with_limits(patience_s=0.0)
    assert rig.rotate(force=True, reason="again").status == "unfinished"
    with pytest.raises(RefusedError) as caught:
        back(rig)
    assert caught.value.code == "rotation-in-flight"
    rig.with_limits(patience_s=600.0)
    rig.clock.advance(100)
    rig.settle()
    end_is_good(rig, "rollback in doubt")
    assert len(rig.vendor.of("main")) == 1


@pytest.mark.parametrize("fake", ["open", "approle", "second-key", "slots"])
def test_a_rollback_killed_before_publish_looks_again_before_consumers_read_the_old_version(
    tmp_path: Path, fake: str
) -> None:
    rig = held(tmp_path, fake=fake)
    rig.clock.advance(61)
    rig.settle()
    assert rig.rotate(force=True, reason="again").status == "holding"
    rig.crash = lambda journal: CrashingJournal(journal, 2, "after")
    with pytest.raises(Crash):
        back(rig)
    rig.crash = lambda journal: journal
    assert current(rig) == 3
    rig.vendor.admin_removes(handle(rig, 2))
    rig.clock.advance(rig.limits.lease_s + 4000)
    rig.run()
    assert never_broken(rig)
    assert current(rig) == 3
    rig.settle()
    assert never_broken(rig)
    assert not any(v.refuse_sent for v in rig.state().versions.values() if v.number == 3)


def test_a_version_verified_long_ago_is_looked_at_again_before_publish(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    for store in rig.stores.values():
        store.faults.add("inspect", "unavailable", nth=2, times=9)
    assert rig.rotate().status == "unfinished"
    assert current(rig) == 1
    for store in rig.stores.values():
        store.faults.clear()
    rig.vendor.admin_removes(handle(rig, 2), "e2")
    rig.clock.advance(DAY)
    assert rig.run().status == "undone"
    assert never_broken(rig)


class _OpenDoor(OpenProvider):
    """e2 lets everybody in."""

    def probe(self, request: ProbeRequest, /) -> ProbeResponse:
        seen = super().probe(request)
        return replace(seen, verdict=Verdict.ACCEPTED) if request.endpoint == "e2" else seen


class _OneName(OpenProvider):
    """Every version gets the first one's name."""

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        return replace(super().issue(request), handle="admin-main")


def with_provider(rig: Rig, provider: type[Any]) -> Rig:
    """From now on another plugin in front of the same vendor."""
    rig.plugin = replace(rig.plugin, load=lambda: provider)
    return rig


def test_a_made_up_value_that_is_accepted_in_the_hold_stops_the_retire(tmp_path: Path) -> None:
    rig = held(tmp_path)
    rig.clock.advance(61)
    outcome = with_provider(rig, _OpenDoor).run()
    assert outcome.status == "stuck"
    assert "made-up" in outcome.text
    assert not any(v.refuse_sent for v in rig.state().versions.values())


def test_a_handle_that_the_current_version_has_too_is_never_retired(tmp_path: Path) -> None:
    rig = with_provider(adopted(tmp_path), _OneName)
    assert handle(rig, 1) == "admin-main"
    rig.rotate()
    rig.clock.advance(61)
    assert rig.run().status == "stuck"
    assert not [m for m in rig.vendor.log if m.verb == "retire"]


# P2: in place, nothing else is left


def test_abandoning_an_issue_that_ended_the_old_version_goes_forward(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="hashed")
    for at in count(2):
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, "after")  # type: ignore[misc]
        with suppress(Crash):
            rig.rotate(force=True, reason="again")
        rig.crash = lambda journal: journal
        rig.clock.advance(rig.limits.lease_s + 1)
        state = rig.state()
        rotation = state.rotation
        assert rotation is not None
        if state.versions[rotation.to].issued and not state.versions[rotation.to].published:
            break
        rig.settle()
    act(rig, abandon, reason="wrong week")
    assert never_broken(rig)
    rig.settle()
    end_is_good(rig, "abandoned in the gap")


def test_abandoning_a_half_published_cut_over_still_owes_the_other_sink(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="hashed")
    rig.stores["near"].faults.add("promote", "unavailable", times=40)
    assert rig.rotate().status == "unfinished"
    act(rig, abandon, reason="later")
    rig.stores["near"].faults.clear()
    rig.settle()
    assert never_broken(rig)


def test_a_vendor_that_can_not_be_looked_at_is_not_asked_to_issue_without_a_witness(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="hashed")
    rig.vendor.faults.add("inspect", "unavailable", nth=2, times=1)
    rig.crash = lambda journal: CrashingJournal(journal, 3, "before")
    with pytest.raises(Crash):
        rig.rotate()
    rig.crash = lambda journal: journal
    rig.clock.advance(rig.limits.lease_s + 1)
    rig.vendor.faults.add("inspect", "unavailable")
    rig.vendor.faults.add("issue", "after")
    rig.run()
    rig.settle()
    end_is_good(rig, "no witness")


class _LeavesOut(AppRoleProvider):
    """The answer lacks the value."""

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        return IssueResponse(handle=super().issue(request).handle)


class _Clumsy(AppRoleProvider):
    """Quotes the answer in an error."""

    made: ClassVar[list[str]] = []

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        value = super().issue(request).bundle["secret_id"].reveal()
        self.made.append(value)
        raise ValueError(f"unexpected answer: {value}")


def test_a_vendor_that_leaves_out_a_field_is_never_called_published(tmp_path: Path) -> None:
    rig = with_provider(adopted(tmp_path, fake="approle"), _LeavesOut)
    assert rig.rotate().exit_code != 0
    assert current(rig) == 1
    rig.clock.advance(1000)
    rig.run()
    assert never_broken(rig)


# What is said is true, and the next command works


def test_an_undo_that_finds_the_old_version_refused_can_be_left_by_the_command_it_names(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.vendor.faults.add("issue", "refused")
    real = rig.vendor.create  # type: ignore[attr-defined]

    def create(*args: Any) -> None:
        rig.vendor.admin_removes(handle(rig, 1))
        real(*args)

    rig.vendor.create = create  # type: ignore[attr-defined]
    outcome = rig.rotate()
    assert (outcome.status, outcome.code) == ("stuck", "old-refused")
    assert "--current-dead" in outcome.next
    rig.vendor.create = real  # type: ignore[attr-defined]
    rig.rotate(mode=Mode.CURRENT_DEAD, reason="refused")
    rig.settle()
    end_is_good(rig, "old refused")


def test_a_value_that_was_lost_twice_can_be_left_by_the_command_it_names(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="hashed")
    rig.vendor.faults.add("issue", "after", times=2)
    rig.rotate()
    outcome = rig.settle()
    assert (outcome.status, outcome.code) == ("stuck", "value-lost-again")
    assert "--current-dead" in outcome.next
    rig.rotate(mode=Mode.CURRENT_DEAD, reason="lost twice")
    rig.settle()
    end_is_good(rig, "lost twice")


def test_a_dead_current_in_one_sink_only_is_no_reason_to_refuse_the_rotation(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    old = rig.stores["near"].serves("app/main")
    assert rig.rotate().status == "holding"
    rig.stores["near"].foreign_write("app/main", dict(old or {}))
    rig.vendor.admin_removes(handle(rig, 2), "e1")
    rig.vendor.admin_removes(handle(rig, 2), "e2")
    rig.rotate(mode=Mode.CURRENT_DEAD, reason="removed")
    rig.settle()
    end_is_good(rig, "behind")


def test_a_dead_old_version_is_not_called_good(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.vendor.admin_removes(handle(rig, 1))
    rig.vendor.faults.add("issue", "refused")
    outcome = rig.rotate(mode=Mode.CURRENT_DEAD, reason="removed")
    assert "old version is good" not in outcome.text
    assert outcome.exit_code == 5


def test_a_first_rotation_that_is_undone_does_not_speak_of_an_old_version(tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path)
    rig.vendor.faults.add("issue", "refused")
    outcome = rig.rotate(mode=Mode.FIRST)
    assert "old version is good" not in outcome.text
    assert rig.rotate(mode=Mode.FIRST).status == "done"


def test_an_endpoint_gone_after_abandon_can_be_dropped_as_the_text_says(tmp_path: Path) -> None:
    rig = held(tmp_path)
    act(rig, abandon, reason="later")
    del rig.vendor.endpoints["e2"]
    rig.clock.advance(61)
    outcome = rig.run()
    assert "--drop e2" in outcome.next
    act(rig, drop, what="e2", reason="gone")
    rig.settle()
    assert numbers(rig) == {1: "retired", 2: "current"}


def test_the_hold_of_an_abandoned_rotation_can_be_ended(tmp_path: Path) -> None:
    rig = held(tmp_path, policy=OverlapPolicy(hold_s=DAY))
    act(rig, abandon, reason="later")
    assert rig.run().status == "holding"
    act(rig, change_hold, until=None, reason="all moved")
    rig.run()
    assert numbers(rig) == {1: "retired", 2: "current"}


def test_the_last_endpoint_or_sink_is_never_dropped(tmp_path: Path) -> None:
    rig = held(tmp_path)
    act(rig, drop, what="e1", reason="gone")
    act(rig, drop, what="near:app/main", reason="gone")
    for what in ("e2", "far:app/main"):
        with pytest.raises(UsageError):
            act(rig, drop, what=what, reason="gone")


def test_a_request_repeated_after_it_was_undone_says_so(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.vendor.faults.add("issue", "refused")
    assert rig.rotate(request="r1").status == "undone"
    assert "undone" in rig.rotate(request="r1").text
    assert len([m for m in rig.vendor.log if m.what == "create"]) == 1


def test_adopting_while_a_first_rotation_is_in_flight_is_refused(tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path)
    rig.vendor.faults.add("issue", "before")
    rig.with_limits(patience_s=0.0)
    assert rig.rotate(mode=Mode.FIRST).status == "unfinished"
    name, bundle, _ = rig.vendor.seed()
    with pytest.raises(RefusedError) as caught:
        act(rig, adopt, adoption=Adoption(bundle=bundle, handle=name))
    assert caught.value.code == "rotation-in-flight"


# Configuration that changes in flight


def without(job: Job, name: str) -> Job:
    secret = replace(job.secret, consumers=tuple(c for c in job.consumers if c.name != name))
    return replace(job, secret=secret, sinks=tuple(s for s in job.sinks if s.key != name))


def test_a_consumer_taken_out_of_the_configuration_is_stuck_with_the_command_that_drops_it(tmp_path: Path) -> None:
    rig = adopted(tmp_path, consumers=(Consumer(name="kong", announce=TELL), Consumer(name="envoy", announce=TELL)))
    rig.notifier.plan["announce", "kong"] = [NotSent("down")] * 9
    assert rig.rotate().status == "unfinished"
    bench = rig.bench()
    outcome = resume(bench, without(rig.job(bench), "kong"))
    assert (outcome.status, outcome.code) == ("stuck", "frozen-unconfigured")
    assert "--drop kong" in outcome.next


def test_a_drained_consumer_taken_out_of_the_configuration_does_not_keep_the_others_down(tmp_path: Path) -> None:
    consumers = tuple(Consumer(name=name, quiesce=TELL, release=TELL) for name in ("signer", "batch"))
    rig = adopted(tmp_path, fake="hashed", consumers=consumers)
    rig.vendor.faults.add("issue", "unavailable", times=3)
    rig.with_limits(tries_per_run=1)
    rig.crash = lambda journal: CrashingJournal(journal, 7, "before")
    with pytest.raises(Crash):
        rig.rotate()
    rig.crash = lambda journal: journal
    rig.clock.advance(rig.limits.lease_s + 1)
    bench = rig.bench()
    outcome = resume(bench, without(rig.job(bench), "signer"))
    assert outcome.exit_code in (4, 5, 6)
    assert ("release", "batch", 2) in rig.notifier.told


def test_a_sink_taken_out_of_the_configuration_does_not_stop_an_undo(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.vendor.faults.add("issue", "unavailable", times=9)
    assert rig.rotate().status == "unfinished"
    rig.vendor.faults.clear()
    bench = rig.bench()
    outcome = abandon(bench, without(rig.job(bench), "near:app/main"), reason="moved away")
    assert outcome.status in ("undone", "stuck")
    if outcome.status == "stuck":
        assert "--drop near:app/main" in outcome.next


# Debts and the schedule


def test_a_missing_artefact_does_not_keep_a_secret_from_being_due(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="console")
    rig.vendor.faults.add("rotate", "after")
    rig.vendor.faults.add("issue", "after")
    rig.rotate()
    rig.settle()
    end_is_good(rig, "artefact")
    bench = rig.bench()
    row = bench.journal.summaries()["app/main"]
    assert row.next_at is None, row.state["debts"]


def test_probes_for_one_version_stay_within_the_declared_budget(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="console")
    rig.vendor.endpoints["api"].lag_s = 0.0
    before = rig.vendor.probes["api"]
    real = rig.vendor._verdict
    rig.rotate()

    rig.vendor._verdict = lambda endpoint, bundle: replace(real(endpoint, bundle), verdict=Verdict.UNKNOWN)  # type: ignore[method-assign]
    rig.run()
    assert rig.vendor.probes["api"] - before < 3 * 20 + 10


# P4


def test_an_exception_that_quotes_the_vendors_answer_does_not_reach_the_journal(tmp_path: Path) -> None:
    rig = with_provider(adopted(tmp_path, fake="approle"), _Clumsy)
    rig.rotate()
    bench = rig.bench()
    told = repr(bench.journal.events("app/main")) + repr(bench.journal.summaries()) + "".join(rig.lines)
    assert _Clumsy.made
    assert not any(value in told for value in _Clumsy.made)
