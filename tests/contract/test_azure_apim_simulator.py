"""The simulated Azure API Management: as strict as the vendor, misbehaves when told, and never shows a value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from keyturn.testing.clock import FakeClock
from keyturn_apiportal.azure.simulator import SECRET, Simulator, simulator
from keyturn_apiportal.azure.simulator_world import (
    API_VERSION,
    CLOUD_SUBSCRIPTION,
    GROUP,
    HEADER,
    NEIGHBOUR,
    OURS,
    PROBE_PATH,
    SCOPE,
    SERVICE,
    TENANT,
)

PLACE = (
    f"/subscriptions/{CLOUD_SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.ApiManagement/service/{SERVICE}"
    "/subscriptions/"
)
HOUR_S = 3600.0


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def sim(clock: FakeClock) -> Iterator[Simulator]:
    with Simulator(gateways=2, now=clock.now, wait=clock.wait) as running:
        yield running


@pytest.fixture
def line(sim: Simulator) -> Iterator[httpx.Client]:
    """A caller with a token."""
    with httpx.Client(base_url=sim.urls[0], params={"api-version": API_VERSION}, trust_env=False) as client:
        granted = log_in(client, sim).json()["access_token"]
        client.headers["authorization"] = f"Bearer {granted}"
        yield client


def log_in(client: httpx.Client, sim: Simulator, tenant: str = TENANT, **changes: str) -> httpx.Response:
    known = {"client_id": sim.world.client_id, "client_secret": sim.world.client_secret}
    form = {"grant_type": "client_credentials", "scope": SCOPE, **known, **changes}
    return client.post(f"/{tenant}/oauth2/v2.0/token", data=form)


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


def test_a_regeneration_answers_204_without_a_body_and_only_list_secrets_shows_keys(
    line: httpx.Client, sim: Simulator
) -> None:
    before = line.post(f"{PLACE}{OURS}/listSecrets").json()
    assert set(before) == {"primaryKey", "secondaryKey"}
    answer = line.post(f"{PLACE}{OURS}/regenerateSecondaryKey")
    assert (answer.status_code, answer.content) == (204, b"")
    after = line.post(f"{PLACE}{OURS}/listSecrets").json()
    assert after["primaryKey"] == before["primaryKey"]
    assert after["secondaryKey"] == sim.current("secondary") != before["secondaryKey"]
    shown = line.get(f"{PLACE}{OURS}")
    assert shown.json()["properties"]["state"] == "active"
    assert after["primaryKey"] not in shown.text


def test_the_login_takes_its_own_client_tenant_and_scope_only(line: httpx.Client, sim: Simulator) -> None:
    assert log_in(line, sim).json()["token_type"] == "Bearer"
    assert log_in(line, sim, client_secret="another").status_code == 401
    assert log_in(line, sim, tenant="another").status_code == 401
    assert log_in(line, sim, scope="another").status_code == 400


def test_calls_are_refused_without_a_token_a_version_or_the_right_names(line: httpx.Client, clock: FakeClock) -> None:
    path = f"{PLACE}{OURS}/listSecrets"
    assert code(line.post(path, headers={"authorization": "Bearer made-up"})) == "InvalidAuthenticationToken"
    assert code(line.post(path, params={"api-version": "2014-01-01"})) == "ValidationError"
    assert code(line.post(f"{PLACE}nobody/listSecrets")) == "ResourceNotFound"
    assert code(line.post(path.replace(SERVICE, "another"))) == "ResourceNotFound"
    assert line.get(path).status_code == 405
    clock.advance(HOUR_S + 1)
    assert line.post(path).status_code == 401


def test_a_gateway_takes_both_keys_of_each_subscription_and_says_why_it_refuses(sim: Simulator) -> None:
    with httpx.Client(base_url=sim.gateways[0], trust_env=False) as gateway:
        for key in (sim.current("primary"), sim.current("secondary"), sim.current("primary", NEIGHBOUR)):
            assert gateway.get(PROBE_PATH, headers={HEADER: key}).status_code == 200
        refused = gateway.get(PROBE_PATH, headers={HEADER: "made up"})
        missing = gateway.get(PROBE_PATH)
        assert (refused.status_code, missing.status_code) == (401, 401)
        assert "invalid subscription key" in refused.json()["message"]
        assert "missing subscription key" in missing.json()["message"]
        assert gateway.get("/nowhere", headers={HEADER: "made up"}).status_code == 404


def test_faults_and_switches_can_be_ordered_from_another_process(line: httpx.Client, sim: Simulator) -> None:
    order = {"faults": [{"on": "regenerate", "how": "503-after:html"}], "switches": {"state": "suspended"}}
    assert line.post("/simulator/faults", json=order).status_code == 204
    before = sim.current("primary")
    answer = line.post(f"{PLACE}{OURS}/regeneratePrimaryKey")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (503, "text/html")
    assert sim.current("primary") != before
    assert line.get(f"{PLACE}{OURS}").json()["properties"]["state"] == "suspended"
    assert not sim.accepts(sim.gateways[0], sim.current("primary"))
    assert line.post("/simulator/faults", json={"switches": {"state": "active"}}).status_code == 204
    assert line.request("DELETE", "/simulator/faults").status_code == 204


@pytest.mark.parametrize(
    "order",
    [
        {"nonsense": 1},
        {"faults": [{"on": "regenerate", "how": "nonsense"}]},
        {"faults": [{"on": "nonsense", "how": "500"}]},
        {"switches": {"nonsense": 1}},
        {"elsewhere": "tertiary"},
    ],
)
def test_orders_that_it_does_not_know_are_refused_and_change_nothing(
    line: httpx.Client, sim: Simulator, order: dict[str, object]
) -> None:
    before = (sim.current("primary"), sim.current("secondary"))
    assert line.post("/simulator/faults", json=order).status_code == 400
    assert (sim.current("primary"), sim.current("secondary")) == before
    assert not sim.book.faults


def test_the_log_says_what_was_called_and_never_a_value(line: httpx.Client, sim: Simulator) -> None:
    line.post(f"{PLACE}{OURS}/regenerateSecondaryKey")
    shown = line.get("/simulator/log").text
    assert '"on":"regenerate-secondary","status":204' in shown
    hidden = (sim.current("primary"), sim.current("secondary"), sim.world.client_secret)
    assert [value for value in hidden if value in shown] == []


def test_it_runs_from_text_options(tmp_path: Path) -> None:
    with simulator({"gateways": "1"}) as running:
        configuration = running.configuration(tmp_path)
        assert configuration["providers"]["azure"]["gateways"] == running.gateways
        assert set(configuration["secrets"]) == set(running.initial) == {SECRET}
        named = {configuration["providers"]["azure"][name] for name in ("client_id", "client_secret")}
        assert named == {f"env:{name}" for name in running.environment}
    with pytest.raises(ValueError, match="nonsense"):
        simulator({"nonsense": "1"})
