"""Progress: plain lines where nobody looks, one line for each step on a terminal, and never in a rotation's way."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from itertools import count
from pathlib import Path

import pytest

from cli.rig import Rig, estate
from keyturn.cli.progress import ERASE, Lines, Steps, make_progress
from keyturn.engine.record import events as ev
from keyturn_pingauthorize.simulator import SECRET

STYLE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def written() -> list[str]:
    return []


@pytest.fixture
def steps(written: list[str]) -> Steps:
    """On a terminal without colours; every look at the clock takes a second."""
    ticks = count()
    return Steps(written.append, lambda: float(next(ticks)), colour=False, plain=False)


def sent(verb: str, target: str, step: str = "") -> ev.Sent:
    return ev.Sent(step=step or verb, verb=verb, target=target, attempt="a", version="v", deadline_at=0.0)


def answered(verb: str, target: str, step: str = "", outcome: str = "done", why: str = "") -> ev.Answered:
    return ev.Answered(step=step or verb, verb=verb, target=target, attempt="a", version="v", outcome=outcome, why=why)


def seen(written: list[str]) -> list[str]:
    """What stands on the terminal at the end, line by line."""
    lines = "".join(written).split("\n")
    return [line.rpartition(ERASE)[2] for line in lines]


def test_a_step_is_one_line_with_where_it_happened(steps: Steps, written: list[str]) -> None:
    for body in (
        ev.Minted(version="v"),
        ev.StepDone(step="mint"),
        sent("promote", "files:a", "publish"),
        answered("promote", "files:a", "publish"),
        ev.Accepted(version="v", endpoint="http://one"),
        ev.StepDone(step="verify"),
    ):
        steps.tell("a/b", body)
    found = seen(written)
    assert found[0] == "a/b"
    assert re.fullmatch(r"  ✓ mint       +\d\.0 s", found[1])
    assert re.fullmatch(r"  ✓ promote    +\d\.0 s  files:a", found[2])
    assert re.fullmatch(r"  ✓ verify     +\d\.0 s  accepted at http://one", found[3])


def test_what_is_in_flight_stands_until_something_else_is_said(steps: Steps, written: list[str]) -> None:
    steps.tell("a/b", ev.StepDone(step="mint"))
    steps.tell("a/b", sent("issue", "vendor"))
    assert seen(written)[-1] == "  · issue: sent to vendor"
    steps.clear()
    assert seen(written)[-1] == ""


def test_what_is_in_flight_never_wraps(steps: Steps, written: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    steps.tell("a/b", sent("stage", "files:" + "x" * 100))
    assert len(seen(written)[-1]) < 40


def test_many_places_are_counted(steps: Steps, written: list[str]) -> None:
    for number in range(9):
        steps.tell("a/b", ev.Proved(version="v", endpoint=f"https://paz{number}.example.internal", verdict="dead"))
    steps.tell("a/b", ev.StepDone(step="prove"))
    assert seen(written)[1].endswith("refused at 9 places")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            answered("issue", "vendor", outcome="doubt", why="no answer"),
            "  ! issue: doubt at vendor: no answer; looking until it is certain",
        ),
        (answered("announce", "kong", outcome="not_sent", why="exit 3"), "  ! announce: did not work at kong: exit 3"),
        (ev.Proved(version="v", endpoint="e", verdict="contradicted"), "  ! prove: contradicted at e"),
        (ev.Undoing(code="c", reason="why"), "  ! undoing: why"),
        (ev.WaitingFor(step="hold", kind="hold", text="both accepted"), "  … hold: both accepted"),
        (ev.Ended(outcome="done"), "  ✓ rotation done"),
    ],
)
def test_everything_else_is_said_at_once(steps: Steps, written: list[str], body: ev.Body, expected: str) -> None:
    steps.tell("a/b", body)
    assert seen(written)[1] == expected


def test_effects_of_an_undo_are_said_too(steps: Steps, written: list[str]) -> None:
    steps.tell("a/b", answered("withdraw", "vendor", "issue"))
    steps.tell("a/b", answered("discard", "files:a", "stage"))
    steps.clear()
    assert [line.split()[:2] for line in seen(written)[1:3]] == [["✓", "withdraw"], ["✓", "discard"]]


def test_several_secrets_side_by_side_stand_below_their_names(steps: Steps, written: list[str]) -> None:
    for name in ("a", "a", "b", "a"):
        steps.tell(name, ev.StepDone(step="mint"))
    assert [line for line in seen(written) if line and not line.startswith(" ")] == ["a", "b", "a"]


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_terminal_means_plain_lines(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert isinstance(make_progress(StringIO(), lambda _: None), Lines)


def on_terminal(rig: Rig, *args: str, **variables: str) -> str:
    """What the program writes to a terminal."""
    ours, theirs = pty.openpty()
    child = rig.start(*args, env={"TERM": "xterm", "COLUMNS": "100", **variables}, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = b"".join(_read(ours))
    assert child.wait(60) == 0
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


def _read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # EIO: the other end is closed
            return
        if not data:
            return
        yield data


def test_a_rotation_on_a_terminal(tmp_path: Path) -> None:
    with estate(tmp_path, overlap={"hold": "0s"}) as rig:
        rig.adopt()
        plain = on_terminal(rig, "rotate", SECRET, "--yes", NO_COLOR="1")
        shown = seen([plain])
        steps = [line.split()[1] for line in shown if line.startswith("  ✓")]
        assert steps[:9] == ["mint", "stage", "issue", "verify", "publish", "announce", "hold", "retire", "prove"]
        assert not STYLE.search(plain)
        assert STYLE.search(on_terminal(rig, "rotate", SECRET, "--yes"))
        assert ERASE not in on_terminal(rig, "rotate", SECRET, "--yes", TERM="dumb")


def test_a_reader_of_the_progress_that_goes_away_does_not_stop_a_rotation(tmp_path: Path) -> None:
    with estate(tmp_path, overlap={"hold": "0s"}) as rig:
        rig.adopt()
        read, write = os.pipe()
        os.close(read)
        with rig.start("rotate", SECRET, "--yes", stderr=write) as child:
            os.close(write)
            out, _ = child.communicate(timeout=60)
        assert child.returncode == 0
        assert f"{SECRET}: done" in out


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_answer_that_can_not_be_written_is_an_error(tmp_path: Path, more: list[str]) -> None:
    code = "from keyturn.cli import main; main()"
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", code, "plugins", *more],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 6
    assert ran.stderr.startswith("error[not-written]: ")
    assert "Traceback" not in ran.stderr
