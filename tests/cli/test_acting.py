"""The acting commands, as an operator types them: the program, a simulated vendor, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.rig import CLOCK, Rig, estate, normal
from keyturn.engine.effects.runner import runner_id
from keyturn.journal import JournalSettings, open_journal
from keyturn_pingauthorize.simulator import SECRET
from program import Ran

TRANSCRIPTS = Path(__file__).parent / "transcripts"
UPDATE = "KEYTURN_UPDATE_TRANSCRIPTS"
REQUIRED = [{"name": "kong-eu", "acknowledge": "required"}]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with estate(tmp_path, overlap={"hold": "1h"}) as made:
        yield made


@pytest.fixture
def adopted(rig: Rig) -> Rig:
    rig.adopt()
    return rig


def transcript(name: str, rig: Rig, *steps: tuple[str, Ran]) -> None:
    """What an operator reads is an interface: it changes on purpose only (set the variable to write it anew)."""
    text = "\n".join(f"$ {typed}\n{ran.err}{ran.out}[exit {ran.code}]\n" for typed, ran in steps)
    path, text = TRANSCRIPTS / f"{name}.txt", normal(text, rig)
    if os.environ.get(UPDATE):
        path.write_text(text)
    assert text == path.read_text()


def typed(rig: Rig, command: str) -> tuple[str, Ran]:
    return f"keyturn {command}", rig.run(*command.split())


def apart(rig: Rig, command: str, stdin: str = "") -> tuple[str, Ran]:
    return f"keyturn {command}", rig.apart(*command.split(), stdin=stdin)


def next_of(ran: Ran) -> str:
    """The command that the program says to type next."""
    lines = [line for line in (ran.out + ran.err).splitlines() if line.strip().startswith("next: ")]
    return lines[-1].strip().removeprefix("next: ")


def follow(rig: Rig, command: str) -> Ran:
    """Type it."""
    return rig.run(*command.removeprefix("keyturn ").split())


# a rotation from beginning to end


def test_what_an_operator_reads_from_adoption_to_the_dead_old_version(rig: Rig) -> None:
    rig.write(overlap={"hold": "0s"})
    transcript(
        "adopt-and-rotate",
        rig,
        apart(rig, f"adopt {SECRET} --from-stdin --handle {rig.handle}", stdin=rig.initial),
        apart(rig, f"rotate {SECRET} --yes"),
    )
    assert rig.sim.accepts(rig.sim.urls[0], rig.served)
    assert not rig.sim.accepts(rig.sim.urls[0], rig.initial)


def test_what_an_operator_reads_while_old_and_new_both_serve(adopted: Rig) -> None:
    adopted.write(consumers=REQUIRED)
    transcript(
        "hold",
        adopted,
        typed(adopted, f"rotate {SECRET} --yes"),
        typed(adopted, "run"),
        typed(adopted, f"ack {SECRET} --version 2 --consumer kong-eu"),
        typed(adopted, f"hold {SECRET} --end"),
        typed(adopted, f"resume {SECRET}"),
        typed(adopted, f"resume {SECRET}"),
    )


def test_the_printed_next_command_of_a_hold_acknowledges_the_missing_consumer(adopted: Rig) -> None:
    adopted.write(consumers=REQUIRED)
    command = next_of(adopted.run("rotate", SECRET, "--yes"))
    assert command == f"keyturn ack {SECRET} --version 2 --consumer kong-eu"
    assert follow(adopted, command).code == 0


def test_no_value_appears_in_any_output_or_file_but_the_sinks(adopted: Rig) -> None:
    adopted.write(overlap={"hold": "0s"})
    ran = [
        adopted.run("rotate", SECRET, "--yes", env={"KEYTURN_DEBUG": "1"}),
        adopted.run("run", "--json"),
        adopted.run("repair", SECRET),
    ]
    values = [adopted.initial, adopted.served, *adopted.sim.environment.values()]
    said = "".join(one.out + one.err for one in ran).encode()
    kept = b"".join(path.read_bytes() for path in adopted.files())
    assert not [value for value in values if value.encode() in said + kept]


# approval


def test_without_a_terminal_the_digest_is_printed_and_the_printed_command_rotates(adopted: Rig) -> None:
    asked = adopted.run("rotate", SECRET)
    command = next_of(asked).removesuffix(", or with --yes")
    transcript(
        "approval", adopted, (f"keyturn rotate {SECRET}", asked), typed(adopted, command.removeprefix("keyturn "))
    )
    assert adopted.served != adopted.initial


def test_a_plan_that_is_no_longer_the_approved_one_is_refused(adopted: Rig) -> None:
    ran = adopted.run("rotate", SECRET, "--plan", "0123456789abcdef", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (3, "plan-changed")
    assert adopted.served == adopted.initial


@pytest.mark.parametrize("option", ["--force", "--compromised", "--current-dead"])
def test_a_dangerous_option_needs_a_reason(adopted: Rig, option: str) -> None:
    ran = adopted.run("rotate", SECRET, "--yes", option, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "reason-needed")


def test_one_request_id_rotates_once(adopted: Rig) -> None:
    adopted.write(overlap={"hold": "0s"})
    for _ in range(2):
        assert adopted.run("rotate", SECRET, "--yes", "--request", "change-1").code == 0
    assert adopted.run("resume", SECRET, "--json").json["secrets"][0]["current"] == 2


def test_a_rotate_on_several_names_goes_on_after_one_fails(adopted: Rig) -> None:
    other = {"provider": "paz", "target": {"name_prefix": "tyk"}, "sinks": [{"to": "custody", "path": "tyk.json"}]}
    secrets = {**adopted.secrets, "aaa/unmanaged": other}
    adopted.more["secrets"] = secrets
    adopted.write()
    ran = adopted.run("rotate", "--match", "*", "--yes", "--json")
    assert ran.code == 3
    assert [(one["secret"], one["status"]) for one in ran.json["secrets"]] == [
        ("aaa/unmanaged", "error"),
        (SECRET, "holding"),
    ]


# one at a time


def test_a_secret_held_elsewhere_is_refused_by_name_waited_for_on_request_and_skipped_by_run(adopted: Rig) -> None:
    settings = JournalSettings(kind="sqlite", path=adopted.folder / "state/journal.db")
    journal = open_journal(settings, clock=CLOCK, runner=runner_id(), operator="test")
    _make_due(adopted)
    lease = journal.acquire(SECRET, runner_id(), ttl_s=600)
    try:
        assert adopted.run("rotate", SECRET, "--yes").code == 7
        skipped = adopted.run("run", "--json")
        assert (skipped.code, skipped.json["held_elsewhere"]) == (0, [SECRET])
        assert skipped.json["secrets"] == []
    finally:
        journal.release(lease)
    journal.acquire(SECRET, runner_id(), ttl_s=1.5)  # ends by itself
    assert adopted.run("rotate", SECRET, "--yes", "--wait", "30s").code == 0
    journal.close()


# run


def _make_due(rig: Rig) -> None:
    """Due at once, without waiting: another secret, after which it is to be rotated, was rotated."""
    rig.write(rotate={"after": ["tyk/one"]})
    tyk = {"provider": "paz", "target": {"name_prefix": "tyk"}, "sinks": [{"to": "custody", "path": "tyk.json"}]}
    rig.more["secrets"] = {**rig.secrets, "tyk/one": tyk}
    rig.write()
    assert rig.run("rotate", "tyk/one", "--first", "--yes").code == 0


def test_run_rotates_what_is_due_and_a_dry_run_only_says_so(adopted: Rig) -> None:
    _make_due(adopted)
    work = adopted.run("run", "--dry-run", "--json").json["work"]
    assert [(one["secret"], one["what"]) for one in work] == [(SECRET, "rotate")]
    assert adopted.served == adopted.initial
    ran = adopted.run("run", "--json", "--detailed-exitcode")
    assert (ran.code, ran.json["secrets"][0]["current"]) == (11, 2)
    assert adopted.run("run", "--detailed-exitcode").code == 11


def test_run_with_nothing_to_do_says_so_in_its_detailed_exit_code(adopted: Rig) -> None:
    assert adopted.run("run").code == 0
    assert adopted.run("run", "--detailed-exitcode").code == 10


def test_a_spent_time_budget_leaves_the_work_to_the_next_run(adopted: Rig) -> None:
    _make_due(adopted)
    ran = adopted.run("run", "--time-budget", "0s", "--json")
    assert (ran.code, ran.json["left"]) == (6, [SECRET])
    assert adopted.served == adopted.initial


def test_a_paused_secret_is_not_rotated_and_asks_for_attention_when_it_is_due(adopted: Rig) -> None:
    _make_due(adopted)
    assert adopted.run("pause", "gateway/*", "--until", "2h", "--reason", "audit").code == 0
    ran = adopted.run("run", "--json")
    assert (ran.code, ran.json["attention"][0]["what"]) == (8, "paused")
    assert follow(adopted, ran.json["attention"][0]["next"]).code == 0
    assert adopted.run("run", "--json").json["secrets"][0]["current"] == 2


def test_a_broken_secret_is_reported_with_its_problems_while_the_others_go_on(adopted: Rig) -> None:
    _make_due(adopted)
    adopted.more["secrets"] = {**adopted.secrets, "bad/one": {"provider": "paz", "sinks": [{"to": "nowhere"}]}}
    adopted.write()
    ran = adopted.run("run", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "config-invalid")
    assert {one["secret"]: one["status"] for one in ran.json["secrets"]} == {"bad/one": "error", SECRET: "holding"}


def test_a_rotation_in_flight_that_is_no_longer_configured_is_stuck_with_the_way_out(adopted: Rig) -> None:
    adopted.run("rotate", SECRET, "--yes")
    before = adopted.served
    adopted.more["secrets"] = {"renamed": adopted.secrets[SECRET]}
    adopted.write()
    ran = adopted.run("run", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (5, "secret-unconfigured")
    hint = ran.json["error"]["hint"]
    assert hint == f"put {SECRET} back into the configuration, then: keyturn abandon {SECRET} --reason TEXT"
    assert adopted.served == before
    del adopted.more["secrets"]
    adopted.write()
    assert adopted.run("abandon", SECRET, "--reason", "renamed").code == 0


def test_an_alert_goes_out_once_and_again_only_where_it_was_not_taken(rig: Rig) -> None:
    pager = rig.folder / "page"
    pager.write_text('#!/bin/sh\n[ -e ready ] || exit 1\necho "$KEYTURN_SECRET $KEYTURN_WHAT" >> paged\n')
    pager.chmod(0o700)
    rig.more["alerts"] = [{"exec": [str(pager)]}]
    rig.write()
    refused = rig.run("run")
    assert "alert not delivered" in refused.err
    (rig.folder / "ready").touch()
    assert [rig.run("run").code for _ in range(2)] == [8, 8]
    assert (rig.folder / "paged").read_text() == f"{SECRET} unmanaged\n"


# stopping

PATIENT_FOR_4_S = [
    sys.executable,
    "-c",
    """
