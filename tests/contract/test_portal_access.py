"""Getting at the portal's API: login, rights, what is not there, errors in every shape, lists by pages, echoes."""

from __future__ import annotations

from typing import Any

import pytest

from contract.layer7_kit import WAYS, Bench, Benches
from keyturn.api import Answer, Doubt, InspectRequest, NotSent, PluginError, Refused, Secret, Settled
from keyturn_apiportal.layer7.answers import complaint


def look(one: Bench) -> InspectRequest:
    return InspectRequest(call=one.call(), current=one.old)


def trouble_of(one: Bench) -> PluginError:
    with pytest.raises((NotSent, Refused, Doubt)) as caught:
        one.inspect()
    assert isinstance(caught.value, PluginError)
    return caught.value


# 7.1: the login


def test_a_refused_client_is_named_and_not_sent_again(bench: Benches) -> None:
    one = bench("patch")
    one.context.references["env:PAPI_SECRET"] = "wrong"
    provider = one.provider
    for _ in range(3):
        with pytest.raises(Refused) as caught:
            provider.inspect(look(one))
        assert (caught.value.code, "env:PAPI_ID" in caught.value.why) == ("login-refused", True)
        assert caught.value.hint
    assert len(one.sim.log.attempts("token")) == 1


def test_a_client_whose_secret_was_set_right_is_sent_at_once(bench: Benches) -> None:
    one = bench("patch")
    right = one.context.references["env:PAPI_SECRET"]
    one.context.references["env:PAPI_SECRET"] = "wrong"
    provider = one.provider
    with pytest.raises(Refused):
        provider.inspect(look(one))
    one.context.references["env:PAPI_SECRET"] = right
    assert provider.inspect(look(one)).seen


def test_one_token_serves_a_run_and_is_renewed_before_it_ends(bench: Benches) -> None:
    one = bench("patch")
    provider = one.provider
    for _ in range(3):
        provider.inspect(look(one))
    assert len(one.sim.log.attempts("token")) == 1
    one.clock.advance(3600)
    provider.inspect(look(one))
    assert len(one.sim.log.attempts("token")) == 2
    assert [entry for entry in one.sim.log.attempts() if entry["status"] == 401] == []


@pytest.mark.parametrize("way", WAYS)
def test_a_token_that_ends_in_mid_run_is_renewed_and_the_change_sent_once_more(bench: Benches, way: str) -> None:
    one = bench(way)
    one.inspect()
    one.sim.fault(one.makes, "401")
    assert one.issue().handle
    assert [entry["status"] for entry in one.sim.log.attempts(one.makes)] in ([401, 200], [401, 201])
    assert len(one.sim.log.commits(one.makes)) == 1


def test_a_fresh_token_that_is_refused_is_not_renewed_for_ever(bench: Benches) -> None:
    one = bench("patch")
    one.sim.fault("app", "401", times=9)
    assert trouble_of(one).code == "token-refused"
    assert len(one.sim.log.attempts("token")) == 2


def test_a_401_to_a_change_is_doubt_where_the_account_says_so(bench: Benches) -> None:
    one = bench("patch", repeat_401=False)
    one.inspect()
    one.sim.fault("patch", "401")
    assert isinstance(one.trouble(), Doubt)
    assert one.sent() == 1


@pytest.mark.parametrize("how", ["503:html", "429:3", "reset-before", "200:html"])
@pytest.mark.parametrize("on", ["token", "app", "settings"])
def test_a_portal_in_trouble_may_be_asked_again(bench: Benches, on: str, how: str) -> None:
    one = bench("patch")
    one.sim.fault(on, how)
    assert isinstance(trouble_of(one), NotSent)
    assert one.inspect().seen


@pytest.mark.parametrize("way", ["patch", "second key"])
def test_a_client_without_the_role_sees_nothing_and_is_told(bench: Benches, way: str) -> None:
    one = bench(way)
    one.sim.switch(role="none")
    (problem,) = one.inspect().problems
    assert (problem.code, problem.fatal) == ("no-rights", True)
    assert one.settle().outcome is Settled.UNKNOWN


def test_a_client_that_may_only_read_is_told_by_the_change(bench: Benches) -> None:
    one = bench("patch")
    one.inspect()
    one.sim.switch(role="read-only")
    trouble = one.trouble()
    assert (type(trouble).__mro__[1], trouble.code) == (Refused, "no-rights")
    assert "role" in trouble.hint


