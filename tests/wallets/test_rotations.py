"""The life of an entity secret: in a real OpenBao and the strict AWS fake, its recovery file in custody elsewhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from Crypto.Cipher import PKCS1_OAEP
from Crypto.Hash import SHA256
from Crypto.PublicKey import RSA

from keyturn.clock import SystemClock
from keyturn_aws.simulator import StrictFake
from keyturn_vault.simulator import OpenBao
from stores import Stores

from .console import Person
from .wallets import FIELD, FILE, SECRET, Wallets, wallets

REASON = ("--reason", "test", "--yes")


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        yield server


@pytest.fixture(scope="module")
def aws() -> Iterator[StrictFake]:
    with StrictFake() as fake:
        yield fake


class Served(Stores):
    """The stores that consumers read; custody is elsewhere."""

    def of(self) -> list[dict[str, Any]]:
        custody = {"to": "custody", "path": "circle.recovery", "fields": [FILE]}
        return [*self.places("entity", fields=[FIELD]), custody]

    def serve(self) -> list[dict[str, str]]:
        """What consumers read in OpenBao and in AWS."""
        return self.read("entity")


@pytest.fixture
def served(bao: OpenBao, aws: StrictFake) -> Served:
    return Served(bao, aws)


@pytest.fixture
def one(tmp_path: Path, served: Served, request: pytest.FixtureRequest) -> Iterator[Wallets]:
    how: dict[str, Any] = {"registered": True, "account": {}, **getattr(request, "param", {})}
    secret, sinks = {"sinks": served.of()}, served.accounts()
    with wallets(tmp_path / "team", clock=SystemClock(), secret=secret, sinks=sinks, **how) as built:
        built.sim.switch(rate_limit=0)  # every command is a process of its own, and here they follow in a moment
        served.let_in(built.folder)
        yield built
        assert built.sim.log.reused == [], "no ciphertext is sent twice"
        never_told(built)


def all_good(one: Wallets, served: Served) -> str:
    """Both stores serve the secret in force, custody the recovery file in force, and neither has the other's."""
    now = one.sim.secret
    assert served.serve() == [{FIELD: now}, {FIELD: now}]
    assert one.sim.recovery_file_is(one.custody())
    assert one.sim.accepts({FIELD: now})
    return now


def never_told(one: Wallets) -> None:
    """Promise P4: neither secret nor recovery file in anything that was said or journaled."""
    texts = [*one.said, (one.folder / "state/journal.db").read_bytes().decode(errors="replace"), *one.alerts]
    made = [value for made in one.sim.entity.generations for value in (made.value, made.file)]
    assert not [value for value in made for text in texts if value in text]


@pytest.mark.parametrize("one", [{"registered": False}], indirect=True)
def test_the_first_secret_is_registered_and_its_recovery_file_is_in_custody(one: Wallets, served: Served) -> None:
    one.well("rotate", SECRET, "--first", "--yes")
    all_good(one, served)
    assert [(commit["on"], commit["by"]) for commit in one.commits()] == [("register", "api")]


@pytest.mark.parametrize("one", [{"registered": False, "account": {"activation": "1s"}}], indirect=True)
def test_the_first_secret_without_a_wallet_to_ask_with_is_verified_once_the_plugin_made_one(
    one: Wallets, served: Served
) -> None:
    one.configure(target={})
    ran = one.keyturn("rotate", SECRET, "--first", "--yes")
    assert ran.code == 6, ran.said
    assert f"keyturn plugin circle canary {SECRET}" in ran.said
    made = re.search(r"canary_wallet: (\S+)", one.well("plugin", "circle", "canary", SECRET).out)
    assert made
    one.configure(target={"canary_wallet": made[1]})
    one.well("resume", SECRET)
    all_good(one, served)


def test_a_rotation_by_the_api_replaces_secret_and_recovery_file_and_the_old_ones_are_dead(
    one: Wallets, served: Served
) -> None:
    one.begin()
    old, file = all_good(one, served), one.custody()
    one.well("rotate", SECRET, "--yes")
    assert all_good(one, served) != old
    assert not one.sim.accepts({FIELD: old})
    assert one.custody() != file
    assert len(one.commits()) == 1


