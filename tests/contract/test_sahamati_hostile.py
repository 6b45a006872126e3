"""Sahamati at its worst: answers of wrong types, words that quote values, callers side by side, days without a stop."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote_plus

import pytest

from contract.sahamati_kit import NOTHING_BEFORE, SHORT_S, Bench, running_bench, same
from keyturn.api import (
    Answer,
    Bundle,
    Doubt,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    NotSent,
    PluginError,
    Secret,
    Settled,
    Verdict,
    Version,
)
from keyturn.testing.http_message import Message, answer
from keyturn.testing.proxy import FaultProxy, On
from keyturn_sahamati import answers
from keyturn_sahamati.client import address_towards
from keyturn_sahamati.options import Account, Target, subject
from keyturn_sahamati.simulator import ENTITY, NEVER_EXPIRED

DAY_S = 86_400.0
PATHS = {
    "user-token": "/v1/user/token/generate",
    "entity-token": "/v1/entity/token/generate",
    "read": "/v1/entity/secret/read",
    "reset": "/v1/entity/secret/reset",
}
LOGIN = {"username": "env:SAHAMATI_USER", "password": "env:SAHAMATI_PASSWORD"}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with running_bench() as bench:
        yield bench


@pytest.fixture
def line(bench: Bench) -> Iterator[FaultProxy]:
    """In front of the service: says what a test makes up."""
    with FaultProxy(bench.sim.urls[0]) as proxy:
        bench.account = Account.model_validate({"base_url": f"{proxy.url}/iam", **LOGIN})
        bench.fresh()
        yield proxy


def says(line: FaultProxy, on: str, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    """Let the next such call be answered so."""
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    made: Message = answer(status, raw, {"Content-Type": "application/json", **(headers or {})})
    line.fault("answer", On("POST", f"{PATHS[on]}$"), answer=made)


# wrong types, sizes and numbers


ODD = (
    *("", "null", "[]", "5", '"text"', "true", "NaN", "{}", '{"accessToken": null}', '{"accessToken": ["t"]}'),
    *('{"accessToken": "tok\\ned"}', '{"accessToken": "tök"}', '{"accessToken": "a b"}', '{"accessToken": "\\ud800"}'),
)


@pytest.mark.parametrize("body", ODD)
def test_what_is_no_token_breaks_the_contract_on_every_token_call(bench: Bench, line: FaultProxy, body: str) -> None:
    says(line, "user-token", 200, body)
    assert bench.problem().code == "contract-broken"
    says(line, "entity-token", 200, body)
    assert bench.probe(bench.old).verdict is Verdict.UNKNOWN


NO_SECRET = (
    *("", "null", "[]", "5", '"text"', "true", "NaN"),
    *('{"secret": 5}', '{"secret": ["s"]}', '{"secret": {"value": "s"}}', '{"secret": "\\ud800"}'),
    *('{"entityId": 5, "secret": "s"}', '{"entityId": ["fiu-demo"], "secret": "s"}'),
    *('{"entityId": "FIU-DEMO", "secret": "s"}', '{"entityId": "fip-other", "secret": "s"}'),
)


@pytest.mark.parametrize("body", NO_SECRET)
def test_what_is_no_secret_of_this_entity_is_doubt_on_reset_and_a_problem_on_read(
    bench: Bench, line: FaultProxy, body: str
) -> None:
    bench.inspect()
    says(line, "reset", 200, body)
    with pytest.raises(Doubt):
        bench.issue()
    assert bench.settled() is Settled.NOT_APPLIED
    says(line, "read", 200, body)
    (problem,) = bench.inspect(current=False).problems
    assert (problem.code, problem.fatal) == ("contract-broken", True)


@pytest.mark.parametrize("body", [b"x" * 1_100_000, b'{"secret": "' + b"x" * 1_100_000 + b'"}'])
def test_an_answer_without_an_end_is_doubt_on_reset_and_broken_on_read(
    bench: Bench, line: FaultProxy, body: bytes
) -> None:
    bench.inspect()
    says(line, "reset", 200, body)
    with pytest.raises(Doubt):
        bench.issue()
    says(line, "read", 200, body)
    assert bench.problem().code == "contract-broken"


@pytest.mark.parametrize("status", [201, 202, 204])
def test_another_success_than_200_is_doubt_on_reset_and_broken_on_read(
    bench: Bench, line: FaultProxy, status: int
) -> None:
    bench.inspect()
    says(line, "reset", status, "")
    with pytest.raises(Doubt):
        bench.issue()
    says(line, "read", status, "")
    assert bench.problem().code == "contract-broken"


@pytest.mark.parametrize("expires_on", ["1e400", "NaN", "-Infinity", "9" * 400, "[1]", '{"s": "canary"}', '"canary"'])
def test_an_expiry_that_is_no_number_is_unknown_and_never_in_the_witness(
    bench: Bench, line: FaultProxy, expires_on: str
) -> None:
    says(line, "read", 200, f'{{"entityId": "{ENTITY}", "secret": "s", "expiresOn": {expires_on}}}')
    seen = bench.inspect()
    assert seen.expires_at is None
    assert seen.witness["expires_on"] == ""


def test_an_expiry_that_is_no_instant_is_remarked() -> None:
    assert answers.expiry("soon", None, now=0.0).remark
    assert answers.expiry(10**15, "1970-01-02T00:00:00Z", now=0.0) == answers.Expiry(
        at=DAY_S, expires_on="1e+15", remark="expiresOn is no instant near our times"
    )


@pytest.mark.parametrize("zone", ["GMT", "+0000", "-0000"])
def test_the_date_header_is_never_read_in_this_machines_zone(zone: str) -> None:
    said = answers.vendor_now(answers_of({"date": f"Mon, 02 Mar 2026 08:15:05 {zone}"}))
    assert said == 1_772_439_305.0


def answers_of(headers: dict[str, str]) -> Answer:
    """An answer with these headers and nothing in it."""
    return Answer(status=200, headers=headers, json=None, text=Secret(""))


@pytest.mark.parametrize("secret", [" blanks at both ends ", "é ü \N{SNOWMAN}", 'quote " and \\ and tab\t', " "])
def test_a_secret_is_kept_and_sent_to_the_last_character(bench: Bench, secret: str) -> None:
    bench.sim.world.entities[ENTITY].versions[-1].value = secret
    found = bench.inspect(want_value=True).bundle
    assert found
    assert found["entity_secret"].same_as(Secret(secret))
    assert bench.probe(found).verdict is Verdict.ACCEPTED


# words of the vendor's that quote what was sent


def spellings(value: str) -> list[str]:
    """The forms in which a careless service may quote a value."""
    raw = value.encode()
    based = [base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")]
    return [value, quote_plus(value), *based]


@pytest.mark.parametrize("before", [0, 150, 195])
@pytest.mark.parametrize("spelling", range(4))
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_an_error_that_quotes_what_was_sent_shows_none_of_it(
    bench: Bench, line: FaultProxy, status: int, spelling: int, before: int
) -> None:
    password = bench.sim.environment["SAHAMATI_PASSWORD"]
    secret = bench.old["entity_secret"].reveal()
    told = []
    for on, value in (("user-token", password), ("entity-token", secret)):
        quoted = spellings(value)[spelling]
        words = "-" * before + quoted
        says(line, on, status, {"errorCode": words, "errorMsg": words, "error_description": words})
        if on == "user-token":
            told.append((quoted, f"{bench.problem()}"))
        else:
            told.append((quoted, bench.probe(bench.old).evidence))
    # Not a part of it either: the vendor's words are shortened only once the value is out of them.
    assert [quoted for quoted, text in told if quoted[:5] in text] == []


@pytest.mark.parametrize("status", [400, 401, 403, 429])
@pytest.mark.parametrize("on", ["read", "reset"])
def test_an_error_that_quotes_the_user_token_shows_none_of_it(
    bench: Bench, line: FaultProxy, on: str, status: int
) -> None:
    says(line, "user-token", 200, {"accessToken": "canary-token"})
    says(line, on, status, {"errorMsg": "Bearer canary-token is bad"})
    if on == "read":
        says(line, "user-token", 200, {"accessToken": "canary-token"})
        says(line, on, status, {"errorMsg": "Bearer canary-token is bad"})
        assert "canary" not in f"{bench.inspect().problems}"
        return
    bench.witness = NOTHING_BEFORE
    with pytest.raises(PluginError) as told:
        bench.issue()
    assert "canary" not in f"{told.value.why}{told.value.hint}"


def test_a_message_that_quotes_a_secret_or_a_token_is_noted_without_it(bench: Bench, line: FaultProxy) -> None:
    bench.inspect()
    said = {"entityId": ENTITY, "secret": "canary+secret", "message": f"{'-' * 190}canary+secret canary%2Bsecret"}
    says(line, "reset", 200, said)
    bench.issue()
    secret = Bundle({"entity_id": ENTITY, "entity_secret": "canary+secret"})
    says(line, "entity-token", 200, {"accessToken": "canary-token", "message": "canary-token of canary%2Bsecret"})
    assert bench.probe(secret).evidence == "200, with the message: ... of ..."
    assert bench.context.notes
    assert "canary" not in f"{bench.context.notes}"


def test_an_answer_about_the_attempt_is_noted_on_one_short_line(bench: Bench, line: FaultProxy) -> None:
    bench.inspect()
    says(line, "reset", 200, {"entityId": ENTITY, "secret": "new", "txnId": "a\nb" * 1_000})
    bench.issue()
    ((event, fields),) = bench.context.notes
    assert event == "txn-id-differs"
    assert len(fields["answered"]) <= answers.TEXT_CHARS_MAX
    assert "\n" not in fields["answered"]


def test_a_token_that_names_half_the_network_is_a_short_warning(bench: Bench, line: FaultProxy) -> None:
    meta: dict[str, list[str]] = {f"entity-{number}\n": [] for number in range(1_000)}
    claims = base64.urlsafe_b64encode(json.dumps({"entity_meta": meta}).encode()).decode().rstrip("=")
    says(line, "user-token", 200, {"accessToken": f"a.{claims}.c"})
    says(line, "read", 200, {"entityId": ENTITY, "secret": "s"})
    (problem,) = bench.inspect().problems
    assert problem.code == "not-in-token"
    assert len(problem.text) < 300
    assert "\n" not in problem.text


# callers side by side


def look(bench: Bench, entity: str, patience_s: float = 20.0) -> InspectResponse:
    """One look at one of several entities of the same account."""
    bench_s, bench.patience_s = bench.patience_s, patience_s
    call = bench.call(target=Target(entity_id=entity))
    bench.patience_s = bench_s
    answer = bench.provider.inspect(InspectRequest(call=call))
    assert isinstance(answer, InspectResponse)
    return answer


def test_secrets_of_one_account_side_by_side_share_one_user_token(bench: Bench) -> None:
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda number: look(bench, [ENTITY, NEVER_EXPIRED][number % 2]), range(16)))
    assert [one.problems for one in seen] == [()] * 16
    assert len({one.witness["entity_secret"] for one in seen}) == 2
    assert bench.asked("user-token") == 1


def test_a_revoked_user_token_is_replaced_once_for_all_who_share_it(bench: Bench) -> None:
    bench.inspect()
    bench.sim.obey({"revoke": "user-tokens"})
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: look(bench, ENTITY), range(16)))
    assert [one.problems for one in seen] == [()] * 16
    assert bench.asked("user-token") == 2


def test_nobody_waits_for_anothers_user_token_beyond_an_own_deadline(bench: Bench) -> None:
    bench.sim.fault("user-token", "timeout-before")
    with ThreadPoolExecutor(2) as pool:
        hanging = pool.submit(look, bench, ENTITY, 5 * SHORT_S)
        while not bench.sim.world.log:
            assert not hanging.done()
        (problem,) = look(bench, NEVER_EXPIRED, SHORT_S).problems
        assert (problem.code, problem.passing) == ("network-or-allow-list", True)
        assert not hanging.done()
        assert hanging.result().problems
    assert bench.asked("user-token") == 1


# days without a stop


def test_a_password_that_was_replaced_is_read_anew_while_the_process_goes_on(bench: Bench) -> None:
    for _ in range(3):
        bench.context.references["env:SAHAMATI_PASSWORD"] = bench.sim.portal_password()
        bench.clock.advance(DAY_S)
        assert bench.inspect().problems == ()


@pytest.mark.parametrize("refusal", ["403:html", "403:empty"])
def test_an_address_that_is_struck_off_the_list_after_days_is_told_as_such(bench: Bench, refusal: str) -> None:
    bench.inspect()
    bench.clock.advance(DAY_S)
    bench.sim.switch(allowed=[], refusal=refusal)
    problem = bench.problem()
    assert (problem.code, problem.passing) == ("network-or-allow-list", True)


def test_a_user_token_is_not_used_beyond_the_life_it_was_given(bench: Bench) -> None:
    bench.sim.switch(user_token_life_s=30.0)
    bench.inspect()
    bench.clock.advance(31.0)
    bench.issue()
    assert (bench.asked("user-token"), bench.asked("reset")) == (2, 1)


# ways to the service


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_ever_followed(bench: Bench, line: FaultProxy, status: int) -> None:
    with FaultProxy(bench.sim.urls[0]) as elsewhere:
        bench.inspect()
        for on, path in PATHS.items():
            says(line, on, status, "", {"Location": f"{elsewhere.url}/iam{path}"})
        with pytest.raises(Doubt):  # some services redirect when they are done
            bench.issue()
        assert bench.probe(bench.old).verdict is Verdict.UNKNOWN
        bench.inspect()
        bench.fresh()
        bench.inspect()
        assert elsewhere.log == []


def test_a_name_that_no_dns_can_hold_is_not_asked_and_no_crash(bench: Bench) -> None:
    url = f"https://{'a' * 70}.example/iam"
    assert address_towards(url) is None
    bench.account = Account.model_validate({"base_url": url, **LOGIN})
    bench.fresh()
    with pytest.raises(NotSent):
        bench.inspect()


def test_one_service_is_one_subject_however_its_url_is_spelled() -> None:
    target = Target(entity_id=ENTITY)
    spelled = ("https://API.sahamati.org.in/iam", "HTTPS://api.sahamati.org.in:443/iam/")
    accounts = [Account.model_validate({"base_url": url, **LOGIN}) for url in spelled]
    accounts.append(Account.model_validate({"environment": "production", **LOGIN}))
    assert len({subject(account, target) for account in accounts}) == 1


@pytest.mark.parametrize("url", ["https://x.example/iam?a=b", "https://x.example/iam#a", "https://x.example:99999/iam"])
def test_a_base_that_paths_can_not_be_put_behind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Account.model_validate({"base_url": url, **LOGIN})


@pytest.mark.parametrize("entity", ["fiu-demo\n", "fiu\u00a0demo", ""])
def test_an_entity_id_has_no_blank_not_even_at_its_end(entity: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Target.model_validate({"entity_id": entity})


# whoever shares the account


def test_a_reset_of_one_entity_leaves_the_others_alone(bench: Bench) -> None:
    bench.inspect()
    before = Bundle(bench.sim.current(NEVER_EXPIRED))
    new = Version(id="v2", number=2, bundle=Bundle({"entity_id": ENTITY}))
    bench.provider.issue(IssueRequest(call=bench.call(), new=new, witness=bench.witness))
    assert same(Bundle(bench.sim.current(NEVER_EXPIRED)), before)
    assert {entry["entity"] for entry in bench.sim.commits} == {ENTITY}
