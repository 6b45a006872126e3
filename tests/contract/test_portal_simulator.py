"""The simulated portal keeps the contract's rules: who may call it, what it refuses, what a change does."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract import portal_caller
from contract.portal_caller import API, Caller, code, text
from keyturn.testing.clock import FakeClock
from keyturn_apiportal.layer7.hook import keyturn_plugin
from keyturn_apiportal.layer7.simulator import SECRET, Simulator, simulator

APPROVED = {"approve_edits": True}


clock, caller = portal_caller.clock, portal_caller.caller


@pytest.fixture
def sim(clock: FakeClock) -> Iterator[Simulator]:
    with Simulator(now=clock.now, wait=clock.wait, proxies=2) as running:
        yield running


# The login


def test_papi_takes_a_short_lived_bearer_token_and_no_other(sim: Simulator, caller: Caller, clock: FakeClock) -> None:
    apps = f"{API}/applications"
    for header in ("", "Bearer made-up", "Basic abc"):
        assert caller.http.get(apps, headers={"Authorization": header}).status_code == 401
    assert caller.ask("GET", apps).status_code == 200
    clock.advance(3601)
    assert caller.ask("GET", apps).status_code == 401
    caller.http.headers.pop("Authorization")
    assert caller.ask("GET", apps).status_code == 200
    sim.expire_tokens()
    assert caller.ask("GET", apps).status_code == 401


def test_the_login_takes_form_fields_too_and_wants_its_scope(sim: Simulator, caller: Caller) -> None:
    login = {"client_id": sim.environment["PAPI_ID"], "client_secret": sim.environment["PAPI_SECRET"]}
    form = {"grant_type": "client_credentials", "scope": "OOB", **login}
    assert caller.http.post("/auth/oauth/v2/token", data=form).status_code == 200
    assert code(caller.log_in(scope="admin")) == "3003115"
    wrong = caller.http.post("/auth/oauth/v2/token", data={**form, "client_secret": "no"})
    assert (wrong.status_code, code(wrong)) == (401, "3003201")


def test_a_missing_role_another_tenant_and_unknown_paths_are_refused(sim: Simulator, caller: Caller) -> None:
    assert caller.ask("GET", "/beta/api-management/1.0/applications").status_code == 404
    assert caller.ask("GET", f"{API}/nothing").status_code == 404
    assert caller.ask("POST", f"{API}/applications").status_code == 405
    sim.switch(role="read-only")
    assert (caller.ask("GET", caller.key).status_code, caller.patch().status_code) == (200, 403)
    sim.switch(role="none")
    assert caller.ask("GET", caller.key).status_code == 403
    assert sim.log.commits("patch") == []


# A new secret in place


@pytest.mark.parametrize("hashed", [False, True])
def test_patch_makes_a_secret_and_shows_a_hashed_one_this_once(sim: Simulator, caller: Caller, hashed: bool) -> None:
    before = caller.ask("GET", caller.key).json()
    made = caller.patch(hashed=hashed).json()["keySecret"]
    after = caller.ask("GET", caller.key).json()
    assert after["modifyTs"] > before["modifyTs"]
    assert after["keySecret"] == ("********" if hashed else made)
    assert sim.portal_secret() == (None if hashed else made)
    assert (after["keySecretHashed"], after["apiKey"]) == (hashed, sim.api_key)


@pytest.mark.parametrize(("shown", "found"), [("empty", ""), ("absent", None), ("asterisks", "********")])
def test_what_a_hashed_key_shows_is_as_the_switch_says(caller: Caller, shown: str, found: str | None) -> None:
    caller.patch(hashed=True)
    caller.sim.switch(hashed_shown=shown)
    assert caller.ask("GET", caller.key).json().get("keySecret") == found


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"keySecret": ""},
        {"keySecretHashed": False},
        {"keySecret": None, "keySecretHashed": False},
        {"keySecret": "", "keySecretHashed": "false"},
        {"keySecret": "", "keySecretHashed": False, "name": "more"},
        {"keySecret": "mine", "keySecretHashed": False},
    ],
)
def test_another_body_of_patch_is_refused_and_changes_nothing(
    sim: Simulator, caller: Caller, body: dict[str, Any]
) -> None:
    answer = caller.ask("PATCH", f"{caller.key}/secret", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "ValidationException")
    assert sim.portal_secret() == sim.secret
    sim.switch(patch_takes_secret=True)
    assert caller.patch(secret="mine").status_code == 200


@pytest.mark.parametrize(("allowed", "hashed"), [("hashed", False), ("plaintext", True)])
def test_a_type_of_secret_that_the_tenant_does_not_allow_is_refused(
    sim: Simulator, caller: Caller, allowed: str, hashed: bool
) -> None:
    sim.switch(hashing=allowed)
    answers = [caller.patch(hashed=hashed), caller.post(keySecretHashed=hashed)]
    assert [(one.status_code, one.json()["error"]["code"]) for one in answers] == [(400, "ValidationException")] * 2
    assert [caller.patch(hashed=not hashed).status_code, len(sim.keys)] == [200, 1]


def test_the_hashing_setting_is_json_in_a_string_and_missing_or_broken_when_told(
    sim: Simulator, caller: Caller
) -> None:
    path = "/acme/tenant-admin/1.0/settings/APP_SECRET_HASHING_METADATA"
    assert json.loads(caller.ask("GET", path).json()["value"]) == {"algorithm": "SHA-512", "plaintextAllowed": True}
    sim.switch(hashing="hashed", algorithm="SHA-1")
    assert json.loads(caller.ask("GET", path).json()["value"]) == {"algorithm": "SHA-1", "plaintextAllowed": False}
    sim.switch(hashing="plaintext")
    assert caller.ask("GET", path).json()["value"] == ""
    sim.switch(hashing_shown="missing")
    assert caller.ask("GET", path).status_code == 404
    sim.switch(hashing_shown="not-json")
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(caller.ask("GET", path).json()["value"])


def test_the_older_settings_begin_with_capitals(sim: Simulator, caller: Caller) -> None:
    sim.switch(approve_edits=True)
    found = caller.ask("GET", "/acme/Settings('EDIT_APPLICATION_REQUEST_WORKFLOW')").json()
    assert (found["Name"], found["Value"]) == ("EDIT_APPLICATION_REQUEST_WORKFLOW", "ENABLED")
    assert caller.ask("GET", "/acme/Settings('DELETE_APPLICATION_REQUEST_WORKFLOW')").json()["Value"] == "DISABLED"


# Versions


@pytest.mark.parametrize(
    ("version", "patch", "put", "legacy"),
    [("5.2.1+", 200, False, 404), ("5.1", 404, True, 200), ("4.5", 404, None, 200)],
)
def test_each_version_has_its_ways_of_changing_a_secret(
    sim: Simulator, caller: Caller, version: str, patch: int, put: bool | None, legacy: int
) -> None:
    sim.switch(version=version)
    assert caller.patch().status_code == patch
    assert caller.ask("GET", caller.legacy).status_code == legacy
    body = {"name": "batch", "status": "ENABLED", "oauthScope": "OOB", "keySecret": "a" * 32}
    assert caller.ask("PUT", caller.key, body).status_code == (404 if put is None else 200)
    assert (sim.portal_secret() == "a" * 32) == bool(put)


def test_put_replaces_what_it_leaves_out_but_the_secret(sim: Simulator, caller: Caller) -> None:
    assert caller.put(name="renamed").status_code == 200
    assert caller.ask("GET", caller.key).json()["oauthScope"] == "OOB"
    caller.ask("PUT", caller.key, {"name": "batch", "status": "ENABLED"})
    assert caller.ask("GET", caller.key).json()["oauthScope"] == ""
    assert sim.portal_secret() == sim.secret
    assert caller.put(apiKey="other").status_code == 400
    sim.switch(put_answers=204)
    answer = caller.put(name="again")
    assert (answer.status_code, answer.content) == (204, b"")


def test_the_older_form_wants_the_whole_entity_and_a_suggestion_saves_nothing(sim: Simulator, caller: Caller) -> None:
    sim.switch(version="4.5")
    whole = caller.ask("GET", caller.legacy).json()
    assert whole["KeySecret"] == sim.secret
    query = {"ApplicationUuid": f"'{sim.application}'", "ShouldHash": "'false'"}
    suggested = caller.ask("GET", "/acme/GenerateNewSharedSecret", params=query).json()["result"]
    assert sim.portal_secret() == sim.secret != suggested
    assert caller.ask("PUT", caller.legacy, {"ApiKey": sim.api_key, "KeySecret": suggested}).status_code == 400
    assert caller.ask("PUT", caller.legacy, {**whole, "KeySecret": suggested, "ShouldHash": True}).status_code == 200
    assert sim.portal_secret() is None
    assert caller.ask("GET", caller.legacy).json()["KeySecret"] == "********"
    assert sim.log.commits("put-legacy")[0]["key"] == sim.api_key


# Another key


def test_a_second_key_lives_beside_the_first(sim: Simulator, caller: Caller, clock: FakeClock) -> None:
    made = caller.post().json()
    assert made["apiKey"] != sim.api_key
    assert caller.accepted(made["keySecret"], made["apiKey"]) == [False, False]
    clock.advance(1)
    assert caller.accepted(made["keySecret"], made["apiKey"]) == [True, True]
    assert caller.accepted(sim.secret) == [True, True]


@pytest.mark.parametrize("members", [{"apiKey": "no_such"}, {"apiKey": "a b"}, {"name": ""}, {"status": "EXPIRED"}])
def test_a_key_that_can_not_be_is_refused(sim: Simulator, caller: Caller, members: dict[str, Any]) -> None:
    assert caller.post(**members).status_code == 400
    assert len(sim.keys) == 1


def test_the_key_limit_taken_ids_and_taken_names_are_refused(sim: Simulator, caller: Caller) -> None:
    assert caller.post(apiKey="mine-1", keySecret="m" * 32).json()["keySecret"] == "m" * 32
    assert caller.post(apiKey="mine-1").status_code == 400
    sim.switch(names="unique")
    assert caller.post().status_code == 400
    sim.switch(key_limit=2)
    assert "at most 2 keys" in text(caller.post(name="third"))


def test_a_given_secret_stays_plaintext_at_creation(sim: Simulator, caller: Caller) -> None:
    assert caller.post(keySecret="g" * 32, keySecretHashed=True).json()["keySecretHashed"] is False
    made = caller.post(keySecretHashed=True).json()
    assert (made["keySecretHashed"], sim.portal_secret(made["apiKey"])) == (True, None)
    sim.switch(given_stays_plain="all")
    assert caller.post(keySecretHashed=True).json()["keySecretHashed"] is False


def test_the_default_key_can_not_go_before_another_takes_its_place(
    sim: Simulator, caller: Caller, clock: FakeClock
) -> None:
    other = caller.post().json()["apiKey"]
    assert "default" in text(caller.put(status="DISABLED"))
    assert "default" in text(caller.ask("DELETE", caller.key))
    assert caller.put(defaultKey=False).status_code == 400
    assert caller.put(other, defaultKey=True).status_code == 200
    assert caller.ask("GET", caller.key).json()["defaultKey"] is False
    assert "enabled" in text(caller.ask("DELETE", caller.key))
    assert caller.put(status="DISABLED").status_code == 200
    refused = caller.ask("DELETE", caller.key).json()["error"]["detail"]["validationErrors"][0]["field"]
    assert refused == "keyStoreCheck"
    clock.advance(1)
    assert caller.accepted(sim.secret) == [False, False]
    assert caller.ask("DELETE", caller.key).status_code == 204
    assert caller.ask("GET", caller.key).status_code == 404
    assert sim.keys == [other]


def test_a_key_store_check_can_be_left_out_and_a_deletion_may_fail(sim: Simulator, caller: Caller) -> None:
    sim.switch(delete_enabled=True)
    first, second = (caller.post().json()["apiKey"] for _ in range(2))
    sim.change(first)
    query = {"ignoreKeyStoreCheck": "true"}
    assert caller.ask("DELETE", f"{caller.keys}/{first}", params=query).status_code == 204
    sim.switch(delete_fails=True)
    assert caller.ask("DELETE", f"{caller.keys}/{second}").status_code == 204
    assert caller.ask("GET", f"{caller.keys}/{second}").json()["status"] == "DELETE_FAILED"


# Approval


def test_an_edit_that_waits_is_a_request_and_takes_effect_when_it_is_accepted(sim: Simulator, caller: Caller) -> None:
    sim.switch(**APPROVED)
    answer = caller.patch()
    assert (answer.status_code, "keySecret" in answer.json()) == (200, False)
    app = f"{API}/applications/{sim.application}"
    assert caller.ask("GET", app).json()["status"] == "EDIT_APPLICATION_PENDING_APPROVAL"
    assert caller.ask("GET", f"{app}/request-status").json()["status"] == "EDIT_APPLICATION_PENDING_APPROVAL"
    assert [caller.patch().status_code, caller.put().status_code, caller.post().status_code] == [409, 409, 409]
    assert sim.portal_secret() == sim.secret
    (waiting,) = caller.ask("GET", f"{API}/requests", params={"entityUuid": sim.application}).json()["results"]
    body = {"uuid": waiting["uuid"], "action": "ACCEPT", "reason": "fine"}
    assert caller.ask("PUT", f"{API}/requests/{waiting['uuid']}/reviews", body).status_code == 200
    assert caller.ask("GET", app).json()["status"] == "ENABLED"
    assert sim.portal_secret() not in (None, sim.secret)
    assert [one["event"] for one in sim.log if one["event"] != "attempt"] == ["commit", "request", "review", "commit"]


def test_a_rejected_edit_never_takes_effect(sim: Simulator, caller: Caller) -> None:
    sim.switch(**APPROVED, pending_answers=202)
    assert caller.patch(hashed=True).status_code == 202
    assert sim.review("reject") == 1
    assert (sim.portal_secret(), sim.pending) == (sim.secret, [])


@pytest.mark.parametrize("shown", ["hidden", "shown"])
def test_a_second_key_that_waits_is_pending_until_it_is_accepted(
    sim: Simulator, caller: Caller, clock: FakeClock, shown: str
) -> None:
    sim.switch(**APPROVED, pending_post=shown)
    told = caller.post().json()
    assert ("apiKey" in told, "keySecret" in told) == (shown == "shown", shown == "shown")
    made = sim.keys[1]
    path = f"{caller.keys}/{made}"
    assert caller.ask("GET", path).json()["status"] == "PENDING_REGISTRATION"
    sim.review("accept")
    secret = caller.ask("GET", path).json()["keySecret"]
    assert caller.ask("GET", path).json()["status"] == "ENABLED"
    clock.advance(1)
    assert caller.accepted(secret, made) == [True, True]
    caller.post()
    sim.review("reject")
    assert len(sim.keys) == 2


def test_an_administrators_edits_do_not_wait_and_deletions_have_a_setting_of_their_own(
    sim: Simulator, caller: Caller
) -> None:
    sim.switch(**APPROVED, administrator=True)
    assert "keySecret" in caller.patch().json()
    sim.switch(administrator=False, approve_edits=False, approve_deletes=True, delete_enabled=True)
    other = caller.post().json()["apiKey"]
    assert caller.ask("DELETE", f"{caller.keys}/{other}").status_code == 200
    assert other in sim.keys
    sim.review("accept")
    assert other not in sim.keys


# Lists


def test_lists_are_paged_and_have_no_secrets(sim: Simulator, caller: Caller) -> None:
    for number in range(5):
        caller.post(name=f"key-{number}")
    seen = []
    for page in range(3):
        body = caller.ask("GET", caller.keys, params={"page": page, "size": 2, "sort": "name,DESC"}).json()
        assert (body["totalElements"], body["totalPages"]) == (6, 3)
        seen += [one["name"] for one in body["results"]]
    assert seen == [*(f"key-{n}" for n in reversed(range(5))), "batch"]
    everywhere = caller.ask("GET", f"{API}/api-keys").json()["results"]
    assert all("keySecret" not in one for one in everywhere)
    sim.switch(page_max=4, totals="low")
    body = caller.ask("GET", caller.keys, params={"size": 50}).json()
    assert (len(body["results"]), body["totalElements"]) == (4, 3)
    assert caller.ask("GET", caller.keys, params={"page": "x"}).status_code == 400


def test_an_item_that_moves_between_pages_is_missed_by_one_pass(sim: Simulator, caller: Caller) -> None:
    for number in range(3):
        caller.post(name=f"key-{number}")
    sim.fault("keys", "moved", skip=1)
    pages = [caller.ask("GET", caller.keys, params={"page": page, "size": 2}).json() for page in range(2)]
    names = {one["apiKey"] for page in pages for one in page["results"]}
    assert len(names) == 3 < pages[0]["totalElements"]


# Errors


def test_errors_come_in_three_shapes_and_echo_what_was_posted(sim: Simulator, caller: Caller) -> None:
    refused = {"keySecret": "c4n4ry", "keySecretHashed": False}
    path = f"{caller.key}/secret"
    sim.switch(echo=True)
    assert "c4n4ry" in text(caller.ask("PATCH", path, refused))
    sim.switch(errors="top")
    assert "c4n4ry" in caller.ask("PATCH", path, refused).json()["userErrorMessage"]
    sim.switch(errors="bare", echo=False)
    assert caller.ask("PATCH", path, refused).json() == {
        "validationErrors": [
            {"field": "keySecret", "error": "keySecret must be empty", "key": "error.keySecret"},
        ]
    }


def test_no_value_gets_into_the_log_or_the_state(sim: Simulator, caller: Caller) -> None:
    made = caller.patch().json()["keySecret"]
    second = caller.post().json()["keySecret"]
    caller.token(made)
    for page in ("/simulator/log", "/simulator/state"):
        shown = caller.http.get(page).text
        assert not [one for one in (made, second, sim.secret) if one in shown]
        assert base64.b64encode(f"{sim.api_key}:{made}".encode()).decode() not in shown


# Options


def test_text_options_make_a_simulator_and_wrong_ones_are_refused() -> None:
    made = simulator({"proxies": "2", "hashed": "yes", "way": "patch"})
    assert (len(made.proxies), made.portal_secret(), made.way) == (2, None, "patch")
    versions = {way: simulator({"way": way}).world.switches.version for way in ("second-key", "put", "legacy")}
    assert versions == {"second-key": "5.2.1+", "put": "5.1", "legacy": "4.5"}, "one that has this way"
    for wrong in ({"proxies": "0"}, {"hashed": "maybe"}, {"way": "x"}, {"port": "-1"}, {"other": "1"}):
        with pytest.raises(ValueError, match="expected the options"):
            simulator(wrong)


def test_what_is_not_json_or_no_object_is_refused(caller: Caller) -> None:
    caller.ask("GET", caller.key)
    headers = {"Content-Type": "application/json"}
    for body in (b"[]", b"{", b"null"):
        answer: httpx.Response = caller.http.patch(f"{caller.key}/secret", content=body, headers=headers)
        assert answer.status_code == 400
    assert caller.http.patch(f"{caller.key}/secret", data={"keySecret": ""}).status_code == 415


@pytest.mark.parametrize("way", ["second-key", "patch", "put", "legacy"])
def test_what_it_says_for_a_configuration_is_what_the_options_take(tmp_path: Path, way: str) -> None:
    plugin = keyturn_plugin()
    assert plugin.account
    assert plugin.target
    with Simulator(way=way) as running:
        configuration = running.configuration(tmp_path)
        account = {name: value for name, value in configuration["providers"]["portal"].items() if name != "kind"}
        assert len(plugin.account.model_validate(account).places) == 3
        target = configuration["secrets"][SECRET]["target"]
        assert plugin.target.model_validate(target).api_key == running.api_key
        assert running.accepts(0, **running.initial[SECRET]["bundle"])
        assert all(url in " ".join(running.notes) for url in running.urls[:1])
