"""The SQLite store: the common contract, and what only a file can get wrong."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keyturn.errors import KeyturnError, StuckError, UnfinishedError, UsageError
from keyturn.journal import JournalError, JournalSettings, make_journal, open_journal
from keyturn.journal.place import network_kind
from keyturn.journal.sqlite import SqliteJournal
from keyturn.journal.store import Draft, Sealed, Summary
from keyturn.testing.clock import FakeClock
from keyturn.testing.journal_contract import JournalContract


class TestSqliteJournal(JournalContract):
    @pytest.fixture
    def settings(self, tmp_path: Path) -> JournalSettings:
        return JournalSettings(kind="sqlite", path=tmp_path / "journal.db")

    def execute(self, settings: JournalSettings, statement: str) -> None:
        assert settings.path
        behind(settings.path, statement)


def behind(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def made(path: Path) -> Path:
    SqliteJournal.create(path, FakeClock()).close()
    return path


def opened(path: Path, busy_timeout_s: float = 5.0) -> SqliteJournal:
    return SqliteJournal.open(
        path, clock=FakeClock(), runner="runner-1", operator="alice", busy_timeout_s=busy_timeout_s
    )


def refusal(act: Callable[[], Any], kind: type[KeyturnError] = UsageError) -> str:
    with pytest.raises(kind) as caught:
        act()
    assert caught.value.hint
    return caught.value.code


def answer(key: str = "t1") -> Sealed:
    return Sealed(secret="a", kind="answer", key=key, version_id="v1", blob=b"sealed")


# The file


def test_every_file_is_closed_to_others_from_the_start(path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(SqliteJournal.create(path, FakeClock())) as journal:
            journal.seal(answer())
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"journal.db": 0o600, "journal.db-wal": 0o600, "journal.db-shm": 0o600}


def test_making_a_journal_leaves_nothing_but_the_journal(made: Path) -> None:
    assert [file.name for file in made.parent.iterdir()] == ["journal.db"]


def test_an_existing_file_is_never_replaced(path: Path) -> None:
    path.write_text("precious")
    assert refusal(lambda: SqliteJournal.create(path, FakeClock())) == "journal-exists"
    assert path.read_text() == "precious"
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]


def test_of_many_that_make_a_journal_at_once_one_does_and_the_others_change_nothing(path: Path) -> None:
    start = threading.Barrier(4)

    def make(_: int) -> str:
        start.wait(30)
        try:
            with closing(SqliteJournal.create(path, FakeClock())) as journal:
                return journal.id
        except UsageError as error:
            return error.code

    with ThreadPoolExecutor(4) as pool:
        said = sorted(pool.map(make, range(4)))
    with closing(opened(path)) as journal:
        assert said == sorted([journal.id, *["journal-exists"] * 3])


def test_every_commit_is_forced_to_the_disk(made: Path) -> None:
    with closing(opened(made)) as journal:
        found = [
            journal._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        ]
    assert found == ["wal", 2]  # 2: FULL, https://www.sqlite.org/pragma.html#pragma_synchronous


def test_a_stale_log_beside_a_lost_journal_is_not_replayed_into_a_new_one(path: Path) -> None:
    path.with_name("journal.db-wal").write_bytes(b"old pages")
    assert refusal(lambda: SqliteJournal.create(path, FakeClock())) == "journal-exists"


def test_a_missing_journal_is_an_error_and_is_not_made(path: Path) -> None:
    assert refusal(lambda: opened(path)) == "journal-missing"
    assert not path.exists()


def test_a_journal_in_a_missing_folder_can_not_be_made(tmp_path: Path) -> None:
    assert refusal(lambda: SqliteJournal.create(tmp_path / "none" / "j.db", FakeClock())) == "file-unwritable"


def test_a_symlink_is_refused(made: Path) -> None:
    link = made.with_name("link.db")
    link.symlink_to(made)
    assert refusal(lambda: opened(link)) == "journal-symlink"
    assert refusal(lambda: SqliteJournal.create(link, FakeClock())) == "journal-exists"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_is_open_to_others_is_refused(made: Path, mode: int) -> None:
    made.chmod(mode)
    assert refusal(lambda: opened(made)) == "journal-mode"


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    assert refusal(lambda: opened(path)) == "journal-foreign"
    assert path.read_bytes() == content


def test_somebody_elses_database_is_refused_and_left_alone(path: Path) -> None:
    behind(path, "CREATE TABLE journal (id TEXT)")
    path.chmod(0o600)
    content = path.read_bytes()
    assert refusal(lambda: opened(path)) == "journal-foreign"
    assert path.read_bytes() == content


def test_a_folder_in_place_of_the_journal_is_refused(path: Path) -> None:
    path.mkdir(mode=0o700)
    assert refusal(lambda: opened(path)) == "journal-foreign"


MOUNTS = r"""22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:40 / /far rw - nfs4 server:/far rw
41 40 0:41 / /far/near rw - tmpfs tmpfs rw
42 27 0:42 / /with\040space rw - cifs //server/share rw
43 27 0:43 / /ssh rw - fuse.sshfs me@host: rw
44 27 0:44 / /over rw - nfs server:/over rw
45 27 0:45 / /over rw - ext4 /dev/vdb rw
46 27 0:46 / /box rw - fuse.fuse-overlayfs fuse-overlayfs rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home", None),
        ("/far", "nfs4"),
        ("/far/state", "nfs4"),
        ("/farther", None),
        ("/far/near/state", None),
        ("/with space/state", "cifs"),
        ("/ssh/a/b", "fuse.sshfs"),
        ("/over/state", None),
        ("/box", None),
    ],
)
def test_network_file_systems_are_known_by_the_mount_under_the_folder(folder: str, kind: str | None) -> None:
    assert network_kind(MOUNTS, Path(folder)) == kind


