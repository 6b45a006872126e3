"""Getting in at Sahamati: the designated user, the address list, troubles on the way; and what an operator is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.sahamati_kit import NOTHING_BEFORE, SHORT_S, Bench, account_of, running_bench
from keyturn.api import NotSent, ProbeRequest, Problem, Refused, RetireRequest, Verdict
from keyturn.testing.http_message import answer
from keyturn.testing.proxy import FaultProxy
from keyturn_sahamati.options import Account
from keyturn_sahamati.simulator import NEIGHBOUR, SECRET


@pytest.fixture
def bench() -> Iterator[Bench]:
    with running_bench() as bench:
        yield bench


def elsewhere(bench: Bench, base_url: str) -> None:
    """Go on at another URL."""
    login = {"username": "env:SAHAMATI_USER", "password": "env:SAHAMATI_PASSWORD"}
    bench.account = Account.model_validate({"base_url": base_url, **login})
    bench.fresh()


def of_network(problem: Problem) -> bool:
    """Whether this is about the way to the vendor, and may pass."""
    return (problem.code, problem.fatal, problem.passing) == ("network-or-allow-list", True, True)


# the designated user


def test_a_refused_password_is_a_problem_that_a_person_solves(bench: Bench) -> None:
    bench.sim.switch(password_expired=True)
    problem = bench.problem()
    assert (problem.code, problem.fatal, problem.passing) == ("user-refused", True, False)
    assert "wrong or has expired" in problem.text
    assert "self-service portal" in problem.hint
    assert f"keyturn check --online {SECRET}" in problem.hint


def test_a_refused_password_is_not_sent_again_in_a_run(bench: Bench) -> None:
    bench.sim.switch(password_expired=True)
    for _ in range(3):
        assert bench.problem().code == "user-refused"
    bench.witness = NOTHING_BEFORE
    with pytest.raises(Refused):
        bench.issue()
    bench.clock.advance(3_500.0)
    assert bench.problem().code == "user-refused"
    assert bench.asked("user-token") == 1


def test_a_refused_password_is_tried_hourly_in_a_process_that_runs_for_days(bench: Bench) -> None:
    bench.sim.switch(password_expired=True)
    for _ in range(24 * 60):
        bench.problem()
        bench.clock.advance(60.0)
    assert bench.asked("user-token") == 24


def test_a_new_password_is_tried_at_once(bench: Bench) -> None:
    bench.sim.switch(password_expired=True)
    bench.inspect()
    bench.context.references["env:SAHAMATI_PASSWORD"] = bench.sim.portal_password()
    assert bench.inspect().problems == ()


def test_a_login_that_does_not_resolve_is_not_sent(bench: Bench) -> None:
    del bench.context.references["env:SAHAMATI_PASSWORD"]
    with pytest.raises(NotSent) as told:
        bench.inspect()
    assert told.value.code == "reference-unresolved"


@pytest.mark.parametrize("bad_token", ["401", "401:empty", "403", "403:empty", "403:html"])
def test_a_user_token_that_ended_between_two_calls_is_replaced_once(bench: Bench, bad_token: str) -> None:
    bench.inspect()
    bench.sim.switch(bad_token=bad_token)
    bench.sim.obey({"revoke": "user-tokens"})
    assert bench.inspect().problems == ()
    assert bench.asked("user-token") == 2


def test_looks_within_five_minutes_share_a_user_token(bench: Bench) -> None:
    bench.inspect()
    bench.clock.advance(299.0)
    bench.inspect()
    assert bench.asked("user-token") == 1
    bench.clock.advance(2.0)
    bench.inspect()
    assert bench.asked("user-token") == 2


@pytest.mark.parametrize("not_admin", ["401", "401:empty", "403", "403:empty", "403:html"])
def test_a_user_of_another_member_is_told_so(not_admin: str) -> None:
    with running_bench(entity=NEIGHBOUR) as bench:
        bench.sim.switch(not_admin=not_admin, entity_meta="absent")
        problem = bench.problem()
        assert (problem.code, problem.fatal, problem.passing) == ("not-administrator", True, False)
        assert NEIGHBOUR in problem.text
        assert bench.asked("user-token") == 1
        bench.witness = NOTHING_BEFORE
        with pytest.raises(NotSent):  # the user token of the look may be what was refused
            bench.issue()
        with pytest.raises(Refused):
            bench.issue()
        assert bench.committed() == 0


def test_an_entity_that_is_not_there_can_not_be_told_from_one_of_others() -> None:
    with running_bench(entity="nobody") as bench:
        assert bench.problem().code == "not-administrator"


def test_a_token_that_names_other_entities_is_a_warning_and_no_refusal(bench: Bench) -> None:
    bench.sim.switch(entity_meta="others")
    problem = bench.problem()
    assert (problem.code, problem.fatal) == ("not-in-token", False)
    bench.fresh()
    bench.sim.switch(entity_meta="absent")
    assert bench.inspect().problems == ()


# the address list (contract 4.9)


@pytest.mark.parametrize("refusal", ["timeout", "reset", "tls", "403:html", "403:empty"])
def test_an_address_that_is_not_registered_is_named_with_what_to_ask_for(bench: Bench, refusal: str) -> None:
    bench.sim.switch(allowed=[], refusal=refusal)
    bench.patience_s = SHORT_S if refusal == "timeout" else bench.patience_s
    problem = bench.problem()
    assert of_network(problem)
    assert "called from 127.0.0.1:" in problem.text
    assert "ask Sahamati" in problem.hint
    assert "registered" in problem.hint
    bench.witness = NOTHING_BEFORE
    with pytest.raises(NotSent):
        bench.issue()
    assert bench.committed() == 0


def test_calls_leave_from_the_local_address_that_is_configured(bench: Bench) -> None:
    bench.sim.switch(allowed=["127.0.0.2"], refusal="403:html")
    assert "from 127.0.0.1:" in bench.problem().text
    bench.account = account_of(bench.sim, local_address="127.0.0.2")
    bench.fresh()
    assert bench.inspect().problems == ()
    bench.sim.switch(allowed=["127.0.0.3"])
    bench.fresh()
    assert "from 127.0.0.2:" in bench.problem().text


@pytest.mark.parametrize("address", ["192.0.2.1", "::1"])
def test_an_address_that_no_call_can_leave_from_is_told_as_such(bench: Bench, address: str) -> None:
    bench.account = account_of(bench.sim, local_address=address)
    bench.fresh()
    problem = bench.problem()
    assert (problem.code, problem.passing) == ("local-address-unusable", True)
    assert f"from {address}, the option local_address" in problem.text


def test_calls_go_through_the_proxy_that_is_configured(bench: Bench) -> None:
    with FaultProxy(bench.sim.urls[0]) as proxy:
        plan = proxy.fault("answer", answer=answer(403), times=None)
        bench.account = account_of(bench.sim, proxy=proxy.url)
        bench.fresh()
        problem = bench.problem()
        assert of_network(problem)
        assert f"through the proxy {proxy.url}" in problem.text
        assert plan.hits == 1
        assert proxy.log[0].seen.path.startswith(bench.sim.base_url)
    assert bench.asked("user-token") == 0


def test_a_service_that_does_not_speak_tls_is_a_problem_of_the_network(bench: Bench) -> None:
    elsewhere(bench, bench.sim.base_url.replace("http:", "https:"))
    assert of_network(bench.problem())


def test_nobody_listening_is_a_problem_of_the_network(bench: Bench) -> None:
    bench.sim.stop()
    assert of_network(bench.problem())


def test_a_login_page_in_place_of_the_service_is_a_problem_of_the_network(bench: Bench) -> None:
    bench.sim.fault("user-token", "302")
    assert of_network(bench.problem())


# troubles that are not the address


@pytest.mark.parametrize("how", ["500:empty", "502:html", "503:html", "504:html"])
@pytest.mark.parametrize("on", ["user-token", "read"])
def test_a_gateway_in_trouble_may_pass(bench: Bench, on: str, how: str) -> None:
    bench.sim.fault(on, how)
    problem = bench.problem()
    assert (problem.code, problem.fatal, problem.passing) == ("vendor-unavailable", True, True)
    assert bench.inspect().problems == ()


@pytest.mark.parametrize("how", ["timeout-before", "reset-before", "cut-json"])
def test_silence_after_an_answer_is_not_blamed_on_the_address_list(bench: Bench, how: str) -> None:
    bench.sim.fault("read", how)
    bench.patience_s = SHORT_S if how.startswith("timeout") else bench.patience_s
    problem = bench.problem()
    assert (problem.code, problem.passing) == ("vendor-unavailable", True)
    assert "answered before" in problem.text


@pytest.mark.parametrize("on", ["user-token", "read"])
@pytest.mark.parametrize(("how", "said"), [("429:7", "wait 7 s"), ("429:date", "GMT"), ("429:none", "429")])
def test_a_throttled_look_says_how_long_to_wait(bench: Bench, on: str, how: str, said: str) -> None:
    bench.sim.fault(on, how)
    problem = bench.problem()
    assert (problem.code, problem.passing) == ("throttled", True)
    assert said in problem.text


def test_a_request_that_the_vendor_does_not_understand_is_shown(bench: Bench) -> None:
    bench.sim.fault("read", "400")
    problem = bench.problem()
    assert (problem.code, problem.passing) == ("request-rejected", False)


def test_an_old_path_is_told_from_a_refusal(bench: Bench) -> None:
    elsewhere(bench, f"{bench.sim.urls[0]}/auth")
    problem = bench.problem()
    assert (problem.code, problem.passing) == ("contract-broken", False)
    assert "/iam URL" in problem.hint


@pytest.mark.parametrize("how", ["bad-length", "bad-utf8"])
def test_a_look_at_nonsense_breaks_the_contract(bench: Bench, how: str) -> None:
    bench.sim.fault("read", how)
    assert bench.problem().code == "contract-broken"


def test_an_answer_about_another_entity_breaks_the_contract(bench: Bench) -> None:
    bench.sim.switch(other_entity=True)
    assert bench.problem().code == "contract-broken"


def test_a_vanished_secret_breaks_the_contract_where_one_is_current(bench: Bench) -> None:
    bench.sim.world.entities[bench.entity].versions.clear()
    assert bench.problem().code == "contract-broken"
    assert bench.inspect(current=False).problems == ()


def test_a_lower_case_and_strict_service_is_understood(bench: Bench) -> None:
    bench.sim.switch(lower_case_errors=True, extra_members=True)
    bench.sim.fault("read", "400")
    assert "trouble at the platform" in bench.problem().text


@pytest.mark.parametrize("offset_s", [-900.0, 0.0, 900.0])
def test_the_vendors_clock_is_shown(bench: Bench, offset_s: float) -> None:
    bench.sim.switch(offset_s=offset_s, user_token_life_s=1e6)
    seen = bench.inspect().vendor_now
    assert seen == pytest.approx(bench.clock.now() + offset_s, abs=2)


# what the secret still opens (contract 2.2, 4.3)


def test_an_old_secret_is_refused_at_once_where_there_is_no_grace(bench: Bench) -> None:
    bench.inspect()
    bench.issue()
    assert bench.probe(bench.old).verdict is Verdict.REFUSED


@pytest.mark.parametrize("message", [False, True])
def test_an_old_secret_in_its_grace_is_accepted_and_the_message_is_evidence(bench: Bench, *, message: bool) -> None:
    bench.sim.switch(grace_s=5 * 86_400.0, grace_message=message)
    bench.inspect()
    new = bench.issue().bundle
    old = bench.probe(bench.old)
    assert old.verdict is Verdict.ACCEPTED
    assert ("with the message" in old.evidence) == message
    assert "message" not in bench.probe(new).evidence
    bench.clock.advance(5 * 86_400.0)
    assert bench.probe(bench.old).verdict is Verdict.REFUSED


def test_an_expired_secret_is_accepted_with_a_message_and_refused_after_its_grace(bench: Bench) -> None:
    bench.sim.expire(in_s=-1.0)
    assert "within the grace period" in bench.probe(bench.old).evidence
    bench.clock.advance(5 * 86_400.0)
    assert bench.probe(bench.old).verdict is Verdict.REFUSED


@pytest.mark.parametrize("how", ["400", "401:html", "403", "403:empty", "429:none", "503:html", "302", "cut-json"])
def test_what_is_no_answer_of_the_service_proves_nothing(bench: Bench, how: str) -> None:
    bench.sim.fault("entity-token", how)
    assert bench.probe(bench.old).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("how", ["401", "401:empty", "401:oauth"])
def test_a_refusal_counts_in_each_of_its_forms(bench: Bench, how: str) -> None:
    bench.sim.fault("entity-token", how)
    assert bench.probe(bench.old).verdict is Verdict.REFUSED


def test_a_token_of_another_entity_proves_nothing_unless_claims_are_not_checked(bench: Bench) -> None:
    bench.sim.switch(other_entity=True)
    assert bench.probe(bench.old).verdict is Verdict.UNKNOWN
    bench.account = account_of(bench.sim, check_claims=False)
    bench.fresh()
    assert bench.probe(bench.old).verdict is Verdict.ACCEPTED


def test_another_endpoint_and_a_retirement_are_refused(bench: Bench) -> None:
    with pytest.raises(Refused):
        bench.provider.probe(ProbeRequest(call=bench.call(), endpoint="https://elsewhere", bundle=bench.old))
    with pytest.raises(Refused):
        bench.provider.retire(RetireRequest(call=bench.call(), handle="x"))


def test_no_problem_and_no_evidence_shows_a_value(bench: Bench) -> None:
    values = [*bench.sim.environment.values(), *bench.old.only(["entity_secret"]).reveal().values()]
    said = [bench.probe(bench.old).evidence]
    for how in ("400", "401", "403:html", "429:5", "500", "302", "cut-json", "bad-utf8", "portal-before"):
        for on in ("user-token", "read", "entity-token"):
            bench.fresh()
            bench.sim.fault(on, how)
            said += [f"{problem}" for problem in bench.inspect().problems]
            said.append(bench.probe(bench.old).evidence)
    said.append(repr(bench.context.notes))
    assert not [value for value in values if value in "\n".join(said)]
