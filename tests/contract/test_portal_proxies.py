"""Asking the proxies (contract 3, 4, 7.9, 7.10): each by itself, and what the evidence says of one that refuses."""

from __future__ import annotations

import pytest

from contract.layer7_kit import Benches
from contract.portal_caller import Caller
from keyturn.api import Answer, Bundle, Refused, Secret, Verdict
from keyturn_apiportal.layer7.deployments import said
from keyturn_apiportal.layer7.otk import judge_by


def answer(status: int, body: object, code: str = "") -> Answer:
    return Answer(status=status, headers={"x-ca-err": code} if code else {}, json=body, text=Secret(""))


TOKEN = {"access_token": "made-up", "token_type": "Bearer"}
TABLE = [
    # status, body, x-ca-err, verdict
    (200, TOKEN, "", Verdict.ACCEPTED),
    (200, {}, "", Verdict.UNKNOWN),
    (200, TOKEN, "3003201", Verdict.REFUSED),
    (401, {"error": "invalid_client"}, "3003201", Verdict.REFUSED),
    (400, {"error": "invalid_client"}, "3003201", Verdict.REFUSED),
    (401, {"error": "invalid_request"}, "3003201", Verdict.REFUSED),
    (401, {"error": "invalid_request"}, "", Verdict.REFUSED),
    (400, {"error": "invalid_request"}, "", Verdict.UNKNOWN),
    (400, {"error": "invalid_client"}, "", Verdict.REFUSED),
    (401, None, "", Verdict.REFUSED),
    (403, None, "", Verdict.UNKNOWN),
    (500, {"error": "server_error"}, "3003000", Verdict.UNKNOWN),
    (500, {"error": "invalid_client"}, "", Verdict.UNKNOWN),
    (429, {"error": "invalid_client"}, "", Verdict.UNKNOWN),
    (400, {"error": "invalid_request"}, "3003103", Verdict.UNKNOWN),
    (400, {"error": "invalid_grant"}, "3003113", Verdict.UNKNOWN),
    (400, {"error": "invalid_scope"}, "3003115", Verdict.UNKNOWN),
    (400, {"error": "unauthorized_client"}, "3003117", Verdict.UNKNOWN),
    (400, {"error": "unsupported_grant_type"}, "3003119", Verdict.UNKNOWN),
    (401, {"error": "invalid_request"}, "3003203", Verdict.UNKNOWN),
    (302, None, "", Verdict.UNKNOWN),
    (401, None, "9999999", Verdict.REFUSED),
]


@pytest.mark.parametrize(("status", "body", "code", "verdict"), TABLE)
def test_the_code_decides_then_the_word_then_the_status(status: int, body: object, code: str, verdict: Verdict) -> None:
    found, why = judge_by({})(answer(status, body, code))
    assert found is verdict
    assert str(status) in why
    assert code in why


def test_a_code_that_means_something_else_here_is_an_option() -> None:
    asked = answer(400, {"error": "invalid_scope"}, "3003115")
    assert judge_by({"3003115": "accepted"})(asked)[0] is Verdict.ACCEPTED
    assert judge_by({"3003115": "refused"})(asked)[0] is Verdict.REFUSED


