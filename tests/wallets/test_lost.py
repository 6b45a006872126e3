"""Lost, late, doubled and refused answers, and places that are down: the secret is never lost, the file is there or
its absence is said and repaired, and the vendor sees few bad secrets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from moments import ANSWERS_S, Moment

from .endings import (
    SECRET,
    act,
    in_order,
    kept,
    put_back,
    refused_probes,
    repaired,
    replace_by_file,
    runs,
    team,
    typed,
)
from .wallets import FIELD, Wallets

VERBS = ("rotate", "reset", "register")
SETTLES_S = 125.0
"""The longest that a lost answer takes to be settled: the call's deadline, `settle`, and a look."""
ASKED_MAX = 12
"""Bad secrets that the vendor sees in one rotation, however late the truth shows; without trouble it is one or two."""

SLOWLY = [f"slow:{ANSWERS_S:.0f}", "timeout-after"]
"""Answered late, or never."""

IN_FORCE = ["timeout-after", "reset-after", "cut", "bad-length", "bad-utf8", "replayed", "code-after:-1"]
IN_FORCE += ["500-after:empty", "502-after:html", "503-after:html", "504-after:json", "code-after:156013"]
IN_FORCE += ["code-after:156019", "late:1", "late:30", "late:59", "late:119"]
IN_FORCE += [f"answer:{how}" for how in ("missing", "empty", "not-base64", "truncated", "html", "no-data")]
UNTOUCHED = ["timeout-before", "reset-before", "500:empty", "502:html", "503:json", "code:-1", "code:156013", "408"]
UNTOUCHED += ["409", "200:html", "429:30"]
REFUSED = ["code:2", "code:3", "code:401", "code:156004", "code:156006", "code:156015", "code:156018", "code:156019"]
REFUSED += ["404", "405"]
TWICE = [
    ("late:125", "code:3"),
    ("late:130", "404"),
    ("late:125", "500:empty"),
    ("late:125", "code:156018"),
    ("late:125", "late:125"),
    ("late:130", "reset-after"),
    ("reset-before", "reset-after"),
]
QUICK = {
    *(("rotate", how) for how in ("timeout-after", "late:59", "answer:truncated", "reset-before", "code:3")),
    *(("reset", how) for how in ("replayed", "late:119", "500:empty", "code:156018")),
    *(("register", how) for how in ("reset-after", "late:30", "502:html", "code:156015")),
    ("rotate", ("late:125", "code:3")),
}
"""The rest of the table is the same again in another way, and run by the sweep."""


def table(*hows: Any) -> list[Any]:
    """Each of these in each way of replacing a secret."""
    every = [(verb, how) for verb in VERBS for how in hows]
    return [pytest.param(*case, marks=() if case in QUICK else pytest.mark.sweep) for case in every]


def spoilt(one: Wallets, verb: str, *hows: str) -> None:
    for how in hows:
        one.sim.fault(verb, how)


def changed_by_us(one: Wallets) -> int:
    return len([commit for commit in one.commits() if commit["by"] == "api"])


@pytest.mark.parametrize(("verb", "how"), table(*IN_FORCE))
def test_a_change_whose_answer_was_lost_is_found_and_the_missing_file_is_said_and_repaired(
    tmp_path: Path, verb: str, how: str
) -> None:
    with team(tmp_path / "team", verb) as one:
        spoilt(one, verb, how)
        asked, began = refused_probes(one), one.clock.now()
        ran = act(one, verb)
        assert ran.code == 8, ran.said
        assert one.clock.now() - began <= SETTLES_S
        assert refused_probes(one) - asked <= ASKED_MAX
        assert changed_by_us(one) == 1, "nothing is sent again"
        assert kept(one)
        assert one.accepted()
        repaired(one)


@pytest.mark.parametrize(("verb", "how"), table(*UNTOUCHED))
def test_a_change_that_never_took_effect_is_sent_once_more_when_that_is_certain(
    tmp_path: Path, verb: str, how: str
) -> None:
    with team(tmp_path / "team", verb) as one:
        spoilt(one, verb, how)
        asked, began = refused_probes(one), one.clock.now()
        ran = act(one, verb)
        assert ran.code == 0, ran.said
        assert one.clock.now() - began <= SETTLES_S
        assert refused_probes(one) - asked <= ASKED_MAX
        assert changed_by_us(one) == 1
        assert one.sim.recovery_file_is(one.custody())
        assert one.accepted()


