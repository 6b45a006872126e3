"""Bad input at the vendor Circle: code, place, what is true now, and a next step that helps once it is done.

Each trouble comes with what its text tells the operator to do; afterwards the same command works.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.hand import configured, put
from cli.trouble import Trouble, next_step, unchanged
from keyturn_circle.simulator import API_KEY, LIMITED_API_KEY, LIVE_API_KEY, NEIGHBOUR_API_KEY
from program import write_private
from wallets.wallets import FIELD, FILE, SECRET, Wallets, wallets

Act = Callable[[Wallets], object]
ACCOUNT, MANAGED = "providers.circle", f"secrets.{SECRET}"
ROTATE = ("rotate", SECRET, "--force", "--reason", "test", "--yes")
NOBODYS_WALLET = "11112222-3333-4444-8555-666677778888"
NOTHING_LISTENS = "http://127.0.0.1:9"


def key_is(text: str) -> Act:
    return lambda one: write_private(one.folder / "state/api-key", text)


def account_is(**changes: Any) -> Act:
    return lambda one: configured(one, put(ACCOUNT, **changes))


def secret_is(**changes: Any) -> Act:
    return lambda one: configured(one, put(MANAGED, **changes))


def asks_with(wallet: str | None) -> Act:
    return secret_is(target={"canary_wallet": wallet} if wallet else {})


def switched(**switches: Any) -> Act:
    return lambda one: one.sim.switch(**switches)


def its_own_canary(one: Wallets) -> None:
    asks_with(one.sim.canary)(one)


def a_canary_is_made(one: Wallets) -> None:
    """As the text says: take it out, have one made, put that in."""
    asks_with(None)(one)
    said = one.well("plugin", "circle", "canary", SECRET).out
    (made,) = re.findall(r"canary_wallet: (\S+)$", said)
    asks_with(made)(one)


def a_supported_chain(one: Wallets) -> None:
    switched(sign_answers="ok")(one)
    account_is(canary_chain="MATIC-AMOY")(one)
    a_canary_is_made(one)


def a_ca_of_everybodys(one: Wallets) -> None:
    (one.folder / "ca.pem").touch()
    (one.folder / "ca.pem").chmod(0o666)
    account_is(ca="ca.pem")(one)


def it_is_moved_away(one: Wallets) -> None:
    (one.folder / "custody/circle.recovery").unlink()
    one.well("repair", SECRET)


TROUBLES = (
    Trouble(
        "an API key without its parts",
        key_is("51d0a7ed01"),
        "api-key-malformed",
        "expected an API key of three parts",
        "put the whole key there",
        key_is(API_KEY),
    ),
    Trouble(
        "no API key",
        account_is(api_key="env:KEYTURN_NO_SUCH_VARIABLE"),
        "reference-unresolved",
        "env:KEYTURN_NO_SUCH_VARIABLE does not resolve: the variable is not set",
        "correct the reference",
        account_is(api_key="file:state/api-key"),
    ),
    Trouble(
        "a LIVE key",
        key_is(LIVE_API_KEY),
        "wrong-environment",
        "the account says environment: test",
        "a key that begins with TEST_API_KEY",
        key_is(API_KEY),
    ),
    Trouble(
        "the other environment",
        account_is(environment="live"),
        "wrong-environment",
        "the account says environment: live",
        "or set environment",
        account_is(environment="test"),
    ),
    Trouble(
        "a key that was deleted",
        key_is("TEST_API_KEY:deadbeef:51d0a7ed01"),
        "api-key-refused",
        "401, 156007",
        "make one in the Console, and put it where api_key points",
        key_is(API_KEY),
    ),
    Trouble(
        "a key with a wrong part",
        key_is("TEST_API_KEY:0a1b2c3d4e5f:0"),
        "api-key-refused",
        "401, 401",
        "check where api_key points",
        key_is(API_KEY),
    ),
    Trouble(
        "a key for other networks",
        switched(key_answers="156006"),
        "wrong-environment",
        "400, 156006",
        "check environment and canary_chain",
        switched(key_answers="ok"),
    ),
    Trouble(
        "a key of another entity",
        key_is(NEIGHBOUR_API_KEY),
        "wrong-entity",
        "the API key belongs to the entity ",
        "let api_key point to a key of that entity",
        key_is(API_KEY),
    ),
    Trouble(
        "another entity's id",
        account_is(app_id=NOBODYS_WALLET),
        "wrong-entity",
        f", expected {NOBODYS_WALLET}",
        "or correct the option app_id",
        lambda one: account_is(app_id=one.sim.entity.app_id)(one),
    ),
    Trouble(
        "a key without rights",
        switched(key_answers="3"),
        "api-key-rights",
        "403, 3",
        "give the API key access to developer-controlled wallets",
        switched(key_answers="ok"),
    ),
    Trouble(
        "a key without the right to sign",
        key_is(LIMITED_API_KEY),
        "endpoint-silent",
        "403, 3 (Forbidden): give the API key access to developer-controlled wallets",
        "do what it says",
        key_is(API_KEY),
    ),
    Trouble(
        "a canary that nobody knows",
        asks_with(NOBODYS_WALLET),
        "endpoint-silent",
        "the canary wallet is not there, which proves nothing: set canary_wallet to a wallet of this entity",
        "do what it says",
        its_own_canary,
    ),
    Trouble(
        "no canary",
        asks_with(None),
        "endpoint-silent",
        f"there is no canary_wallet to ask with (keyturn plugin circle canary {SECRET} makes one)",
        "do what it says",
        a_canary_is_made,
    ),
    Trouble(
        "a canary on a chain that is gone",
        switched(sign_answers="156027"),
        "endpoint-silent",
        "400, 156027 (The blockchain is not supported): set canary_chain to a chain that Circle supports",
        "do what it says",
        a_supported_chain,
    ),
    Trouble(
        "another service's URL",
        lambda one: account_is(base_url=f"{one.sim.url}/another")(one),
        "contract-broken",
        "answered 404",
        "check base_url",
        lambda one: account_is(base_url=one.sim.url)(one),
    ),
    Trouble(
        "a URL where nothing listens",
        account_is(base_url=NOTHING_LISTENS),
        "unreachable",
        "no connection: Connection refused",
        "check network, proxy and base_url",
        lambda one: account_is(base_url=one.sim.url)(one),
    ),
    Trouble(
        "a proxy that is down",
        account_is(proxy=NOTHING_LISTENS),
        "unreachable",
        "no connection: Connection refused",
        "check network, proxy and base_url",
        account_is(proxy=None),
    ),
    Trouble(
        "a CA file that is not there",
        account_is(ca="nothing.pem"),
        "ca-unusable",
        "nothing.pem is not usable: No such file",
        "or leave it out",
        account_is(ca=None),
    ),
    Trouble(
        "a CA file that others may write to",
        a_ca_of_everybodys,
        "ca-unusable",
        "ca.pem is not usable",
        "or leave it out",
        account_is(ca=None),
    ),
    Trouble(
        "a public key of another size",
        account_is(key_bits="2048"),
        "public-key-unusable",
        "expected a public key of 2048 bits, got one of 4096",
        "set key_bits: 4096",
        account_is(key_bits="4096"),
    ),
    *(
        Trouble(
            f"a public key that is {form}",
            switched(public_key=form),
            "public-key-unusable",
            says,
            "do not rotate: ask Circle",
            switched(public_key="public-label"),
        )
        for form, says in (("not-rsa", "expected an RSA public key"), ("truncated", "expected a public key in PEM"))
    ),
    Trouble(
        "too many calls",
        lambda one: one.sim.fault("entity", "429:30", times=99),
        "throttled",
        "asking to wait 30 s",
        "wait as long as it says",
        lambda one: one.sim.obey({"clear": True}),
    ),
    Trouble(
        "no outage accepted",
        secret_is(overlap={"strategy": "cutover"}),
        "outage-not-accepted",
        "the policy accepts no outage",
        "set overlap.accept_outage",
        secret_is(overlap={"strategy": "cutover", "accept_outage": "5s"}),
    ),
    Trouble(
        "an overlap that Circle has not",
        secret_is(overlap={"strategy": "dual", "accept_outage": "5s"}),
        "overlap-unfit",
        "dual needs a vendor that accepts two versions at once",
        "set overlap.strategy to auto",
        secret_is(overlap={"strategy": "auto", "accept_outage": "10s"}),
    ),
    Trouble(
        "custody that is not there",
        lambda one: (one.folder / "custody").rename(one.folder / "elsewhere"),
        "folder-missing",
        "custody does not exist: create it, or mount it",
        "make custody reachable",
        lambda one: (one.folder / "elsewhere").rename(one.folder / "custody"),
    ),
    Trouble(
        "somebody else's file in custody",
        lambda one: write_private(one.folder / "custody/circle.recovery", "mine"),
        "sink-foreign",
        "circle.recovery serves a value that Keyturn did not write",
        f"move that value away, then: keyturn repair {SECRET}",
        it_is_moved_away,
    ),
)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Wallets]:
    with wallets(tmp_path / "team") as built:
        built.begin()
        yield built


def seen(one: Wallets) -> object:
    """The vendor, what consumers read, the file in custody, the journal."""
    custody = one.folder / "custody/circle.recovery"
    kept = custody.read_text() if custody.exists() else ""
    return one.commits(), [(event.type, event.data) for event in one.events()], one.served(), kept


def nothing_leaked(one: Wallets) -> bool:
    """Whether no value was said, the API key's secret part included."""
    values = {one.sim.secret, one.sim.recovery_file, one.served(), one.custody(), API_KEY.rpartition(":")[2]}
    said = "\n".join(one.said)
    return "Traceback" not in said and not any(value and value in said for value in values)


