"""One secret in three sinks, and the sinks in trouble: rotations end later by themselves, nothing is lost or left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from crash.harbour import FIELDS, Harbour, harbour, publish_through
from crash.town import FIRST, SECRET
from keyturn.engine.outcome import Outcome
from keyturn.errors import KeyturnError
from keyturn.testing.proxy import On, Plan, Seen, answer
from keyturn_aws.simulator import StrictFake
from servers.openbao import DurableOpenBao

pytestmark = pytest.mark.sweep

SEALED = "is sealed"
STAGE, SWITCH = "POST kv/data/keyturn-pending/*", "POST kv/data/*"
THROTTLED = json.dumps({"__type": "ThrottlingException", "Message": "Rate exceeded"})


@pytest.fixture(scope="module")
def keeper() -> Iterator[ThreadPoolExecutor]:
    """The thread that starts the server: it ends with whoever started it, so not with a proxy's."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def bao(keeper: ThreadPoolExecutor) -> Iterator[DurableOpenBao]:
    with DurableOpenBao() as server:
        yield server


@pytest.fixture(scope="module")
def aws() -> Iterator[StrictFake]:
    with StrictFake() as fake:
        yield fake


@pytest.fixture
def one(tmp_path: Path, bao: DurableOpenBao, aws: StrictFake) -> Iterator[Harbour]:
    with harbour(tmp_path / "harbour", bao, aws) as built:
        yield built


def same_everywhere(one: Harbour) -> str:
    """The value that all three sinks serve."""
    values = one.values()
    assert len(set(values.values())) == 1, "the sinks serve different values"
    return values["gateway"]


def rotated_once(one: Harbour, old: str, written: tuple[int, int], where: str = "") -> None:
    """The promises, once all is quiet: all sinks serve a new value, written once; old is dead; nothing is pending."""
    new = same_everywhere(one)
    assert new != old, where
    assert (one.accepted(new), one.accepted(old)) == ([True, True], [False, False]), where
    assert one.written() == (written[0] + 1, written[1] + 1), f"{where}: written twice, or never"
    assert one.pending() == [], where
    assert one.status() == "current", where


def nothing_lost(one: Harbour, where: str = "") -> None:
    """At any moment: what a sink serves is accepted by the vendor."""
    for sink, value in one.values().items():
        assert one.accepted(value) == [True, True], f"{where}: {sink} serves a value that is refused"


# Three sinks


def test_a_secret_is_served_by_three_sinks_each_in_its_own_shape_and_status_shows_each(one: Harbour) -> None:
    old = same_everywhere(one)
    done = one.keyturn("rotate", SECRET, "--yes")
    assert done.returncode == 0, done.stderr
    new = one.served()
    assert one.everywhere() == {sink: {field: new} for sink, field in FIELDS.items()}
    rotated_once(one, old, (1, 1))
    shown = json.loads(one.keyturn("status", "--json").stdout)
    places = {place["place"].partition(":")[0]: place["state"] for place in shown["secrets"][0]["sinks"]}
    assert places == dict.fromkeys(FIELDS, "published")
    said = one.keyturn("status").stdout
    assert all(f"{sink}:" in said for sink in FIELDS)
    assert one.leaks(new) == one.leaks(old) == []


# OpenBao killed


def the_calls_of_a_rotation(one: Harbour) -> list[Seen]:
    """What Vault is asked in a rotation without trouble."""
    before = len(one.vault_line.log)
    assert ended(one.rotate()) == "done"
    return [entry.seen for entry in one.vault_line.log[before:]]


def ended(outcome: object) -> str:
    assert isinstance(outcome, Outcome), outcome
    return outcome.status


def said(outcome: Outcome | KeyturnError) -> str:
    """What the operator is told."""
    return outcome.text if isinstance(outcome, Outcome) else str(outcome)


def shape(seen: Seen, place: str) -> str:
    """What kind of call this is."""
    return f"{seen.method} {seen.path.removeprefix('/v1/').replace(place, '*')}"


@dataclass
class Once:
    """A hook of Vault's proxy that acts once: at the first request that fits, from now on."""

    fits: Callable[[Seen], bool]
    act: Callable[[], object]
    acted: bool = False

    def __call__(self, seen: Seen) -> None:
        if not self.acted and self.fits(seen):
            self.acted = True
            self.act()


def at_call(one: Harbour, kind: str, act: Callable[[], object]) -> Once:
    """At the first call of this kind."""
    return Once(lambda seen: shape(seen, one.place) == kind, act)


def at_number(one: Harbour, number: int, act: Callable[[], object]) -> Once:
    """At the n-th call from now on."""
    last = max(entry.seen.number for entry in one.vault_line.log)
    return Once(lambda seen: seen.number == last + number, act)


def behave(one: Harbour) -> None:
    for line in (one.vault_line, one.aws_line):
        line.clear()
        line.before = line.after = lambda _: None
        line.start()