from keyturn.cli import main
from keyturn.cli.estate import Wiring
from keyturn.engine.limits import Limits
main(wiring=Wiring(limits=Limits(call_s=4.0)))
""",
]


def test_sigterm_ends_a_watching_run_cleanly(adopted: Rig) -> None:
    with adopted.start("run", "--watch") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "nothing was due\n"
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=30)
    assert child.returncode == 0
    assert "stopping after the running step" in err


def test_a_second_signal_ends_at_once_and_the_next_command_finishes_the_rotation(adopted: Rig) -> None:
    adopted.write(overlap={"hold": "0s"})
    adopted.sim.fault("create", "late:2")
    adopted.program = PATIENT_FOR_4_S
    with adopted.start("rotate", SECRET, "--yes") as child:
        assert child.stderr is not None
        _read_until(child, "issue: sent")
        child.send_signal(signal.SIGTERM)
        _read_until(child, "stopping after the running step")
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=5) == 6
    ran = adopted.run("resume", SECRET, "--json")
    assert ran.code == 0, ran.out
    assert adopted.sim.accepts(adopted.sim.urls[0], adopted.served)


def _read_until(child: subprocess.Popen[str], text: str) -> None:
    assert child.stderr is not None
    for line in child.stderr:
        if text in line:
            return
    pytest.fail(f"{text} was never said")


# the other commands


def test_rollback_goes_back_while_both_live(adopted: Rig) -> None:
    adopted.run("rotate", SECRET, "--yes")
    transcript("rollback", adopted, typed(adopted, f"rollback {SECRET} --reason outage"))
    assert adopted.served == adopted.initial


def test_abandon_after_publish_keeps_the_new_version_and_owes_the_rest(adopted: Rig) -> None:
    adopted.run("rotate", SECRET, "--yes")
    transcript("abandon", adopted, typed(adopted, f"abandon {SECRET} --reason later"))
    assert adopted.served != adopted.initial


def test_repair_brings_an_emptied_sink_back(adopted: Rig) -> None:
    (adopted.folder / "custody/sideband.json").unlink()
    ran = adopted.run("repair", SECRET, "--sink", "custody")
    assert (ran.code, adopted.served) == (0, adopted.initial), ran.err


def test_a_waived_acknowledgement_needs_a_reason(adopted: Rig) -> None:
    adopted.write(consumers=REQUIRED)
    adopted.run("rotate", SECRET, "--yes")
    waive = ["ack", SECRET, "--version", "2", "--consumer", "kong-eu", "--waive"]
    assert adopted.run(*waive).code == 2
    assert adopted.run(*waive, "--reason", "kong-eu is switched off").code == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [("yesterday", "bad-time"), ("2020-01-01T00:00:00Z", "bad-time"), ("2099-01-01T00:00:00", "bad-time")],
)
def test_a_time_without_zone_or_in_the_past_is_refused(adopted: Rig, text: str, code: str) -> None:
    adopted.run("rotate", SECRET, "--yes")
    ran = adopted.run("hold", SECRET, "--until", text, "--json")
    assert (ran.code, ran.json["secrets"][0]["code"]) == (2, code)


@pytest.mark.parametrize("pair", ["field=value", "field", "=@x", "field=@missing", "field=@open"])
def test_a_value_is_supplied_from_a_private_file_only(adopted: Rig, pair: str) -> None:
    (adopted.folder / "open").write_text("x")
    (adopted.folder / "open").chmod(0o644)
    assert adopted.run("resume", SECRET, "--supply", pair).code == 2


def test_an_adoption_of_a_value_that_the_vendor_refuses_is_refused(rig: Rig) -> None:
    ran = rig.run("adopt", SECRET, "--from-stdin", "--handle", rig.handle, "--json", stdin="madeupvalue")
    assert (ran.code, ran.json["error"]["code"]) == (3, "value-not-accepted")
    assert "madeupvalue" not in ran.out + ran.err


def test_an_adoption_from_standard_input_takes_a_json_object_too(rig: Rig) -> None:
    stdin = json.dumps({"shared_secret": rig.initial})
    assert rig.run("adopt", SECRET, "--from-stdin", "--handle", rig.handle, stdin=stdin).code == 0
    assert rig.served == rig.initial
