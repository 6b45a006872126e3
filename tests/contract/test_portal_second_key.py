"""The second key (contract 5, 7.12): made after the one in use, found by its name; the old one disabled, then gone."""

from __future__ import annotations

import pytest

from contract.layer7_kit import Bench, Benches
from keyturn.api import Doubt, Half, NotSent, Refused, RetireResponse, Settled, Verdict


@pytest.fixture
def one(bench: Benches) -> Bench:
    made = bench("second key")
    made.inspect()
    return made


def issued(one: Bench) -> str:
    handle = one.issue().handle
    assert handle
    return handle


def test_a_new_key_bears_our_versions_name_and_takes_over_the_rest(one: Bench) -> None:
    one.sim.change(oauth_scope="OOB read", oauth_callback_url="https://client.example/back")
    made = one.sim.key(issued(one))
    assert made
    assert made.name == f"keyturn-{one.new.id}"
    assert (made.oauth_scope, made.oauth_callback_url) == ("OOB read", "https://client.example/back")
    assert (made.default, made.status, made.auth_method) == (False, "ENABLED", "SECRET")


def test_both_keys_work_until_the_old_one_is_ended(one: Bench) -> None:
    answer = one.issue()
    assert set(one.verdicts(one.old.bundle)) == {Verdict.ACCEPTED}
    assert set(one.verdicts(answer.bundle)) == {Verdict.ACCEPTED}
    one.retire(one.sim.api_key, successor=answer.handle)
    assert set(one.verdicts(one.old.bundle)) == {Verdict.REFUSED}
    assert set(one.verdicts(answer.bundle)) == {Verdict.ACCEPTED}


def test_the_default_moves_to_the_successor_before_the_old_one_is_disabled(one: Bench) -> None:
    new = issued(one)
    one.retire(one.sim.api_key, successor=new)
    old, made = one.sim.key(), one.sim.key(new)
    assert old
    assert made
    assert (old.default, old.status) == (False, "DISABLED")
    assert (made.default, made.status) == (True, "ENABLED")
    assert [entry["key"] for entry in one.sim.log.commits("put-key")] == [new, one.sim.api_key]
    assert one.retire(one.sim.api_key, Half.REMOVE) == RetireResponse()
    assert one.sim.keys == [new]


@pytest.mark.parametrize("hashed", [False, True])
def test_ending_a_key_changes_no_secret(bench: Benches, hashed: bool) -> None:
    one = bench("second key, hashed" if hashed else "second key")
    one.sim.switch(version="5.1")  # which takes a secret by PUT
    one.inspect()
    answer = one.issue()
    one.retire(one.sim.api_key, successor=answer.handle)
    assert set(one.verdicts(answer.bundle)) == {Verdict.ACCEPTED}


@pytest.mark.parametrize("successor", [None, "itself"])
def test_the_default_key_is_never_left_without_a_successor(one: Bench, successor: str | None) -> None:
    with pytest.raises(Refused) as caught:
        one.retire(one.sim.api_key, successor=one.sim.api_key if successor else None)
    assert (caught.value.code, bool(caught.value.hint)) == ("default-key", True)
    assert one.sim.log.attempts("put-key") == []


def test_a_default_key_that_is_to_keep_its_place_is_the_portals_to_refuse(bench: Benches) -> None:
    one = bench("second key", target={"default_key": "keep"})
    one.inspect()
    with pytest.raises(Refused):
        one.retire(one.sim.api_key, successor=issued(one))
    assert set(one.verdicts(one.old.bundle)) == {Verdict.ACCEPTED}


def test_a_key_that_proxies_still_hold_is_removed_later_and_never_forced(bench: Benches) -> None:  # 7.12
    one = bench("second key", sync_s=30.0)
    spare, _ = one.sim.add_key(name="spare")
    one.retire(spare)
    with pytest.raises(NotSent) as caught:
        one.retire(spare, Half.REMOVE)
    assert caught.value.code == "key-still-deployed"
    one.clock.advance(31)
    assert one.retire(spare, Half.REMOVE) == RetireResponse()


