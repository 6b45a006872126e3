"""The simulator keeps the contract's rules, and takes orders over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.pingauthorize_kit import until
from keyturn_pingauthorize.simulator import FIRST, SECRET, Simulator, simulator

SCOPE = "?applyChangeTo=single-server"
EXTENSION = "/config/http-servlet-extensions/Sideband%20API"
OBJECTS = "/config/sideband-api-shared-secrets"
SCHEMA = "urn:pingidentity:schemas:configuration:2.0:sideband-api-shared-secret"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(servers=2) as running:
        yield running


@pytest.fixture
def http(sim: Simulator) -> Iterator[httpx.Client]:
    login = (sim.environment["PAZ_USER"], sim.environment["PAZ_PASSWORD"])
    with httpx.Client(base_url=sim.urls[0], auth=login, trust_env=False) as client:
        yield client


def _secret(name: str, **more: object) -> dict[str, object]:
    return {"schemas": [SCHEMA], "secretName": name, "sharedSecret": "v" * 40, **more}


def _patch(op: str, path: str, **more: object) -> dict[str, object]:
    return {"operations": [{"op": op, "path": path, **more}]}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/config/http-servlet-extensions/Other", None, 404),
        ("GET", f"{OBJECTS}/nobody", None, 404),
        ("POST", f"{OBJECTS}{SCOPE}", _secret(FIRST), 409),
        ("POST", f"{OBJECTS}{SCOPE}", _secret("new", colour="blue"), 400),
        ("POST", f"{OBJECTS}{SCOPE}", {"secretName": "new", "sharedSecret": "v"}, 400),
        ("POST", f"{OBJECTS}{SCOPE}", {"schemas": [SCHEMA], "secretName": "new"}, 400),
        ("POST", OBJECTS, _secret("new"), 400),
        ("POST", f"{OBJECTS}?applyChangeTo=everywhere", _secret("new"), 400),
        ("PATCH", f"{OBJECTS}/{FIRST}{SCOPE}", _patch("replace", "shared-secret", value="w"), 400),
        ("DELETE", f"{OBJECTS}/{FIRST}{SCOPE}", None, 409),
        ("DELETE", f"{OBJECTS}/nobody{SCOPE}", None, 404),
        ("PATCH", f"{EXTENSION}{SCOPE}", _patch("add", "shared-secrets", value="nobody"), 400),
        ("PATCH", f"{EXTENSION}{SCOPE}", _patch("add", "request-limit", value="1"), 400),
        ("PATCH", f"{EXTENSION}{SCOPE}", _patch("replace", "shared-secrets", value=FIRST), 400),
        ("PATCH", f"{EXTENSION}{SCOPE}", [], 400),
    ],
)
def test_what_the_vendor_refuses_is_refused(
    http: httpx.Client, sim: Simulator, method: str, path: str, body: object, status: int
) -> None:
    before = sim.world.state()
    answer = http.request(method, path, json=body)
    assert answer.status_code == status
    assert answer.json()["status"] == str(status)
    assert sim.world.state() == before


def test_a_stranger_gets_an_empty_401_and_a_strange_accept_415(sim: Simulator, http: httpx.Client) -> None:
    stranger = httpx.get(f"{sim.urls[0]}{EXTENSION}", trust_env=False)
    assert (stranger.status_code, stranger.content) == (401, b"")
    assert http.get(EXTENSION, headers={"Accept": "text/html"}).status_code == 415


def test_a_bare_removal_wipes_the_list_and_switches_authentication_off(sim: Simulator, http: httpx.Client) -> None:
    assert not sim.accepts(sim.urls[0], "made-up")
    answer = http.patch(f"{EXTENSION}{SCOPE}", json=_patch("remove", "shared-secrets"))
    assert "sharedSecrets" not in answer.json()
    assert sim.accepts(sim.urls[0], "made-up")


def test_a_group_change_may_reach_only_some_members(sim: Simulator, http: httpx.Client) -> None:
    sim.switch(group_reaches=[1])
    sim.world.create("new", "v" * 40)
    http.patch(f"{EXTENSION}?applyChangeTo=server-group", json=_patch("add", "shared-secrets", value="new"))
    assert [member.names for member in sim.world.members] == [[FIRST], [FIRST, "new"]]


@pytest.mark.parametrize("path", [f'[shared-secrets eq "{FIRST}"]', f'sharedSecrets[value eq "{FIRST}"]'])
def test_both_documented_ways_to_remove_one_value_remove_one(sim: Simulator, http: httpx.Client, path: str) -> None:
    sim.world.create("new", "v" * 40)
    http.patch(f"{EXTENSION}{SCOPE}", json=_patch("add", "shared-secrets", value="new"))
    assert http.patch(f"{EXTENSION}{SCOPE}", json=_patch("remove", path)).json()["sharedSecrets"] == ["new"]


def test_another_process_gives_orders_and_reads_state_without_values(sim: Simulator, http: httpx.Client) -> None:
    value = sim.initial[SECRET]["bundle"]["shared_secret"]
    orders: dict[str, Any] = {
        "faults": [{"on": "read", "how": "status:500"}],
        "switches": {"server_down": [1], "masked": True},
        "headers": {"0": "PDG-TOKEN"},
    }
    assert http.post("/simulator/faults", json=orders).status_code == 204
    assert [http.get(EXTENSION).status_code for _ in range(2)] == [500, 200]
    with pytest.raises(httpx.ConnectError):
        httpx.get(sim.urls[1], trust_env=False)
    state = http.get("/simulator/state")
    assert state.json()["servers"][0]["header"] == "PDG-TOKEN"
    assert value not in state.text + http.get("/simulator/log").text + http.get(f"{OBJECTS}/{FIRST}").text
    assert http.post("/simulator/accepts", json={"value": value}).json() == {"accepts": True}
    assert http.post("/simulator/faults", json={"switches": {"server_down": []}}).status_code == 204
    assert httpx.get(f"{sim.urls[1]}/simulator/state", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "orders",
    [
        {"fault": []},
        {"switches": {"server_up": [1]}},
        {"switches": {"server_down": [0]}},
        {"faults": [{"on": "read", "how": "explode"}]},
        {"faults": [{"on": "read", "how": "html", "when": "now"}]},
        {"faults": [{"on": "read", "how": "html", "server": "1"}]},
        {"faults": [{"on": "read", "how": "late"}]},
        {"faults": [{"on": "read", "how": "503"}]},
    ],
)
def test_an_order_that_is_not_understood_is_refused(http: httpx.Client, orders: dict[str, Any]) -> None:
    assert http.post("/simulator/faults", json=orders).status_code == 400


def test_the_same_seed_gives_the_same_trouble() -> None:
    assert _trouble(7) == _trouble(7) != _trouble(8)


def _trouble(seed: int) -> list[str]:
    book = Simulator().book
    book.hostile(seed)
    return [book.next_for("read", 0) for _ in range(100)]


def test_a_simulator_from_text_options_is_ready_for_a_configuration(tmp_path: Path) -> None:
    made = simulator({"servers": "3"})
    made.start()
    try:
        ready = made.configuration(tmp_path)
        assert ready["providers"]["paz"]["servers"] == made.urls
        assert len(made.urls) == 3
        assert made.initial.keys() == ready["secrets"].keys()
        assert all(made.accepts(url, made.initial[SECRET]["bundle"]["shared_secret"]) for url in made.urls)
    finally:
        made.stop()
    with pytest.raises(ValueError, match="servers and port"):
        simulator({"server": "1"})


def test_a_stopped_simulator_frees_its_port_and_can_start_again() -> None:
    sim = Simulator(servers=1)
    for _ in range(2):
        sim.start()
        assert httpx.get(f"{sim.urls[0]}/simulator/state", trust_env=False).status_code == 200
        sim.stop()
        assert until(lambda: _refused(sim.urls[0]))


def _refused(url: str) -> bool:
    try:
        httpx.get(url, trust_env=False)
    except httpx.ConnectError:
        return True
    return False


def test_registering_imports_neither_http_nor_a_server() -> None:
    script = (
        "import sys; from keyturn_pingauthorize.hook import keyturn_plugin; keyturn_plugin();"
        "print([m for m in ('httpx', 'starlette', 'uvicorn', 'ssl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
