"""What a plugin may do with its hands: children, files, waiting."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keyturn.context import FOLDER_PREFIX, PluginContext, sweep
from keyturn.errors import Doubt, NotSent
from keyturn.plugins.context import Context
from keyturn.secret import Bundle, Secret

CANARY = "canary-77d0"


@dataclass
class Surroundings:
    """A driven clock and what was noted."""

    at: float = 1000.0
    stopped: bool = False
    notes: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def wait(self, seconds: float) -> bool:
        self.at += seconds
        return self.stopped

    def note(self, event: str, fields: Mapping[str, str]) -> None:
        self.notes.append((event, dict(fields)))


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
def context(tmp_path: Path, around: Surroundings) -> Iterator[PluginContext]:
    made = PluginContext(
        resolver=lambda reference: Secret(f"value of {reference}"),
        now=around.now,
        wait=around.wait,
        fingerprint=lambda value: f"fp-{len(value)}",
        seal=lambda attempt, raw: around.note(attempt, {"length": str(len(raw.reveal()))}),
        note=around.note,
        scratch=tmp_path / "scratch",
    )
    yield made
    made.close()


def test_it_is_what_plugins_are_promised(context: PluginContext, around: Surroundings) -> None:
    hands: Context = context
    assert hands.resolve("env:A").reveal() == "value of env:A"
    assert (hands.now(), hands.fingerprint("abc")) == (1000.0, "fp-3")
    hands.seal("attempt", Secret("raw"))
    assert around.notes == [("attempt", {"length": "3"})]


def test_a_child_sees_only_path_and_its_files(context: PluginContext) -> None:
    script = "import os, sys; print(sorted(os.environ), open(sys.argv[1]).read(), sys.stdin.read())"
    finished = context.run(
        [sys.executable, "-I", "-c", script, "{key}"], files=Bundle({"key": CANARY}), stdin=Secret("hello")
    )
    assert finished.code == 0
    names, _, rest = finished.out.reveal().partition("] ")
    assert set(names.strip("[").replace("'", "").split(", ")) <= {"PATH", "LC_CTYPE"}
    assert rest.split() == [CANARY, "hello"]
    assert CANARY not in repr(finished)


def test_a_value_file_is_private_recorded_before_it_is_written_and_gone_afterwards(
    context: PluginContext, around: Surroundings, tmp_path: Path
) -> None:
    script = "import os, sys; p = sys.argv[1]; print(os.stat(p).st_mode, os.stat(os.path.dirname(p)).st_mode)"
    out = context.run([sys.executable, "-I", "-c", script, "{key}"], files=Bundle({"key": CANARY})).out.reveal()
    assert [stat.S_IMODE(int(mode)) for mode in out.split()] == [0o600, 0o700]
    assert [event for event, _ in around.notes] == ["value-files"]
    assert Path(around.notes[0][1]["folder"]).parent == tmp_path / "scratch"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_without_input_a_child_finds_its_stdin_closed(context: PluginContext) -> None:
    assert context.run([sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))"]).out.reveal() == "''\n"


def test_a_child_that_fails_is_told_by_its_code(context: PluginContext) -> None:
    assert context.run([sys.executable, "-c", "raise SystemExit(53)"]).code == 53


def test_a_child_that_is_not_there_was_never_started(context: PluginContext) -> None:
    with pytest.raises(NotSent, match="no-such-tool") as caught:
        context.run(["no-such-tool", "{key}"], files=Bundle({"key": CANARY}))
    assert caught.value.code == "child-missing"


def test_a_child_that_hangs_is_killed_with_its_children_and_is_doubt(context: PluginContext, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"print({CANARY!r}, flush=True); time.sleep(60)\n"
    )
    with pytest.raises(Doubt) as caught:
        context.run([sys.executable, "-c", script], timeout_s=2.0)
    assert caught.value.code == "child-timeout"
    assert CANARY not in repr(caught.value) + repr(caught.value.__context__)
    assert _until(lambda: not any(_runs(int(pid)) for pid in pids.read_text().split()))


@pytest.mark.parametrize("name", ["../key", "/key", "..", ""])
def test_a_file_name_that_leads_elsewhere_is_refused(context: PluginContext, tmp_path: Path, name: str) -> None:
    with pytest.raises(NotSent, match="file name"):
        context.run(["true"], files=Bundle({name: CANARY}))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_dead_process_left_is_swept_and_what_a_living_one_uses_stays(tmp_path: Path) -> None:
    dead = tmp_path / f"{FOLDER_PREFIX}{_dead_pid()}-aa"
    mine = tmp_path / f"{FOLDER_PREFIX}{os.getpid()}-bb"
    for folder in (dead, mine, tmp_path / f"{FOLDER_PREFIX}other-cc"):
        folder.mkdir()
    (dead / "key").write_text(CANARY)
    assert sweep(tmp_path) == [dead]
    assert mine.exists()
    assert sweep(tmp_path / "missing") == []


def test_waiting_ends_when_the_check_is_true(context: PluginContext, around: Surroundings) -> None:
    assert context.wait(lambda: around.at >= 1003, every_s=1, at_most_s=60)
    assert around.at == 1003


def test_waiting_ends_when_its_time_is_over_after_a_last_look(context: PluginContext, around: Surroundings) -> None:
    looks: list[float] = []

    def check() -> bool:
        looks.append(around.at)
        return False

    assert not context.wait(check, every_s=4, at_most_s=10)
    assert looks == [1000, 1004, 1008, 1010]


def test_waiting_looks_once_even_without_time(context: PluginContext) -> None:
    assert context.wait(lambda: True, every_s=1, at_most_s=0)


def test_waiting_ends_when_the_process_is_asked_to_stop(context: PluginContext, around: Surroundings) -> None:
    around.stopped = True
    assert not context.wait(lambda: False, every_s=1, at_most_s=60)
    assert around.at == 1001


def test_a_clock_that_is_set_back_can_not_make_waiting_endless(tmp_path: Path) -> None:
    looks: list[int] = []

    def check() -> bool:
        looks.append(1)
        return False

    frozen = PluginContext(
        resolver=Secret,
        now=lambda: 1000.0,
        wait=lambda _: False,
        fingerprint=str,
        seal=lambda *_: None,
        note=lambda *_: None,
        scratch=tmp_path,
    )
    assert not frozen.wait(check, every_s=1, at_most_s=5)
    assert len(looks) <= 8


def _dead_pid() -> int:
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", ""])
    os.waitpid(pid, 0)
    return pid


def _runs(pid: int) -> bool:
    """Whether the process is there and not just waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _until(check: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not check():
        if time.monotonic() > end:
            return False
    return True
