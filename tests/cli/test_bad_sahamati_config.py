"""A wrong configuration of the vendor Sahamati: told with its place, and right once what the text tells is done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cli.hand import ACCOUNT, DERIVED, SECRET, Change, configured, put
from member.member import ENTITY, TOKEN, Member, member

BASE = "https://iam.example.test/iam"
OTHER = {"provider": "sahamati", "target": {"entity_id": "fip-legacy"}, "sinks": [{"to": "served", "path": "o.json"}]}


def other_entity_bridged(config: dict[str, Any]) -> None:
    config["secrets"]["other"] = OTHER
    config["secrets"][ENTITY]["overlap"] = {"bridge": ["other"]}


def token_elsewhere(config: dict[str, Any]) -> None:
    config["providers"]["staging"] = config["providers"]["sahamati"]
    config["secrets"][TOKEN]["provider"] = "staging"


@dataclass(frozen=True)
class Wrong:
    """A configuration that is wrong at a place; `do` is what the text says, after which nothing is wrong."""

    name: str
    change: Change
    path: str
    code: str
    says: str
    do: Change

    def __str__(self) -> str:
        return self.name


CONFIGURATIONS = (
    Wrong(
        "neither environment nor base_url",
        put(ACCOUNT, base_url=None),
        ACCOUNT,
        "bad-value",
        "expected exactly one of environment and base_url",
        put(ACCOUNT, environment="uat"),
    ),
    Wrong(
        "environment and base_url",
        put(ACCOUNT, environment="uat"),
        ACCOUNT,
        "bad-value",
        "expected exactly one of environment and base_url",
        put(ACCOUNT, base_url=None),
    ),
    Wrong(
        "unknown environment",
        put(ACCOUNT, base_url=None, environment="prod"),
        f"{ACCOUNT}.environment",
        "bad-value",
        "'production', 'uat' or 'sandbox'",
        put(ACCOUNT, environment="production"),
    ),
    Wrong(
        "base_url with /v1",
        put(ACCOUNT, base_url=f"{BASE}/v1"),
        f"{ACCOUNT}.base_url",
        "bad-value",
        "without /v1, which is appended",
        put(ACCOUNT, base_url=BASE),
    ),
    Wrong(
        "base_url with a query",
        put(ACCOUNT, base_url=f"{BASE}?v=1"),
        f"{ACCOUNT}.base_url",
        "bad-value",
        "without ? and #",
        put(ACCOUNT, base_url=BASE),
    ),
    Wrong(
        "http to another machine",
        put(ACCOUNT, base_url="http://iam.example.test/iam"),
        f"{ACCOUNT}.base_url",
        "bad-value",
        "expected https://",
        put(ACCOUNT, base_url=BASE),
    ),
    Wrong(
        "an interface for an address",
        put(ACCOUNT, local_address="eth0"),
        f"{ACCOUNT}.local_address",
        "bad-value",
        "expected an IP address of this machine",
        put(ACCOUNT, local_address="127.0.0.2"),
    ),
    Wrong(
        "a proxy with a password",
        put(ACCOUNT, proxy="http://user:hunter2@proxy.example.test:3128"),
        f"{ACCOUNT}.proxy",
        "bad-value",
        "expected http://HOST:PORT or https://HOST:PORT, without a user and password",
        put(ACCOUNT, proxy="http://proxy.example.test:3128"),
    ),
    Wrong(
        "a password in clear",
        put(ACCOUNT, password="hunter2"),
        f"{ACCOUNT}.password",
        "bad-value",
        "expected a reference",
        put(ACCOUNT, password="env:PASSWORD"),
    ),
    Wrong(
        "check_every 0s",
        put(ACCOUNT, check_every="0s"),
        f"{ACCOUNT}.check_every",
        "bad-value",
        "greater than 0",
        put(ACCOUNT, check_every="1d"),
    ),
    Wrong(
        "a typo in the account",
        put(ACCOUNT, check_evry="7d"),
        f"{ACCOUNT}.check_evry",
        "unknown-key",
        "did you mean check_every?",
        put(ACCOUNT, check_evry=None, check_every="7d"),
    ),
    Wrong(
        "a typo in the target",
        put(f"{SECRET}.target", entity_id=None, entityid="fiu-demo"),
        f"{SECRET}.target.entityid",
        "unknown-key",
        "did you mean entity_id?",
        put(f"{SECRET}.target", entityid=None, entity_id="fiu-demo"),
    ),
    Wrong(
        "an entity with a space",
        put(f"{SECRET}.target", entity_id="fiu demo"),
        f"{SECRET}.target.entity_id",
        "bad-value",
        "expected an id without spaces",
        put(f"{SECRET}.target", entity_id="fiu-demo"),
    ),
    Wrong(
        "expiry of 36h",
        put(f"{SECRET}.target", expiry="36h"),
        f"{SECRET}.target.expiry",
        "bad-value",
        "expected whole days, such as 90d",
        put(f"{SECRET}.target", expiry="90d"),
    ),
    Wrong(
        "validity_min above expiry",
        put(f"{SECRET}.target", validity_min="100d"),
        f"{SECRET}.target",
        "bad-value",
        "validity_min to be no longer than expiry",
        put(f"{SECRET}.target", validity_min="80d"),
    ),
    Wrong(
        "entity_id and token_of",
        put(f"{DERIVED}.target", entity_id="fiu-demo"),
        f"{DERIVED}.target",
        "bad-value",
        "exactly one of entity_id and token_of",
        put(f"{DERIVED}.target", entity_id=None),
    ),
    Wrong(
        "token_of an unknown secret",
        put(f"{DERIVED}.target", token_of="network/entty"),
        f"{DERIVED}.target.token_of",
        "unknown-secret",
        f"did you mean {ENTITY}?",
        put(f"{DERIVED}.target", token_of=ENTITY),
    ),
    Wrong(
        "token_of itself",
        put(f"{DERIVED}.target", token_of=TOKEN),
        f"{DERIVED}.target.token_of",
        "source-itself",
        f"it is derived from itself did you mean {ENTITY}?",
        put(f"{DERIVED}.target", token_of=ENTITY),
    ),
    Wrong(
        "token_of a secret on another account",
        token_elsewhere,
        f"{DERIVED}.target.token_of",
        "source-elsewhere",
        "let both have the same provider: staging or sahamati",
        put(DERIVED, provider="sahamati"),
    ),
    Wrong(
        "a bridge that is no list",
        put(f"{SECRET}.overlap", bridge=TOKEN),
        f"{SECRET}.overlap.bridge",
        "bad-value",
        "expected a list write it in brackets: [one]",
        put(f"{SECRET}.overlap", bridge=[TOKEN]),
    ),
    Wrong(
        "bridge of what is not derived",
        other_entity_bridged,
        f"{SECRET}.overlap.bridge[0]",
        "bridge-underived",
        f"name one of: {TOKEN}",
        put(f"{SECRET}.overlap", bridge=[TOKEN]),
    ),
    Wrong(
        "bridge of an unknown secret",
        put(f"{SECRET}.overlap", bridge=["network/entity-tokn"]),
        f"{SECRET}.overlap.bridge[0]",
        "unknown-secret",
        f"did you mean {TOKEN}?",
        put(f"{SECRET}.overlap", bridge=[TOKEN]),
    ),
    *(
        Wrong(
            f"before_expiry {text}",
            put(f"{DERIVED}.rotate", before_expiry=text),
            f"{DERIVED}.rotate.before_expiry",
            "bad-value",
            "between 0% and 100%, such as 50%",
            put(f"{DERIVED}.rotate", before_expiry="50%"),
        )
        for text in ("0%", "100%", "abc%")
    ),
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """A member whose configuration is looked at only; each test writes it anew."""
    with member(tmp_path_factory.mktemp("desk") / "member") as built:
        yield built


@pytest.mark.parametrize("wrong", CONFIGURATIONS, ids=str)
def test_a_wrong_configuration_is_told_with_its_place_and_is_right_once_that_is_done(
    desk: Member, wrong: Wrong
) -> None:
    desk.configure()
    configured(desk, wrong.change)
    asked = len(desk.sim.log)
    checked = desk.keyturn("check", "--json")
    (problem,) = checked.json["problems"]
    assert (checked.code, problem["code"], problem["path"]) == (2, wrong.code, wrong.path)
    assert wrong.says in f"{problem['message']} {problem['hint']}"
    name = re.sub(r"\[\d\]", "", wrong.path).rpartition(".")[2]
    line = desk.config.read_text().splitlines()[problem["line"] - 1]
    assert name in line or "[" in wrong.path, line
    assert len(line) >= problem["column"] > 0
    stopped = DERIVED if wrong.path.startswith(DERIVED) else SECRET
    refused = desk.keyturn("rotate", stopped.removeprefix("secrets."), "--yes")
    assert refused.code == 2, refused.said
    assert "[config-invalid]" in refused.err
    assert f"keyturn.yaml:{problem['line']}:{problem['column']}: {wrong.path}" in refused.err
    assert "hunter2" not in checked.said + refused.said
    assert (len(desk.sim.log), desk.events(ENTITY)) == (asked, [])
    configured(desk, wrong.do)
    assert desk.keyturn("check").code in (0, 8), "what the text told to do does not help"


def test_a_circle_of_after_and_of_what_is_derived_is_told_at_both_and_how_to_part_it(desk: Member) -> None:
    desk.configure({ENTITY: {"rotate": {"after": [TOKEN]}}})
    problems = desk.keyturn("check", "--json").json["problems"]
    assert [(one["code"], one["path"]) for one in problems] == [("after-cycle", SECRET), ("after-cycle", DERIVED)]
    assert {one["hint"] for one in problems} == {"take one of them out of after: (or of what it is derived from)"}
    desk.configure({ENTITY: {}})
    assert desk.keyturn("check").code in (0, 8)
