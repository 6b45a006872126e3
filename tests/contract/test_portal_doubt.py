"""Lost, odd and stolen changes at a Layer7 portal: nothing is sent twice, nothing dead is taken for good."""

from __future__ import annotations

import pytest

from contract.layer7_kit import SHORT_S, WAYS, Bench, Benches
from keyturn.api import Doubt, NotSent, Refused, Settled, Verdict

LOST_BEFORE = ["timeout-before", "reset-before", "502:html", "500:empty", "503:html"]
LOST_AFTER = ["timeout-after", "reset-after", "cut", "bad-length", "bad-utf8", "502-after:html", "500-after:empty"]
IN_PLACE = ["patch", "patch, hashed", "put", "put, hashed", "legacy"]
OURS = ["put", "put, hashed", "legacy"]
THEIRS = ["patch, hashed", "second key"]
"""The shared suite loses answers in every way; here they are lost in every manner."""


def ready(one: Bench) -> Bench:
    one.inspect()
    return one


def patience(how: str) -> float:
    return SHORT_S if how.startswith("timeout") else 20.0


@pytest.mark.parametrize("how", LOST_BEFORE)
@pytest.mark.parametrize("way", THEIRS)
def test_what_was_lost_before_the_commit_did_not_happen(bench: Benches, way: str, how: str) -> None:  # 7.5
    one = ready(bench(way))
    one.sim.fault(one.makes, how)
    assert isinstance(one.trouble(patience_s=patience(how)), Doubt)
    assert one.settle().outcome is Settled.NOT_APPLIED
    assert one.sent() == 1
    assert set(one.verdicts(one.old.bundle)) == {Verdict.ACCEPTED}


@pytest.mark.parametrize("how", LOST_AFTER)
@pytest.mark.parametrize("way", THEIRS)
def test_what_was_lost_after_the_commit_is_found(bench: Benches, way: str, how: str) -> None:  # 7.5
    one = ready(bench(way))
    one.sim.fault(one.makes, how)
    assert isinstance(one.trouble(patience_s=patience(how)), Doubt)
    settled = one.settle(raws=False)
    assert settled.outcome is (Settled.APPLIED_GONE if one.way.hashed else Settled.APPLIED)
    assert settled.handle
    assert one.sent() == 1
    if not one.way.hashed:
        assert set(one.verdicts(one.whole(settled.bundle))) == {Verdict.ACCEPTED}


@pytest.mark.parametrize("way", ["patch, hashed", "second key, hashed"])
def test_an_answer_that_was_sealed_is_the_value_though_nobody_read_it(bench: Benches, way: str) -> None:
    one = ready(bench(way))
    answer = one.issue()
    settled = one.settle()
    assert settled.outcome is Settled.APPLIED
    assert settled.bundle["client_secret"].same_as(answer.bundle["client_secret"])
    assert settled.handle == answer.handle


def test_a_sealed_answer_is_void_once_somebody_regenerated(bench: Benches) -> None:  # 7.11
    one = ready(bench("patch"))
    one.issue()
    theirs = one.sim.elsewhere()
    settled = one.settle()
    assert settled.outcome is Settled.APPLIED
    assert settled.bundle.reveal()["client_secret"] == theirs


@pytest.mark.parametrize("how", ["missing", "asterisks", "empty", "old", "no-body"])
@pytest.mark.parametrize("way", ["patch", "patch, hashed", "second key", "second key, hashed"])
def test_an_answer_without_the_new_secret_is_doubt_and_then_found(bench: Benches, way: str, how: str) -> None:  # 7.6
    one = ready(bench(way))
    one.sim.fault(one.makes, f"answer:{how}")
    assert isinstance(one.trouble(), Doubt)
    settled = one.settle()
    assert settled.outcome is (Settled.APPLIED_GONE if one.way.hashed else Settled.APPLIED)
    assert one.sent() == 1


def test_the_old_secret_in_an_answer_is_not_taken_for_a_new_one(bench: Benches) -> None:  # 7.6
    one = ready(bench("patch"))
    one.sim.fault("patch", "answer:old")
    assert one.trouble().code == "old-value"


@pytest.mark.parametrize("way", WAYS)
def test_throttled_means_that_nothing_was_sent(bench: Benches, way: str) -> None:  # 7.1
    one = ready(bench(way))
    one.sim.fault(one.makes, "429:7")
    trouble = one.trouble()
    assert isinstance(trouble, NotSent)
    assert (trouble.code, "wait 7 s" in trouble.why) == ("throttled", True)
    one.issue()


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_proves_nothing(bench: Benches, status: int) -> None:
    one = ready(bench("patch"))
    one.sim.fault("patch", f"{status}:empty")
    assert isinstance(one.trouble(), Doubt)
    assert one.sent() == 1


@pytest.mark.parametrize("status", [404, 405])
def test_a_portal_without_the_call_is_named_and_no_other_way_is_tried(bench: Benches, status: int) -> None:  # 7.8
    one = ready(bench("patch"))
    one.sim.switch(version="5.1", patch_missing=status)
    trouble = one.trouble()
    assert (type(trouble), trouble.code) == (Refused, "no-such-call")
    assert all(way in trouble.hint for way in ("patch", "put", "legacy"))
    assert [
        entry["on"] for entry in one.sim.log.attempts() if entry["on"] in ("put-key", "put-legacy", "post-key")
    ] == []


def test_a_portal_that_ignores_our_secret_is_not_believed(bench: Benches) -> None:  # 7.8
    one = ready(bench("put"))
    one.sim.switch(version="5.2.1+")
    trouble = one.trouble()
    assert (type(trouble), trouble.code) == (Refused, "put-ignored")
    assert "way: patch" in trouble.hint


