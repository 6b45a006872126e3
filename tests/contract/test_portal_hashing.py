"""Hashed secrets (contract 2, 7.7): where they are asked for, what is refused, and what happens in between."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contract.layer7_kit import Benches
from keyturn.api import Refused, Verdict
from keyturn_apiportal.layer7.hashing import policy, setting_of

BOTH = {"value": json.dumps({"algorithm": "SHA-512", "plaintextAllowed": True})}
HASHED_ONLY = {"value": json.dumps({"algorithm": "SHA-256", "plaintextAllowed": False})}
PLAIN_ONLY = {"value": ""}

TABLE = [
    # the tenant's setting, hashed:, the key now, what the next one is, problems
    (BOTH, "prefer", False, True, ""),
    (BOTH, "prefer", True, True, ""),
    (BOTH, "always", False, True, ""),
    (BOTH, "as-is", False, False, ""),
    (BOTH, "as-is", True, True, ""),
    (HASHED_ONLY, "prefer", False, True, ""),
    (HASHED_ONLY, "always", True, True, ""),
    (HASHED_ONLY, "as-is", False, False, "hash-policy"),
    (HASHED_ONLY, "as-is", True, True, ""),
    (PLAIN_ONLY, "prefer", False, False, ""),
    (PLAIN_ONLY, "prefer", True, False, "hash-policy"),
    (PLAIN_ONLY, "always", False, True, "hash-policy"),
    (PLAIN_ONLY, "as-is", False, False, ""),
    (PLAIN_ONLY, "as-is", True, True, "hash-policy"),
    (None, "prefer", False, False, ""),
    ({}, "prefer", False, False, ""),
    ({"value": None}, "always", False, True, "hash-policy"),
    ({"value": "{algorithm=SHA-512"}, "prefer", False, False, "hash-setting"),
    ({"value": "[1]"}, "prefer", True, True, "hash-setting"),
    ({"value": '{"algorithm": "SHA-512", "plaintextAllowed": "no"}'}, "prefer", False, False, "hash-setting"),
    ({"value": '{"algorithm": "SHA-1", "plaintextAllowed": true}'}, "prefer", False, True, "weak-hash"),
    ({"value": '{"algorithm": "MD5", "plaintextAllowed": false}'}, "always", True, True, "weak-hash"),
    ({"value": '{"algorithm": "SHA-1", "plaintextAllowed": true}'}, "as-is", False, False, ""),
    ({"value": '{"algorithm": null, "plaintextAllowed": true}'}, "prefer", False, False, ""),
]


@pytest.mark.parametrize(("body", "wish", "now_hashed", "hashed", "code"), TABLE)
def test_hashed_where_the_tenant_allows_it_and_never_back(
    body: Any, wish: str, now_hashed: bool, hashed: bool, code: str
) -> None:
    plan = policy(setting_of(body), wish, now_hashed=now_hashed)
    assert plan.hashed is hashed
    assert [one.code for one in plan.problems] == [code] * bool(code)
    assert [one.fatal for one in plan.problems] == [code != "weak-hash"] * bool(code)
    assert all(one.hint for one in plan.problems)


@pytest.mark.parametrize("wish", ["prefer", "always", "as-is"])
@pytest.mark.parametrize("way", ["patch", "second key"])
def test_what_was_decided_is_what_the_portal_gets(bench: Benches, way: str, wish: str) -> None:
    one = bench(way, target={"hashed": wish})
    one.inspect()
    answer = one.issue()
    key = one.sim.key(one.whole(answer.bundle).reveal()["client_id"])
    assert key
    assert key.hashed is (wish != "as-is")
    assert set(one.verdicts(one.whole(answer.bundle))) == {Verdict.ACCEPTED}


@pytest.mark.parametrize("way", ["put", "legacy"])
def test_a_secret_of_ours_is_hashed_where_it_is_asked_for(bench: Benches, way: str) -> None:
    one = bench(way, target={"hashed": "prefer"})
    one.inspect()
    one.issue()
    key = one.sim.key()
    assert key
    assert key.hashed
    assert set(one.verdicts(one.new.bundle)) == {Verdict.ACCEPTED}


@pytest.mark.parametrize("way", ["patch, hashed", "second key, hashed"])
def test_a_hashed_key_is_never_made_plaintext(bench: Benches, way: str) -> None:  # 7.7
    one = bench(way, target={"hashed": "prefer"})
    one.sim.switch(hashing="plaintext")
    assert one.problems() == {"hash-policy": True}
    assert one.trouble().code == "hash-policy"
    assert one.sent() == 0


@pytest.mark.parametrize("shown", ["missing", "empty"])
def test_no_setting_means_plaintext_only(bench: Benches, shown: str) -> None:  # 7.7
    one = bench("patch", target={"hashed": "prefer"})
    one.sim.switch(hashing="plaintext", hashing_shown=shown)
    assert one.problems() == {}
    one.issue()
    assert one.sim.portal_secret()


def test_a_setting_that_is_not_json_stops_the_rotation(bench: Benches) -> None:  # 7.7
    one = bench("patch")
    one.sim.switch(hashing_shown="not-json")
    assert one.problems() == {"hash-setting": True}


@pytest.mark.parametrize("algorithm", ["SHA-1", "MD5"])
def test_a_weak_hash_is_named_and_stops_nothing(bench: Benches, algorithm: str) -> None:  # 7.7
    one = bench("patch, hashed")
    one.sim.switch(algorithm=algorithm)
    assert one.problems() == {"weak-hash": False}
    assert one.issue().handle


@pytest.mark.parametrize("way", ["patch", "second key"])
def test_a_setting_that_changed_since_the_look_stops_the_change(bench: Benches, way: str) -> None:  # 7.7
    one = bench(way, target={"hashed": "prefer"})
    one.inspect()
    one.sim.switch(algorithm="SHA-256")
    trouble = one.trouble()
    assert (type(trouble), trouble.code) == (Refused, "changed-outside")
    assert one.sent() == 0


def test_a_setting_that_changes_in_the_last_moment_is_the_portals_to_refuse(bench: Benches) -> None:  # 7.7
    one = bench("patch", target={"hashed": "prefer"})
    one.sim.switch(hashing="hashed")
    one.inspect()
    one.sim.fault("patch", "hashing-before")
    trouble = one.trouble()
    assert isinstance(trouble, Refused)
    assert "keySecretHashed" in trouble.why
    assert set(one.verdicts(one.old.bundle)) == {Verdict.ACCEPTED}


@pytest.mark.parametrize("shown", ["asterisks", "empty", "absent"])
def test_what_a_hashed_key_shows_is_never_taken_for_a_secret(bench: Benches, shown: str) -> None:
    one = bench("patch, hashed", target={"hashed": "as-is"})
    one.sim.switch(hashed_shown=shown)
    assert one.inspect(want_value=True).bundle is None
    assert one.issue().handle


def test_a_new_key_that_stayed_plaintext_is_hashed_by_one_more_call(bench: Benches) -> None:
    one = bench("second key", target={"hashed": "always"})
    one.sim.switch(given_stays_plain="all")
    one.inspect()
    answer = one.issue()
    key = one.sim.key(answer.handle or "")
    assert key
    assert key.hashed
    assert set(one.verdicts(answer.bundle)) == {Verdict.ACCEPTED}
    assert one.settle().bundle["client_secret"].same_as(answer.bundle["client_secret"])


def test_a_portal_that_will_not_hash_a_new_key_leaves_it_as_it_is(bench: Benches) -> None:
    one = bench("second key", target={"hashed": "always"})
    one.sim.switch(given_stays_plain="all")
    one.inspect()
    one.sim.fault("patch", "400")
    answer = one.issue()
    assert set(one.verdicts(answer.bundle)) == {Verdict.ACCEPTED}
    assert [event for event, _ in one.context.notes] == ["hash-policy"]
