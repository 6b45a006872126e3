"""Sahamati's values: units, zones, spellings and encodings, whatever form the vendor gives them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from contract.sahamati_kit import Bench, running_bench, same
from keyturn.api import Answer, Secret, Verdict
from keyturn.testing.http_message import answer as refusal
from keyturn.testing.proxy import FaultProxy, On
from keyturn_sahamati import answers
from keyturn_sahamati.options import Account, Target, subject, traits

NOW = 1_772_439_305.0  # 2026-03-02T08:15:05Z
END = NOW + 90 * 86_400
DATE_UTC, DATE_IST = "2026-05-31T08:15:05.402", "2026-05-31T13:45:05.402"


def answered(body: Any, headers: dict[str, str] | None = None, status: int = 200) -> Answer:
    """An answer with that JSON."""
    return Answer(status=status, headers=headers or {}, json=body, text=Secret(json.dumps(body)))


def jwt(claims: object) -> Secret:
    """A token with these claims."""
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims, "no signature")]
    return Secret(".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts))


# expiresOn (contract 4.4)


@pytest.mark.parametrize(
    "expires_on", [int(END), END, int(END * 1000), str(int(END)), str(int(END * 1000)), f" {int(END)} "]
)
def test_seconds_milliseconds_and_text_mean_the_same(expires_on: object) -> None:
    assert answers.expiry(expires_on, None, now=NOW).at == END


@pytest.mark.parametrize(
    "expires_on",
    [None, "", "soon", True, [], {}, 0, -1, "NaN", "Infinity", 1e400, int(END) // 1000, int(END) * 10**6, 10**400],
)
def test_what_is_no_instant_near_our_times_is_unknown_and_the_date_stands_in(expires_on: object) -> None:
    assert answers.expiry(expires_on, None, now=NOW).at is None
    assert answers.expiry(expires_on, f"{DATE_UTC}Z", now=NOW).at == pytest.approx(END, abs=1)


@pytest.mark.parametrize("expires_on", [1_600_000_000, 1_600_000_000_000])
def test_an_instant_in_the_past_is_taken_as_it_is(expires_on: int) -> None:
    assert answers.expiry(expires_on, None, now=NOW).at == 1_600_000_000


# expirationDate (contract 4.5)


@pytest.mark.parametrize("date", [DATE_UTC, DATE_IST, f"{DATE_UTC}Z", f"{DATE_IST}+05:30", None, "no date"])
def test_a_date_that_agrees_in_either_zone_is_no_remark(date: str | None) -> None:
    assert answers.expiry(int(END), date, now=NOW) == answers.Expiry(at=END, expires_on=str(int(END)))


@pytest.mark.parametrize("date", ["2026-02-11T08:15:05.402", f"{DATE_IST}Z", "2026-05-31"])
def test_a_date_that_contradicts_is_remarked_and_expires_on_rules(date: str) -> None:
    found = answers.expiry(int(END), date, now=NOW)
    assert found.at == END
    assert found.remark


def test_a_date_alone_without_a_zone_is_the_earlier_of_both_readings() -> None:
    found = answers.expiry(None, "2026-05-31T13:45:05", now=NOW).at
    assert found == END
    assert found < (answers.instant("2026-05-31T13:45:05Z") or 0)


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00", "9999-12-31T23:59:59"])
def test_a_date_alone_far_away_is_unknown(date: str) -> None:
    assert answers.expiry(None, date, now=NOW).at is None


# clocks (contract 2.1, 9.15, 9.22)


@pytest.mark.parametrize("fraction", ["", ".1", ".120", ".120334", ".120334551"])
def test_timestamps_are_read_with_any_fraction(fraction: str) -> None:
    said = answered({"timestamp": f"2026-03-02T08:15:05{fraction}Z"})
    assert answers.vendor_now(said) == pytest.approx(NOW, abs=1)


@pytest.mark.parametrize("timestamp", [None, "", 5, "2026-03-02T08:15:05", "yesterday"])
def test_without_a_timestamp_with_its_zone_the_date_header_is_the_clock(timestamp: object) -> None:
    said = answered({"timestamp": timestamp}, {"date": "Mon, 02 Mar 2026 08:15:05 GMT"})
    assert answers.vendor_now(said) == NOW
    assert answers.vendor_now(answered({"timestamp": timestamp}, {"date": "nonsense"})) is None


# errors (contract 2.5)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"errorCode": "Unauthorized", "errorMsg": "Invalid entity id"}, "Unauthorized: Invalid entity id"),
        ({"errorcode": "Unauthorized", "errormsg": "Invalid entity id"}, "Unauthorized: Invalid entity id"),
        ({"error": "invalid_grant", "error_description": "no\nway"}, "invalid_grant: no way"),
        ({"errorMsg": ["odd"]}, ""),
        (None, ""),
        ("text", ""),
    ],
)
def test_errors_are_read_in_every_form(body: object, said: str) -> None:
    assert answers.error_text(answered(body, status=401)) == said


def test_a_long_error_is_shortened() -> None:
    assert len(answers.error_text(answered({"errorMsg": "x" * 5_000}))) == answers.TEXT_CHARS_MAX


# secrets and tokens


def test_an_answer_is_read_in_any_case_and_with_unknown_members() -> None:
    body = {"ENTITYID": "fiu-demo", "Secret": "v", "ExpiresOn": int(END), "txnid": "t", "new": {"member": 1}}
    held = answers.held(answered(body), now=NOW)
    assert held
    assert (held.entity_id, held.txn_id, held.expiry.at) == ("fiu-demo", "t", END)
    assert held.secret
    assert held.secret.reveal() == "v"


@pytest.mark.parametrize("body", [None, [], "text", 5])
def test_what_is_no_object_is_no_secret(body: object) -> None:
    assert answers.held(answered(body), now=NOW) is None
    assert answers.minted(answered(body)) is None


@pytest.mark.parametrize("secret", [None, ""])
def test_an_empty_secret_is_none(secret: object) -> None:
    held = answers.held(answered({"entityId": "fiu-demo", "secret": secret}), now=NOW)
    assert held
    assert held.secret is None


@pytest.mark.parametrize("odd", [5, 0, False, [], ["x"], {"value": "x"}, "half a pair \ud800"])
@pytest.mark.parametrize("name", ["entityId", "secret"])
def test_a_secret_in_another_form_is_never_taken_for_none(name: str, odd: object) -> None:
    assert answers.held(answered({"entityId": "fiu-demo", "secret": "s", name: odd}), now=NOW) is None


@pytest.mark.parametrize(
    ("said", "message"), [({}, ""), ({"message": "old"}, "old"), ({"message": 5}, "(without text)")]
)
def test_a_message_is_a_warning_whatever_it_says(said: dict[str, object], message: str) -> None:
    token = answers.minted(answered({"accessToken": "t", **said}))
    assert token
    assert token.message == message


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.%%%.c", f"a.{'A' * 5}.c", "a.bnVsbA.c", "a.W10.c"])
def test_a_token_that_is_no_jwt_has_no_claims(token: str) -> None:
    assert answers.claims(Secret(token)) == {}


def test_claims_and_entities_of_a_jwt_are_read() -> None:
    token = answers.minted(answered({"accessToken": jwt({"azp": "é", "entity_meta": {"a": [], "b": []}}).reveal()}))
    assert token
    assert token.claims["azp"] == "é"
    assert answers.entities(token) == frozenset({"a", "b"})


def test_nothing_that_holds_a_value_shows_it() -> None:
    held = answers.held(answered({"secret": "canary-value"}), now=NOW)
    token = answers.minted(answered({"accessToken": jwt({"sub": "canary-claim"}).reveal()}))
    assert "canary" not in f"{held!r}{token!r}"


# over the wire


@pytest.fixture
def bench() -> Iterator[Bench]:
    with running_bench() as bench:
        bench.inspect()
        yield bench


@pytest.mark.parametrize("form", ["s", "ms", "text", "ms-text"])
def test_the_expiry_of_a_reset_is_the_granted_one_in_every_unit(bench: Bench, form: str) -> None:
    bench.target = Target.model_validate({"entity_id": bench.entity, "expiry": "90d"})
    bench.sim.switch(expires_on=form)
    made = bench.issue()
    assert made.expires_at == pytest.approx(bench.clock.now() + 90 * 86_400, abs=1)
    assert bench.inspect().expires_at == made.expires_at


def test_a_clamped_validity_is_reported_as_granted_and_not_as_asked(bench: Bench) -> None:
    bench.sim.switch(clamp=True)
    assert bench.issue().expires_at == pytest.approx(bench.clock.now() + 86_400, abs=1)


def test_a_default_that_was_applied_is_noted(bench: Bench) -> None:
    bench.sim.switch(maximum_days=30)
    made = bench.issue()
    assert made.expires_at == pytest.approx(bench.clock.now() + 30 * 86_400, abs=1)
    assert bench.context.notes[0][0] == "vendor-message"


def test_a_contradicting_date_is_noted_once_for_a_reset(bench: Bench) -> None:
    bench.sim.switch(expiration_date="wrong")
    bench.inspect()
    bench.issue()
    assert [event for event, _ in bench.context.notes] == ["expiry-unclear"]


@pytest.mark.parametrize("kind", ["usual", "awkward", "long"])
def test_awkward_secrets_are_percent_encoded_so_that_they_are_accepted(bench: Bench, kind: str) -> None:
    bench.sim.switch(makes=kind)
    made = bench.issue()
    assert same(made.bundle, bench.current())
    assert bench.probe(made.bundle).verdict is Verdict.ACCEPTED
    assert bench.probe(bench.old).verdict is Verdict.REFUSED


def test_every_awkward_character_of_a_login_goes_out_encoded(bench: Bench) -> None:
    encoded = r"^username=a%2Bb%40c\.example&password=%2B%2F%3D%25(\+|%20)%26%C3%A9$"
    with FaultProxy(bench.sim.urls[0]) as line:
        login = {"username": "env:U", "password": "env:P"}
        bench.account = Account.model_validate({"base_url": f"{line.url}/iam", **login})
        bench.context.references |= {"env:U": "a+b@c.example", "env:P": "+/=% &é"}
        bench.fresh()
        plan = line.fault("answer", On("POST", "/iam/v1/user/token/generate", body=encoded), answer=refusal(401, "{}"))
        assert bench.problem().code == "user-refused"
        assert plan.hits == 1


# options


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"environment": "production", "base_url": "https://iam.example/iam"},
        {"environment": "staging"},
        {"base_url": "https://iam.example/iam/v1"},
        {"base_url": "http://iam.example/iam"},
        {"environment": "uat", "local_address": "eth0"},
        {"environment": "uat", "proxy": "http://me:pw@proxy.example"},
    ],
)
def test_an_account_has_one_address_and_no_login_in_it(wrong: dict[str, str]) -> None:
    login = {"username": "env:U", "password": "env:P"}
    with pytest.raises(ValueError, match=r"expected|Input|match"):
        Account.model_validate({**login, **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"entity_id": "fiu-demo", "token_of": "network/entity"},
        {"entity_id": "with blank"},
        {"entity_id": "fiu-demo", "expiry": "36h"},
        {"entity_id": "fiu-demo", "expiry": "0d"},
        {"entity_id": "fiu-demo", "expiry": "10d", "validity_min": "11d"},
        {"entity_id": "fiu-demo", "token_probe_url": "https://aa.example/me"},
        {"token_of": "network/entity", "expiry": "90d"},
    ],
)
def test_a_target_is_a_secret_or_a_token_and_never_half_of_both(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"expected|goes with|match"):
        Target.model_validate(wrong)


def test_environments_are_the_published_hosts_and_subjects_tell_kinds_apart() -> None:
    login = {"username": "env:U", "password": "env:P"}
    account = Account.model_validate({"environment": "sandbox", **login})
    assert account.url == "https://api.sandbox.sahamati.org.in/iam"
    assert subject(account, Target(entity_id="x")) != subject(account, Target(token_of="x"))


def test_the_overlap_that_is_relied_on_is_a_choice_and_zero_by_default() -> None:
    login = {"environment": "uat", "username": "env:U", "password": "env:P"}
    target = Target.model_validate({"entity_id": "fiu-demo", "expiry": "90d"})
    designed = traits(Account.model_validate(login), target)
    assert (designed.live_max, designed.grace_s, designed.grace_max_s) == (1, 0.0, 5 * 86_400)
    assert designed.life_min_s == 45 * 86_400
    relied = traits(Account.model_validate({**login, "overlap": "6d"}), target)
    assert (relied.live_max, relied.grace_s, relied.grace_max_s) == (2, 6 * 86_400, 6 * 86_400)
