"""Consumers are told by a real command and a real URL: what happened, to which version; the value on stdin only."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from crash.town import SECRET, Town, town, write_private

HOOK = """#!/bin/sh
env > {seen}/environment
cat > {seen}/stdin
echo "$@" > {seen}/arguments
exit $(cat {seen}/exit)
"""


@contextmanager
def listener(answers: list[int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A consumer with a URL: answers with these statuses in turn, 200 afterwards, and keeps what it was told."""
    told: list[dict[str, Any]] = []

    class Consumer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
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
    with town(tmp_path / "town") as one:
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
    with listener([503]) as (url, told), town(tmp_path / "town") as one:
        with_consumers(one, {"name": "kong", "announce": {"url": url}})
        one.adopt()
        assert one.keyturn("rotate", SECRET, "--yes").returncode == 0
        assert [(one_call["event"], one_call["number"]) for one_call in told] == [("announce", "2")] * 2
        assert one.served() not in json.dumps(told)


def test_a_hook_that_fails_keeps_the_old_version_alive_and_is_repeated_without_a_new_issue(tmp_path: Path) -> None:
    with town(tmp_path / "town") as one:
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