@pytest.mark.parametrize(
    ("options", "target"), [({"tenant": "other"}, {}), ({}, {"application": "00000000-0000-4000-8000-000000000000"})]
)
def test_a_wrong_tenant_and_a_missing_application_are_named(
    bench: Benches, options: dict[str, Any], target: dict[str, Any]
) -> None:
    one = bench("second key", target=target, **options)
    (problem,) = one.inspect().problems
    assert (problem.code, problem.fatal) == ("no-such-application", True)
    with pytest.raises(Refused):
        one.retire(one.sim.api_key)


# 7.2: the key


@pytest.mark.parametrize("way", ["patch", "put", "legacy"])
def test_a_key_that_is_not_there_is_named(bench: Benches, way: str) -> None:
    one = bench(way, target={"api_key": "l7nobody"})
    assert one.problems() == {"no-such-key": True}


@pytest.mark.parametrize("status", ["DISABLED", "EXPIRED", "PENDING_REGISTRATION", "DELETE_FAILED"])
def test_a_key_that_can_not_be_used_stops_a_change_in_place(bench: Benches, status: str) -> None:
    one = bench("patch")
    one.sim.change(status=status)
    (problem,) = one.inspect().problems
    assert (problem.code, problem.fatal, status in problem.text) == ("key-not-enabled", True, True)
    assert [seen.enabled for seen in one.inspect().seen] == [False]
    assert one.trouble().code == "key-not-enabled"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"auth_method": "CERTIFICATE"}, "not-a-secret-key"),
        ({"auth_method": "NONE"}, "not-a-secret-key"),
        ({"oauth_type": "PUBLIC"}, "public-client"),
    ],
)
@pytest.mark.parametrize("way", ["patch", "second key"])
def test_a_client_without_a_secret_is_left_alone(bench: Benches, way: str, fields: dict[str, str], code: str) -> None:
    one = bench(way)
    one.sim.change(**fields)
    assert one.problems() == {code: True}
    assert one.trouble().code == code
    assert one.sent() == 0


def test_the_expiry_of_a_secret_is_told(bench: Benches) -> None:
    one = bench("patch")
    one.sim.change(secret_expiry_ts=1_900_000_000_000)
    assert one.inspect().expires_at == 1_900_000_000.0
    assert one.issue().expires_at == 1_900_000_000.0


# 7.3, 7.14: errors


@pytest.mark.parametrize("shape", ["nested", "top", "bare"])
@pytest.mark.parametrize("way", ["patch", "put", "legacy", "second key"])
def test_an_error_is_told_by_its_codes_in_every_shape_and_never_by_its_message(
    bench: Benches, way: str, shape: str
) -> None:
    one = bench(way)
    one.inspect()
    one.sim.switch(echo=True)
    one.sim.fault(one.makes, {"nested": "400", "top": "400:old", "bare": "400:bare"}[shape])
    trouble = one.trouble()
    assert isinstance(trouble, Refused)
    assert "answered 400" in trouble.why
    said = f"{trouble.why} {trouble.hint}"
    values = [*one.new.bundle.only(["client_secret"]).reveal().values(), one.sim.secret]
    assert [value for value in values if value in said] == []
    assert "trouble at the platform" not in said


def test_the_codes_keys_and_fields_of_an_error_are_told(bench: Benches) -> None:
    one = bench("second key")
    one.inspect()
    one.sim.switch(key_limit=1)
    trouble = one.trouble()
    assert isinstance(trouble, Refused)
    assert "ValidationException, 483, error.validation, error.apiKey, about apiKey" in trouble.why


def test_a_word_that_may_be_a_value_is_not_told() -> None:  # 7.14
    value = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
    body = {"validationErrors": [{"field": value, "key": f"error.{value}", "error": value}, {"field": "status"}]}
    said = complaint(Answer(status=400, headers={}, json=body, text=Secret("")))
    assert str(said) == "about status"


def test_a_page_of_html_is_no_error_of_the_portals(bench: Benches) -> None:
    one = bench("patch")
    one.inspect()
    one.sim.fault("patch", "400:html")
    trouble = one.trouble()
    assert trouble.why.endswith("answered 400")


# 7.13: lists


@pytest.fixture
def many(bench: Benches) -> Bench:
    one = bench("second key")
    for number in range(4):
        one.clock.advance(1)
        one.sim.add_key(name=f"other {number}")
    one.sim.switch(page_max=2)
    return one


@pytest.mark.parametrize("totals", ["right", "low", "high", "absent"])
def test_every_page_is_read_whatever_the_totals(many: Bench, totals: str) -> None:
    many.sim.switch(totals=totals)
    assert [seen.handle for seen in many.inspect().seen] == many.sim.keys


def test_a_key_that_moved_to_a_page_that_was_read_is_still_seen(many: Bench) -> None:
    many.sim.fault("keys", "moved", skip=1)
    assert sorted(seen.handle for seen in many.inspect().seen) == sorted(many.sim.keys)
