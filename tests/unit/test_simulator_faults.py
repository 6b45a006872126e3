"""The fault book of every simulator: which request a fault hits, and which words are faults."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.simulator_faults import FaultBook, FaultRules, Spoiled, spoiled

RULES = FaultRules(
    kinds=("create", "delete", "read"),
    hows={"reset-before": False, "late": True},
    forms=("json", "html"),
    answers=("empty",),
    hostile=("500:html",),
    also="foreign:.+",
    groups={"change": ("create", "delete")},
    servers=True,
)


@pytest.fixture
def book() -> FaultBook:
    return FaultBook(RULES)


def test_a_fault_hits_so_many_requests_of_its_kind_after_so_many(book: FaultBook) -> None:
    book.add(on="create", how="reset-before", times=2, skip=1)
    assert [book.next_for(on) for on in ("create", "read", "create", "create", "create")] == [
        *("", "", "reset-before", "reset-before", ""),
    ]


@pytest.mark.parametrize(("on", "hit"), [("change", ["create", "delete"]), ("any", ["create", "delete", "read"])])
def test_a_group_is_its_kinds_and_any_is_all(book: FaultBook, on: str, hit: list[str]) -> None:
    book.add(on=on, how="late:1", times=9)
    assert [kind for kind in RULES.kinds if book.next_for(kind)] == hit


def test_a_fault_at_one_server_leaves_the_others_alone(book: FaultBook) -> None:
    book.add(on="read", how="404", server=1, times=9)
    assert [book.next_for("read", server) for server in (0, 1, None)] == ["", "404", ""]


@pytest.mark.parametrize("how", ["reset-before", "late:1", "late:0.5", "answer:empty", "foreign:x", "503", "429:date"])
def test_what_the_rules_name_is_a_fault(book: FaultBook, how: str) -> None:
    book.add_from({"on": "any", "how": how})
    assert book.next_for("read") == how


@pytest.mark.parametrize(
    "changes",
    [
        *({"how": how} for how in ("reset-before:1", "late", "late:soon", "answer:no", "foreign:", "503:pdf", "429:x")),
        *({"how": 500}, {"how": ""}, {"on": "update"}, {"on": 7}, {"when": "now"}),
        *({"times": "2"}, {"times": 0}, {"times": True}, {"skip": -1}, {"server": "1"}),
    ],
    ids=str,
)
def test_what_they_do_not_name_is_refused_and_nothing_is_planned(book: FaultBook, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        book.add_from({"on": "read", "how": "503", **changes})
    assert book.faults == []


def test_a_server_is_none_of_the_properties_where_there_is_only_one() -> None:
    book = FaultBook(FaultRules(kinds=("read",), hows={}, forms=("json",)))
    with pytest.raises(ValueError, match=r"expected the properties on, how, times, skip$"):
        book.add(on="read", how="503", server=0)


def test_a_status_says_what_stands_in_place_of_the_answer() -> None:
    assert spoiled("503", RULES) == Spoiled(status=503, form="json", after=False)
    assert spoiled("502-after:html", RULES) == Spoiled(status=502, form="html", after=True)
    assert spoiled("late:1", RULES) is None


def test_a_seed_makes_it_hostile_in_the_same_way_each_time_until_it_is_cleared(book: FaultBook) -> None:
    def drawn(seed: int) -> list[str]:
        book.hostile(seed)
        return [book.next_for("read") for _ in range(50)]

    assert drawn(7) == drawn(7) != drawn(8)
    assert set(drawn(7)) == {"", "500:html"}
    book.clear()
    assert {book.next_for("read") for _ in range(50)} == {""}
