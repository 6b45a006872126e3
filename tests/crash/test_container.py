"""A container that keeps nothing: a configuration and one identity file to read, one URL, and it rotates."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from crash.box import Box, sealed, user
from keyturn.escrow import new_identity
from keyturn_pingauthorize.simulator import SECRET, Simulator
from keyturn_vault import simulator as openbao
from servers.postgresql import PostgreSQL, postgresql

JOURNAL = {"kind": "postgresql", "url": "env:KEYTURN_JOURNAL"}
CONSUMER = "kong"


@dataclass
class World:
    """What is outside of the container: a vendor, a Vault server, and a database server."""

    vendor: Simulator
    vault: Any
    databases: PostgreSQL

    def container(self, folder: Path, database: str) -> Box:
        """A container whose journal is an empty database."""
        folder.chmod(0o755)
        mounted = folder / "mounted"
        mounted.mkdir(mode=0o755)
        new_identity(mounted / "age.key")
        (mounted / "age.key").chmod(0o400)
        os.chown(mounted / "age.key", user(), -1)
        (mounted / "keyturn.yaml").write_text(yaml.safe_dump(self._configuration(mounted)))
        url = self.databases.create_database(database)
        logins = {**self.vendor.environment, **self.vault.environment}
        return Box(folder=mounted, environment={**logins, "KEYTURN_JOURNAL": url})

    def _configuration(self, folder: Path) -> dict[str, Any]:
        vendor, sinks = self.vendor.configuration(folder), self.vault.configuration(folder)["sinks"]
        secret = {
            **vendor["secrets"][SECRET],
            "overlap": {"hold": "0s"},
            "sinks": [{"to": next(iter(sinks)), "path": SECRET}],
            "consumers": [{"name": CONSUMER, "acknowledge": "required"}],
        }
        identity = {"identities": ["file:age.key"]}
        fixed = {"keyturn": 1, "journal": JOURNAL, "escrow": identity, "sinks": sinks}
        return {**fixed, "providers": vendor["providers"], "secrets": {SECRET: secret}}

    @property
    def served(self) -> str:
        """What a consumer reads in Vault."""
        (account,) = self.vault.configuration(Path())["sinks"].values()
        (token,) = self.vault.environment.values()
        connection = HTTPConnection(account["url"].removeprefix("http://"), timeout=10)
        with closing(connection):
            connection.request("GET", f"/v1/{account['mount']}/data/{SECRET}", headers={"X-Vault-Token": token})
            value: str = json.load(connection.getresponse())["data"]["data"]["shared_secret"]
        return value

    def accepted(self, value: str) -> set[bool]:
        """What the vendor's servers say of this value."""
        return {self.vendor.accepts(url, value) for url in self.vendor.urls}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        vault = openbao.simulator({})
        vault.start()
        stack.callback(vault.stop)
        databases = stack.enter_context(postgresql())
        yield World(vendor=stack.enter_context(Simulator()), vault=vault, databases=databases)


WRITING = """
import os
def writable(folder):
    try:
        os.close(os.open(folder + "/x", os.O_CREAT))
    except OSError:
        return False
    return True
everywhere = [folder for top in ("/etc", "/tmp", "/root", "/home", "/usr/bin") for folder, _, _ in os.walk(top)]
print([folder for folder in ["/", *everywhere] if writable(folder)], os.getuid(), os.getgroups())
"""


def test_there_is_nothing_to_write_to_in_the_container(world: World, tmp_path: Path) -> None:
    ran = world.container(tmp_path, "walls").python("-c", WRITING)
    assert not sealed() or ran.out == "[] 65534 []\n", ran.err


def test_with_an_empty_database_it_refuses_and_names_the_command_that_makes_a_journal(
    world: World, tmp_path: Path
) -> None:
    box = world.container(tmp_path, "empty")
    for command in (["status"], ["run"], ["rotate", SECRET, "--yes"]):
        ran = box.run(*command)
        assert (ran.code, ran.out) == (2, ""), ran.err
        assert "error[journal-missing]" in ran.err
        assert "keyturn init" in ran.err


def test_it_rotates_from_first_to_last_and_writes_nothing_but_to_journal_vault_and_vendor(
    world: World, tmp_path: Path
) -> None:
    box = world.container(tmp_path, "journal")
    first = world.vendor.initial[SECRET]
    assert box.run("init", "--config", box.config).code == 0
    adopted = box.run("adopt", SECRET, "--from-stdin", "--handle", first["handle"], stdin=json.dumps(first["bundle"]))
    assert adopted.code == 0, adopted.err
    old = world.served
    assert box.run("rotate", SECRET, "--yes").code == 0
    new = world.served
    assert (world.accepted(old), world.accepted(new), old == new) == ({True}, {True}, False)
    assert box.run("ack", SECRET, "--version", "2", "--consumer", CONSUMER).code == 0
    ran = box.run("run")
    assert (ran.code, world.accepted(old), world.accepted(new)) == (0, {False}, {True}), ran.err
    assert new not in ran.out + ran.err
    assert json.loads(box.run("status", "--json").out)["secrets"][0]["rotation"]["outcome"] == "done"