@pytest.mark.parametrize(("verb", "how"), table(*REFUSED))
def test_a_refused_change_leaves_what_was_there_and_can_be_tried_again(tmp_path: Path, verb: str, how: str) -> None:
    with team(tmp_path / "team", verb) as one:
        spoilt(one, verb, how)
        ran = act(one, verb)
        assert ran.code == (4 if verb == "rotate" else 5), ran.said
        assert "next: " in ran.said
        assert kept(one)
        assert changed_by_us(one) == 0
        assert act(one, verb).code == 0
        in_order(one)


@pytest.mark.parametrize(("verb", "how"), table(*TWICE))
def test_a_late_commit_after_its_retry_was_refused_lost_or_late_too_is_found(
    tmp_path: Path, verb: str, how: Sequence[str]
) -> None:
    with team(tmp_path / "team", verb) as one:
        spoilt(one, verb, *how)
        asked = refused_probes(one)
        ran = act(one, verb)
        assert ran.code == 8, ran.said
        assert changed_by_us(one) == 1
        assert refused_probes(one) - asked <= 2 * ASKED_MAX
        in_order(one)


def test_a_commit_after_all_looks_were_over_is_found_by_a_later_look_and_taken_over_from_the_escrow(
    tmp_path: Path,
) -> None:
    with team(tmp_path / "team", "rotate") as one:
        spoilt(one, "rotate", "late:500", "reset-before")
        assert act(one, "rotate").code == 4
        one.clock.advance(700)  # a rotation that was undone is looked after once more, not a day later
        assert kept(one)
        looked = one.keyturn("run")
        assert looked.code == 8, looked.said
        assert "given-up-in-force" in one.alerts[-1]
        one.well(*typed(one.alerts[-1], "|"))
        in_order(one)


@pytest.mark.parametrize("first", ["adopt", "recover"])
def test_a_late_commit_of_an_earlier_rotation_during_the_next_is_not_taken_for_somebody_elses(
    tmp_path: Path, first: str
) -> None:
    with team(tmp_path / "team", "rotate") as one:
        spoilt(one, "rotate", "late:500", "reset-before")
        assert act(one, "rotate").code == 4
        one.clock.advance(200)
        spoilt(one, "rotate", "reset-before", "reset-before")
        ran = act(one, "rotate")
        assert ran.code == 5, ran.said
        assert kept(one), "what was given up is in force, and sealed"
        assert "what was given up: version 2" in ran.said
        if first == "recover":
            ran = one.keyturn("recover", SECRET, "--reason", "test", "--yes")
            assert ran.code == 3, "it would have used up the file for nothing"
        one.well(*typed(ran.said, "next: "))
        in_order(one)


# Somebody else


@pytest.mark.parametrize("verb", VERBS)
def test_a_secret_that_somebody_replaced_right_after_us_is_stuck_and_its_maker_can_hand_it_over(
    tmp_path: Path, verb: str
) -> None:
    with team(tmp_path / "team", verb) as one:
        spoilt(one, verb, "elsewhere-after")
        asked = refused_probes(one)
        ran = act(one, verb)
        assert (ran.code, one.row().status) == (5, "stuck"), ran.said
        assert one.keyturn("run").code == 5
        assert one.alerts[-1].split("|")[1] == "stuck"
        assert refused_probes(one) - asked <= 5
        assert "keyturn recover" in ran.said
        handed = json.dumps({FIELD: one.sim.secret})
        one.well(*typed(ran.said, "or: "), stdin=handed)
        in_order(one)


def test_a_secret_that_somebody_replaced_right_before_us_is_stuck_and_its_file_resets_it(tmp_path: Path) -> None:
    with team(tmp_path / "team", "rotate") as one:
        spoilt(one, "rotate", "elsewhere-before")
        asked = refused_probes(one)
        ran = act(one, "rotate")
        assert ran.code == 5, ran.said
        assert refused_probes(one) - asked <= ASKED_MAX
        spent = refused_probes(one)
        assert [one.keyturn("run").code for _ in range(3)] == [5, 5, 5]
        assert refused_probes(one) == spent, "runs spend no attempts on what only a person can end"
        supply = one.supply(one.sim.recovery_file)
        one.well(*typed(ran.said, "next: "), "--yes", "--supply", supply)
        in_order(one)


# The vendor is slow, or silent


