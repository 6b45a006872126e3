"""The tutorial, typed in as a newcomer would: every command of the page, in its order, with the output that it shows.

`python tests/docs/test_tutorial.py` writes the output on the page anew.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
FENCE = re.compile(r"^```(?P<info>[^\n]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "@@ command "
PORT = 18443
READY_S = 20.0
LONGEST_S = 60.0

CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "2026-11-21T20:00:00Z"),
    (re.compile(r"kong-\d{8}-[0-9a-f]{12}"), "kong-20261121-0f4c2a9be173"),
    (re.compile(r"attempt [0-9a-f]{8}"), "attempt 5e29eb37"),
    (re.compile(r"(plan|digest  ) [0-9a-f]{16}"), r"\1 94ecca5ece6c5ab8"),
    (re.compile(r"\(by [^)]+\)"), "(by you@laptop)"),
)
"""What differs from run to run, and what the page shows in its place."""


@dataclass(frozen=True)
class Block:
    """One fenced block: its info words and lines."""

    info: tuple[str, ...]
    body: str

    @property
    def commands(self) -> list[str]:
        """The commands typed, without the prompt."""
        return [line[2:] for line in self.body.splitlines() if line.startswith("$ ")]


def blocks(page: str) -> list[Block]:
    """The page's fenced blocks."""
    return [Block(tuple(found["info"].split()), found["body"]) for found in FENCE.finditer(page)]


def free_port() -> int:
    """A port that is free together with the next one: the cluster has two servers."""
    while True:
        with closing(socket.socket()) as first, closing(socket.socket()) as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


@contextmanager
def background(commands: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """The first terminal: its last command runs until the end."""
    script = "\n".join(["set -e", *commands])
    child = subprocess.Popen(
        ["bash", "-c", script], cwd=folder, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for(folder / "tutorial" / "simulator.txt", "initial.json")
        yield
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(READY_S)


def wait_for(file: Path, text: str) -> None:
    """Until the file holds the text."""
    limit = monotonic() + READY_S
    while not (file.exists() and text in file.read_text()):
        assert monotonic() < limit, f"{file} never said {text}"
        Event().wait(0.05)


def script_of(page: list[Block]) -> str:
    """The second terminal as one script; each command is announced by a line of its own."""
    lines: list[str] = ["exec 2>&1"]
    number = 0
    for block in page:
        if block.info == ("console",):
            for command in block.commands:
                lines += [f"echo '{MARK}{number}'", command]
                number += 1
        elif block.info[:2] == ("yaml", "configuration"):
            lines += [f"cat > {block.info[2]} <<'END'", block.body.rstrip("\n"), "END"]
    return "\n".join(lines)


def run_page(page: str, folder: Path) -> list[str]:
    """What each command of the second terminal printed, as the page would show it."""
    port = free_port()
    here = page.replace(str(PORT), str(port)).replace(str(PORT + 1), str(port + 1))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8"}
    parts = blocks(here)
    first = [command for block in parts if block.info == ("console", "background") for command in block.commands]
    with background(first, folder, environment):
        done = subprocess.run(
            ["bash", "-c", script_of(parts)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
    outputs = re.split(rf"^{MARK}\d+\n", done.stdout, flags=re.MULTILINE)[1:]
    return [shown(text, folder, port) for text in outputs]


def shown(text: str, folder: Path, port: int) -> str:
    """An output with what changes from run to run replaced."""
    text = (
        text.replace(str(folder), "/home/you").replace(f":{port + 1}", f":{PORT + 1}").replace(f":{port}", f":{PORT}")
    )
    for pattern, instead in CHANGING:
        text = pattern.sub(instead, text)
    return text


def with_outputs(page: str, outputs: list[str]) -> str:
    """The page with these outputs below its commands."""
    left = iter(outputs)

    def filled(found: re.Match[str]) -> str:
        block = Block(tuple(found["info"].split()), found["body"])
        if block.info != ("console",):
            return found.group()
        body = "".join(f"$ {command}\n{next(left)}" for command in block.commands)
        return f"```console\n{body}```"

    return FENCE.sub(filled, page)


def test_the_tutorial_does_what_it_shows_and_ends_with_the_old_version_dead(tmp_path: Path) -> None:
    page = PAGE.read_text()
    outputs = run_page(page, tmp_path)
    assert with_outputs(page, outputs).splitlines() == page.splitlines()
    assert "".join(outputs).count("prove: dead at") >= 2
    assert "old: retired and was seen refused" in "".join(outputs)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        text = PAGE.read_text()
        PAGE.write_text(with_outputs(text, run_page(text, Path(scratch))))