def test_killed_and_started_again_between_any_two_calls_the_rotation_ends_in_that_run_or_the_next(
    one: Harbour, bao: DurableOpenBao, keeper: ThreadPoolExecutor
) -> None:
    calls = len(the_calls_of_a_rotation(one))
    for number in range(1, calls + 1, 3):
        old, written = same_everywhere(one), one.written()

        def restart() -> None:
            bao.kill9()
            keeper.submit(bao.start).result()

        one.vault_line.after = hook = at_number(one, number, restart)
        outcome = one.rotate()
        behave(one)
        assert hook.acted
        nothing_lost(one, f"call {number}")
        if not isinstance(outcome, Outcome):
            one.rotate()
        one.finish()
        rotated_once(one, old, written, f"call {number}")


def test_killed_at_any_kind_of_call_and_down_until_the_run_has_ended_the_next_run_finishes(
    one: Harbour, bao: DurableOpenBao
) -> None:
    the_calls_of_a_rotation(one)
    kinds = dict.fromkeys(shape(seen, one.place) for seen in the_calls_of_a_rotation(one))
    assert len(kinds) > 8
    for kind in kinds:
        old, written = same_everywhere(one), one.written()

        def pull_the_plug() -> None:
            bao.kill9()
            one.vault_line.stop()

        one.vault_line.before = hook = at_call(one, kind, pull_the_plug)
        outcome = one.rotate()
        assert hook.acted, kind
        bao.start()
        behave(one)
        nothing_lost(one, kind)
        if not isinstance(outcome, Outcome):
            assert outcome.exit_code == 3, kind
            one.rotate()
        one.finish()
        rotated_once(one, old, written, kind)


# Login, seal, throttle, names, keys


def test_a_token_revoked_in_the_middle_is_replaced_by_a_new_login_and_the_run_goes_on(
    one: Harbour, bao: DurableOpenBao
) -> None:
    old, written, heard = same_everywhere(one), one.written(), len(one.vault_line.log)
    one.vault_line.before = at_call(
        one, SWITCH, lambda: bao.call("POST", "sys/leases/revoke-prefix/auth/approle/login")
    )
    assert ended(one.rotate()) == "done"
    rotated_once(one, old, written)
    logins = [entry for entry in one.vault_line.log[heard:] if entry.seen.path.endswith("/login")]
    assert len(logins) == 2
    failed = [event for event in one.events() if event.data.get("outcome", "done") not in ("done", "already")]
    assert failed == [], "the sink itself logs in again"


def test_a_sealed_vault_refuses_to_begin_and_one_sealed_on_the_way_leaves_the_rest_to_the_next_run(
    one: Harbour, bao: DurableOpenBao
) -> None:
    old, written = same_everywhere(one), one.written()
    bao.seal()
    refused = one.keyturn("rotate", SECRET, "--yes")
    assert (refused.returncode, SEALED in refused.stderr) == (3, True), refused.stderr
    bao.unseal()
    assert one.values() == dict.fromkeys(FIELDS, old)
    one.vault_line.before = at_call(one, SWITCH, bao.seal)
    left = one.keyturn("rotate", SECRET, "--yes")
    assert (left.returncode, SEALED in left.stdout + left.stderr) == (6, True), left.stdout + left.stderr
    bao.unseal()
    assert one.values()["vault"] == old, "one failing sink is repaired alone"
    assert one.values()["aws"] == one.values()["gateway"] != old
    behave(one)
    assert one.run_until_quiet() == "current"
    rotated_once(one, old, written)


def test_throttled_for_the_whole_run_it_is_named_and_finishes_when_the_throttling_ends(one: Harbour) -> None:
    old, written = same_everywhere(one), one.written()
    switch = On(header=r"X-Amz-Target: .*UpdateSecretVersionStage")
    one.aws_line.fault("answer", switch, times=None, answer=answer(400, THROTTLED))
    left = one.rotate()
    assert (left.exit_code, "throttles secretsmanager:UpdateSecretVersionStage" in said(left)) == (6, True), left
    nothing_lost(one)
    assert one.values()["vault"] == one.values()["gateway"] != old
    behave(one)
    assert one.finish()[-1] == "done"
    rotated_once(one, old, written)


def test_a_name_that_does_not_resolve_is_named_and_nothing_has_begun(one: Harbour) -> None:
    old, written = same_everywhere(one), one.written()

    def wrong(config: dict[str, dict[str, dict[str, str]]]) -> None:
        config["sinks"]["vault"]["url"] = "https://vault.invalid:8200"

    right = one.config.read_text()
    one.configure(wrong)
    refused = one.rotate()
    assert (refused.exit_code, "no connection to https://vault.invalid:8200" in said(refused)) == (3, True), refused
    assert one.values() == dict.fromkeys(FIELDS, old)
    one.config.write_text(right)
    assert ended(one.rotate()) == "done"
    rotated_once(one, old, written)


