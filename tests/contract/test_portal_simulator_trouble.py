"""The simulated portal's proxies hear of a change each in its time, and every fault of contract section 7 is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from contract import portal_caller
from contract.portal_caller import API, Caller, code
from keyturn.testing.clock import FakeClock
from keyturn_apiportal.layer7.simulator import Simulator
from keyturn_apiportal.layer7.simulator_faults import HOWS, RULES
from keyturn_apiportal.layer7.simulator_switches import CHOICES

clock, caller = portal_caller.clock, portal_caller.caller


@pytest.fixture
def sim(clock: FakeClock) -> Iterator[Simulator]:
    with Simulator(now=clock.now, wait=clock.wait, proxies=3) as running:
        yield running


def patched(caller: Caller, *, hashed: bool = False) -> str:
    made: str = caller.patch(hashed=hashed).json()["keySecret"]
    return made


def oracle(sim: Simulator, secret: str) -> list[bool]:
    return [sim.accepts(number, sim.api_key, secret) for number in range(len(sim.proxies))]


# Synchronisation


def test_each_proxy_takes_either_the_old_or_the_new_secret_and_changes_in_its_own_time(
    sim: Simulator, caller: Caller, clock: FakeClock
) -> None:
    for number, seconds in enumerate((1.0, 5.0, 30.0)):
        sim.proxies[number].switch(sync_s=seconds)
    new = patched(caller)
    for passed, changed in ((0.0, 0), (1.0, 1), (4.0, 2), (25.0, 3)):
        clock.advance(passed)
        expected = [number < changed for number in range(3)]
        assert caller.accepted(new) == expected == oracle(sim, new)
        assert caller.accepted(sim.secret) == [not one for one in expected] == [not one for one in oracle(sim, new)]


@pytest.mark.parametrize(
    ("sync", "hashed", "state"),
    [
        ("never", False, "PENDING_DEPLOYMENT"),
        ("on-demand", False, "PENDING_DEPLOYMENT"),
        ("error", False, "ERROR"),
        ("validation-error", False, "VALIDATION_ERROR"),
        ("old-otk", True, "ERROR"),
        ("old-otk", False, "DEPLOYED"),
    ],
)
def test_a_proxy_that_does_not_hear_of_a_change_keeps_the_old_secret(
    sim: Simulator, caller: Caller, clock: FakeClock, sync: str, hashed: bool, state: str
) -> None:
    sim.switch(deployments=True)
    sim.proxies[1].switch(sync=sync)
    new = patched(caller, hashed=hashed)
    clock.advance(600)
    assert oracle(sim, new) == [True, state == "DEPLOYED", True]
    path = f"/acme/deployments/1.0/applications/{sim.application}/api-keys/{sim.api_key}/proxies"
    told = caller.ask("GET", path).json()
    assert [one["status"] for one in told] == ["DEPLOYED", state, "DEPLOYED"]
    assert ("OTK older than 4.4" in told[1]["message"]) == (sync == "old-otk" and hashed)


def test_what_a_proxy_did_not_hear_of_is_pushed_to_it_once_it_can_take_it(sim: Simulator, caller: Caller) -> None:
    sim.proxies[0].switch(sync="on-demand")
    sim.proxies[1].switch(sync="old-otk")
    new = patched(caller, hashed=True)
    sim.deploy("gw1")
    sim.deploy("gw2")
    assert oracle(sim, new) == [True, False, False]
    sim.proxies[1].switch(sync="automatic")
    sim.deploy(1)
    assert oracle(sim, new)[:2] == [True, True]
    types = [one["deploymentType"] for one in caller.ask("GET", "/acme/deployments/1.0/proxies").json()]
    assert types == ["ON_DEMAND", "AUTOMATIC", "AUTOMATIC"]


def test_deployments_of_a_key_are_unknown_unless_switched_on(caller: Caller) -> None:
    sim = caller.sim
    path = f"/acme/deployments/1.0/applications/{sim.application}/api-keys/{sim.api_key}/proxies"
    assert caller.ask("GET", path).status_code == 404


def test_a_cache_takes_the_old_secret_for_a_while_after_the_deployment(
    sim: Simulator, caller: Caller, clock: FakeClock
) -> None:
    sim.proxies[0].switch(cache_s=60.0)
    new = patched(caller)
    clock.advance(1)
    assert (caller.accepted(sim.secret), caller.accepted(new)) == ([True, False, False], [True, True, True])
    clock.advance(60)
    assert caller.accepted(sim.secret) == [False, False, False]


def test_behind_a_balancer_every_other_answer_is_old(sim: Simulator, caller: Caller, clock: FakeClock) -> None:
    sim.proxies[0].switch(flap_s=10.0)
    new = patched(caller)
    clock.advance(2)
    assert {caller.token(new).status_code for _ in range(2)} == {200, 401}
    assert (sim.accepts(0, sim.api_key, new), sim.accepts(0, sim.api_key, sim.secret)) == (True, True)
    clock.advance(10)
    assert {caller.token(new).status_code for _ in range(4)} == {200}


def test_a_proxy_that_was_down_hears_of_changes_when_it_is_back_on_its_port(
    sim: Simulator, caller: Caller, clock: FakeClock
) -> None:
    url = sim.proxies[2].url
    sim.proxies[2].stop()
    new = patched(caller)
    clock.advance(60)
    with pytest.raises(httpx.ConnectError):
        caller.token(new, proxy=2)
    assert [caller.token(new, proxy=number).status_code for number in (0, 1)] == [200, 200]
    assert (oracle(sim, new), sim.proxies[2].state.deployment(sim.api_key, clock.now())[0]) == (
        [True, True, False],
        "PENDING_DEPLOYMENT",
    )
    sim.proxies[2].start()
    assert sim.proxies[2].url == url
    assert (sim.accepts(url, sim.api_key, new), caller.token(sim.secret, proxy=2).status_code) == (False, 200)
    clock.advance(1)
    assert caller.token(new, proxy=2).status_code == 200


def test_somebody_elses_secret_and_edit_are_commits_of_a_person(
    sim: Simulator, caller: Caller, clock: FakeClock
) -> None:
    before = caller.ask("GET", caller.key).json()
    sim.edit()
    edited = caller.ask("GET", caller.key).json()
    assert edited["modifyTs"] > before["modifyTs"]
    assert {**edited, "modifyTs": 0} == {**before, "modifyTs": 0}
    theirs = sim.elsewhere()
    clock.advance(1)
    assert caller.accepted(theirs) == [True, True, True]
    assert [(one["on"], one["by"]) for one in sim.log.commits()[1:]] == [("edit", "person"), ("elsewhere", "person")]
    sim.switch(patch_moves_time=False)
    moved = caller.ask("GET", caller.key).json()["modifyTs"]
    patched(caller)
    assert caller.ask("GET", caller.key).json()["modifyTs"] == moved


# The token endpoint of a proxy


def test_a_proxy_says_why_it_gives_no_token(sim: Simulator, caller: Caller) -> None:
    good = caller.token(sim.secret).json()
    assert (set(good), good["scope"]) == ({"access_token", "token_type", "expires_in", "scope"}, "OOB")
    refused = caller.token("made-up")
    assert (refused.status_code, code(refused), refused.json()["error"]) == (401, "3003201", "invalid_client")
    assert code(caller.token(sim.secret, scope="more")) == "3003115"
    assert code(caller.token(sim.secret, grant_type="password")) == "3003119"
    assert (
        code(httpx.post(sim.proxies[0].token_url, data={"grant_type": "client_credentials"}, verify=False)) == "3003103"
    )
    sim.change(oauth_type="PUBLIC")
    sim.proxies[0].switch(sync_s=0.0)
    sim.change(oauth_type="PUBLIC")
    assert code(caller.token(sim.secret)) == "3003117"


@pytest.mark.parametrize("says", [one for one in CHOICES["says"] if one])
def test_a_proxy_may_say_something_else_before_or_after_it_looked_at_the_secret(
    sim: Simulator, caller: Caller, says: str
) -> None:
    sim.proxies[0].switch(says=says)
    assert (code(caller.token(sim.secret)), code(caller.token("made-up"))) == (says, "3003201")
    sim.proxies[0].switch(says_first=True, err_header=False)
    answer = caller.token("made-up")
    assert (code(answer), answer.status_code == 500) == ("", says == "3003000")


def test_a_refusal_may_be_a_400_and_echo_the_secret(sim: Simulator, caller: Caller) -> None:
    sim.switch(echo=True)
    sim.proxies[0].switch(refused=400)
    answer = caller.token("c4n4ry")
    assert (answer.status_code, code(answer)) == (400, "3003201")
    assert "c4n4ry" in answer.text


def test_a_token_opens_the_test_api_until_its_end_or_its_revocation(
    sim: Simulator, caller: Caller, clock: FakeClock
) -> None:
    proxy = sim.proxies[0]
    tokens = [caller.token(sim.secret).json()["access_token"] for _ in range(2)]
    caller.patch()
    clock.advance(2)
    assert [_resource(proxy.resource_url, Authorization=f"Bearer {one}") for one in tokens] == [200, 200]
    assert _resource(sim.proxies[1].resource_url, Authorization=f"Bearer {tokens[0]}") == 401
    new = sim.portal_secret() or ""
    path = f"{proxy.token_url}/revoke"
    assert httpx.post(path, data={"token": tokens[0]}, auth=(sim.api_key, sim.secret), verify=False).status_code == 401
    assert httpx.post(path, data={"token": tokens[0]}, auth=(sim.api_key, new), verify=False).status_code == 200
    assert (_resource(proxy.resource_url, Authorization=f"Bearer {tokens[0]}"), proxy.tokens) == (401, 1)
    clock.advance(3600)
    assert proxy.tokens == 0
    assert _resource(proxy.resource_url, apikey=sim.api_key) == 200
    assert _resource(proxy.resource_url, apikey="made-up") == 401


def _resource(url: str, **headers: str) -> int:
    return httpx.get(url, headers=headers, verify=False).status_code


def test_a_client_that_calls_all_the_time_is_served_without_an_error(sim: Simulator, caller: Caller) -> None:
    form = {"grant_type": "client_credentials"}
    with httpx.Client(verify=False, auth=(sim.api_key, sim.secret)) as client:
        answers = [client.post(sim.proxies[0].token_url, data=form).status_code for _ in range(200)]
    assert answers == [200] * 200


# Faults


@pytest.mark.parametrize("how", ["timeout-before", "reset-before", "500", "502:html", "503:empty", "429:7", "400:old"])
def test_a_call_that_is_lost_before_it_took_effect_changes_nothing(sim: Simulator, caller: Caller, how: str) -> None:
    sim.fault("patch", how)
    if "-before" in how:
        with pytest.raises(httpx.TransportError):
            caller.patch()
    else:
        answer = caller.patch()
        assert str(answer.status_code) == how.partition(":")[0]
        assert answer.headers.get("retry-after", "7") == "7"
    assert (sim.patches, sim.portal_secret()) == (1, sim.secret)


@pytest.mark.parametrize(
    "how",
    [
        "timeout-after",
        "reset-after",
        "cut",
        "bad-length",
        "bad-utf8",
        "slow:9",
        "held:9",
        "500-after",
        "502-after:html",
    ],
)
def test_a_call_whose_answer_is_lost_late_or_spoiled_took_effect_once(
    sim: Simulator, caller: Caller, clock: FakeClock, how: str
) -> None:
    sim.fault("patch", how)
    before = clock.now()
    try:
        answer = caller.patch()
    except httpx.TransportError:
        answer = None
    assert (answer is None) == (how in ("timeout-after", "reset-after", "cut"))
    assert (clock.now() - before >= 9) == (how.endswith(":9") or how.startswith("timeout"))
    assert (len(sim.log.commits("patch")), sim.patches) == (1, 1)
    assert sim.portal_secret() != sim.secret


def test_a_late_call_takes_effect_when_its_time_has_come(sim: Simulator, caller: Caller, clock: FakeClock) -> None:
    sim.fault("patch", "late:30")
    with pytest.raises(httpx.TransportError):
        caller.patch()
    assert sim.portal_secret() == sim.secret
    clock.advance(40)
    assert sim.portal_secret() != sim.secret
    assert (sim.patches, sim.commit_times[-1]) == (1, clock.now() - 10)


@pytest.mark.parametrize(
    ("word", "found"),
    [("missing", None), ("asterisks", "********"), ("empty", ""), ("old", "old"), ("no-body", None)],
)
def test_a_success_may_lack_the_secret_or_have_another_in_its_place(
    sim: Simulator, caller: Caller, word: str, found: str | None
) -> None:
    sim.fault("patch", f"answer:{word}")
    answer = caller.patch()
    assert answer.status_code == (204 if word == "no-body" else 200)
    told = json.loads(answer.content or b"{}").get("keySecret")
    assert told == (sim.secret if found == "old" else found)
    assert sim.portal_secret() not in (told, sim.secret)


def test_somebody_else_may_come_before_or_after_a_call(sim: Simulator, caller: Caller) -> None:
    sim.fault("patch", "elsewhere-before")
    first = patched(caller)
    assert sim.portal_secret() == first
    sim.fault("patch", "elsewhere-after")
    second = patched(caller)
    assert sim.portal_secret() not in (first, second)
    sim.fault("put-key", "edited-before")
    caller.put()
    assert [one["on"] for one in sim.log.commits()[1:]] == [
        *("elsewhere", "patch", "patch", "elsewhere", "edit", "put-key"),
    ]


def test_the_hashing_setting_may_change_between_a_look_and_the_change(sim: Simulator, caller: Caller) -> None:
    sim.fault("patch", "hashing-before")
    assert caller.patch().status_code == 400
    assert caller.patch(hashed=True).status_code == 200


def test_a_patch_that_a_library_repeats_burns_a_secret(sim: Simulator, caller: Caller) -> None:
    sim.fault("patch", "replayed")
    assert patched(caller) == sim.portal_secret()
    assert (len(sim.log.commits("patch")), sim.patches) == (2, 1)


def test_a_fault_can_be_at_one_proxy_and_be_a_code_of_its_own(sim: Simulator, caller: Caller) -> None:
    sim.fault("otk", "503:html", server=1)
    sim.fault("otk", "x-ca-err:3003000", server=2)
    answers = [caller.token(sim.secret, proxy=number) for number in range(3)]
    assert [one.status_code for one in answers] == [200, 503, 500]
    assert code(answers[2]) == "3003000"
    assert caller.accepted(sim.secret) == [True, True, True]


def test_a_standing_trouble_hits_every_request(sim: Simulator, caller: Caller) -> None:
    sim.proxies[0].switch(trouble="429:30")
    assert [caller.token(sim.secret).status_code for _ in range(2)] == [429, 429]
    caller.ask("GET", caller.key)
    sim.switch(trouble="503:html")
    assert {caller.ask("GET", caller.key).status_code, caller.log_in().status_code} == {503}


@pytest.mark.parametrize("how", [*HOWS, "answer:ok", "500:odd", "429:soon", "sudden", "x-ca-err:12"])
def test_a_word_that_is_no_fault_is_refused(sim: Simulator, how: str) -> None:
    """Those that take seconds are none without them."""
    if HOWS.get(how) is False:
        sim.fault("any", how)
        return
    with pytest.raises(ValueError, match="expected"):
        sim.fault("any", how)


def test_faults_from_a_seed_are_the_same_each_time() -> None:
    fates = []
    for _ in range(2):
        made = Simulator(proxies=1)
        made.obey({"hostile": 7})
        fates.append([made.book.next_for("patch") for _ in range(60)])
    assert fates[0] == fates[1]
    assert set(fates[0]) - {""} <= set(RULES.hostile)
    assert len(set(fates[0])) > 5


# The simulator's own pages


def order(caller: Caller, path: str, **orders: Any) -> httpx.Response:
    return caller.http.post(f"/simulator/{path}", json=orders)


def test_orders_come_over_http_too(sim: Simulator, caller: Caller) -> None:
    told = order(
        caller,
        "faults",
        faults=[{"on": "patch", "how": "500"}],
        switches={"approve_edits": True},
        proxies={"gw2": {"sync": "on-demand", "down": True}},
    )
    assert told.status_code == 204
    assert caller.patch().status_code == 500
    with pytest.raises(httpx.ConnectError):
        caller.token(sim.secret, proxy=1)
    caller.patch()
    assert order(caller, "person", do="review", action="accept").json() == {"reviewed": 1}
    assert order(caller, "faults", proxies={"gw2": {"down": False}}).status_code == 204
    theirs = order(caller, "person", do="elsewhere").json()["client_secret"]
    order(caller, "person", do="deploy", proxy="gw2")
    order(caller, "person", do="edit")
    asked = {"proxy": "gw2", "client_id": sim.api_key, "client_secret": theirs}
    assert order(caller, "accepts", **asked).json() == {"accepts": True}
    state = caller.http.get("/simulator/state").json()
    assert (state["switches"]["approve_edits"], state["proxies"][1]["switches"]["sync"]) == (True, "on-demand")
    assert caller.http.get("/simulator/log").json()[-1]["on"] == "edit"
    assert caller.http.delete("/simulator/faults").status_code == 204


@pytest.mark.parametrize(
    "orders",
    [
        {"switches": {"no_such": 1}},
        {"switches": {"version": "6"}},
        {"switches": {"sync_s": 1}},
        {"proxies": {"gw9": {}}},
        {"proxies": {"gw1": {"sync": "maybe"}}},
        {"proxies": {"gw1": {"sync_s": -1}}},
        {"proxies": {"gw1": 3}},
        {"faults": [{"on": "patch"}]},
        {"faults": [{"on": "nothing", "how": "500"}]},
        {"revoke": "all"},
        {"other": 1},
    ],
)
def test_an_order_that_is_not_understood_changes_nothing(
    sim: Simulator, caller: Caller, orders: dict[str, Any]
) -> None:
    before = sim.world.state()
    both = {"faults": [{"on": "key", "how": "500"}], **orders}
    assert order(caller, "faults", **both).status_code == 400
    assert {**sim.world.state(), "now": 0} == {**before, "now": 0}
    assert sim.book.faults == []


def test_a_person_does_what_is_known_and_nothing_else(caller: Caller) -> None:
    for orders in ({"do": "dance"}, {"do": "review", "action": "maybe"}, {"do": "deploy", "proxy": "gw9"}, {}):
        assert order(caller, "person", **orders).status_code == 400


def test_an_expired_key_and_one_that_is_not_there_are_found_so(
    sim: Simulator, caller: Caller, clock: FakeClock
) -> None:
    sim.change(status="EXPIRED", auth_method="CERTIFICATE")
    found = caller.ask("GET", caller.key).json()
    assert (found["status"], found["authMethod"]) == ("EXPIRED", "CERTIFICATE")
    clock.advance(1)
    assert caller.accepted(sim.secret) == [False, False, False]
    assert caller.ask("GET", f"{caller.keys}/l7nothing").status_code == 404
    assert caller.ask("GET", f"{API}/applications/nothing/api-keys").status_code == 404
    other = sim.add_application("other")
    key, _ = sim.add_key(other, hashed=True)
    assert caller.ask("GET", f"{caller.keys}/{key}").status_code == 404
    assert caller.ask("GET", f"{API}/applications/{other}/api-keys/{key}").json()["keySecretHashed"] is True
