"""What comes out of issue beside the value: kept apart, never lost in silence, and consumers never wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.promises import chain_is_whole, never_broken, never_lost, no_leak, raw_answers, sealed_values
from engine.test_attended import PATIENCE, Agenda, ConsoleRig, Person
from keyturn.cli.looking import status
from keyturn.config.model import Binding, Consumer, Notify
from keyturn.engine.adoption import Adoption, adopt, repair
from keyturn.engine.alerts import Standing
from keyturn.engine.checking import check
from keyturn.engine.entry import Ask, rotate
from keyturn.engine.job import Job
from keyturn.engine.operator import abandon
from keyturn.engine.outcome import Outcome
from keyturn.engine.record.receipt import debts
from keyturn.errors import Conflict, KeyturnError, RefusedError, StuckError, UsageError
from keyturn.model import Mode
from keyturn.schedule import Due, DueStatus, RotatePolicy
from keyturn.secret import Bundle
from keyturn.testing.faults import Crash, CrashingJournal
from keyturn.testing.rig import Rig

FILE = "recovery_file"
PLACE = "custody/recovery_file"
NOTICE = Notify(exec=("/bin/true",))
SIGNER = Consumer(name="signer", quiesce=NOTICE, release=NOTICE, announce=NOTICE)
VERBS = ("inspect", "stage", "promote", "read", "discard")
NOT_DUE = Due(status=DueStatus.NOT_DUE, at=None, why="")
HAND_IN = "keyturn resume app/main --supply recovery_file=@FILE; where nobody has it: keyturn rotate app/main"


def adopted(tmp_path: Path, **more: Any) -> Rig:
    rig = Rig(folder=tmp_path, fake="console", account={"way": "api"}, custody="vault", **more)
    rig.adopt()
    return rig


def lost(tmp_path: Path, **more: Any) -> Rig:
    """Version 2 is in force, and its file was in an answer that never came."""
    rig = adopted(tmp_path, **more)
    rig.vendor.faults.add("issue", "after")
    rig.rotate()
    assert rig.settle().status in ("done", "quiet")
    return rig


def the_file(rig: Rig) -> str:
    """The file that the vendor takes now."""
    found: str = rig.vendor.recovery_files["main"]  # type: ignore[attr-defined]
    return found


def stored(rig: Rig) -> str | None:
    found = rig.stores["vault"].serves(PLACE)
    return found[FILE] if found else None


def sealed(rig: Rig) -> set[str]:
    """Every file that the escrow opens."""
    return {bundle[FILE].reveal() for bundle in sealed_values(rig) if FILE in bundle}


def supply(rig: Rig, text: str, field: str = FILE) -> Outcome:
    return rig.run(supplied=Bundle({field: text}))


def down(rig: Rig, verbs: Sequence[str] = VERBS) -> None:
    for verb in verbs:
        rig.stores["vault"].faults.add(verb, "unavailable", times=1000)


def standing(rig: Rig) -> Standing:
    row = rig.bench().journal.summaries()["app/main"]
    return Standing(name="app/main", row=row, due=NOT_DUE, now=rig.clock.now(), begin="")


def owed(rig: Rig) -> list[tuple[str, str]]:
    return [(debt.kind, debt.where) for debt in debts(rig.state())]


def refused(rig: Rig, text: str, field: str = FILE) -> KeyturnError:
    before = rig.state()
    with pytest.raises((RefusedError, UsageError)) as caught:
        supply(rig, text, field)
    assert rig.state().versions == before.versions
    assert text not in f"{caught.value} {caught.value.hint} {caught.value.as_data()}"
    return caught.value


def checked(rig: Rig) -> dict[str, bool]:
    """The codes of what `check --online` finds, and whether each refuses a rotation."""
    bench = rig.bench()
    return {one.code: one.fatal for one in check(bench, rig.job(bench), ["app-main"]).problems}


def all_is_well(rig: Rig) -> None:
    assert owed(rig) == []
    assert stored(rig) == the_file(rig)
    assert never_lost(rig)
    assert never_broken(rig)
    assert no_leak(rig)
    assert chain_is_whole(rig)


# Stored


def test_the_file_is_stored_apart_and_the_one_before_stays_readable_there(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    assert rig.rotate().status == "done"
    first = the_file(rig)
    rig.clock.advance(7200)
    assert rig.rotate().status == "done"
    all_is_well(rig)
    assert [entry.fields[FILE] for entry in rig.stores["vault"].at(PLACE).previous] == [first]
    assert all(FILE not in (served or {}) for served in rig.served())


@pytest.mark.parametrize("verbs", [("promote",), ("read",), ("promote", "inspect", "read")])
def test_while_the_custody_is_down_consumers_go_on_and_all_else_is_done(tmp_path: Path, verbs: Sequence[str]) -> None:
    rig = adopted(tmp_path, consumers=(SIGNER,))
    assert rig.rotate().status == "done"
    before, released = the_file(rig), rig.notifier.told.count(("release", "signer", 3))
    rig.clock.advance(7200)
    rig.stores["vault"].faults.add("inspect", "unavailable", nth=2, times=1000 if "inspect" in verbs else 0)
    down(rig, [verb for verb in verbs if verb != "inspect"])
    outcome = rig.rotate()
    assert (outcome.status, outcome.exit_code) == ("unfinished", 6)
    assert "custody:recovery_file" in outcome.text
    assert rig.notifier.told.count(("release", "signer", 3)) == released + 1
    assert ("announce", "signer", 3) in rig.notifier.told
    state = rig.state()
    assert state.current
    assert state.current.number == 3
    assert state.previous == ()
    assert {before, the_file(rig)} <= sealed(rig), "the one before is kept until the new one is stored"
    rig.stores["vault"].faults.clear()
    assert rig.settle().status in ("done", "quiet")
    all_is_well(rig)


def test_a_custody_that_is_down_before_issue_refuses_the_rotation(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    down(rig)
    with pytest.raises(RefusedError) as caught:
        rig.rotate()
    assert caught.value.code == "sink-unreachable"
    assert rig.state().rotation is None


def test_what_a_custody_refuses_for_good_does_not_hide_behind_a_later_wait(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.stores["vault"].faults.add("promote", "meddled")
    outcome = rig.rotate()
    assert (outcome.status, outcome.code) == ("stuck", "sink-foreign")
    assert "keyturn resume app/main" in outcome.next
    assert the_file(rig) in sealed(rig)
    rig.stores["vault"].places.clear()
    assert rig.settle().status in ("done", "quiet")
    all_is_well(rig)


def test_a_consumer_that_can_not_be_released_keeps_nobody_from_the_file(tmp_path: Path) -> None:
    rig = adopted(tmp_path, consumers=(SIGNER,))
    rig.notifier.plan["release", "signer"] = [Conflict("busy") for _ in range(3)]
    outcome = rig.rotate()
    assert outcome.exit_code == 6
    assert "release at signer" in outcome.text
    assert stored(rig) == the_file(rig)
    assert ("announce", "signer", 2) in rig.notifier.told
    assert rig.settle().status in ("done", "quiet")
    all_is_well(rig)


def test_what_a_person_must_do_about_the_custody_is_said_before_what_a_later_run_tries(tmp_path: Path) -> None:
    rig = adopted(tmp_path, consumers=(SIGNER,))
    rig.notifier.plan["release", "signer"] = [Conflict("busy") for _ in range(3)]
    rig.stores["vault"].faults.add("promote", "meddled")
    outcome = rig.rotate()
    assert (outcome.status, outcome.code) == ("stuck", "sink-foreign")
    assert ("announce", "signer", 2) in rig.notifier.told


def test_a_rotation_that_is_abandoned_while_the_custody_is_down_owes_it_the_file(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    down(rig, ["promote"])
    assert rig.rotate().exit_code == 6
    bench = rig.bench()
    assert abandon(bench, rig.job(bench), reason="the custody moves").status == "abandoned"
    assert ("publish", "custody:recovery_file") in owed(rig)
    rig.stores["vault"].faults.clear()
    rig.run()
    all_is_well(rig)


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_journal_write_the_file_is_stored_or_its_absence_is_stated(tmp_path: Path, when: Any) -> None:
    for at in count(1):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        rig = adopted(folder)
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, when)  # type: ignore[misc]
        died = False
        try:
            rig.rotate()
        except Crash:
            died = True
        rig.crash = lambda journal: journal
        rig.clock.advance(rig.limits.lease_s + 1)
        rig.settle()
        missing = ("artefact", FILE) in owed(rig)
        assert missing or rig.state().current is None or stored(rig) == the_file(rig) or not the_file_is_ours(rig)
        if not died:
            break
    assert at > 10


def the_file_is_ours(rig: Rig) -> bool:
    """Whether a version of ours other than the adopted one is in force."""
    current = rig.state().current
    return current is not None and current.number > 1


# Missing


def test_a_lost_answer_ends_done_and_says_loudly_that_the_file_is_missing(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.vendor.faults.add("issue", "after")
    outcomes = [rig.rotate(), rig.settle()]
    done = next(one for one in outcomes if one.ended)
    assert (done.status, done.exit_code) == ("done", 8)
    assert "recovery_file never reached us" in done.text
    assert done.next == HAND_IN
    assert owed(rig) == [("artefact", FILE)]
    assert raw_answers(rig) == [] or never_lost(rig)


def test_it_is_alerted_once_for_each_version_and_asks_for_attention_in_each_run(tmp_path: Path) -> None:
    rig = lost(tmp_path)
    one = standing(rig)
    [finding] = one.findings
    current = rig.state().current
    assert current
    assert (finding.what, finding.key, finding.attention) == ("artefact", f"artefact:{current.id}", True)
    assert finding.next == HAND_IN
    assert "can not be recovered" in finding.text
    assert one.row
    assert (one.row.status, one.row.next_at) == ("debts", None), (
        "no run can pay it, and nothing keeps the secret from being due"
    )


def test_a_run_says_what_is_missing_and_what_to_type(tmp_path: Path) -> None:
    rig = lost(tmp_path)
    outcome = rig.run()
    assert outcome.status == "quiet"
    assert "version 2 has no recovery_file" in outcome.text
    assert outcome.next == HAND_IN


def test_min_age_does_not_hold_back_the_rotation_that_makes_another_file(tmp_path: Path) -> None:
    rig = lost(tmp_path)
    bench = rig.bench()
    assert rotate(bench, _aged(rig.job(bench)), Ask()).status == "done"
    all_is_well(rig)
    bench = rig.bench()
    with pytest.raises(RefusedError) as caught:
        rotate(bench, _aged(rig.job(bench)), Ask())
    assert caught.value.code == "too-young"


def _aged(job: Job) -> Job:
    return replace(job, secret=replace(job.secret, rotate=RotatePolicy(min_age_s=86_400.0)))


# Handed in


def test_a_file_handed_in_after_the_end_is_sealed_and_stored(tmp_path: Path) -> None:
    rig = lost(tmp_path)
    outcome = supply(rig, the_file(rig))
    assert outcome.exit_code == 0
    assert "version 2 has its recovery_file" in outcome.text
    assert the_file(rig) in sealed(rig)
    all_is_well(rig)
    assert supply(rig, the_file(rig)).exit_code == 0, "the same once more changes nothing"
    all_is_well(rig)


def test_a_file_of_an_adopted_version_is_taken_too(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    assert owed(rig) == [("artefact", FILE)]
    outcome = supply(rig, the_file(rig))
    assert "version 1 has its recovery_file" in outcome.text
    all_is_well(rig)


@pytest.mark.parametrize("make", [adopted, lost])
def test_a_file_handed_in_while_the_custody_is_down_is_sealed_and_stored_by_a_later_run(
    tmp_path: Path, make: Any
) -> None:
    rig = make(tmp_path)
    down(rig)
    try:
        outcome = supply(rig, the_file(rig))
    except StuckError as error:
        assert "has its recovery_file" in error.message  # noqa: PT017 - one of two ways, by how it came to be current
    else:
        assert outcome.exit_code == 6
    assert the_file(rig) in sealed(rig)
    assert owed(rig) == [("publish", "custody:recovery_file")]
    rig.stores["vault"].faults.clear()
    rig.run()
    all_is_well(rig)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("make", [adopted, lost])
def test_killed_at_any_write_of_a_hand_in_the_next_one_ends_well(tmp_path: Path, make: Any, when: Any) -> None:
    for at in count(1):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        rig = make(folder)
        rig.crash = lambda journal, at=at: CrashingJournal(journal, at, when)
        died = False
        try:
            supply(rig, the_file(rig))
        except Crash:
            died = True
        rig.crash = lambda journal: journal
        rig.clock.advance(rig.limits.lease_s + 1)
        supply(rig, the_file(rig))
        all_is_well(rig)
        if not died:
            break
    assert at > 3


def test_the_void_file_of_an_older_version_is_refused(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    old = the_file(rig)
    supply(rig, old)
    rig.vendor.faults.add("issue", "after")
    rig.rotate()
    rig.settle()
    assert old in sealed(rig), "it is kept until another one is there"
    error = refused(rig, old)
    assert error.code == "artefact-older"
    assert "version 1" in error.message
    assert owed(rig) == [("artefact", FILE)]


def test_the_secret_itself_is_no_recovery_file(tmp_path: Path) -> None:
    rig = lost(tmp_path)
    served = rig.served()[0] or {}
    assert refused(rig, served["entity_secret"]).code == "artefact-wrong"


def test_another_file_than_the_one_that_is_there_is_refused(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.rotate()
    error = refused(rig, "somebody-elses-file")
    assert error.code == "artefact-differs"
    assert "keyturn rotate app/main" in error.hint


def test_what_has_not_the_form_that_the_provider_gives_is_refused(tmp_path: Path) -> None:
    rig = lost(tmp_path)
    base64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
    traits = rig.job(rig.bench()).traits
    strict = replace(traits, fields=tuple(replace(f, pattern=base64) if f.artefact else f for f in traits.fields))
    rig.plugin = replace(rig.plugin, traits=lambda _account, _target: strict)
    assert refused(rig, "<html>Bad gateway</html>").code == "artefact-malformed"
    assert supply(rig, "VGhpcyBpcyBpdA==").exit_code == 0


def test_a_field_that_is_no_artefact_is_a_wrong_command(tmp_path: Path) -> None:
    error = refused(lost(tmp_path), "some text", "entity_secret")
    assert (error.code, error.exit_code) == ("not-an-artefact", 2)
    assert error.hint == "one of: recovery_file"


# Looked at, repaired, adopted


def test_a_check_sees_a_custody_that_lost_the_file_and_repair_puts_it_back(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.rotate()
    assert checked(rig) == {}
    rig.stores["vault"].places.clear()
    assert checked(rig) == {"artefact-not-stored": False}
    bench = rig.bench()
    assert "custody:recovery_file" in repair(bench, rig.job(bench)).text
    all_is_well(rig)


def test_a_check_tells_a_missing_file_and_refuses_over_one_that_is_none_of_ours(tmp_path: Path) -> None:
    rig = lost(tmp_path)
    assert checked(rig) == {"artefact-missing": False}
    rig.stores["vault"].foreign_write(PLACE, {FILE: "of somebody else"})
    assert checked(rig) == {"artefact-missing": False, "sink-foreign": True}


def test_a_value_that_only_consumers_have_is_whole_without_its_file(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    rig.rotate()
    rig.stores["vault"].places.clear()
    bench, current = rig.bench(), rig.state().current
    assert current
    lease = bench.journal.acquire("app/main", "tests", ttl_s=60.0)
    bench.escrow.drop("app/main", current.id, lease=lease)
    bench.journal.release(lease)
    assert checked(rig) == {"artefact-not-stored": False}


def test_adoption_takes_the_file_from_where_it_is_kept(tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path, fake="console", account={"way": "api"}, custody="vault")
    handle, bundle, slot = rig.vendor.seed()
    rig.stores["vault"].foreign_write(PLACE, {FILE: the_file(rig)})
    bench = rig.bench()
    outcome = adopt(bench, rig.job(bench), Adoption(bundle=bundle, handle=handle, slot=slot))
    assert outcome.exit_code == 0
    all_is_well(rig)
    assert the_file(rig) in sealed(rig)


def test_adoption_without_the_file_says_that_it_is_missing(tmp_path: Path) -> None:
    rig = Rig(folder=tmp_path, fake="console", account={"way": "api"}, custody="vault")
    outcome = rig.adopt()
    assert "version 1 has no recovery_file" in outcome.text
    assert outcome.next == HAND_IN


def test_adopting_the_same_value_again_never_forgets_its_file(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    supply(rig, the_file(rig))
    served = rig.served()[0]
    assert served
    bench = rig.bench()
    adopt(bench, rig.job(bench), Adoption(bundle=Bundle(dict(served)), handle="app-main"))
    assert the_file(rig) in sealed(rig)
    all_is_well(rig)


# With a person at the vendor


def clicked(tmp_path: Path) -> ConsoleRig:
    """A person has set version 2, and not handed in what he downloaded."""
    rig = ConsoleRig(folder=tmp_path, fake="console", account={"way": "console"}, custody="vault", clock=Agenda())
    rig.adopt()
    rig.rotate()
    outcome = rig.attend(Person(rig))
    assert (outcome.status, outcome.exit_code) == ("waiting", 6)
    assert outcome.next == "keyturn resume app/main --supply recovery_file=@FILE"
    return rig


def test_whoever_set_the_secret_is_asked_for_its_file_and_all_else_is_done_meanwhile(tmp_path: Path) -> None:
    rig = clicked(tmp_path)
    outcome = rig.run()
    assert "recovery_file has not been handed in" in outcome.text
    assert "the one of the version before is void" in outcome.text
    assert "keyturn rotate app/main makes another" in outcome.text
    assert rig.current == 2
    assert rig.state().previous == ()
    assert never_broken(rig)
    assert supply(rig, the_file(rig)).status == "done"
    all_is_well(rig)


def test_a_file_that_is_never_handed_in_becomes_a_loud_debt_and_may_still_come(tmp_path: Path) -> None:
    rig = clicked(tmp_path)
    rig.clock.advance(PATIENCE + 1)
    outcome = rig.run()
    assert (outcome.status, outcome.exit_code, outcome.next) == ("done", 8, HAND_IN)
    assert owed(rig) == [("artefact", FILE)]
    assert supply(rig, the_file(rig)).exit_code == 0
    all_is_well(rig)


def test_the_alert_leaves_whoever_attends_an_hour(tmp_path: Path) -> None:
    rig = clicked(tmp_path)
    assert [one.what for one in standing(rig).findings] == []
    rig.clock.advance(3601)
    assert [one.what for one in standing(rig).findings] == ["artefact"]


def test_a_file_handed_in_before_its_version_is_in_force_is_not_taken_for_another_ones(tmp_path: Path) -> None:
    rig = ConsoleRig(folder=tmp_path, fake="console", account={"way": "console"}, custody="vault", clock=Agenda())
    rig.adopt()
    rig.rotate()
    rig.attend(Person(rig, in_s=None))
    outcome = supply(rig, "a file of whatever version")
    assert "what was handed in was not taken: version 2 is not known to be in force" in outcome.text
    assert owed(rig) == [("artefact", FILE)], "of version 1"


def test_the_old_file_is_refused_while_a_new_version_is_in_doubt(tmp_path: Path) -> None:
    rig = ConsoleRig(folder=tmp_path, fake="console", account={"way": "console"}, custody="vault", clock=Agenda())
    rig.adopt()
    old = the_file(rig)
    supply(rig, old)
    rig.rotate()
    person = Person(rig, in_s=None)
    rig.attend(person)
    person.click()
    assert refused(rig, old).code == "artefact-older"
    assert supply(rig, the_file(rig)).status == "done"
    all_is_well(rig)


# Break-glass


def test_what_a_reset_was_made_by_is_never_taken_for_what_came_out_of_it(tmp_path: Path) -> None:
    rig = adopted(tmp_path)
    old = the_file(rig)
    rig.vendor.faults.add("reset", "crash-after")
    supplied = Bundle({FILE: old})
    with pytest.raises(Crash):
        rig.rotate(mode=Mode.BREAK_GLASS, reason="lost", supplied=supplied, force=True)
    rig.clock.advance(rig.limits.lease_s + 1)
    rig.run(supplied=supplied)
    rig.settle()
    assert rig.state().current
    assert owed(rig) == [("artefact", FILE)]
    assert refused(rig, old).code == "artefact-older"
    assert supply(rig, the_file(rig)).exit_code == 0
    all_is_well(rig)


# What status says


def judged(rig: Rig) -> status.Standing:
    bench = rig.bench()
    job, row = rig.job(bench), bench.journal.summaries()["app/main"]
    places = (("near", "entity_secret", "app/main"), ("custody", FILE, "recovery_file"))
    sinks = tuple(Binding(sink=s, place=None, fields={field: field}, subject=path) for s, field, path in places)
    return status.judge("app/main", row, replace(job.secret, sinks=sinks), NOT_DUE, rig.clock.now())


@pytest.mark.parametrize("make", [adopted, lost])
def test_status_names_what_is_missing_where_and_the_exact_next_command(tmp_path: Path, make: Any) -> None:
    one = judged(make(tmp_path))
    number = one.current["number"] if one.current else 0
    text = status.text([one])
    assert f"custody:recovery_file: version {number} has no recovery_file\n" in text
    assert f"owed     the recovery_file of version {number}: without it a lost secret can not be recovered\n" in text
    assert f"next: {HAND_IN}\n" in text
    assert "artefact" in one.attention
    assert status.exit_code([one], frozenset({"artefact"})) == 8
    [place] = [place for place in one.places if place.key.startswith("custody")]
    assert (place.serves, place.state) == (None, "missing")


def test_status_is_quiet_once_the_file_is_there(tmp_path: Path) -> None:
    rig = lost(tmp_path)
    supply(rig, the_file(rig))
    one = judged(rig)
    assert (one.status, one.next, one.attention) == ("current", "", frozenset())
    assert {place.state for place in one.places} == {"published"}
