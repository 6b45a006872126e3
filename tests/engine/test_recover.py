"""Break-glass: a secret whose current version is dead or lost is replaced by what it came with, and nothing is lost."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.attack_kit import TELL, act, adopted, current, numbers
from engine.promises import chain_is_whole, never_broken, never_lost, no_leak, sealed_values
from keyturn.config.model import Consumer
from keyturn.engine.adoption import Adoption, adopt
from keyturn.engine.checking import check, look
from keyturn.engine.entry import Ask, recover
from keyturn.engine.outcome import Outcome
from keyturn.errors import NotSent, RefusedError, UsageError
from keyturn.model import Mode
from keyturn.secret import Bundle
from keyturn.testing.fakes.console import FIELD, FILE, ConsoleVendor
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig

NEXT = "keyturn recover app/main --reason TEXT"
BY_FILE = f"keyturn recover app/main --supply {FILE}=@FILE --reason TEXT"
NEEDS = f"no {FILE} was found to reset the secret by (looked in: the escrow, custody:{FILE})"
CUSTODY = f"custody/{FILE}"


def vendor(rig: Rig) -> ConsoleVendor:
    assert isinstance(rig.vendor, ConsoleVendor)
    return rig.vendor


def console(folder: Path, way: str = "api", **more: Any) -> Rig:
    """Version 1 was adopted without its recovery file."""
    folder.mkdir(exist_ok=True)
    rig = Rig(folder=folder, fake="console", account={"way": way}, **more)
    rig.adopt()
    return rig


def rotated(folder: Path, **more: Any) -> Rig:
    """Version 2 is current, and its recovery file is in custody and in the escrow."""
    rig = console(folder, **more)
    assert rig.rotate().status == "done"
    rig.clock.advance(61)
    return rig


def dead(rig: Rig) -> Rig:
    """The vendor refuses the current value; its recovery file is still the right one."""
    vendor(rig).admin_removes("app-main")
    return rig


def right_file(rig: Rig) -> Bundle:
    return Bundle({FILE: vendor(rig).recovery_files["main"]})


def recovered(rig: Rig, **ask: Any) -> Outcome:
    return act(rig, recover, ask=Ask(**{"reason": "lost", **ask}))


def refused(rig: Rig, **ask: Any) -> RefusedError:
    with pytest.raises(RefusedError) as error:
        recovered(rig, **ask)
    return error.value


def custody(rig: Rig) -> str | None:
    return (rig.stores["near"].serves(CUSTODY) or {}).get(FILE)


def good(rig: Rig, number: int) -> bool:
    """This version is current, served, accepted, and its recovery file is the right one and in custody."""
    in_custody = custody(rig) == vendor(rig).recovery_files["main"]
    return current(rig) == number and never_broken(rig) and in_custody and no_leak(rig) and chain_is_whole(rig)


def without_files(rig: Rig) -> None:
    """The escrow forgets the current version's recovery file."""
    bench, version = rig.bench(), rig.state().current
    assert version
    sealed = bench.escrow.open_version("app/main", version.id) or Bundle()
    bench.escrow.seal_version("app/main", version.id, sealed.only([FIELD]))
    bench.journal.close()


# The file: from whoever has it


def test_a_dead_secret_is_recovered_by_a_supplied_file(tmp_path: Path) -> None:
    rig = dead(console(tmp_path))
    assert recovered(rig, supplied=right_file(rig)).status == "done"
    assert good(rig, 2)
    assert rig.state().versions[next(iter(rig.state().versions))].proofs["api"].verdict == "dead"


@pytest.mark.parametrize("sealed", [True, False], ids=["escrow", "custody"])
def test_without_a_supplied_file_the_one_that_is_kept_is_used(tmp_path: Path, sealed: bool) -> None:
    rig = dead(rotated(tmp_path))
    if sealed:
        rig.stores["near"].places.pop(CUSTODY)
    else:
        without_files(rig)
    assert recovered(rig).status == "done"
    assert good(rig, 3)