def test_words_of_a_proxy_are_shown_only_where_they_are_plain() -> None:
    why = judge_by({})(answer(401, {"error": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"}, "<b>3003201"))[1]
    assert why.startswith("401")
    assert "0f1e" not in why
    assert "<b>" not in why


@pytest.mark.parametrize("says", ["3003115", "3003117", "3003119"])
def test_a_client_that_can_not_be_asked_about_so_is_told_what_to_set(bench: Benches, says: str) -> None:  # 7.10
    one = bench("patch")
    one.sim.proxies[0].switch(says=says)
    found = one.probe(one.old.bundle)
    assert found.verdict is Verdict.UNKNOWN
    assert "probe.kind resource" in found.evidence


@pytest.mark.parametrize("changes", [{"refused": 400}, {"err_header": False}, {"refused": 400, "err_header": False}])
def test_a_refusal_is_one_in_every_form(bench: Benches, changes: dict[str, object]) -> None:  # 7.10
    one = bench("patch")
    one.sim.proxies[0].switch(**changes)
    wrong = one.old.bundle.with_(Bundle({"client_secret": "0" * 32}))
    assert one.probe(wrong).verdict is Verdict.REFUSED
    assert one.probe(one.old.bundle).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("how", ["503:html", "429:1", "reset-before", "500:empty", "200:html", "x-ca-err:3003000"])
def test_a_proxy_in_trouble_proves_nothing(bench: Benches, how: str) -> None:  # 7.9, 7.10
    one = bench("patch")
    one.sim.fault("otk", how)
    found = one.probe(one.old.bundle)
    assert found.verdict is Verdict.UNKNOWN
    assert found.evidence.startswith("gw1: ")


def test_a_proxy_that_is_down_is_unknown_and_the_other_is_asked(bench: Benches) -> None:  # 7.9
    one = bench("patch")
    one.sim.proxies[0].stop()
    assert one.verdicts(one.old.bundle) == [Verdict.UNKNOWN, Verdict.ACCEPTED]


def test_a_place_that_is_not_configured_is_not_asked(bench: Benches) -> None:
    one = bench("patch")
    one.account = one.account.model_copy(update={"proxies": one.account.proxies[:1]})
    with pytest.raises(Refused):
        one.probe(one.old.bundle, 1)


def test_in_place_each_proxy_changes_over_in_its_own_time(bench: Benches) -> None:  # 7.9
    one = bench("patch")
    one.sim.proxies[1].switch(sync_s=30.0)
    one.inspect()
    new = one.whole(one.issue().bundle)
    assert one.verdicts(new) == [Verdict.ACCEPTED, Verdict.REFUSED]
    assert one.verdicts(one.old.bundle) == [Verdict.REFUSED, Verdict.ACCEPTED]
    one.clock.advance(31)
    assert one.verdicts(new) == [Verdict.ACCEPTED] * 2


def test_a_proxy_that_answers_from_a_cache_takes_the_old_one_too(bench: Benches) -> None:  # 7.9
    one = bench("patch")
    one.sim.proxies[0].switch(cache_s=60.0)
    one.inspect()
    new = one.whole(one.issue().bundle)
    assert [one.probe(bundle).verdict for bundle in (new, one.old.bundle)] == [Verdict.ACCEPTED] * 2
    one.clock.advance(61)
    assert one.probe(one.old.bundle).verdict is Verdict.REFUSED


def test_a_proxy_where_somebody_must_deploy_the_key_says_so(bench: Benches) -> None:  # 7.9
    one = bench("patch")
    one.sim.proxies[0].switch(sync="on-demand")
    (problem,) = one.inspect().problems
    assert (problem.code, problem.fatal, "gw1" in problem.text) == ("on-demand-proxy", False, True)
    new = one.whole(one.issue().bundle)
    assert "(On Demand: somebody must deploy the key)" in one.probe(new).evidence
    one.sim.deploy(0)
    assert one.probe(new).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("sync", "state"),
    [
        ("old-otk", "ERROR: OTK older than 4.4 cannot take hashed keys"),
        ("error", "ERROR: the key could not be written to the key store"),
        ("validation-error", "VALIDATION_ERROR: the key is not valid on this proxy"),
        ("never", "PENDING_DEPLOYMENT"),
    ],
)
def test_the_state_of_the_deployment_is_told_where_it_can_be_asked_for(bench: Benches, sync: str, state: str) -> None:
    path = "/{tenant}/deployments/1.0/applications/{application}/api-keys/{key}/proxies"
    one = bench("patch, hashed", deployments={"path": path})
    one.sim.switch(deployments=True)
    one.sim.proxies[0].switch(sync=sync)
    one.inspect()
    new = one.whole(one.issue().bundle)
    found = one.probe(new)
    assert found.verdict is Verdict.REFUSED
    assert f"({state})" in found.evidence


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("no room for a1b2c3d4e5f60718293a4b5c6d7e8f90 here", ""),
        ("one\nline <b>only</b>", "one line  b only /b"),
        ("word " * 30, ("word " * 12).strip()),
    ],
)
def test_a_message_of_a_deployment_is_short_and_without_values(message: str, shown: str) -> None:  # 7.14
    assert said(message) == shown


