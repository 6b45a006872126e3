"""The looking and setting-up commands against a simulated cluster and a file sink."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cli.rig import PROGRAM, Rig, estate, normal
from keyturn.cli.app import COMMANDS
from keyturn_pingauthorize.simulator import SECRET
from program import Ran, here

ACTING = {"run", "rotate", "resume", "rollback", "abandon", "ack", "hold", "pause", "adopt", "repair"}
TRANSCRIPTS = Path(__file__).parent / "transcripts"
KONG = [{"name": "kong", "acknowledge": "required"}]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Rig]:
    """An estate where nothing was adopted yet."""
    with estate(tmp_path, overlap={"hold": "1h", "hold_max": "7d"}, consumers=KONG) as rig:
        yield rig


@pytest.fixture
def adopted(fresh: Rig) -> Rig:
    """Version 1 is current."""
    adopt(fresh)
    return fresh


@pytest.fixture(scope="module")
def holding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Version 2 is current, version 1 lives on, and a consumer has not acknowledged. For tests that only look."""
    folder = tmp_path_factory.mktemp("holding")
    with estate(folder, overlap={"hold": "1h", "hold_max": "7d"}, consumers=KONG) as rig:
        adopt(rig)
        assert rig.run("rotate", SECRET, "--yes").code == 0
        yield rig


def adopt(rig: Rig) -> None:
    """Take over what consumers read from the sink."""
    served = rig.folder / "custody/sideband.json"
    served.write_text(json.dumps({"shared_secret": rig.initial}))
    served.chmod(0o600)
    ran = rig.run("adopt", SECRET, "--from-sink", "custody", "--handle", rig.handle)
    assert ran.code == 0, ran.err


def transcript(name: str, ran: Ran, rig: Rig) -> None:
    """The text is as recorded; KEYTURN_TRANSCRIPTS=update records it anew."""
    path = TRANSCRIPTS / f"{name}.txt"
    # Endpoints are listed by URL, and the ports differ from run to run.
    text = re.sub(r"SERVER-\d", "SERVER", normal(f"exit {ran.code}\n{ran.out}{ran.err}", rig))
    if os.environ.get("KEYTURN_TRANSCRIPTS") == "update":
        path.write_text(text)
    assert text == path.read_text()


