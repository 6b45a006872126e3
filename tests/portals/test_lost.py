"""Lost, late, refused and useless answers of every call that changes something at a portal.

The secret is never lost, nothing is sent again blindly, and the schedule alone brings it to its end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .endings import act, in_order, kept, runs, said_of, team
from .partners import SECRET, WAYS

IN_FORCE = ["timeout-after", "reset-after", "cut", "bad-length", "500-after:empty", "502-after:html", "late:1"]
IN_FORCE += ["late:19", "late:50"]
UNTOUCHED = ["timeout-before", "reset-before", "500:empty", "502:html", "429:30"]
USELESS = ["answer:missing", "answer:asterisks", "answer:empty", "answer:old", "answer:no-body"]
"""The answers of a portal that has made a secret and does not tell it (contract 7.6)."""

QUICK = {
    *(("patch", how) for how in ("timeout-after", "late:19", "reset-before")),
    *(("patch-hashed", how) for how in ("reset-after", "late:50", "500:empty", "answer:missing")),
    *(("put", how) for how in ("cut", "timeout-before")),
    *(("put-hashed", how) for how in ("timeout-after", "502:html")),
    *(("second-key", how) for how in ("reset-after", "answer:missing")),
    *(("second-key-hashed", how) for how in ("timeout-after", "late:19", "429:30")),
    *(("slots", how) for how in ("reset-after", "502:html")),
    *(("same-id", how) for how in ("cut", "timeout-before")),
}
"""The rest of the table is the same again in another way, and run by the sweep."""


def table(ways: Any, hows: list[str]) -> list[Any]:
    every = [(way, how) for way in ways for how in hows if how != "bad-length" or way not in ("slots", "same-id")]
    return [pytest.param(*case, marks=() if case in QUICK else pytest.mark.sweep) for case in every]


def first_call(way: str) -> str:
    """The kind of the call that brings a new version to life; Azure begins with its idle slot."""
    return "regenerate-secondary" if way == "slots" else WAYS[way].calls[0]


def changes_max(way: str) -> int:
    """What a lost answer may cost: nothing where the value is ours or shown, else one change more.

    WSO2 does not revoke the newest secret, so that a placeholder is made after the stray.
    """
    if way == "same-id":
        return 3
    return 2 if WAYS[way].hashed and not way.startswith(("put", "legacy")) else 1


@pytest.mark.parametrize(("way", "how"), table(WAYS, IN_FORCE))
def test_a_change_whose_answer_was_lost_is_found_and_never_sent_again_blindly(
    tmp_path: Path, way: str, how: str
) -> None:
    with team(tmp_path / "team", way) as one:
        one.sim.fault(first_call(way), how)
        ran = act(one)
        assert ran.code in (0, 6), ran.said
        assert kept(one)
        runs(one)
        in_order(one)
        assert len(one.commits(first_call(way))) <= changes_max(way)


@pytest.mark.parametrize(("way", "how"), table([w for w in WAYS if w not in ("slots", "same-id")], USELESS))
def test_an_answer_without_the_secret_is_a_lost_one(tmp_path: Path, way: str, how: str) -> None:
    with team(tmp_path / "team", way) as one:
        one.sim.fault(first_call(way), how)
        ran = act(one)
        assert ran.code in (0, 6), ran.said
        runs(one)
        in_order(one)
        assert len(one.commits(first_call(way))) <= changes_max(way)


@pytest.mark.parametrize(("way", "how"), table(WAYS, UNTOUCHED))
def test_a_change_that_never_took_effect_is_sent_once_more_when_that_is_certain(
    tmp_path: Path, way: str, how: str
) -> None:
    with team(tmp_path / "team", way) as one:
        one.sim.fault(first_call(way), how)
        ran = act(one)
        assert ran.code in (0, 6), ran.said
        runs(one)
        in_order(one)
        assert len(one.commits(first_call(way))) == 1


def test_a_hashed_secret_that_reached_nobody_is_made_anew_once_and_both_facts_are_in_the_journal(
    tmp_path: Path,
) -> None:
    with team(tmp_path / "team", "patch-hashed") as one:
        one.sim.fault("patch", "reset-after")
        assert act(one).code == 0
        in_order(one)
        assert one.sim.patches == 2
        assert [said["outcome"] for said in said_of(one, "issue.settled")] == ["applied_gone"]
        assert len(said_of(one, "rotation.reissuing")) == 1
        [outage] = [said["outage_ms"] for said in said_of(one, "rotation.ended")]
        first = min(event.at for event in one.events(SECRET) if event.data.get("verb") == "issue")
        assert outage >= (max(one.sim.commit_times) - first) * 1000, "it began with the first of both"


def test_a_hashed_secret_that_is_lost_twice_is_stuck_with_a_way_out_that_works(tmp_path: Path) -> None:
    with team(tmp_path / "team", "patch-hashed") as one:
        one.sim.fault("patch", "reset-after", times=2)
        ran = act(one)
        assert ran.code == 5, ran.said
        assert one.sim.patches == 2
        assert f"keyturn rotate {SECRET} --current-dead --reason TEXT" in ran.said
        one.well("rotate", SECRET, "--current-dead", "--reason", "test", "--yes")
        in_order(one)


@pytest.mark.parametrize("how", ["reset-after", "timeout-before", "502:html", "late:19", "429:30"])
@pytest.mark.parametrize(("way", "call"), [("second-key", "put-key"), ("second-key", "delete"), ("same-id", "revoke")])
def test_a_lost_answer_of_what_ends_the_old_one_is_looked_up_and_the_old_one_dies(
    tmp_path: Path, way: str, call: str, how: str
) -> None:
    with team(tmp_path / "team", way) as one:
        one.sim.fault(call, how)
        assert act(one).code in (0, 6)
        runs(one)
        in_order(one)
        assert len(one.commits(first_call(way))) == 1
