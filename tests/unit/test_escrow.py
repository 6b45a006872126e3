"""The escrow gives back what was sealed, to those who may have it, and to nobody else."""

from __future__ import annotations

import json
import stat
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyrage  # type: ignore[import-untyped] # it ships no types
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyrage import x25519

from keyturn.errors import StuckError, UsageError
from keyturn.escrow import Escrow, load_identities, new_identity
from keyturn.journal import JournalSettings, make_journal
from keyturn.journal.store import Journal, LeaseLost
from keyturn.secret import Bundle, Secret
from keyturn.testing.clock import FakeClock

CANARY = "canary-f00d"
MINE = str(x25519.Identity.generate())
OTHER = str(x25519.Identity.generate())
OFFLINE = x25519.Identity.generate()


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Iterator[Journal]:
    with closing(make_journal(JournalSettings(kind="sqlite", path=tmp_path / "j.db"), clock=clock)) as journal:
        yield journal


@pytest.fixture
def escrow(journal: Journal) -> Escrow:
    return escrow_of(journal, MINE)


def escrow_of(journal: Journal, *identities: str) -> Escrow:
    return Escrow(journal, [Secret(text) for text in identities], [str(OFFLINE.to_public())], journal.now)


def everything_said(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


# Versions and answers


def test_a_sealed_version_opens_again(escrow: Escrow) -> None:
    escrow.seal_version("a", "v1", Bundle({"user": "u", "password": CANARY}))
    found = escrow.open_version("a", "v1")
    assert found is not None
    assert found.reveal() == {"user": "u", "password": CANARY}
    assert escrow.open_version("a", "v2") is None
    assert escrow.open_version("b", "v1") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(fields=st.dictionaries(st.text(), st.text(st.characters(codec=None))), raw=st.text(st.characters(codec=None)))
def test_any_text_comes_back_unchanged(escrow: Escrow, fields: dict[str, str], raw: str) -> None:
    escrow.seal_version("a", "v1", Bundle(fields))
    escrow.seal_answer("a", "t1", "v1", Secret(raw))
    found = escrow.open_version("a", "v1")
    assert found is not None
    assert found.reveal() == fields
    assert [answer.reveal() for _, answer in escrow.open_answers("a", "v1")] == [raw]


def test_answers_come_back_by_attempt_oldest_first(escrow: Escrow, clock: FakeClock) -> None:
    for attempt in ("t9", "t1"):
        escrow.seal_answer("a", attempt, "v1", Secret(f'{{"key": "{attempt}"'))
        clock.advance(1)
    escrow.seal_answer("a", "t5", "v2", Secret("of another version"))
    found = [(attempt, raw.reveal()) for attempt, raw in escrow.open_answers("a", "v1")]
    assert found == [("t9", '{"key": "t9"'), ("t1", '{"key": "t1"')]


def test_a_dropped_version_is_gone_with_its_answers_and_the_others_stay(escrow: Escrow, journal: Journal) -> None:
    for version in ("v1", "v2"):
        escrow.seal_version("a", version, Bundle({"k": CANARY}))
        escrow.seal_answer("a", f"t-{version}", version, Secret(CANARY))
    lease = journal.acquire("s", "r", ttl_s=30)
    for _ in ("once", "again"):
        escrow.drop("a", "v1", lease=lease)
    assert [(kept.kind, kept.key) for kept in escrow.listing("a")] == [("version", "v2"), ("answer", "t-v2")]


def test_a_runner_that_lost_its_lease_can_seal_but_not_drop(escrow: Escrow, journal: Journal) -> None:
    lease = journal.acquire("s", "r", ttl_s=30)
    journal.release(lease)
    escrow.seal_answer("a", "t1", "v1", Secret(CANARY))
    with pytest.raises(LeaseLost):
        escrow.drop("a", "v1", lease=lease)
    assert escrow.open_answers("a", "v1")


def test_the_listing_names_what_is_kept_and_no_value(escrow: Escrow, journal: Journal) -> None:
    escrow.seal_version("a", "v1", Bundle({"user": CANARY, "password": CANARY}))
    (kept,) = escrow.listing()
    assert (kept.secret, kept.kind, kept.key, kept.version_id) == ("a", "version", "v1", "v1")
    assert (kept.fields, kept.at) == (("user", "password"), journal.now())
    assert CANARY not in repr(escrow.listing())


def test_no_value_lies_in_the_database_files(escrow: Escrow, tmp_path: Path) -> None:
    escrow.seal_version("a", "v1", Bundle({"k": CANARY}))
    escrow.seal_answer("a", "t1", "v1", Secret(CANARY))
    files = list(tmp_path.iterdir())
    assert files
    assert not any(CANARY.encode() in file.read_bytes() for file in files)


# Keys


def test_the_offline_key_opens_everything_with_age_alone(escrow: Escrow, journal: Journal) -> None:
    escrow.seal_version("a", "v1", Bundle({"k": CANARY}))
    escrow.seal_answer("a", "t1", "v1", Secret("raw body"))
    version, answer = journal.sealed("a")
    assert json.loads(pyrage.decrypt(version.blob, [OFFLINE])) == {"k": CANARY}
    assert pyrage.decrypt(answer.blob, [OFFLINE]) == b"raw body"


def test_an_identity_that_was_rotated_still_opens_when_listed_later(journal: Journal) -> None:
    escrow_of(journal, MINE).seal_version("a", "v1", Bundle({"k": CANARY}))
    rotated = escrow_of(journal, OTHER, MINE)
    found = rotated.open_version("a", "v1")
    assert found is not None
    assert found.reveal() == {"k": CANARY}


def test_all_listed_identities_open_what_is_sealed_now(journal: Journal) -> None:
    both = escrow_of(journal, OTHER, MINE)
    both.seal_version("a", "v1", Bundle({"k": CANARY}))
    assert escrow_of(journal, MINE).open_version("a", "v1")
    assert escrow_of(journal, OTHER).open_version("a", "v1")
    assert len(both.recipients) == 3
    assert str(OFFLINE.to_public()) in both.recipients


def test_an_envelope_that_does_not_open_says_which_keys_were_tried(journal: Journal) -> None:
    escrow_of(journal, MINE).seal_version("a", "v1", Bundle({"k": CANARY}))
    with pytest.raises(StuckError) as caught:
        escrow_of(journal, OTHER).open_version("a", "v1")
    public = str(x25519.Identity.from_str(OTHER).to_public())
    assert caught.value.code == "escrow-closed"
    assert caught.value.fields == {"kind": "version", "key": "v1", "identities": public}
    assert "escrow: identities:" in caught.value.hint
    assert OTHER not in everything_said(caught.value)


def test_a_damaged_envelope_does_not_open(escrow: Escrow, journal: Journal) -> None:
    escrow.seal_version("a", "v1", Bundle({"k": CANARY}))
    (kept,) = journal.sealed()
    journal.seal(type(kept)(**{**vars(kept), "blob": kept.blob[:-1] + bytes([kept.blob[-1] ^ 1])}))
    with pytest.raises(StuckError):
        escrow.open_version("a", "v1")


# Fingerprints


def test_a_fingerprint_is_the_same_on_every_runner_with_the_same_identity(journal: Journal) -> None:
    one, other = escrow_of(journal, MINE), escrow_of(journal, f"# a comment\n\n  {MINE.lower().upper()}\n", OTHER)
    assert one.fingerprint(CANARY) == other.fingerprint(CANARY)
    assert len(one.fingerprint(CANARY)) == 32
    assert one.fingerprint(CANARY) != one.fingerprint(CANARY + "x")
    assert one.fingerprint("\ud800")


def test_a_fingerprint_without_the_identity_is_another(journal: Journal) -> None:
    assert escrow_of(journal, MINE).fingerprint(CANARY) != escrow_of(journal, OTHER).fingerprint(CANARY)


def test_a_fingerprint_of_a_rotated_identity_still_matches(journal: Journal) -> None:
    old = escrow_of(journal, MINE).fingerprint(CANARY)
    assert escrow_of(journal, OTHER, MINE).matches(old, CANARY)
    assert not escrow_of(journal, OTHER, MINE).matches(old, "other")
    assert not escrow_of(journal, OTHER).matches(old, CANARY)


# Identity files


def test_a_new_identity_is_private_and_seals_and_opens(tmp_path: Path, journal: Journal) -> None:
    path = tmp_path / "age.key"
    recipient = new_identity(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    escrow = Escrow(journal, [path.read_text()], [], journal.now)
    assert escrow.recipients == (recipient,)
    escrow.seal_version("a", "v1", Bundle({"k": CANARY}))
    assert escrow.open_version("a", "v1")


def test_a_new_identity_never_replaces_one(tmp_path: Path) -> None:
    path = tmp_path / "age.key"
    new_identity(path)
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        new_identity(path)
    assert (caught.value.code, path.read_bytes()) == ("file-exists", before)
    assert [file.name for file in tmp_path.iterdir()] == ["age.key"]


def test_one_file_may_hold_several_identities() -> None:
    text = f"# created: long ago\n{MINE}\n\n# older\n{OTHER}\n"
    assert [identity.reveal() for identity in load_identities([text])] == [MINE, OTHER]


@pytest.mark.parametrize("texts", [[], [""], ["# only a comment"], [MINE, ""], [f"{MINE}x"], [CANARY], [MINE[:-1]]])
def test_what_is_no_identity_is_refused_and_not_shown(texts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load_identities(texts)
    assert caught.value.code == "escrow-identity"
    assert not any(text and text in everything_said(caught.value) for text in (CANARY, MINE, MINE[:-1]))


def test_an_identity_pasted_as_recipient_is_refused_and_not_shown(journal: Journal) -> None:
    with pytest.raises(UsageError) as caught:
        Escrow(journal, [MINE], [OTHER], journal.now)
    assert caught.value.code == "escrow-recipient"
    assert OTHER not in everything_said(caught.value)
