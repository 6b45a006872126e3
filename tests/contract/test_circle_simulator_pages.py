"""The simulated Circle has a Console for people and pages for tests, and runs as a plugin's simulator."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract import circle_caller
from contract.circle_caller import (
    BITS,
    BROKEN,
    CIPHERTEXT,
    GOOD,
    NEW,
    WRONG,
    Caller,
    commits,
    made_up,
)
from contract.pingauthorize_kit import until
from keyturn.testing.clock import FakeClock
from keyturn_circle.simulator import SECRET, Simulator, simulator
from keyturn_circle.simulator_faults import HOSTILE, HOWS, KINDS

shared, clock, sim = circle_caller.shared, circle_caller.clock, circle_caller.sim
caller, fresh = circle_caller.caller, circle_caller.fresh


# The Console, as a browser has it (contract 2.3, 2.4, 8.9)


class Browser:
    """Fills in the forms of the page as they stand there, and follows its links."""

    def __init__(self, sim: Simulator) -> None:
        self.http = httpx.Client(base_url=sim.url, transport=httpx.HTTPTransport(verify=False), timeout=5)

    def home(self) -> str:
        answer = self.http.get("/console")
        assert answer.headers["content-type"].startswith("text/html")
        return answer.text

    def send(self, title: str, **filled: str | bytes) -> httpx.Response:
        """Submit the form below a heading: a `bytes` value is a file."""
        part = next(one for one in self.home().split("<section>") if f"<h2>{title}</h2>" in one)
        assert set(re.findall(r'name="(\w+)"', part)) == set(filled)
        action = re.search(r'action="([^"]+)"', part)
        assert action
        texts = {name: value for name, value in filled.items() if isinstance(value, str)}
        files = {name: ("recovery_file.dat", value) for name, value in filled.items() if isinstance(value, bytes)}
        assert bool(files) == ('enctype="multipart/form-data"' in part)
        return self.http.post(action[1], data=texts, files=files or None)

    def download(self, answer: httpx.Response) -> httpx.Response:
        assert answer.status_code == 200, answer.text
        link = re.search(r'id="recovery-file" href="([^"]+)" download="([^"]+)"', answer.text)
        assert link
        file = self.http.get(link[1])
        assert f'filename="{link[2]}"' in file.headers["content-disposition"]
        return file


def shown(page: str, name: str) -> str:
    found = re.search(rf'id="{name}">([^<]*)<', page)
    assert found
    return found[1]


@pytest.fixture
def browser(sim: Simulator) -> Iterator[Browser]:
    made = Browser(sim)
    with made.http:
        yield made


def test_the_console_rotates_and_gives_the_renewed_file(sim: Simulator, browser: Browser, caller: Caller) -> None:
    old, new = sim.secret, made_up()
    page = browser.home()
    assert (shown(page, "app-id"), shown(page, "environment")) == (sim.entity.app_id, "TEST")
    wrapped = "\r\n".join(re.findall(".{1,64}", sim.seal(old)))
    done = browser.send("Rotate Entity Secret", current_ciphertext=f" {wrapped}\r\n", new_ciphertext=sim.seal(new))
    for _ in range(2):
        assert browser.download(done).text == sim.recovery_file
    assert (sim.secret, caller.sign(old), caller.sign(new)) == (new, WRONG, GOOD)
    assert shown(browser.home(), "registered") != shown(page, "registered")
    assert commits(sim) == [("rotate", "console")]


def test_the_console_resets_with_the_file_as_it_is(sim: Simulator, browser: Browser) -> None:
    file, new = sim.recovery_file, made_up()
    wrapped = json.dumps({"recovery_file": file})
    for bad in (f"{file}\n", wrapped, f" {file}", "made up", "\x00\xff"):
        answer = browser.send("Reset", recovery_file=bad.encode(), new_ciphertext=sim.seal(new))
        assert (answer.status_code, shown(answer.text, "code")) == (403, "156018")
    done = browser.send("Reset", recovery_file=file.encode(), new_ciphertext=sim.seal(new))
    assert browser.download(done).text == sim.recovery_file != file
    assert (sim.secret, commits(sim)) == (new, [("reset", "console")])


def test_the_console_registers_once_and_only_then_rotates(fresh: Caller) -> None:
    sim, new = fresh.sim, made_up()
    browser = Browser(sim)
    with browser.http:
        assert re.findall("<h2>(.*?)</h2>", browser.home()) == ["Register"]
        assert shown(browser.home(), "registered") == "not yet"
        done = browser.send("Register", new_ciphertext=sim.seal(new))
        assert browser.download(done).text == sim.recovery_file
        assert re.findall("<h2>(.*?)</h2>", browser.home()) == ["Rotate Entity Secret", "Reset"]
        again = browser.http.post("/console/register", data={"new_ciphertext": sim.seal(made_up())})
        assert shown(again.text, "code") == "156015"
    assert sim.secret == new


@pytest.mark.parametrize(
    ("current", "new", "code"),
    [
        (lambda sim: sim.seal(made_up()), lambda sim: sim.seal(made_up()), "156013"),
        (lambda sim: sim.seal(sim.secret), lambda _: "made up", "156013"),
        (lambda sim: sim.seal(sim.secret), lambda sim: sim.secret, "156013"),
        (lambda _: "", lambda sim: sim.seal(made_up()), "2"),
        (lambda sim: sim.seal(sim.secret), lambda _: " \r\n", "2"),
    ],
)
def test_the_console_says_what_is_wrong_and_changes_nothing(
    sim: Simulator, browser: Browser, current: Callable[[Simulator], str], new: Callable[[Simulator], str], code: str
) -> None:
    before = sim.secret
    answer = browser.send("Rotate Entity Secret", current_ciphertext=current(sim), new_ciphertext=new(sim))
    assert (answer.status_code, shown(answer.text, "code")) == (400, code)
    assert shown(answer.text, "message")
    assert before not in answer.text
    assert (sim.secret, commits(sim)) == (before, [])


def test_a_form_that_is_sent_again_is_refused_as_reuse(sim: Simulator, browser: Browser) -> None:
    pair = {"current_ciphertext": sim.seal(sim.secret), "new_ciphertext": sim.seal(made_up())}
    assert browser.send("Rotate Entity Secret", **pair).status_code == 200
    assert shown(browser.send("Rotate Entity Secret", **pair).text, "code") == "156004"
    assert len(commits(sim)) == 1


def test_the_console_shows_what_was_late(sim: Simulator, browser: Browser, caller: Caller, clock: FakeClock) -> None:
    before = shown(browser.home(), "registered")
    sim.fault("rotate", "late:60")
    with pytest.raises(BROKEN):
        caller.call("rotate")
    clock.advance(61)
    assert shown(browser.home(), "registered") != before


def test_a_recovery_file_has_a_page_that_nobody_guesses(browser: Browser) -> None:
    assert browser.http.get("/console/recovery/1").status_code == 404
    assert browser.http.post("/console/rotate", json={"new_ciphertext": "x"}).status_code == 400
    assert browser.http.post("/console/reset", content=b"", headers={"Content-Type": "multipart/form-data"}).is_error


# Orders


def test_another_process_gives_orders(sim: Simulator, caller: Caller) -> None:
    def order(page: str, **orders: object) -> httpx.Response:
        return caller.page("POST", f"/simulator/{page}", json=orders)

    faults = [{"on": "any", "how": "500", "times": 2, "skip": 1}]
    assert order("faults", faults=faults, switches={"success": 201}).status_code == 204
    assert [caller.call("entity").status_code for _ in range(3)] == [200, 500, 500]
    assert caller.call("rotate").status_code == 201
    bundle = {"entity_secret": sim.secret, "recovery_file": sim.recovery_file}
    assert order("accepts", **bundle).json() == {"accepts": True, "recovery_file": True}
    theirs = order("elsewhere").json()["entity_secret"]
    assert (theirs, commits(sim)[-1]) == (sim.secret, ("rotate", "console"))
    assert order("accepts", **bundle).json() == {"accepts": False, "recovery_file": False}
    assert order("accepts").json() == {"accepts": False, "recovery_file": False}
    assert caller.page("GET", "/simulator/state").json()["switches"]["success"] == 201
    assert caller.page("GET", "/simulator/log").json() == sim.log
    sim.fault("any", "500", times=9)
    assert order("faults", hostile=7).status_code == 204
    assert caller.page("DELETE", "/simulator/faults").status_code == 204
    assert {caller.call("list-wallets").status_code for _ in range(3)} == {200}


@pytest.mark.parametrize(
    "orders",
    [
        {"fault": []},
        {"faults": {}},
        {"faults": ["rotate"]},
        {"faults": [{"on": "rotate"}]},
        {"faults": [{"on": "retire", "how": "500"}]},
        {"faults": [{"on": "rotate", "how": "explode"}]},
        {"faults": [{"on": "rotate", "how": 500}, {"on": "rotate", "how": 7}]},
        {"faults": [{"on": "rotate", "how": "late"}]},
        {"faults": [{"on": "rotate", "how": "held:soon"}]},
        {"faults": [{"on": "rotate", "how": "reset-before:1"}]},
        {"faults": [{"on": "rotate", "how": "500:pdf"}]},
        {"faults": [{"on": "rotate", "how": "429:soon"}]},
        {"faults": [{"on": "rotate", "how": "answer:nothing"}]},
        {"faults": [{"on": "rotate", "how": "code:x"}]},
        {"faults": [{"on": "rotate", "how": "500", "when": "now"}]},
        {"faults": [{"on": "rotate", "how": "500", "times": "2"}]},
        {"faults": [{"on": "rotate", "how": "500", "times": 0}]},
        {"faults": [{"on": "rotate", "how": "500", "skip": -1}]},
        {"faults": [{"on": "rotate", "how": "500"}], "switches": {"colour": "blue"}},
        {"switches": []},
        {"switches": {"rest": "maybe"}},
        {"switches": {"success": 500}},
        {"switches": {"old_lives_s": "5s"}},
        {"switches": {"old_lives_s": -1}},
        {"switches": {"rate_limit": True}},
        {"switches": {"replay": 1}},
        {"switches": {"down_how": "explode"}},
        {"switches": {"rotate_call": "PUT /x old"}},
        {"switches": {"rest": "off"}, "hostile": "seed"},
        {"clear": "yes"},
    ],
)
def test_an_order_that_is_not_understood_is_refused_and_changes_nothing(
    sim: Simulator, caller: Caller, orders: dict[str, Any]
) -> None:
    before = {**sim.world.state(), "now": 0}
    answer = caller.page("POST", "/simulator/faults", json=orders)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("expected")
    assert {**sim.world.state(), "now": 0} == before
    assert (sim.book.faults, sim.book.dice) == ([], None)


@pytest.mark.parametrize("page", ["faults", "accepts"])
@pytest.mark.parametrize("body", ["", "{", "[]", "7"])
def test_what_is_no_json_object_is_refused(caller: Caller, page: str, body: str) -> None:
    assert caller.page("POST", f"/simulator/{page}", content=body).status_code == 400


def test_the_same_seed_gives_the_same_trouble() -> None:
    assert _trouble(7) == _trouble(7) != _trouble(8)
    assert set(_trouble(7)) <= {"", *HOSTILE}


def _trouble(seed: int) -> list[str]:
    book = Simulator(key_bits=BITS).book
    book.hostile(seed)
    return [book.next_for("rotate") for _ in range(100)]


def test_under_random_trouble_a_secret_is_always_one_that_somebody_sent(sim: Simulator, caller: Caller) -> None:
    sent = {sim.secret}
    sim.obey({"hostile": 11})
    for _ in range(40):
        new = made_up()
        sent.add(new)
        try:
            caller.call("rotate", **{NEW: sim.seal(new)})
        except httpx.TransportError:
            assert sim.log[-1].get("fault")
    sim.obey({"clear": True})
    assert sim.secret in sent
    assert caller.sign() == GOOD
    assert sim.log.reused == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_spoil_a_call_works_on_every_call(sim: Simulator, caller: Caller, kind: str) -> None:
    for how in (*(f"{name}:1" if takes_s else name for name, takes_s in HOWS.items()), *HOSTILE):
        sim.fault(kind, how)
        try:
            assert (caller.call(kind).status_code == 500) == how.startswith("500"), how
        except httpx.TransportError:
            assert how.startswith(("timeout", "reset", "late", "cut", "bad-length")), how
        assert sim.book.next_for(kind) == "", how
    assert sim.accepts({"entity_secret": sim.secret})


# As a plugin's simulator


def test_a_simulator_from_text_options_is_ready_for_a_configuration(tmp_path: Path) -> None:
    made = simulator({"port": "0", "way": "api"})
    made.start()
    try:
        ready = made.configuration(tmp_path)
        account = ready["providers"]["circle"]
        assert (account["base_url"], account["way"], account["key_bits"]) == (made.url, "api", "4096")
        assert ready["secrets"][SECRET]["target"] == {"canary_wallet": made.canary}
        bundle = made.initial[SECRET]["bundle"]
        assert made.accepts(bundle)
        assert made.recovery_file_is(bundle["recovery_file"])
        assert made.initial[SECRET]["handle"] == made.entity.app_id
        references = {value for value in account.values() if value.startswith("env:")}
        assert references == {f"env:{name}" for name in made.environment}
        caller = Caller(made)
        with caller.http:
            assert (caller.sign(), len(caller.body("sign")[CIPHERTEXT])) == (GOOD, 684)
            assert caller.call("rotate").is_success
            assert "Entity Secret" in caller.page("GET", made.console_url).text
    finally:
        made.stop()


def test_text_options_say_what_the_simulator_is() -> None:
    usual = simulator({})
    assert (usual.way, usual.name, bool(usual.secret)) == ("console", "test", True)
    assert usual.world.switches.rest == "off"
    other = simulator({"environment": "live", "registered": "no", "way": "api"})
    assert (other.secret, other.initial, other.api_key.partition("_")[0]) == ("", {}, "LIVE")
    assert other.world.switches.rest == "on"


@pytest.mark.parametrize(
    "options", [{"server": "1"}, {"way": "both"}, {"port": "x"}, {"port": "65536"}, {"port": "-1"}, {"registered": ""}]
)
def test_a_text_option_that_is_none_is_refused_by_name(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"^expected the options port.*found {next(iter(options))}"):
        simulator(options)


def test_a_stopped_simulator_frees_its_port_and_starts_again_with_what_it_knew() -> None:
    sim = Simulator(key_bits=BITS)
    urls = set()
    for _ in range(2):
        sim.start()
        urls.add(sim.url)
        caller = Caller(sim)
        with caller.http:
            assert caller.sign() == GOOD
            sim.stop()
            with pytest.raises(httpx.TransportError):
                caller.call("entity")
    assert len(urls) == 1


def test_a_simulator_stops_at_once_while_a_client_hangs() -> None:
    sim = Simulator(key_bits=BITS)
    sim.start()
    sim.fault("any", "timeout-before")
    ended: list[type[Exception]] = []

    def hang() -> None:
        caller = Caller(sim, timeout_s=20)
        with caller.http:
            try:
                caller.call("entity")
            except httpx.TransportError as error:
                ended.append(type(error))

    client = threading.Thread(target=hang)
    client.start()
    assert until(lambda: bool(sim.log))
    sim.stop()
    client.join(5)
    assert len(ended) == 1