@pytest.mark.parametrize("one", [{"account": {"way": "console"}}], indirect=True)
def test_a_person_in_the_console_rotates_and_the_file_he_hands_in_is_in_custody(one: Wallets, served: Served) -> None:
    one.sim.switch(rest="off")
    one.begin()
    old = all_good(one, served)
    asked = one.keyturn("rotate", SECRET, "--yes")
    assert asked.code == 6, asked.said
    assert f"next: keyturn resume {SECRET} --attend" in asked.said
    assert all_good(one, served) == old, "nothing is shown, drained or changed before somebody attends"
    person = Person(one)
    attended = person.attends()
    assert attended.code in (0, 6), attended.said
    assert served.serve() == [{FIELD: one.sim.secret}] * 2
    assert one.sim.secret != old
    supply = one.supply(person.downloaded)
    one.well("resume", SECRET, "--supply", supply)
    all_good(one, served)
    assert [(commit["on"], commit["by"]) for commit in one.commits()] == [("rotate", "console")]


@pytest.mark.parametrize("one", [{"account": {"way": "console"}}], indirect=True)
def test_a_lost_secret_is_reset_by_a_person_in_the_console(one: Wallets, served: Served) -> None:
    one.sim.switch(rest="off")
    one.begin()
    file = one.custody()
    one.sim.console_elsewhere()
    one.sim.entity.current.file = file  # type: ignore[union-attr]
    ran = one.keyturn("recover", SECRET, *REASON)
    assert ran.code == 6, ran.said
    person = Person(one, upload=file)
    attended = person.attends()
    assert attended.code in (0, 6), attended.said
    one.well("resume", SECRET, "--supply", one.supply(person.downloaded))
    all_good(one, served)


@pytest.mark.parametrize("source", ["custody", "handed in"])
def test_a_lost_secret_is_reset_by_its_recovery_file(one: Wallets, served: Served, source: str) -> None:
    one.begin()
    file = one.custody()
    one.sim.console_elsewhere()  # nobody here knows this secret
    one.sim.entity.current.file = file  # type: ignore[union-attr]
    supply = ("--supply", one.supply(file)) if source == "handed in" else ()
    one.well("recover", SECRET, *supply, *REASON)
    all_good(one, served)
    assert one.commits()[-1]["on"] == "reset"


def test_a_void_recovery_file_resets_nothing_and_says_so(one: Wallets, served: Served) -> None:
    one.begin()
    old = all_good(one, served)
    one.sim.console_elsewhere()
    ran = one.keyturn("recover", SECRET, *REASON)
    assert ran.code == 5, ran.said
    assert "156018" in ran.said
    assert served.serve() == [{FIELD: old}] * 2
    assert len(one.commits()) == 1, "somebody else's"


def test_a_compromised_secret_is_replaced_at_once(one: Wallets, served: Served) -> None:
    one.begin()
    old = all_good(one, served)
    one.well("rotate", SECRET, "--compromised", "--reason", "found in a log", "--yes")
    assert all_good(one, served) != old


def test_a_script_gets_a_fresh_ciphertext_that_another_library_opens(one: Wallets) -> None:
    one.begin()
    made = [one.well("plugin", "circle", "ciphertext", SECRET).out.strip() for _ in range(2)]
    assert len(set(made)) == 2
    key = RSA.construct(_numbers(one))
    opened = [PKCS1_OAEP.new(key, hashAlgo=SHA256).decrypt(base64.b64decode(text)) for text in made]
    assert [plain.hex() for plain in opened] == [one.sim.secret] * 2
    body = {"walletId": one.sim.canary, "message": "of a script", "entitySecretCiphertext": made[0]}
    answer = httpx.post(
        f"{one.sim.url}/v1/w3s/developer/sign/message",
        json=body,
        headers={"Authorization": f"Bearer {one.sim.api_key}"},
    )
    assert answer.status_code == 200


def _numbers(one: Wallets) -> tuple[int, int, int, int, int]:
    """The server's key as another library takes it."""
    private = one.sim.world.key.private_numbers()
    public = private.public_numbers
    return public.n, public.e, private.d, private.p, private.q


def test_a_live_secret_is_registered_only_by_an_explicit_word(tmp_path: Path) -> None:
    account = {"environment": "live"}
    with wallets(tmp_path / "live", registered=False, environment="live", account=account) as one:
        ran = one.keyturn("rotate", SECRET, "--first", "--yes")
        assert ran.code == 3, ran.said
        assert f"keyturn rotate {SECRET} --first --force --reason TEXT" in ran.said
        assert one.commits() == []
        one.clock.advance(5)
        one.well("rotate", SECRET, "--first", "--force", *REASON)
        assert one.accepted()
        assert one.sim.recovery_file_is(one.custody())
