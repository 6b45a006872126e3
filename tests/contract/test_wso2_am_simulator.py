"""The simulated WSO2 API Manager: as strict as the vendor, and never shows a value twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from keyturn.testing.clock import FakeClock
from keyturn_apiportal.wso2.simulator import SECRET, Simulator, simulator
from keyturn_apiportal.wso2.simulator_world import APPLICATION, KEY_MAPPING, SCOPE

PLACE = f"/api/am/devportal/v3/applications/{APPLICATION}/oauth-keys/{KEY_MAPPING}"
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sim(clock: FakeClock) -> Iterator[Simulator]:
    with Simulator(gateways=1, now=clock.now, wait=clock.wait) as running:
        yield running


@pytest.fixture
def line(sim: Simulator) -> Iterator[httpx.Client]:
    """A caller with a token."""
    with httpx.Client(base_url=sim.urls[0], trust_env=False) as client:
        login = (sim.world.client_id, sim.world.client_secret)
        granted = client.post("/oauth2/token", data={**GRANT, "scope": SCOPE}, auth=login).json()["access_token"]
        client.headers["authorization"] = f"Bearer {granted}"
        yield client


def generate(line: httpx.Client, **more: object) -> httpx.Response:
    return line.post(f"{PLACE}/generate-secret", json={"additionalProperties": more})


def test_a_secret_is_shown_once_and_listed_by_its_id_and_description(line: httpx.Client) -> None:
    made = generate(line, description="one more")
    assert made.status_code == 201
    listed = line.get(f"{PLACE}/secrets")
    assert (listed.json()["count"], listed.json()["list"][-1]["secretId"]) == (2, made.json()["secretId"])
    assert listed.json()["list"][-1]["additionalProperties"] == {"description": "one more"}
    assert made.json()["secretValue"] not in listed.text


def test_several_secrets_open_the_gateway_until_each_is_revoked(line: httpx.Client, sim: Simulator) -> None:
    first, client = sim.initial[SECRET], sim.manager.client_id
    second = generate(line).json()["secretValue"]
    with httpx.Client(base_url=sim.gateways[0], trust_env=False) as gateway:

        def asked(secret: str) -> tuple[int, str]:
            answer = gateway.post("/oauth2/token", data=GRANT, auth=(client, secret))
            return answer.status_code, answer.json().get("error", "")

        assert [asked(one) for one in (first["bundle"]["client_secret"], second)] == [(200, ""), (200, "")]
        assert line.post(f"{PLACE}/revoke-secret", json={"secretId": first["handle"]}).status_code == 204
        assert asked(first["bundle"]["client_secret"]) == (401, "invalid_client")
        assert asked(second) == (200, "")
        assert gateway.post("/oauth2/token", data={}, auth=(client, second)).status_code == 400


def test_the_newest_secret_an_unknown_one_and_one_too_many_are_refused(line: httpx.Client, sim: Simulator) -> None:
    newest = sim.initial[SECRET]["handle"]
    refused = line.post(f"{PLACE}/revoke-secret", json={"secretId": newest})
    assert (refused.status_code, refused.json()["code"]) == (500, 900919)
    assert line.post(f"{PLACE}/revoke-secret", json={"secretId": "nobody"}).status_code == 404
    sim.switch(secrets_max=1)
    assert generate(line).status_code == 400
    assert [handle for handle, _ in sim.listed()] == [newest]


def test_the_modes_of_one_and_of_several_secrets_exclude_each_others_calls(line: httpx.Client, sim: Simulator) -> None:
    regenerated = line.post(f"{PLACE}/regenerate-secret")
    assert (regenerated.status_code, regenerated.json()["code"]) == (500, 900967)
    sim.switch(multi=False)
    assert generate(line).json()["code"] == 900916


def test_a_secret_with_an_expiry_ends_by_it(line: httpx.Client, sim: Simulator, clock: FakeClock) -> None:
    generate(line, expiresIn=60)
    clock.advance(61)
    assert len(sim.listed()) == 1


def test_calls_are_refused_without_a_token_or_for_another_application(line: httpx.Client) -> None:
    assert line.get(PLACE, headers={"authorization": "Bearer made-up"}).json()["code"] == 900901
    assert line.get(PLACE.replace(APPLICATION, "another")).status_code == 404
    assert line.post(f"{PLACE}/generate-secret", json={"description": "not so"}).status_code == 400
    assert line.post("/oauth2/token", data=GRANT, auth=("nobody", "nothing")).status_code == 401


def test_the_log_says_what_was_called_and_never_a_value(line: httpx.Client, sim: Simulator) -> None:
    value = generate(line).json()["secretValue"]
    shown = line.get("/simulator/log").text
    assert '"on":"generate","status":201' in shown
    assert [text for text in (value, sim.world.client_secret) if text in shown] == []


def test_it_runs_from_text_options(tmp_path: Path) -> None:
    with simulator({"gateways": "3"}) as running:
        configuration = running.configuration(tmp_path)
        assert configuration["providers"]["wso2"]["gateways"] == running.gateways
        assert set(configuration["secrets"]) == set(running.initial) == {SECRET}
    with pytest.raises(ValueError, match="nonsense"):
        simulator({"nonsense": "1"})
