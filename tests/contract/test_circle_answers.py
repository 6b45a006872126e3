"""What Circle's answers mean, and what of them may be said: every row of the contract's tables."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.api import Answer, Secret, Verdict
from keyturn_circle.answers import clean, file_in, reply, well_formed
from keyturn_circle.asking import judge
from keyturn_circle.codes import HINTS, MEANINGS, Meaning, meaning
from keyturn_circle.options import Account

SIGN, SET = "sign-message", "wallet-set"
FILE = "UkVDT1ZFUlktRVhBTVBMRQ=="


def answer(status: int, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status=status, headers=headers or {}, json=body, text=Secret(json.dumps(body)))


def error(status: int, code: int, message: str = "words") -> Answer:
    return answer(status, {"code": code, "message": message})


# Probes: contract 2.5


@pytest.mark.parametrize(
    ("status", "body", "verdict", "said"),
    [
        (200, {"data": {"signature": "0xabc"}}, Verdict.ACCEPTED, "200"),
        (201, {"data": {"signature": "0xabc"}}, Verdict.ACCEPTED, "201"),
        (200, {"data": {}}, Verdict.UNKNOWN, "nothing was made"),
        (200, {"data": {"signature": ""}}, Verdict.UNKNOWN, "nothing was made"),
        (200, {"data": {"signature": 5}}, Verdict.UNKNOWN, "nothing was made"),
        (200, {"signature": "0xabc"}, Verdict.UNKNOWN, "nothing was made"),
        (200, ["0xabc"], Verdict.UNKNOWN, "nothing was made"),
        (400, {"code": 156013}, Verdict.REFUSED, "not the active secret"),
        (400, {"code": 177604}, Verdict.REFUSED, "not the active secret"),
        (403, {"code": 156016}, Verdict.REFUSED, "no secret is registered"),
        (400, {"code": 177605}, Verdict.REFUSED, "no secret is registered"),
        (400, {"code": 156004}, Verdict.UNKNOWN, "sends calls again"),
        (403, {"code": 156019}, Verdict.UNKNOWN, "rotation first"),
        (400, {"code": 177606}, Verdict.UNKNOWN, "rotation first"),
        (404, {"code": 156001}, Verdict.UNKNOWN, "proves nothing"),
        (400, {"code": 156023}, Verdict.UNKNOWN, "156023"),
        (400, {"code": 156027}, Verdict.UNKNOWN, "156027"),
        (401, {"code": 401}, Verdict.UNKNOWN, "401"),
        (403, {"code": 3}, Verdict.UNKNOWN, "403, 3"),
        (429, {"code": 429}, Verdict.UNKNOWN, "429"),
        (403, None, Verdict.UNKNOWN, "without a code"),
        (400, {"code": "156013"}, Verdict.UNKNOWN, "without a code"),
        (400, {"code": True}, Verdict.UNKNOWN, "without a code"),
    ],
)
def test_a_probe_is_judged_by_the_table(status: int, body: Any, verdict: Verdict, said: str) -> None:
    asked = judge(reply(answer(status, body), {}), SIGN)
    assert asked.verdict is verdict
    assert said in asked.evidence


def test_the_code_counts_whatever_the_status_says() -> None:
    for status in (400, 401, 403, 404, 409, 422):
        assert judge(reply(error(status, 156013), {}), SIGN).verdict is Verdict.REFUSED


def test_a_wallet_set_that_is_there_already_proves_a_secret_only_where_the_probe_makes_sets() -> None:
    there = reply(error(409, 155601), {})
    assert judge(there, SET).verdict is Verdict.ACCEPTED
    assert judge(there, SIGN).verdict is Verdict.UNKNOWN
    assert judge(reply(answer(201, {"data": {"walletSet": {"id": "w"}}}), {}), SET).verdict is Verdict.ACCEPTED
    assert judge(reply(answer(200, {"data": {"signature": "0x"}}), {}), SET).verdict is Verdict.UNKNOWN


def test_a_configured_meaning_goes_before_the_table() -> None:
    account = Account.model_validate({"environment": "test", "api_key": "env:K", "codes": {"990": "not-active"}})
    assert judge(reply(error(400, 990), account.codes), SIGN).verdict is Verdict.REFUSED
    assert judge(reply(error(400, 156013), {156013: "no-evidence"}), SIGN).verdict is Verdict.UNKNOWN


# The table: contract 3

CONTRACT = {
    Meaning.DOUBT: [-1],
    Meaning.BUG: [2, 156014],
    Meaning.OPERATOR: [3, 401, 156006, 156007, 156008, 156010, 177603],
    Meaning.REUSED: [156004, 177602],
    Meaning.NOT_ACTIVE: [156013, 177604],
    Meaning.ALREADY_SET: [156015],
    Meaning.NOT_SET: [156016, 177605],
    Meaning.RECOVERY_REFUSED: [156018],
    Meaning.ROTATE_FIRST: [156019, 177606],
}


def test_every_code_about_secrets_has_its_class() -> None:
    for expected, codes in CONTRACT.items():
        assert [meaning(code, 400, {}) for code in codes] == [expected] * len(codes)
    others = set(MEANINGS) - {code for codes in CONTRACT.values() for code in codes}
    assert {MEANINGS[code] for code in others} == {Meaning.NO_EVIDENCE}


def test_an_unknown_code_leaves_everything_open() -> None:
    assert meaning(123456, 400, {}) is Meaning.DOUBT
    assert meaning(None, 403, {}) is Meaning.DOUBT


def test_everything_for_the_operator_says_what_to_do() -> None:
    assert set(HINTS) >= set(CONTRACT[Meaning.OPERATOR])


# Recovery files: contract 2.2, 8.11


@pytest.mark.parametrize("text", [FILE, f"{FILE}\n", f"  {FILE}  "])
def test_a_whole_recovery_file_is_taken_without_the_white_space_around_it(text: str) -> None:
    found = well_formed(text)
    assert found
    assert found.reveal() == FILE


@pytest.mark.parametrize("text", ["", " ", "not base64!", FILE[:-1], "UkVD\nT1ZF", "<html>", "====", "ünï=", "-_-_"])
def test_anything_else_is_no_recovery_file(text: str) -> None:
    assert well_formed(text) is None


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "<html>",
        "[]",
        "null",
        '{"data": null}',
        '{"data": {"recoveryFile": null}}',
        '{"data": {"recoveryFile": ""}}',
        json.dumps({"recoveryFile": FILE}),
        json.dumps({"data": {"recoveryFile": FILE[:-3]}}),
        "[" * 100_000,
        json.dumps({"data": {"recoveryFile": FILE}})[:-1],
    ],
)
def test_an_answer_that_is_not_whole_has_no_file(raw: str) -> None:
    assert file_in(Secret(raw), "recoveryFile") is None


def test_the_file_is_found_under_the_configured_name() -> None:
    raw = Secret(json.dumps({"data": {"file": FILE}}))
    assert file_in(raw, "recoveryFile") is None
    found = file_in(raw, "file")
    assert found
    assert found.reveal() == FILE


# What may be said


def test_the_vendors_words_are_said_on_one_line() -> None:
    assert reply(error(400, 156013, "The entity secret\nis invalid."), {}).words == (
        "400, 156013 (The entity secret is invalid)"
    )


@pytest.mark.parametrize(
    "message", ["x" * 41, "the secret " + "0f" * 32, "a" + " b" * 100, 7, None, ["words"], {"words": "words"}]
)
def test_words_that_may_hold_a_value_are_left_out(message: Any) -> None:
    assert clean(message) == ""


def test_words_that_quote_what_was_sent_are_left_out() -> None:
    assert clean("no such wallet: w-1", ["w-1"]) == ""
    assert clean("no such wallet", ["w-1", ""]) == "no such wallet"


def test_details_of_an_error_are_never_quoted() -> None:
    body = {"code": 2, "message": "invalid", "errors": [{"invalidValue": "short-value", "location": "field"}]}
    got = reply(answer(400, body), {})
    assert "short-value" not in f"{got!r} {got.words}"


@given(st.text(max_size=300), st.lists(st.text(min_size=1, max_size=60), max_size=3))
def test_nothing_that_was_sent_is_ever_said(message: str, sent: list[str]) -> None:
    assert not any(value in clean(message, sent) for value in sent)


@given(st.binary(min_size=1, max_size=512))
def test_every_file_in_base64_is_whole(content: bytes) -> None:
    text = b64encode(content).decode()
    found = well_formed(text)
    assert found
    assert found.reveal() == text


@pytest.mark.parametrize(
    ("header", "said"),
    [("7", ", asking to wait 7 s"), ("", ""), ("soon", ""), ("9" * 40, ""), ("Sun, 06 Nov 1994 08:49:37 GMT", "")],
)
def test_a_wait_is_told_in_seconds(header: str, said: str) -> None:
    assert reply(answer(429, {"code": 429}, {"retry-after": header}), {}).wait == said
