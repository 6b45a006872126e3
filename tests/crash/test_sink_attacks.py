"""Sinks under attack: what proxies, older and other journals, and operators do to a place, and what holds."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.harbour import FIELDS, POLICY, VALUE, Harbour, harbour
from crash.town import FIRST, SECRET, Town, town, write_private
from keyturn.cli.estate import open_estate
from keyturn.engine.operator import pause
from keyturn.engine.record.state import SecretState, VersionState
from keyturn.engine.rounds import carry_out, scan
from keyturn.states import State
from keyturn.testing.proxy import On, answer
from keyturn_aws.simulator import StrictFake
from keyturn_aws.simulator_world import Call
from keyturn_vault.simulator import OpenBao

pytestmark = pytest.mark.sweep


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        yield server


@pytest.fixture(scope="module")
def aws() -> Iterator[StrictFake]:
    with StrictFake() as fake:
        yield fake


@pytest.fixture
def one(tmp_path: Path, bao: OpenBao, aws: StrictFake) -> Iterator[Harbour]:
    with harbour(tmp_path / "harbour", bao, aws) as built:
        yield built


@pytest.fixture
def fresh(tmp_path: Path, bao: OpenBao, aws: StrictFake) -> Iterator[Harbour]:
    """Nothing is adopted yet."""
    with harbour(tmp_path / "harbour", bao, aws, adopted=False) as built:
        yield built


def by_token(one: Harbour, bao: OpenBao) -> None:
    """Vault lets the runner in by a token, so that no login notices who answers."""
    write_private(one.folder / "state" / "token", bao.token(POLICY))
    login = {"token": "file:state/token"}
    one.configure(lambda config: config["sinks"]["vault"].update(auth=login))


# A proxy that answers in the server's place


def test_a_404_that_is_not_the_servers_is_no_empty_place(one: Harbour, bao: OpenBao) -> None:
    by_token(one, bao)
    for body in ("default backend - 404", '{"message": "no Route matched with those values"}', ""):
        one.vault_line.clear()
        one.vault_line.fault("answer", On(), times=None, answer=answer(404, body))
        refused = one.rotate()
        assert (refused.exit_code, "is this the server, or a proxy?" in str(refused)) == (3, True), refused
    assert one.pending() == []


def test_a_write_that_a_proxy_answers_with_404_was_not_written_and_is_made_again(one: Harbour, bao: OpenBao) -> None:
    by_token(one, bao)
    switch = On("POST", r"/kv/data/place")
    one.vault_line.fault("answer", switch, times=None, answer=answer(404, '{"errors": []}'))
    left = one.rotate()
    assert (left.exit_code, "a 404, which the server never answers" in getattr(left, "text", "")) == (6, True), left
    one.vault_line.clear()
    assert one.finish()[-1] == "done"
    assert len(set(one.values().values())) == 1


# Adoption: it never changes what consumers read


def test_adopting_a_plain_text_in_aws_is_refused_and_its_readers_still_read_it(fresh: Harbour, aws: StrictFake) -> None:
    value = fresh.served()
    fresh.file.unlink()
    fresh.configure(lambda config: renamed(config["secrets"][SECRET]["sinks"], "aws", "value"))
    ask = {"Name": fresh.place, "SecretString": value, "ClientRequestToken": "a" * 32}
    aws.world.perform(Call(operation="CreateSecret", ask=ask, access_key=aws.access_key_id))
    refused = fresh.keyturn("adopt", SECRET, "--from-sink", "aws", "--handle", FIRST)
    assert (refused.returncode, "aws-other-form" in refused.stderr) == (3, True), refused.stderr
    assert fresh.aws_says("GetSecretValue")["SecretString"] == value


def test_adopting_a_number_in_vault_is_refused_and_its_readers_still_read_a_number(
    fresh: Harbour, bao: OpenBao
) -> None:
    fresh.file.unlink()
    bao.call("POST", f"kv/data/{fresh.place}", {"options": {"cas": 0}, "data": {FIELDS["vault"]: 1234567890}})
    refused = fresh.keyturn("adopt", SECRET, "--from-sink", "vault", "--handle", FIRST)
    assert (refused.returncode, "holds values that are no texts" in refused.stderr) == (3, True), refused.stderr
    assert bao.call("GET", f"kv/data/{fresh.place}")["data"]["data"] == {FIELDS["vault"]: 1234567890}


def renamed(sinks: list[dict[str, object]], to: str, field: str) -> None:
    for sink in sinks:
        if sink["to"] == to:
            sink["fields"] = {field: VALUE}


def test_an_adoption_that_one_sink_did_not_take_says_that_it_was_adopted_and_what_repairs_it(fresh: Harbour) -> None:
    denied = answer(403, '{"errors": ["permission denied"]}')
    fresh.vault_line.fault("answer", On("POST", r"/kv/data/place"), times=None, answer=denied)
    adopted = fresh.keyturn("adopt", SECRET, "--from-sink", "gateway", "--handle", FIRST)
    said = adopted.stdout + adopted.stderr
    assert (adopted.returncode, "adopted as version 1" in said, "nothing was changed" in said) == (5, True, False), said
    assert json.loads(fresh.aws_says("GetSecretValue")["SecretString"]) == {FIELDS["aws"]: fresh.served()}
    fresh.vault_line.clear()
    assert fresh.keyturn("repair", SECRET).returncode == 0
    assert len(set(fresh.values().values())) == 1


# Repair


def test_one_place_that_can_not_be_repaired_does_not_keep_the_others_from_it(one: Harbour, bao: OpenBao) -> None:
    value = one.served()
    bao.call("DELETE", f"kv/metadata/{one.place}")
    one.file.unlink()
    denied = answer(403, '{"errors": ["permission denied"]}')
    one.vault_line.fault("answer", On("POST", r"/kv/data/place"), times=None, answer=denied)
    partly = one.keyturn("repair", SECRET)
    assert one.served() == value
    said = partly.stdout + partly.stderr
    assert (partly.returncode, "nothing was changed" in said, "repaired: gateway" in said) == (5, False, True), said
    one.vault_line.clear()
    assert one.keyturn("repair", SECRET).returncode == 0
    assert one.values() == dict.fromkeys(FIELDS, value)


def test_an_older_copy_of_the_journal_repairs_nothing(tmp_path: Path) -> None:
    with town(tmp_path, secret={"overlap": {"strategy": "dual", "hold": "1h"}}) as one:
        one.adopt()
        done = one.keyturn("rotate", SECRET, "--yes")
        assert done.returncode == 0, done.stderr
        copy = one.folder / "backup"
        shutil.copytree(one.folder / "state", copy)
        value = gone_back(one)
        shutil.rmtree(one.folder / "state")
        copy.rename(one.folder / "state")
        refused = one.keyturn("repair", SECRET)
        assert (refused.returncode, "it is an older copy" in refused.stderr) == (3, True), refused.stderr
        assert one.served() == value
        assert one.accepted(value) == [True, True]


def gone_back(one: Town) -> str:
    """Roll back to version 1 and let version 2 die."""
    for command in (["rollback", SECRET], ["hold", SECRET, "--end"]):
        done = one.keyturn(*command, "--reason", "test")
        assert done.returncode == 0, done.stderr
    assert one.run_until_quiet() == "current"
    return one.served()


# Versions that have fields in common


def test_what_two_versions_have_in_common_is_told_as_the_current_one_and_not_as_one_that_was_undone() -> None:
    def version(number: int, state: State) -> VersionState:
        prints = {"user": "same", "password": f"differs {number}"}
        return VersionState(id=f"v{number}", number=number, state=state, made_at=0.0, fingerprints=prints)

    versions = {one.id: one for one in (version(1, State.CURRENT), version(2, State.RETIRED))}
    found = SecretState(secret=SECRET, versions=versions).by_fingerprints({"name": "same"}, {"name": "user"})
    assert found is versions["v1"]


# A round that takes long


def test_a_secret_that_is_paused_after_the_round_began_is_not_rotated_in_it(tmp_path: Path) -> None:
    with town(tmp_path, secret={"rotate": {"every": "1d", "from": "2020-01-01", "min_age": "0s"}}) as one:
        one.adopt()
        value = one.served()
        estate = open_estate(str(one.config))
        try:
            jobs = {SECRET: estate.job(SECRET)}
            work = scan(jobs.values(), estate.summaries(), estate.journal.now() + 400 * 86400)
            assert [piece.what for piece in work] == ["rotate"]
            pause(estate.bench, jobs[SECRET], until=estate.journal.now() + 3600, reason="test")
            outcomes = carry_out(estate.bench, jobs, work, rotations_max=9, stopping=threading.Event().is_set)
            assert list(outcomes) == []
        finally:
            estate.close()
        assert one.served() == value


# Rollback, and two journals


def test_a_rollback_is_served_by_all_three_sinks_and_leaves_nothing_pending(one: Harbour) -> None:
    one.configure(lambda config: config["secrets"][SECRET]["overlap"].update(hold="1h"))
    first = one.values()
    assert one.keyturn("rotate", SECRET, "--yes").returncode == 0
    assert one.values() != first
    gone_back(one)
    assert (one.values(), one.pending()) == (first, [])
    assert one.accepted(first["vault"]) == [True, True]


def test_a_value_that_another_journal_may_have_written_is_said_to_be_that_with_its_journal(
    one: Harbour, bao: OpenBao
) -> None:
    entry = json.dumps({"v": "theirs", "n": 7, "j": "another-journal", "m": {}})
    bao.call("PATCH", f"kv/metadata/{one.place}", {"custom_metadata": {"keyturn-0123": entry}})
    bao.call("POST", f"kv/data/{one.place}", {"options": {"cas": 1}, "data": {FIELDS["vault"]: "theirs"}})
    said = one.keyturn("check", "--online").stdout
    assert "another-journal (version 7)" in said, said