def test_a_key_that_is_enabled_is_not_removed(one: Bench) -> None:
    spare, _ = one.sim.add_key(name="spare")
    with pytest.raises(Refused) as caught:
        one.retire(spare, Half.REMOVE)
    assert caught.value.code == "still-enabled"


def test_a_deletion_that_failed_is_tried_again(one: Bench) -> None:
    spare, _ = one.sim.add_key(name="spare")
    one.retire(spare)
    one.sim.switch(delete_fails=True)
    with pytest.raises(NotSent) as caught:
        one.retire(spare, Half.REMOVE)
    assert caught.value.code == "delete-failed"
    one.sim.switch(delete_fails=False)
    assert one.retire(spare, Half.REMOVE) == RetireResponse()
    assert one.retire(spare, Half.REMOVE).already


@pytest.mark.parametrize("how", ["reset-before", "reset-after", "502-after:html", "429:1"])
@pytest.mark.parametrize(("half", "on"), [(Half.REFUSE, "put-key"), (Half.REMOVE, "delete")])
def test_a_lost_ending_is_sent_again(one: Bench, half: Half, on: str, how: str) -> None:
    spare, secret = one.sim.add_key(name="spare")
    if half is Half.REMOVE:
        one.retire(spare)
    one.sim.fault(on, how)
    with pytest.raises((Doubt, NotSent)):
        one.retire(spare, half)
    one.retire(spare, half)
    assert one.retire(spare, half).already
    assert not one.sim.portal_accepts(spare, secret)


def test_a_full_application_takes_no_key_more(bench: Benches) -> None:  # 7.12
    one = bench("second key", target={"keys_max": 2})
    assert one.traits.live_max == 2
    assert one.problems() == {}
    one.sim.add_key(name="somebody else's")
    assert one.problems() == {"key-limit": True}
    assert one.trouble().code == "key-limit"


def test_the_portals_own_limit_is_a_refusal(one: Bench) -> None:  # 7.12
    one.sim.switch(key_limit=1)
    assert isinstance(one.trouble(), Refused)
    assert one.settle().outcome is Settled.NOT_APPLIED


def test_a_name_that_is_taken_is_never_used_twice(one: Bench) -> None:  # 7.12
    one.sim.add_key(name=f"keyturn-{one.new.id}")
    trouble = one.trouble()
    assert (type(trouble), trouble.code) == (Refused, "name-taken")
    assert one.sent() == 0


def test_a_key_in_the_list_whose_page_is_gone_is_neither_read_nor_taken_for_absent(one: Bench) -> None:  # 7.12
    one.sim.fault("post-key", "reset-after")
    one.trouble()
    one.sim.fault("key", "404", times=2)
    settled = one.settle()
    assert settled.outcome is Settled.APPLIED_GONE
    assert settled.handle in one.sim.keys


def test_the_first_key_to_go_by_is_the_one_that_was_named_else_the_default(bench: Benches) -> None:
    named = bench("second key")
    spare, secret = named.sim.add_key(name="spare")
    unnamed = named.old
    named.old = type(unnamed)(id="v0", number=0)
    shown = named.inspect(want_value=True).bundle
    assert shown
    assert shown.reveal() == unnamed.bundle.reveal()
    named.target = named.target.model_copy(update={"api_key": spare})
    shown = named.inspect(want_value=True).bundle
    assert shown
    assert shown.reveal() == {"client_id": spare, "client_secret": secret}


def test_an_application_without_any_key_gets_one(bench: Benches) -> None:
    one = bench("second key")
    one.sim.application = one.sim.add_application("empty")
    one.target = one.target.model_copy(update={"application": one.sim.application, "api_key": None})
    one.inspect()
    answer = one.issue()
    made = one.sim.key(answer.handle or "")
    assert made
    assert (made.oauth_type, made.auth_method) == ("CONFIDENTIAL", "SECRET")
