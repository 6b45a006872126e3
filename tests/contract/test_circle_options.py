"""What a configuration may say of Circle, what follows from it, and how fast is called."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.api import Half, Maker, Refused, RetireRequest
from keyturn.testing.clock import FakeClock
from keyturn.testing.context import FakeContext
from keyturn.traits import validate_traits
from keyturn_circle.hook import keyturn_plugin
from keyturn_circle.options import Account, Target, subject, traits
from keyturn_circle.pacing import WINDOW_S, Pacing

LEAST = {"environment": "test", "api_key": "env:CIRCLE_KEY"}


def account(**options: Any) -> Account:
    return Account.model_validate({**LEAST, **options})


def test_every_assumption_of_the_contract_is_an_option_with_that_default() -> None:
    made = account()
    assert made.base_url == "https://api.circle.com"
    assert (made.register_call.path, made.register_call.field) == (
        "/v1/w3s/config/entity/entitySecret",
        "entitySecretCiphertext",
    )
    assert (made.rotate.method, made.rotate.path) == ("PUT", "/v1/w3s/config/entity/entitySecret/rotate")
    assert (made.rotate.current_field, made.rotate.new_field) == ("entitySecretCiphertext", "newEntitySecretCiphertext")
    assert (made.reset.method, made.reset.path) == ("PUT", "/v1/w3s/config/entity/entitySecret/reset")
    assert (made.reset.file_field, made.reset.new_field) == ("recoveryFile", "newEntitySecretCiphertext")
    assert (made.way, made.probe, made.probes_max, made.key_bits) == ("console", "sign-message", 5, 4096)
    assert (made.activation, made.settle, made.patience, made.check_every) == (60.0, 60.0, 604_800.0, 86_400.0)
    assert (made.recovery_file, made.answer_field, made.codes) == ("required", "recoveryFile", {})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"environment": "prod"}, "'test' or 'live'"),
        ({"api_key": "TEST_API_KEY:id:value"}, "expected a reference"),
        ({"base_url": "https://api.circle.com/v1/w3s"}, "without /v1"),
        ({"base_url": "http://api.circle.com"}, "https://"),
        ({"base_url": "https://api.circle.com:99999"}, "port"),
        ({"way": "guess"}, "'console' or 'api'"),
        ({"way": "console", "probe": "none"}, "another probe than none"),
        ({"app_id": ""}, "expected an id"),
        ({"app_id": "two words"}, "expected an id"),
        ({"proxy": "http://user:pass@proxy:8080"}, "without a user"),
        ({"check_every": "0s"}, "greater than 0"),
        ({"patience": "0s"}, "greater than 0"),
        ({"settle": "soon"}, "expected a duration"),
        ({"probes_max": "0"}, "greater than or equal to 1"),
        ({"probe": "transfer"}, "'sign-message', 'wallet-set' or 'none'"),
        ({"probe_message": " "}, "on one line"),
        ({"probe_message": "two\nlines"}, "on one line"),
        ({"key_bits": "1024"}, "greater than or equal to 2048"),
        ({"key_bits": "many"}, "integer"),
        ({"recovery_file": "never"}, "'required' or 'optional'"),
        ({"rotate": {"method": "GET"}}, "'PUT', 'POST' or 'PATCH'"),
        ({"rotate": {"path": "v1/rotate"}}, "begins with /"),
        ({"rotate": {"path": "/v1/rotate?x=1"}}, "begins with /"),
        ({"rotate": {"path": "/"}}, "begins with /"),
        ({"rotate": {"current_field": ""}}, "JSON member"),
        ({"rotate": {"new_field": "a b"}}, "JSON member"),
        ({"rotate": {"current_field": "same", "new_field": "same"}}, "two different names"),
        ({"rotate": {"field": "x"}}, "Extra inputs"),
        ({"reset": {"file_field": "same", "new_field": "same"}}, "two different names"),
        ({"register": {"path": "here"}}, "begins with /"),
        ({"register_call": {}}, "Extra inputs"),
        ({"answer_field": "a.b"}, "JSON member"),
        ({"codes": {"156013": "active"}}, "'not-active'"),
        ({"codes": {"many": "doubt"}}, "integer"),
    ],
)
def test_nonsense_is_refused_in_words_and_never_shown(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as told:
        account(**options)
    assert "TEST_API_KEY:id:value" not in str(told.value)


def test_texts_of_a_configuration_are_taken_as_numbers_where_numbers_are_meant() -> None:
    made = account(key_bits="2048", codes={"156013": "no-evidence"}, patience="3d")
    assert (made.key_bits, made.codes, made.patience) == (2048, {156013: "no-evidence"}, 259_200.0)


@pytest.mark.parametrize("way", ["console", "api"])
@pytest.mark.parametrize("probe", ["sign-message", "wallet-set"])
@pytest.mark.parametrize("file", ["required", "optional"])
def test_traits_are_sound_and_say_what_the_contract_says(way: str, probe: str, file: str) -> None:
    made = traits(account(way=way, probe=probe, recovery_file=file), Target())
    assert validate_traits(made) == []
    assert (made.live_max, made.grace_s, made.needs_current, made.answer_is_commit) == (1, 0.0, True, True)
    assert (made.readable, made.decoy, made.reset_by) == (False, False, ("recovery_file",))
    assert made.attended == (way == "console")
    assert made.wanted == (("recovery_file",) if file == "required" else ())
    (ours,) = made.made_by(Maker.US)
    assert ours.recipe
    assert (ours.recipe.alphabet, ours.recipe.length) == ("0123456789abcdef", 64)


def test_one_entity_has_one_subject_in_each_environment() -> None:
    named = account(app_id="c4d1")
    assert subject(named, Target()) == "circle:c4d1:test"
    assert subject(named, Target()) != subject(account(app_id="c4d1", environment="live"), Target())
    assert subject(account(), Target(canary_wallet="w")) == subject(account(), Target())


def test_the_canary_is_made_where_a_key_of_that_environment_may_call() -> None:
    assert account().chain == "ETH-SEPOLIA"
    assert account(environment="live").chain == "ETH"
    assert account(canary_chain="MATIC-AMOY").chain == "MATIC-AMOY"


def test_an_entity_secret_can_not_be_retired() -> None:
    context = FakeContext()
    provider = keyturn_plugin().load()(context, account())
    with pytest.raises(Refused) as told:
        provider.retire(RetireRequest(call=None, handle="c4d1", half=Half.REMOVE))  # type: ignore[arg-type]
    assert told.value.code == "not-revocable"
    context.close()


# pacing: contract 1


def test_no_window_of_a_second_has_more_than_three_calls_of_one_endpoint() -> None:
    clock = FakeClock()
    pacing, at = Pacing(FakeContext(clock)), []
    for _ in range(20):
        pacing.turn("/sign")
        at.append(clock.now())
    assert all(later - earlier >= 1.0 for earlier, later in zip(at, at[3:], strict=False))
    assert at[2] == at[0], "the first three wait for nobody"
    assert at[-1] - at[0] <= 6 * WINDOW_S + 1.0, "nobody waits longer than needed"


def test_endpoints_do_not_wait_for_each_other() -> None:
    clock = FakeClock()
    pacing, began = Pacing(FakeContext(clock)), clock.now()
    for _ in range(3):
        for path in ("/sign", "/publicKey", "/entity"):
            pacing.turn(path)
    assert clock.now() == began


def test_a_call_that_changes_something_is_counted_and_never_waits() -> None:
    clock = FakeClock()
    pacing, began = Pacing(FakeContext(clock)), clock.now()
    for _ in range(10):
        pacing.count("/rotate")
    assert clock.now() == began
    pacing.turn("/rotate")
    assert clock.now() - began >= 1.0


def test_a_clock_that_was_set_back_holds_nobody_for_long() -> None:
    clock = FakeClock()
    pacing = Pacing(FakeContext(clock))
    for _ in range(3):
        pacing.turn("/sign")
    clock.jump(-86_400.0)
    began = clock.monotonic()
    pacing.turn("/sign")
    assert clock.monotonic() - began <= 3 * WINDOW_S + 0.1


def test_who_is_asked_to_stop_does_not_wait() -> None:
    clock = FakeClock()
    pacing = Pacing(FakeContext(clock))
    clock.stop()
    for _ in range(10):
        pacing.turn("/sign")
    assert clock.monotonic() == 0.0