@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
def test_what_refuses_a_rotation_is_told_and_once_its_next_step_is_done_it_rotates(
    one: Wallets, trouble: Trouble[Wallets]
) -> None:
    trouble.arise(one)
    unchanged(lambda: seen(one), lambda: trouble.is_told(one.keyturn(*ROTATE), SECRET))
    trouble.do(one)
    one.well(*ROTATE)
    assert one.accepted()
    assert one.sim.recovery_file_is(one.custody())
    assert nothing_leaked(one)


@pytest.mark.parametrize("rest", ["off", "405"])
def test_where_there_is_no_call_it_is_undone_once_no_other_path_is_tried_and_the_console_is_the_way(
    one: Wallets, rest: str
) -> None:
    one.sim.switch(rest=rest)
    ran = one.keyturn(*ROTATE)
    assert ran.code == 4, ran.said
    assert "the old version is good" in ran.err
    assert "there is no such call" in ran.err
    assert "next: set way: console in the account" in ran.err
    paths = {entry.get("path") for entry in one.sim.log if entry["event"] == "attempt" and entry["on"] != "sign"}
    assert {path for path in paths if "entitySecret" in str(path)} == {"/v1/w3s/config/entity/entitySecret/rotate"}
    assert one.accepted()
    assert re.search(rf"{SECRET}  version 2  {FIELD}\n", one.well("escrow", "list").out), (
        "by the number that open takes"
    )
    account_is(way="console")(one)
    waits = one.keyturn(*ROTATE)
    assert (waits.code, f"next: keyturn resume {SECRET} --attend" in waits.out) == (6, True)
    assert nothing_leaked(one)