def journal(rig: Rig, *statements: str) -> None:
    """Change the journal behind Keyturn's back."""
    with closing(sqlite3.connect(rig.folder / "state/journal.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def only(ran: Ran, key: str = "secrets") -> dict[str, Any]:
    """The one entry of a list in a document."""
    (found,) = ran.json[key]
    assert isinstance(found, dict)
    return found


# status


def test_status_in_the_hold_says_what_is_valid_where_who_is_missing_and_what_to_type(holding: Rig) -> None:
    transcript("status-holding", holding.run("status"), holding)


def test_the_status_document_answers_the_same_questions(holding: Rig) -> None:
    one = only(holding.run("status", "--json"))
    assert (one["status"], one["current"], [v["number"] for v in one["valid"]]) == ("holding", 2, [2, 1])
    assert [sink["serves"] for sink in one["sinks"]] == [2]
    assert one["missing"] == ["kong"]
    assert one["next"] == f"keyturn ack {SECRET} --version 2 --consumer kong"
    assert one["waiting"]["until"]


def test_an_unmanaged_secret_says_how_to_adopt_it(fresh: Rig) -> None:
    ran = fresh.run("status", "--json")
    assert (ran.code, only(ran)["status"]) == (0, "unmanaged")
    assert only(ran)["next"] == f"keyturn adopt {SECRET} --from-sink custody"


@pytest.mark.parametrize(("words", "code"), [("unmanaged", 8), ("stuck,unmanaged", 8), ("stuck,overdue,due,paused", 0)])
def test_status_fails_only_on_what_it_was_asked_to_fail_on(fresh: Rig, words: str, code: int) -> None:
    assert fresh.run("status", "--fail-on", words).code == code


def test_an_unknown_word_to_fail_on_is_a_usage_error(fresh: Rig) -> None:
    ran = fresh.run("status", "--fail-on", "sad")
    assert ran.code == 2
    assert "due, overdue, stuck, unmanaged, problem, paused" in ran.err


def test_a_rotation_that_the_configuration_no_longer_names_is_stuck_with_the_way_out(adopted: Rig) -> None:
    assert adopted.run("rotate", SECRET, "--yes").code == 0
    adopted.more = {"secrets": {}}
    adopted.write()
    ran = adopted.run("status", "--fail-on", "stuck")
    assert ran.code == 5
    assert f"next: put {SECRET} back into the configuration, then: keyturn abandon {SECRET} --reason TEXT" in ran.out


def test_a_consumer_that_acknowledged_is_not_missing_any_more(adopted: Rig) -> None:
    assert adopted.run("rotate", SECRET, "--yes").code == 0
    assert adopted.run("ack", SECRET, "--version", "2", "--consumer", "kong").code == 0
    one = only(adopted.run("status", "--json"))
    assert (one["missing"], one["next"]) == ([], f"keyturn run {SECRET}")


def test_who_is_still_missing_is_named_after_the_others_acknowledged(adopted: Rig) -> None:
    adopted.write(consumers=[*KONG, {"name": "worker", "acknowledge": "required"}])
    assert adopted.run("rotate", SECRET, "--yes").code == 0
    assert adopted.run("ack", SECRET, "--version", "2", "--consumer", "kong").code == 0
    one = only(adopted.run("status", "--json"))
    assert (one["missing"], one["next"]) == (["worker"], f"keyturn ack {SECRET} --version 2 --consumer worker")


def test_a_paused_secret_says_until_when(adopted: Rig) -> None:
    assert adopted.run("pause", SECRET, "--until", "2h", "--reason", "holiday").code == 0
    ran = adopted.run("status", "--fail-on", "paused")
    assert ran.code == 8
    assert "current, paused, paused until" not in ran.out
    assert "current, paused until" in ran.out


def test_a_broken_secret_is_misconfigured_and_names_its_line(adopted: Rig) -> None:
    adopted.write(overlap={"strategy": "sideways"})
    ran = adopted.run("status", "--fail-on", "stuck")
    assert ran.code == 5
    assert f"{SECRET}  misconfigured" in ran.out
    assert "keyturn.yaml:" in ran.out
    assert f"next: keyturn check {SECRET}" in ran.out


# plan


def test_a_plan_shows_steps_overlap_what_dies_and_the_digest_that_approves_it(adopted: Rig) -> None:
    transcript("plan", adopted.run("plan"), adopted)
    digest = only(adopted.run("plan", "--json"), "plans")["digest"]
    assert adopted.run("rotate", SECRET, "--plan", digest).code == 0


def test_a_plan_that_would_be_refused_exits_3_and_says_what_to_type(fresh: Rig) -> None:
    ran = fresh.run("plan")
    assert ran.code == 3
    assert f"next: keyturn adopt {SECRET} --from-sink" in ran.out


def test_a_compromised_value_is_not_held(adopted: Rig) -> None:
    assert only(adopted.run("plan", "--compromised", "--json"), "plans")["hold_s"] == 0


def test_nothing_due_means_no_plan(adopted: Rig) -> None:
    assert adopted.run("plan", "--due", "--json").json["plans"] == []


# check


def test_check_names_every_problem_at_once_with_line_and_column(adopted: Rig) -> None:
    adopted.write(overlap={"strategy": "sideways"}, rotate={"evry": "30d"}, color="red")
    ran = adopted.run("check", "--json")
    problems = ran.json["problems"]
    assert ran.code == 2
    assert {problem["path"].rpartition(".")[2] for problem in problems} == {"strategy", "evry", "color"}
    lines = (adopted.folder / "keyturn.yaml").read_text().splitlines()
    for problem in problems:
        assert problem["path"].rpartition(".")[2] in lines[problem["line"] - 1]
    assert only(ran)["verdict"] == "misconfigured"


def test_check_online_looks_and_writes_nothing(adopted: Rig) -> None:
    before, seen = adopted.run("audit", "heads", "--json").json["heads"], adopted.sim.log
    ran = adopted.run("check", "--online", "--json")
    assert (ran.code, only(ran)["verdict"], len(only(ran)["endpoints"])) == (0, "ready", 2)
    assert adopted.run("audit", "heads", "--json").json["heads"] == before
    assert adopted.sim.log == seen


def test_check_online_in_the_hold_does_not_journal_that_a_new_server_accepts(adopted: Rig) -> None:
    one_server = adopted.sim.configuration(adopted.folder)["providers"]
    one_server["paz"]["servers"] = adopted.sim.urls[:1]
    adopted.more = {"providers": one_server}
    adopted.write()
    assert adopted.run("rotate", SECRET, "--yes").code == 0
    handles = [version["handle"] for version in only(adopted.run("status", "--json"))["valid"]]
    adopted.sim.obey({"lists": {"1": handles}})
    adopted.more = {}
    adopted.write()
    before = adopted.run("audit", "heads", "--json").json["heads"]
    ran = adopted.run("check", "--online", "--json")
    assert len(only(ran)["endpoints"]) == 2
    assert (ran.code, only(ran)["verdict"]) == (0, "ready")
    assert adopted.run("audit", "heads", "--json").json["heads"] == before


def test_check_online_finds_a_foreign_value_in_a_sink(adopted: Rig) -> None:
    (adopted.folder / "custody/sideband.json").write_text(json.dumps({"shared_secret": "put there by somebody"}))
    ran = adopted.run("check", "--online", "--json")
    assert ran.code == 3
    assert "sink-foreign" in {problem["code"] for problem in only(ran)["problems"]}
    assert "put there by somebody" not in ran.out


def test_check_online_warns_of_what_lives_at_the_vendor_and_in_no_journal(adopted: Rig) -> None:
    adopted.sim.world.create("kong-by-hand", "somebody else's value")
    for index in range(2):
        adopted.sim.world.add(index, ["kong-by-hand"])
    ran = adopted.run("check", "--online", "--json")
    found = {problem["code"]: problem for problem in only(ran)["problems"]}
    assert (ran.code, only(ran)["verdict"]) == (0, "warning")
    assert "kong-by-hand" in found["unknown-at-vendor"]["text"]


def test_check_online_before_the_adoption_says_unmanaged(fresh: Rig) -> None:
    ran = fresh.run("check", "--online", "--json")
    assert (ran.code, only(ran)["verdict"]) == (8, "unmanaged")


def test_a_missing_journal_is_an_error_and_never_nothing_to_do(adopted: Rig) -> None:
    (adopted.folder / "state/journal.db").unlink()
    for command in ("check", "status", "plan"):
        ran = adopted.run(command, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (2, "journal-missing")


# history, audit


def test_history_tells_every_event_with_its_operator(holding: Rig) -> None:
    ran = holding.run("history", SECRET)
    lines = ran.out.splitlines()
    assert "version 1 adopted from sink custody" in lines[0]
    assert "version 2: publish" in ran.out
    assert all("(by " in line and line[:2] == "20" for line in lines)


def test_history_shows_the_last_events_and_says_how_many_it_left_out(holding: Rig) -> None:
    document = holding.run("history", SECRET, "--limit", "2", "--json").json
    whole = holding.run("history", SECRET, "--json").json
    assert document["events"] == whole["events"][-2:]
    assert document["left_out"] == len(whole["events"]) - 2


def test_a_misspelt_name_gets_a_suggestion(holding: Rig) -> None:
    for command in ("history", "status", "plan", "check"):
        ran = holding.run(command, "gateway/sidebnd")
        assert (ran.code, f"did you mean {SECRET}?" in ran.err) == (2, True)


def test_audit_verify_names_the_first_broken_link(adopted: Rig) -> None:
    assert adopted.run("audit", "verify").code == 0
    journal(adopted, "DROP TRIGGER IF EXISTS event_no_update", "UPDATE event SET operator = 'nobody' WHERE seq = 1")
    ran = adopted.run("audit", "verify", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (5, "chain-broken")
    assert only(ran, "broken") == {"secret": SECRET, "seq": 1, "reason": "the event was changed"}


def test_a_journal_that_was_cut_off_shows_against_heads_kept_elsewhere(adopted: Rig) -> None:
    for file in ("heads.json", "export.jsonl"):
        what = "heads" if file == "heads.json" else "export"
        assert adopted.run("audit", what, "--out", file).code == 0
        assert adopted.run("audit", "verify", "--heads", file).code == 0
    journal(
        adopted,
        "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)",
        "UPDATE head SET seq = (SELECT max(seq) FROM event), hash = (SELECT hash FROM event ORDER BY seq DESC LIMIT 1)",
    )
    assert adopted.run("audit", "verify").code == 0
    for file in ("heads.json", "export.jsonl"):
        assert adopted.run("audit", "verify", "--heads", file).code == 5


def test_heads_of_another_journal_are_refused(adopted: Rig) -> None:
    (adopted.folder / "heads.json").write_text(json.dumps({"journal": "another", "heads": {}}))
    ran = adopted.run("audit", "verify", "--heads", "heads.json")
    assert (ran.code, "error[heads-unreadable]" in ran.err) == (2, True)


def test_an_export_holds_every_event_and_no_value(holding: Rig) -> None:
    ran = holding.run("audit", "export")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["seq"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert lines[-1]["heads"][SECRET]["seq"] == len(lines) - 1
    assert holding.initial not in ran.out
    assert holding.served not in ran.out


# escrow


def test_escrow_lists_versions_and_never_values(holding: Rig) -> None:
    ran = holding.run("escrow", "list", "--json")
    assert {one["version"] for one in ran.json["sealed"] if one["kind"] == "version"} == {1, 2}
    assert holding.served not in ran.out + holding.run("escrow", "list").out


def test_opening_the_escrow_writes_a_private_file_and_stands_in_the_journal(adopted: Rig) -> None:
    ran = adopted.run("escrow", "open", SECRET, "--out", "value.json", "--reason", "sink is down")
    path = adopted.folder / "value.json"
    assert ran.code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == {"shared_secret": adopted.initial}
    assert adopted.initial not in ran.out + ran.err
    assert "sink is down" in adopted.run("history", SECRET, "--limit", "1").out


def test_the_escrow_never_overwrites_and_never_writes_to_a_terminal(adopted: Rig) -> None:
    for place in ("/dev/stdout", "/dev/tty", "keyturn.yaml"):
        ran = adopted.run("escrow", "open", SECRET, "--out", place, "--reason", "curious")
        assert (ran.code, "error[file-exists]" in ran.err) == (2, True)
        assert adopted.initial not in ran.out
    assert "curious" not in adopted.run("history", SECRET).out


# setting up


def test_init_makes_something_that_check_finds_good_and_keeps_it_private(tmp_path: Path) -> None:
    assert here("init", folder=tmp_path).code == 0
    assert here("check", folder=tmp_path).code == 0
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path, *tmp_path.rglob("*")) if p != tmp_path}
    assert modes == {"keyturn.yaml": 0o600, "state": 0o700, "age.key": 0o600, "journal.db": 0o600}


def test_init_never_overwrites(tmp_path: Path) -> None:
    assert here("init", "--folder", "here", folder=tmp_path).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    ran = here("init", "--folder", "here", folder=tmp_path)
    assert (ran.code, "error[journal-exists]" in ran.err) == (2, True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_init_makes_just_the_journal_where_only_that_is_missing(tmp_path: Path) -> None:
    assert here("init", folder=tmp_path).code == 0
    key = (tmp_path / "state/age.key").read_bytes()
    (tmp_path / "state/journal.db").unlink()
    ran = here("init", "--json", folder=tmp_path)
    assert [Path(made).name for made in ran.json["made"]] == ["journal.db"]
    assert (tmp_path / "state/age.key").read_bytes() == key


def test_the_example_is_a_valid_configuration_of_one_unmanaged_secret(tmp_path: Path) -> None:
    assert here("init", "--example", folder=tmp_path).code == 0
    ran = here("check", "--json", folder=tmp_path)
    assert (ran.code, ran.json["problems"], only(ran)["verdict"]) == (8, [], "unmanaged")


def test_plugins_are_listed_without_being_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom keyturn.cli import main\n"
        "try:\n    main(['plugins'])\nfinally:\n"
        "    assert not [name for name in sys.modules if name.startswith('keyturn_')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"pingauthorize", "file", "dual"} <= set(done.stdout.split())


def test_one_plugin_shows_its_options(tmp_path: Path) -> None:
    document = here("plugins", "--verbose", "provider", "pingauthorize", "--json", folder=tmp_path).json
    assert {"servers", "username", "password"} == {one["name"] for one in document["account"] if one["required"]}


def test_a_plugin_lists_its_commands_and_one_without_any_says_so(tmp_path: Path) -> None:
    listed = here("plugin", "circle", folder=tmp_path)
    assert listed.code == 0
    assert [line.split()[:4] for line in listed.out.splitlines()] == [
        ["keyturn", "plugin", "circle", "canary"],
        ["keyturn", "plugin", "circle", "ciphertext"],
    ]
    for args, code, hint in (
        (("file",), "no-commands", "keyturn --help"),
        (("circle", "cannary"), "no-command", "did you mean canary?"),
        (("circle", "canary"), "secret-needed", "keyturn plugin circle canary NAME"),
        (("circel",), "plugin-unknown", "did you mean circle?"),
    ):
        ran = here("plugin", *args, folder=tmp_path)
        assert (ran.code, f"error[{code}]" in ran.err, f"next: {hint}" in ran.err) == (2, True, True), ran.err


def test_the_schema_knows_the_options_of_every_plugin(tmp_path: Path) -> None:
    assert here("schema", "--out", "schema.json", folder=tmp_path).code == 0
    made = json.loads((tmp_path / "schema.json").read_text())
    assert here("schema", "--json", folder=tmp_path).json["schema"] == made
    assert "name_prefix" in json.dumps(made)


def test_a_simulator_says_where_it_is_and_stops_when_it_is_told(tmp_path: Path) -> None:
    command = [*PROGRAM, "simulate", "pingauthorize", "--option", "servers=1", "--initial", "values.json", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout
            facts = json.loads("".join(iter(child.stdout.readline, "}\n")) + "}")
            assert probe(facts["urls"][0]) == 401
            child.terminate()
            assert child.wait(20) == 0
        finally:
            child.kill()
    with pytest.raises(OSError, match=r"[Rr]efused"):
        probe(facts["urls"][0])
    assert set(json.loads((tmp_path / "values.json").read_text())) == set(facts["initial"])
    assert facts["configuration"]["providers"]["paz"]["servers"] == facts["urls"]


def probe(url: str) -> int:
    """What the simulated Configuration API answers to nobody."""
    from http.client import HTTPConnection  # noqa: PLC0415 - here only

    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    with closing(connection):
        connection.request("GET", "/config/sideband-api-shared-secrets")
        return connection.getresponse().status


def test_a_simulator_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    for args in (["nobody"], ["pingauthorize", "--option", "bad"], ["pingauthorize", "--option", "colour=red"]):
        assert here("simulate", *args, folder=tmp_path).code == 2


def test_help_of_a_looking_command_loads_neither_pydantic_nor_plugins(tmp_path: Path) -> None:
    names = sorted(name for name in COMMANDS if name not in ACTING)
    code = (
        "import sys\nfrom keyturn.cli.app import program\n"
        f"for name in {names}:\n    program.main([name, '--help'], standalone_mode=False)\n"
        "heavy = {'pydantic', 'yaml', 'httpx', 'rich', 'pluggy'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("args", [["demo", "--folder"], ["init", "--folder"], ["schema", "--out"]])
def test_a_place_that_can_not_be_written_is_no_bug(tmp_path: Path, args: list[str]) -> None:
    (tmp_path / "file").write_text("")
    ran = here(*args, str(tmp_path / "file" / "below"), folder=tmp_path)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert "[bug]" not in ran.err


def test_init_with_a_configuration_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    ran = here("init", "--config", "none.yaml", folder=tmp_path)
    assert ran.code == 2
    assert "keyturn init --folder PATH" in ran.err


def test_opening_the_escrow_of_a_name_that_is_no_secret_is_no_bug(holding: Rig) -> None:
    ran = holding.run("escrow", "open", "gateway/sidebandd", "--out", "opened", "--reason", "look")
    assert ran.code == 2
    assert "[no-match]" in ran.err
    assert SECRET in ran.err
