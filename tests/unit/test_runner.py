"""Whose lease may be taken at once: that of a process of this very machine and boot which is certainly gone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keyturn.engine.effects.runner import is_dead, runner_id

TELL = "from keyturn.engine.effects.runner import runner_id; print(runner_id(), flush=True); input()"


@contextmanager
def child() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that said who it is and waits; not reaped before the end."""
    command = [sys.executable, "-c", TELL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_this_process_is_alive() -> None:
    assert not is_dead(runner_id())


def test_another_process_is_alive_until_it_is_killed() -> None:
    with child() as (process, runner):
        assert not is_dead(runner)
        process.kill()
        process.wait()
        assert is_dead(runner)


def test_a_killed_process_that_nobody_reaped_is_dead() -> None:
    with child() as (process, runner):
        process.kill()
        assert process.stdout
        # The kernel closes a dying process's files before it becomes a zombie: poll, with a limit.
        assert process.stdout.read() == ""
        pause = threading.Event()
        assert any(is_dead(runner) or pause.wait(0.01) for _ in range(500))
        assert process.returncode is None


def test_another_process_with_the_number_of_a_dead_one_does_not_make_it_alive() -> None:
    where, _, _ = runner_id().rpartition("/")
    assert is_dead(f"{where}/1")


PARTS = ("host", "boot", "namespace")


@pytest.mark.parametrize("part", range(3), ids=PARTS)
def test_what_can_not_be_seen_from_here_counts_as_alive(part: int) -> None:
    with child() as (process, runner):
        process.kill()
        process.wait()
        parts = runner.split("/")
        parts[part] += "0"
        assert not is_dead("/".join(parts))


@pytest.mark.parametrize("name", ["", "init", "runner-1", "a/b", "a/b/c/d/e", "a/b/c/1/2/3"])
def test_a_name_of_another_form_counts_as_alive(name: str) -> None:
    assert not is_dead(name)


LOOK = "import sys; from keyturn.engine.effects.runner import is_dead; print(is_dead(sys.argv[1]))"
HIDE = 'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'


def test_another_users_process_that_proc_hides_is_alive() -> None:
    looker = [sys.executable, "-c", LOOK, runner_id()]
    hidden = ["unshare", "--mount", "--propagation", "private", "sh", "-c", HIDE, "sh", *looker]
    may_hide = os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0
    said = subprocess.run(hidden if may_hide else looker, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
