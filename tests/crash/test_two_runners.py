"""Two runners on one secret, and a runner that was stopped for longer than its lease."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from crash.town import SECRET, town, until


def test_of_two_runners_one_works_and_the_other_ends_with_exit_code_7(tmp_path: Path) -> None:
    with town(tmp_path / "town") as one:
        one.adopt()
        one.sim.fault("create", "late:2")
        first = one.start("rotate", SECRET, "--yes")
        assert until(lambda: any(event.type == "call.sent" for event in one.events()))
        one.child = False  # at once, while the first one is in the middle
        second = one.keyturn("rotate", SECRET, "--yes", "--force", "--reason", "impatient")
        assert second.returncode == 7, second.stderr
        assert "another runner works on this secret" in second.stderr
        assert one.keyturn("run").returncode == 0
        first.communicate(timeout=60)
        assert first.returncode == 0
        assert sum(entry["on"] == "create" for entry in one.sim.log) == 1


def test_a_runner_stopped_past_its_lease_can_not_write_but_the_answer_it_holds_is_sealed(tmp_path: Path) -> None:
    with town(tmp_path / "town", limits={"lease": "1s", "call": "30s"}) as one:
        one.adopt()
        one.sim.fault("create", "late:1")
        runner = one.start("rotate", SECRET, "--yes")
        assert until(lambda: any(event.data.get("verb") == "issue" for event in one.events()))
        os.kill(runner.pid, signal.SIGSTOP)
        before = len(one.events())
        assert one.sealed_answers() == 0
        stopped_at = time.monotonic()
        assert until(lambda: time.monotonic() - stopped_at > 3)
        os.kill(runner.pid, signal.SIGCONT)
        _, said = runner.communicate(timeout=60)
        assert runner.returncode == 7, said
        assert "lost its lease" in said
        assert len(one.events()) == before
        assert one.sealed_answers() == 1
        assert one.run_until_quiet() == "current"
        assert one.accepted(one.served()) == [True, True]


def test_a_runner_that_was_killed_is_taken_over_at_once(tmp_path: Path) -> None:
    with town(tmp_path / "town", limits={"lease": "1h"}) as one:
        one.adopt()
        assert one.killed(6, "after", "rotate", SECRET, "--yes")
        began = time.monotonic()
        assert one.run_until_quiet() == "current"
        assert time.monotonic() - began < 60