def test_a_file_in_custody_that_is_not_ours_is_tried_where_there_is_no_other(tmp_path: Path) -> None:
    rig = dead(console(tmp_path))
    rig.stores["near"].foreign_write(CUSTODY, {FILE: vendor(rig).recovery_files["main"]})
    outcome = recovered(rig)
    assert rig.state().current is not None
    assert current(rig) == 2, outcome
    assert never_broken(rig)


def test_without_any_file_nothing_is_begun(tmp_path: Path) -> None:
    rig = dead(console(tmp_path))
    before = rig.state()
    error = refused(rig)
    assert (error.code, error.message, error.hint) == ("recovery-file-needed", NEEDS, BY_FILE)
    assert rig.state() == before
    assert rig.vendor.log == []


def test_what_is_no_recovery_file_is_not_sent(tmp_path: Path) -> None:
    rig = dead(rotated(tmp_path))
    sent = list(rig.vendor.log)
    served = rig.served()[0]
    assert served
    assert refused(rig, supplied=Bundle({FILE: served[FIELD]})).code == "artefact-wrong"
    assert refused(rig, supplied=Bundle({FILE: ""})).code == "artefact-malformed"
    with pytest.raises(UsageError) as error:
        recovered(rig, supplied=Bundle({"other": "x"}))
    assert error.value.code == "not-an-artefact"
    assert rig.vendor.log == sent
    assert no_leak(rig)


def test_a_refused_file_changes_nothing_and_another_one_may_be_tried(tmp_path: Path) -> None:
    rig = dead(rotated(tmp_path))
    outcome = recovered(rig, supplied=Bundle({FILE: "an-old-one"}))
    assert (outcome.status, outcome.exit_code, outcome.next) == ("stuck", 5, BY_FILE)
    assert "the vendor changed nothing (reset by the recovery_file from what was supplied)" in outcome.text
    assert "156018" in outcome.text
    assert current(rig) == 2
    assert recovered(rig).status == "done"
    assert good(rig, 4)


def test_a_secret_without_a_journal_is_recovered_by_the_file_alone(tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path, fake="console", account={"way": "api"})
    rig.vendor.seed()
    assert recovered(rig, supplied=right_file(rig)).status == "done"
    assert good(rig, 1)


# When it is the wrong thing to do


def test_who_has_a_value_that_is_accepted_rotates_instead(tmp_path: Path) -> None:
    rig = rotated(tmp_path)
    before = rig.state()
    error = refused(rig)
    assert error.code == "current-accepted"
    assert error.hint.startswith("keyturn rotate app/main;")
    assert rig.state().versions == before.versions


@pytest.mark.parametrize("knowing", ["force", "compromised"])
def test_an_accepted_current_version_is_replaced_where_the_operator_says_so(tmp_path: Path, knowing: str) -> None:
    rig = rotated(tmp_path)
    assert recovered(rig, **{knowing: True}).status == "done"
    assert good(rig, 3)


def test_current_dead_is_refused_where_the_vendor_needs_the_current_value(tmp_path: Path) -> None:
    rig = dead(rotated(tmp_path))
    before = rig.state()
    with pytest.raises(RefusedError) as error:
        rig.rotate(mode=Mode.CURRENT_DEAD, reason="lost")
    assert (error.value.code, error.value.hint) == ("needs-recovery", NEXT)
    assert rig.state() == before


@pytest.mark.parametrize("fake", ["open", "grace"])
def test_a_vendor_without_a_reset_says_so(tmp_path: Path, fake: str) -> None:
    error = refused(adopted(tmp_path, fake))
    assert (error.code, error.hint) == ("no-break-glass", "keyturn rotate app/main --current-dead --reason TEXT")


def test_a_refused_current_version_is_answered_with_the_way_out(tmp_path: Path) -> None:
    rig = dead(rotated(tmp_path))
    with pytest.raises(RefusedError) as error:
        rig.rotate()
    assert error.value.code == "current-refused"
    assert error.value.hint.endswith(f"or: {NEXT}")