# Versions


def test_a_journal_of_a_newer_version_is_refused_unless_it_lets_us_write(made: Path) -> None:
    behind(made, "UPDATE journal SET schema = 1000000")
    opened(made).close()
    behind(made, "UPDATE journal SET min_writer = 1000000")
    assert refusal(lambda: opened(made)) == "journal-newer"


def test_a_journal_that_a_newer_version_migrates_under_us_takes_no_more_writes(made: Path) -> None:
    with closing(opened(made)) as journal:
        behind(made, "UPDATE journal SET min_writer = 1000000")
        assert refusal(lambda: journal.seal(answer())) == "journal-newer"
        assert journal.sealed() == []


OLD_TABLES = ("event", "head", "summary", "lease", "subject", "sealed")


def test_an_older_journal_is_migrated_when_it_is_opened_and_keeps_its_id(made: Path) -> None:
    with closing(opened(made)) as journal:
        first = journal.id
    behind(made, "UPDATE journal SET schema = 0, min_writer = 0", *(f"DROP TABLE {name}" for name in OLD_TABLES))
    with closing(opened(made)) as journal:
        assert journal.id == first
        journal.seal(answer())
    with closing(opened(made)) as journal:
        assert [sealed.key for sealed in journal.sealed()] == ["t1"]


def test_a_migration_that_fails_leaves_the_journal_as_it_was(made: Path) -> None:
    behind(made, "UPDATE journal SET schema = 0", "DROP TABLE event")
    with pytest.raises(sqlite3.OperationalError):
        opened(made)
    with closing(sqlite3.connect(made)) as raw:
        assert raw.execute("SELECT schema FROM journal").fetchone() == (0,)
        assert raw.execute("SELECT name FROM sqlite_master WHERE name = 'event'").fetchone() is None


def test_another_store_kind_says_that_it_is_not_here(tmp_path: Path) -> None:
    settings = JournalSettings(kind="other", url="other://user:canary@db/x")
    assert "canary" not in repr(settings)
    assert refusal(lambda: make_journal(settings, clock=FakeClock())) == "journal-kind"
    assert refusal(lambda: open_journal(settings, clock=FakeClock(), runner="r", operator="o")) == "journal-kind"
    assert refusal(lambda: make_journal(JournalSettings(kind="sqlite"), clock=FakeClock())) == "journal-path"


