"""Changes that a person at the portal has to approve (contract 2, 7.3, 7.4): a 2xx that is only a request."""

from __future__ import annotations

import pytest

from contract.layer7_kit import WAYS, Bench, Benches
from keyturn.api import Half, NotSent, Refused, Settled, Verdict


def untold(name: str) -> bool:
    """Whether nobody is told the value once it is approved."""
    return WAYS[name].hashed and WAYS[name].target["way"] in ("patch", "second-key")


def asked(bench: Benches, way: str, **switches: object) -> Bench:
    """A rotation that waits for an approval."""
    one = bench(way, approval="administrator" if untold(way) else "wait")  # not one after all
    one.sim.switch(approve_edits=True, **switches)
    one.inspect()
    answer = one.issue()
    assert answer.waiting
    assert answer.handle is None
    return one


@pytest.mark.parametrize("way", WAYS)
def test_a_work_flow_stops_a_rotation_unless_the_account_says_wait(bench: Benches, way: str) -> None:
    one = bench(way)
    one.sim.switch(approve_edits=True)
    assert one.problems() == {"approval-workflow": True}
    assert one.trouble().code == "approval-workflow"
    assert one.sent() == 0


@pytest.mark.parametrize("way", [name for name in WAYS if untold(name)])
def test_a_hashed_secret_that_the_portal_makes_is_never_asked_for_where_it_has_to_be_approved(
    bench: Benches, way: str
) -> None:
    one = bench(way, approval="wait")
    one.sim.switch(approve_edits=True)
    (problem,) = one.inspect().problems
    assert (problem.code, problem.fatal) == ("approval-workflow", True)
    assert "nobody is told the value" in problem.text
    assert one.trouble().code == "approval-workflow"
    assert one.sent() == 0


@pytest.mark.parametrize(("way", "status"), [*((way, 202) for way in WAYS), ("patch", 200), ("second key", 200)])
def test_a_2xx_that_is_only_a_request_waits(bench: Benches, way: str, status: int) -> None:
    one = asked(bench, way, pending_answers=status)
    settled = one.settle()
    assert settled.outcome is Settled.NOT_APPLIED
    assert settled.waiting
    assert one.sim.pending[0] in settled.waiting.text
    assert settled.waiting.until == one.attempts[0].sent_at + 7 * 86_400
    assert set(one.verdicts(one.old.bundle)) == {Verdict.ACCEPTED}


@pytest.mark.parametrize("way", WAYS)
def test_what_was_accepted_is_found(bench: Benches, way: str) -> None:
    one = asked(bench, way)
    one.clock.advance(60)
    one.sim.review("accept")
    settled = one.settle()
    gone = untold(way)
    assert settled.outcome is (Settled.APPLIED_GONE if gone else Settled.APPLIED)
    assert settled.waiting is None
    if not gone:
        assert set(one.verdicts(one.whole(settled.bundle))) == {Verdict.ACCEPTED}


@pytest.mark.parametrize("way", WAYS)
def test_what_was_rejected_did_not_happen(bench: Benches, way: str) -> None:
    one = asked(bench, way)
    one.clock.advance(60)
    one.sim.review("reject")
    settled = one.settle()
    assert (settled.outcome, settled.waiting) == (Settled.NOT_APPLIED, None)
    assert set(one.verdicts(one.old.bundle)) == {Verdict.ACCEPTED}
    assert [seen.handle for seen in one.inspect().seen] == [one.old.handle]


def test_a_new_key_whose_secret_came_with_the_request_is_ours_once_it_is_accepted(bench: Benches) -> None:
    one = asked(bench, "second key, hashed", pending_post="shown")
    assert [seen.handle for seen in one.inspect().seen] == [one.old.handle]
    one.sim.review("accept")
    settled = one.settle()
    assert settled.outcome is Settled.APPLIED
    assert set(one.verdicts(settled.bundle)) == {Verdict.ACCEPTED}


@pytest.mark.parametrize("how", ["reset-after", "cut"])
@pytest.mark.parametrize("way", ["patch", "second key"])
def test_a_lost_answer_to_a_request_is_found_to_be_one(bench: Benches, way: str, how: str) -> None:
    one = bench(way, approval="wait")
    one.sim.switch(approve_edits=True)
    one.inspect()
    one.sim.fault(one.makes, how)
    one.trouble()
    assert one.settle().waiting


@pytest.mark.parametrize("locked", [400, 409, 423])
@pytest.mark.parametrize("way", ["put", "second key"])
def test_nothing_is_sent_while_somebodys_request_is_open(bench: Benches, way: str, locked: int) -> None:
    one = asked(bench, way, locked=locked)
    (problem,) = one.inspect().problems
    assert (problem.code, problem.fatal, problem.passing) == ("request-pending", True, True)
    assert isinstance(one.trouble(), Refused)
    assert one.sent() == 1


@pytest.mark.parametrize("locked", [400, 409, 423])
def test_a_request_that_came_in_between_is_the_portals_to_refuse(bench: Benches, locked: int) -> None:
    one = bench("patch")
    one.inspect()
    one.sim.fault("patch", f"{locked}")
    assert isinstance(one.trouble(), Refused)


@pytest.mark.parametrize(("way", "approval"), [("patch", "wait"), *((way, "administrator") for way in WAYS)])
def test_an_administrators_client_waits_for_nobody(bench: Benches, way: str, approval: str) -> None:
    one = bench(way, approval=approval)
    one.sim.switch(approve_edits=True, administrator=True)
    one.inspect()
    assert one.issue().handle


@pytest.mark.parametrize("half", Half)
def test_ending_a_key_that_waits_for_approval_is_tried_again_later(bench: Benches, half: Half) -> None:
    one = bench("second key")
    spare, _ = one.sim.add_key(name="spare")
    if half is Half.REMOVE:
        one.retire(spare)
    one.sim.switch(approve_edits=True, approve_deletes=True)
    for _ in range(2):
        with pytest.raises(NotSent) as caught:
            one.retire(spare, half)
        assert caught.value.code == "approval-pending"
    assert len(one.sim.pending) == 1
    one.sim.review("accept")
    assert one.retire(spare, half).already


def test_a_setting_that_can_not_be_read_stops_nothing(bench: Benches) -> None:
    one = bench("patch")
    one.sim.fault("settings", "404", skip=1, times=1)
    assert one.problems() == {}
