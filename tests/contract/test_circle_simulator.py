"""The simulated Circle keeps the contract's rules, and is otherwise where a switch says so."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from contract import circle_caller
from contract.circle_caller import (
    BITS,
    BROKEN,
    CALLS,
    CIPHERTEXT,
    GOOD,
    NEW,
    W3S,
    WRONG,
    Caller,
    commits,
    file_of,
    made_up,
    told,
    uuid4,
)
from keyturn.api import Secret
from keyturn.testing.clock import FakeClock
from keyturn_circle.client_cipher import public_key
from keyturn_circle.simulator import LIMITED_API_KEY, NEIGHBOUR_API_KEY, Simulator
from keyturn_circle.simulator_answers import Refusal
from keyturn_circle.simulator_faults import KINDS, MUTATING
from keyturn_circle.simulator_switches import CHOICES, SECRET_PATH

shared, clock, sim = circle_caller.shared, circle_caller.clock, circle_caller.sim
caller, fresh = circle_caller.caller, circle_caller.fresh


# Calls


def test_the_key_call_answers_with_a_key_that_ciphertexts_are_made_with(sim: Simulator, caller: Caller) -> None:
    key = caller.call("public-key").json()["data"]["publicKey"]
    assert caller.call("sign", **{CIPHERTEXT: _sealed_by(key, sim.secret)}).status_code == 200
    assert caller.call("entity").json() == {"data": {"appId": sim.entity.app_id}}


def _sealed_by(pem: str, secret: str) -> str:
    """A ciphertext as the provider makes it."""
    return public_key(pem, bits=BITS).encrypt(Secret(secret)).reveal()


def test_a_first_secret_is_set_once(fresh: Caller) -> None:
    sim, mine = fresh.sim, made_up()
    assert fresh.call("public-key").status_code == fresh.call("entity").status_code == 200
    assert [told(fresh.call(on)) for on in ("sign", "rotate", "reset", "wallet-sets")] == [(403, 156016)] * 4
    file = file_of(fresh.call("register", **{CIPHERTEXT: sim.seal(mine)}))
    assert sim.recovery_file_is(file)
    assert (sim.secret, fresh.sign(mine)) == (mine, GOOD)
    assert told(fresh.call("register")) == (409, 156015)
    assert (sim.secret, commits(sim)) == (mine, [("register", "api")])


@pytest.mark.parametrize("success", [200, 201])
def test_a_rotation_ends_the_old_secret_and_the_old_file_at_once(sim: Simulator, caller: Caller, success: int) -> None:
    sim.switch(success=success)
    old, old_file, new = sim.secret, sim.recovery_file, made_up()
    answer = caller.call("rotate", **{NEW: sim.seal(new)})
    assert answer.status_code == success
    file = answer.json()["data"]["recoveryFile"]
    assert base64.b64decode(file, validate=True)
    assert sim.recovery_file == file != old_file
    assert [caller.sign(one) for one in (old, new)] == [WRONG, GOOD]
    assert told(caller.call("reset", recoveryFile=old_file)) == (403, 156018)
    assert told(caller.call("rotate", **{CIPHERTEXT: sim.seal(old)})) == WRONG
    assert sim.secret == new


def test_a_reset_takes_the_file_in_force_only_and_renews_it(sim: Simulator, caller: Caller) -> None:
    file, new = sim.recovery_file, made_up()
    theirs = sim.world.entities["neighbour"].current
    assert theirs
    for bad in (theirs.file, file[:-4], f"{file}\n", "made up"):
        assert told(caller.call("reset", recoveryFile=bad)) == (403, 156018)
    renewed = file_of(caller.call("reset", recoveryFile=file, **{NEW: sim.seal(new)}))
    assert (sim.secret, sim.recovery_file) == (new, renewed)
    assert told(caller.call("reset", recoveryFile=file)) == (403, 156018)
    assert commits(sim) == [("reset", "api")]


@pytest.mark.parametrize("on", MUTATING)
def test_a_change_wants_its_members_and_no_others(sim: Simulator, caller: Caller, on: str) -> None:
    method, path = CALLS[on]
    before = (sim.secret, sim.recovery_file)
    for member in caller.body(on):
        for bad in (..., "", None, 7, ["x"]):
            assert told(caller.call(on, **{member: bad})) == (400, 2), member
    assert told(caller.call(on, idempotencyKey=uuid4())) == (400, 2)
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        sent = caller.http.request(method, path, content=json.dumps(caller.body(on)), headers={"Content-Type": kind})
        assert told(sent) == (400, 2), kind
    for body in (b"", b"[]", b"{", b"null", b'"x"', b"{}"):
        sent = caller.http.request(method, path, content=body, headers={"Content-Type": "application/json"})
        assert told(sent) == (400, 2), body
    assert (sim.secret, sim.recovery_file, commits(sim)) == (*before, [])


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"walletId": ...}, (400, 2)),
        ({"walletId": "no uuid"}, (400, 2)),
        ({"walletId": uuid4()}, (404, 156001)),
        ({"message": ""}, (400, 2)),
        ({"message": "0xzz", "encodedByHex": True}, (400, 156023)),
        ({"message": "0x00ff", "encodedByHex": True}, GOOD),
        ({"encodedByHex": "yes"}, (400, 2)),
        ({"memo": "for nobody"}, GOOD),
        ({"idempotencyKey": uuid4()}, (400, 2)),
        ({CIPHERTEXT: ...}, (400, 2)),
        ({"walletId": ..., "walletAddress": "0x1", "blockchain": "ETH-SEPOLIA"}, (404, 156001)),
        ({"walletId": ..., "walletAddress": "0x1", "blockchain": "ETH"}, (400, 156006)),
        ({"walletId": ..., "walletAddress": "0x1", "blockchain": "ROPSTEN"}, (400, 156027)),
    ],
)
def test_a_signing_is_as_the_contract_says(caller: Caller, change: dict[str, Any], answer: Any) -> None:
    assert told(caller.call("sign", **change)) == answer


def test_a_wallet_signs_by_its_address_and_for_its_owner_only(sim: Simulator, caller: Caller) -> None:
    by_address = {"walletAddress": sim.entity.wallets[sim.canary].address, "blockchain": "ETH-SEPOLIA"}
    signed = caller.call("sign", walletId=..., **by_address)
    assert re.fullmatch("0x[0-9a-f]{130}", signed.json()["data"]["signature"])
    theirs = next(iter(sim.world.entities["neighbour"].wallets))
    assert told(caller.call("sign", walletId=theirs)) == (404, 156001)
    other = Caller(sim, key=NEIGHBOUR_API_KEY)
    with other.http:
        assert [other.sign(one, walletId=theirs) for one in (sim.neighbour, sim.secret)] == [GOOD, WRONG]


def test_typed_data_is_signed_where_it_is_some(sim: Simulator, caller: Caller) -> None:
    good = json.dumps({"types": {}, "domain": {}, "primaryType": "Nothing", "message": {}})
    for text, answer in ((good, GOOD), ("text", (400, 156025)), ("[]", (400, 156025))):
        body = caller.body("sign", message=..., data=text)
        assert told(caller.http.post(f"{W3S}/developer/sign/typedData", json=body)) == answer


def test_other_paths_and_methods_are_not_there_and_still_spend_a_ciphertext(sim: Simulator, caller: Caller) -> None:
    body = caller.body("rotate")
    for path in ("secret", "secretHash", "entitySecret/register", "entitySecret/"):
        assert told(caller.http.put(f"{W3S}/config/entity/{path}", json=body)) == (404, 404)
    for path in ("transactions/transfer", "sign/transaction", f"transactions/{uuid4()}/cancel"):
        assert told(caller.http.post(f"{W3S}/developer/{path}", json=caller.body("sign"))) == (404, 404)
    assert told(caller.http.put(SECRET_PATH, json=body)) == told(caller.http.get(f"{SECRET_PATH}/rotate")) == (405, 405)
    assert told(caller.call("rotate", **body)) == (400, 156004)
    assert commits(sim) == []


# Key and ciphertext (contract 8.1 to 8.4)


@pytest.mark.parametrize("form", CHOICES["public_key"])
def test_the_public_key_comes_in_every_form(sim: Simulator, caller: Caller, form: str) -> None:
    sim.switch(public_key=form)
    text = caller.call("public-key").json()["data"]["publicKey"]
    body = "".join(re.sub("-----[A-Z ]+-----", "", text.replace("\\n", "")).split())
    looks = {
        "rsa-label": text.startswith("-----BEGIN RSA PUBLIC KEY-----\n") and body.startswith("MIIBIjAN"),
        "public-label": text.startswith("-----BEGIN PUBLIC KEY-----\n"),
        "one-line": "\n" not in text and text.endswith("-----END RSA PUBLIC KEY-----"),
        "crlf": "\r\n" in text,
        "literal-n": "\\n" in text and "\n" not in text,
        "pkcs1": text.startswith("-----BEGIN RSA PUBLIC KEY-----") and body.startswith("MIIBCg"),
        "small": len(body) < 250 and body.startswith("MIGf"),
        "not-rsa": len(body) < 150,
        "truncated": "END" not in text and text.startswith("-----BEGIN"),
        "empty": not text,
    }
    assert looks[form]
    if form not in ("small", "not-rsa", "truncated", "empty"):
        assert caller.call("sign", **{CIPHERTEXT: _sealed_by(text, sim.secret)}).is_success


def test_another_key_is_in_use_after_some_calls(sim: Simulator, caller: Caller) -> None:
    sim.switch(key_calls=2)
    keys = [caller.call("public-key").json()["data"]["publicKey"] for _ in range(3)]
    assert keys[0] == keys[1] != keys[2]
    for key, answer in ((keys[1], WRONG), (keys[2], GOOD)):
        assert caller.sign(**{CIPHERTEXT: _sealed_by(key, sim.secret)}) == answer


def test_a_ciphertext_is_good_for_one_request_whatever_became_of_that(sim: Simulator, caller: Caller) -> None:
    body = caller.body("sign")
    for how in ("503:html", "code:-1", "reset-before", "timeout-before", "late:1"):
        body = caller.body("sign")
        sim.fault("sign", how)
        try:
            assert caller.call("sign", **body).status_code >= 400
        except httpx.TransportError:
            assert how.startswith(("reset", "timeout", "late"))
        assert told(caller.call("sign", **body)) == (400, 156004), how
    key, body = caller.http.headers["Authorization"], caller.body("sign")
    assert caller.call("sign", {"Authorization": "Bearer made-up"}, **body).status_code == 401
    assert told(caller.call("sign", {"Authorization": key}, **body)) == (400, 156004)
    one = sim.seal(sim.secret)
    assert told(caller.call("rotate", **{CIPHERTEXT: one, NEW: one})) == (400, 156004)
    assert commits(sim) == []


def test_a_reused_ciphertext_is_refused_in_every_call(sim: Simulator, caller: Caller) -> None:
    spent = sim.seal(sim.secret)
    caller.call("sign", **{CIPHERTEXT: spent})
    for on, member in (("sign", CIPHERTEXT), ("rotate", CIPHERTEXT), ("rotate", NEW), ("reset", NEW),
                       ("wallet-sets", CIPHERTEXT), ("wallets", CIPHERTEXT)):  # fmt: skip
        assert told(caller.call(on, **{member: spent})) == (400, 156004), on
    with pytest.raises(Refusal, match="156004"):
        sim.console_rotate(spent, sim.seal(made_up()))
    with pytest.raises(Refusal, match="156004"):
        sim.console_reset(sim.recovery_file, spent)
    assert commits(sim) == []


def test_reuse_may_be_noticed_after_what_is_in_a_ciphertext(sim: Simulator, caller: Caller) -> None:
    for first, answer in ((True, (400, 156004)), (False, WRONG)):
        sim.switch(ledger_first=first)
        body = caller.body("sign", **{CIPHERTEXT: sim.seal(made_up())})
        assert [told(caller.call("sign", **body)) for _ in range(2)] == [WRONG, answer]
    good = caller.body("sign")
    assert [told(caller.call("sign", **good)) for _ in range(2)] == [GOOD, (400, 156004)]


def _oaep(hashed: HashAlgorithm, mgf: HashAlgorithm) -> Callable[[Simulator, bytes], bytes]:
    way = padding.OAEP(mgf=padding.MGF1(mgf), algorithm=hashed, label=None)
    return lambda sim, plain: sim.world.key.public_key().encrypt(plain, way)


RIGHT = _oaep(SHA256(), SHA256())


@pytest.mark.parametrize("code", [156013, 2])
@pytest.mark.parametrize(
    "seal",
    [
        pytest.param(_oaep(SHA1(), SHA1()), id="sha1"),
        pytest.param(_oaep(SHA256(), SHA1()), id="mgf1-sha1"),
        pytest.param(lambda sim, plain: RIGHT(sim, plain.hex().encode()), id="hex-text"),
        pytest.param(lambda sim, plain: RIGHT(sim, plain[1:]), id="31-bytes"),
        pytest.param(lambda sim, plain: RIGHT(sim, plain + b"0"), id="33-bytes"),
        pytest.param(lambda sim, plain: RIGHT(sim, plain)[1:], id="short"),
        pytest.param(lambda sim, plain: RIGHT(sim, plain) + b"0", id="long"),
        pytest.param(lambda _, plain: secrets.token_bytes(len(plain)), id="no-ciphertext"),
    ],
)
def test_a_ciphertext_that_is_made_wrongly_is_refused(
    sim: Simulator, caller: Caller, seal: Callable[[Simulator, bytes], bytes], code: int
) -> None:
    sim.switch(bad_ciphertext=f"{code}")
    plain = bytes.fromhex(sim.secret)
    for on, member in (("sign", CIPHERTEXT), ("rotate", CIPHERTEXT), ("rotate", NEW), ("reset", NEW)):
        wrong = base64.b64encode(seal(sim, plain)).decode()
        assert told(caller.call(on, **{member: wrong})) == (400, code), on
    assert commits(sim) == []


def test_a_ciphertext_is_strict_base64(sim: Simulator, caller: Caller) -> None:
    for spoil in (lambda text: f"{text}\n", lambda text: text.replace("=", ""), lambda text: f"<{text[1:]}"):
        assert caller.sign(**{CIPHERTEXT: spoil(sim.seal(sim.secret))}) == WRONG


@pytest.mark.parametrize("on", ["rotate", "reset"])
def test_the_secret_in_force_is_taken_as_the_new_one_or_refused(sim: Simulator, caller: Caller, on: str) -> None:
    file, same = sim.recovery_file, sim.secret
    assert sim.recovery_file_is(file_of(caller.call(on, **{NEW: sim.seal(same)})))
    assert sim.secret == same
    assert sim.recovery_file != file
    sim.switch(same_secret="refused")
    assert told(caller.call(on, **{NEW: sim.seal(same)})) == (400, 2)
    assert commits(sim) == [(on, "api")]


# State (contract 8.5 to 8.9)


def test_circle_may_want_a_rotation_first(sim: Simulator, caller: Caller) -> None:
    sim.switch(rotate_first=True)
    assert [caller.sign(), caller.sign(made_up())] == [(403, 156019)] * 2
    file_of(caller.call("rotate"))
    assert caller.sign() == GOOD


@pytest.mark.parametrize(
    ("how", "answer", "by"),
    [
        ("elsewhere-before", WRONG, [("rotate", "console")]),
        ("elsewhere-after", GOOD, [("rotate", "api"), ("rotate", "console")]),
    ],
)
def test_somebody_else_rotates_just_before_or_after_us(
    sim: Simulator, caller: Caller, how: str, answer: Any, by: list[tuple[str, str]]
) -> None:
    mine = made_up()
    sim.fault("rotate", how)
    assert told(caller.call("rotate", **{NEW: sim.seal(mine)})) == answer
    assert commits(sim) == by
    assert caller.sign(mine) == WRONG


def test_somebody_else_registers_first(fresh: Caller) -> None:
    theirs = fresh.page("POST", "/simulator/elsewhere").json()["entity_secret"]
    assert told(fresh.call("register")) == (409, 156015)
    assert (fresh.sim.secret, commits(fresh.sim)) == (theirs, [("register", "console")])


def test_what_is_in_flight_with_the_old_secret_fails(sim: Simulator, caller: Caller, clock: FakeClock) -> None:
    old = sim.secret
    sim.fault("rotate", "late:2")
    with pytest.raises(BROKEN):
        caller.call("rotate")
    before = clock.now()
    sim.fault("sign", "held:3")
    assert caller.sign(old) == WRONG
    assert clock.now() - before == pytest.approx(3)
    sim.fault("sign", "slow:3")
    assert caller.sign() == GOOD


@pytest.mark.parametrize(
    ("switches", "seen"),
    [
        ({}, [(WRONG, GOOD), (WRONG, GOOD)]),
        ({"old_lives_s": 5.0}, [(GOOD, GOOD), (WRONG, GOOD)]),
        ({"new_waits_s": 5.0}, [(WRONG, WRONG), (WRONG, GOOD)]),
        ({"old_lives_s": 5.0, "new_waits_s": 5.0}, [(GOOD, WRONG), (WRONG, GOOD)]),
    ],
)
def test_a_change_may_take_time_to_act(
    sim: Simulator, caller: Caller, clock: FakeClock, switches: dict[str, Any], seen: list[Any]
) -> None:
    sim.switch(**switches)
    old, new = sim.secret, made_up()
    file_of(caller.call("rotate", **{NEW: sim.seal(new)}))
    for both in seen:
        assert (caller.sign(old), caller.sign(new)) == both
        assert tuple(sim.accepts({"entity_secret": one}) for one in (old, new)) == tuple(one == GOOD for one in both)
        clock.advance(5)


def test_a_first_secret_may_take_time_too(fresh: Caller, clock: FakeClock) -> None:
    fresh.sim.switch(new_waits_s=5.0)
    file_of(fresh.call("register"))
    assert fresh.sign() == (403, 156016)
    clock.advance(5)
    assert fresh.sign() == GOOD


def test_two_back_ends_may_disagree_for_a_while(sim: Simulator, caller: Caller, clock: FakeClock) -> None:
    sim.switch(flaps_s=10.0)
    old, new = sim.secret, made_up()
    file_of(caller.call("rotate", **{NEW: sim.seal(new)}))
    assert {caller.sign(new) for _ in range(4)} == {GOOD, WRONG}
    assert {caller.sign(old) for _ in range(4)} == {GOOD, WRONG}
    assert sim.accepts({"entity_secret": old})
    clock.advance(10)
    assert {caller.sign(new) for _ in range(4)} == {GOOD}


@pytest.mark.parametrize(("rest", "status"), [("off", 404), ("405", 405)])
def test_without_a_public_call_only_the_console_rotates(sim: Simulator, caller: Caller, rest: str, status: int) -> None:
    sim.switch(rest=rest)
    assert [told(caller.call(on)) for on in ("rotate", "reset")] == [(status, status)] * 2
    assert commits(sim) == []
    new = made_up()
    assert sim.recovery_file_is(sim.console_rotate(sim.seal(sim.secret), sim.seal(new)))
    assert (caller.sign(new), commits(sim)) == (GOOD, [("rotate", "console")])


def test_calls_may_have_other_paths_and_fields(sim: Simulator, caller: Caller) -> None:
    sim.switch(
        rotate_call=f"POST {W3S}/config/secret old new", reset_call=f"PATCH {W3S}/again file new", answer_field="backup"
    )
    assert [told(caller.call(on))[0] for on in ("rotate", "reset")] == [404, 404]
    ciphertexts = {"old": sim.seal(sim.secret), "new": sim.seal(made_up())}
    file = caller.http.post(f"{W3S}/config/secret", json=ciphertexts).json()["data"]["backup"]
    assert told(caller.http.post(f"{W3S}/config/secret", json=ciphertexts)) == (400, 156004)
    reset = {"file": file, "new": sim.seal(made_up())}
    assert caller.http.patch(f"{W3S}/again", json=reset).json()["data"]["backup"] == sim.recovery_file


# Who asks (contract 1, 8.13)


@pytest.mark.parametrize("on", KINDS)
def test_a_bad_key_is_refused_by_every_call(sim: Simulator, caller: Caller, on: str) -> None:
    good = sim.api_key
    for header, answer in (
        ("", (401, 401)),
        (good, (401, 401)),
        (f"Basic {good}", (401, 401)),
        ("Bearer made-up", (401, 401)),
        (f"Bearer {good}0", (401, 401)),
        ("Bearer TEST_API_KEY:0000:0000", (401, 156007)),
    ):
        assert told(caller.call(on, {"Authorization": header})) == answer, header.partition(":")[0]
    assert commits(sim) == []


@pytest.mark.parametrize(("answers", "answer"), [("401", (401, 401)), ("3", (403, 3)), ("156006", (400, 156006)),
                                                 ("156007", (401, 156007))])  # fmt: skip
def test_a_good_key_may_be_refused(sim: Simulator, caller: Caller, answers: str, answer: Any) -> None:
    sim.switch(key_answers=answers)
    assert {told(caller.call(on)) for on in KINDS} == {answer}


def test_a_key_without_rights_sees_the_entity_only(sim: Simulator) -> None:
    limited = Caller(sim, key=LIMITED_API_KEY)
    with limited.http:
        seen = {on: told(limited.call(on)) for on in KINDS}
    assert [on for on, answer in seen.items() if answer == GOOD] == ["public-key", "entity"]
    assert {answer for answer in seen.values() if answer != GOOD} == {(403, 3)}


def test_a_key_may_be_of_another_entity(sim: Simulator, caller: Caller) -> None:
    mine = caller.call("entity").json()["data"]["appId"]
    sim.switch(other_entity=True)
    assert caller.call("entity").json()["data"]["appId"] != mine


def test_environments_are_registered_apart(sim: Simulator, clock: FakeClock) -> None:
    live = Caller(sim, key=sim.live_api_key)
    with live.http:
        assert live.sign() == (403, 156016)
        sim.switch(checks="wallet-first")
        assert live.sign() == (404, 156001)
        assert live.call("entity").json()["data"]["appId"] == sim.entity.app_id
    with Simulator(now=clock.now, wait=clock.wait, key_bits=BITS, environment="live") as other:
        caller = Caller(other)
        with caller.http:
            assert caller.sign() == GOOD
            assert told(caller.call("wallets")) == (400, 156006)
            assert caller.call("wallets", blockchains=["ETH"]).status_code == 201
            assert other.entity.wallets[other.canary].blockchain == "ETH"


# What creates something (contract 4, 8.14)


@pytest.mark.parametrize("on", ["wallet-sets", "wallets"])
def test_the_same_key_again_gets_the_first_answer_and_makes_no_other(sim: Simulator, caller: Caller, on: str) -> None:
    key = uuid4()
    first, again = (caller.call(on, idempotencyKey=key) for _ in range(2))
    assert first.status_code == 201
    assert again.json() == first.json()
    made = caller.call(on).json()
    assert made != first.json()
    listed = caller.call(f"list-{on}").json()["data"]
    assert len([one for one in next(iter(listed.values())) if one["id"] in first.text]) == 1
    name = {"wallet-sets": "name", "wallets": "blockchains"}[on]
    assert told(
        caller.call(on, idempotencyKey=key, **{name: {"name": "x", "blockchains": ["BASE-SEPOLIA"]}[name]})
    ) == (
        403,
        156020,
    )


def test_a_repeat_with_the_old_ciphertext_or_an_old_secret_is_refused(sim: Simulator, caller: Caller) -> None:
    body = caller.body("wallet-sets")
    assert caller.call("wallet-sets", **body).status_code == 201
    assert told(caller.call("wallet-sets", **body)) == (400, 156004)
    assert told(caller.call("wallet-sets", **{**body, CIPHERTEXT: sim.seal(made_up())})) == WRONG


@pytest.mark.parametrize(
    ("on", "change", "answer"),
    [
        ("wallet-sets", {"idempotencyKey": ...}, (400, 2)),
        ("wallet-sets", {"idempotencyKey": "7"}, (400, 2)),
        ("wallet-sets", {"idempotencyKey": "c232ab00-9414-11ec-b3c8-9f68deced846"}, (400, 2)),
        ("wallet-sets", {"name": ...}, (400, 2)),
        ("wallet-sets", {"colour": "blue"}, (400, 2)),
        ("wallets", {"walletSetId": uuid4()}, (404, 156005)),
        ("wallets", {"blockchains": []}, (400, 2)),
        ("wallets", {"blockchains": ["ETH"]}, (400, 156006)),
        ("wallets", {"blockchains": ["ROPSTEN"]}, (400, 156027)),
        ("wallets", {"count": 0}, (400, 2)),
        ("wallets", {"count": True}, (400, 2)),
        ("wallets", {"accountType": "EOB"}, (400, 2)),
    ],
)
def test_what_creates_something_is_strict_and_makes_nothing_when_refused(
    sim: Simulator, caller: Caller, on: str, change: dict[str, Any], answer: Any
) -> None:
    before = sim.world.state()["entities"]
    assert told(caller.call(on, **change)) == answer
    assert sim.world.state()["entities"] == before


def test_a_new_wallet_can_sign(caller: Caller) -> None:
    made = caller.call("wallets", count=2, accountType="EOA").json()["data"]["wallets"]
    assert {one["accountType"] for one in made} == {"EOA"}
    assert [caller.sign(walletId=one["id"]) for one in made] == [GOOD, GOOD]


# Probes (contract 8.15)


@pytest.mark.parametrize(
    ("answers", "answer"),
    [("156001", (404, 156001)), ("156023", (400, 156023)), ("156025", (400, 156025)), ("156027", (400, 156027))],
)
@pytest.mark.parametrize("first", ["secret", "wallet"])
def test_a_probe_may_fail_for_its_wallet_or_text_and_the_secret_is_looked_at_first_or_last(
    sim: Simulator, caller: Caller, answers: str, answer: Any, first: str
) -> None:
    sim.switch(sign_answers=answers, checks=f"{first}-first")
    assert caller.sign() == answer
    assert caller.sign(made_up()) == (WRONG if first == "secret" else answer)


def test_a_signing_may_answer_without_a_signature(sim: Simulator, caller: Caller) -> None:
    for how, found in (("no-signature", {}), ("empty-signature", {"signature": ""})):
        sim.switch(sign_answers=how)
        assert caller.call("sign").json() == {"data": found}
        assert caller.sign(made_up()) == WRONG
