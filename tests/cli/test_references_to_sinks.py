"""A credential may be read from a sink: `SINK:PATH#FIELD`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.rig import Rig, estate
from keyturn_pingauthorize.simulator import SECRET

LOGINS = "logins:ops/paz#password"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with estate(tmp_path) as found:
        account = {**found.sim.configuration(tmp_path)["providers"]["paz"], "password": LOGINS}
        sinks = {"custody": {"kind": "file", "folder": "custody"}, "logins": {"kind": "file", "folder": "logins"}}
        found.more = {"providers": {"paz": account}, "sinks": sinks}
        found.write()
        (tmp_path / "logins/ops").mkdir(mode=0o700, parents=True)
        (tmp_path / "logins").chmod(0o700)
        keep(found, {"password": found.sim.environment["PAZ_PASSWORD"]})
        yield found


def keep(rig: Rig, fields: dict[str, str]) -> None:
    path = rig.folder / "logins/ops/paz"
    path.touch(mode=0o600)
    path.write_text(json.dumps(fields))


def test_an_account_logs_in_with_what_a_sink_serves(rig: Rig) -> None:
    rig.adopt()
    assert rig.run("rotate", SECRET, "--yes").code == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"user": "x"}, "ops/paz in logins has no field password; it has: user"),
        ({"password": ""}, "the value is empty"),
    ],
    ids=["no such field", "an empty value"],
)
def test_what_a_sink_does_not_serve_is_named_with_the_reference(rig: Rig, fields: dict[str, str], said: str) -> None:
    keep(rig, fields)
    ran = rig.run("check", "--online")
    assert f"reference {LOGINS} does not resolve: {said}" in ran.out + ran.err


def test_a_sink_that_can_not_be_read_is_named_with_the_reference(rig: Rig) -> None:
    (rig.folder / "logins/ops/paz").unlink()
    ran = rig.run("check", "--online")
    assert f"reference {LOGINS} does not resolve: logins serves nothing at ops/paz" in ran.out + ran.err


def test_an_account_that_waits_for_its_own_secret_is_refused(rig: Rig) -> None:
    rig.write(sinks=[{"to": "logins", "path": "ops/paz"}])
    ran = rig.run("check")
    assert ran.code == 2
    assert "needs a credential that only it can publish" in ran.out + ran.err
