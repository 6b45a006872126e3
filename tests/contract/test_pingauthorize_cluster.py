"""PingAuthorize when the servers of a cluster differ, lag or are misconfigured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.pingauthorize_kit import Bench, running_bench
from keyturn.api import Doubt, Refused, Settled, Verdict
from keyturn_pingauthorize.simulator import FIRST

FOREIGN = "apigee-main"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with running_bench(tmp_path, servers=3) as bench:
        yield bench


def test_inspect_shows_every_server_as_endpoint_and_every_listed_name(bench: Bench) -> None:
    found = bench.inspect()
    assert found.endpoints == tuple(bench.sim.urls)
    assert [(seen.handle, seen.enabled) for seen in found.seen] == [(FIRST, True)]
    assert found.witness[f"listed {bench.sim.urls[2]}"] == FIRST
    assert found.vendor_now
    assert abs(found.vendor_now - bench.context.now()) < 5


def test_the_name_is_added_only_after_every_server_sees_the_object(bench: Bench) -> None:
    bench.sim.switch(mirror_delay_s=0.2)
    bench.issue()
    assert bench.settled() is Settled.APPLIED
    assert all(entry["status"] == 200 for entry in bench.sim.log if entry["on"] == "add")


def test_a_server_that_never_catches_up_leaves_the_old_secret_alone(bench: Bench) -> None:
    bench.sim.switch(stuck=[2])
    with pytest.raises(Doubt, match=bench.sim.urls[2]) as doubt:
        bench.issue()
    assert doubt.value.code == "not-mirrored"
    assert bench.settled() is Settled.PARTLY
    assert bench.verdicts(bench.old_value) == {Verdict.ACCEPTED}
    bench.sim.switch(stuck=[])
    bench.issue()
    assert len(bench.sent("create")) == 1


def test_a_refused_name_is_tried_again_while_mirroring_may_still_lag(bench: Bench) -> None:
    bench.sim.fault("add", "status:400", server=1, times=3)
    bench.issue()
    assert bench.settled() is Settled.APPLIED


def test_without_a_primary_nothing_is_created_and_the_old_secret_serves(bench: Bench) -> None:
    bench.sim.switch(primary_down=True)
    with pytest.raises(Doubt):
        bench.issue()
    assert bench.settled() is Settled.NOT_APPLIED
    bench.sim.switch(primary_down=False, primary=2)
    bench.issue()
    assert bench.settled() is Settled.APPLIED


def test_a_removal_is_done_when_every_server_saw_it(bench: Bench) -> None:
    bench.issue()
    bench.refuse()
    bench.sim.switch(mirror_delay_s=0.2)
    bench.remove()
    assert all(FIRST not in bench.sim.world.objects(index) for index in range(3))


def test_a_server_without_the_name_makes_it_not_enabled_everywhere(bench: Bench) -> None:
    handle = bench.issue().handle
    bench.sim.obey({"lists": {"2": [FIRST]}})
    seen = {each.handle: each for each in bench.inspect().seen}
    assert handle
    assert not seen[handle].enabled
    assert bench.sim.urls[2] in seen[handle].note
    assert bench.settled() is Settled.PARTLY
    assert bench.codes(fatal=False) == {"lists-differ"}
    bench.issue()
    assert bench.settled() is Settled.APPLIED


def test_a_foreign_difference_between_the_lists_stops_a_rotation(bench: Bench) -> None:
    bench.sim.world.create(FOREIGN, "f" * 40)
    bench.sim.obey({"lists": {"1": [FIRST, FOREIGN]}})
    assert bench.codes(fatal=True) == {"lists-differ"}


def test_a_foreign_name_that_is_everywhere_stays_everywhere(bench: Bench) -> None:
    bench.sim.world.create(FOREIGN, "f" * 40)
    bench.sim.obey({"lists": {str(index): [FOREIGN, FIRST] for index in range(3)}})
    handle = bench.issue().handle
    bench.refuse()
    bench.remove()
    assert bench.lists() == [[FOREIGN, handle]] * 3


def test_a_retirement_that_half_happened_is_finished_on_the_other_servers(bench: Bench) -> None:
    handle = bench.issue().handle
    bench.sim.obey({"lists": {"0": [handle]}})
    assert not bench.refuse().already
    assert [server for server, _ in bench.sent("remove")] == [1, 2]


def test_retiring_a_name_that_is_nowhere_is_done_already(bench: Bench) -> None:
    assert bench.refuse("keyturn-20260101-000000000000").already
    assert bench.remove("keyturn-20260101-000000000000").already
    assert bench.sim.log == []


def test_an_empty_list_means_authentication_is_off_and_nothing_is_issued(bench: Bench) -> None:
    bench.sim.obey({"lists": {"1": []}})
    assert "authentication-off" in bench.codes(fatal=True)
    assert bench.probe("made-up", server=1).verdict is Verdict.ACCEPTED
    with pytest.raises(Refused) as refusal:
        bench.issue()
    assert refusal.value.code == "authentication-off"
    assert bench.sim.log == []


def test_an_orphan_of_ours_is_reported_and_not_touched(bench: Bench) -> None:
    handle = bench.issue().handle
    assert handle
    bench.refuse(handle)
    bench.sim.world.create(FOREIGN, "f" * 40)
    assert [p.text for p in bench.inspect().problems] == [f"{handle} is in no list, and is accepted nowhere"]
    assert bench.codes(fatal=True) == set()


def test_an_orphan_on_a_later_page_is_found_too(bench: Bench) -> None:
    handle = bench.issue().handle
    assert handle
    bench.refuse(handle)
    bench.sim.switch(page_size=1)
    assert [p.text for p in bench.inspect().problems] == [f"{handle} is in no list, and is accepted nowhere"]


def test_a_listed_name_without_an_object_is_a_warning(bench: Bench) -> None:
    bench.sim.obey({"lists": {str(index): [FIRST, "ghost"] for index in range(3)}})
    assert bench.codes(fatal=False) == {"secret-unseen"}


@pytest.mark.parametrize(
    ("orders", "code"),
    [
        ({"switches": {"forbidden": "read"}}, "no-privilege"),
        ({"switches": {"server_down": [1]}}, "unreachable"),
        ({"faults": [{"on": "read", "how": "html", "server": 1}]}, "not-json"),
        ({"faults": [{"on": "read", "how": "status:500", "server": 1}]}, "http-500"),
        ({"faults": [{"on": "read", "how": "status:404", "server": 1}]}, "extension-missing"),
        ({"faults": [{"on": "read", "how": "status:415", "server": 1}]}, "http-415"),
    ],
)
def test_a_server_that_can_not_be_read_stops_a_rotation(bench: Bench, orders: dict[str, object], code: str) -> None:
    bench.sim.obey(orders)
    problems = [problem for problem in bench.inspect().problems if problem.fatal]
    assert {problem.code for problem in problems} == {code}
    assert all(problem.hint for problem in problems)


def test_a_wrong_password_is_told_without_showing_it(bench: Bench) -> None:
    bench.environment["PAZ_PASSWORD"] = "wrong-canary"
    problems = bench.inspect().problems
    assert {problem.code for problem in problems} == {"not-authenticated"}
    assert "wrong-canary" not in repr(problems)


def test_a_header_that_gateways_do_not_send_stops_a_rotation(tmp_path: Path) -> None:
    with running_bench(tmp_path, header="PDG-TOKEN") as bench:
        assert bench.codes(fatal=True) == {"header-mismatch"}
        bench.sim.obey({"headers": {"0": "pdg-token", "1": "PDG-TOKEN"}})
        assert bench.codes() == set()


def test_the_value_is_probed_in_the_header_that_the_server_names(bench: Bench) -> None:
    bench.sim.obey({"headers": {"1": "PDG-TOKEN"}})
    assert bench.verdicts(bench.old_value) == {Verdict.ACCEPTED}
