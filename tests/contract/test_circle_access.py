"""Getting in at Circle: key, environment, entity, public key, canary; the plugin's commands; and what is never said."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from contract.circle_kit import FIELD, FILE, SHORT_S, Bench, revealed, running_bench, sent_twice
from keyturn.api import Doubt, Mode, NotSent, PluginError, ProbeRequest, Refused, Verdict
from keyturn.testing.http_message import answer
from keyturn.testing.proxy import FaultProxy
from keyturn_circle.options import Target
from keyturn_circle.simulator import SECRET


@pytest.fixture
def bench() -> Iterator[Bench]:
    with running_bench() as bench:
        yield bench
        assert sent_twice(bench.sim) == [], "a ciphertext was sent twice"


# entity and key


def test_a_look_names_entity_and_endpoint_and_keeps_a_witness(bench: Bench) -> None:
    seen = bench.inspect()
    entity = bench.sim.initial[SECRET]["handle"]
    assert seen.subject == f"circle:{entity}:test"
    assert seen.endpoints == (bench.account.endpoint,)
    assert [one.handle for one in seen.seen] == [entity]
    assert seen.problems == ()
    assert set(seen.witness) == {"app_id", "public_key"}
    assert seen.witness["app_id"] == entity


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("LIVE_API_KEY:0a1b:9f8e", "wrong-environment"),
        ("PROD:0a1b:9f8e", "wrong-environment"),
        ("TEST_API_KEY:0a1b", "api-key-malformed"),
        ("TEST_API_KEY::9f8e", "api-key-malformed"),
        ("TEST_API_KEY:0a1b:9f8e:more", "api-key-malformed"),
        ("TEST_API_KEY:0a1b:9f 8e", "api-key-malformed"),
        ("TEST_API_KEY:0a1b:9f8e\n", "api-key-malformed"),
        ("9f8e", "api-key-malformed"),
    ],
)
def test_a_key_of_another_form_or_environment_is_never_sent(bench: Bench, key: str, code: str) -> None:
    bench.context.references["env:CIRCLE_API_KEY"] = key
    problem = bench.problem()
    assert (problem.code, problem.fatal, problem.passing) == (code, True, False)
    assert problem.hint
    assert "9f8e" not in f"{problem}"
    with pytest.raises(Refused):
        bench.issue()
    assert bench.asked() == []


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("401", "api-key-refused"),
        ("3", "api-key-rights"),
        ("156006", "wrong-environment"),
        ("156007", "api-key-refused"),
    ],
)
def test_a_refused_key_is_a_problem_that_a_person_solves(bench: Bench, how: str, code: str) -> None:
    bench.sim.switch(key_answers=how)
    problem = bench.problem()
    assert (problem.code, problem.fatal, problem.passing) == (code, True, False)
    assert problem.hint
    assert bench.probe(bench.current).verdict is Verdict.UNKNOWN


def test_a_key_that_does_not_resolve_is_not_sent(bench: Bench) -> None:
    del bench.context.references["env:CIRCLE_API_KEY"]
    with pytest.raises(NotSent) as told:
        bench.inspect()
    assert told.value.code == "reference-unresolved"


def test_a_new_key_is_taken_at_the_next_look(bench: Bench) -> None:
    right = bench.context.references["env:CIRCLE_API_KEY"]
    bench.context.references["env:CIRCLE_API_KEY"] = "TEST_API_KEY:0a1b:9f8e"
    assert bench.problem().code == "api-key-refused"
    bench.context.references["env:CIRCLE_API_KEY"] = right
    assert bench.inspect().problems == ()


def test_another_entity_than_the_configured_one_is_refused() -> None:
    with running_bench(app_id="c4d1-of-somebody-else") as bench:
        problem = bench.problem()
        assert (problem.code, problem.fatal) == ("wrong-entity", True)
        assert "c4d1-of-somebody-else" in problem.text


def test_another_entity_than_the_current_secret_belongs_to_is_refused(bench: Bench) -> None:
    bench.sim.switch(other_entity=True)
    problem = bench.problem()
    assert (problem.code, problem.fatal) == ("wrong-entity", True)
    assert problem.hint


@pytest.mark.parametrize(
    "how", ["502:html", "503:json", "500:empty", "429:7", "reset-before", "timeout-before", "cut", "bad-utf8"]
)
@pytest.mark.parametrize("on", ["entity", "public-key"])
def test_a_vendor_that_does_not_answer_is_a_problem_that_may_pass(bench: Bench, on: str, how: str) -> None:
    bench.sim.switch(hang_s=SHORT_S)
    bench.patience_s = SHORT_S
    bench.sim.fault(on, how)
    problem = bench.problem()
    assert (problem.fatal, problem.passing) == (True, True)
    assert problem.hint
    bench.patience_s = 20.0
    assert bench.inspect().problems == ()


@pytest.mark.parametrize("form", ["rsa-label", "public-label", "one-line", "crlf", "literal-n", "pkcs1"])
def test_every_form_of_the_public_key_serves(bench: Bench, form: str) -> None:
    bench.sim.switch(public_key=form)
    assert bench.inspect().problems == ()
    assert bench.probe(bench.current).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("form", ["not-rsa", "truncated", "empty"])
def test_a_public_key_that_is_none_stops_a_rotation(bench: Bench, form: str) -> None:
    bench.sim.switch(public_key=form)
    problem = bench.problem()
    assert (problem.code, problem.fatal, problem.passing) == ("public-key-unusable", True, False)
    assert "do not rotate" in problem.hint


def test_a_public_key_of_another_size_names_the_option() -> None:
    with running_bench() as bench:
        bench.configure(key_bits=4096)
        problem = bench.problem()
        assert (problem.code, problem.fatal) == ("public-key-unusable", True)
        assert "key_bits" in problem.hint


def test_the_page_of_a_gateway_is_no_answer(bench: Bench) -> None:
    page = answer(200, "<html>log in</html>", {"content-type": "text/html"})
    with FaultProxy(bench.sim.url) as proxy:
        proxy.fault("answer", answer=page, times=None)
        bench.configure(base_url=proxy.url)
        problem = bench.problem()
    assert (problem.fatal, problem.passing) == (True, True)


# the first secret, and the canary


def test_a_live_secret_is_registered_only_by_who_says_so(bench: Bench) -> None:
    bench.context.references["env:CIRCLE_API_KEY"] = bench.sim.live_api_key
    bench.configure(environment="live")
    bench.current = None
    bench.target = with_canary("any")
    problem = bench.problem(mode=Mode.FIRST)
    assert (problem.code, problem.fatal) == ("live-registration", True)
    assert problem.hint == f"keyturn rotate {SECRET} --first --force --reason TEXT"
    assert bench.inspect(mode=Mode.FIRST, knowing=True).problems == ()
    assert bench.inspect(mode=Mode.NORMAL).problems == ()


def test_a_test_secret_is_registered_without_more_words(bench: Bench) -> None:
    assert bench.inspect(mode=Mode.FIRST).problems == ()


def test_without_a_canary_it_says_how_to_make_one() -> None:
    with running_bench(canary=False) as bench:
        problem = bench.problem()
        assert (problem.code, problem.fatal) == ("no-canary", False)
        assert f"keyturn plugin circle canary {SECRET}" in problem.hint
        probed = bench.probe(bench.current)
        assert probed.verdict is Verdict.UNKNOWN
        assert "canary_wallet" in probed.evidence
        assert bench.asked("sign") == []


def with_canary(wallet: str) -> Target:
    return Target(canary_wallet=wallet)


# probes


def test_a_probe_tells_the_active_secret_from_any_other(bench: Bench) -> None:
    assert bench.probe(bench.current).verdict is Verdict.ACCEPTED
    assert bench.probe(bench.new).verdict is Verdict.REFUSED
    assert len(bench.asked("sign")) == 2


def test_a_probe_of_a_reused_ciphertext_is_made_once_more(bench: Bench) -> None:
    bench.sim.fault("sign", "code:156004")
    assert bench.probe(bench.current).verdict is Verdict.ACCEPTED
    assert len(bench.asked("sign")) == 2
    bench.sim.fault("sign", "code:156004", times=2)
    probed = bench.probe(bench.current)
    assert probed.verdict is Verdict.UNKNOWN
    assert "156004" in probed.evidence
    assert len(bench.asked("sign")) == 4


@pytest.mark.parametrize(
    "how",
    [
        *("code:156001", "code:156023", "code:156025", "code:156027", "code:156019", "code:401", "code:3", "code:-1"),
        *("500:empty", "502:html", "503:json", "reset-before", "reset-after", "cut", "timeout-before"),
    ],
)
def test_what_proves_nothing_is_unknown(bench: Bench, how: str) -> None:
    bench.inspect()
    bench.sim.switch(hang_s=SHORT_S)
    bench.patience_s = SHORT_S if how.startswith("timeout") else 20.0
    bench.sim.fault("sign", how)
    assert bench.probe(bench.current).verdict is Verdict.UNKNOWN
    bench.patience_s = 20.0
    assert bench.probe(bench.current).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("how", ["429:7", "429:none", "429:date"])
def test_a_throttled_probe_is_made_again_with_another_ciphertext_a_few_times(bench: Bench, how: str) -> None:
    bench.sim.fault("sign", how, times=2)
    assert bench.probe(bench.current).verdict is Verdict.ACCEPTED
    bench.sim.fault("sign", how, times=3)
    probed = bench.probe(bench.current)
    assert probed.verdict is Verdict.UNKNOWN
    assert "429" in probed.evidence


@pytest.mark.parametrize("checks", ["secret-first", "wallet-first"])
def test_a_lost_canary_proves_nothing_whatever_is_checked_first(bench: Bench, checks: str) -> None:
    bench.sim.switch(checks=checks)
    bench.target = with_canary("00000000-0000-4000-8000-000000000000")
    assert bench.probe(bench.current).verdict is Verdict.UNKNOWN


def test_nothing_registered_is_refused() -> None:
    with running_bench(registered=False) as bench:
        probed = bench.probe(bench.new)
        assert probed.verdict is Verdict.REFUSED
        assert "no secret is registered" in probed.evidence


def test_a_wallet_set_is_made_once_for_each_check() -> None:
    with running_bench(probe="wallet-set") as bench:
        assert bench.probe(bench.current).verdict is Verdict.ACCEPTED
        assert bench.probe(bench.current).verdict is Verdict.ACCEPTED
        assert bench.probe(bench.new).verdict is Verdict.REFUSED
        assert len(bench.asked("wallet-sets")) == 3
        assert bench.asked("sign") == []
        assert sent_twice(bench.sim) == []
        # One that is there already under its name must be the one that this very probe made.
        names = list(bench.sim.entity.wallet_sets.values())
        assert len(set(names)) == len(names)


def test_an_endpoint_that_is_not_ours_is_not_asked(bench: Bench) -> None:
    assert bench.current
    request = ProbeRequest(call=bench.call(), endpoint="api.circle.com", bundle=bench.current.bundle)
    with pytest.raises(Refused) as told:
        bench.provider.probe(request)
    assert told.value.code == "unknown-endpoint"


def test_twenty_probes_in_a_row_are_not_throttled(bench: Bench) -> None:
    for _ in range(20):
        assert bench.probe(bench.current).verdict is Verdict.ACCEPTED
    assert not [entry for entry in bench.asked() if entry["status"] == 429]


# commands


def test_a_ciphertext_is_for_one_use_and_goes_nowhere_else(bench: Bench) -> None:
    first, second = bench.command("ciphertext"), bench.command("ciphertext")
    texts = [answer.show["ciphertext"].reveal() for answer in (first, second)]
    assert texts[0] != texts[1]
    assert texts[0] not in f"{first!r} {first.text}"
    assert "once" in first.text
    assert bench.asked("sign", "rotate") == []


def test_a_ciphertext_is_the_current_secrets(bench: Bench) -> None:
    shown = bench.command("ciphertext").show["ciphertext"].reveal()
    key = bench.context.references["env:CIRCLE_API_KEY"]
    body = {"walletId": bench.sim.canary, "message": "of a script", "entitySecretCiphertext": shown}
    line = bench.context.http(bench.sim.url, headers={"Authorization": f"Bearer {key}"})
    got = line.call(
        "POST", "/v1/w3s/developer/sign/message", mutates=False, json=body, deadline_at=bench.clock.now() + 20
    )
    assert got.json["data"]["signature"]


def test_a_canary_is_made_once_however_often_it_is_asked_for() -> None:
    with running_bench(canary=False) as bench:
        said = bench.command("canary").text
        wallet = said.rpartition("canary_wallet: ")[2]
        assert all(entry["request"] for entry in bench.asked("wallet-sets", "wallets"))
        assert SECRET in said
        assert bench.command("canary").text == said
        bench.target = with_canary(wallet)
        assert bench.probe(bench.current).verdict is Verdict.ACCEPTED
        assert bench.probe(bench.new).verdict is Verdict.REFUSED
        with pytest.raises(Refused) as told:
            bench.command("canary")
        assert told.value.code == "canary-there"
        assert sent_twice(bench.sim) == []


def test_a_command_without_a_current_secret_says_what_to_do() -> None:
    with running_bench(registered=False, canary=False) as bench:
        for name in ("canary", "ciphertext"):
            with pytest.raises(Refused) as told:
                bench.command(name)
            assert told.value.code == "current-unknown"
            assert "--first" in told.value.hint
        assert bench.asked() == []


def test_a_canary_on_a_chain_of_the_other_environment_is_refused() -> None:
    with running_bench(canary=False, canary_chain="ETH") as bench:
        with pytest.raises(Refused) as told:
            bench.command("canary")
        assert told.value.code == "wrong-environment"
        assert "canary_chain" in told.value.hint


# nothing is said


def values(bench: Bench) -> list[str]:
    assert bench.current
    shown = [revealed(bench.current.bundle, FIELD), revealed(bench.new.bundle, FIELD)]
    return [*shown, revealed(bench.current.bundle), bench.context.references["env:CIRCLE_API_KEY"]]


@pytest.mark.parametrize("echo", ["errors", "message"])
def test_no_value_is_said_though_the_vendor_quotes_them(
    bench: Bench, echo: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bench.sim.switch(echo=echo)
    bench.inspect()
    said: list[str] = []
    assert bench.current
    file = revealed(bench.current.bundle) or bench.sim.recovery_file
    sent: list[str] = []
    for code in (2, 3, -1, 156004, 156013, 156018, 156019):
        for on, call in (("rotate", bench.issue), ("reset", lambda: bench.reset(file))):
            bench.sim.fault(on, f"code:{code}")
            with pytest.raises(PluginError) as told:
                call()
            said.append(f"{told.value!r} {told.value} {told.value.hint} {told.value.__cause__!r}")
        bench.sim.fault("sign", f"code:{code}", times=2)
        said.append(repr(bench.probe(bench.current)))
        said.append(repr(bench.settle()))
    for raws in bench.context.sealed.values():
        sent += [one for raw in raws for one in quoted(json.loads(raw.reveal()))]
    assert any(len(one) == 344 for one in sent), "the vendor quoted a ciphertext"
    everything = " ".join([*said, caplog.text, repr(bench.context.notes)])
    for value in [*values(bench), file, *sent]:
        assert value not in everything, "a value was said"


def quoted(body: object) -> Iterator[str]:
    """All long words in an answer."""
    if isinstance(body, dict):
        for one in body.values():
            yield from quoted(one)
    elif isinstance(body, list):
        for one in body:
            yield from quoted(one)
    elif isinstance(body, str):
        yield from (word.rstrip(",") for word in body.split() if len(word) > 60)


@pytest.mark.parametrize("status", [500, 503, 408, 302])
def test_the_words_of_a_gateway_are_not_said(bench: Bench, status: int) -> None:
    """It quotes the request in `detail`, where other vendors have their words."""
    bench.inspect()
    echo = json.dumps({"detail": "entity-secret-in-clear", "message": "entity-secret-in-clear"})
    with FaultProxy(bench.sim.url) as proxy:
        bench.configure(base_url=proxy.url)
        bench.inspect()
        proxy.fault("answer", answer=answer(status, echo, {"content-type": "application/json"}), times=None)
        with pytest.raises(Doubt) as told:
            bench.issue()
        assert "entity-secret-in-clear" not in f"{told.value} {told.value.hint}"
        assert "entity-secret-in-clear" not in repr(bench.probe(bench.current))


def test_nothing_of_a_bench_shows_a_value(bench: Bench) -> None:
    bench.inspect()
    answered = bench.issue()
    shown = f"{answered!r} {vars(bench.provider)!r} {bench.witness!r}"
    assert FILE in shown
    for value in [*values(bench), bench.sim.recovery_file]:
        assert not value or value not in shown
