"""A person at the Console, and what goes wrong there: wrong pastes, windows that close, second thoughts, old files."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.clock import SystemClock
from keyturn.testing.clock import FakeClock
from keyturn_circle.simulator_answers import Refusal
from program import DAY_S, HOUR_S, Ran, write_private

from .console import CIPHERTEXT
from .wallets import FILE, SECRET, Wallets, wallets

REASON = ("--reason", "test", "--yes")
HOOK = """#!/bin/sh
echo "$KEYTURN_EVENT" >> "$(dirname "$0")/told"
"""
ATTEND = f"keyturn resume {SECRET} --attend"


class Desk(FakeClock):
    """A clock with plans: what is due happens while the program waits for somebody."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: list[tuple[float, Callable[[], object]]] = []

    def plan(self, in_s: float, do: Callable[[], object]) -> None:
        self.plans.append((self.now() + in_s, do))

    def wait(self, seconds: float) -> bool:
        super().wait(seconds)
        due = [do for at, do in self.plans if at <= self.now()]
        self.plans = [(at, do) for at, do in self.plans if at > self.now()]
        for do in due:
            do()
        return self.stopped

    def go_on(self) -> None:
        self._stopped = False


def team(folder: Path, clock: Any) -> Iterator[Wallets]:
    """A team that rotates in the Console, with a signer that drains."""
    hook = {"exec": ["./hook"]}
    consumers = {"consumers": [{"name": "signer", "quiesce": hook, "release": hook}]}
    with wallets(folder / "team", clock=clock, account={"way": "console"}, secret=consumers) as one:
        write_private(one.folder / "hook", HOOK)
        (one.folder / "hook").chmod(0o700)
        one.sim.switch(rest="off", rate_limit=0)
        one.begin()
        yield one
        values = [text for made in one.sim.entity.generations for text in (made.value, made.file)]
        said = [*one.said, (one.folder / "state/journal.db").read_bytes().decode(errors="replace"), *one.alerts]
        assert not [value for value in values for text in said if value in text]


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Wallets]:
    yield from team(tmp_path, Desk())


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Wallets]:
    """On the machine's own clock, for the program in a process of its own."""
    for built in team(tmp_path, SystemClock()):
        built.keyturn("rotate", SECRET, "--yes")
        yield built


def told(one: Wallets) -> list[str]:
    """What the signer heard, in order."""
    file = one.folder / "told"
    return file.read_text().split() if file.exists() else []


def on_screen() -> list[str]:
    """The ciphertexts that the program that runs just now has shown."""
    assert isinstance(sys.stdout, io.StringIO)
    return [line for line in sys.stdout.getvalue().splitlines() if CIPHERTEXT.match(line)]


def attends(one: Wallets, *then: Callable[[], object]) -> Ran:
    """Somebody attends, and does one thing after the other."""
    assert isinstance(one.clock, Desk)
    for number, do in enumerate(then, 1):
        one.clock.plan(10.0 * number, do)
    ran = one.keyturn("resume", SECRET, "--attend")
    one.clock.go_on()
    one.clock.plans.clear()
    return ran


def left(one: Wallets) -> list[str]:
    """The pair that somebody was shown who then pressed Ctrl-C."""
    pair: list[str] = []
    one.keyturn("rotate", SECRET, "--yes")
    attends(one, lambda: pair.extend(on_screen()), one.clock.stop)
    assert len(pair) == 2
    return pair


def refused(act: Callable[[], object]) -> Callable[[], object]:
    """The same, where the Console has to refuse it."""

    def tried() -> None:
        with pytest.raises(Refusal):
            act()

    return tried


def configured(one: Wallets, way: str) -> None:
    """The account says so from now on."""
    one.account = {**one.account, "way": way}
    one.configure()
    one.sim.switch(rest="on" if way == "api" else "off")


def next_of(ran: Ran) -> list[str]:
    """Every command that it says is next."""
    return re.findall(r"next: (.*)", ran.said)


def finished(one: Wallets, file: str) -> None:
    """Handing in this file ends it, and all is as it should be."""
    one.well("resume", SECRET, "--supply", one.supply(file))
    assert one.accepted()
    assert one.sim.recovery_file_is(one.custody())
    assert told(one)[-1:] in ([], ["release"])


def test_whoever_pastes_them_in_the_wrong_places_is_told_what_to_do_and_the_next_pair_works(one: Wallets) -> None:
    one.keyturn("rotate", SECRET, "--yes")
    files: list[str] = []
    swapped = refused(lambda: one.sim.console_rotate(*reversed(on_screen())))
    again = refused(lambda: one.sim.console_rotate(*on_screen()))
    ran = attends(one, swapped, again, one.clock.stop)
    assert "if it is refused, both ciphertexts are used up: give up here, Ctrl-C, and attend again" in ran.err
    assert (told(one), one.accepted(), next_of(ran)) == (["quiesce", "release"], True, [ATTEND])
    attends(one, lambda: files.append(one.sim.console_rotate(*on_screen())), refused(lambda: on_screen()[5]))
    finished(one, files[0])