def test_the_state_of_the_deployment_is_not_asked_for_unless_told(bench: Benches) -> None:
    one = bench("patch")
    one.sim.proxies[0].switch(sync="never")
    one.inspect()
    assert one.probe(one.whole(one.issue().bundle)).verdict is Verdict.REFUSED
    assert one.sim.log.attempts("deployments") == []


def test_a_portal_that_does_not_answer_spoils_no_verdict(bench: Benches) -> None:
    one = bench("patch")
    one.sim.proxies[0].switch(sync="never")
    one.inspect()
    new = one.whole(one.issue().bundle)
    one.sim.switch(trouble="503:html")
    assert one.probe(new).verdict is Verdict.REFUSED


def test_a_name_that_the_portal_does_not_know_is_told(bench: Benches) -> None:
    one = bench("patch")
    one.account = one.account.model_copy(
        update={"proxies": (one.account.places[0].model_copy(update={"name": "gateway one"}),)}
    )
    assert one.problems() == {"unknown-proxy": False}


def test_a_proxy_without_a_name_is_known_by_its_url(bench: Benches) -> None:
    one = bench("patch")
    one.account = one.account.model_copy(update={"proxies": (one.sim.proxies[0].url,)})
    assert one.problems() == {}
    assert one.probe(one.old.bundle).evidence.startswith(one.sim.proxies[0].url)
    assert one.sim.log.attempts("proxies") == []


@pytest.mark.parametrize("revoked", [True, False])
def test_the_token_of_a_probe_is_dropped_and_revoked_where_that_is_configured(bench: Benches, revoked: bool) -> None:
    one = bench("patch", revoke_path="/auth/oauth/v2/token/revoke" if revoked else None)
    before = one.sim.proxies[0].tokens
    assert one.probe(one.old.bundle).verdict is Verdict.ACCEPTED
    assert one.sim.proxies[0].tokens - before == (0 if revoked else 1)


def test_a_revocation_that_fails_changes_nothing(bench: Benches) -> None:
    one = bench("patch", revoke_path="/auth/oauth/v2/token/revoke")
    one.sim.fault("otk-revoke", "500:empty")
    assert one.probe(one.old.bundle).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("status", [500, 403, 404])
def test_a_test_api_is_asked_where_a_client_may_have_no_token(bench: Benches, status: int) -> None:
    one = bench("patch", probe={"kind": "resource", "path": "/resource"})
    one.sim.proxies[0].switch(says="3003117")
    assert one.probe(one.old.bundle).verdict is Verdict.ACCEPTED
    wrong = one.old.bundle.with_(Bundle({"client_secret": "0" * 32}))
    assert one.probe(wrong).verdict is Verdict.REFUSED
    one.sim.fault("resource", f"{status}")
    assert one.probe(one.old.bundle).verdict is Verdict.UNKNOWN


def test_evidence_holds_no_value(bench: Benches) -> None:  # 7.14
    one = bench("patch")
    one.sim.switch(echo=True)
    wrong = one.old.bundle.with_(Bundle({"client_secret": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"}))
    assert "0f1e2d3c" in Caller(one.sim).token(wrong.reveal()["client_secret"]).text
    assert "0f1e2d3c" not in one.probe(wrong).evidence
