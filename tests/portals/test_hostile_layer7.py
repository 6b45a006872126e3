"""A Layer7 portal at its worst: what it hides, shows late or tells wrongly never ends in a lie or a lost secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contract.layer7_kit import WAYS, Bench, Benches, Portals, portals
from keyturn.api import Bundle, Doubt, InspectRequest, Secret, Settled, Verdict
from keyturn.testing.clock import FakeClock
from keyturn_apiportal.layer7.simulator import Simulator

from .endings import act, in_order, kept, runs, team
from .partners import SECRET, partners

LATE_S = 900.0
"""Proxies hear later than the account says (`sync`)."""
SELDOM = {"settle_every": "40s"}
AHEAD_S = 100.0
"""How far a portal's clock is ahead that is still close enough."""


@pytest.fixture(scope="module")
def portal() -> Iterator[Portals]:
    with portals() as at:
        yield at


@pytest.fixture
def bench(portal: Portals) -> Iterator[Benches]:
    made = Benches(portal)
    yield made
    made.close()


def test_in_place_the_name_that_was_typed_is_replaced_by_the_portals_own(tmp_path: Path) -> None:
    with partners(tmp_path / "team", "patch-hashed") as one:
        [initial] = one.sim.initial.values()
        one.well("adopt", SECRET, "--from-stdin", "--handle", one.sim.api_key, stdin=json.dumps(initial["bundle"]))
        looked = one.keyturn("check", "--online", SECRET)
        assert looked.code == 0, looked.said
        assert "changed-outside" not in looked.said
        assert act(one).code == 0
        in_order(one)


@pytest.mark.parametrize("then", ["resume", pytest.param("abandon", marks=pytest.mark.sweep)])
def test_a_lost_change_that_somebodys_edit_hides_is_sent_again_with_the_same_value(tmp_path: Path, then: str) -> None:
    with team(tmp_path / "team", "put-hashed", account=SELDOM) as one:
        old = one.served()
        one.sim.fault("put-key", "reset-before")
        one.sim.fault("key", "edited-before", skip=4)  # when it is looked for
        ran = act(one)
        assert ran.code == 6, ran.said
        if then == "abandon":
            one.clock.advance(200.0)
            assert one.keyturn("abandon", SECRET, "--reason", "test").code == 4
            assert one.everywhere(old)
            return
        runs(one)
        in_order(one)
        assert one.served() != old
        assert len(one.commits("put-key")) == 1


def test_a_lost_change_that_no_proxy_hears_of_is_not_called_undone(tmp_path: Path) -> None:
    with team(tmp_path / "team", "put-hashed", account=SELDOM) as one:
        for proxy in one.sim.proxies:
            proxy.switch(sync_s=LATE_S)
        one.sim.fault("put-key", "reset-after")
        ran = act(one)
        assert ran.code in (5, 6), ran.said
        assert "old version is good" not in ran.said
        assert kept(one)
        one.clock.advance(LATE_S)
        one.keyturn("resume", SECRET)
        in_order(one)


@pytest.mark.parametrize("silent", [True, False])
def test_a_lost_change_is_not_judged_while_no_proxy_answers_or_may_not_have_heard(bench: Benches, silent: bool) -> None:
    one = bench("put, hashed", sync_s=LATE_S)
    one.inspect()
    one.sim.fault("put-key", "reset-after")
    assert isinstance(one.trouble(), Doubt)
    assert one.settle(final=True).outcome is Settled.UNKNOWN, "changed a moment ago"
    one.clock.advance(one.account.sync + 1)
    for proxy in one.sim.proxies if silent else ():
        proxy.switch(trouble="503:html")
    assert one.settle(final=True).outcome is (Settled.UNKNOWN if silent else Settled.NOT_APPLIED)
    one.clock.advance(LATE_S)
    for proxy in one.sim.proxies:
        proxy.switch(trouble="")
    assert one.settle(final=True).outcome is Settled.APPLIED


@pytest.mark.parametrize(
    ("off_s", "since_s", "fresh"), [(AHEAD_S, 10.0, True), (AHEAD_S, 350.0, False), (-AHEAD_S, 250.0, True)]
)
def test_how_long_ago_a_key_was_changed_is_told_by_the_portals_own_clock(
    off_s: float, since_s: float, fresh: bool
) -> None:
    clock = FakeClock()
    with Simulator(now=lambda: clock.now() + off_s, wait=clock.wait, proxies=1, hashed=True) as sim:
        one = Bench(sim, clock, WAYS["patch, hashed"])
        known = (one.handle(),)
        clock.advance(1)
        sim.elsewhere()
        clock.advance(since_s)
        looked = one.inspect(known=known)
        one.context.close()
    [problem] = looked.problems
    assert problem.fatal is fresh
    assert looked.vendor_now is not None
    assert abs(looked.vendor_now - (clock.now() + off_s)) <= 1


def test_a_key_that_could_not_be_read_back_is_not_said_to_be_somebody_elses(bench: Benches) -> None:
    one = bench("patch, hashed")
    one.inspect()
    one.sim.fault("key", "503:html", times=9, skip=1)
    answer = one.issue()
    one.sim.obey({"clear": True})
    now = replace(one.old, handle=answer.handle, bundle=one.whole(answer.bundle))
    request = InspectRequest(call=one.call(), current=now, known=(one.old.handle or "", answer.handle or ""))
    [problem] = one.provider.inspect(request).problems
    assert "could not be read back" in problem.text
    assert "none of ours" not in problem.text


def test_an_answer_with_the_old_secret_is_not_taken_for_the_new_one_when_it_is_looked_up(bench: Benches) -> None:
    one = bench("patch, hashed")
    one.inspect()
    one.sim.fault("patch", "answer:missing")
    assert isinstance(one.trouble(), Doubt)
    old = Secret(json.dumps({"apiKey": one.sim.api_key, "keySecret": one.sim.secret, "keySecretHashed": True}))
    one.context.sealed[one.attempts[-1].id] = [old]  # contract 7.6: the simulator does not have it any more
    assert one.settle().outcome is Settled.APPLIED_GONE


@pytest.mark.parametrize("secret", ["a+b/c=", "p:q%41 r", "ü€", '"quoted\\\\"&x=y'])
def test_a_secret_of_any_characters_is_asked_about_as_it_is(bench: Benches, secret: str) -> None:
    one = bench("put")
    one.new = replace(one.new, bundle=Bundle({**one.new.bundle.reveal(), "client_secret": secret}))
    one.inspect()
    one.issue()
    assert set(one.verdicts(one.new.bundle)) == {Verdict.ACCEPTED}


def test_a_lost_change_over_a_dead_secret_is_sent_again_although_somebody_edited_the_key(bench: Benches) -> None:
    one = bench("put, hashed")
    one.old = replace(one.old, bundle=Bundle())  # nobody knows it
    one.inspect()
    one.sim.fault("put-key", "reset-before")
    assert isinstance(one.trouble(), Doubt)
    one.clock.advance(1)
    one.sim.edit()
    one.clock.advance(one.account.sync + 1)
    assert one.settle(final=True).outcome is Settled.NOT_APPLIED
    one.issue()
    assert set(one.verdicts(one.new.bundle)) == {Verdict.ACCEPTED}
