"""The simulated Token Service keeps the contract's rules, has every fault of contract section 9, and takes orders."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.pingauthorize_kit import until
from keyturn.testing.clock import FakeClock
from keyturn_sahamati.simulator import (
    ENTITY,
    NEIGHBOUR,
    NEVER_EXPIRED,
    NEW_MEMBER,
    SECRET,
    TOKEN,
    USER,
    Simulator,
    simulator,
)
from keyturn_sahamati.simulator_faults import HOSTILE, HOWS, KINDS
from keyturn_sahamati.simulator_switches import CHOICES, Switches

DAY_S = 86_400.0
TXN = "5d6c0000-1111-4222-8333-444455556666"


class Member:
    """A client that keeps to the contract, and breaks it where a test says so."""

    def __init__(self, sim: Simulator, *, local: str | None = None, timeout_s: float = 5.0) -> None:
        self.sim = sim
        transport = httpx.HTTPTransport(local_address=local, verify=False)  # spares a trust store: it is plain HTTP
        self.http = httpx.Client(base_url=f"{sim.base_url}/v1", transport=transport, timeout=timeout_s)

    def log_in(self, *, user: str = USER, password: str | None = None) -> httpx.Response:
        form = {"username": user, "password": password or self.sim.environment["SAHAMATI_PASSWORD"]}
        return self.http.post("/user/token/generate", data=form)

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.log_in().json()['accessToken']}"}

    def ask(self, path: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        body = {"ver": "1.0.0", "timestamp": "2026-03-02T08:15:05.000Z", "txnId": TXN, "entityId": ENTITY, **more}
        return self.http.post(path, json=body, headers=self.bearer if headers is None else headers)

    def reset(self, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        return self.ask("/entity/secret/reset", headers, **more)

    def read(self, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        return self.ask("/entity/secret/read", headers, **more)

    def use(self, secret: str, entity: str = ENTITY) -> httpx.Response:
        return self.http.post("/entity/token/generate", data={"id": entity, "secret": secret})

    def page(self, method: str, path: str, **more: Any) -> httpx.Response:
        """A page outside the four calls."""
        return self.http.request(method, f"{self.sim.urls[0]}{path}", **more)

    def any_call(self, kind: str) -> httpx.Response:
        if kind in ("read", "reset"):
            return self.ask(f"/entity/secret/{kind}")
        return self.log_in() if kind == "user-token" else self.use("made-up")


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Simulator, FakeClock]]:
    clock = FakeClock()
    with Simulator(now=clock.now, wait=clock.wait) as running:
        yield running, clock


@pytest.fixture
def clock(shared: tuple[Simulator, FakeClock]) -> FakeClock:
    return shared[1]


@pytest.fixture
def sim(shared: tuple[Simulator, FakeClock]) -> Simulator:
    """One server for all tests: each finds it with its first switches, no faults, and a secret of 30 days."""
    running, clock = shared
    clock.advance(DAY_S)
    running.obey({"clear": True, "switches": vars(Switches())})
    running.portal_reset()
    running.expire(in_s=30 * DAY_S)
    running.world.entities[NEW_MEMBER].versions.clear()
    running.world.log.clear()
    return running


@pytest.fixture
def member(sim: Simulator) -> Iterator[Member]:
    made = Member(sim)
    with made.http:
        yield made


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    parsed: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return parsed


def secret_of(sim: Simulator, entity: str = ENTITY) -> str:
    return sim.current(entity)["entity_secret"]


# What is refused


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"ver": ""}, 400, "Ver is missing in the request"),
        ({"timestamp": ""}, 400, "Timestamp is missing in the request"),
        ({"txnId": ""}, 400, "Txn Id is missing in the request"),
        ({"entityId": ""}, 400, "Entity Id is missing in the request"),
        ({"entityId": 7}, 400, "Entity Id is missing in the request"),
        ({"timestamp": "2026-03-02T08:15:05.000+05:30"}, 400, "Timestamp is not valid"),
        ({"secretExpiryDays": "90"}, 400, "secretExpiryDays must be a positive integer"),
        ({"secretExpiryDays": True}, 400, "secretExpiryDays must be a positive integer"),
        ({"secretExpiryDays": 0}, 400, "secretExpiryDays must be a positive integer"),
        ({"entityId": "nobody"}, 401, "Invalid entity id"),
        ({"entityId": NEIGHBOUR}, 401, "the user does not administer this entity"),
    ],
)
def test_a_reset_that_the_contract_does_not_know_is_refused_and_changes_nothing(
    sim: Simulator, member: Member, change: dict[str, Any], status: int, text: str
) -> None:
    before = sim.world.state()["entities"]
    answer = member.reset(**change)
    assert (answer.status_code, answer.json()["errorMsg"]) == (status, text)
    assert answer.json()["errorCode"] == {400: "Bad Request", 401: "Unauthorized"}[status]
    assert sim.world.state()["entities"] == before
    assert sim.commits == []


@pytest.mark.parametrize("path", ["/entity/secret/reset", "/entity/secret/read"])
def test_a_bad_bearer_token_a_form_and_a_body_that_is_no_object_are_refused(member: Member, path: str) -> None:
    raw = member.bearer["Authorization"].removeprefix("Bearer ")
    for header in ("", raw, f"bearer {raw}", f"Basic {raw}", "Bearer made-up"):
        assert member.ask(path, {"Authorization": header}).status_code == 401
    assert member.http.post(path, data={"entityId": ENTITY}, headers=member.bearer).status_code == 415
    for body in ("[]", "{", "null"):
        headers = {**member.bearer, "Content-Type": "application/json"}
        assert member.http.post(path, content=body, headers=headers).status_code == 400


def test_read_takes_no_validity(member: Member) -> None:
    assert member.read(secretExpiryDays=90).status_code == 400


@pytest.mark.parametrize(
    ("path", "form", "text"),
    [
        ("/user/token/generate", {"username": USER}, "User Id/Password is missing in the request"),
        ("/user/token/generate", {"password": "x"}, "User Id/Password is missing in the request"),
        ("/entity/token/generate", {"id": ENTITY}, "Entity Id/Secret is missing in the request"),
        ("/entity/token/generate", {"secret": "x"}, "Entity Id/Secret is missing in the request"),
    ],
)
def test_a_token_call_wants_both_fields_as_a_form(member: Member, path: str, form: dict[str, str], text: str) -> None:
    missing = member.http.post(path, data=form)
    assert (missing.status_code, missing.json()["errorMsg"]) == (400, text)
    assert member.http.post(path, json={**form, "id": "a", "secret": "b"}).status_code == 415


def test_a_form_that_is_not_percent_encoded_is_refused_as_a_wrong_secret(sim: Simulator, member: Member) -> None:
    secret = secret_of(sim)
    raw = member.http.post(
        "/entity/token/generate",
        content=f"id={ENTITY}&secret={secret}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert (raw.status_code, member.use(secret).status_code) == (401, 200)


def test_unknown_wrong_and_past_grace_look_the_same(sim: Simulator, member: Member) -> None:
    sim.switch(nine_digits=False)
    secret = secret_of(sim)
    texts = {member.use("made-up").json()["errorMsg"], member.use(secret, "nobody").json()["errorMsg"]}
    sim.expire(in_s=-6 * DAY_S)
    texts.add(member.use(secret).json()["errorMsg"])
    assert texts == {"Invalid entity id/secret or secret is expired"}


def test_old_paths_are_gone_and_other_paths_and_methods_are_not_there(sim: Simulator, member: Member) -> None:
    assert member.page("POST", "/auth/realms/sahamati/protocol/openid-connect/token").status_code == 410
    assert member.page("POST", "/iam/entity/secret/read").status_code == 404
    assert member.http.get("/entity/secret/read").status_code == 405


def test_a_lenient_server_takes_what_the_portal_and_other_clients_send(sim: Simulator, member: Member) -> None:
    sim.switch(strict=False)
    raw = {"Authorization": member.bearer["Authorization"].removeprefix("Bearer ")}
    assert member.http.post("/entity/secret/read", json={"entityId": ENTITY}, headers=raw).status_code == 200
    assert member.http.post("/entity/secret/read", json={}, headers=raw).status_code == 400


# What is answered


def test_a_reset_replaces_the_secret_and_read_gives_the_same_one(sim: Simulator, member: Member) -> None:
    old = secret_of(sim)
    made = member.reset(secretExpiryDays=90).json()
    read = member.read().json()
    assert {made["entityId"], read["entityId"]} == {ENTITY}
    assert made["secret"] == read["secret"] == secret_of(sim) != old
    assert made["expiresOn"] == read["expiresOn"]
    assert made["txnId"] == TXN
    assert "message" not in made
    assert made["expiresOn"] == pytest.approx(sim.world.now() + 90 * DAY_S, abs=2)
    assert datetime.fromisoformat(made["expirationDate"]).replace(tzinfo=UTC).timestamp() == pytest.approx(
        made["expiresOn"], abs=1
    )
    assert [member.use(one).status_code for one in (old, made["secret"])] == [401, 200]
    assert any(one in made["secret"] for one in "+/=")


def test_tokens_look_real_and_say_who_they_are_for(sim: Simulator, member: Member) -> None:
    user, entity = member.log_in().json(), member.use(secret_of(sim)).json()
    assert user["expiresIn"] == entity["expiresIn"] == 86_400
    assert len(user["timestamp"].partition(".")[2]) == 10
    assert set(claims(user["accessToken"])["entity_meta"]) == {ENTITY, NEVER_EXPIRED, NEW_MEMBER}
    token = claims(entity["accessToken"])
    assert {"exp", "iat", "jti", "iss", "sub", "typ", "azp", "acr", "scope", "roles"} == set(token)
    assert (token["azp"], token["exp"]) == (ENTITY, pytest.approx(sim.world.now() + DAY_S, abs=2))
    assert "message" not in entity


def test_the_log_has_every_attempt_and_commit_and_no_value(sim: Simulator, member: Member) -> None:
    made = member.reset(secretExpiryDays=90).json()["secret"]
    member.read(entityId="nobody")
    attempts = [(one["on"], one["status"]) for one in sim.log if one["event"] == "attempt"]
    assert attempts == [("user-token", 200), ("reset", 200), ("user-token", 200), ("read", 401)]
    (commit,) = sim.commits
    assert {"entity": ENTITY, "by": USER, "txnId": TXN, "days": 90}.items() <= commit.items()
    everything = "".join(member.page("GET", f"/simulator/{name}").text for name in ("log", "state"))
    assert made not in everything
    assert sim.environment["SAHAMATI_PASSWORD"] not in everything


def test_a_new_member_has_no_secret_until_the_first_reset(sim: Simulator, member: Member) -> None:
    read = member.read(entityId=NEW_MEMBER).json()
    assert (read["secret"], read["expiresOn"], read["expirationDate"]) == (None, None, None)
    made = member.reset(entityId=NEW_MEMBER).json()["secret"]
    assert member.use(made, NEW_MEMBER).status_code == 200


@pytest.mark.parametrize(("form", "keys"), [("null", {"expiresOn", "expirationDate"}), ("absent", set())])
def test_a_secret_older_than_the_rule_has_no_expiry(sim: Simulator, member: Member, form: str, keys: set[str]) -> None:
    sim.switch(null_form=form)
    read = member.read(entityId=NEVER_EXPIRED).json()
    assert read["secret"] == secret_of(sim, NEVER_EXPIRED)
    assert {key for key in ("expiresOn", "expirationDate") if key in read} == keys
    assert read.get("expiresOn") is None


@pytest.mark.parametrize(
    ("form", "like"),
    [
        ("s", int),
        ("ms", lambda at: int(at * 1000)),
        ("text", lambda at: str(int(at))),
        ("ms-text", lambda at: str(int(at * 1000))),
        ("null", lambda _: None),
        ("absent", lambda _: None),
        ("past", lambda _: 1_600_000_000),
    ],
)
def test_expires_on_comes_in_every_form(sim: Simulator, member: Member, form: str, like: Any) -> None:
    sim.switch(expires_on=form)
    read = member.read().json()
    assert read.get("expiresOn") == like(sim.world.now() + 30 * DAY_S)
    assert ("expiresOn" in read) == (form != "absent")


@pytest.mark.parametrize(
    ("form", "ahead_s", "zone"),
    [("utc", 0.0, ""), ("ist", 5.5 * 3600, ""), ("z", 0.0, "Z"), ("wrong", -109 * DAY_S, ""), ("absent", None, "")],
)
def test_the_expiration_date_comes_in_every_form(
    sim: Simulator, member: Member, form: str, ahead_s: float | None, zone: str
) -> None:
    sim.switch(expiration_date=form)
    read = member.read().json()
    if ahead_s is None:
        assert "expirationDate" not in read
        return
    assert read["expirationDate"].endswith(zone)
    at = datetime.fromisoformat(read["expirationDate"]).replace(tzinfo=UTC).timestamp()
    assert at - read["expiresOn"] == pytest.approx(ahead_s, abs=1)


def test_more_than_the_maximum_is_granted_as_the_default_with_a_message(sim: Simulator, member: Member) -> None:
    for answer in (member.reset(secretExpiryDays=365).json(), member.reset().json()):
        assert answer["expiresOn"] == pytest.approx(sim.world.now() + 180 * DAY_S, abs=2)
        assert "180 days" in answer["message"]


@pytest.mark.parametrize(("life_s", "granted_s"), [(DAY_S, DAY_S), (180 * DAY_S, 90 * DAY_S)])
def test_with_the_minimum_rule_validity_ends_with_the_user_token(
    sim: Simulator, member: Member, life_s: float, granted_s: float
) -> None:
    sim.switch(clamp=True, user_token_life_s=life_s)
    answer = member.reset(secretExpiryDays=90).json()
    assert answer["expiresOn"] == pytest.approx(sim.world.now() + granted_s, abs=2)


def test_secrets_come_awkward_and_very_long_and_work_all_the_same(sim: Simulator, member: Member) -> None:
    made: dict[str, str] = {}
    for kind in ("awkward", "long"):
        sim.switch(makes=kind)
        made[kind] = member.reset().json()["secret"]
        assert member.use(made[kind]).status_code == 200
    assert set("+/=%& ") <= set(made["awkward"])
    assert len(made["long"]) == 4096


def test_a_reset_may_answer_without_a_secret_or_keep_the_old_one(sim: Simulator, member: Member) -> None:
    old = secret_of(sim)
    sim.switch(reset_answers="same")
    assert member.reset().json()["secret"] == old == secret_of(sim)
    sim.switch(reset_answers="missing")
    assert "secret" not in member.reset().json()
    sim.switch(reset_answers="empty")
    assert member.reset().json()["secret"] == ""
    assert member.read().json()["secret"] == secret_of(sim) != old
    assert len(sim.commits) == 3


def test_answers_may_name_another_entity_and_not_echo_the_attempt(sim: Simulator, member: Member) -> None:
    sim.switch(other_entity=True, echo_txn=False, extra_members=False)
    read = member.read().json()
    assert read["entityId"] != ENTITY
    assert read["txnId"] != TXN
    assert set(read) == {"ver", "timestamp", "txnId", "entityId", "secret", "expiresOn", "expirationDate"}
    assert claims(member.use(secret_of(sim)).json()["accessToken"])["azp"] != ENTITY


def test_error_keys_may_be_lower_case(sim: Simulator, member: Member) -> None:
    sim.switch(lower_case_errors=True)
    assert set(member.use("made-up").json()) == {"ver", "timestamp", "txnid", "errorcode", "errormsg"}


# Overlap, grace, and what was got with a secret


@pytest.mark.parametrize("message", [False, True])
def test_an_old_secret_dies_at_once_or_after_a_grace(
    sim: Simulator, member: Member, clock: FakeClock, *, message: bool
) -> None:
    sim.switch(grace_s=5 * DAY_S, grace_message=message)
    old = secret_of(sim)
    member.reset()
    sim.switch(grace_s=0.0)  # what was left to the old one stays with it
    clock.advance(5 * DAY_S - 60)
    answer = member.use(old)
    assert (answer.status_code, "message" in answer.json()) == (200, message)
    clock.advance(120)
    assert member.use(old).status_code == 401


def test_an_expired_secret_is_in_grace_with_a_message_and_then_refused(
    sim: Simulator, member: Member, clock: FakeClock
) -> None:
    secret = secret_of(sim)
    sim.expire(in_s=60)
    assert "message" not in member.use(secret).json()
    clock.advance(61)
    assert "within the grace period" in member.use(secret).json()["message"]
    sim.switch(expiry_message=False)
    assert "message" not in member.use(secret).json()
    clock.advance(5 * DAY_S)
    assert member.use(secret).status_code == 401
    assert not sim.accepts({"entity_id": ENTITY, "entity_secret": secret})
    assert sim.accepts({"entity_id": ENTITY, "entity_secret": member.reset().json()["secret"]})


@pytest.mark.parametrize("revoked", [False, True])
def test_a_token_lives_until_its_end_or_dies_with_its_secret(
    sim: Simulator, member: Member, clock: FakeClock, *, revoked: bool
) -> None:
    sim.switch(revoke_tokens=revoked)
    token = member.use(secret_of(sim)).json()["accessToken"]
    bundle = {"entity_id": ENTITY, "access_token": token}
    assert sim.accepts(bundle)
    member.reset()
    network = member.http.get(sim.network_url, headers={"Authorization": f"Bearer {token}"})
    assert (sim.accepts(bundle), network.status_code) == ((False, 401) if revoked else (True, 200))
    clock.advance(DAY_S)
    assert not sim.accepts(bundle)
    assert not sim.accepts({"entity_id": ENTITY, "access_token": "made-up"})


# Lost, late and spoiled answers


@pytest.mark.parametrize("how", ["timeout-after", "reset-after", "502-after:html", "504-after:html", "500-after:empty"])
def test_a_reset_is_committed_and_its_answer_lost(sim: Simulator, member: Member, how: str) -> None:
    old = secret_of(sim)
    sim.fault("reset", how)
    headers = member.bearer
    _lost(lambda: member.reset(headers))
    assert len(sim.commits) == 1
    assert member.read(headers).json()["secret"] == secret_of(sim) != old


@pytest.mark.parametrize("how", ["timeout-before", "reset-before", "502:html", "500:empty", "401", "403:html", "429:5"])
def test_a_reset_is_lost_before_it_is_committed(sim: Simulator, member: Member, how: str) -> None:
    old = secret_of(sim)
    sim.fault("reset", how)
    headers = member.bearer
    _lost(lambda: member.reset(headers))
    assert (sim.commits, secret_of(sim)) == ([], old)
    assert [one["fault"] for one in sim.log if one["on"] == "reset"] == [how]


def _lost(call: Any) -> None:
    try:
        assert call().status_code >= 400
    except httpx.TransportError:
        return


def test_a_reset_commits_late_by_the_driven_clock_and_at_its_own_time(
    sim: Simulator, member: Member, clock: FakeClock
) -> None:
    old, headers = secret_of(sim), member.bearer
    sim.fault("reset", "late:40")
    began = sim.world.now()
    with pytest.raises(httpx.TransportError):
        member.reset(headers)
    assert member.read(headers).json()["secret"] == old
    clock.advance(39)
    assert member.read(headers).json()["secret"] == old
    assert sim.commits == []
    clock.advance(3600)
    assert member.read(headers).json()["secret"] == secret_of(sim) != old
    assert [one["at"] - began for one in sim.commits] == [40.0]


@pytest.mark.parametrize("how", ["cut-json", "bad-length", "bad-utf8"])
def test_an_answer_is_spoiled_in_the_middle_of_a_committed_reset(sim: Simulator, member: Member, how: str) -> None:
    sim.fault("reset", how)
    with pytest.raises((httpx.RemoteProtocolError, ValueError)) as caught:
        json.loads(member.reset().content)
    wanted = {"cut-json": httpx.RemoteProtocolError, "bad-length": json.JSONDecodeError, "bad-utf8": UnicodeDecodeError}
    assert caught.type is wanted[how]
    assert len(sim.commits) == 1


def test_a_driven_clock_pays_for_time_outs_and_slow_answers(sim: Simulator, member: Member, clock: FakeClock) -> None:
    sim.fault("user-token", "timeout-before")
    sim.fault("user-token", "slow:29")
    began = clock.now()
    with pytest.raises(httpx.TransportError):
        member.log_in()
    assert clock.now() - began == 60.0
    assert member.log_in().status_code == 200
    assert clock.now() - began == 89.0


def test_a_real_clock_waits_really_and_a_client_that_gives_up_hears_nothing() -> None:
    with Simulator() as sim:
        sim.switch(slow_s=0.2)
        member = Member(sim, timeout_s=0.1)
        with member.http, pytest.raises(httpx.ReadTimeout):
            member.log_in()
        patient = Member(sim)
        with patient.http:
            assert patient.log_in().elapsed.total_seconds() >= 0.2
            sim.switch(slow_s=0.0)
            sim.fault("user-token", "timeout-before")
            with pytest.raises(httpx.ReadTimeout):
                patient.http.post("/user/token/generate", data={"username": "a", "password": "b"}, timeout=0.1)


def test_read_is_served_by_a_copy_that_is_behind(sim: Simulator, member: Member, clock: FakeClock) -> None:
    sim.switch(read_lag_s=30.0)
    clock.advance(30)
    old = secret_of(sim)
    made = member.reset().json()["secret"]
    assert member.read().json()["secret"] == old
    clock.advance(31)
    assert member.read().json()["secret"] == made


def test_two_resets_in_flight_both_take_effect_and_the_later_one_stays(sim: Simulator) -> None:
    answers: list[str] = []

    def rotate() -> None:
        member = Member(sim)
        with member.http:
            answers.append(member.reset().json()["secret"])

    threads = [threading.Thread(target=rotate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sim.commits) == len(set(answers)) == 2
    assert secret_of(sim) in answers
    assert sum(sim.accepts({"entity_id": ENTITY, "entity_secret": one}) for one in answers) == 1


@pytest.mark.parametrize(
    ("on", "how", "order"),
    [
        ("read", "portal-after", ["portal", USER]),
        ("reset", "portal-before:other-rotator", ["other-rotator", USER]),
        ("reset", "portal-after", [USER, "portal"]),
    ],
)
def test_somebody_else_resets_in_between(sim: Simulator, member: Member, on: str, how: str, order: list[str]) -> None:
    sim.fault(on, how)
    read = member.read().json()["secret"]
    made = member.reset().json()["secret"]
    assert [one["by"] for one in sim.commits] == order
    assert read not in (made, secret_of(sim))
    assert (made == secret_of(sim)) == (order[-1] == USER)


def test_a_person_at_the_portal_resets_and_neighbours_stay_untouched(sim: Simulator, member: Member) -> None:
    before = {one: secret_of(sim, one) for one in (NEVER_EXPIRED, NEIGHBOUR)}
    sim.portal_reset()
    assert [(one["entity"], one["by"]) for one in sim.commits] == [(ENTITY, "portal")]
    assert member.read().json()["secret"] == secret_of(sim)
    member.reset()
    assert {one: secret_of(sim, one) for one in before} == before


# Identity


def test_a_wrong_and_an_expired_password_look_the_same_and_a_person_can_set_a_new_one(
    sim: Simulator, member: Member
) -> None:
    wrong = member.log_in(password="made-up")
    unknown = member.log_in(user="nobody@member.example")
    sim.switch(password_expired=True)
    expired = member.log_in()
    assert {(one.status_code, one.json()["errorMsg"]) for one in (wrong, unknown, expired)} == {
        (401, "Invalid username/password or password is expired")
    }
    dead = sim.environment["SAHAMATI_PASSWORD"]
    assert sim.portal_password() == sim.environment["SAHAMATI_PASSWORD"] != dead
    assert (member.log_in(password=dead).status_code, member.log_in().status_code) == (401, 200)


def test_a_user_token_ends_by_time_or_between_two_calls(sim: Simulator, member: Member, clock: FakeClock) -> None:
    headers = member.bearer
    clock.advance(DAY_S - 1)
    assert member.read(headers).status_code == 200
    clock.advance(2)
    assert member.read(headers).status_code == 401
    headers = member.bearer
    sim.fault("reset", "token-revoked")
    assert (member.read(headers).status_code, member.reset(headers).status_code) == (200, 401)
    assert sim.commits == []
    sim.switch(user_token_life_s=180 * DAY_S)
    assert member.log_in().json()["expiresIn"] == 180 * 86_400


@pytest.mark.parametrize("form", CHOICES["not_admin"])
def test_bad_tokens_and_entities_of_others_are_refused_in_every_form(sim: Simulator, member: Member, form: str) -> None:
    sim.switch(not_admin=form, bad_token=form)
    status, _, shape = form.partition(":")
    for answer in (member.read(entityId=NEIGHBOUR), member.reset({"Authorization": "Bearer made-up"})):
        assert answer.status_code == int(status)
        assert _shape(answer) == (shape or "json")


def _shape(answer: httpx.Response) -> str:
    if not answer.content:
        return "empty"
    return "html" if answer.headers["content-type"].startswith("text/html") else "json"


@pytest.mark.parametrize(("how", "meta"), [("own", ENTITY), ("others", "fip-somebody-else"), ("absent", None)])
def test_a_user_token_may_name_other_entities_or_none(
    sim: Simulator, member: Member, how: str, meta: str | None
) -> None:
    sim.switch(entity_meta=how)
    found = claims(member.log_in().json()["accessToken"]).get("entity_meta")
    assert (next(iter(found)) if found else None) == meta
    assert member.read().status_code == 200


# Network and platform


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ("timeout", httpx.ReadTimeout),
        ("reset", (httpx.NetworkError, httpx.RemoteProtocolError)),
        ("tls", httpx.RemoteProtocolError),
    ],
)
def test_an_address_that_is_not_registered_does_not_get_through(sim: Simulator, refusal: str, error: Any) -> None:
    sim.switch(allowed=["127.0.0.2"], refusal=refusal)
    stranger, known = Member(sim, timeout_s=0.3), Member(sim, local="127.0.0.2")
    with stranger.http, known.http:
        with pytest.raises(error):
            stranger.log_in()
        assert known.log_in().status_code == 200
        orders = known.http.post(f"{sim.control_url}/simulator/faults", json={"switches": {"allowed": None}})
        assert (orders.status_code, stranger.log_in().status_code) == (204, 200)


def test_a_refusal_by_reset_is_a_real_one_and_comes_before_any_request(sim: Simulator) -> None:
    sim.switch(allowed=[], refusal="reset")
    place = ("127.0.0.1", int(sim.urls[0].rpartition(":")[2]))
    with pytest.raises(ConnectionResetError), socket.create_connection(place, 5) as line:
        line.recv(1)


@pytest.mark.parametrize("form", ["html", "empty"])
def test_an_address_that_is_not_registered_may_get_a_403(sim: Simulator, form: str) -> None:
    sim.switch(allowed=["127.0.0.2"], refusal=f"403:{form}")
    stranger, known = Member(sim), Member(sim, local="127.0.0.2")
    with stranger.http, known.http:
        assert (stranger.log_in().status_code, _shape(stranger.log_in())) == (403, form)
        assert known.log_in().status_code == 200
    assert [one["status"] for one in sim.log] == [200]


def test_under_tls_a_refused_address_fails_before_anything_is_sent(tls: tuple[Path, Path]) -> None:
    trust = ssl.create_default_context(cafile=str(tls[0]))
    with Simulator(tls=tls) as sim, httpx.Client(verify=trust, timeout=0.5, trust_env=False) as http:
        url = f"{sim.base_url}/v1/user/token/generate"
        assert http.post(url).status_code == 415
        for refusal, error, text in (("tls", httpx.ConnectError, "alert"), ("timeout", httpx.ConnectTimeout, "timed")):
            sim.switch(allowed=[], refusal=refusal)
            stranger = httpx.Client(verify=trust, timeout=0.5, trust_env=False)
            with stranger, pytest.raises(error, match=f"(?i){text}"):
                stranger.post(url)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=simulated", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.mark.parametrize("form", ["7", "date", "none"])
def test_throttling_says_how_long_in_every_form(sim: Simulator, member: Member, form: str) -> None:
    sim.fault("any", f"429:{form}")
    answer = member.log_in()
    assert answer.status_code == 429
    wait = answer.headers.get("retry-after")
    if form == "date":
        assert parsedate_to_datetime(wait).timestamp() - sim.world.now() == pytest.approx(30, abs=1)
    else:
        assert wait == {"7": "7", "none": None}[form]


def test_a_rate_limit_counts_calls_of_the_last_minute(sim: Simulator, member: Member, clock: FakeClock) -> None:
    clock.advance(61)
    sim.switch(rate_limit=2)
    assert [member.log_in().status_code for _ in range(3)] == [200, 200, 429]
    clock.advance(61)
    assert member.log_in().status_code == 200


def test_the_platform_answers_pages_and_leads_to_a_login(sim: Simulator, member: Member) -> None:
    for how, shape in (("502:html", "html"), ("503:html", "html"), ("500:empty", "empty"), ("401:oauth", "json")):
        sim.fault("read", how)
        answer = member.read()
        assert (answer.status_code, _shape(answer)) == (int(how[:3]), shape)
    sim.switch(down="all", down_how="302")
    answer = member.log_in()
    assert (answer.status_code, answer.headers["location"]) == (302, "/login")
    page = member.page("GET", answer.headers["location"])
    assert (page.status_code, _shape(page)) == (200, "html")


@pytest.mark.parametrize("offset_s", [-3600.0, 3600.0])
def test_the_servers_clock_may_be_ahead_or_behind(
    sim: Simulator, member: Member, clock: FakeClock, offset_s: float
) -> None:
    sim.switch(offset_s=offset_s)
    answer = member.log_in()
    stamped = datetime.fromisoformat(answer.json()["timestamp"][:26] + "+00:00").timestamp()
    assert stamped - clock.now() == pytest.approx(offset_s, abs=1)
    assert parsedate_to_datetime(answer.headers["date"]).timestamp() - clock.now() == pytest.approx(offset_s, abs=1)


@pytest.mark.parametrize(
    ("down", "dead"),
    [("all", set(KINDS)), ("read", {"read"}), ("tokens", {"user-token", "entity-token"}), ("", set())],
)
def test_an_outage_hits_what_it_says(sim: Simulator, member: Member, down: str, dead: set[str]) -> None:
    headers = member.bearer
    sim.switch(down=down)
    answers = {
        "user-token": member.log_in(),
        "entity-token": member.use(secret_of(sim)),
        "read": member.read(headers),
        "reset": member.reset(headers),
    }
    assert {kind for kind, answer in answers.items() if answer.status_code == 503} == dead


def test_everything_may_be_down_after_the_reset(sim: Simulator, member: Member) -> None:
    headers = member.bearer
    sim.switch(down="after-reset", down_how="reset-before")
    made = member.reset(headers).json()["secret"]
    with pytest.raises(httpx.TransportError):
        member.read(headers)
    with pytest.raises(httpx.TransportError):
        member.use(made)
    sim.switch(down="")
    assert member.use(made).status_code == 200


# Orders


def test_another_process_gives_orders(sim: Simulator, member: Member) -> None:
    def order(page: str, **orders: object) -> httpx.Response:
        return member.page("POST", f"/simulator/{page}", json=orders)

    faults = [{"on": "any", "how": "500", "times": 2, "skip": 1}]
    assert order("faults", faults=faults, switches={"clamp": True}, expiry={ENTITY: None}).status_code == 204
    assert [member.log_in().status_code for _ in range(4)] == [200, 500, 500, 200]
    assert member.read().json()["expiresOn"] is None
    headers = member.bearer
    assert order("faults", revoke="user-tokens").status_code == 204
    assert member.read(headers).status_code == 401
    assert order("portal", entity=ENTITY, by="another-client", days=20).status_code == 204
    assert [(one["by"], one["days"]) for one in sim.commits] == [("another-client", 20)]
    assert order("portal", user=USER).json() == {"password": sim.environment["SAHAMATI_PASSWORD"]}
    assert order("accepts", **sim.current()).json() == {"accepts": True}
    assert order("accepts", entity_id=ENTITY).json() == {"accepts": False}
    assert member.page("GET", "/simulator/state").json()["switches"]["clamp"] is True
    sim.fault("any", "500", times=9)
    assert member.page("DELETE", "/simulator/faults").status_code == 204
    assert member.log_in().status_code == 200


@pytest.mark.parametrize(
    ("page", "orders"),
    [
        ("faults", {"fault": []}),
        ("faults", {"switches": {"colour": "blue"}}),
        ("faults", {"switches": {"expires_on": "weeks"}}),
        ("faults", {"switches": {"grace_s": "5d"}}),
        ("faults", {"switches": {"down_how": "explode"}}),
        ("faults", {"switches": {"allowed": "127.0.0.1"}}),
        ("faults", {"faults": [{"on": "read", "how": "explode"}]}),
        ("faults", {"faults": [{"on": "retire", "how": "500"}]}),
        ("faults", {"faults": [{"on": "read", "how": "late"}]}),
        ("faults", {"faults": [{"on": "read", "how": "500:pdf"}]}),
        ("faults", {"faults": [{"on": "read", "how": "429:soon"}]}),
        ("faults", {"faults": [{"on": "read", "how": "500", "when": "now"}]}),
        ("faults", {"faults": [{"on": "read", "how": "500", "times": "2"}]}),
        ("faults", {"faults": [{"on": "read", "how": "500"}, {"on": "read", "how": "500", "skip": -1}]}),
        ("faults", {"faults": [{"on": "read", "how": "500", "server": 0}]}),
        ("faults", {"faults": [{"on": "read", "how": "reset-before:1"}]}),
        ("faults", {"expiry": {NEW_MEMBER: 5}, "switches": {"clamp": True}}),
        ("faults", {"revoke": "everything"}),
        ("portal", {"entity": "nobody"}),
        ("portal", {"user": "nobody"}),
        ("portal", {"by": "portal"}),
    ],
)
def test_an_order_that_is_not_understood_is_refused_and_changes_nothing(
    sim: Simulator, member: Member, page: str, orders: dict[str, Any]
) -> None:
    before = {**sim.world.state(), "now": 0}
    assert member.page("POST", f"/simulator/{page}", json=orders).status_code == 400
    assert {**sim.world.state(), "now": 0} == before
    assert sim.book.faults == []


def test_the_same_seed_gives_the_same_trouble() -> None:
    assert _trouble(7) == _trouble(7) != _trouble(8)
    assert set(_trouble(7)) <= {"", *HOSTILE}


def _trouble(seed: int) -> list[str]:
    book = Simulator().book
    book.hostile(seed)
    return [book.next_for("read") for _ in range(100)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_spoil_a_call_works_on_every_call(sim: Simulator, member: Member, kind: str) -> None:
    for how in (*(f"{name}:1" if takes_s else name for name, takes_s in HOWS.items()), *HOSTILE):
        sim.fault(kind, how)
        try:
            assert (member.any_call(kind).status_code == 500) == how.startswith("500"), how
        except httpx.TransportError:
            assert how.startswith(("timeout", "reset", "late", "cut")), how
        assert sim.book.next_for(kind) == "", how
    assert sim.accepts(sim.current())


# As a plugin's simulator


def test_a_simulator_from_text_options_is_ready_for_a_configuration(tmp_path: Path) -> None:
    made = simulator({"port": "0"})
    made.start()
    try:
        ready = made.configuration(tmp_path)
        assert ready["providers"]["sahamati"]["base_url"] == made.base_url
        assert set(ready["secrets"]) == {SECRET, TOKEN}
        assert made.accepts(made.initial[SECRET]["bundle"])
        references = {value for value in ready["providers"]["sahamati"].values() if value.startswith("env:")}
        assert references == {f"env:{name}" for name in made.environment}
    finally:
        made.stop()
    with pytest.raises(ValueError, match="port"):
        simulator({"server": "1"})


def test_a_stopped_simulator_frees_its_port_and_can_start_again() -> None:
    sim = Simulator()
    for _ in range(2):
        sim.start()
        url = sim.urls[0]
        assert httpx.get(f"{url}/simulator/state", trust_env=False).status_code == 200
        sim.stop()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/simulator/state", trust_env=False)
    assert len({url, sim.urls[0]}) == 1


def test_a_simulator_stops_at_once_while_a_client_hangs() -> None:
    sim = Simulator()
    sim.start()
    sim.fault("any", "timeout-before")
    ended: list[type[Exception]] = []

    def hang() -> None:
        member = Member(sim, timeout_s=20)
        with member.http:
            try:
                member.log_in()
            except httpx.TransportError as error:
                ended.append(type(error))

    client = threading.Thread(target=hang)
    client.start()
    assert until(lambda: bool(sim.log))
    sim.stop()
    client.join(5)
    assert len(ended) == 1


def test_registering_imports_no_server() -> None:
    script = (
        "import sys; from keyturn_sahamati.hook import keyturn_plugin; keyturn_plugin();"
        "print([m for m in ('httpx', 'starlette', 'uvicorn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