def test_a_pair_that_is_used_later_is_published_by_the_next_run(one: Wallets) -> None:
    pair = left(one)
    one.clock.advance(DAY_S)
    one.keyturn("run")
    file = one.sim.console_rotate(*pair)
    one.keyturn("run")
    assert one.accepted()
    finished(one, file)


def test_while_a_pair_may_be_used_it_is_looked_for_also_where_the_account_was_changed(one: Wallets) -> None:
    pair = left(one)
    configured(one, "api")
    one.clock.advance(300)
    assert "was shown and has not been used so far" in one.keyturn("run").said
    file = one.sim.console_rotate(*pair)
    one.keyturn("run")
    assert one.accepted()
    finished(one, file)


@pytest.mark.parametrize("to", ["api", "console"])
def test_a_rotation_that_somebody_else_would_carry_out_now_turns_back_and_another_one_helps(
    one: Wallets, to: str
) -> None:
    configured(one, "console" if to == "api" else "api")
    one.sim.fault("rotate", "429", times=3)
    assert one.keyturn("rotate", SECRET, "--yes").code == 6
    configured(one, to)
    one.sim.obey({"clear": True})
    drained = told(one)
    ran = one.keyturn("run")
    assert "the account was changed since the rotation began" in ran.said
    assert (ran.code, next_of(ran)) == (4, [f"keyturn rotate {SECRET}"])
    assert "quiesce" not in told(one)[len(drained) :]
    assert one.keyturn("rotate", SECRET, "--yes").code == (0 if to == "api" else 6)
    assert one.accepted()


def test_who_gives_up_with_a_pair_out_can_begin_anew_and_that_makes_the_pair_void(one: Wallets) -> None:
    pair, files = left(one), []
    refusal = one.keyturn("rotate", SECRET, "--yes")
    assert next_of(refusal) == [f"{ATTEND}, or keyturn abandon {SECRET} --reason TEXT"]
    given_up = one.keyturn("abandon", SECRET, "--reason", "the pair leaked")
    assert f"keyturn rotate {SECRET} begins anew without waiting" in given_up.said
    assert ATTEND not in one.keyturn("status").said, "that would only look once more"
    assert one.keyturn("rotate", SECRET, "--compromised", *REASON).code == 6
    attends(one, lambda: files.append(one.sim.console_rotate(*on_screen())))
    refused(lambda: one.sim.console_rotate(*pair))()
    finished(one, files[0])
    assert one.row().state["rotation"]["ended"]["outcome"] == "done"


def test_a_pair_that_was_given_up_and_replaced_is_found_when_it_is_used_all_the_same(one: Wallets) -> None:
    pair = left(one)
    one.keyturn("abandon", SECRET, "--reason", "later")
    one.keyturn("rotate", SECRET, *REASON)
    file = one.sim.console_rotate(*pair)
    assert one.safe()
    assert next_of(attends(one)) == [f"keyturn recover {SECRET} --reason TEXT"]
    assert next_of(one.keyturn("recover", SECRET, *REASON)) == [f"keyturn adopt {SECRET} --from-escrow"]
    one.well("adopt", SECRET, "--from-escrow")
    finished(one, file)


def test_while_a_rotation_waits_for_a_person_somebody_elses_change_is_noticed_within_a_day(one: Wallets) -> None:
    one.keyturn("rotate", SECRET, "--yes")
    one.sim.console_elsewhere()
    assert "current-refused" not in one.keyturn("run").said
    one.clock.advance(DAY_S + HOUR_S)
    ran = one.keyturn("run")
    assert "[current-refused]" in ran.said
    assert ran.code == 6, "and it is said beside it"
    assert [alert for alert in one.alerts if "refused" in alert]


def test_a_runner_that_was_stopped_past_its_lease_says_that_nobody_watches_what_it_showed(one: Wallets) -> None:
    one.keyturn("rotate", SECRET, "--yes")
    pair: list[str] = []

    def another_runs() -> None:
        pair.extend(on_screen())
        one.clock.advance(61)
        one.keyturn("run")

    ran = attends(one, another_runs)
    assert ran.code == 7
    assert f"not watched here any more: do not use it (used: keyturn resume {SECRET})" in ran.err
    assert told(one) == ["quiesce", "release"]
    file = one.sim.console_rotate(*pair)
    one.keyturn("resume", SECRET)
    finished(one, file)


