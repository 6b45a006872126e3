"""The simulated Circle fails as told, before or after what it does, and writes down no value."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

import httpx
import pytest

from contract import circle_caller
from contract.circle_caller import (
    BROKEN,
    GOOD,
    NEW,
    W3S,
    WRONG,
    Caller,
    attempts,
    commits,
    file_of,
    made_up,
    told,
    uuid4,
)
from keyturn.testing.clock import FakeClock
from keyturn_circle.simulator import NEIGHBOUR_API_KEY, Simulator
from keyturn_circle.simulator_answers import ERRORS, Refusal
from keyturn_circle.simulator_faults import ANSWERS, KINDS, MUTATING
from keyturn_circle.simulator_switches import CHOICES

shared, clock, sim = circle_caller.shared, circle_caller.clock, circle_caller.sim
caller, fresh = circle_caller.caller, circle_caller.fresh


# Transport and answers (contract 8.10 to 8.12)


@pytest.mark.parametrize("on", ["rotate", "reset"])
@pytest.mark.parametrize(
    ("how", "acted"),
    [("timeout-before", 0), ("timeout-after", 1), ("reset-before", 0), ("reset-after", 1), ("cut", 1),
     ("bad-length", 1), ("bad-utf8", 1)],
)  # fmt: skip
def test_an_answer_is_lost_before_or_after_the_commit(
    sim: Simulator, caller: Caller, on: str, how: str, acted: int
) -> None:
    before = sim.secret
    sim.fault(on, how)
    with pytest.raises((httpx.TransportError, ValueError)):
        caller.call(on).json()
    assert (sim.secret != before, len(commits(sim))) == (bool(acted), acted)


def test_a_timeout_lasts_as_long_as_said_and_takes_none_of_the_tests_time(
    sim: Simulator, caller: Caller, clock: FakeClock
) -> None:
    sim.switch(hang_s=45.0)
    sim.fault("sign", "timeout-before")
    before = clock.now()
    with pytest.raises(BROKEN):
        caller.sign()
    assert clock.now() - before == pytest.approx(45)


@pytest.mark.parametrize(
    ("how", "shape"),
    [("500", "json"), ("500:empty", "empty"), ("502:html", "html"), ("503:json", "json"), ("400:html", "html"),
     ("403:empty", "empty"), ("200:html", "html"), ("204", "empty"), ("302:html", "html")],
)  # fmt: skip
@pytest.mark.parametrize("after", ["", "-after"])
def test_the_platform_answers_in_place_of_the_service(
    sim: Simulator, caller: Caller, how: str, shape: str, after: str
) -> None:
    status, _, form = how.partition(":")
    sim.fault("rotate", f"{status}{after}:{form}".rstrip(":"))
    answer = caller.call("rotate")
    assert answer.status_code == int(status)
    found = "html" if answer.headers["content-type"].startswith("text/html") else "json"
    assert (found if answer.content else "empty") == shape
    assert len(commits(sim)) == bool(after)


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_error_can_stand_in_place_of_a_call(sim: Simulator, caller: Caller, code: int) -> None:
    for how, acted in (("code", 0), ("code-after", 1)):
        sim.fault("rotate", f"{how}:{code}")
        assert told(caller.call("rotate")) == (ERRORS[code][0], code)
        assert len(commits(sim)) == acted


def test_a_late_change_acts_when_its_time_has_come_for_everybody_who_looks(
    sim: Simulator, caller: Caller, clock: FakeClock
) -> None:
    old, new = sim.secret, made_up()
    sim.fault("rotate", "late:30")
    with pytest.raises(BROKEN):
        caller.call("rotate", **{NEW: sim.seal(new)})
    due = clock.now() + 30
    clock.advance(29.5)
    assert (sim.secret, caller.sign(old), commits(sim)) == (old, GOOD, [])
    clock.advance(60)
    assert [sim.secret, caller.sign(old), caller.sign(new)] == [new, WRONG, GOOD]
    assert sim.commit_times == [pytest.approx(due, abs=0.01)]
    assert sim.log.reused == []


def test_a_late_change_that_was_overtaken_is_refused(sim: Simulator, caller: Caller, clock: FakeClock) -> None:
    new = made_up()
    sim.fault("rotate", "late:5")
    with pytest.raises(BROKEN):
        caller.call("rotate")
    file_of(caller.call("rotate", **{NEW: sim.seal(new)}))
    clock.advance(5)
    assert sim.secret == new
    assert attempts(sim) == [("rotate", 0, None), ("rotate", 200, None), ("rotate", 400, 156013)]


def test_a_slow_answer_comes_after_the_change(sim: Simulator, caller: Caller, clock: FakeClock) -> None:
    before = clock.now()
    sim.fault("rotate", "slow:7")
    file_of(caller.call("rotate"))
    assert sim.commit_times == [pytest.approx(before, abs=0.01)]
    assert clock.now() - before == pytest.approx(7)
    sim.switch(slow_s=2.0)
    caller.sign()
    assert clock.now() - before == pytest.approx(9)


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("standing", [True, False])
@pytest.mark.parametrize("on", MUTATING)
def test_a_change_that_acted_may_answer_without_a_usable_file(
    sim: Simulator, caller: Caller, fresh: Caller, on: str, answer: str, standing: bool
) -> None:
    made = fresh if on == "register" else caller
    if standing:
        made.sim.switch(recovery_answers=answer)
    else:
        made.sim.fault(on, f"answer:{answer}")
    got = made.call(on)
    assert got.status_code == 200
    assert commits(made.sim) == [(on, "api")]
    assert _found(got, made.sim.recovery_file) == answer


def _found(got: httpx.Response, file: str) -> str:
    """What an answer holds, in the words of `ANSWERS`."""
    if got.headers["content-type"].startswith("text/html"):
        return "html"
    if "data" not in got.json():
        return "no-data"
    text = got.json()["data"].get("recoveryFile")
    if not text:
        return "missing" if text is None else "empty"
    if re.search("[^A-Za-z0-9+/=]", text):
        return "not-base64"
    return "ok" if text == file else "truncated"


@pytest.mark.parametrize("standing", [True, False])
def test_a_replaying_proxy_gives_the_second_answer_to_a_change_that_acted(
    sim: Simulator, caller: Caller, standing: bool
) -> None:
    for first, answer in ((True, (400, 156004)), (False, WRONG)):
        sim.switch(ledger_first=first, replay=standing)
        new = made_up()
        if not standing:
            sim.fault("rotate", "replayed")
        assert told(caller.call("rotate", **{NEW: sim.seal(new)})) == answer
        assert sim.secret == new
    assert commits(sim) == [("rotate", "api")] * 2
    assert sim.log.reused == [], "what a proxy repeats is not the client's doing"


def test_a_replayed_registration_says_already_set(fresh: Caller) -> None:
    fresh.sim.fault("register", "replayed")
    assert told(fresh.call("register")) == (409, 156015)
    assert commits(fresh.sim) == [("register", "api")]


@pytest.mark.parametrize("form", ["7", "date", "none"])
def test_throttling_says_how_long_or_not(sim: Simulator, caller: Caller, clock: FakeClock, form: str) -> None:
    sim.fault("sign", f"429:{form}")
    answer = caller.call("sign")
    assert told(answer) == (429, 429)
    wait = answer.headers.get("retry-after")
    if form == "date":
        assert parsedate_to_datetime(wait).timestamp() - clock.now() == pytest.approx(1, abs=1)
    else:
        assert wait == {"7": "7", "none": None}[form]


@pytest.mark.parametrize(("form", "header"), [("none", None), ("seconds", "1")])
def test_three_a_second_for_each_endpoint_and_entity(
    sim: Simulator, caller: Caller, clock: FakeClock, form: str, header: str | None
) -> None:
    sim.switch(retry_after=form, rate_limit=3)
    answers = [caller.call("sign") for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert answers[-1].headers.get("retry-after") == header
    assert caller.call("entity").status_code == 200
    other = Caller(sim, key=NEIGHBOUR_API_KEY)
    with other.http:
        assert told(other.call("sign")) == WRONG
    clock.advance(1)
    assert caller.call("sign").status_code == 200
    assert [caller.call("wallets").status_code for _ in range(6)] == [201] * 5 + [429]
    sim.switch(rate_limit=0)
    assert {caller.call("sign").status_code for _ in range(6)} == {200}


@pytest.mark.parametrize(
    ("down", "dead"), [("all", set(KINDS)), ("sign", {"sign"}), ("changes", set(MUTATING)), ("", set())]
)
def test_an_outage_hits_what_it_says(sim: Simulator, caller: Caller, down: str, dead: set[str]) -> None:
    sim.switch(down=down)
    assert {on for on in KINDS if caller.call(on).status_code == 503} == dead
    sim.switch(down_how="reset-before")
    for on in dead:
        with pytest.raises(BROKEN):
            caller.call(on)


# What is written down (contract 1, 8.16)


def test_errors_quote_the_request_where_a_client_must_not_log_them(sim: Simulator, caller: Caller) -> None:
    for echo in CHOICES["echo"]:
        sim.switch(echo=echo)
        body = caller.body("reset", recoveryFile="not the one in force")
        answer = caller.call("reset", **body)
        assert ("not the one in force" in answer.text) == (echo != "off")
        assert ("not the one in force" in answer.json()["message"]) == (echo == "message")
        if echo == "errors":
            (detail,) = answer.json()["errors"]
            assert set(detail) == {"error", "message", "location", "invalidValue", "constraints"}
            assert (detail["location"], detail["invalidValue"]) == ("recoveryFile", "not the one in force")
    sim.switch(echo="errors")
    for how in ("code:156013", "code-after:-1"):
        sim.fault("rotate", how)
        body = caller.body("rotate")
        assert {one["invalidValue"] for one in caller.call("rotate", **body).json()["errors"]} == set(body.values())


def test_answers_carry_the_requests_id_and_the_log_keeps_one_that_is_a_uuid(sim: Simulator, caller: Caller) -> None:
    mine = uuid4()
    for how in ("", "code:2", "bad-utf8", "bad-length"):
        if how:
            sim.fault("rotate", how)
        assert caller.call("rotate", {"X-Request-Id": mine}).headers["x-request-id"] == mine, how
    assert {entry["request"] for entry in sim.log} == {mine}
    sim.world.log.clear()
    assert caller.call("rotate", {"X-Request-Id": "no uuid"}).is_success
    assert {entry["request"] for entry in sim.log} == {""}
    assert caller.call("rotate").headers["x-request-id"] != caller.call("rotate").headers["x-request-id"]


def test_no_value_is_in_the_log_or_the_state(sim: Simulator, caller: Caller) -> None:
    values = [sim.secret, sim.recovery_file, sim.neighbour, sim.api_key]
    sent = [caller.body("rotate"), caller.body("reset"), caller.body("sign")]
    for on, body in zip(("rotate", "reset", "sign"), sent, strict=True):
        caller.call(on, **body)
    with pytest.raises(Refusal):
        sim.console_reset(values[1], sim.seal(values[0]))
    sim.console_rotate(sim.seal(sim.secret), sim.seal(made_up()))
    values += [sim.secret, sim.recovery_file, *(text for body in sent for text in body.values() if text != sim.canary)]
    shown = [caller.page("GET", f"/simulator/{page}").text for page in ("log", "state")]
    assert [value[:20] for value in values for text in shown if value in text] == []
    generation = sim.entity.current
    assert sim.secret not in repr(generation)
    assert sim.recovery_file not in repr(generation)


def test_the_log_has_every_attempt_and_every_commit_in_order(sim: Simulator, caller: Caller) -> None:
    caller.call("rotate")
    caller.sign(made_up())
    caller.page("GET", f"{W3S}/nowhere")
    sim.fault("reset", "reset-before")
    with pytest.raises(BROKEN):
        caller.call("reset")
    with pytest.raises(Refusal):
        sim.console_rotate(sim.seal(made_up()), sim.seal(made_up()))
    assert [(one["event"], one["on"], one["by"]) for one in sim.log] == [
        ("commit", "rotate", "api"),
        ("attempt", "rotate", "api"),
        ("attempt", "sign", "api"),
        ("attempt", "nowhere", "api"),
        ("attempt", "reset", "api"),
        ("attempt", "rotate", "console"),
    ]
    assert attempts(sim)[-4:] == [
        ("sign", 400, 156013),
        ("nowhere", 404, 404),
        ("reset", 0, None),
        ("rotate", 400, 156013),
    ]
    assert sim.log[-2]["fault"] == "reset-before"


def test_the_log_names_what_a_client_sent_twice_to_the_service_or_the_console(sim: Simulator, caller: Caller) -> None:
    body = caller.body("sign")
    caller.call("sign", **body)
    assert sim.log.reused == []
    caller.call("sign", **body)
    pair = (sim.seal(sim.secret), sim.seal(made_up()))
    sim.console_rotate(*pair)
    with pytest.raises(Refusal):
        sim.console_rotate(*pair)
    assert len(sim.log.reused) == 3


def test_the_servers_date_is_that_of_its_clock(caller: Caller, clock: FakeClock) -> None:
    stamped = parsedate_to_datetime(caller.call("entity").headers["date"]).timestamp()
    assert stamped == pytest.approx(clock.now(), abs=1)