def test_a_consumer_that_can_not_be_told_to_drain_does_not_stop_an_emergency(tmp_path: Path) -> None:
    rig = rotated(tmp_path, consumers=(Consumer(name="signer", quiesce=TELL, release=TELL),))
    rig.notifier.plan[("quiesce", "signer")] = [NotSent("down")] * 9
    dead(rig)
    assert recovered(rig).status == "done"
    assert good(rig, 3)


def test_an_emergency_needs_no_accepted_outage(tmp_path: Path) -> None:
    rig = rotated(tmp_path)
    rig.policy = type(rig.policy)(hold_s=60.0)
    dead(rig)
    assert recovered(rig).status == "done"


# Crashes and lost answers


def killed(folder: Path, at: int, when: Any, *, supplied: bool) -> bool:
    """A recovery that dies at its n-th journal write, and what came of it; whether it got that far at all."""
    rig = dead(console(folder) if supplied else rotated(folder))
    old = right_file(rig)
    ask = {"supplied": old} if supplied else {}
    rig.crash = lambda journal: CrashingJournal(journal, at, when)
    died = False
    try:
        recovered(rig, **ask)
    except Crash:
        died = True
    rig.crash = lambda journal: journal
    rig.clock.advance(rig.limits.lease_s + 1)
    rig.run()
    where = f"killed {when} write {at}"
    if not rig.vendor.accepted_by(Bundle(dict(rig.served()[0] or {}))):
        assert recovered(rig, **ask).exit_code in (0, 8), where
    rig.settle()
    state = rig.state()
    assert never_lost(rig), where
    assert never_broken(rig), where
    assert state.current
    assert state.current.fingerprints.get(FILE) != rig.bench().escrow.fingerprint(old[FILE].reveal()), where
    return died


WHEN = pytest.mark.parametrize("when", ["before", "after"])
FROM = pytest.mark.parametrize("supplied", [True, False], ids=["supplied", "kept"])


@FROM
@pytest.mark.parametrize("at", [3, 6, 8, 11])
def test_killed_on_the_way_it_ends_well_once_the_command_is_typed_again(
    tmp_path: Path, at: int, supplied: bool
) -> None:
    assert killed(tmp_path, at, "after", supplied=supplied)


@WHEN
@FROM
@pytest.mark.sweep
def test_killed_at_any_journal_write_it_ends_well_once_the_command_is_typed_again(
    tmp_path: Path, when: Any, supplied: bool
) -> None:
    for at in count(1):
        if not killed(tmp_path / f"{at}", at, when, supplied=supplied):
            break
    assert at >= 15


def test_a_lost_answer_is_settled_and_the_used_file_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    rig = dead(console(tmp_path))
    rig.vendor.faults.add("reset", "after")
    recovered(rig, supplied=right_file(rig))
    state = rig.state()
    assert state.current
    assert (state.current.number, state.current.lacks) == (2, (FILE,))
    assert custody(rig) is None
    assert never_broken(rig)


def test_a_reset_that_did_not_arrive_is_sent_again_with_the_same_file(tmp_path: Path) -> None:
    rig = dead(console(tmp_path))
    rig.vendor.faults.add("reset", "before")
    assert recovered(rig, supplied=right_file(rig)).status == "done"
    assert good(rig, 2)
    assert len(rig.vendor.log) == 2


def test_a_process_that_dies_with_the_only_file_turns_back_and_asks_for_it(tmp_path: Path) -> None:
    rig = dead(console(tmp_path))
    rig.vendor.faults.add("reset", "crash-before")
    with pytest.raises(Crash):
        recovered(rig, supplied=right_file(rig))
    rig.clock.advance(rig.limits.lease_s + 200)
    outcome = rig.run()
    assert (outcome.status, outcome.code, outcome.next) == ("stuck", "recovery-file-needed", BY_FILE)
    assert outcome.text == f"undone, and the vendor changed nothing: {NEEDS}"
    assert recovered(rig, supplied=right_file(rig)).status == "done"
    assert good(rig, 3)


# Over a rotation that is in flight


