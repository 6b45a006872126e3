"""The fence: what a plugin does wrong becomes an outcome that the engine can act on, and no value gets out."""

from __future__ import annotations

import base64
import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import pytest

from keyturn.engine.fence import MUTATING, Ask, Fence, Result
from keyturn.errors import Conflict, Doubt, KeyturnError, NotSent, Refused, UnfinishedError
from keyturn.model import Problem, Settled, Verdict
from keyturn.plugins.provider import (
    PROVIDER_VERBS,
    InspectResponse,
    IssueResponse,
    ProbeResponse,
    RetireResponse,
    Seen,
    SettleResponse,
    Waiting,
)
from keyturn.plugins.sink import SINK_VERBS, SinkInspectResponse
from keyturn.secret import Bundle, Secret
from keyturn.testing.faults import Crash

VERBS = sorted({*PROVIDER_VERBS, *SINK_VERBS})
READING = [verb for verb in VERBS if verb not in MUTATING]
CHANGING = [verb for verb in VERBS if verb in MUTATING]
LONG_S, SHORT_S = 20.0, 0.05
CANARY = 'can"ary/+ä f00d'
OK = RetireResponse()


class Plugin:
    """Does the same for every verb."""

    def __init__(self, act: Callable[[Any], Any]) -> None:
        self._act = act

    def __getattr__(self, verb: str) -> Callable[[Any], Any]:
        return self._act


@dataclass(frozen=True)
class Request:
    bundle: Bundle = field(default_factory=Bundle)
    inner: tuple[Any, ...] = ()


def raising(error: BaseException) -> Callable[[Any], Any]:
    def act(_: Any) -> Any:
        raise error

    return act


def ask(act: Callable[[Any], Any], verb: str = "retire", *, within_s: float = LONG_S, request: Any = None) -> Ask:
    return Ask(plugin="paz-eu", target=Plugin(act), verb=verb, request=request, within_s=within_s)


