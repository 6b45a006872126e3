"""Bad input at the vendor Sahamati: code, place, what is true now, and a next step that helps once it is done.

Each trouble comes with what its text tells the operator to do; afterwards the same command works.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import hand
from cli.hand import ACCOUNT, FORCED, ROTATE, configured, put
from cli.trouble import Trouble, next_step, unchanged
from member.member import ENTITY, HOUR_S, TOKEN, Member, member, write_private

Act = Callable[[Member], object]


# The vendor, its network, its users


def password_is(text: str) -> Act:
    return lambda one: write_private(one.folder / "state/SAHAMATI_PASSWORD", text)


def new_password(one: Member) -> None:
    password_is(one.sim.portal_password())(one)


def account_is(**changes: Any) -> Act:
    return lambda one: configured(one, put(ACCOUNT, **changes))


def switched(**switches: Any) -> Act:
    return lambda one: one.sim.switch(**switches)


def refused_as(how: str) -> Act:
    return switched(allowed=["127.0.0.2"], refusal=how)


def entity_is(name: str) -> Act:
    return lambda one: one.configure({ENTITY: {"target": {"entity_id": name}}})


def in_order(one: Member) -> None:
    one.configure({ENTITY: {}})


def source_gone(one: Member) -> None:
    """Neither the escrow nor a sink has the value any more."""
    (one.folder / "served/entity.json").unlink()
    database = sqlite3.connect(one.folder / "state/journal.db")
    database.execute("DELETE FROM sealed")
    database.commit()
    database.close()


ALLOWED = account_is(local_address="127.0.0.2")
TROUBLES = (
    Trouble(
        "a variable that is not set",
        account_is(password="env:KEYTURN_NO_SUCH_VARIABLE"),
        "reference-unresolved",
        "env:KEYTURN_NO_SUCH_VARIABLE does not resolve: the variable is not set",
        "correct the reference",
        account_is(password="file:state/SAHAMATI_PASSWORD"),
    ),
    Trouble(
        "a sink that serves nothing there",
        account_is(password="served:login.json#password"),
        "reference-unresolved",
        "served serves nothing at login.json",
        "correct the reference",
        account_is(password="file:state/SAHAMATI_PASSWORD"),
    ),
    Trouble(
        "a wrong password",
        password_is("wrong"),
        "user-refused",
        "its password is wrong or has expired, the vendor does not say which",
        "set a new password by mail",
        new_password,
    ),
    Trouble(
        "an expired password",
        switched(password_expired=True),
        "user-refused",
        "its password is wrong or has expired, the vendor does not say which",
        "put it where the option password points",
        new_password,
    ),
    Trouble(
        "not the administrator",
        entity_is("fip-neighbour"),
        "not-administrator",
        "may not read the secret of fip-neighbour",
        "check entity_id and environment",
        in_order,
    ),
    Trouble(
        "an unknown entity",
        entity_is("nobody"),
        "not-administrator",
        "or there is no such entity",
        "check entity_id and environment",
        in_order,
    ),
    *(
        Trouble(
            f"an address refused by {how}",
            refused_as(how),
            "network-or-allow-list",
            "does not let us in, called from 127.0.0.1: ",
            "set local_address or proxy to a registered one",
            ALLOWED,
        )
        for how in ("timeout", "reset", "tls", "403:html", "403:empty")
    ),
    *(
        Trouble(
            f"a local address that is {what}",
            account_is(local_address=address),
            "local-address-unusable",
            f"can leave from {address}, the option local_address",
            "or leave it out",
            account_is(local_address=None),
        )
        for what, address in (("not this machine's", "192.0.2.77"), ("of the other kind", "::1"))
    ),
    Trouble(
        "a CA file that is not there",
        account_is(ca="nothing.pem"),
        "ca-unusable",
        "nothing.pem is not usable: No such file",
        "let the option ca name a PEM file",
        account_is(ca=None),
    ),
    Trouble(
        "not the /iam URL",
        lambda one: configured(one, put(ACCOUNT, base_url=one.sim.urls[0])),
        "contract-broken",
        "answered 404",
        "is the /iam URL of the service",
        lambda one: configured(one, put(ACCOUNT, base_url=one.sim.base_url)),
    ),
    Trouble(
        "too many calls",
        lambda one: one.sim.fault("read", "429:30", times=2),
        "throttled",
        "asking to wait 30 s",
        "wait as long as it says",
        lambda one: one.clock.advance(30),
    ),
    Trouble(
        "an overlap that it can not do",
        lambda one: one.configure({ENTITY: {"overlap": {"strategy": "dual"}}}),
        "overlap-unfit",
        "dual needs a vendor that accepts two versions at once",
        "set overlap.strategy to auto",
        lambda one: one.configure({ENTITY: {"overlap": {"strategy": "auto"}}}),
    ),
    Trouble(
        "a value that nothing holds any more",
        source_gone,
        "current-value-unknown",
        "no sink and no escrow holds version 1",
        f"keyturn rotate {ENTITY} --current-dead --reason TEXT",
        lambda one: one.well("rotate", ENTITY, "--current-dead", "--reason", "lost", "--yes"),
    ),
)


one = hand.one


def seen(one: Member) -> object:
    """The vendor, the sink, the journal."""
    served = (one.folder / "served/entity.json").exists() and one.served()
    return len(one.resets), [(event.type, event.data) for event in one.events()], served


def slow(trouble: Trouble[Member]) -> Any:
    """A time-out takes its real time."""
    marks = [pytest.mark.sweep] if trouble.name.endswith("by timeout") else []
    return pytest.param(trouble, id=trouble.name, marks=marks)


@pytest.mark.parametrize("trouble", [slow(one) for one in TROUBLES])
def test_what_refuses_a_rotation_is_told_and_once_its_next_step_is_done_it_rotates(
    one: Member, trouble: Trouble[Member]
) -> None:
    trouble.arise(one)

    def refused() -> None:
        trouble.is_told(one.keyturn(*ROTATE), ENTITY)
        error = one.keyturn(*ROTATE, "--json").json["error"]
        assert (error["code"], error["place"], error["exit_code"]) == (trouble.code, ENTITY, 3)

    unchanged(lambda: seen(one), refused)
    trouble.do(one)
    one.well(*ROTATE)
    assert one.accepted()
    said = "\n".join(one.said)
    assert "Traceback" not in said
    assert one.sim.environment["SAHAMATI_PASSWORD"] not in said
    assert one.served()["entity_secret"] not in said


# Taking over, and first


def test_first_is_refused_over_a_secret_that_is_there_and_adoption_is_the_way(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets={TOKEN: None}) as one:
        ran = one.keyturn("rotate", ENTITY, "--first", "--yes")
        assert (ran.code, "[vendor-has-one]" in ran.err) == (3, True)
        assert "current: none yet" in ran.out
        one.well(*next_step(ran.err))
        managed = one.keyturn("rotate", ENTITY, "--first", *FORCED)
        assert (managed.code, "[not-first]" in managed.err) == (3, True)
        assert one.resets == []
        one.well(*next_step(managed.err), *FORCED)
        assert len(one.resets) == 1


VALUES = {
    "wrong": (3, "vendor-differs"),
    '{"entity_secret": "VALUE", "more": "x"}': (2, "adopt-fields"),
    '{"entity_id": "another", "entity_secret": "VALUE"}': (2, "adopt-fields"),
    '{"secret": "VALUE"}': (2, "adopt-fields"),
    '{"entity_secret": 5}': (3, "vendor-differs"),
    '["VALUE"]': (3, "vendor-differs"),
    '"VALUE"': (3, "vendor-differs"),
    "": (2, "bad-value"),
}


def test_a_value_from_stdin_that_is_not_the_vendors_is_refused_and_never_said(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets={TOKEN: None}) as one:
        value = one.sim.current()["entity_secret"]
        for form, (exit_code, code) in VALUES.items():
            ran = one.keyturn("adopt", ENTITY, "--from-stdin", stdin=form.replace("VALUE", value))
            assert (ran.code, f"[{code}]" in ran.err) == (exit_code, True), (form, ran.said)
            assert "next: " in ran.err
            assert value not in ran.said
            assert not (one.folder / "served/entity.json").exists()
        assert one.events() == []
        one.well("adopt", ENTITY, "--from-stdin", stdin=json.dumps(one.sim.current()))
        over = one.keyturn("adopt", ENTITY, "--from-stdin", stdin="wrong")
        assert (over.code, "[vendor-differs]" in over.err) == (3, True)
        one.well(*next_step(over.err))
        assert one.accepted()


def test_where_the_vendor_has_no_secret_nothing_is_adopted_and_the_first_one_can_be_made(tmp_path: Path) -> None:
    secrets = {TOKEN: None, ENTITY: {"target": {"entity_id": "aa-new"}}}
    with member(tmp_path / "member", secrets=secrets) as one:
        for way in (("--from-vendor",), ("--from-sink", "served"), ("--from-stdin",)):
            ran = one.keyturn("adopt", ENTITY, *way, stdin="made-up")
            assert (ran.code, "current: none yet" in ran.out) == (3, True), ran.said
        assert one.events() == []
        run = one.keyturn("run")
        assert (run.code, f"keyturn rotate {ENTITY} --first" in run.out) == (8, True)
        one.well("rotate", ENTITY, "--first", "--yes")
        assert one.accepted()


# The token


def test_a_token_without_its_source_is_refused_and_the_steps_that_are_told_lead_to_one(tmp_path: Path) -> None:
    with member(tmp_path / "member") as one:
        adopted = one.keyturn("adopt", TOKEN, "--from-vendor")
        assert (adopted.code, "[source-missing]" in adopted.err) == (3, True)
        ran = one.keyturn("rotate", TOKEN, "--yes")
        assert (ran.code, "[unmanaged]" in ran.err) == (3, True)
        first = one.keyturn("rotate", TOKEN, "--first", "--yes")
        assert (first.code, "[source-missing]" in first.err) == (3, True)
        assert one.events(TOKEN) == []
        one.well(*next_step(first.err))
        one.well(*next_step(ran.err), "--yes")
        assert one.accepted(TOKEN)


def test_a_token_is_rotated_back_and_forth_by_hand_and_each_old_one_is_told_with_its_end(tmp_path: Path) -> None:
    with member(tmp_path / "member") as one:
        one.begin()
        one.clock.advance(HOUR_S)
        for argv in (
            ("rotate", TOKEN, "--yes"),
            ("rotate", TOKEN, "--compromised", "--reason", "seen in a log", "--yes"),
            ("rotate", TOKEN, "--current-dead", "--reason", "test", "--yes"),
            ("rollback", TOKEN, "--reason", "test"),
        ):
            ran = one.well(*argv)
            assert "version 1 is accepted until its own expiry at " in ran.out
            assert one.accepted(TOKEN)
        assert one.resets == []


def test_token_of_a_token_is_refused_with_what_is_wrong_and_never_asks_the_vendor(tmp_path: Path) -> None:
    with member(tmp_path / "member") as one:
        one.begin()
        second = {"provider": "sahamati", "target": {"token_of": TOKEN}, "sinks": [{"to": "served", "path": "2.json"}]}
        configured(one, put("secrets.second", **second))
        asked = len(one.sim.log)
        ran = one.keyturn("rotate", "second", "--first", "--yes")
        assert (ran.code, "[source-unfit]" in ran.err) == (3, True), ran.said
        assert f"{TOKEN} holds no entity_id and entity_secret" in ran.err
        assert len(one.sim.log) == asked
        configured(one, put("secrets", **{TOKEN: None}))
        configured(one, put("secrets.second.target", token_of=ENTITY))
        taken = one.keyturn("rotate", "second", "--first", "--yes")
        assert (taken.code, "[subject-taken]" in taken.err) == (3, True), (
            "the token's subject stays with its first name"
        )


def test_a_token_whose_source_was_lost_comes_back_with_the_source(tmp_path: Path) -> None:
    with member(tmp_path / "member") as one:
        one.begin()
        source_gone(one)
        ran = one.keyturn("rotate", TOKEN, "--yes")
        assert (ran.code, "[source-missing]" in ran.err) == (3, True), ran.said
        refused = one.keyturn("repair", ENTITY)
        assert (refused.code, "[current-value-unknown]" in refused.err) == (3, True)
        one.well(*next_step(refused.err), "--yes")
        one.well("rotate", TOKEN, "--yes")
        assert one.accepted(TOKEN)


def test_a_token_that_its_refused_source_kept_from_being_made_names_the_source_to_look_at(tmp_path: Path) -> None:
    with member(tmp_path / "member") as one:
        one.begin()
        one.sim.portal_reset()
        ran = one.keyturn("rotate", TOKEN, *FORCED)
        assert (ran.code, "[undone]" in ran.err) == (4, True)
        assert f"next: keyturn check --online {ENTITY}; then: keyturn rotate {TOKEN}\n" in ran.err


def test_a_rotation_whose_bridge_fails_names_the_derived_secret_to_look_at(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets={ENTITY: {"overlap": {"bridge": [TOKEN]}}}) as one:
        one.begin()
        one.sim.fault("entity-token", "400", skip=1, times=3)
        ran = one.keyturn(*ROTATE)
        assert (ran.code, one.resets) == (4, []), ran.said
        assert f"next: keyturn status {TOKEN}; then: keyturn rotate {ENTITY}\n" in ran.err


def test_the_plan_of_a_reset_says_what_it_ends_and_what_it_renews_before(tmp_path: Path) -> None:
    with member(tmp_path / "member", secrets={ENTITY: {"overlap": {"bridge": [TOKEN]}}}) as one:
        one.begin()
        said = one.well("plan", ENTITY).out
        assert f"bridge   {TOKEN}, renewed just before issue" in said
        assert "outage   none for what was derived before, which lives for 24 hours at most; the old version" in said
        bare = one.well("plan", TOKEN).out
        assert ("bridge   " in bare, "outage   none\n" in bare) == (False, True)
