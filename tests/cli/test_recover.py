"""`keyturn recover` and `keyturn adopt --from-escrow`: what a team with wallets types when its secret is gone."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.testing.clock import FakeClock
from program import DAY_S, Ran
from wallets.wallets import FIELD, FILE, SECRET, Wallets, wallets

REASON = ("--reason", "INC-4711")
DIGEST = re.compile(r"--plan ([0-9a-f]{16})")


class AtTheConsole(FakeClock):
    """A clock whose `person` acts whenever the program waits."""

    person: Callable[[], None] = staticmethod(lambda: None)

    def wait(self, seconds: float) -> bool:
        self.person()
        return super().wait(seconds)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Wallets]:
    with wallets(tmp_path / "team", clock=AtTheConsole()) as one:
        one.begin()
        yield one


def lose(team: Wallets) -> None:
    """Nobody has the current value any more; its recovery file is in custody."""
    (team.folder / "served/entity.json").unlink()
    with team.estate() as estate:
        for kept in estate.bench.escrow.listing(SECRET):
            lease = estate.journal.acquire(SECRET, "test", ttl_s=60.0)
            estate.bench.escrow.drop(SECRET, kept.version_id, lease=lease)
            estate.journal.release(lease)


def typed(team: Wallets, command: str, *more: str) -> Ran:
    """One command, a moment after the one before: the vendor takes few requests a second."""
    team.clock.advance(3)
    return team.keyturn(command, SECRET, *more)


def recover(team: Wallets, *more: str) -> Ran:
    return typed(team, "recover", *REASON, *more)


def nothing_leaked(team: Wallets) -> bool:
    known = {team.sim.secret, team.sim.recovery_file, team.served(), team.custody()}
    return not any(value and value in text for value in known for text in team.said)


def test_a_lost_secret_is_recovered_by_the_file_in_custody_however_young_it_is(team: Wallets) -> None:
    assert typed(team, "rotate", "--yes").code == 0
    team.configure(rotate={"min_age": "30d"})
    lose(team)
    used = team.custody()
    assert typed(team, "rotate", "--yes").code == 3
    ran = recover(team, "--yes")
    assert ran.code == 0, ran.said
    assert team.accepted()
    assert team.sim.recovery_file_is(team.custody())
    assert team.custody() != used
    assert nothing_leaked(team)


def test_the_plan_says_what_ends_what_is_used_up_and_what_to_type_to_approve_it(team: Wallets) -> None:
    lose(team)
    ran = recover(team)
    assert ran.code == 2
    assert "approval-needed" in ran.err
    digest = DIGEST.findall(ran.err)[0]
    assert f"keyturn recover {SECRET} --plan {digest} --reason TEXT" in ran.err
    assert recover(team, "--plan", digest).code == 0


def test_a_reason_is_needed(team: Wallets) -> None:
    assert typed(team, "recover", "--yes").code == 2
    assert typed(team, "recover", "--reason", " ", "--yes").code == 2


def test_who_has_a_secret_that_works_is_told_to_rotate(team: Wallets) -> None:
    ran = recover(team, "--yes")
    assert (ran.code, "[current-accepted]" in ran.err, f"keyturn rotate {SECRET}" in ran.err) == (3, True, True)
    assert team.commits() == []
    assert recover(team, "--yes", "--compromised").code == 0
    assert team.accepted()


def test_after_a_rotation_in_the_console_our_file_is_void_and_theirs_works(team: Wallets) -> None:
    team.sim.console_elsewhere()
    refused = typed(team, "rotate", "--yes")
    assert (refused.code, f"keyturn recover {SECRET} --reason TEXT" in refused.err) == (3, True)
    assert "--current-dead" not in refused.err
    tried = recover(team, "--yes")
    assert tried.code == 5, tried.said
    assert "the vendor changed nothing (reset by the recovery_file from the escrow)" in tried.err
    assert "156018" in tried.err
    assert f"keyturn recover {SECRET} --supply {FILE}=@FILE --reason TEXT" in tried.err
    ran = recover(team, "--yes", "--supply", team.supply(team.sim.recovery_file))
    assert ran.code == 0, ran.said
    assert team.accepted()
    assert team.sim.recovery_file_is(team.custody())
    assert nothing_leaked(team)


def test_by_console_a_person_uploads_the_file_and_hands_in_the_new_one(team: Wallets) -> None:
    team.account = {"way": "console"}
    team.configure()
    lose(team)
    old = team.sim.recovery_file
    downloads: list[str] = []

    def person() -> None:
        assert isinstance(sys.stdout, io.StringIO)
        shown = re.findall(r"new_ciphertext:\n(\S+)", sys.stdout.getvalue())
        if shown and not downloads:
            downloads.append(team.sim.console_reset(old, shown[0]))

    waits = recover(team, "--yes")
    assert waits.code == 6, waits.said
    assert re.search(rf"the {FILE} to upload is kept in: custody:\S*/circle\.recovery", waits.out)
    assert f"next: keyturn resume {SECRET} --attend" in waits.out
    assert isinstance(team.clock, AtTheConsole)
    team.clock.person = person
    attended = typed(team, "resume", "--attend")
    assert (attended.code, len(downloads)) == (6, 1), attended.said
    assert team.accepted()
    ran = typed(team, "resume", "--supply", team.supply(downloads[0]))
    assert ran.code == 0, ran.said
    assert team.sim.recovery_file_is(team.custody())


def test_a_rotation_that_took_effect_too_late_is_found_and_taken_over(team: Wallets) -> None:
    team.sim.fault("rotate", "late:3000", times=2)
    undone = typed(team, "rotate", "--yes")
    assert undone.code in (4, 5), undone.said
    team.clock.advance(4000)
    assert not team.accepted()
    ran = typed(team, "rotate", "--yes")
    assert (ran.code, "[given-up-in-force]" in ran.err) == (3, True), ran.said
    assert f"keyturn adopt {SECRET} --from-escrow" in ran.err
    adopted = typed(team, "adopt", "--from-escrow")
    assert adopted.code in (0, 8), adopted.said
    assert team.accepted()
    assert team.served() == team.sim.secret
    assert {FIELD, FILE} >= set(next(iter(team.escrowed())))


def test_a_shown_pair_that_is_used_after_its_rotation_was_undone_is_found_and_taken_over(team: Wallets) -> None:
    team.account = {"way": "console"}
    team.configure()
    assert typed(team, "rotate", "--yes").code == 6
    shown = typed(team, "resume", "--attend").out
    pair = [re.findall(rf"{name}_ciphertext:\n(\S+)", shown)[-1] for name in ("current", "new")]
    team.clock.advance(8 * DAY_S)
    undone = typed(team, "resume")
    assert undone.code == 4, undone.said
    team.sim.console_rotate(*pair)
    assert "[given-up-in-force]" in typed(team, "rotate", "--yes").err
    assert typed(team, "adopt", "--from-escrow").code in (0, 8)
    assert team.accepted()


def test_adopt_says_that_nothing_given_up_is_in_force(team: Wallets) -> None:
    ran = typed(team, "adopt", "--from-escrow")
    assert (ran.code, "[none-given-up-in-force]" in ran.err) == (3, True)