@pytest.mark.parametrize("field", ["current_field", "new_field"])
def test_a_field_that_circle_does_not_know_changes_nothing_and_names_the_option(one: Wallets, field: str) -> None:
    account_is(rotate={field: "another"})(one)
    ran = one.keyturn(*ROTATE)
    assert (ran.code, "compare paths and field names of the account" in ran.err) == (4, True), ran.said
    account_is(rotate=None)(one)
    one.well(*ROTATE)
    assert one.accepted()


def test_an_answer_whose_file_is_not_where_the_option_says_keeps_the_answer_sealed(one: Wallets) -> None:
    account_is(answer_field="file")(one)
    ran = one.keyturn(*ROTATE)
    assert (ran.code, f"owed: artefact version 2 {FILE}" in ran.out) == (8, True), ran.said
    assert one.accepted()
    one.clock.advance(86_400)
    assert "version 2  raw answer of an attempt" in one.keyturn("escrow", "list").out
    account_is(answer_field=None)(one)
    one.well(*ROTATE)
    assert one.sim.recovery_file_is(one.custody())


# The first secret


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Wallets]:
    with wallets(tmp_path / "team", registered=False, environment="live") as built:
        built.account = {"environment": "live"}
        built.configure(target={})
        yield built


def test_a_live_secret_is_registered_by_who_says_so_and_then_told_apart_by_a_canary(live: Wallets) -> None:
    ran = live.keyturn("rotate", SECRET, "--first", "--yes")
    assert (ran.code, "error[live-registration]" in ran.err) == (3, True)
    assert live.commits() == []
    first = live.keyturn(*next_step(ran.said), "--yes")
    assert (first.code, "there is no canary_wallet to ask with" in first.out) == (6, True), first.said
    made = live.well("plugin", "circle", "canary", SECRET).out
    again = live.well("plugin", "circle", "canary", SECRET).out
    assert made == again, "the same wallet however often it is typed"
    assert " on ETH: " in made
    asks_with(made.rpartition(" ")[2].strip())(live)
    live.well("run", SECRET)
    assert live.accepted()
    assert live.sim.recovery_file_is(live.custody())
    there = live.keyturn("plugin", "circle", "canary", SECRET)
    assert (there.code, "error[canary-there]" in there.err) == (3, True)
    assert nothing_leaked(live)


