"""What a configuration may say of a portal, what is refused, and that what is ASSUMED changes what is sent."""

from __future__ import annotations

from typing import Any

import pytest

from contract.layer7_kit import Bench, Benches
from keyturn.api import IssueRequest, NotSent, Refused, Repeat, Revoke, Verdict
from keyturn_apiportal.layer7.hook import keyturn_plugin
from keyturn_apiportal.layer7.options import Account, Target, subject, traits

UUID = "8d1c0000-1111-4222-8333-444455556666"
ACCOUNT: dict[str, Any] = {
    "url": "https://ssg.example:9443",
    "tenant": "acme",
    "client_id": "env:PAPI_ID",
    "client_secret": "env:PAPI_SECRET",
    "proxies": ["https://gw1.example:8443", {"url": "https://gw2.example:8443", "name": "gw2"}],
}


def account(**options: Any) -> Account:
    return Account.model_validate({**ACCOUNT, **options})


def target(**options: Any) -> Target:
    return Target.model_validate({"application": UUID, **options})


def test_without_a_word_there_is_no_outage() -> None:
    found = traits(account(), target())
    assert (found.coexist, found.revoke, found.repeat) == (True, Revoke.REFUSE_REMOVE, Repeat.DUPLICATES)
    assert found.derived_s == 3600


@pytest.mark.parametrize(
    ("way", "repeat", "made_by"), [("patch", "destroys", "vendor"), ("put", "safe", "us"), ("legacy", "safe", "us")]
)
def test_in_place_the_old_one_dies(way: str, repeat: str, made_by: str) -> None:
    found = traits(account(), target(way=way, api_key="l7abc"))
    assert (found.live_max, found.grace_s, found.needs_current) == (1, 0.0, True)
    assert (found.repeat.value, found.revoke, found.answer_is_commit) == (repeat, Revoke.NONE, False)
    fixed, secret = found.fields
    assert (fixed.value, fixed.sensitive, secret.by.value) == ("l7abc", False, made_by)


def test_a_secret_of_ours_is_32_hexadecimal_characters() -> None:
    secret = traits(account(), target(way="put", api_key="l7abc")).fields[1]
    assert secret.recipe
    assert (secret.recipe.length, secret.recipe.alphabet) == (32, "0123456789abcdef")


def test_in_place_a_lost_change_is_looked_for_until_every_proxy_has_heard() -> None:
    assert traits(account(sync="5m"), target(way="patch", api_key="l7abc")).settle_s == 300
    assert traits(account(sync="5m"), target()).settle_s == 60


@pytest.mark.parametrize(("hashed", "readable"), [("prefer", True), ("as-is", True), ("always", False)])
def test_what_is_always_hashed_is_never_readable(hashed: str, readable: bool) -> None:
    assert traits(account(), target(hashed=hashed)).readable is readable


@pytest.mark.parametrize(
    ("options", "name"),
    [({"way": "patch", "api_key": "l7abc"}, "l7abc"), ({"way": "second-key", "api_key": "l7abc"}, UUID), ({}, UUID)],
)
def test_the_subject_is_the_key_in_place_and_else_the_application(options: dict[str, Any], name: str) -> None:
    assert subject(account(), target(**options)) == f"apiportal:ssg.example:9443/acme:{name}"


def test_one_subject_has_one_spelling() -> None:
    other = Target.model_validate({"application": UUID.upper()})
    assert subject(account(url="https://SSG.example:9443/"), other) == subject(account(), target())


@pytest.mark.parametrize(
    "options",
    [
        {"proxies": []},
        {"proxies": ["https://gw1.example:8443", "https://GW1.example:8443/"]},
        {"proxies": ["http://gw1.example"]},
        {"tenant": "acme/other"},
        {"approval": "hope"},
        {"codes": {"3003115": "maybe"}},
        {"probe": {"kind": "resource"}},
        {"probe": {"path": "/resource"}},
        {"secret_call": {"method": "GET"}},
        {"api_prefix": "no-slash"},
        {"client_secret": "in plain sight"},
        {"sync": "0s"},
        {"deployments": {"states": {"DONE": "perhaps"}}},
    ],
    ids=str,
)
def test_an_account_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Account|expected"):
        account(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"way": "patch"},
        {"way": "put"},
        {"way": "legacy"},
        {"way": "patch", "api_key": "../secret"},
        {"way": "patch", "api_key": "l7abc", "keys_max": 3},
        {"way": "patch", "api_key": "l7abc", "default_key": "move"},
        {"keys_max": 1},
        {"hashed": "never"},
        {"application": "batch"},
    ],
    ids=str,
)
def test_a_target_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Target|expected"):
        target(**options)