def call(act: Callable[[Any], Any], verb: str = "retire", **more: Any) -> Result:
    return Fence(lambda: ()).call(ask(act, verb, **more))


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Something to hang on, which ends with the test."""
    event = threading.Event()
    yield event
    event.set()


def lost(verb: str) -> str:
    return "doubt" if verb in MUTATING else "not_sent"


def test_the_verbs_that_change_something_are_known() -> None:
    assert CHANGING == ["command", "discard", "issue", "promote", "reset", "retire", "stage"]
    assert READING == ["inspect", "make", "probe", "read", "settle"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_call_that_outlives_its_deadline_is_doubt_where_it_changes_something(
    verb: str, never: threading.Event
) -> None:
    result = call(lambda _: never.wait(), verb, within_s=SHORT_S)
    assert (result.outcome, result.code, result.overran) == (lost(verb), "deadline", verb != "probe")
    assert result.why == f"paz-eu: {verb} did not answer within 0.05 s"


@pytest.mark.parametrize("verb", VERBS)
def test_an_error_nobody_expected_is_named_with_the_plugin_and_its_cause(verb: str) -> None:
    result = call(raising(KeyError("serial")), verb)
    assert (result.outcome, result.code) == (lost(verb), "plugin-raised")
    assert result.why.startswith(f"paz-eu: {verb} failed with KeyError in test_fence.py, line ")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("answer", [None, "yes", object(), {"already": True}], ids=["none", "text", "object", "map"])
def test_an_answer_of_the_wrong_type_is_no_answer(verb: str, answer: object) -> None:
    result = call(lambda _: answer, verb)
    assert (result.outcome, result.code, result.done) == (lost(verb), "bad-answer", False)
    assert type(answer).__name__ in result.why


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotSent("no route", code="unreachable"), "not_sent"),
        (Refused("quota", code="quota"), "refused"),
        (Conflict("not ours", code="foreign"), "conflict"),
    ],
)
def test_what_a_plugin_says_is_kept(verb: str, error: Any, outcome: str) -> None:
    result = call(raising(error), verb)
    assert (result.outcome, result.code, result.why) == (outcome, error.code, f"paz-eu: {error.why}")


@pytest.mark.parametrize("verb", VERBS)
def test_there_is_no_doubt_about_a_look(verb: str) -> None:
    assert call(raising(Doubt("cut short")), verb).outcome == lost(verb)


@pytest.mark.parametrize("verb", VERBS)
def test_an_error_of_our_own_leaves_a_change_in_doubt_since_sealing_comes_after_the_answer(verb: str) -> None:
    busy: KeyturnError = UnfinishedError("journal-busy", "the journal is busy", hint="run again")
    result = call(raising(busy), verb)
    assert (result.outcome, result.code) == (lost(verb), "journal-busy")


@pytest.mark.parametrize("error", [Crash(), KeyboardInterrupt(), SystemExit(3)], ids=lambda error: type(error).__name__)
def test_what_is_no_error_is_passed_on(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        call(raising(error))
    assert caught.value is error


SPELLINGS = {
    "plain": CANARY,
    "percent": quote(CANARY, safe=""),
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "json": json.dumps(CANARY)[1:-1],
}
REQUESTS = {
    "in a bundle": Request(bundle=Bundle({"key": CANARY})),
    "deep inside": Request(inner=(Request(inner=(Secret(CANARY),)),)),
}


@pytest.mark.parametrize("error", [NotSent, Refused, Conflict, Doubt, ValueError], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_value_that_travels_in_the_request_never_comes_back_in_a_message(
    spelling: str, request_: Request, error: type[Exception]
) -> None:
    result = call(raising(error(f"the vendor said [{spelling}]")), request=request_)
    assert spelling not in result.why
    # Of an error that nobody expected the words are left out altogether: they may quote what the vendor answered.
    assert ("the vendor said [<secret>]" in result.why) is (error is not ValueError)
    assert CANARY not in repr(result)


def test_a_value_that_is_known_otherwise_is_taken_out_too() -> None:
    fence = Fence(lambda: [CANARY])
    assert CANARY not in fence.call(ask(raising(ValueError(CANARY)))).why


QUOTED = f"the vendor said [{CANARY}]"
SAID = "the vendor said [<secret>]"
BROUGHT = Bundle({"key": CANARY})
ODD = Problem(code="odd", text=QUOTED, hint=QUOTED)
WAITING = Waiting(text=QUOTED, until=1.8e9, show=BROUGHT)
TEXTS: dict[str, tuple[str, Any, Callable[[Any], list[str]]]] = {
    "evidence": ("probe", ProbeResponse(verdict=Verdict.ACCEPTED, evidence=QUOTED), lambda a: [a.evidence]),
    "problem": (
        "inspect",
        InspectResponse(subject="s", endpoints=("e",), problems=(ODD,)),
        lambda a: [a.problems[0].text, a.problems[0].hint],
    ),
    "problems in a list": (
        "inspect",
        InspectResponse(subject="s", endpoints=("e",), problems=[ODD]),  # type: ignore[arg-type]
        lambda a: [a.problems[0].text],
    ),
    "what was seen": (
        "inspect",
        InspectResponse(subject="s", endpoints=("e",), seen=(Seen(handle="h", note=QUOTED),)),
        lambda a: [a.seen[0].note],
    ),
    "problem of a sink": (
        "inspect",
        SinkInspectResponse(place="p", problems=(ODD,)),
        lambda a: [a.problems[0].text, a.problems[0].hint],
    ),
    "settled": ("settle", SettleResponse(outcome=Settled.UNKNOWN, note=QUOTED), lambda a: [a.note]),
    "settle waits": (
        "settle",
        SettleResponse(outcome=Settled.UNKNOWN, waiting=WAITING),
        lambda a: [a.waiting.text],
    ),
    "issue waits": ("issue", IssueResponse(waiting=WAITING), lambda a: [a.waiting.text]),
}


@pytest.mark.parametrize(("verb", "answer", "texts"), TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("known", [True, False])
def test_a_value_is_taken_out_of_the_words_of_an_answer(
    known: Any, verb: str, answer: Any, texts: Callable[[Any], list[str]]
) -> None:
    fence = Fence(lambda: [CANARY] if known else [])
    request = None if known else Request(bundle=BROUGHT)
    result = fence.call(ask(lambda _: answer, verb, request=request))
    assert set(texts(result.answer)) == {SAID}


def test_a_value_that_the_answer_itself_brings_is_taken_out_of_its_words_and_is_told_to_the_caller() -> None:
    answer = InspectResponse(subject="s", endpoints=(), bundle=BROUGHT, problems=(ODD,))
    result = call(lambda _: answer, "inspect")
    assert result.answer.problems[0].text == SAID
    assert result.answer.bundle is BROUGHT
    assert result.values == {CANARY}
    assert CANARY not in repr(result)


def test_what_an_operator_is_to_be_shown_is_left_alone() -> None:
    answer = IssueResponse(waiting=WAITING)
    assert call(lambda _: answer, "issue").answer.waiting.show is BROUGHT


def test_public_fields_stay_in_messages() -> None:
    answer = ProbeResponse(verdict=Verdict.ACCEPTED, evidence=f"{CANARY} for fiu-demo")
    request = Request(bundle=Bundle({"entity_id": "fiu-demo", "key": CANARY}))
    asked = replace(ask(lambda _: answer, "probe", request=request), public=frozenset({"entity_id"}))
    result = Fence(lambda: ()).call(asked)
    assert result.answer.evidence == "<secret> for fiu-demo"
    assert result.values == {CANARY}


def test_an_answer_that_quotes_nothing_is_handed_on_as_it_is() -> None:
    answer = SettleResponse(outcome=Settled.APPLIED, bundle=BROUGHT, note="found", expires_at=1.8e9)
    result = call(lambda _: answer, "settle", request=Request(bundle=BROUGHT))
    assert result.answer is answer
    assert not result.odd


@pytest.mark.parametrize("at", [math.inf, -math.inf, math.nan, -5.0, 4e11, "2026-01-04"])
@pytest.mark.parametrize(
    ("verb", "answer", "name"),
    [
        ("issue", IssueResponse(bundle=BROUGHT), "expires_at"),
        ("settle", SettleResponse(outcome=Settled.APPLIED), "expires_at"),
        ("inspect", InspectResponse(subject="s", endpoints=()), "expires_at"),
        ("probe", ProbeResponse(verdict=Verdict.ACCEPTED, evidence="200"), "until"),
    ],
    ids=["issue", "settle", "inspect", "probe"],
)
def test_an_expiry_that_no_calendar_has_is_unknown_and_named(verb: str, answer: Any, name: str, at: Any) -> None:
    result = call(lambda _: replace(answer, **{name: at}), verb)
    assert result.done
    assert getattr(result.answer, name) is None
    assert result.odd == {name: "no number" if isinstance(at, str) else f"{at:g}"}


def test_four_calls_run_side_by_side() -> None:
    together = threading.Barrier(4)

    def meet(_: Any) -> RetireResponse:
        together.wait(LONG_S)  # breaks, and fails the call, unless all four are inside at once
        return OK

    assert [result.outcome for result in Fence(lambda: ()).call_all([ask(meet)] * 4)] == ["done"] * 4


def test_each_result_is_told_as_it_comes_and_answers_keep_the_order_of_the_questions(never: threading.Event) -> None:
    told: list[int] = []
    first_is_told = threading.Event()

    def landed(index: int, _: Result) -> None:
        told.append(index)
        first_is_told.set()

    def slow(_: Any) -> ProbeResponse | RetireResponse:
        assert first_is_told.wait(LONG_S)
        return OK

    results = Fence(lambda: ()).call_all([ask(slow), ask(lambda _: OK)], landed)
    assert told == [1, 0]
    assert [result.outcome for result in results] == ["done", "done"]


def test_a_hung_call_does_not_take_the_answers_of_the_others(never: threading.Event) -> None:
    asks = [ask(lambda _: never.wait(), within_s=SHORT_S), ask(lambda _: OK), ask(raising(Refused("no")))]
    assert [result.outcome for result in Fence(lambda: ()).call_all(asks)] == ["doubt", "done", "refused"]


def test_a_call_is_waited_for_until_its_own_deadline_and_not_the_longest() -> None:
    overrun = threading.Event()

    def landed(_: int, result: Result) -> None:
        if result.overran:
            overrun.set()

    def patient(_: Any) -> RetireResponse:
        assert overrun.wait(LONG_S), "the short deadline was not kept"
        return OK

    hangs = ask(lambda _: overrun.wait(LONG_S), within_s=SHORT_S)
    results = Fence(lambda: ()).call_all([hangs, ask(patient)], landed)
    assert [(result.outcome, result.overran) for result in results] == [("doubt", True), ("done", False)]


def test_no_calls_have_no_results() -> None:
    assert Fence(lambda: ()).call_all([]) == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_fault_can_be_made_before_and_after_each_call(moment: str) -> None:
    seen: list[tuple[str, str, str]] = []
    made: list[str] = []

    def inject(when: str, plugin: str, verb: str) -> None:
        seen.append((when, plugin, verb))
        if when == moment:
            raise Doubt("injected")

    def act(_: Any) -> RetireResponse:
        made.append("sent")
        return OK

    assert Fence(lambda: (), inject).call(ask(act)).outcome == "doubt"
    assert seen[-1] == (moment, "paz-eu", "retire")
    assert made == ([] if moment == "before" else ["sent"])
