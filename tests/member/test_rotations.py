"""The life of an entity secret and its token, in a real OpenBao and the strict AWS fake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.clock import SystemClock
from keyturn_aws.simulator import StrictFake
from keyturn_vault.simulator import OpenBao
from stores import Stores

from .member import DAY_S, ENTITY, MEMBER, TOKEN, Member, member, write_private

NEW = "aa-new"
READ_ONLY = """
path "kv/data/*" { capabilities = ["read"] }
path "kv/metadata/*" { capabilities = ["list", "read"] }
"""


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        yield server


@pytest.fixture(scope="module")
def aws() -> Iterator[StrictFake]:
    with StrictFake() as fake:
        yield fake


class Served(Stores):
    """The stores that the member publishes to, beside the agent's file."""

    def of(self, name: str) -> list[dict[str, Any]]:
        fields = {"entityId": "entity_id", "entitySecret": "entity_secret"}
        agent = {"to": "served", "path": "credentials.json", **({"fields": fields} if name == ENTITY else {})}
        agent |= {} if name == ENTITY else {"path": "token.json"}
        return [*self.places(_leaf(name)), agent]

    def serve(self, name: str) -> list[dict[str, str]]:
        """What consumers read in OpenBao and in AWS."""
        return self.read(_leaf(name))


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]


@pytest.fixture
def served(bao: OpenBao, aws: StrictFake) -> Served:
    return Served(bao, aws)


@pytest.fixture
def one(tmp_path: Path, served: Served) -> Iterator[Member]:
    policies = {
        ENTITY: {"rotate": {"before_expiry": "20d"}, "sinks": served.of(ENTITY)},
        TOKEN: {"rotate": {"before_expiry": "75%"}, "sinks": served.of(TOKEN)},
    }
    with member(tmp_path / "member", clock=SystemClock(), secrets=policies, sinks=served.accounts()) as built:
        served.let_in(built.folder)
        yield built


def all_good(one: Member, served: Served, entity: str = MEMBER) -> dict[str, str]:
    """Both stores and the agent's file serve the vendor's current secret, and it is accepted."""
    now = one.sim.current(entity)
    assert served.serve(ENTITY) == [now, now]
    agent = json.loads((one.folder / "served/credentials.json").read_text())
    assert agent == {"entityId": now["entity_id"], "entitySecret": now["entity_secret"]}
    assert one.sim.accepts(now)
    return now


def test_the_first_secret_of_a_new_member_reaches_every_sink_and_its_token_follows(one: Member, served: Served) -> None:
    one.configure({ENTITY: {**(one.secrets[ENTITY] or {}), "target": {"entity_id": NEW, "expiry": "90d"}}})
    one.well("rotate", ENTITY, "--first", "--yes")
    all_good(one, served, NEW)
    one.well("rotate", TOKEN, "--first", "--yes")
    assert all(one.sim.accepts(token) for token in served.serve(TOKEN))
    assert len([commit for commit in one.sim.commits if commit["entity"] == NEW]) == 1


def test_first_over_a_secret_that_the_vendor_holds_already_is_refused_and_ends_nothing(one: Member) -> None:
    ran = one.keyturn("rotate", ENTITY, "--first", "--yes")
    assert ran.code == 3, ran.said
    assert f"keyturn adopt {ENTITY} --from-vendor" in ran.said
    assert one.resets == []


def test_a_rotation_replaces_the_secret_everywhere_and_the_token_is_renewed_with_it(
    one: Member, served: Served
) -> None:
    one.begin()
    old, token = all_good(one, served), served.serve(TOKEN)
    one.well("rotate", ENTITY, "--yes")
    assert all_good(one, served) != old
    assert not one.sim.accepts(old)
    one.well("run")
    assert served.serve(TOKEN) != token
    assert len(one.resets) == 1


def test_a_secret_near_its_expiry_is_rotated_by_run_and_rests_then(one: Member, served: Served) -> None:
    one.sim.expire(in_s=19 * DAY_S)
    one.begin()
    assert one.resets == [], "adoption rotates nothing"
    one.well("run")
    all_good(one, served)
    one.well("run")
    assert len(one.resets) == 1
    status = one.well("status", ENTITY).out
    assert "89 days left" in status or "90 days left" in status


def test_a_compromised_secret_is_replaced_at_once_whatever_the_schedule_says(one: Member, served: Served) -> None:
    one.begin()
    old = all_good(one, served)
    one.well("rotate", ENTITY, "--compromised", "--reason", "found in a log", "--yes")
    assert all_good(one, served) != old
    assert not one.sim.accepts(old)
    assert len(one.resets) == 1


def test_a_login_that_may_read_and_not_write_is_found_before_the_reset(one: Member, served: Served) -> None:
    one.begin()
    old = all_good(one, served)
    served.bao.call("POST", "sys/policies/acl/reader", {"policy": READ_ONLY})
    served.bao.call("POST", "auth/approle/role/reader", {"token_policies": ["reader"]})
    role = served.bao.call("GET", "auth/approle/role/reader/role-id")["data"]["role_id"]
    secret = served.bao.call("POST", "auth/approle/role/reader/secret-id")["data"]["secret_id"]
    write_private(one.folder / "state/role-id", role)
    write_private(one.folder / "state/secret-id", secret)
    ran = one.keyturn("rotate", ENTITY, "--yes")
    assert ran.code == 3, ran.said
    assert "can not be written" in ran.said
    assert one.resets == []
    assert all_good(one, served) == old
