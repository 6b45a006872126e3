"""PingAuthorize when nothing goes wrong, and when it must refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.pingauthorize_kit import Bench, running_bench
from keyturn.api import Call, Doubt, Half, InspectRequest, Refused, RetireRequest, Settled, Verdict
from keyturn_pingauthorize.options import Account, Target, name_for, subject, traits
from keyturn_pingauthorize.simulator import FIRST


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with running_bench(tmp_path) as bench:
        yield bench


def test_old_and_new_are_accepted_side_by_side_until_the_old_one_is_refused(bench: Bench) -> None:
    assert bench.inspect().problems == ()
    handle = bench.issue().handle
    assert handle
    assert bench.verdicts(bench.value) == bench.verdicts(bench.old_value) == {Verdict.ACCEPTED}
    assert not bench.refuse().already
    assert bench.verdicts(bench.value) == {Verdict.ACCEPTED}
    assert bench.verdicts(bench.old_value) == {Verdict.REFUSED}
    assert not bench.remove().already
    assert bench.lists() == [[handle], [handle]]
    assert bench.sim.world.objects(1).keys() == {handle}


def test_the_oracle_and_the_probe_agree(bench: Bench) -> None:
    bench.issue()
    for value in (bench.value, bench.old_value, "made-up"):
        accepted = bench.sim.accepts(bench.sim.urls[0], value)
        assert bench.probe(value).verdict is (Verdict.ACCEPTED if accepted else Verdict.REFUSED)


def test_a_name_tells_its_day_and_is_found_again_without_an_answer(bench: Bench) -> None:
    assert re.fullmatch(r"keyturn-\d{8}-[0-9a-f]{12}", str(bench.issue().handle))
    assert name_for("018f0000-0000-7000-8000-0123456789ab", "kong") == "kong-20240421-0123456789ab"
    assert bench.settle().handle == bench.issue().handle


def test_every_verb_may_be_repeated_and_sends_nothing_twice(bench: Bench) -> None:
    first = bench.issue()
    assert bench.issue().handle == first.handle
    assert [bench.refuse().already, bench.refuse().already] == [False, True]
    assert [bench.remove().already, bench.remove().already] == [False, True]
    assert [len(bench.sent(on)) for on in ("create", "add", "remove", "delete")] == [1, 2, 2, 1]


def test_a_removed_name_can_be_added_again_until_its_object_is_deleted(bench: Bench) -> None:
    handle = bench.issue().handle
    assert handle
    bench.refuse(handle)
    assert bench.verdicts(bench.value) == {Verdict.REFUSED}
    assert bench.issue().handle == handle
    assert bench.verdicts(bench.value) == {Verdict.ACCEPTED}


def test_the_last_secret_of_a_list_is_never_removed(bench: Bench) -> None:
    with pytest.raises(Refused) as refusal:
        bench.refuse()
    assert refusal.value.code == "last-secret"
    assert bench.sim.log == []


def test_a_list_that_would_be_emptied_on_one_server_stays_whole_on_all(bench: Bench) -> None:
    handle = str(bench.issue().handle)
    bench.sim.obey({"lists": {"1": [FIRST]}})
    with pytest.raises(Refused) as refusal:
        bench.refuse()
    assert refusal.value.code == "last-secret"
    assert bench.lists() == [[FIRST, handle], [FIRST]]


def test_a_list_that_somebody_else_empties_meanwhile_is_told_as_authentication_off(bench: Bench) -> None:
    handle = bench.issue().handle
    bench.sim.fault("remove", f"foreign-remove:{handle}", server=0)
    with pytest.raises(Doubt) as doubt:
        bench.refuse()
    assert doubt.value.code == "authentication-off"


def test_an_object_that_is_still_listed_is_not_deleted(bench: Bench) -> None:
    bench.issue()
    with pytest.raises(Refused, match=re.escape(bench.sim.urls[0])) as refusal:
        bench.remove()
    assert refusal.value.code == "still-referenced"
    assert bench.sent("delete") == []


def test_a_delete_that_the_vendor_refuses_names_the_server_that_still_lists_it(bench: Bench) -> None:
    bench.issue()
    bench.refuse()
    bench.sim.fault("delete", f"foreign-add:{FIRST}")
    with pytest.raises(Refused, match=re.escape(bench.sim.urls[0])) as refusal:
        bench.remove()
    assert refusal.value.code == "still-referenced"


@pytest.mark.parametrize("name", ["", ".", "..", 'a" or "b', "a,b", "a\nb", "a\\b"])
@pytest.mark.parametrize("half", list(Half))
def test_a_handle_that_could_mean_more_than_itself_is_refused(bench: Bench, name: str, half: Half) -> None:
    bench.sim.obey({"lists": {"0": [FIRST, name], "1": [FIRST, name]} if half is Half.REFUSE else {}})
    with pytest.raises(Refused) as refusal:
        bench.provider.retire(RetireRequest(call=bench.call(), handle=name, half=half))
    assert refusal.value.code == "unsafe-name"
    assert bench.sim.log == []


def test_an_adopted_name_with_blanks_is_retired_like_any_other(bench: Bench) -> None:
    name = "Kong EU 100%/old"
    bench.sim.world.create(name, "x" * 40)
    bench.sim.obey({"lists": {"0": [FIRST, name], "1": [FIRST, name]}})
    assert not bench.refuse(name).already
    assert not bench.remove(name).already
    assert bench.sim.world.objects(0).keys() == {FIRST}


@pytest.mark.parametrize("dialect", ["go", "documented"])
@pytest.mark.parametrize("urn_prefix", ["pingidentity", "unboundid"])
def test_both_dialects_and_urn_prefixes_rotate(tmp_path: Path, dialect: str, urn_prefix: str) -> None:
    with running_bench(tmp_path, dialect=dialect, urn_prefix=urn_prefix) as bench:
        bench.sim.switch(dialects=dialect, urn_prefix=urn_prefix, post_status=201, delete_status=200)
        _rotate(bench)


@pytest.mark.parametrize(
    "switches",
    [
        {"readd_is_error": True},
        {"masked": True},
        {"absent_when_empty": False},
        {"status_as_number": True},
        {"id_in_401": False},
        {"denies": True},
    ],
    ids=lambda switches: next(iter(switches)),
)
def test_servers_that_differ_where_the_vendor_is_vague_rotate_all_the_same(
    bench: Bench, switches: dict[str, object]
) -> None:
    bench.sim.switch(**switches)
    _rotate(bench)


def test_a_server_that_needs_no_apply_change_to_rotates_without_it(tmp_path: Path) -> None:
    with running_bench(tmp_path, apply_change_to="none") as bench:
        with pytest.raises(Refused, match="applyChangeTo"):
            bench.issue()
        bench.sim.switch(require_apply_change_to=False)
        _rotate(bench)


def test_a_required_action_is_told_and_the_probe_decides(bench: Bench) -> None:
    bench.sim.switch(required_actions=True, inactive_until_restart=True)
    bench.issue()
    assert ("required-action", {"server": bench.sim.urls[0], "action": "restart the server"}) in bench.notes
    assert bench.verdicts(bench.value) == {Verdict.REFUSED}
    bench.sim.obey({"restart": [0, 1]})
    assert bench.verdicts(bench.value) == {Verdict.ACCEPTED}


def test_two_gateways_share_an_extension_under_two_prefixes(bench: Bench) -> None:
    account = bench.account
    assert subject(account, Target(name_prefix="kong")) != subject(account, Target(name_prefix="apigee"))
    turned = Account(**{**account.model_dump(), "servers": account.servers[::-1]})
    assert subject(turned, Target()) == subject(account, None)


def test_a_generated_value_never_looks_obscured_or_like_an_option(bench: Bench) -> None:
    recipe = traits(bench.account, None).fields[0].recipe
    assert recipe
    assert (recipe.forbid_prefix, recipe.length) == ("AA", 43)
    assert "-" not in recipe.alphabet


@pytest.mark.parametrize(
    "wrong",
    [
        {"servers": []},
        {"servers": ["https://a.example", "https://a.example/"]},
        {"servers": ["http://paz.example"]},
        {"sideband": ["https://a.example", "https://b.example"]},
        {"name_prefix": "Kong_EU"},
        {"password": "hunter2"},
        {"extensions": "Sideband API"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_options_are_refused_without_showing_a_value(wrong: dict[str, object]) -> None:
    right = {"servers": ["https://a.example"], "username": "env:PAZ_USER", "password": "env:PAZ_PASSWORD"}
    assert Account.model_validate(right)
    with pytest.raises(ValueError, match="validation error") as error:
        Account.model_validate({**right, **wrong})
    assert "hunter2" not in str(error.value)


def test_a_call_without_time_left_sends_nothing(bench: Bench) -> None:
    bench.deadline_s = -1.0
    assert bench.settled() is Settled.UNKNOWN
    call: Call = bench.call()
    problems = bench.provider.inspect(InspectRequest(call=call)).problems
    assert {problem.code for problem in problems} == {"deadline-passed"}


def _rotate(bench: Bench) -> None:
    handle = bench.issue().handle
    assert bench.verdicts(bench.value) == bench.verdicts(bench.old_value) == {Verdict.ACCEPTED}
    bench.refuse()
    bench.remove()
    assert bench.verdicts(bench.old_value) == {Verdict.REFUSED}
    assert bench.lists() == [[handle], [handle]]
