"""Bad input at the vendor Sahamati: code, place, what is true now, and a next step that helps once it is done.

Each trouble comes with what its text tells the operator to do; afterwards the same command works.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.hand import ACCOUNT, configured, put
from keyturn.clock import SystemClock
from keyturn_vault.simulator_process import poll
from member.member import DAY_S, ENTITY, HOUR_S, TOKEN, Member, member, write_private

Act = Callable[[Member], object]
FORCED = ("--force", "--reason", "test", "--yes")
ROTATE = ("rotate", ENTITY, *FORCED)


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


@dataclass(frozen=True)
class Trouble:
    """What makes a rotation impossible; `do` is what the text says."""

    name: str
    arise: Act
    code: str
    says: str
    todo: str
    do: Act

    def __str__(self) -> str:
        return self.name


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


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Member]:
    with member(tmp_path / "member", secrets={TOKEN: None}) as built:
        built.begin()
        yield built


def nothing_changed(one: Member, act: Callable[[], object]) -> None:
    """Neither the vendor, nor the sink, nor the journal."""
    files = one.folder / "served/entity.json"

    def seen() -> object:
        return len(one.resets), [(event.type, event.data) for event in one.events()], files.exists() and one.served()

    before = seen()
    act()
    assert seen() == before


def slow(trouble: Trouble) -> Any:
    """A time-out takes its real time."""
    marks = [pytest.mark.sweep] if trouble.name.endswith("by timeout") else []
    return pytest.param(trouble, id=trouble.name, marks=marks)


@pytest.mark.parametrize("trouble", [slow(one) for one in TROUBLES])
def test_what_refuses_a_rotation_is_told_and_once_its_next_step_is_done_it_rotates(
    one: Member, trouble: Trouble
) -> None:
    trouble.arise(one)

    def refused() -> None:
        ran = one.keyturn(*ROTATE)
        assert ran.code == 3, ran.said
        assert "refused, nothing was changed" in ran.out
        assert re.search(rf"error\[{trouble.code}\]: .*{re.escape(trouble.says)}", ran.err), ran.err
        assert re.search(rf"where: {ENTITY}\n +next: .*{re.escape(trouble.todo)}", ran.err), ran.err
        error = one.keyturn(*ROTATE, "--json").json["error"]
        assert (error["code"], error["place"], error["exit_code"]) == (trouble.code, ENTITY, 3)

    nothing_changed(one, refused)
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
        follow(one, ran.err)
        managed = one.keyturn("rotate", ENTITY, "--first", *FORCED)
        assert (managed.code, "[not-first]" in managed.err) == (3, True)
        assert one.resets == []
        follow(one, managed.err, *FORCED)
        assert len(one.resets) == 1


def follow(one: Member, said: str, *more: str) -> None:
    """Type the command that the text ends with, with a reason where it wants one."""
    (command,) = re.findall(r"next: keyturn ([^;\n]*?)(?:;.*|, or .*)?$", said, re.MULTILINE)
    one.well(*shlex.split(command.replace("TEXT", "told")), *more)


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
        follow(one, over.err)
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
        follow(one, first.err)
        follow(one, ran.err, "--yes")
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
        follow(one, refused.err, "--yes")
        one.well("rotate", TOKEN, "--yes")
        assert one.accepted(TOKEN)


# Commands in each state


COMMANDS = {
    "resume": ("resume", ENTITY),
    "abandon": ("abandon", ENTITY, "--reason", "test"),
    "rollback": ("rollback", ENTITY, "--reason", "test"),
    "end-hold": ("hold", ENTITY, "--end", "--reason", "test"),
    "current-dead": ("rotate", ENTITY, "--current-dead", "--reason", "test", "--yes"),
    "compromised": ("rotate", ENTITY, "--compromised", "--reason", "test", "--yes"),
}


@dataclass(frozen=True, kw_only=True)
class At:
    """A state of a rotation, and by command: the exit code, what is said, and the resets since the beginning."""

    name: str
    reach: Act
    answers: dict[str, tuple[int, str, int]]

    def __str__(self) -> str:
        return self.name


def rotated_with_grace(one: Member) -> None:
    one.sim.switch(grace_s=5 * DAY_S, grace_message=True)
    one.well(*ROTATE)


def in_doubt(one: Member) -> None:
    """The reset took effect, its answer was lost, and the vendor is down since."""
    one.sim.fault("reset", "reset-after")
    one.sim.switch(down="after-reset")
    left = one.keyturn(*ROTATE)
    assert (left.code, f"next: keyturn resume {ENTITY}" in left.out) == (6, True), left.said


IN_FLIGHT = "[rotation-in-flight]"
STATES = (
    At(
        name="nothing in flight",
        reach=lambda _: None,
        answers={
            "resume": (0, "nothing is in flight", 0),
            "abandon": (0, "nothing is in flight", 0),
            "rollback": (3, "[no-rollback]", 0),
            "end-hold": (3, "[no-hold]: no hold of ours runs: nothing is in flight", 0),
            "current-dead": (0, "done", 1),
            "compromised": (0, "done", 1),
        },
    ),
    At(
        name="in doubt",
        reach=in_doubt,
        answers={
            "resume": (6, "the vendor does not show what became of it", 1),
            "abandon": (6, "the vendor does not show what became of it", 1),
            "rollback": (3, IN_FLIGHT, 1),
            "end-hold": (3, "no hold of ours runs: issue was sent and the vendor does not show", 1),
            "current-dead": (3, IN_FLIGHT, 1),
            "compromised": (3, IN_FLIGHT, 1),
        },
    ),
    At(
        name="in the grace of the old one",
        reach=rotated_with_grace,
        answers={
            "resume": (0, "version 1 is still accepted by the vendor", 1),
            "abandon": (0, "the new version stays", 1),
            "rollback": (3, "the vendor has replaced version 1 and can not make it current again", 1),
            "end-hold": (3, "no hold of ours runs: version 1 is still accepted by the vendor", 1),
            "current-dead": (0, "holding", 2),
            "compromised": (0, "the compromised version 1 still works", 2),
        },
    ),
)


@pytest.mark.parametrize("state", STATES, ids=str)
@pytest.mark.parametrize("name", COMMANDS)
def test_in_each_state_each_command_says_what_is_true_and_never_ends_what_consumers_read(
    one: Member, state: At, name: str
) -> None:
    state.reach(one)
    exit_code, says, resets = state.answers[name]
    ran = one.keyturn(*COMMANDS[name])
    assert (ran.code, says in ran.said) == (exit_code, True), ran.said
    assert len(one.resets) == resets
    assert re.search(r"current: version \d", ran.out)
    one.sim.switch(down="")
    for days in (0, 6):
        one.clock.advance(days * DAY_S)
        ran = one.keyturn("run")
        assert ran.code == (8 if "compromised, and still accepted" in ran.said else 0), ran.said
        assert one.accepted()
    assert len(one.resets) == resets
    assert one.well("status", "--json").json["secrets"][0]["status"] == "current"


def test_what_needs_a_reason_says_so_before_anything_is_asked(one: Member) -> None:
    asked = len(one.sim.log)
    for option in ("--current-dead", "--compromised", "--force"):
        ran = one.keyturn("rotate", ENTITY, option, "--yes")
        assert (ran.code, "[reason-needed]" in ran.err) == (2, True)
        assert f"{option} needs a reason" in ran.err
        assert "add --reason TEXT" in ran.err
    assert len(one.sim.log) == asked


# Expired, paused, abandoned


def expiring(one: Member) -> None:
    one.configure({ENTITY: {"rotate": {"before_expiry": "20d"}}})
    one.clock.advance(75 * DAY_S)


def test_a_secret_that_is_due_while_it_is_paused_says_how_the_pause_ends(one: Member) -> None:
    one.well("pause", ENTITY, "--until", "100d", "--reason", "audit")
    expiring(one)
    follow(one, one.well("status").out, "--reason", "over")
    assert f"next: keyturn run {ENTITY}" in one.well("status").out


def test_a_run_over_an_expired_secret_says_one_next_step_and_it_works(one: Member) -> None:
    expiring(one)
    one.clock.advance(30 * DAY_S)
    for _ in range(2):
        ran = one.keyturn("run")
        assert ran.code in (3, 8)
        assert ran.said.count("  next: keyturn") == 1, ran.said
        (told,) = one.keyturn("run", "--json").json["attention"][-1:]
        assert f"next: {told['next']}\n" in ran.said
    follow(one, ran.said, "--yes")
    assert one.accepted()
    assert one.keyturn("run").code == 0


def test_after_an_abandoned_rotation_the_old_version_is_owed_a_proof_and_then_nothing_is_waited_for(
    one: Member,
) -> None:
    rotated_with_grace(one)
    one.well("abandon", ENTITY, "--reason", "test")
    one.well("run")
    said = one.well("status").out
    assert ("owed     prove version 1" in said, "waiting  prove: version 1" in said) == (True, True), said
    one.clock.advance(6 * DAY_S)
    one.well("run")
    said = one.well("status").out
    assert ("owed" in said, "waiting" in said) == (False, False), said


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


# Ctrl-C, in the real program


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Member]:
    """A member on the machine's own clock."""
    with member(tmp_path / "member", clock=SystemClock(), secrets={TOKEN: None}) as built:
        built.begin()
        yield built


def test_ctrl_c_after_a_lost_reset_is_heard_and_a_second_one_ends_at_once_and_loses_nothing(live: Member) -> None:
    live.sim.fault("reset", "reset-after")
    live.sim.fault("read", "500:empty", skip=2, times=1_000)
    process = live.start(*ROTATE)
    try:
        poll(lambda: len(live.resets) == 1, "no reset was sent", 20)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        lines = iter(process.stderr.readline, "")
        assert any("stopping after the running step; once more to stop at once" in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 6
    finally:
        process.kill()
        process.communicate()
    live.sim.obey({"clear": True})
    poll(lambda: live.keyturn("run").code == 0, "the next run does not take it up", 90)
    assert live.accepted()
    assert len(live.resets) == 1


def test_ctrl_c_while_the_grace_runs_ends_the_watch_and_changes_nothing(live: Member) -> None:
    rotated_with_grace(live)
    process = live.start("run", "--watch")
    try:
        assert process.stdout
        assert "holding or waiting" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in out + err
    assert live.accepted()
    assert len(live.resets) == 1
