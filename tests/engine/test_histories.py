"""Rotation histories as an operator would tell them; at least as many that are refused or stuck as go well."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.promises import chain_is_whole, never_broken, never_lost, no_leak
from engine.test_crashes import end_is_good
from keyturn.api import Bundle
from keyturn.config.model import Consumer, Notify
from keyturn.engine.adoption import repair
from keyturn.engine.entry import Ask, rollback
from keyturn.engine.operator import abandon, acknowledge, change_hold, drop
from keyturn.errors import NotSent, RefusedError
from keyturn.model import Mode
from keyturn.plugins.overlap import OverlapPolicy
from keyturn.states import State
from keyturn.testing.rig import Rig

TELL = Notify(exec=("/bin/true",))


def adopted(tmp_path: Path, fake: str = "open", **more: object) -> Rig:
    rig = Rig(folder=tmp_path, fake=fake, **more)  # type: ignore[arg-type]
    rig.adopt()
    return rig


def holding(tmp_path: Path, **more: object) -> Rig:
    rig = adopted(tmp_path, **more)  # type: ignore[arg-type]
    assert rig.rotate().status == "holding"
    return rig


def current(rig: Rig) -> int:
    version = rig.state().current
    assert version is not None
    return version.number


def refused(rig: Rig, **ask: object) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        rig.rotate(**ask)
    return caught.value


# The hold and the retire guard


def test_in_the_hold_both_versions_are_accepted_and_the_new_one_is_served(tmp_path: Path) -> None:
    rig = holding(tmp_path)
    assert current(rig) == 2
    assert never_broken(rig)
    assert len({v.state for v in rig.state().versions.values()} & {State.CURRENT, State.PREVIOUS}) == 2
    assert rig.run().status == "holding"


def test_a_new_name_removed_by_an_admin_in_the_hold_stops_the_retire(tmp_path: Path) -> None:
    rig = holding(tmp_path)
    new = rig.state().current
    assert new is not None
    assert new.handle is not None
    rig.vendor.admin_removes(new.handle, "e2")
    rig.clock.advance(61)
    outcome = rig.run()
    assert (outcome.status, outcome.code, outcome.exit_code) == ("stuck", "retire-refused-by-guard", 5)
    assert "version 2 is refused at e2" in outcome.text
    assert outcome.next.endswith("keyturn resume app/main")
    assert not any(v.refuse_sent for v in rig.state().versions.values())


def test_a_sink_restored_to_the_old_value_stops_the_retire_until_it_is_repaired(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    old = rig.stores["far"].serves("app/main")
    assert old is not None
    assert rig.rotate().status == "holding"
    rig.stores["far"].foreign_write("app/main", dict(old))
    rig.clock.advance(61)
    outcome = rig.run()
    assert (outcome.status, outcome.next) == ("stuck", "keyturn repair app/main")
    assert "far:app/main serves version 1, not version 2" in outcome.text
    bench = rig.bench()
    assert repair(bench, rig.job(bench)).status == "done"
    end_is_good(rig, "repaired")


def test_a_sink_with_a_foreign_value_stops_the_retire_and_is_never_written_over(tmp_path: Path) -> None:
    rig = holding(tmp_path)
    rig.stores["far"].foreign_write("app/main", {"shared_secret": "somebody-else"})
    rig.clock.advance(61)
    assert "something that Keyturn did not write" in rig.run().text
    bench = rig.bench()
    with pytest.raises(RefusedError, match="did not write"):
        repair(bench, rig.job(bench))
    assert rig.stores["far"].serves("app/main") == {"shared_secret": "somebody-else"}


def test_an_endpoint_that_joined_in_the_hold_without_the_new_version_stops_the_retire(tmp_path: Path) -> None:
    rig = holding(tmp_path)
    rig.vendor.join("e3")
    rig.clock.advance(61)
    outcome = rig.run()
    assert (outcome.status, outcome.code) == ("stuck", "retire-refused-by-guard")
    assert "version 2 is refused at e3" in outcome.text
    assert not any(v.refuse_sent for v in rig.state().versions.values())


def test_an_endpoint_that_does_not_answer_leaves_the_old_version_alive_for_the_next_run(tmp_path: Path) -> None:
    rig = holding(tmp_path)
    rig.clock.advance(61)
    rig.vendor.endpoints["e2"].unknown_until = rig.clock.now() + 3600
    outcome = rig.run()
    assert (outcome.status, outcome.exit_code) == ("unfinished", 6)
    assert "e2" in outcome.text
    rig.clock.advance(3600)
    assert rig.run().status == "done"


def test_a_required_consumer_that_is_silent_keeps_the_old_version_alive(tmp_path: Path) -> None:
    rig = holding(tmp_path, consumers=(Consumer(name="kong", acknowledge=True),))
    rig.clock.advance(100_000)
    outcome = rig.run()
    assert (outcome.status, outcome.missing) == ("holding", ("kong",))
    assert outcome.next == "keyturn ack app/main --version 2 --consumer kong"
    bench = rig.bench()
    acknowledge(bench, rig.job(bench), number=2, consumer="kong", waive=False, reason="")
    assert rig.run().status == "done"


def test_an_acknowledgement_of_another_version_does_not_count(tmp_path: Path) -> None:
    rig = holding(tmp_path, consumers=(Consumer(name="kong", acknowledge=True),))
    bench = rig.bench()
    acknowledge(bench, rig.job(bench), number=1, consumer="kong", waive=False, reason="")
    rig.clock.advance(100)
    assert rig.run().missing == ("kong",)


def test_ending_the_hold_retires_at_once(tmp_path: Path) -> None:
    rig = holding(tmp_path, policy=OverlapPolicy(hold_s=86_400.0))
    bench = rig.bench()
    change_hold(bench, rig.job(bench), until=None, reason="all moved")
    assert rig.run().status == "done"


def test_the_retire_waits_for_its_window(tmp_path: Path) -> None:
    rig = holding(tmp_path, policy=OverlapPolicy(hold_s=60.0, retire_window="Sun 02:00-04:00 UTC"))
    rig.clock.advance(61)
    outcome = rig.run()
    assert (outcome.status, outcome.text) == ("holding", "waiting for the retire window")
    assert outcome.until is not None
    rig.clock.jump(outcome.until - rig.clock.now() + 1)
    assert rig.run().status == "done"


# Refusals before anything is changed


def test_a_current_value_that_an_endpoint_refuses_is_not_rotated_by_schedule(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    handle = rig.state().current.handle  # type: ignore[union-attr]
    rig.vendor.admin_removes(str(handle), "e1")
    error = refused(rig)
    assert "refused" in error.message
    assert rig.vendor.log == []


def test_a_dead_current_never_makes_a_secret_unrotatable(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    handle = rig.state().current.handle  # type: ignore[union-attr]
    for endpoint in ("e1", "e2"):
        rig.vendor.admin_removes(str(handle), endpoint)
    rig.rotate(mode=Mode.CURRENT_DEAD, reason="removed by hand")
    rig.settle()
    assert current(rig) == 2
    assert never_broken(rig)


def test_a_foreign_value_in_a_sink_refuses_a_rotation(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.stores["near"].foreign_write("app/main", {"shared_secret": "somebody-else"})
    assert refused(rig).code == "sink-foreign"
    assert rig.vendor.log == []


def test_a_young_version_is_not_rotated_again_without_force(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    job = rig.job(rig.bench())
    assert job.traits.min_age_s == 0
    assert refused(rig, digest="0123456789abcdef").code == "plan-changed"


def test_an_unmanaged_secret_is_not_rotated_without_saying_first(tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path)
    assert refused(rig).code == "unmanaged"


def test_a_cut_over_is_refused_unless_the_policy_accepts_an_outage(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="hashed", policy=OverlapPolicy())
    assert refused(rig).code == "outage-not-accepted"


def test_a_vendor_that_can_not_be_asked_refuses_a_rotation(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.vendor.endpoints["e2"].unknown_until = rig.clock.now() + 60
    assert refused(rig).code == "endpoint-silent"


def test_no_room_at_the_vendor_names_what_is_live(tmp_path: Path) -> None:
    rig = holding(tmp_path, fake="second-key")
    error = refused(rig, force=True)
    assert error.code == "no-room"
    assert "1, 2 are live" in error.message


# Undo


def test_a_refused_issue_is_undone_and_the_old_version_was_seen_accepted(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.vendor.faults.add("issue", "refused")
    outcome = rig.rotate()
    assert (outcome.status, outcome.exit_code) == ("undone", 4)
    assert current(rig) == 1
    assert never_broken(rig)
    assert [s.serves("app/main") is not None for s in rig.stores.values()] == [True, True]


def test_a_new_version_that_one_endpoint_never_accepts_is_withdrawn(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.clock.advance(9000)
    rig.vendor.endpoints["e2"].lag_s = 8000.0
    outcome = rig.rotate()
    assert outcome.status == "undone"
    assert "refused at e2" in outcome.text
    assert current(rig) == 1
    assert never_broken(rig)


def test_abandon_before_publish_undoes(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.clock.advance(9000)
    rig.vendor.endpoints["e2"].lag_s = 50.0
    rig.with_limits(patience_s=1.0)
    assert rig.rotate().status == "unfinished"
    rig.with_limits(patience_s=600.0)
    bench = rig.bench()
    assert abandon(bench, rig.job(bench), reason="wrong week").status == "undone"
    assert current(rig) == 1
    assert never_broken(rig)


def test_abandon_in_the_hold_keeps_the_new_version_and_owes_the_retire(tmp_path: Path) -> None:
    rig = holding(tmp_path)
    bench = rig.bench()
    outcome = abandon(bench, rig.job(bench), reason="later")
    assert outcome.status == "abandoned"
    assert current(rig) == 2
    rig.clock.advance(61)
    rig.settle()
    assert rig.state().previous == ()
    assert never_broken(rig)


def test_a_quiesce_that_fails_is_undone_and_consumers_are_released(tmp_path: Path) -> None:
    consumers = (
        Consumer(name="signer", quiesce=TELL, release=TELL),
        Consumer(name="batch", quiesce=TELL, release=TELL),
    )
    rig = adopted(tmp_path, fake="hashed", consumers=consumers)
    rig.notifier.plan["quiesce", "batch"] = [NotSent("busy")] * 9
    outcome = rig.rotate()
    assert outcome.status == "undone"
    assert ("release", "signer", 2) in rig.notifier.told
    assert rig.vendor.log == []


def test_a_cut_over_drains_releases_and_reports_its_gap(tmp_path: Path) -> None:
    consumers = (Consumer(name="signer", quiesce=TELL, release=TELL, announce=TELL),)
    rig = adopted(tmp_path, fake="hashed", consumers=consumers)
    outcome = rig.rotate()
    assert outcome.status == "done"
    assert [event for event, _, _ in rig.notifier.told] == ["quiesce", "release", "announce"]
    assert outcome.ended is not None
    assert outcome.ended.outage_ms > 0


def test_an_announcement_that_fails_is_repeated_without_issuing_again(tmp_path: Path) -> None:
    rig = adopted(tmp_path, consumers=(Consumer(name="kong", announce=TELL),))
    rig.notifier.plan["announce", "kong"] = [NotSent("down")] * 4
    assert rig.rotate().status == "unfinished"
    issued = len(rig.vendor.log)
    assert rig.run().status == "holding"
    assert len(rig.vendor.log) == issued


# Superseding, rolling back, dropping


def test_a_rotation_in_the_hold_is_superseded_and_the_successor_retires_both(tmp_path: Path) -> None:
    rig = holding(tmp_path)
    assert rig.rotate(force=True, reason="again").status == "holding"
    assert [v.number for v in rig.state().live] == [1, 2, 3]
    rig.clock.advance(61)
    rig.settle()
    end_is_good(rig, "superseded")
    assert current(rig) == 3


def test_a_compromised_rotation_ends_the_hold_and_waives_by_name(tmp_path: Path) -> None:
    rig = adopted(tmp_path, consumers=(Consumer(name="kong", acknowledge=True),))
    outcome = rig.rotate(compromised=True, reason="leaked")
    assert outcome.status == "done"
    state = rig.state()
    assert [name for _, name in state.waived] == ["kong"]
    end_is_good(rig, "compromised")


def test_rollback_in_the_hold_serves_the_old_version_again_and_retires_the_new(tmp_path: Path) -> None:
    rig = holding(tmp_path)
    bench = rig.bench()
    assert rollback(bench, rig.job(bench), Ask(reason="kong broke")).status == "holding"
    assert current(rig) == 1
    assert never_broken(rig)
    rig.clock.advance(61)
    rig.settle()
    end_is_good(rig, "rolled back")
    assert [v.state for v in rig.state().versions.values()] == [State.CURRENT, State.RETIRED]


def test_a_rollback_asks_consumers_to_acknowledge_the_old_version_anew(tmp_path: Path) -> None:
    rig = adopted(tmp_path, consumers=(Consumer(name="kong", acknowledge=True),))
    bench = rig.bench()
    acknowledge(bench, rig.job(bench), number=1, consumer="kong", waive=False, reason="")
    assert rig.rotate().missing == ("kong",)
    bench = rig.bench()
    assert rollback(bench, rig.job(bench), Ask(reason="kong broke")).missing == ("kong",)


def test_there_is_no_rollback_once_a_retire_was_sent(tmp_path: Path) -> None:
    rig = holding(tmp_path)
    rig.clock.advance(61)
    rig.vendor.faults.add("retire", "after")
    rig.with_limits(tries_per_run=1)
    rig.run()
    bench = rig.bench()
    with pytest.raises(RefusedError, match="no earlier version"):
        rollback(bench, rig.job(bench), Ask(reason="too late"))


def test_an_endpoint_that_is_gone_is_stuck_until_it_is_dropped(tmp_path: Path) -> None:
    rig = holding(tmp_path)
    del rig.vendor.endpoints["e2"]
    rig.clock.advance(61)
    outcome = rig.run()
    assert outcome.code == "frozen-unconfigured"
    assert "--drop e2" in outcome.next
    bench = rig.bench()
    assert drop(bench, rig.job(bench), what="e2", reason="decommissioned").status == "done"


# First, break-glass, a person at the vendor


def test_the_first_version_is_made_without_anything_to_retire(tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path)
    outcome = rig.rotate(mode=Mode.FIRST)
    assert outcome.status == "done"
    assert current(rig) == 1
    assert never_broken(rig)
    assert never_lost(rig)


def test_a_person_at_the_vendor_is_waited_for_and_nothing_is_published_before(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="console")
    outcome = rig.rotate()
    assert (outcome.status, outcome.exit_code) == ("waiting", 6)
    assert outcome.next == "keyturn resume app/main --attend"
    assert current(rig) == 1
    assert never_broken(rig)
    assert rig.run().status == "waiting"
    assert no_leak(rig)
    assert chain_is_whole(rig)


def test_break_glass_replaces_a_lost_current_with_the_recovery_file(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="console", account={"way": "api"})
    supplied = Bundle({"recovery_file": rig.vendor.recovery_files["main"]})  # type: ignore[attr-defined]
    outcome = rig.rotate(mode=Mode.BREAK_GLASS, reason="lost", force=True, supplied=supplied)
    assert outcome.status == "done"
    assert current(rig) == 2
    assert never_broken(rig)
