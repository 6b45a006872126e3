"""Sahamati with lost answers: reading tells the truth, and a reset is never sent twice for one rotation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.sahamati_kit import SHORT_S, Bench, running_bench, same
from keyturn.api import Bundle, Doubt, IssueResponse, NotSent, PluginError, Refused, Settled, Verdict
from keyturn_sahamati.simulator import NEVER_EXPIRED, NEW_MEMBER

COMMITTED = (
    *("timeout-after", "reset-after", "500-after:empty", "502-after:html", "504-after:html"),
    *("cut-json", "bad-length", "bad-utf8", "302-after", f"slow:{2 * SHORT_S}"),
)
"""Contract 5, 9.1, 9.4 and 9.22."""
NOT_COMMITTED = ("timeout-before", "reset-before", "500:empty", "502:html", "503:html", "302")
"""Contract 5 and 9.2."""


@pytest.fixture
def bench() -> Iterator[Bench]:
    with running_bench() as bench:
        bench.inspect()
        yield bench


def doubt(bench: Bench, how: str = "") -> None:
    """A reset whose answer is lost; patience is short only where no answer will come."""
    if how:
        bench.sim.fault("reset", how)
    with pytest.raises(Doubt):
        bench.issue(patience_s=SHORT_S if how.startswith(("timeout", "slow")) else None)


@pytest.mark.parametrize("how", COMMITTED)
def test_a_reset_that_took_effect_is_found_by_reading_and_never_sent_again(bench: Bench, how: str) -> None:
    doubt(bench, how)
    bench.fresh()
    found = bench.settle()
    assert found.outcome is Settled.APPLIED
    assert same(found.bundle, bench.current())
    assert found.expires_at == pytest.approx(bench.clock.now() + 180 * 86_400, abs=2)
    assert bench.probe(found.bundle).verdict is Verdict.ACCEPTED
    assert bench.resets() == [bench.attempts[0].id]
    assert bench.committed() == 1


@pytest.mark.parametrize("how", NOT_COMMITTED)
def test_a_reset_without_effect_stays_so_and_one_more_may_be_sent(bench: Bench, how: str) -> None:
    doubt(bench, how)
    for _ in range(5):
        assert bench.settled() is Settled.NOT_APPLIED
        bench.clock.advance(24.0)
    assert bench.probe(bench.old).verdict is Verdict.ACCEPTED
    made = bench.issue()
    assert same(made.bundle, bench.current())
    assert bench.committed() == 1


def test_an_answer_just_within_the_patience_is_an_answer(bench: Bench) -> None:
    bench.sim.fault("reset", f"slow:{SHORT_S}")
    assert same(bench.issue(patience_s=4 * SHORT_S).bundle, bench.current())


def test_a_reset_that_takes_effect_late_is_found_by_looking_on(bench: Bench) -> None:
    doubt(bench, "late:60")
    assert bench.settled() is Settled.NOT_APPLIED
    assert bench.settled_within(Settled.APPLIED)
    assert same(bench.settle().bundle, bench.current())
    assert set(bench.resets()) == {bench.attempts[0].id}
    assert bench.committed() == 1


def test_a_crash_between_answer_and_escrow_loses_nothing(bench: Bench) -> None:
    made = bench.issue()
    bench.context.sealed.clear()
    bench.fresh()
    found = bench.settle()
    assert found.outcome is Settled.APPLIED
    assert same(found.bundle, made.bundle)
    assert found.expires_at == made.expires_at
    assert bench.committed() == 1


def test_the_raw_answer_is_sealed_under_the_attempt_before_it_is_parsed(bench: Bench) -> None:
    doubt(bench, "bad-utf8")
    (attempt,) = bench.attempts
    assert list(bench.context.sealed) == [attempt.id]
    assert bench.context.sealed[attempt.id][0].reveal().startswith('{"ver"')


# reading that does not help


def test_a_copy_that_lags_behind_the_answer_does_not_outrank_it(bench: Bench) -> None:
    bench.sim.switch(read_lag_s=1_000.0)
    made = bench.issue()
    found = bench.settle()
    assert found.outcome is Settled.APPLIED
    assert same(found.bundle, made.bundle)


def test_a_copy_that_lags_is_asked_until_it_has_caught_up(bench: Bench) -> None:
    bench.sim.switch(read_lag_s=60.0)
    doubt(bench, "reset-after")
    assert bench.settled() is Settled.NOT_APPLIED
    assert bench.settled_within(Settled.APPLIED)
    assert bench.committed() == 1


@pytest.mark.parametrize("down", ["read", "after-reset"])
def test_an_outage_after_the_reset_leaves_it_unknown_until_it_ends(bench: Bench, down: str) -> None:
    bench.sim.switch(down=down)
    doubt(bench, "reset-after")
    assert bench.settled() is Settled.UNKNOWN
    bench.sim.switch(down="")
    assert bench.settled() is Settled.APPLIED
    assert bench.committed() == 1


def test_a_whole_answer_that_was_sealed_counts_while_reading_fails(bench: Bench) -> None:
    made = bench.issue()
    bench.sim.switch(down="all")
    found = bench.settle()
    assert found.outcome is Settled.APPLIED
    assert same(found.bundle, made.bundle)


def test_an_answer_with_a_broken_byte_is_never_taken_for_the_secret(bench: Bench) -> None:
    doubt(bench, "bad-utf8")
    bench.sim.switch(down="all")
    assert bench.settled() is Settled.UNKNOWN


def test_without_a_witness_nothing_is_guessed(bench: Bench) -> None:
    doubt(bench, "reset-after")
    bench.witness = {}
    assert bench.settled() is Settled.UNKNOWN


@pytest.mark.parametrize("witness", [{}, {"expires_on": "1780215305"}])
def test_without_a_witness_no_reset_is_sent(bench: Bench, witness: dict[str, str]) -> None:
    bench.witness = witness
    with pytest.raises(NotSent) as told:
        bench.issue()
    assert told.value.code == "no-witness"
    assert "keyturn check --online" in told.value.hint
    assert bench.resets() == []


# answers that break the contract


@pytest.mark.parametrize("answers", ["missing", "empty"])
def test_an_answer_without_a_secret_is_doubt_and_reading_brings_it(bench: Bench, answers: str) -> None:
    bench.sim.switch(reset_answers=answers)
    doubt(bench)
    found = bench.settle()
    assert found.outcome is Settled.APPLIED
    assert same(found.bundle, bench.current())
    assert bench.committed() == 1


def test_the_old_secret_as_an_answer_is_doubt_and_counts_as_not_reset(bench: Bench) -> None:
    bench.sim.switch(reset_answers="same")
    doubt(bench)
    found = bench.settle()
    assert found.outcome is Settled.NOT_APPLIED
    assert "another expiry" in found.note
    assert bench.probe(bench.old).verdict is Verdict.ACCEPTED


def test_an_answer_about_another_entity_is_doubt_and_never_adopted(bench: Bench) -> None:
    bench.sim.switch(other_entity=True)
    doubt(bench)
    assert bench.settled() is Settled.UNKNOWN
    bench.sim.switch(other_entity=False)
    found = bench.settle()
    assert found.outcome is Settled.APPLIED
    assert same(found.bundle, bench.current())


def test_another_transaction_id_is_accepted_and_noted(bench: Bench) -> None:
    bench.sim.switch(echo_txn=False)
    bench.issue()
    assert [event for event, _ in bench.context.notes] == ["txn-id-differs"]


# refused, throttled, old tokens


@pytest.mark.parametrize("how", ["400", "401", "403", "403:empty", "403:html", "404", "410:html"])
def test_a_clean_refusal_says_that_nothing_was_reset(bench: Bench, how: str) -> None:
    bench.clock.advance(61.0)  # the token is then minted in the very call, so that no other would do better
    bench.sim.fault("reset", how)
    with pytest.raises(Refused):
        bench.issue()
    assert bench.settled() is Settled.NOT_APPLIED
    assert bench.committed() == 0


@pytest.mark.parametrize("how", ["429:7", "429:date", "429:none"])
def test_a_throttled_reset_was_not_processed(bench: Bench, how: str) -> None:
    bench.sim.fault("reset", how)
    with pytest.raises(NotSent) as told:
        bench.issue()
    assert told.value.code == "throttled"
    assert ("wait 7 s" in told.value.why) == (how == "429:7")
    assert bench.committed() == 0


@pytest.mark.parametrize("bad_token", ["401", "401:empty", "403", "403:empty", "403:html"])
def test_a_user_token_that_ended_before_the_reset_is_replaced_and_nothing_lost(bench: Bench, bad_token: str) -> None:
    bench.sim.switch(bad_token=bad_token)
    bench.sim.obey({"revoke": "user-tokens"})
    with pytest.raises(NotSent):
        bench.issue()
    assert bench.asked("user-token") == 1
    assert isinstance(bench.issue(), IssueResponse)
    assert bench.asked("user-token") == 2
    assert bench.committed() == 1


def test_one_user_token_serves_a_look_and_the_reset_after_it(bench: Bench) -> None:
    bench.clock.advance(60.0)
    bench.issue()
    assert bench.asked("user-token") == 1


def test_a_reset_takes_a_user_token_from_just_before_it(bench: Bench) -> None:
    bench.clock.advance(61.0)
    bench.issue()
    assert bench.asked("user-token") == 2


def test_an_unreachable_service_is_never_in_doubt(bench: Bench) -> None:
    bench.sim.stop()
    with pytest.raises(NotSent):
        bench.issue()


# others at work


def test_an_outside_reset_between_our_look_and_our_reset_is_no_harm(bench: Bench) -> None:
    bench.sim.fault("reset", "portal-before")
    assert same(bench.issue().bundle, bench.current())


def test_a_lost_answer_and_an_outside_reset_end_with_the_secret_that_is_accepted(bench: Bench) -> None:
    doubt(bench, "reset-after")
    bench.sim.portal_reset()
    found = bench.settle()
    assert found.outcome is Settled.APPLIED
    assert bench.probe(found.bundle).verdict is Verdict.ACCEPTED


def test_an_outside_reset_outranks_an_answer_of_ours_that_was_sealed(bench: Bench) -> None:
    bench.issue()
    bench.sim.portal_reset()
    assert same(bench.settle().bundle, bench.current())


@pytest.mark.parametrize("how", [None, "reset-after"])
@pytest.mark.parametrize("entity", [NEW_MEMBER, NEVER_EXPIRED])
@pytest.mark.parametrize("null_form", ["null", "absent"])
def test_the_first_reset_of_a_member_works_without_any_expiry_before(
    null_form: str, entity: str, how: str | None
) -> None:
    with running_bench(entity=entity) as bench:
        bench.sim.switch(null_form=null_form)
        look = bench.inspect(current=entity == NEVER_EXPIRED, want_value=True)
        assert look.problems == ()
        assert look.expires_at is None
        assert (look.bundle is None) == (entity == NEW_MEMBER)
        if how:
            doubt(bench, how)
        made: Bundle = bench.settle().bundle if how else bench.issue().bundle
        assert same(made, bench.current())
        assert bench.inspect().expires_at == pytest.approx(bench.clock.now() + 180 * 86_400, abs=2)
        assert bench.committed() == 1


@pytest.mark.parametrize("seed", range(8))
def test_a_hostile_service_gets_one_reset_for_one_rotation(bench: Bench, seed: int) -> None:
    bench.sim.obey({"hostile": seed})
    made = _stubbornly(bench)
    bench.sim.obey({"clear": True})
    assert same(made, bench.current())
    assert bench.committed() == 1


def _stubbornly(bench: Bench) -> Bundle:
    """What an engine does: send, and after a doubt look until the truth is final."""
    for _ in range(50):
        try:
            return bench.issue().bundle
        except Doubt:
            if bench.settled_within(Settled.APPLIED):
                return _again(bench)
        except PluginError:
            bench.clock.advance(1.0)
    raise AssertionError("no end to it")


def _again(bench: Bench) -> Bundle:
    """Look until it answers."""
    for _ in range(50):
        found = bench.settle()
        if found.outcome is Settled.APPLIED:
            return found.bundle
    raise AssertionError("no end to it")