@pytest.mark.parametrize("how", ["elsewhere", "edited"])
@pytest.mark.parametrize("way", ["patch, hashed", "put, hashed"])
def test_a_key_that_somebody_changed_since_the_look_is_left_alone(bench: Benches, way: str, how: str) -> None:  # 7.11
    one = ready(bench(way))
    one.clock.advance(1)
    (one.sim.elsewhere if how == "elsewhere" else one.sim.edit)()
    trouble = one.trouble()
    assert (type(trouble), trouble.code) == (Refused, "changed-outside")
    assert one.sent() == 0


@pytest.mark.parametrize("way", ["put", "put, hashed"])
def test_a_key_that_somebody_changes_in_the_last_moment_is_not_overwritten(bench: Benches, way: str) -> None:  # 7.11
    one = ready(bench(way))
    one.clock.advance(1)
    one.sim.fault("key", "elsewhere-before", skip=1)  # the look right before it, then the key that is sent back
    trouble = one.trouble()
    assert (type(trouble), trouble.code) == (Refused, "changed-outside")
    assert one.sent() == 0


def test_an_edit_that_leaves_a_shown_secret_alone_does_not_stop_a_change(bench: Benches) -> None:  # 7.11
    one = ready(bench("patch"))
    one.clock.advance(1)
    one.sim.edit()
    assert one.issue().handle


@pytest.mark.parametrize("way", IN_PLACE)
def test_who_changed_the_key_besides_us_is_noticed(bench: Benches, way: str) -> None:  # 7.11
    one = ready(bench(way))
    handle = one.handle()
    assert one.inspect(known=(handle,)).problems == ()
    one.clock.advance(1)
    one.sim.elsewhere()
    (problem,) = one.inspect(known=(handle,)).problems
    # Hashed, the proxies show whether it is another secret, and only once they have heard of it.
    assert (problem.code, problem.fatal, problem.passing) == ("changed-outside", one.way.hashed, one.way.hashed)
    one.clock.advance(one.account.sync)
    (problem,) = one.inspect(known=(handle,)).problems
    assert (problem.code, problem.fatal) == ("changed-outside", False)


def test_somebody_elses_secret_in_between_is_doubt_and_never_ours(bench: Benches) -> None:  # 7.11
    one = ready(bench("patch"))
    one.sim.fault("patch", "elsewhere-after")
    assert one.trouble().code == "changed-outside"
    settled = one.settle()
    assert set(one.verdicts(settled.bundle)) == {Verdict.ACCEPTED}


def test_a_lost_change_and_somebody_elses_leave_neither(bench: Benches) -> None:  # 7.11
    one = ready(bench("put, hashed"))
    one.sim.fault("put-key", "reset-after")
    one.trouble()
    one.clock.advance(1)
    one.sim.elsewhere()
    assert one.settle().outcome is Settled.REPLACED


@pytest.mark.parametrize("way", OURS)
def test_our_own_secret_may_be_sent_again_and_changes_nothing_then(bench: Benches, way: str) -> None:
    one = ready(bench(way))
    first = one.issue()
    one.issue()
    assert one.sent() == 1
    assert one.handle() == first.handle


def test_a_change_that_can_not_be_read_back_still_counts(bench: Benches) -> None:
    one = ready(bench("patch, hashed"))
    one.sim.fault("key", "503:html", times=9, skip=1)  # the look right before it, then every reading back
    answer = one.issue()
    assert set(one.verdicts(one.whole(answer.bundle))) == {Verdict.ACCEPTED}
    assert answer.handle
    assert one.sent() == 1


@pytest.mark.parametrize("way", ["patch", "patch, hashed"])
def test_while_consumers_wait_nothing_but_the_key_is_read_back(bench: Benches, way: str) -> None:
    one = ready(bench(way))
    one.issue()
    calls = [entry["on"] for entry in one.sim.log.attempts()]
    assert calls[calls.index("patch") :] == ["patch", "key"]


def test_a_sealed_answer_of_another_kind_than_the_key_is_void(bench: Benches) -> None:  # 7.11
    one = ready(bench("patch"))
    one.issue()
    one.sim.change(plain=None)  # somebody had it hashed since
    assert one.settle().outcome is Settled.APPLIED_GONE


def test_a_change_that_shows_up_a_moment_later_is_read_back(bench: Benches) -> None:
    one = ready(bench("patch, hashed"))
    one.sim.fault("key", "503:html", times=2, skip=1)
    assert one.issue().handle == one.handle()


def test_a_hashed_change_whose_mark_stands_still_is_told_by_the_proxies(bench: Benches) -> None:
    one = bench("patch, hashed", sync_s=30.0)
    one.sim.switch(patch_moves_time=False)
    one.inspect()
    one.sim.fault("patch", "reset-after")
    one.trouble()
    assert one.settle().outcome is Settled.NOT_APPLIED  # proves nothing yet: looked at again until it is final
    one.clock.advance(31)
    assert one.settle().outcome is Settled.APPLIED_GONE


def test_a_change_that_comes_late_is_found_late(bench: Benches) -> None:  # 7.5
    one = ready(bench("patch"))
    one.sim.fault("patch", "late:30")
    assert isinstance(one.trouble(), Doubt)
    assert one.settle().outcome is Settled.NOT_APPLIED
    one.clock.advance(31)
    assert one.settle().outcome is Settled.APPLIED


@pytest.mark.parametrize("way", WAYS)
def test_a_slow_answer_is_an_answer(bench: Benches, way: str) -> None:  # 7.5
    one = ready(bench(way))
    one.sim.fault(one.makes, "slow:5")
    assert one.issue().handle
