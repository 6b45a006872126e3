"""The demo ends well, by itself, and leaves something to look at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from cli.rig import PROGRAM
from cli.test_json_schemas import conforms
from cli.test_looking import run_in
from keyturn.clock import SystemClock

DEMO_S_MAX = 60.0


def test_the_demo_rotates_at_every_simulated_vendor_and_leaves_a_folder_to_try_commands_in(tmp_path: Path) -> None:
    clock = SystemClock()
    began = clock.monotonic()
    ran = run_in(tmp_path, "demo", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert clock.monotonic() - began < DEMO_S_MAX
    conforms("demo", ran.json)
    rotations = ran.json["rotations"]
    assert "pingauthorize" in {one["provider"] for one in rotations}
    for one in rotations:
        assert (one["outcome"], one["issued"], one["published"]) == ("done", True, True)
    folder = Path(ran.json["folder"])
    assert folder.parent == tmp_path
    _still_tells(folder, len(rotations))


def _still_tells(folder: Path, secrets: int) -> None:
    """What is left behind answers without any vendor."""
    status = run_in(folder, "status", "--json")
    assert {one["status"] for one in status.json["secrets"]} == {"current"}
    assert run_in(folder, "audit", "verify", "--json").json["secrets"] == secrets
    assert "keyturn status" in (folder / "README.md").read_text()
    assert not [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir(mode=0o700)
    (tmp_path / "used/notes").write_text("mine")
    ran = run_in(tmp_path, "demo", "--folder", "used", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "folder-used")
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["notes"]


def test_an_interrupted_demo_stops_its_simulators_and_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*PROGRAM, "demo"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background of a shell ignores SIGINT, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as child:
        try:
            assert child.stderr
            said = next(line for line in child.stderr if line.startswith("simulating"))
            assert "pingauthorize" in said
            os.killpg(child.pid, signal.SIGINT)
            assert child.wait(20) == 6
            assert "error[interrupted]" in child.stderr.read()
        finally:
            child.kill()
    assert json.dumps([path.name for path in tmp_path.iterdir()]).count("keyturn-demo-") == 1