@pytest.mark.parametrize("switches", [{"old_lives_s": 9.0}, {"new_waits_s": 9.0}, {"flaps_s": 9.0}])
@pytest.mark.parametrize(
    ("verb", "how"), [("rotate", ""), ("reset", "reset-after"), *((v, "") for v in VERBS[1:]), ("rotate", "cut")]
)
@pytest.mark.sweep
def test_a_change_that_spreads_within_the_activation_time_is_waited_for(
    tmp_path: Path, verb: str, how: str, switches: dict[str, float]
) -> None:
    with team(tmp_path / "team", verb) as one:
        one.sim.switch(**switches)
        spoilt(one, verb, *([how] if how else []))
        ran = act(one, verb)
        assert ran.code == (8 if how else 0), ran.said
        in_order(one)


def test_a_new_secret_that_is_accepted_only_at_the_end_of_its_time_is_not_called_refused(tmp_path: Path) -> None:
    with team(tmp_path / "team", "rotate") as one:
        one.sim.switch(new_waits_s=9.5)
        one.well("rotate", SECRET, "--force", "--reason", "test", "--yes")
        in_order(one)


@pytest.mark.parametrize("how", SLOWLY)
@pytest.mark.parametrize("verb", [VERBS[0], *(pytest.param(verb, marks=pytest.mark.sweep) for verb in VERBS[1:])])
def test_while_nobody_answers_after_the_change_nothing_is_sent_again_and_the_first_answer_settles_it(
    tmp_path: Path, verb: str, how: str
) -> None:
    moment = Moment()
    with team(tmp_path / "team", verb, clock=moment) as one:
        moment.happens = lambda: one.sim.switch(down="all")
        spoilt(one, verb, how)
        assert act(one, verb).code == 6
        assert one.keyturn("run").code == 6
        assert "before there is a wallet" not in one.keyturn("status", SECRET).said, "there is one"
        assert kept(one)
        one.sim.switch(down="")
        runs(one)
        assert changed_by_us(one) == 1
        in_order(one)


# Places that are down


@pytest.mark.parametrize(
    ("verb", "place"),
    [
        *(("rotate", place) for place in ("custody", "served")),
        *(pytest.param("register", place, marks=pytest.mark.sweep) for place in ("custody", "served")),
        pytest.param("reset", "served", marks=pytest.mark.sweep),
    ],
)
def test_where_a_place_is_down_beforehand_nothing_is_sent(tmp_path: Path, verb: str, place: str) -> None:
    with team(tmp_path / "team", verb) as one:
        replace_by_file(one.folder / place)
        ran = act(one, verb)
        assert ran.code == 3, ran.said
        assert place in ran.said
        put_back(one.folder / place)
        assert changed_by_us(one) == 0
        assert act(one, verb).code == 0
        in_order(one)


def test_a_custody_that_is_down_does_not_bar_the_emergency_exit_and_gets_the_file_once_it_is_back(
    tmp_path: Path,
) -> None:
    with team(tmp_path / "team", "reset") as one:
        replace_by_file(one.folder / "custody")
        ran = act(one, "reset")
        assert ran.code == 6, ran.said
        assert one.accepted(), "promise P2"
        put_back(one.folder / "custody")
        runs(one)
        in_order(one)


def test_consumers_that_are_left_with_nothing_valid_are_alerted_at_once(tmp_path: Path) -> None:
    moment = Moment()
    with team(tmp_path / "team", "rotate", clock=moment) as one:
        moment.happens = lambda: replace_by_file(one.folder / "served")
        spoilt(one, "rotate", SLOWLY[0])
        act(one, "rotate")
        one.keyturn("run")
        (told,) = [line for line in one.alerts if "|gap|" in line]
        assert "consumers may have had nothing valid since" in told
        put_back(one.folder / "served")
        runs(one)
        in_order(one)


@pytest.mark.parametrize("how", [SLOWLY[0], pytest.param(SLOWLY[1], marks=pytest.mark.sweep)])
@pytest.mark.parametrize("verb", [VERBS[0], *(pytest.param(verb, marks=pytest.mark.sweep) for verb in VERBS[1:])])
@pytest.mark.parametrize("place", ["custody", "served"])
def test_a_place_that_goes_down_with_the_change_gets_what_it_lacks_once_it_is_back(
    tmp_path: Path, verb: str, place: str, how: str
) -> None:
    moment = Moment()
    with team(tmp_path / "team", verb, clock=moment) as one:
        moment.happens = lambda: replace_by_file(one.folder / place)
        spoilt(one, verb, how)
        assert act(one, verb).code in (6, 8)
        assert one.keyturn("run").code in (6, 8)
        assert kept(one)
        assert place in one.keyturn("status", SECRET).said
        put_back(one.folder / place)
        runs(one)
        assert changed_by_us(one) == 1
        assert how == "timeout-after" or one.sim.recovery_file_is(one.custody()), "it was sealed"
        in_order(one)
