"""Commands that do not fit a Sahamati rotation's state: what is true now, a next step that helps, nothing lost."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli import hand
from cli.hand import ROTATE
from cli.trouble import next_step
from keyturn.clock import SystemClock
from keyturn_vault.simulator_process import poll
from member.member import DAY_S, ENTITY, TOKEN, Member, member

Act = Callable[[Member], object]
one = hand.one

# Commands in each state

COMMANDS = {
    "resume": ("resume", ENTITY),
    "abandon": ("abandon", ENTITY, "--reason", "test"),
    "rollback": ("rollback", ENTITY, "--reason", "test"),
    "end-hold": ("hold", ENTITY, "--end", "--reason", "test"),
    "current-dead": ("rotate", ENTITY, "--current-dead", "--reason", "test", "--yes"),
    "compromised": ("rotate", ENTITY, "--compromised", "--reason", "test", "--yes"),
}


@dataclass(frozen=True, kw_only=True)
class At:
    """A state of a rotation, and by command: the exit code, what is said, and the resets since the beginning."""

    name: str
    reach: Act
    answers: dict[str, tuple[int, str, int]]

    def __str__(self) -> str:
        return self.name


def rotated_with_grace(one: Member) -> None:
    one.sim.switch(grace_s=5 * DAY_S, grace_message=True)
    one.well(*ROTATE)


def in_doubt(one: Member) -> None:
    """The reset took effect, its answer was lost, and the vendor is down since."""
    one.sim.fault("reset", "reset-after")
    one.sim.switch(down="after-reset")
    left = one.keyturn(*ROTATE)
    assert (left.code, f"next: keyturn resume {ENTITY}" in left.out) == (6, True), left.said


IN_FLIGHT = "[rotation-in-flight]"
STATES = (
    At(
        name="nothing in flight",
        reach=lambda _: None,
        answers={
            "resume": (0, "nothing is in flight", 0),
            "abandon": (0, "nothing is in flight", 0),
            "rollback": (3, "[no-rollback]", 0),
            "end-hold": (3, "[no-hold]: no hold of ours runs: nothing is in flight", 0),
            "current-dead": (0, "done", 1),
            "compromised": (0, "done", 1),
        },
    ),
    At(
        name="in doubt",
        reach=in_doubt,
        answers={
            "resume": (6, "the vendor does not show what became of it", 1),
            "abandon": (6, "the vendor does not show what became of it", 1),
            "rollback": (3, IN_FLIGHT, 1),
            "end-hold": (3, "no hold of ours runs: issue was sent and the vendor does not show", 1),
            "current-dead": (3, IN_FLIGHT, 1),
            "compromised": (3, IN_FLIGHT, 1),
        },
    ),
    At(
        name="in the grace of the old one",
        reach=rotated_with_grace,
        answers={
            "resume": (0, "version 1 is still accepted by the vendor", 1),
            "abandon": (0, "the new version stays", 1),
            "rollback": (3, "the vendor has replaced version 1 and can not make it current again", 1),
            "end-hold": (3, "no hold of ours runs: version 1 is still accepted by the vendor", 1),
            "current-dead": (0, "holding", 2),
            "compromised": (0, "the compromised version 1 still works", 2),
        },
    ),
)


@pytest.mark.parametrize("state", STATES, ids=str)
@pytest.mark.parametrize("name", COMMANDS)
def test_in_each_state_each_command_says_what_is_true_and_never_ends_what_consumers_read(
    one: Member, state: At, name: str
) -> None:
    state.reach(one)
    exit_code, says, resets = state.answers[name]
    ran = one.keyturn(*COMMANDS[name])
    assert (ran.code, says in ran.said) == (exit_code, True), ran.said
    assert len(one.resets) == resets
    assert re.search(r"current: version \d", ran.out)
    one.sim.switch(down="")
    for days in (0, 6):
        one.clock.advance(days * DAY_S)
        ran = one.keyturn("run")
        assert ran.code == (8 if "compromised, and still accepted" in ran.said else 0), ran.said
        assert one.accepted()
    assert len(one.resets) == resets
    assert one.well("status", "--json").json["secrets"][0]["status"] == "current"


def test_what_needs_a_reason_says_so_before_anything_is_asked(one: Member) -> None:
    asked = len(one.sim.log)
    for option in ("--current-dead", "--compromised", "--force"):
        ran = one.keyturn("rotate", ENTITY, option, "--yes")
        assert (ran.code, "[reason-needed]" in ran.err) == (2, True)
        assert f"{option} needs a reason" in ran.err
        assert "add --reason TEXT" in ran.err
    assert len(one.sim.log) == asked


# Expired, paused, abandoned


def expiring(one: Member) -> None:
    one.configure({ENTITY: {"rotate": {"before_expiry": "20d"}}})
    one.clock.advance(75 * DAY_S)


def test_a_secret_that_is_due_while_it_is_paused_says_how_the_pause_ends(one: Member) -> None:
    one.well("pause", ENTITY, "--until", "100d", "--reason", "audit")
    expiring(one)
    one.well(*next_step(one.well("status").out), "--reason", "over")
    assert f"next: keyturn run {ENTITY}" in one.well("status").out


def test_a_run_over_an_expired_secret_says_one_next_step_and_it_works(one: Member) -> None:
    expiring(one)
    one.clock.advance(30 * DAY_S)
    for _ in range(2):
        ran = one.keyturn("run")
        assert ran.code in (3, 8)
        assert ran.said.count("  next: keyturn") == 1, ran.said
        (told,) = one.keyturn("run", "--json").json["attention"][-1:]
        assert f"next: {told['next']}\n" in ran.said
    one.well(*next_step(ran.said), "--yes")
    assert one.accepted()
    assert one.keyturn("run").code == 0


def test_after_an_abandoned_rotation_the_old_version_is_owed_a_proof_and_then_nothing_is_waited_for(
    one: Member,
) -> None:
    rotated_with_grace(one)
    one.well("abandon", ENTITY, "--reason", "test")
    one.well("run")
    said = one.well("status").out
    assert ("owed     prove version 1" in said, "waiting  prove: version 1" in said) == (True, True), said
    one.clock.advance(6 * DAY_S)
    one.well("run")
    said = one.well("status").out
    assert ("owed" in said, "waiting" in said) == (False, False), said


# Ctrl-C, in the real program


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Member]:
    """A member on the machine's own clock."""
    with member(tmp_path / "member", clock=SystemClock(), secrets={TOKEN: None}) as built:
        built.begin()
        yield built


def test_ctrl_c_after_a_lost_reset_is_heard_and_a_second_one_ends_at_once_and_loses_nothing(live: Member) -> None:
    live.sim.fault("reset", "reset-after")
    live.sim.fault("read", "500:empty", skip=2, times=1_000)
    process = live.start(*ROTATE)
    try:
        poll(lambda: len(live.resets) == 1, "no reset was sent", 20)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        lines = iter(process.stderr.readline, "")
        assert any("stopping after the running step; once more to stop at once" in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 6
    finally:
        process.kill()
        process.communicate()
    live.sim.obey({"clear": True})
    poll(lambda: live.keyturn("run").code == 0, "the next run does not take it up", 90)
    assert live.accepted()
    assert len(live.resets) == 1


def test_ctrl_c_while_the_grace_runs_ends_the_watch_and_changes_nothing(live: Member) -> None:
    rotated_with_grace(live)
    process = live.start("run", "--watch")
    try:
        assert process.stdout
        assert "holding or waiting" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in out + err
    assert live.accepted()
    assert len(live.resets) == 1