def test_a_stuck_rotation_gives_way_when_neither_of_its_versions_is_in_force(tmp_path: Path) -> None:
    rig = rotated(tmp_path)
    rig.vendor.faults.add("issue", "before")
    rig.vendor.wire.faults.add("settle", "unavailable", times=1)
    rig.with_limits(patience_s=0.0)
    rig.rotate()
    vendor(rig).replace("main", {FIELD: "somebody-else"}, rig.clock.now(), handle="app-main")
    rig.with_limits(patience_s=600.0)
    rig.clock.advance(200)
    stuck = rig.run()
    assert (stuck.status, stuck.code) == ("stuck", "neither-in-force")
    assert stuck.next.startswith(NEXT)
    assert recovered(rig).status == "done"
    assert good(rig, 4)
    rig.settle()
    assert numbers(rig) == {1: "retired", 2: "retired", 3: "retired", 4: "current"}


def test_a_refused_recovery_leaves_the_rotation_that_waits_as_it_is(tmp_path: Path) -> None:
    rig = console(tmp_path, way="console")
    assert rig.rotate().status == "waiting"
    before = rig.state()
    assert refused(rig).code == "current-accepted"
    assert rig.state().versions == before.versions
    assert rig.state().rotation == before.rotation


def test_by_console_it_waits_for_a_person_and_says_where_the_file_is(tmp_path: Path) -> None:
    rig = dead(console(tmp_path, way="console"))
    outcome = recovered(rig)
    assert outcome.status == "waiting"
    assert f"the {FILE} to upload is kept in: custody:{FILE}" in outcome.text
    assert outcome.next == "keyturn resume app/main --attend"


# A version that was given up, and is in force all the same


def late(folder: Path) -> Rig:
    """Version 2 was undone as not applied, and took effect afterwards."""
    rig = console(folder)
    rig.vendor.faults.add("issue", "late:1000", times=2)
    assert rig.rotate().status in ("undone", "stuck")
    rig.clock.advance(2000)
    rig.vendor.wire.tick()
    return rig


def test_a_given_up_version_that_is_in_force_is_found_and_taken_over(tmp_path: Path) -> None:
    rig = late(tmp_path)
    with pytest.raises(RefusedError) as error:
        rig.rotate(compromised=True, reason="leaked")
    assert error.value.code == "given-up-in-force"
    assert "version 2, which was given up, is in force at the vendor" in error.value.message
    assert error.value.hint == "keyturn adopt app/main --from-escrow"
    assert act(rig, adopt, adoption=Adoption(from_escrow=True)).status == "quiet"
    assert numbers(rig) == {1: "retired", 2: "retired", 3: "current"}
    assert never_broken(rig)
    assert rig.state().current is not None
    assert no_leak(rig)


def test_a_look_and_a_recovery_find_it_too(tmp_path: Path) -> None:
    rig = late(tmp_path)
    bench = rig.bench()
    assert "given-up-in-force" in [one.code for one in check(bench, rig.job(bench), set()).problems]
    bench.journal.close()
    assert refused(rig, supplied=right_file(rig)).code == "given-up-in-force"
    act(rig, look, distrusted_at=rig.clock.now())
    assert [one["hint"] for one in rig.state().problems if one["fatal"]] == ["keyturn adopt app/main --from-escrow"]


def test_the_value_of_a_given_up_version_stays_until_a_later_one_is_proven(tmp_path: Path) -> None:
    rig = console(tmp_path)
    rig.vendor.faults.add("issue", "before", times=2)
    rig.rotate()
    given_up = [version for version in rig.state().versions.values() if version.number == 2]
    assert given_up[0].state.value == "retired"
    assert len(sealed_values(rig)) == 2
    rig.clock.advance(100)
    assert rig.rotate().status == "done"
    assert len(sealed_values(rig)) == 1


def test_nothing_is_adopted_where_no_given_up_version_is_in_force(tmp_path: Path) -> None:
    rig = rotated(tmp_path)
    with pytest.raises(RefusedError) as error:
        act(rig, adopt, adoption=Adoption(from_escrow=True))
    assert error.value.code == "none-given-up-in-force"
    assert current(rig) == 2
