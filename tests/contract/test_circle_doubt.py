"""Circle: answers that are lost, late, or not to be believed; a pair that was shown; who else rotated. Never twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from contract.circle_kit import FIELD, FILE, SHORT_S, Bench, revealed, running_bench, sent_twice
from keyturn.api import Bundle, Doubt, Mode, NotSent, Refused, Secret, Settled, Verdict

LOST_BEFORE = ["timeout-before", "reset-before", "500:empty", "502:html", "503:json", "code:-1"]
LOST_AFTER = ["timeout-after", "reset-after", "cut", "bad-length", "500-after:empty", "502-after:html", "replayed"]
NO_FILE = ["answer:missing", "answer:empty", "answer:not-base64", "answer:truncated", "answer:html", "answer:no-data"]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with running_bench() as bench:
        yield bench
        assert sent_twice(bench.sim) == [], "a ciphertext was sent twice"


@pytest.fixture
def unregistered() -> Iterator[Bench]:
    """Nobody has a wallet yet, so that it is asked with wallet sets."""
    with running_bench(registered=False, canary=False, probe="wallet-set") as bench:
        yield bench
        assert sent_twice(bench.sim) == [], "a ciphertext was sent twice"


@pytest.fixture
def console() -> Iterator[Bench]:
    with running_bench(way="console") as bench:
        bench.sim.switch(rest="off")
        yield bench
        assert sent_twice(bench.sim) == [], "a ciphertext was sent twice"


def lose(bench: Bench, on: str, how: str) -> Doubt:
    """One call whose answer is lost, or not to be believed."""
    bench.sim.switch(hang_s=SHORT_S)
    bench.sim.fault(on, how)
    bench.patience_s = SHORT_S if how.startswith("timeout") else bench.patience_s
    with pytest.raises(Doubt) as told:
        bench.reset(bench.sim.recovery_file) if on == "reset" else bench.issue()
    bench.patience_s = 20.0
    return told.value


# rotate


@pytest.mark.parametrize("how", LOST_BEFORE)
def test_a_rotation_that_was_lost_on_the_way_is_not_applied_and_costs_no_bad_attempt(bench: Bench, how: str) -> None:
    bench.inspect()
    lose(bench, "rotate", how)
    assert bench.settled() is Settled.NOT_APPLIED
    assert bench.bad() == 0
    answer = bench.issue()
    assert bench.in_force(bench.new)
    assert revealed(answer.bundle) == bench.sim.recovery_file


@pytest.mark.parametrize("how", LOST_AFTER)
def test_a_rotation_whose_answer_was_lost_is_applied_and_its_file_is_missing(bench: Bench, how: str) -> None:
    bench.inspect()
    lose(bench, "rotate", how)
    settled = bench.settle()
    assert settled.outcome is Settled.APPLIED
    assert settled.handle == bench.witness["app_id"]
    assert FILE not in settled.bundle
    assert len(bench.commits()) == 1
    assert bench.bad() == 1, "the old secret is asked about once"


@pytest.mark.parametrize("how", NO_FILE)
def test_an_answer_without_a_whole_file_is_a_doubt_that_settles_as_applied_without_it(bench: Bench, how: str) -> None:
    bench.inspect()
    lose(bench, "rotate", how)
    settled = bench.settle()
    assert settled.outcome is Settled.APPLIED
    assert FILE not in settled.bundle


@pytest.mark.parametrize("how", ["answer:missing", "answer:empty", "answer:not-base64"])
def test_without_a_file_it_is_done_where_the_file_is_optional(how: str) -> None:
    with running_bench(recovery_file="optional") as bench:
        bench.inspect()
        bench.sim.fault("rotate", how)
        answer = bench.issue()
        assert not answer.bundle
        assert answer.handle == bench.witness["app_id"]


@pytest.mark.parametrize("code", [-1, 156004, 156013, 156015, 156016, 156018, 156019, 156020, 424242])
def test_a_refusal_that_may_be_the_second_answer_leaves_it_in_doubt(bench: Bench, code: int) -> None:
    bench.inspect()
    error = lose(bench, "rotate", f"code-after:{code}")
    assert str(code) in error.why
    assert bench.settled() is Settled.APPLIED


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("code:3", "api-key-rights"),
        ("code:401", "api-key-refused"),
        ("code:156006", "wrong-environment"),
        ("code:156007", "api-key-refused"),
        ("code:2", "request-rejected"),
        ("code:404", "no-such-call"),
        ("404:html", "no-such-call"),
        ("405:empty", "no-such-call"),
    ],
)
def test_a_refusal_of_key_or_call_changes_nothing_and_says_what_to_do(bench: Bench, how: str, code: str) -> None:
    bench.inspect()
    bench.sim.fault("rotate", how)
    with pytest.raises(Refused) as told:
        bench.issue()
    assert told.value.code == code
    assert told.value.hint
    assert bench.settled() is Settled.NOT_APPLIED


@pytest.mark.parametrize("rest", ["off", "405"])
def test_no_other_path_is_ever_tried(bench: Bench, rest: str) -> None:
    bench.sim.switch(rest=rest)
    bench.inspect()
    before = len(bench.asked())
    with pytest.raises(Refused) as told:
        bench.issue()
    assert told.value.code == "no-such-call"
    assert "way: console" in told.value.hint
    assert len(bench.asked()) == before + 1


@pytest.mark.parametrize("how", ["429:7", "429:none", "429:date"])
def test_a_throttled_call_was_not_made(bench: Bench, how: str) -> None:
    bench.inspect()
    bench.sim.fault("rotate", how)
    with pytest.raises(NotSent, match="429") as told:
        bench.issue()
    assert told.value.code == "throttled"
    assert bench.settled() is Settled.NOT_APPLIED


def test_a_replaying_proxy_is_seen_through(bench: Bench) -> None:
    """It delivers the call twice: our own success, then `ciphertext reused`, which is what comes through."""
    bench.sim.switch(replay=True)
    bench.inspect()
    with pytest.raises(Doubt, match="156004"):
        bench.issue()
    assert bench.settled() is Settled.APPLIED
    assert len(bench.commits()) == 1


def test_late_then_refused_is_applied(bench: Bench) -> None:
    """The first call commits late; a second one, sent after it was seen not applied, is refused: the first one won."""
    bench.inspect()
    lose(bench, "rotate", "late:90")
    bench.clock.advance(80.0)
    assert bench.settled() is Settled.NOT_APPLIED
    bench.clock.advance(20.0)
    with pytest.raises(Doubt, match="156013"):
        bench.issue()
    assert bench.settled() is Settled.APPLIED
    assert len(bench.commits()) == 1


def test_an_answer_that_was_sealed_gives_the_file_after_a_crash(bench: Bench) -> None:
    bench.inspect()
    bench.issue()
    bench.fresh()
    settled = bench.settle()
    assert settled.outcome is Settled.APPLIED
    assert revealed(settled.bundle) == bench.sim.recovery_file


def test_a_sealed_answer_counts_where_asking_proves_nothing(bench: Bench) -> None:
    bench.inspect()
    bench.issue()
    bench.sim.switch(down="sign")
    settled = bench.settle()
    assert settled.outcome is Settled.APPLIED
    assert "asking proves nothing" in settled.note
    assert revealed(settled.bundle) == bench.sim.recovery_file


@pytest.mark.parametrize("how", ["156001", "156023", "156027", "no-signature", "empty-signature"])
def test_what_proves_nothing_settles_nothing_and_says_what_was_answered(bench: Bench, how: str) -> None:
    bench.inspect()
    lose(bench, "rotate", "reset-after")
    bench.sim.switch(sign_answers=how)
    settled = bench.settle()
    assert settled.outcome is Settled.UNKNOWN
    assert (how if how.isdigit() else "nothing was made") in settled.note


def test_without_a_probe_nothing_is_asked_and_nothing_is_known() -> None:
    with running_bench(probe="none") as bench:
        assert bench.inspect().endpoints == ()
        lose(bench, "rotate", "reset-after")
        before = len(bench.asked())
        settled = bench.settle()
        assert settled.outcome is Settled.UNKNOWN
        assert "probe: none" in settled.note
        assert len(bench.asked()) == before


# who else rotated


def test_neither_in_force_is_found_out_with_three_bad_attempts_at_the_end(bench: Bench) -> None:
    bench.inspect()
    lose(bench, "rotate", "reset-before")
    bench.sim.console_elsewhere()
    settled = bench.settle(final=True)
    assert settled.outcome is Settled.REPLACED
    assert bench.bad() == 3
    assert len(bench.asked("public-key")) > 1, "the key is fetched anew before anybody is called"


def test_the_old_secret_is_not_asked_about_again_before_the_end(bench: Bench) -> None:
    bench.inspect()
    lose(bench, "rotate", "reset-before")
    bench.sim.console_elsewhere()
    for _ in range(4):
        assert bench.settled() is Settled.REPLACED
        bench.clock.advance(10.0)
    assert bench.bad() == 5, "the old one once, the new one each time"


def test_both_in_force_is_waited_out_and_counts_as_applied_at_the_end(bench: Bench) -> None:
    bench.sim.switch(old_lives_s=300.0)
    bench.inspect()
    lose(bench, "rotate", "reset-after")
    assert bench.settled() is Settled.NOT_APPLIED
    settled = bench.settle(final=True)
    assert settled.outcome is Settled.APPLIED
    assert "both" in settled.note


def test_a_new_secret_that_takes_a_while_is_found_in_the_end(bench: Bench) -> None:
    bench.sim.switch(new_waits_s=30.0)
    bench.inspect()
    lose(bench, "rotate", "reset-after")
    assert bench.settled() is Settled.REPLACED
    bench.clock.advance(31.0)
    assert bench.settled() is Settled.APPLIED


def test_a_replaced_server_key_is_noticed_before_anybody_is_called(bench: Bench) -> None:
    bench.inspect()
    lose(bench, "rotate", "reset-before")
    bench.sim.switch(key_calls=1)
    bench.fresh()
    assert bench.settled() is Settled.NOT_APPLIED
    assert bench.bad() == 1
    assert bench.probe(bench.current).verdict is Verdict.ACCEPTED


def test_circle_wanting_a_rotation_first_stops_everything(bench: Bench) -> None:
    bench.inspect()
    lose(bench, "rotate", "reset-before")
    bench.sim.switch(rotate_first=True)
    settled = bench.settle(final=True)
    assert settled.outcome is Settled.UNKNOWN
    assert "156019" in settled.note


def test_without_the_old_value_a_refused_new_one_tells_too_little(bench: Bench) -> None:
    bench.inspect()
    lose(bench, "rotate", "reset-before")
    assert bench.current
    bench.current = replace(bench.current, bundle=Bundle())
    assert bench.settled() is Settled.UNKNOWN


# register


def test_the_first_secret_is_registered_with_its_file(unregistered: Bench) -> None:
    bench = unregistered
    bench.inspect(mode=Mode.FIRST)
    answer = bench.issue()
    assert bench.in_force(bench.new)
    assert revealed(answer.bundle) == bench.sim.recovery_file
    assert answer.handle == bench.witness["app_id"]


@pytest.mark.parametrize("how", LOST_BEFORE)
def test_a_registration_that_was_lost_on_the_way_is_not_applied(unregistered: Bench, how: str) -> None:
    bench = unregistered
    bench.inspect(mode=Mode.FIRST)
    lose(bench, "register", how)
    assert bench.settled(mode=Mode.FIRST, final=True) is Settled.NOT_APPLIED
    bench.issue()
    assert bench.in_force(bench.new)


@pytest.mark.parametrize("how", LOST_AFTER)
def test_a_registration_whose_answer_was_lost_is_applied(unregistered: Bench, how: str) -> None:
    bench = unregistered
    bench.inspect(mode=Mode.FIRST)
    lose(bench, "register", how)
    assert bench.settled(mode=Mode.FIRST) is Settled.APPLIED


def test_a_lost_registration_without_a_wallet_says_how_to_ask() -> None:
    with running_bench(registered=False, canary=False) as bench:
        bench.inspect(mode=Mode.FIRST)
        lose(bench, "register", "reset-after")
        settled = bench.settle(mode=Mode.FIRST)
        assert settled.outcome is Settled.UNKNOWN
        assert "probe: wallet-set" in settled.note
        bench.configure(probe="wallet-set")
        assert bench.settled(mode=Mode.FIRST) is Settled.APPLIED


def test_a_registration_that_somebody_else_made_first_is_replaced(unregistered: Bench) -> None:
    """`already set` alone does not say whose secret it is (contract 7): that is asked at once."""
    bench = unregistered
    bench.inspect(mode=Mode.FIRST)
    bench.sim.console_elsewhere()
    with pytest.raises(Refused, match="156015") as told:
        bench.issue()
    assert "keyturn adopt" in told.value.hint
    assert bench.settled(mode=Mode.FIRST, final=True) is Settled.REPLACED


def test_a_second_registration_of_ours_is_the_first_one(unregistered: Bench) -> None:
    bench = unregistered
    bench.inspect(mode=Mode.FIRST)
    lose(bench, "register", "late:5")
    bench.clock.advance(6.0)
    with pytest.raises(Doubt, match="156015"):
        bench.issue()
    assert bench.settled(mode=Mode.FIRST) is Settled.APPLIED


def test_a_current_secret_of_unknown_value_is_never_registered_over(bench: Bench) -> None:
    bench.inspect()
    assert bench.current
    bench.current = replace(bench.current, bundle=Bundle())
    with pytest.raises(Refused) as told:
        bench.issue()
    assert told.value.code == "current-unknown"
    assert "keyturn recover" in told.value.hint
    assert bench.asked("register", "rotate") == []


# reset


def test_a_reset_needs_the_file_in_force_and_gives_a_renewed_one(bench: Bench) -> None:
    bench.inspect()
    before = bench.sim.recovery_file
    answer = bench.reset(before)
    assert bench.in_force(bench.new)
    assert revealed(answer.bundle) == bench.sim.recovery_file != before


@pytest.mark.parametrize("how", LOST_BEFORE)
@pytest.mark.parametrize("known", [True, False])
def test_a_reset_that_was_lost_on_the_way_is_not_applied(bench: Bench, how: str, known: bool) -> None:
    bench.inspect()
    if not known:
        bench.current = None
    lose(bench, "reset", how)
    assert bench.settled(mode=Mode.BREAK_GLASS, final=True) is Settled.NOT_APPLIED
    bench.reset(bench.sim.recovery_file)
    assert bench.in_force(bench.new)


@pytest.mark.parametrize("how", LOST_AFTER)
@pytest.mark.parametrize("known", [True, False])
def test_a_reset_whose_answer_was_lost_is_applied(bench: Bench, how: str, known: bool) -> None:
    bench.inspect()
    if not known:
        bench.current = None
    lose(bench, "reset", how)
    assert bench.settled(mode=Mode.BREAK_GLASS) is Settled.APPLIED
    assert len(bench.commits()) == 1


def test_a_file_that_is_refused_changed_nothing_and_says_so(bench: Bench) -> None:
    bench.inspect()
    old = bench.sim.recovery_file
    bench.sim.console_elsewhere()
    with pytest.raises(Refused, match="156018") as told:
        bench.reset(old)
    assert "newest" in told.value.hint
    assert bench.settled(mode=Mode.BREAK_GLASS, final=True) is Settled.NOT_APPLIED


@pytest.mark.parametrize("file", [None, "", "made up", "<html>"])
def test_what_is_no_recovery_file_is_never_sent(bench: Bench, file: str | None) -> None:
    bench.inspect()
    before = len(bench.asked())
    with pytest.raises(Refused) as told:
        bench.reset(file)
    assert told.value.code == "recovery-file-malformed"
    assert "recover" in told.value.hint
    assert len(bench.asked()) == before


# the Console


def test_a_pair_is_shown_and_nothing_is_sent(console: Bench) -> None:
    bench = console
    bench.inspect()
    before = len(bench.asked())
    answer = bench.issue()
    assert answer.waiting
    assert answer.waiting.wants == (FILE,)
    assert answer.waiting.until == bench.clock.now() + bench.account.patience
    assert {len(one.reveal()) for one in answer.waiting.show.values()} == {344}
    assert len(bench.asked()) == before
    for words in ("Rotate Entity Secret", "Configurator", "current_ciphertext", "new_ciphertext", "recovery file"):
        assert words in answer.waiting.text
    assert "protect it like a password" in answer.waiting.text


def test_the_person_who_pastes_it_is_noticed_and_the_file_is_taken(console: Bench) -> None:
    bench = console
    bench.inspect()
    waiting = bench.issue().waiting
    assert waiting
    unused = bench.settle()
    assert unused.outcome is Settled.NOT_APPLIED
    assert unused.waiting
    assert unused.waiting.until == waiting.until
    file = bench.click(waiting)
    assert bench.settled() is Settled.APPLIED
    bench.supplied = Bundle({FILE: f"{file}\n"})
    settled = bench.settle()
    assert revealed(settled.bundle) == file
    assert settled.handle == bench.witness["app_id"]


def test_waiting_costs_no_bad_attempt(console: Bench) -> None:
    bench = console
    bench.inspect()
    bench.issue()
    for _ in range(20):
        assert bench.settle().waiting
        bench.clock.advance(2.0)
    assert bench.bad() == 0


def test_nobody_is_waited_for_once_patience_is_over_or_the_look_is_the_last(console: Bench) -> None:
    bench = console
    bench.inspect()
    bench.issue()
    assert bench.settle(final=True).waiting is None
    bench.clock.advance(bench.account.patience)
    assert bench.settle().waiting is None


def test_each_pair_is_another_one(console: Bench) -> None:
    bench = console
    bench.inspect()
    shown = [waiting.show.reveal() for waiting in (bench.issue().waiting, bench.issue().waiting) if waiting]
    assert len({text for pair in shown for text in pair.values()}) == 4


def test_a_pair_is_void_once_another_one_was_used(console: Bench) -> None:
    bench = console
    bench.inspect()
    first, second = bench.issue().waiting, bench.issue().waiting
    assert first
    assert second
    bench.click(second)
    with pytest.raises(Exception, match="156013"):
        bench.click(first)
    assert bench.settled() is Settled.APPLIED


def test_somebody_else_in_the_console_is_found_out(console: Bench) -> None:
    bench = console
    bench.inspect()
    bench.issue()
    bench.sim.console_elsewhere()
    assert bench.settled() is Settled.REPLACED


def test_a_reset_in_the_console_shows_one_ciphertext_and_is_noticed(console: Bench) -> None:
    bench = console
    bench.inspect()
    bench.current = None
    waiting = bench.reset().waiting
    assert waiting
    assert set(waiting.show) == {"new_ciphertext"}
    assert "upload the recovery file" in waiting.text
    assert bench.settle(mode=Mode.BREAK_GLASS).waiting
    bench.sim.console_reset(bench.sim.recovery_file, waiting.show["new_ciphertext"].reveal())
    assert bench.settled(mode=Mode.BREAK_GLASS) is Settled.APPLIED


# the gap, and who is who


def test_a_look_just_before_leaves_one_request_for_the_call_itself(bench: Bench) -> None:
    bench.inspect()
    before = len(bench.asked())
    bench.clock.advance(59.0)
    bench.issue()
    assert [entry["on"] for entry in bench.asked()[before:]] == ["rotate"]


def test_after_a_minute_the_entity_and_the_key_are_asked_for_anew(bench: Bench) -> None:
    bench.inspect()
    before = len(bench.asked())
    bench.clock.advance(61.0)
    bench.issue()
    assert [entry["on"] for entry in bench.asked()[before:]] == ["entity", "public-key", "rotate"]


def test_the_attempt_goes_along_as_the_request_id(bench: Bench) -> None:
    bench.inspect()
    bench.issue()
    (rotated,) = bench.asked("rotate")
    assert rotated["request"] == bench.attempts[0].id == bench.commits()[0]["request"]


def test_a_call_is_never_held_back(bench: Bench) -> None:
    bench.sim.switch(rate_limit=0)
    bench.inspect()
    began = bench.clock.now()
    bench.sim.fault("rotate", "code:2", times=6)
    for _ in range(6):
        with pytest.raises(Refused):
            bench.issue()
    assert bench.clock.now() == began


def test_another_entity_is_noticed_before_anything_is_sent(bench: Bench) -> None:
    bench.inspect()
    bench.sim.switch(other_entity=True)
    bench.fresh()
    for attempt in (bench.issue, lambda: bench.reset(bench.sim.recovery_file)):
        with pytest.raises(Refused) as told:
            attempt()
        assert told.value.code == "wrong-entity"
    assert bench.asked("rotate", "reset") == []


def test_a_secret_that_is_none_is_never_sent(bench: Bench) -> None:
    bench.inspect()
    bench.new = replace(bench.new, bundle=Bundle({FIELD: Secret("too short")}))
    with pytest.raises(Refused) as told:
        bench.issue()
    assert told.value.code == "secret-malformed"
    assert bench.asked("rotate") == []