# Failing


def test_a_lock_that_lasts_too_long_is_unfinished_not_a_crash(made: Path) -> None:
    with closing(sqlite3.connect(made, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with closing(opened(made, busy_timeout_s=0.05)) as journal:
            assert refusal(lambda: journal.seal(answer()), UnfinishedError) == "journal-busy"
            assert journal.sealed() == []


def test_a_lock_that_ends_in_time_is_waited_for(made: Path) -> None:
    with (
        closing(sqlite3.connect(made, isolation_level=None)) as other,
        closing(opened(made)) as journal,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("BEGIN IMMEDIATE")
        sealing = pool.submit(journal.seal, answer())
        with pytest.raises(TimeoutError):
            sealing.result(timeout=0.1)
        other.execute("ROLLBACK")
        sealing.result(timeout=30)
        assert journal.sealed()


def test_a_full_disk_keeps_nothing_of_the_transaction_and_sealing_works_again_later(made: Path) -> None:
    with closing(opened(made)) as journal:
        lease = journal.acquire("s", "runner-1", ttl_s=30)
        (pages,) = journal._connection.execute("PRAGMA max_page_count = 1").fetchone()  # the size it has now
        big = Draft(type="big", data={"text": "x" * 100_000})
        with pytest.raises(JournalError) as caught:
            journal.append("a", [Draft(type="small", data={}), big], lease=lease)
        assert caught.value.code == "journal-full"
        assert (journal.events("a"), journal.heads(), pages > 1) == ([], {}, True)
        journal._connection.execute("PRAGMA max_page_count = 1000000")
        journal.append("a", [big], lease=lease)
        assert journal.verify() == []


LIMITED = """
import resource, signal, sys
from pathlib import Path
from keyturn.clock import SystemClock
from keyturn.errors import KeyturnError
from keyturn.journal.sqlite import SqliteJournal
from keyturn.journal.store import Sealed
journal = SqliteJournal.open(Path(sys.argv[1]), clock=SystemClock(), runner="r", operator="o")
journal.seal(Sealed(secret="a", kind="answer", key="before", version_id="v", blob=b"small"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    journal.seal(Sealed(secret="a", kind="answer", key="after", version_id="v", blob=b"x" * 1_000_000))
except KeyturnError as error:
    print(error.code, [sealed.key for sealed in journal.sealed()])
journal.close()
"""


def test_a_disk_that_refuses_a_write_keeps_what_was_there(made: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(made)], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "journal-unwritable ['before']\n"


def test_a_damaged_file_makes_a_person_act(made: Path) -> None:
    with closing(opened(made)) as journal:
        lease = journal.acquire("s", "runner-1", ttl_s=30)
        journal.append("a", [Draft(type="big", data={"text": "x" * 100_000})], lease=lease)
    content = bytearray(made.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    made.write_bytes(content)

    def look() -> None:
        with closing(opened(made)) as journal:
            journal.events("a")

    assert refusal(look, StuckError) == "journal-corrupt"


def test_an_unreadable_event_is_a_damaged_journal(made: Path) -> None:
    with closing(opened(made)) as journal:
        lease = journal.acquire("s", "runner-1", ttl_s=30)
        journal.append("a", [Draft(type="x", data={})], lease=lease)
        behind(made, "UPDATE event SET data = '{'")
        assert refusal(lambda: journal.events("a"), StuckError) == "journal-corrupt"


# Speed


def test_opening_and_the_summaries_do_not_read_history(made: Path) -> None:
    with closing(opened(made)) as journal:
        lease = journal.acquire("s", "runner-1", ttl_s=3600)
        drafts = [Draft(type="step", data={"n": n}) for n in range(20)]
        journal.append("secret", drafts, lease=lease, summary=Summary(secret="secret", status="idle"))
    behind(made, "ALTER TABLE event RENAME TO hidden")
    with closing(opened(made)) as journal:
        assert journal.summaries()["secret"].status == "idle"
