"""`keyturn resume --attend`: what a person reads, and where each part of it goes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import yaml

from cli.rig import CLOCK, PROGRAM, Rig, estate
from keyturn.api import Bundle, Waiting
from keyturn.cli.acting.attend import show
from keyturn.cli.app import Session
from keyturn.escrow import new_identity
from keyturn.journal import JournalSettings, make_journal
from keyturn.testing.clock import FakeClock
from keyturn_circle.simulator import SECRET as ENTITY
from keyturn_circle.simulator import Simulator
from keyturn_pingauthorize.simulator import SECRET
from program import Ran, here

TEXT = "in the console: 1. open the dialog; 2. paste both, each whole; 3. confirm. Tell nobody"
PAIR = Bundle({"current_ciphertext": "AAAA", "new_ciphertext": "BBBB"})


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with estate(tmp_path) as made:
        made.adopt()
        yield made


def shown(out: StringIO, clock: FakeClock) -> tuple[str, str]:
    """What stdout and stderr got."""
    session, err = Session(), StringIO()
    session.out, session.err = out, err
    show(session, clock, Waiting(text=TEXT, until=1.0, show=PAIR))
    return out.getvalue(), err.getvalue()


def test_each_value_stands_alone_on_a_line_of_stdout_below_its_name() -> None:
    out, _ = shown(StringIO(), FakeClock())
    assert out == "current_ciphertext:\nAAAA\n\nnew_ciphertext:\nBBBB\n\n"


def test_the_steps_stand_on_lines_of_their_own_on_stderr_and_no_value_does() -> None:
    _, said = shown(StringIO(), FakeClock())
    assert said.split("\n")[1:5] == [
        "in the console:",
        "  1. open the dialog",
        "  2. paste both, each whole",
        "  3. confirm. Tell nobody",
    ]
    assert "AAAA" not in said
    assert "BBBB" not in said


def test_what_can_not_be_written_stops_the_command_as_ctrl_c_does() -> None:
    class Gone(StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    clock = FakeClock()
    shown(Gone(), clock)
    assert clock.stopped


def test_json_is_refused_since_nobody_would_read_it_in_time(rig: Rig) -> None:
    ran = rig.run("resume", SECRET, "--attend", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "attend-needs-a-person")


def test_where_nothing_waits_for_a_person_it_only_resumes(rig: Rig) -> None:
    ran = rig.run("resume", SECRET, "--attend")
    assert (ran.code, "nothing is in flight" in ran.out) == (0, True)


class Wallets:
    """The program in a folder, with a simulated Circle whose Console is acted on by hand."""

    def __init__(self, folder: Path, sim: Simulator) -> None:
        self.folder, self.sim = folder, sim
        for name in ("state", "custody"):
            (folder / name).mkdir(mode=0o700)
        new_identity(folder / "state/age.key")
        make_journal(JournalSettings(kind="sqlite", path=folder / "state/journal.db"), clock=CLOCK).close()
        vendor = sim.configuration(folder)
        sinks = [
            {"to": "custody", "path": "entity", "fields": ["entity_secret"]},
            {"to": "custody", "path": "recovery", "fields": ["recovery_file"]},
        ]
        whole = {
            "keyturn": 1,
            "journal": {"kind": "sqlite", "path": "state/journal.db"},
            "escrow": {"identities": ["file:state/age.key"]},
            "providers": vendor["providers"],
            "sinks": {"custody": {"kind": "file", "folder": "custody"}},
            "secrets": {ENTITY: {**vendor["secrets"][ENTITY], "sinks": sinks}},
        }
        path = folder / "keyturn.yaml"
        path.write_text(yaml.safe_dump(whole))
        path.chmod(0o600)

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, *args],
            cwd=self.folder,
            env={**os.environ, **self.sim.environment},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *args: str, stdin: str = "") -> Ran:
        return here(*args, folder=self.folder, environment=self.sim.environment, stdin=stdin)


@pytest.fixture
def wallets(tmp_path: Path) -> Iterator[Wallets]:
    with Simulator(key_bits=2048) as sim:
        yield Wallets(tmp_path, sim)


def shown_pair(child: subprocess.Popen[str]) -> dict[str, str]:
    """What a person copies from stdout."""
    assert child.stdout
    lines = [child.stdout.readline().rstrip("\n") for _ in range(6)]
    return {lines[0].removesuffix(":"): lines[1], lines[3].removesuffix(":"): lines[4]}


def test_a_person_attends_pastes_the_pair_and_hands_in_the_file(wallets: Wallets) -> None:
    initial = json.dumps(wallets.sim.initial[ENTITY]["bundle"])
    handle = str(wallets.sim.initial[ENTITY]["handle"])
    adopted = wallets.run("adopt", ENTITY, "--from-stdin", "--handle", handle, stdin=initial)
    assert adopted.code == 0, adopted.err
    waits = wallets.run("rotate", ENTITY, "--yes")
    assert (waits.code, f"next: keyturn resume {ENTITY} --attend" in waits.out) == (6, True), waits.err
    with wallets.start("resume", ENTITY, "--attend") as child:
        try:
            pair = shown_pair(child)
            file = wallets.sim.console_rotate(pair["current_ciphertext"], pair["new_ciphertext"])
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 6, err
    assert not any(value in err for value in pair.values())
    assert f"next: keyturn resume {ENTITY} --supply recovery_file=@FILE" in out
    done = wallets.run("resume", ENTITY, "--supply", "recovery_file=-", stdin=file)
    assert done.code == 0, done.err
    assert json.loads((wallets.folder / "custody/recovery").read_text())["recovery_file"] == file