def test_a_denied_key_is_named_and_undone_and_the_next_rotation_works(one: Harbour, aws: StrictFake) -> None:
    old, written = same_everywhere(one), one.written()
    one.aws_line.fault(
        "answer",
        On(header=r"X-Amz-Target: .*PutSecretValue"),
        times=None,
        answer=answer(400, json.dumps({"__type": "EncryptionFailure", "Message": "the key can not be used"})),
    )
    undone = one.rotate()
    assert (undone.exit_code, "KMS" in said(undone)) == (4, True), undone
    assert one.values() == dict.fromkeys(FIELDS, old)
    assert one.pending() == []
    behave(one)
    assert ended(one.rotate()) == "done"
    rotated_once(one, old, written)


# Lost answers


VAULT_WRITES = (
    ("PATCH", r"/kv/metadata/"),
    ("POST", r"/kv/data/keyturn-pending/"),
    ("POST", r"/kv/data/place"),
    ("POST", r"/kv/destroy/"),
    ("DELETE", r"/kv/metadata/keyturn-pending/"),
    ("POST", r"/auth/approle/login"),
)
AWS_WRITES = (("PutSecretValue", 1), *(("UpdateSecretVersionStage", nth) for nth in (1, 2, 3)), ("TagResource", 1))


def test_the_lost_answer_of_any_write_to_vault_is_settled_by_looking_and_nothing_is_written_twice(
    one: Harbour,
) -> None:
    the_calls_of_a_rotation(one)
    for method, path in VAULT_WRITES:
        lost_and_settled(one, one.vault_line.fault("cut_after", On(method, path)), f"{method} {path}")


def test_the_lost_answer_of_any_write_to_aws_is_settled_by_looking_and_nothing_is_written_twice(one: Harbour) -> None:
    the_calls_of_a_rotation(one)
    for operation, nth in AWS_WRITES:
        on = On(header=rf"X-Amz-Target: .*\.{operation}$")
        lost_and_settled(one, one.aws_line.fault("cut_after", on, nth=nth), f"{operation} {nth}")


def lost_and_settled(one: Harbour, plan: Plan, where: str) -> None:
    old, written = same_everywhere(one), one.written()
    outcome = one.rotate()
    assert plan.hits == 1, f"{where} was never sent"
    nothing_lost(one, where)
    if not isinstance(outcome, Outcome):
        one.rotate()
    one.finish()
    rotated_once(one, old, written, where)


def test_the_lost_answer_of_a_first_write_is_settled_by_looking(
    tmp_path: Path, bao: DurableOpenBao, aws: StrictFake
) -> None:
    with harbour(tmp_path / "harbour", bao, aws, adopted=False) as one:
        lost = (
            one.vault_line.fault("cut_after", On("POST", r"/kv/data/place")),
            one.aws_line.fault("cut_after", On(header=r"X-Amz-Target: .*\.CreateSecret$")),
        )
        adopted = one.keyturn("adopt", SECRET, "--from-sink", "gateway", "--handle", FIRST)
        assert adopted.returncode in (0, 5), adopted.stderr
        for _ in lost:
            repaired = one.keyturn("repair", SECRET)
        assert repaired.returncode == 0, repaired.stderr
        assert [plan.hits for plan in lost] == [1, 1]
        assert one.written() == (1, 1)
        assert same_everywhere(one) == one.sim.initial[SECRET]["bundle"]["shared_secret"]


# Somebody else writes


@pytest.mark.parametrize("moment", [STAGE, SWITCH])
def test_a_foreign_write_into_one_sink_is_named_the_others_publish_and_put_right_it_finishes(
    one: Harbour, bao: DurableOpenBao, moment: str
) -> None:
    old, written = same_everywhere(one), one.written()

    def write(value: str, cas: int) -> None:
        data = {"data": {FIELDS["vault"]: value}, "options": {"cas": cas}}
        bao.call("POST", f"kv/data/{one.place}", data)

    one.vault_line.before = at_call(one, moment, lambda: write("somebody-elses", written[0]))
    stuck = one.keyturn("rotate", SECRET, "--yes")
    assert stuck.returncode == 5, stuck.stdout + stuck.stderr
    [named] = [line for line in stuck.stderr.splitlines() if "that Keyturn did not write" in line][-1:]
    assert f"vault:127.0.0.1:{one.vault_line.port}" in named
    assert "aws:" not in named
    assert one.values()["aws"] == one.values()["gateway"] != old
    assert one.values()["vault"] == "somebody-elses"
    assert one.accepted(old) == [True, True], "nothing is retired while a sink does not serve the new one"
    behave(one)
    write(old, written[0] + 1)
    assert one.keyturn("resume", SECRET).returncode == 0
    rotated_once(one, old, (written[0] + 2, written[1]))


# Speed


def test_all_sinks_are_switched_at_the_same_time(tmp_path: Path, bao: DurableOpenBao, aws: StrictFake) -> None:
    with harbour(tmp_path / "harbour", bao, aws, far=True) as one:
        assert ended(one.rotate()) == "done"
        took = publish_through(one, 0.05)
    assert len(took.switches) == 3
    assert max(each.at for each in took.switches) < min(each.until for each in took.switches), f"in turn: {took}"
    assert took.phase_s < took.sum_s, took
