"""Consumers are told by a real command and a real URL: what happened, to which version; the value on stdin only.

In a cut-over they may hang, drip, ignore signals, or be left behind by a runner that is killed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from crash.town import SECRET, Town, town, until, write_private
from keyturn.clock import SystemClock
from keyturn.config.model import Notify
from keyturn.engine.effects.notify import Notifier, NotifyRequest
from keyturn.errors import Doubt, PluginError
from keyturn.secret import Secret
from member.member import ENTITY, TOKEN, Member, member

HOOK = """#!/bin/sh
env > {seen}/environment
cat > {seen}/stdin
echo "$@" > {seen}/arguments
exit $(cat {seen}/exit)
"""


@contextmanager
def listener(
    answers: list[int], then: Callable[[dict[str, Any]], None] = lambda _: None
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A consumer with a URL: answers with these statuses in turn, 200 afterwards, and keeps what it was told.

    `then` is called with each thing that it is told, before it answers.
    """
    told: list[dict[str, Any]] = []

    class Consumer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            then(told[-1])
            self.send_response(answers.pop(0) if answers else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Consumer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def hook(one: Town, exit_code: int = 0) -> Path:
    seen = one.folder / "secrets" / "seen"
    seen.mkdir(mode=0o700, exist_ok=True)
    write_private(seen / "exit", str(exit_code))
    path = one.folder / "hook.sh"
    write_private(path, HOOK.format(seen=seen))
    path.chmod(0o700)
    return path


def with_consumers(one: Town, *consumers: dict[str, Any]) -> None:
    config = json.loads(one.config.read_text())
    config["secrets"][SECRET]["consumers"] = list(consumers)
    write_private(one.config, json.dumps(config))


def test_a_command_gets_facts_in_its_environment_and_the_value_on_stdin_only(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        announce = {"exec": [str(hook(one)), "now"], "stdin": "bundle", "env": {"TOKEN": "file:state/user"}}
        with_consumers(one, {"name": "kong", "announce": announce})
        one.adopt()
        assert one.keyturn("rotate", SECRET, "--yes").returncode == 0
        seen = one.folder / "secrets" / "seen"
        environment = dict(line.split("=", 1) for line in (seen / "environment").read_text().splitlines())
        assert environment["KEYTURN_EVENT"] == "announce"
        assert environment["KEYTURN_SECRET"] == SECRET
        assert environment["KEYTURN_NUMBER"] == "2"
        assert environment["TOKEN"] == one.sim.environment["PAZ_USER"]
        assert set(environment) <= {"PATH", "PWD", "SHLVL", "OLDPWD", "_", "TOKEN"} | {
            name for name in environment if name.startswith("KEYTURN_")
        }
        assert "KEYTURN_UNTIL" not in environment
        value = one.served()
        assert json.loads((seen / "stdin").read_text()) == {"shared_secret": value}
        assert value not in (seen / "environment").read_text() + (seen / "arguments").read_text()


def test_a_url_is_told_at_least_once_and_never_the_value(tmp_path: Path) -> None:
    with listener([503]) as (url, told), town(tmp_path / "town", child=False) as one:
        with_consumers(one, {"name": "kong", "announce": {"url": url}})
        one.adopt()
        assert one.keyturn("rotate", SECRET, "--yes").returncode == 0
        assert [(one_call["event"], one_call["number"]) for one_call in told] == [("announce", "2")] * 2
        assert one.served() not in json.dumps(told)


def test_a_hook_that_fails_keeps_the_old_version_alive_and_is_repeated_without_a_new_issue(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        with_consumers(one, {"name": "kong", "announce": {"exec": [str(hook(one, 3))]}})
        one.adopt()
        old = one.served()
        done = one.keyturn("rotate", SECRET, "--yes")
        assert done.returncode == 6, done.stderr
        assert "exit code 3" in done.stderr
        assert one.accepted(old) == [True, True]
        hook(one, 0)
        assert one.run_until_quiet() == "current"
        assert [entry["on"] for entry in one.sim.log].count("create") == 1
        assert one.accepted(old) == [False, False]


# In a cut-over

STUBBORN = """#!/bin/sh
trap '' TERM INT HUP
sleep 60 &
echo $! >> {pids}
setsid sleep 60 &
echo $! >> {pids}
sleep 60
"""
"""Ignores what asks it to end; a child of its own holds our pipes, and another one has left its group."""


@contextmanager
def mute(drip: bytes = b"") -> Iterator[str]:
    """A consumer that takes every connection and never answers as a whole: it sends a byte of `drip` now and then."""
    over, listening = threading.Event(), socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.05)

    def serve() -> None:
        lines: list[socket.socket] = []
        while not over.wait(0.02):
            with suppress(TimeoutError):
                lines.append(listening.accept()[0])
            for line in lines:
                with suppress(OSError):
                    line.sendall(drip)
        for line in lines:
            line.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
    finally:
        over.set()
        thread.join()
        listening.close()


@contextmanager
def stubborn(folder: Path) -> Iterator[tuple[Path, Callable[[], list[int]]]]:
    """A command that does not end; which of its children still run."""
    pids, path = folder / "pids", folder / "stubborn.sh"
    write_private(path, STUBBORN.format(pids=pids))
    path.chmod(0o700)
    try:
        yield path, lambda: [pid for pid in map(int, pids.read_text().split()) if runs(pid)]
    finally:
        for pid in map(int, pids.read_text().split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    """Whether it runs, and is not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def draining(folder: Path, *consumers: Mapping[str, Any], **more: Any) -> Any:
    """A member whose secret ends by issue, with these consumers."""
    return member(folder, secrets={ENTITY: {"consumers": list(consumers)}, TOKEN: None}, **more)


def told_by(notify: Notify) -> tuple[PluginError, float]:
    """What became of one try, and how long it took."""
    request = NotifyRequest(
        event="quiesce", notify=notify, secret="a/b", consumer="signer", rotation="r", version="v", number=2, until=0.0
    )
    clock = SystemClock()
    began_s = clock.monotonic()
    with pytest.raises(PluginError) as caught:
        Notifier(lambda _: Secret("")).notify(request)
    return caught.value, clock.monotonic() - began_s


@pytest.mark.parametrize(
    "drip", [b"", b"H", b"HTTP/1.1 200 OK\r\nx-one: 1\r\n"], ids=["hangs", "drips", "never ends its head"]
)
def test_a_url_that_does_not_answer_as_a_whole_is_given_up_in_time(drip: bytes) -> None:
    with mute(drip) as url:
        error, took_s = told_by(Notify(url=url, timeout_s=0.5))
    assert isinstance(error, Doubt)
    assert "did not answer" in error.why
    assert took_s < 3


def test_a_command_that_ignores_signals_is_ended_with_its_group_and_never_waited_for_longer(tmp_path: Path) -> None:
    with stubborn(tmp_path) as (path, left):
        error, took_s = told_by(Notify(exec=(str(path),), timeout_s=0.5))
        assert isinstance(error, Doubt)
        assert took_s < 3
        assert until(lambda: len(left()) == 1)  # the one that left the group is not ours any more


def test_consumers_that_never_answer_are_named_and_left_out_where_they_may_be(tmp_path: Path) -> None:
    with mute() as hangs, mute(b"x") as drips, listener([]) as (url, told), stubborn(tmp_path) as (path, _):
        hooks: dict[str, dict[str, Any]] = {
            "hangs": {"url": hangs},
            "drips": {"url": drips},
            "deaf": {"exec": [str(path)]},
        }
        lost = [
            {"name": name, "drain": "best-effort", "quiesce": {**hook, "timeout": "1s"}} for name, hook in hooks.items()
        ]
        well = {"name": "well", "quiesce": {"url": url}, "release": {"url": url}}
        with draining(tmp_path / "member", *lost, well) as one:
            adopt(one)
            ran = one.well("rotate", ENTITY, "--yes")
            for name in hooks:
                assert f"{name} was not told to drain: " in ran.said
                assert f"{name} was not told to drain: " in one.well("status", ENTITY).said
            assert "consumers drained: " in ran.said
            assert "consumers drained: " in one.well("history", ENTITY).said
            assert one.accepted()
    assert [each["event"] for each in told] == ["quiesce", "release"]


def test_one_that_must_drain_and_hangs_turns_the_rotation_back_and_the_others_go_on(tmp_path: Path) -> None:
    with mute() as hangs, listener([]) as (url, told):
        lost = {"name": "hangs", "quiesce": {"url": hangs, "timeout": "1s"}}
        well = {"name": "well", "quiesce": {"url": url}, "release": {"url": url}}
        with draining(tmp_path / "member", lost, well) as one:
            adopt(one)
            ran = one.keyturn("rotate", ENTITY, "--yes")
            assert (ran.code, "hangs was not told to drain: " in ran.said) == (4, True), ran.said
            assert one.resets == []
            assert one.accepted()
    assert [each["event"] for each in told] == ["quiesce", "release"]


def test_a_release_that_hangs_keeps_nobody_from_the_new_version(tmp_path: Path) -> None:
    with mute() as hangs, listener([]) as (url, told):
        lost = {"name": "hangs", "quiesce": {"url": url}, "release": {"url": hangs, "timeout": "1s"}}
        well = {"name": "well", "quiesce": {"url": url}, "release": {"url": url}, "announce": {"url": url}}
        with draining(tmp_path / "member", lost, well) as one:
            adopt(one)
            ran = one.keyturn("rotate", ENTITY, "--yes")
            assert (ran.code, "hangs" in ran.said) == (6, True), ran.said
            assert [each["event"] for each in told if each["consumer"] == "well"] == ["quiesce", "release", "announce"]
            assert one.accepted()


def test_a_runner_killed_in_the_drain_leaves_a_deadline_and_the_next_run_goes_on_from_there(tmp_path: Path) -> None:
    runner: list[subprocess.Popen[str]] = []
    heard = threading.Event()

    def killed(_: dict[str, Any]) -> None:
        if not heard.is_set():
            heard.set()
            runner[0].kill()

    with listener([], killed) as (url, told):
        well = {"name": "well", "quiesce": {"url": url}, "release": {"url": url}}
        with draining(tmp_path / "member", well, clock=SystemClock()) as one:
            adopt(one)
            runner.append(one.start("rotate", ENTITY, "--yes"))
            runner[0].communicate(timeout=60)
            assert runner[0].returncode == -signal.SIGKILL
            assert one.resets == []
            deadline = datetime.fromisoformat(told[0]["until"]).timestamp()
            assert 600 < deadline - one.clock.now() < 3600
            one.well("run")
            assert len(one.resets) == 1
            assert one.accepted()
    assert [each["event"] for each in told] == ["quiesce", "quiesce", "release"]


def adopt(one: Member) -> None:
    one.well("adopt", ENTITY, "--from-vendor")
