"""The program itself: help, errors, exit codes, signals and pipes, whatever the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli.rig import PROGRAM, estate
from keyturn.cli.app import COMMANDS, program
from keyturn.cli.render import SEVERITY, most_severe
from keyturn_pingauthorize.simulator import SECRET
from program import here

HEAVY = ("pydantic", "pluggy", "yaml", "httpx", "rich", "sqlite3", "pyrage", "cronsim")


def run(*args: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *args],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def loaded(*args: str, env: dict[str, str] | None = None) -> set[str]:
    """The heavy modules that the program imports for this."""
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print('LOADED', *[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr))\n"
        f"from keyturn.cli import main\nmain({list(args)!r})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **(env or {})}, text=True, capture_output=True, check=False
    )
    return set(ran.stderr.rpartition("LOADED")[2].split())


def test_help_lists_every_command_with_one_line() -> None:
    text = run("--help").stdout
    assert all(f"  {name} " in text and short_help in text for name, (_, _, short_help) in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_text_and_the_common_options(name: str) -> None:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    text = command.get_help(click.Context(command))
    assert command.help
    assert "--config" in text
    assert "--json" in text


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["rotate", "--help"], ["run", "--help"]])
def test_help_and_version_import_nothing_heavy(args: list[str]) -> None:
    assert loaded(*args) == set()


@pytest.mark.parametrize("words", ["keyturn ro", "keyturn rotate --c"])
def test_completion_completes_and_imports_nothing_heavy(words: str) -> None:
    env = {"_KEYTURN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert loaded(env=env) == set()
    assert {"keyturn ro": "rotate", "keyturn rotate --c": "--compromised"}[words] in run(env=env).stdout


@pytest.mark.parametrize("args", [["rotatte"], ["run", "--wach"], ["ack", "x"], ["rotate"], ["hold", "x"]])
def test_a_mistyped_command_exits_2_with_the_place_to_look(args: list[str]) -> None:
    text = here(*args)
    assert (text.code, text.out) == (2, "")
    assert text.err.startswith("error[")
    assert "  next: " in text.err
    document = here(*args, "--json").json
    assert (document["keyturn"], document["exit_code"], document["error"]["exit_code"]) == (1, 2, 2)


def test_a_mistyped_command_gets_a_suggestion() -> None:
    assert "did you mean" in run("rotatte").stderr.lower()


def test_the_common_options_stand_before_or_after_the_command(tmp_path: Path) -> None:
    for args in (["--config", "none.yaml", "--json", "run"], ["run", "--config", "none.yaml", "--json"]):
        document = json.loads(run(*args, cwd=tmp_path).stdout)
        assert document["command"] == "run"
        assert document["exit_code"] == 2


def test_a_bug_is_one_scrubbed_line_and_a_traceback_only_on_request(tmp_path: Path) -> None:
    code = (
        "from keyturn.cli import main\nfrom keyturn.cli.estate import Wiring\nfrom keyturn.secret import Secret\n"
        "held = Secret('canary-value-4711')\n"
        "def explode(journal): raise RuntimeError(f'boom {held.reveal()}')\n"
        "main(['run'], wiring=Wiring(journal=explode))"
    )
    with estate(tmp_path) as rig:
        for debug in ("", "1"):
            env = {**os.environ, **rig.sim.environment, "KEYTURN_DEBUG": debug}
            ran = subprocess.run(
                [sys.executable, "-c", code], cwd=rig.folder, env=env, text=True, capture_output=True, check=False
            )
            assert ran.returncode == 1
            assert ran.stderr.startswith("error[bug]: RuntimeError: boom <secret>")
            assert "canary-value-4711" not in ran.stderr
            assert ("Traceback" in ran.stderr) == bool(debug)


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    with estate(tmp_path) as rig:
        rig.adopt()
        read, write = os.pipe()
        os.close(read)
        ran = subprocess.run(
            [*PROGRAM, "repair", SECRET],
            cwd=rig.folder,
            env={**os.environ, **rig.sim.environment},
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(write)
        assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([], 0), ([0, 7], 7), ([7, 8], 8), ([8, 6], 6), ([6, 3], 3), ([3, 4], 4), ([4, 2], 2), ([2, 5], 5), ([5, 1], 1)],
)
def test_the_most_severe_of_several_exit_codes_wins(codes: list[int], expected: int) -> None:
    assert most_severe(codes) == most_severe(codes[::-1]) == expected
    assert set(SEVERITY) == set(range(9))


def test_a_program_or_family_without_a_command_shows_its_help_and_is_wrong() -> None:
    for args in ([], ["audit"]):
        ran = run(*args)
        assert (ran.returncode, ran.stderr) == (2, "")
        assert ran.stdout.startswith("Usage: keyturn")
        assert json.loads(run(*args, "--json").stdout)["error"]["code"] == "usage"


@pytest.mark.parametrize("columns", ["50", "junk", "9999", ""])
def test_a_help_text_fits_the_terminal(columns: str) -> None:
    lines = run("--help", env={"COLUMNS": columns}).stdout.partition("Exit codes")[0].splitlines()
    assert max(map(len, lines)) <= (int(columns) if columns == "50" else 100)


def test_help_loads_few_modules_of_the_standard_library() -> None:
    code = (
        "import sys\nfrom keyturn.cli.app import main\n"
        "try: main(['--help'])\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0
    assert {"dataclasses", "signal", "difflib", "shutil", "click.shell_completion"} & set(ran.stderr.split()) == set()
