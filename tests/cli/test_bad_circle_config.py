"""A wrong configuration of the vendor Circle: told with its place, and right once what the text tells is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cli.hand import Change, configured, put
from keyturn_circle.simulator import API_KEY
from wallets.wallets import FIELD, FILE, SECRET, Wallets, wallets

ACCOUNT, MANAGED = "providers.circle", f"secrets.{SECRET}"


@dataclass(frozen=True)
class Wrong:
    """A configuration that is wrong at a place; `do` is what the text says, after which nothing is wrong."""

    change: Change
    path: str
    says: str
    do: Change
    code: str = "bad-value"


def of_account(key: str, wrong: Any, says: str, right: Any = None, inner: str = "") -> Wrong:
    """One option of the account. `right` None: it is left out."""
    path = f"{ACCOUNT}.{key}{inner and '.'}{inner}"
    return Wrong(put(ACCOUNT, **{key: wrong}), path, says, put(ACCOUNT, **{key: right}))


def sinks(*places: dict[str, Any]) -> Change:
    return put(MANAGED, sinks=list(places))


SERVED = {"to": "served", "path": "entity.json", "fields": [FIELD]}
CUSTODY = {"to": "custody", "path": "circle.recovery", "fields": [FILE]}
MIXED = {**SERVED, "fields": [FIELD, FILE]}
APART = sinks(SERVED, CUSTODY)
WRONG = {
    "no environment": Wrong(
        put(ACCOUNT, environment=None),
        ACCOUNT,
        "environment is missing",
        put(ACCOUNT, environment="test"),
        "missing-key",
    ),
    "an environment of its own": of_account("environment", "prod", "'test' or 'live'", "test"),
    "an API key in clear": of_account("api_key", API_KEY, "expected a reference", "file:state/api-key"),
    "base_url with a version": of_account("base_url", "https://api.circle.com/v1/w3s", "the URL without /v1"),
    "base_url of another machine": of_account("base_url", "http://api.circle.com", "expected https://"),
    "another way": of_account("way", "hand", "'console' or 'api'", "api"),
    "no way to see a person act": Wrong(
        put(ACCOUNT, way="console", probe="none"), ACCOUNT, "expected another probe than none", put(ACCOUNT, probe=None)
    ),
    "another probe": of_account("probe", "transfer", "'sign-message', 'wallet-set' or 'none'"),
    "an empty probe_message": of_account("probe_message", " ", "expected a text on one line"),
    "no probes": of_account("probes_max", "0", "greater than or equal to 1"),
    "app_id in two words": of_account("app_id", "two words", "expected an id without spaces"),
    "canary_chain in two words": of_account("canary_chain", "ETH SEPOLIA", "expected an id without spaces"),
    "proxy with a login": of_account("proxy", "http://user:hunter2@proxy.test:1", "without a user and password"),
    "check_every 0s": of_account("check_every", "0s", "greater than 0"),
    "activation as a word": of_account("activation", "soon", "expected a duration"),
    "settle as a word": of_account("settle", "soon", "expected a duration"),
    "patience 0s": of_account("patience", "0s", "greater than 0"),
    "key_bits 1024": of_account("key_bits", "1024", "greater than or equal to 2048"),
    "recovery_file as a path": of_account("recovery_file", "/custody", "'required' or 'optional'"),
    "an answer_field with a dot": of_account("answer_field", "data.file", "expected the name of a JSON member"),
    "rotate by GET": of_account("rotate", {"method": "GET"}, "'PUT', 'POST' or 'PATCH'", inner="method"),
    "rotate to a whole URL": of_account("rotate", {"path": "https://x/y"}, "a path that begins with /", inner="path"),
    "one field for two secrets": of_account(
        "rotate", {"current_field": "same", "new_field": "same"}, "two different names in current_field and new_field"
    ),
    "one field for file and secret": of_account("reset", {"file_field": "x", "new_field": "x"}, "two different names"),
    "register to nowhere": of_account("register", {"path": "here"}, "a path that begins with /", inner="path"),
    "a code of no class": of_account("codes", {"156013": "active"}, "'not-active'", inner="156013"),
    "a code in words": of_account("codes", {"invalid": "doubt"}, "valid integer", inner="invalid"),
    "a typo in the account": Wrong(
        put(ACCOUNT, answerfield="x"),
        f"{ACCOUNT}.answerfield",
        "did you mean answer_field?",
        put(ACCOUNT, answerfield=None),
        "unknown-key",
    ),
    "a typo in the target": Wrong(
        put(f"{MANAGED}.target", canary="x"),
        f"{MANAGED}.target.canary",
        "did you mean canary_wallet?",
        put(f"{MANAGED}.target", canary=None),
        "unknown-key",
    ),
    "no place for the recovery file": Wrong(
        sinks(SERVED), f"{MANAGED}.sinks", f"add a sink with fields: [{FILE}]", APART, "unpublished-field"
    ),
    "no place for the secret": Wrong(
        sinks(CUSTODY), f"{MANAGED}.sinks", f"add a sink with fields: [{FIELD}]", APART, "unpublished-field"
    ),
    "the recovery file beside the secret": Wrong(
        sinks(MIXED),
        f"{MANAGED}.sinks[0].fields",
        f"list another place for it, with fields: [{FILE}]",
        APART,
        "artefact-not-apart",
    ),
    "the recovery file beside the secret, under another name": Wrong(
        sinks({**SERVED, "fields": {"key": FIELD, "paper": FILE}}),
        f"{MANAGED}.sinks[0].fields",
        f"list another place for it, with fields: [{FILE}]",
        APART,
        "artefact-not-apart",
    ),
    "the recovery file in the same place": Wrong(
        sinks(SERVED, {**SERVED, "fields": [FILE]}),
        f"{MANAGED}.sinks[1]",
        "let each have another path or name",
        APART,
        "one-place",
    ),
    "an outage as a word": Wrong(
        put(f"{MANAGED}.overlap", accept_outage="short"),
        f"{MANAGED}.overlap.accept_outage",
        "expected a duration",
        put(f"{MANAGED}.overlap", accept_outage="5s"),
    ),
    "a consumer that drains perhaps": Wrong(
        put(MANAGED, consumers=[{"name": "signer", "drain": "perhaps"}]),
        f"{MANAGED}.consumers[0].drain",
        "'required' or 'best-effort'",
        put(MANAGED, consumers=[{"name": "signer", "drain": "best-effort"}]),
    ),
}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wallets]:
    with wallets(tmp_path_factory.mktemp("bad") / "team") as built:
        built.begin()
        yield built


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
def test_a_wrong_configuration_is_told_with_its_line_and_right_once_its_hint_is_followed(
    team: Wallets, wrong: Wrong
) -> None:
    team.configure()
    configured(team, wrong.change)
    ran = team.keyturn("check", "--json")
    assert ran.code == 2, ran.said
    told = {(one["code"], one["path"]): one for one in ran.json["problems"]}
    problem = told[wrong.code, wrong.path]
    assert wrong.says in f"{problem['message']}; {problem['hint']}"
    assert problem["hint"]
    assert problem["line"] > 0
    assert not any(value in ran.said for value in ("hunter2", API_KEY))
    configured(team, wrong.do)
    team.well("check")