# the file


def test_a_lost_secret_is_reset_with_a_file_that_the_escrow_writes_as_the_console_wants_it(one: Wallets) -> None:
    old, files = one.custody(), []
    one.sim.console_elsewhere()
    one.sim.entity.current.file = old  # type: ignore[union-attr]
    waits = one.keyturn("recover", SECRET, "--supply", one.supply("QUFB"), *REASON)
    assert "what was handed in is not used: whoever attends uploads the recovery_file himself" in waits.out
    out, told_at = one.folder / "opened", re.search(r"keyturn (escrow open .*?) --out FILE --reason TEXT", waits.out)
    assert told_at
    assert told_at[0] in one.keyturn("status").out
    one.well(*told_at[1].split(), "--out", str(out), "--reason", "test")
    assert (out.read_text(), out.stat().st_mode & 0o777) == (old, 0o600)
    ran = attends(one, lambda: files.append(one.sim.console_reset(out.read_text(), *on_screen())))
    assert told_at[0] in ran.err, "where it is needed"
    finished(one, files[0])


def test_a_field_that_is_not_there_is_named_and_nothing_is_written(one: Wallets) -> None:
    out = one.folder / "opened"
    ran = one.keyturn("escrow", "open", SECRET, "--field", "file", "--out", str(out), "--reason", "test")
    assert (ran.code, out.exists()) == (2, False)
    assert "entity_secret, recovery_file" in ran.said


def test_what_is_no_recovery_file_or_the_wrong_one_is_refused_and_the_right_one_is_taken_after_it(one: Wallets) -> None:
    before, files = one.custody(), []
    one.keyturn("rotate", SECRET, "--yes")
    early = one.keyturn("resume", SECRET, "--supply", one.supply("QUFB"))
    assert early.code == 3, "before anything was set there is no new file"
    attends(one, lambda: files.append(one.sim.console_rotate(*on_screen())))
    page = "<!doctype html><html><body>Download the recovery file</body></html>"
    for wrong in (before, one.sim.secret, page, "", files[0][:-2] + "\x07", f"{files[0]}\n\n{files[0]}"):
        ran = one.keyturn("resume", SECRET, "--supply", one.supply(wrong))
        assert ran.code in (2, 3), ran.said
    supply = one.supply(files[0])
    (one.folder / "state/handed-in").chmod(0o644)
    assert "chmod 600" in one.keyturn("resume", SECRET, "--supply", supply).said
    finished(one, f"{files[0]}\r\n")
    assert one.well("resume", SECRET, "--supply", one.supply(files[0])).code == 0, "twice is as good"


# processes


def pair_of(process: subprocess.Popen[str]) -> list[str]:
    """What it shows."""
    assert process.stdout
    found: list[str] = []
    while len(found) < 2 and (line := process.stdout.readline()):
        found += CIPHERTEXT.findall(line.strip())
    return found


@pytest.mark.parametrize("signals", [(signal.SIGHUP, signal.SIGHUP), (signal.SIGTERM,)], ids=["closed", "ended"])
def test_a_terminal_that_is_closed_lets_the_consumers_go_on(real: Wallets, signals: tuple[signal.Signals, ...]) -> None:
    with real.start("resume", SECRET, "--attend") as process:
        try:
            pair = pair_of(process)
            for number in signals:
                process.send_signal(number)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 6, err
    assert (told(real), f"next: {ATTEND}" in out) == (["quiesce", "release"], True)
    assert not [text for text in pair if text in err]


def test_of_two_who_attend_one_is_shown_a_pair_and_runs_leave_them_alone(real: Wallets) -> None:
    with real.start("resume", SECRET, "--attend") as process:
        try:
            pair = pair_of(process)
            second, run = real.keyturn("resume", SECRET, "--attend"), real.keyturn("run")
            file = real.sim.console_rotate(*pair)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (second.code, CIPHERTEXT.search(second.out), run.code) == (7, None, 0)
    assert process.returncode == 6, err
    assert told(real) == ["quiesce", "release"]
    finished(real, file)


def test_after_a_kill_the_next_run_releases_and_finds_the_pair_used(real: Wallets) -> None:
    with real.start("resume", SECRET, "--attend") as process:
        pair = pair_of(process)
        process.kill()
    assert told(real) == ["quiesce"]
    file = real.sim.console_rotate(*pair)
    real.keyturn("run")
    assert told(real) == ["quiesce", "release"]
    assert json.loads((real.folder / "served/entity.json").read_text())["entity_secret"] == real.sim.secret
    assert FILE in real.keyturn("status").out
    finished(real, file)