def test_an_entity_is_nothing_to_remove_at_the_vendor(live: Wallets) -> None:
    ran = live.keyturn("check", "--online")
    assert "[unmanaged]" in ran.out
    assert "unknown-at-vendor" not in ran.out, "its name is the entity's"


def test_first_over_a_secret_that_is_there_registers_nothing_and_says_whose_it_may_be(tmp_path: Path) -> None:
    with wallets(tmp_path / "team") as one:
        ran = one.keyturn("rotate", SECRET, "--first", "--yes")
        assert ran.code in (3, 4, 5), ran.said
        assert "156015" in ran.err
        assert "adopt" in ran.err
        assert one.commits() == []


VALUES = {
    "hexadecimal, of another length": ("00ff", "expected an entity secret of 64 hexadecimal digits, got 4 characters"),
    "another secret": ("ab" * 32, "156013"),
    "what a simulator wrote, whole": (json.dumps({SECRET: {FIELD: "ab" * 32}}), "expected an entity secret of 64"),
}


@pytest.mark.parametrize(("text", "says"), VALUES.values(), ids=list(VALUES))
def test_a_value_that_is_not_the_secret_is_not_adopted_and_it_is_said_why(tmp_path: Path, text: str, says: str) -> None:
    with wallets(tmp_path / "team") as one:
        ran = one.keyturn("adopt", SECRET, "--from-stdin", stdin=text)
        assert (ran.code, "error[value-not-accepted]" in ran.err, says in ran.err) == (3, True, True), ran.said
        assert one.events() == []
        assert "ab" * 32 not in ran.said
        one.begin()


def test_without_a_canary_an_adoption_says_that_one_comes_first(tmp_path: Path) -> None:
    with wallets(tmp_path / "team") as one:
        asks_with(None)(one)
        ran = one.keyturn("adopt", SECRET, "--from-stdin", stdin=one.sim.secret)
        assert (ran.code, "there is no canary_wallet to ask with" in ran.err) == (3, True), ran.said
        its_own_canary(one)
        one.begin()


# A pair that was used when nobody watched


def test_where_what_was_shown_may_be_in_force_every_look_says_to_resume_and_that_helps(one: Wallets) -> None:
    account_is(way="console", patience="1h")(one)
    assert one.keyturn(*ROTATE).code == 6
    shown = one.keyturn("resume", SECRET, "--attend").out
    pair = [re.findall(rf"{name}_ciphertext:\n(\S+)", shown)[-1] for name in ("current", "new")]
    file = one.sim.console_rotate(*pair)
    looks = [one.keyturn("check", "--online", SECRET), one.keyturn("adopt", SECRET, "--from-escrow")]
    assert [ran.code for ran in looks] == [3, 3]
    assert "[current-refused]" in looks[0].out
    for ran in looks:
        assert f"next: keyturn resume {SECRET}, since version 2 may be in force\n" in ran.said
        assert "keyturn recover" not in ran.said, "the recovery file that we have is void"
    assert one.keyturn(*next_step(looks[0].said)).code == 6
    assert one.accepted()
    one.well("resume", SECRET, "--supply", one.supply(file))
    assert one.sim.recovery_file_is(one.custody())
    assert f"{FILE} handed in and sealed" in one.well("history", SECRET).out
