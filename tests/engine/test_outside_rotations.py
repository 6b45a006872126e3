"""Somebody else resets what we rotate: noticed, adopted or refused, never overwritten silently."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.attack_kit import act, adopted, current, numbers
from engine.outside_kit import EXPIRED, WEEK, Watched
from engine.promises import chain_is_whole, never_broken, no_leak
from engine.short_kit import DAY, NAME
from keyturn.api import Bundle
from keyturn.engine.adoption import Adoption, adopt
from keyturn.engine.record.summary import summarise
from keyturn.errors import KeyturnError, Refused, RefusedError
from keyturn.model import Mode
from keyturn.testing.fakes.grace import FIELD
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig

HOUR = 3600.0
FROM_VENDOR = Adoption(from_vendor=True)
ADOPT = f"keyturn adopt {NAME} --from-vendor"


def reset_outside(folder: Path, **more: Any) -> Rig:
    """Version 1 is adopted; then somebody resets the secret on the portal."""
    folder.mkdir(exist_ok=True)
    rig = Rig(folder=folder, fake="grace", **more)
    rig.adopt()
    rig.clock.advance(DAY)
    rig.vendor.seed()
    return rig


def newest(rig: Rig) -> dict[str, str]:
    made = rig.vendor.newest("main")
    assert made is not None
    return dict(made.fields)


def holds(rig: Rig, number: int) -> None:
    """The version is current, everywhere, and it is what the vendor holds."""
    assert current(rig) == number
    assert rig.served() == [newest(rig)] * 2
    assert never_broken(rig)
    assert no_leak(rig)
    assert chain_is_whole(rig)


# A reset before ours


def test_a_reset_by_somebody_else_refuses_ours_and_nothing_is_sent(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    with pytest.raises(RefusedError) as caught:
        rig.rotate()
    assert (caught.value.code, caught.value.hint) == ("rotated-outside", "keyturn adopt app/main --from-vendor")
    assert "current-refused" not in caught.value.fields["codes"]
    assert rig.vendor.log == []
    assert numbers(rig) == {1: "current"}


def test_a_dead_current_version_does_not_allow_to_end_what_somebody_else_made(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    with pytest.raises(RefusedError) as caught:
        rig.rotate(mode=Mode.CURRENT_DEAD, reason="refused")
    assert caught.value.code == "rotated-outside"
    assert rig.vendor.log == []
    assert rig.rotate(mode=Mode.CURRENT_DEAD, force=True, reason="nobody uses it").status == "done"
    holds(rig, 2)


def test_force_alone_is_about_age_and_does_not_end_what_somebody_else_made(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    with pytest.raises(RefusedError):
        rig.rotate(force=True, reason="too short")
    assert rig.vendor.log == []


def test_a_compromised_secret_that_an_attacker_reset_is_rotated_and_that_is_recorded(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    assert rig.rotate(compromised=True, reason="leaked").status == "done"
    assert any(" Checked " in line and "rotated-outside" in line for line in rig.lines)
    holds(rig, 2)


def test_a_first_rotation_does_not_end_a_value_that_the_vendor_holds_already(tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path, fake="grace")
    rig.vendor.seed()
    with pytest.raises(RefusedError) as caught:
        rig.rotate(mode=Mode.FIRST)
    assert caught.value.code == "vendor-has-one"
    assert "keyturn adopt app/main --from-vendor" in caught.value.hint
    assert "keyturn rotate app/main --first --force --reason TEXT" in caught.value.hint
    assert rig.vendor.log == []
    assert rig.rotate(mode=Mode.FIRST, force=True, reason="nobody uses it").status == "done"


# Adoption over a current version


def test_adoption_takes_over_proves_the_old_one_dead_and_publishes(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    outcome = act(rig, adopt, adoption=FROM_VENDOR)
    assert outcome.text == "adopted as version 2 in place of version 1; it is not rotated by that"
    assert rig.vendor.log == []
    holds(rig, 2)
    old = next(v for v in rig.state().versions.values() if v.number == 1)
    assert (old.state.value, {e: p.verdict for e, p in old.proofs.items()}) == ("retired", {"iam": "dead"})
    assert rig.rotate().status == "done"
    holds(rig, 3)


def test_an_old_one_that_still_lives_or_is_unknown_is_retired_by_contract_with_the_reason(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path, account={"grace_s": 5 * DAY})
    act(rig, adopt, adoption=FROM_VENDOR)
    old = next(v for v in rig.state().versions.values() if v.number == 1)
    assert [(p.verdict, "still accepted" in p.why) for p in old.proofs.values()] == [("by-contract", True)]


def test_adopting_the_same_value_again_changes_nothing_and_says_so(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    before = rig.state().seq
    outcome = act(rig, adopt, adoption=FROM_VENDOR)
    assert outcome.text == "version 1 is current already, with this very value"
    assert rig.state().seq == before


def test_a_value_that_the_vendor_does_not_hold_is_not_adopted(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    with pytest.raises(RefusedError) as caught:
        act(rig, adopt, adoption=Adoption(bundle=Bundle({FIELD: "mistyped"})))
    assert (caught.value.code, caught.value.hint) == ("vendor-differs", "keyturn adopt app/main --from-vendor")
    assert numbers(rig) == {1: "current"}
    act(rig, adopt, adoption=Adoption(bundle=Bundle(newest(rig))))
    holds(rig, 2)


def test_a_foreign_value_in_a_sink_stops_the_adoption_before_anything_is_recorded(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    rig.stores["far"].foreign_write("app/main", {FIELD: "somebody else's"})
    with pytest.raises(RefusedError) as caught:
        act(rig, adopt, adoption=FROM_VENDOR)
    assert caught.value.code == "sink-differs"
    assert numbers(rig) == {1: "current"}


def test_a_sink_that_somebody_gave_the_new_value_already_is_taken_over(tmp_path: Path) -> None:
    rig = reset_outside(tmp_path)
    rig.stores["far"].foreign_write("app/main", newest(rig))
    act(rig, adopt, adoption=FROM_VENDOR)
    holds(rig, 2)


def test_one_sink_that_is_down_does_not_keep_the_others_from_the_new_value_and_the_next_run_finishes(
    tmp_path: Path,
) -> None:
    rig = reset_outside(tmp_path)
    rig.stores["near"].faults.add("inspect", "unavailable", times=2)
    with pytest.raises(KeyturnError) as caught:
        act(rig, adopt, adoption=FROM_VENDOR)
    assert (caught.value.exit_code, "not every sink has it" in caught.value.message) == (5, True)
    assert rig.stores["far"].serves("app/main") == newest(rig)
    assert rig.run().text == "repaired: near:app/main"
    holds(rig, 2)
    assert rig.run().text == "nothing is in flight"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("finish", ["adopt", "run"])
def test_an_adoption_killed_at_any_journal_write_is_finished_by_the_same_command_or_the_next_run(
    tmp_path: Path, when: Any, finish: str
) -> None:
    for at in count(1):
        rig = reset_outside(tmp_path / f"{at}")
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, when)  # type: ignore[misc]
        died = False
        try:
            act(rig, adopt, adoption=FROM_VENDOR)
        except Crash:
            died = True
        rig.crash = lambda journal: journal
        rig.clock.advance(rig.limits.lease_s + 1)
        if finish == "run" and current(rig) == 2:
            rig.run()
        else:
            act(rig, adopt, adoption=FROM_VENDOR)
        holds(rig, 2)
        assert rig.state().unserved == frozenset()
        if not died:
            break
    assert at > 3


# A reset between our look and ours, and after ours


def test_a_lost_reset_of_ours_and_one_by_somebody_else_end_with_the_value_that_the_vendor_holds(
    tmp_path: Path,
) -> None:
    rig = adopted(tmp_path, fake="grace")
    rig.vendor.faults.add("issue", "before")
    rig.with_limits(patience_s=0.0)
    assert rig.rotate().status == "unfinished"
    rig.vendor.seed()
    rig.clock.advance(100)
    rig.settle()
    holds(rig, 2)
    assert len(rig.vendor.log) == 1


def test_a_reset_between_our_look_and_ours_leaves_ours_accepted_and_served(tmp_path: Path) -> None:
    town = Watched(folder=tmp_path)
    town.vendor.before = town.vendor.seed
    ran = town.keyturn("rotate", NAME, "--yes")
    assert ran.code == 0, ran.err
    assert (town.served, town.numbers) == (town.vendor.holds, {2: "current"})


def test_a_reset_right_after_ours_makes_it_stuck_and_the_printed_command_takes_the_value_over(
    tmp_path: Path,
) -> None:
    town = Watched(folder=tmp_path)
    town.vendor.after = town.vendor.seed
    ran = town.keyturn("rotate", NAME, "--yes")
    assert (ran.code, f"next: {ADOPT}" in ran.err) == (5, True), ran.err
    assert town.next() == ADOPT
    done = town.typed(town.next())
    assert done.code == 0, done.err
    assert "adopted as version 3 in place of version 2" in done.out
    assert (town.served, town.numbers) == (town.vendor.holds, {3: "current"})
    assert town.keyturn("run").out == "nothing was due\n"
    assert town.resets == 1


def test_an_old_version_that_is_refused_after_an_undo_is_got_over_by_the_printed_adoption(tmp_path: Path) -> None:
    town = Watched(folder=tmp_path)

    def reset_and_locked() -> None:
        town.vendor.seed()
        raise Refused("400: one reset a day")

    town.vendor.before = reset_and_locked
    ran = town.keyturn("rotate", NAME, "--yes")
    assert (ran.code, "[old-refused]" in ran.err) == (5, True), ran.err
    assert town.next() == ADOPT
    assert town.typed(ADOPT).code == 0
    assert (town.served, town.numbers) == (town.vendor.holds, {3: "current"})
    assert town.keyturn("run").out == "nothing was due\n"


# What a run notices by itself


@pytest.fixture
def town(tmp_path: Path) -> Watched:
    return Watched(folder=tmp_path)


def test_a_run_notices_an_outside_reset_within_the_time_between_checks_and_says_what_to_type(town: Watched) -> None:
    town.vendor.seed()
    looks = town.vendor.looks
    for _ in range(6):
        assert town.keyturn("run").out == "nothing was due\n"
        town.clock.advance(DAY)
    assert town.vendor.looks == looks, "nothing was due, and nobody was asked"
    town.clock.advance(DAY)
    foretold = town.keyturn("run", "--dry-run")
    assert foretold.out.startswith(f"{NAME}: would check (last seen at ")
    ran = town.keyturn("run")
    assert ran.code == 8
    assert f"{NAME}: looked at: rotated-outside\n" in ran.out
    assert "the vendor holds another secret than version 1: somebody else rotated it [rotated-outside]" in ran.out
    status = town.keyturn("status", "--fail-on", "problem")
    assert status.code == 8
    assert "  problem  the vendor holds another secret than version 1: somebody else rotated it " in status.out
    assert "[rotated-outside], seen 2027-01-22T08:00:00Z\n" in status.out
    assert status.out.count(f"next: {ADOPT}\n") == 1
    assert town.typed(town.next()).code == 0
    assert (town.served, town.numbers) == (town.vendor.holds, {2: "current"})
    assert town.keyturn("run").code == 0
    assert town.resets == 0


def test_an_open_problem_is_told_on_every_run_alerted_once_and_looked_at_hourly(town: Watched) -> None:
    town.vendor.problems = (EXPIRED,)
    town.clock.advance(WEEK)
    looks, events = town.vendor.looks, len(town.events())
    for _ in range(30):
        ran = town.keyturn("run")
        assert (ran.code, EXPIRED.text in ran.out, EXPIRED.hint in ran.out) == (8, True, True)
        town.clock.advance(600)
    assert town.vendor.looks - looks == 5, "once an hour"
    assert len(town.events()) - events == 5 + 1, "each look once, and one alert"
    assert [what for what, _ in town.alerts] == ["problem"]
    town.vendor.problems = ()
    town.clock.advance(HOUR)
    assert town.keyturn("run").code == 0
    assert "user-refused" not in town.keyturn("status").out


def test_a_due_rotation_that_is_refused_is_recorded_and_alerted_once_while_it_lasts(town: Watched) -> None:
    town.clock.advance(345 * DAY + 60)
    town.vendor.problems = (EXPIRED,)
    codes = []
    for _ in range(5):
        codes.append(town.keyturn("run").code)
        town.clock.advance(60)
    assert codes == [3, 8, 8, 8, 8], "asked once, and told by every run"
    kinds = [event.type for event in town.events()]
    assert (kinds.count("secret.checked"), kinds.count("alert.sent")) == (1, 1)
    assert town.next() == EXPIRED.hint
    town.vendor.problems = ()
    town.clock.advance(600)
    assert town.keyturn("run").code == 0
    assert (town.numbers, town.resets) == ({2: "current"}, 1)


def test_past_its_end_the_way_back_is_what_status_printed_and_it_works(town: Watched) -> None:
    newest_ = town.vendor.newest("main")
    assert newest_ is not None
    newest_.end(town.clock.now())
    town.clock.advance(WEEK)
    assert town.keyturn("run").code == 8
    assert town.next() == f"keyturn rotate {NAME} --current-dead --reason TEXT"
    assert town.typed(town.next()).code == 0
    assert (town.served, town.numbers) == (town.vendor.holds, {2: "current"})


def test_a_value_from_the_portal_is_adopted_bare_though_another_field_is_fixed(town: Watched) -> None:
    town.vendor.seed()
    wrong = town.keyturn("adopt", NAME, "--from-stdin", "--json", stdin='{"entity_id": "other", "entity_secret": "x"}')
    assert (wrong.code, wrong.json["error"]["code"]) == (2, "adopt-fields")
    ran = town.keyturn("adopt", NAME, "--from-stdin", stdin=f"{town.vendor.holds}\n")
    assert ran.code == 0, ran.err
    assert (town.served, town.numbers) == (town.vendor.holds, {2: "current"})


# Two rotators, and a person


def test_two_rotators_and_a_person_never_overwrite_each_other_silently(tmp_path: Path) -> None:
    ours = adopted(tmp_path / "ours", fake="grace")
    (tmp_path / "theirs").mkdir()
    theirs = Rig(folder=tmp_path / "theirs", fake="grace", clock=ours.clock)
    theirs.vendor = ours.vendor
    act(theirs, adopt, adoption=FROM_VENDOR)
    for number in range(2, 6):
        made = len(ours.vendor.log)
        if number % 2:
            ours.vendor.seed()
        else:
            assert theirs.rotate(force=True, reason="again").status == "done"
        for rig in [one for one in (ours, theirs) if dict(one.served()[0] or {}) != newest(ours)]:
            with pytest.raises(RefusedError) as caught:
                rig.rotate(force=True, reason="again")
            assert caught.value.code == "rotated-outside"
            act(rig, adopt, adoption=FROM_VENDOR)
        assert len(ours.vendor.log) == made + (0 if number % 2 else 1)
        holds(ours, number)
        holds(theirs, number)


def test_what_is_derived_follows_an_adoption_in_place_of_another_version_and_not_the_first_one(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    assert summarise(rig.state()).state["rotated_at"] is None
    rig.vendor.seed()
    act(rig, adopt, adoption=FROM_VENDOR)
    assert summarise(rig.state()).state["rotated_at"] == rig.clock.now()