def test_the_registration_names_what_it_is_for() -> None:
    plugin = keyturn_plugin()
    assert (plugin.name, plugin.extras, plugin.source) == ("apiportal", (), None)


# What is ASSUMED is an option: each changes what is sent, or what an answer means.


def paths(one: Bench) -> list[str]:
    return [entry["path"] for entry in one.sim.log.attempts()]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"token_path": "/other/token"}, "/other/token"),
        ({"api_prefix": "/api/{tenant}/api-management/1.0"}, "/api/acme/api-management/1.0/applications/{application}"),
        ({"hashing": {"path": "/{tenant}/hash"}}, "/acme/hash"),
        ({"workflow_path": "/{tenant}/flow/{name}"}, "/acme/flow/EDIT_APPLICATION_REQUEST_WORKFLOW"),
        ({"proxies_path": "/{tenant}/gateways"}, "/acme/gateways"),
    ],
    ids=str,
)
def test_a_path_that_is_another_one_is_asked(bench: Benches, options: dict[str, Any], path: str) -> None:
    one = bench("patch", **options)
    try:
        one.inspect()
    except (NotSent, Refused):
        assert "token_path" in options
    assert path.replace("{application}", one.sim.application) in paths(one)


def test_the_call_that_makes_a_secret_may_be_another_one(bench: Benches) -> None:
    call = {"path": "/{application}/keys/{key}/new", "method": "POST"}
    one = bench("patch", secret_call=call)
    one.inspect()
    assert one.trouble().code == "no-such-call"
    assert paths(one)[-1].endswith(f"/applications/{one.sim.application}/keys/{one.sim.api_key}/new")


def test_the_members_of_that_call_may_be_others(bench: Benches) -> None:
    one = bench("patch", secret_call={"hashed_field": "hashIt"})
    one.inspect()
    assert "about keySecretHashed" in one.trouble().why


def test_the_older_calls_may_be_elsewhere(bench: Benches) -> None:
    one = bench("legacy", legacy={"prefix": "/admin/Portal.svc"})
    assert one.problems() == {"no-such-application": True}
    assert f"/admin/Portal.svc/Applications('{one.sim.application}')" in paths(one)


def test_the_token_endpoint_of_proxies_may_be_elsewhere(bench: Benches) -> None:
    one = bench("patch", proxy_token_path="/oauth/token")
    assert one.probe(one.old.bundle).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "probe", [{"grant": "authorization_code"}, {"scope": "not-registered"}], ids=lambda probe: next(iter(probe))
)
def test_grant_and_scope_of_a_probe_are_options(bench: Benches, probe: dict[str, Any]) -> None:
    one = bench("patch", probe=probe)
    found = one.probe(one.old.bundle)
    assert found.verdict is Verdict.UNKNOWN
    assert "x-ca-err" in found.evidence


@pytest.mark.parametrize("options", [{"token_by_form": True}, {"probe": {"basic": False}}], ids=str)
def test_credentials_may_go_by_form(bench: Benches, options: dict[str, Any]) -> None:
    one = bench("patch", **options)
    assert one.inspect().seen
    assert one.probe(one.old.bundle).verdict is Verdict.ACCEPTED


def test_a_code_may_mean_something_else(bench: Benches) -> None:
    one = bench("patch", codes={"3003115": "accepted"}, probe={"scope": "not-registered"})
    assert one.probe(one.old.bundle).verdict is Verdict.ACCEPTED


def test_the_scope_of_papi_is_an_option(bench: Benches) -> None:
    one = bench("patch", scope="other")
    with pytest.raises(Refused):
        one.inspect()


def test_the_mark_of_a_key_may_be_another_member(bench: Benches) -> None:
    one = bench("patch, hashed", mark_field="createTs")
    one.inspect()
    key = one.sim.key()
    assert key
    (seen,) = one.inspect().seen
    assert seen.handle == f"{key.api_key}@{key.created}"


def test_patience_with_an_approval_is_an_option(bench: Benches) -> None:
    one = bench("patch", approval="wait", approval_patience="2d")
    one.sim.switch(approve_edits=True)
    one.inspect()
    request = IssueRequest(call=one.call("attempt-1"), new=one.new, current=one.old, witness=one.witness)
    waiting = one.provider.issue(request).waiting
    assert waiting
    assert waiting.until == one.clock.now() + 2 * 86_400
