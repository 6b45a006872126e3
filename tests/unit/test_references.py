"""References resolve to values; what does not resolve is named, and nothing of a value or an output shows."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from keyturn.api import NotSent, Secret
from keyturn.errors import UsageError
from keyturn.references import Resolver, sink_of

CANARY = "hunter2-canary"


def failing(resolver: Resolver, reference: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        resolver.resolve(reference)
    error = caught.value
    assert error.code == "reference-unresolved"
    assert error.hint
    assert CANARY not in f"{error.as_data()}{error!r}{error.__cause__!r}"
    return error


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def alive(pid: str) -> bool:
    """Whether this process runs: a zombie, which somebody else has to collect, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def script(folder: Path, body: str) -> str:
    """An `exec:` reference that runs this Python."""
    write(folder / "helper.py", body.encode())
    return f"exec:{sys.executable} -I helper.py"


def test_an_environment_variable(tmp_path: Path) -> None:
    assert Resolver(tmp_path, environ={"TOKEN": CANARY}).resolve("env:TOKEN").reveal() == CANARY
    assert "env:GONE" in failing(Resolver(tmp_path, environ={}), "env:GONE").message


@pytest.mark.parametrize(
    ("content", "value"), [(b"a", "a"), (b"a\n", "a"), (b"a\n\n", "a\n"), (b"a\r\n", "a"), (b" a \n", " a ")]
)
def test_exactly_one_newline_at_the_end_is_dropped(tmp_path: Path, content: bytes, value: str) -> None:
    write(tmp_path / "v", content)
    assert Resolver(tmp_path).resolve("file:v").reveal() == value


@pytest.mark.parametrize("content", [b"", b"\n", b"a\0b", b"\xff" + CANARY.encode(), b"x" * 1_048_577])
def test_empty_binary_and_huge_values_are_refused(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "v", content)
    failing(Resolver(tmp_path), "file:v")


def test_an_environment_value_that_is_not_text_is_refused(tmp_path: Path) -> None:
    failing(Resolver(tmp_path, environ={"A": os.fsdecode(b"\xff")}), "env:A")


def test_a_mounted_kubernetes_secret_is_followed(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    (mount / "..2026").mkdir(parents=True)
    write(mount / "..2026" / "token", CANARY.encode(), 0o644)
    (mount / "..data").symlink_to("..2026")
    (mount / "token").symlink_to("..data/token")
    mount.chmod(0o1777)
    assert Resolver(tmp_path).resolve("file:mount/token").reveal() == CANARY


@pytest.mark.parametrize(("file", "folder"), [(0o620, 0o700), (0o602, 0o700), (0o600, 0o770), (0o600, 0o707)])
def test_a_file_that_others_could_have_written_is_refused(tmp_path: Path, file: int, folder: int) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write(inner / "v", CANARY.encode(), file)
    inner.chmod(folder)
    (tmp_path / "v").symlink_to("inner/v")
    assert "written" in failing(Resolver(tmp_path), "file:v").message


def test_a_missing_file_a_folder_a_pipe_and_a_link_to_itself(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "loop").symlink_to("loop")
    for name in ("gone", ".", "pipe", "loop"):
        failing(Resolver(tmp_path), f"file:{name}")


def test_a_command_gets_its_words_no_shell_and_only_path(tmp_path: Path) -> None:
    body = "import os, sys; print(sys.argv[1:], sorted(os.environ.keys() - {'LC_CTYPE'}), sys.stdin.read(), end='')"
    environ = {"PATH": os.environ["PATH"], "SECRET": CANARY}
    value = Resolver(tmp_path, environ=environ).resolve(script(tmp_path, body) + " 'a b' '$HOME' ';'").reveal()
    assert value == "['a b', '$HOME', ';'] ['PATH'] "


def test_a_command_that_fails_tells_its_code_and_nothing_it_wrote(tmp_path: Path) -> None:
    body = f"import sys; print('{CANARY}'); print('{CANARY}', file=sys.stderr); sys.exit(3)"
    assert "code 3" in failing(Resolver(tmp_path), script(tmp_path, body)).message


@pytest.mark.parametrize("command", ["", "   ", "'open", "./no-such-command", "no-such-command-anywhere"])
def test_a_command_that_can_not_start(tmp_path: Path, command: str) -> None:
    failing(Resolver(tmp_path), f"exec:{command}")


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    body = (
        "import os, subprocess, sys, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        "pathlib.Path('pids').write_text(f'{os.getpid()} {child.pid}')\n"
        "child.wait()\n"
    )
    failing(Resolver(tmp_path, exec_timeout_s=1.5), script(tmp_path, body))
    pids = (tmp_path / "pids").read_text().split()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline


def test_a_command_that_writes_without_end_is_stopped(tmp_path: Path) -> None:
    failing(Resolver(tmp_path), script(tmp_path, "while True: print('x' * 10000)"))


def test_a_sink_is_read_through_what_was_given(tmp_path: Path) -> None:
    asked = []

    def read(sink: str, path: str, field: str) -> Secret:
        asked.append((sink, path, field))
        return Secret(CANARY)

    assert Resolver(tmp_path, read).resolve("vault-eu:kv/ops/x#password").reveal() == CANARY
    assert asked == [("vault-eu", "kv/ops/x", "password")]


def test_a_sink_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    def read(sink: str, path: str, field: str) -> Secret:
        raise NotSent("no connection")

    assert "no connection" in failing(Resolver(tmp_path, read), "vault:a#b").message
    assert "vault:a#b" in failing(Resolver(tmp_path), "vault:a#b").message


def test_what_is_no_reference_is_not_shown(tmp_path: Path) -> None:
    failing(Resolver(tmp_path), CANARY)


def test_which_sink_a_reference_reads() -> None:
    assert sink_of("vault-eu:kv/a#b") == "vault-eu"
    assert [sink_of(text) for text in ("env:A", "file:a:b#c", "exec:a b#c", "https://h/p")] == [None] * 4
