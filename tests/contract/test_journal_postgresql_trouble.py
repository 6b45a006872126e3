"""The PostgreSQL store while the server restarts, dies, falls silent, or is replaced by an older copy of itself."""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
import yaml

from cli.rig import Rig, estate
from keyturn.clock import SystemClock
from keyturn.errors import KeyturnError, StuckError
from keyturn.journal import JournalError
from keyturn.journal.postgresql import PostgresqlJournal
from keyturn.journal.postgresql_pool import Limits
from keyturn.journal.store import Draft, Lease, LeaseHeld, Sealed, Summary
from servers.cutter import Cutter, When
from servers.postgresql import PASSWORD, PostgreSQL, poll, postgresql

CLOCK = SystemClock()
QUICK = Limits(lock_s=0.2, statement_s=2.0, answer_s=0.5, reconnect_s=0.0)
TTL_S = 600.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A server that tests may stop if they start it again."""
    with postgresql() as one:
        yield one


@pytest.fixture
def url(server: PostgreSQL) -> str:
    """A journal of its own."""
    made = server.create_database(f"d{secrets.token_hex(6)}")
    PostgresqlJournal.create(made, CLOCK).close()
    return made


def opened(url: str, runner: str = "runner-1", limits: Limits | None = None) -> PostgresqlJournal:
    return PostgresqlJournal.open(url, clock=CLOCK, runner=runner, operator="alice", limits=limits)


def note(**data: Any) -> list[Draft]:
    return [Draft(type="noted", data=data)]


def answer(key: str = "k") -> Sealed:
    return Sealed(secret="a", kind="answer", key=key, version_id="v", blob=b"sealed")


def refusal(act: Callable[[], Any], kind: type[KeyturnError]) -> KeyturnError:
    with pytest.raises(kind) as caught:
        act()
    assert caught.value.hint
    assert PASSWORD not in f"{caught.value} {caught.value.__cause__!r}"
    return caught.value


# Restarts and sudden death


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_a_server_that_was_restarted_in_between_is_not_noticed(
    server: PostgreSQL, url: str, how: signal.Signals
) -> None:
    with closing(opened(url)) as journal:
        lease = journal.acquire("a", "runner-1", ttl_s=TTL_S)
        journal.append("a", note(), lease=lease)
        server.restart(how)
        assert [event.seq for event in journal.events("a")] == [1]
        server.restart(how)
        journal.append("a", note(), lease=lease)
        assert [event.seq for event in journal.events("a")] == [1, 2]


def test_a_second_attempt_takes_no_connection_that_may_be_lost_as_well(server: PostgreSQL, url: str) -> None:
    with closing(opened(url)) as journal:
        assert len(journal._pool._idle) == 1
        server.restart()
        with journal._pool.connection(fresh=True) as another:
            assert another.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_is_just_being_restarted_is_waited_for(server: PostgreSQL, url: str) -> None:
    with closing(opened(url)) as journal, ThreadPoolExecutor(1) as pool:
        server.stop()
        sealing = pool.submit(journal.seal, answer())
        with pytest.raises(TimeoutError):
            sealing.result(timeout=0.5)
        server.start()
        sealing.result(timeout=30)
        assert [one.key for one in journal.sealed()] == ["k"]


def test_a_server_that_stays_away_is_unfinished_and_the_next_call_goes_on(server: PostgreSQL, url: str) -> None:
    with closing(opened(url, limits=QUICK)) as journal:
        lease = journal.acquire("a", "runner-1", ttl_s=TTL_S)
        before = journal.now()
        server.stop()
        for act in (lambda: journal.append("a", note(), lease=lease), lambda: journal.events("a")):
            assert refusal(act, JournalError).code == "journal-unreachable"
        assert journal.now() >= before
        server.start()
        assert journal.append("a", note(), lease=lease)[0].seq == 1


def test_what_was_acknowledged_survives_a_server_that_is_killed_under_many_writers(
    server: PostgreSQL, url: str
) -> None:
    with closing(opened(url)) as journal, ThreadPoolExecutor(4) as pool:
        over = threading.Event()

        def busy(name: str) -> list[str]:
            lease = journal.acquire(name, "runner-1", ttl_s=TTL_S)
            said: list[str] = []
            while not over.is_set():
                said += [event.hash for event in journal.append(name, note(n=len(said)), lease=lease)]
            return said

        writers = {name: pool.submit(busy, name) for name in ("a", "b", "c", "d")}
        for _ in range(3):
            wait_until_all_went_on(journal, writers)
            server.kill9()
            server.start()
        over.set()
        said = {name: writer.result(timeout=30) for name, writer in writers.items()}
        assert {name: [event.hash for event in journal.events(name)] for name in said} == said
        assert journal.verify() == []


def wait_until_all_went_on(journal: PostgresqlJournal, names: Iterable[str]) -> None:
    before = {name: journal.heads().get(name, (0, ""))[0] for name in names}

    def all_went_on() -> bool:
        now = journal.heads()
        return all(name in now and now[name][0] > before[name] + 3 for name in names)

    assert poll(all_went_on, at_most_s=20)


# An answer that never came


@pytest.fixture(params=["before", "after"])
def when(request: pytest.FixtureRequest) -> When:
    """Whether the line is cut before the server gets COMMIT, or before we hear that it did."""
    found: When = request.param
    return found


@pytest.fixture
def cutter(server: PostgreSQL) -> Iterator[Cutter]:
    with Cutter(server.port) as one:
        yield one


@pytest.fixture
def journal(server: PostgreSQL, url: str, cutter: Cutter) -> Iterator[PostgresqlJournal]:
    """A journal whose line can be cut."""
    with closing(opened(url.replace(str(server.port), str(cutter.port)))) as one:
        yield one
    assert cutter.cuts == 1


@pytest.fixture
def lease(journal: PostgresqlJournal) -> Lease:
    return journal.acquire("a", "runner-1", ttl_s=TTL_S)


def test_events_are_stored_once(journal: PostgresqlJournal, lease: Lease, cutter: Cutter, when: When) -> None:
    row = Summary(secret="a", status="holding")
    journal.append("a", note(n=0), lease=lease)
    cutter.cut(when)
    stored = journal.append("a", [*note(n=1), *note(n=2)], lease=lease, summary=row)
    assert [event.data["n"] for event in journal.events("a")] == [0, 1, 2]
    assert journal.events("a", after=1) == stored
    assert (journal.summaries(), journal.verify()) == ({"a": row}, [])


def test_a_lease_is_taken_once(journal: PostgresqlJournal, cutter: Cutter, when: When) -> None:
    cutter.cut(when)
    taken = journal.acquire("b", "runner-1", ttl_s=TTL_S)
    assert (taken.runner, taken.fence) == ("runner-1", 1)
    assert journal.append("b", note(), lease=taken)
    with pytest.raises(LeaseHeld):
        journal.acquire("b", "runner-1", ttl_s=TTL_S)


def test_a_claim_takes_one_and_leaves_the_next_to_others(
    journal: PostgresqlJournal, cutter: Cutter, when: When
) -> None:
    cutter.cut(when)
    claimed = [journal.claim(["b", "c"], "runner-1", ttl_s=TTL_S) for _ in range(3)]
    assert [one.subject if one else None for one in claimed] == ["b", "c", None]


def test_a_lease_lives_as_long_as_it_was_told(
    journal: PostgresqlJournal, lease: Lease, cutter: Cutter, when: When
) -> None:
    cutter.cut(when)
    renewed = journal.renew(lease, ttl_s=TTL_S)
    journal.bury(lease)  # not this one any more
    assert journal.append("a", note(), lease=renewed)


def test_a_lease_is_given_back(journal: PostgresqlJournal, lease: Lease, cutter: Cutter, when: When) -> None:
    cutter.cut(when)
    journal.release(lease)
    assert journal.acquire("a", "runner-2", ttl_s=TTL_S).fence == lease.fence + 1


def test_a_value_is_sealed_and_a_subject_bound(journal: PostgresqlJournal, cutter: Cutter, when: When) -> None:
    cutter.cut(when)
    journal.seal(answer())
    assert [(one.key, one.blob) for one in journal.sealed()] == [("k", b"sealed")]
    assert journal.claim_subject("s", "a") == "a"


def test_a_value_is_unsealed(journal: PostgresqlJournal, lease: Lease, cutter: Cutter, when: When) -> None:
    journal.seal(answer())
    cutter.cut(when)
    journal.unseal_forever("a", "answer", "k", lease=lease)
    assert journal.sealed() == []


def test_a_transaction_whose_client_vanished_lets_its_locks_go(
    journal: PostgresqlJournal, lease: Lease, cutter: Cutter
) -> None:
    cutter.cut("silent")
    assert journal.append("a", note(), lease=lease)[0].seq == 1
    assert [event.seq for event in journal.events("a")] == [1]


# Silence


def test_a_server_that_falls_silent_is_left_in_bounded_time(server: PostgreSQL, url: str) -> None:
    with closing(opened(f"{url}?connect_timeout=2", limits=QUICK)) as journal:
        lease = journal.acquire("a", "runner-1", ttl_s=TTL_S)
        began = monotonic()
        with server.frozen():
            refused = refusal(lambda: journal.append("a", note(), lease=lease), JournalError)
        assert monotonic() - began < 10
        assert refused.code == "journal-unreachable"
        assert poll(lambda: bool(journal.append("a", note(), lease=lease)), at_most_s=10)
        assert journal.verify() == []


# Another server in its place


def test_a_replica_is_refused(server: PostgreSQL, url: str) -> None:
    server.stop()
    replica = server.cold_copy(server.folder / "replica")
    (replica.data / "standby.signal").touch()
    replica.give(replica.data)
    replica.start()
    try:
        refused = refusal(lambda: opened(replica.url(url.rpartition("/")[2])), JournalError)
        again = refusal(lambda: PostgresqlJournal.create(replica.url("template1"), CLOCK), JournalError)
    finally:
        replica.stop()
        server.start()
    assert (refused.code, again.code) == ("journal-replica", "journal-replica")


def test_a_fail_over_to_an_older_copy_is_refused(server: PostgreSQL, url: str) -> None:
    with closing(opened(url)) as journal:
        lease = journal.acquire("a", "runner-1", ttl_s=TTL_S)
        journal.append("a", note(n=1), lease=lease)
        server.stop()
        older = server.cold_copy(server.folder / "older")
        server.start()
        journal.append("a", note(n=2), lease=lease)
        server.stop()
        older.port = server.port
        older.start()
        try:
            for act in (
                lambda: journal.append("a", note(n=3), lease=lease),
                lambda: journal.events("a"),
                lambda: journal.seal(answer()),
            ):
                refused = refusal(act, StuckError)
                assert (refused.code, refused.fields) == ("journal-stale", {"secret": "a"})
            with closing(opened(url, "reader")) as late:  # one that does not know better
                assert [event.data["n"] for event in late.events("a")] == [1]
        finally:
            older.stop()
        server.start()
        assert journal.append("a", note(n=3), lease=lease)[0].seq == 3


def test_a_pooler_that_goes_over_to_an_older_copy_is_noticed(server: PostgreSQL, url: str) -> None:
    with closing(opened(url)) as journal:
        lease = journal.acquire("a", "runner-1", ttl_s=TTL_S)
        journal.append("a", note(), lease=lease)
        with psycopg.connect(url, autocommit=True) as behind:
            behind.execute("DELETE FROM event")
            behind.execute("DELETE FROM head")
        for connection in journal._pool._idle:
            connection.server = "the one before"
        assert refusal(lambda: journal.append("a", note(), lease=lease), StuckError).code == "journal-stale"


def test_another_journal_in_its_place_is_refused(server: PostgreSQL, url: str) -> None:
    with closing(opened(url)) as journal:
        server.execute("UPDATE journal SET id = 'another'", database=url.rpartition("/")[2])
        server.restart()
        with pytest.raises(KeyturnError) as caught:
            journal.seal(answer())
    assert caught.value.code == "journal-foreign"


# The program


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with estate(tmp_path) as one:
        one.more = {"journal": {"kind": "postgresql", "url": "env:KEYTURN_JOURNAL"}}
        one.write()
        yield one


def test_the_program_never_works_on_an_empty_database(rig: Rig, server: PostgreSQL) -> None:
    env = {"KEYTURN_JOURNAL": server.create_database("empty")}
    for command in ("status", "run"):
        ran = rig.run(command, env=env)
        assert (ran.code, "there is no journal" in ran.err) == (2, True), (command, ran)


def test_init_makes_the_configured_journal_with_another_url_and_once(rig: Rig, server: PostgreSQL) -> None:
    url = server.create_database("fleet")
    assert rig.run("init", "--journal", "env:OWNER", env={"OWNER": url}).code == 0
    again = rig.run("init", env={"KEYTURN_JOURNAL": url})
    assert (again.code, "something is there already" in again.err) == (2, True)


def test_init_begins_from_nothing_with_a_database(rig: Rig, server: PostgreSQL) -> None:
    env = {"KEYTURN_JOURNAL": server.create_database("fresh")}
    made = rig.run("init", "--folder", "fresh", "--journal", "env:KEYTURN_JOURNAL", "--json", env=env)
    assert made.code == 0, made.err
    assert rig.run("check", "--config", "fresh/keyturn.yaml", env=env).code == 0
    configuration = yaml.safe_load((rig.folder / "fresh/keyturn.yaml").read_text())
    assert configuration["journal"] == {"kind": "postgresql", "url": "env:KEYTURN_JOURNAL"}
    assert not (rig.folder / "fresh/state/journal.db").exists()


def test_init_carries_on_where_the_database_was_out_of_reach(rig: Rig, server: PostgreSQL) -> None:
    url = server.create_database("late")
    away = rig.run(
        "init",
        "--folder",
        "late",
        "--journal",
        "env:KEYTURN_JOURNAL",
        env={"KEYTURN_JOURNAL": url.replace(str(server.port), "1")},
    )
    assert (away.code, PASSWORD in away.err) == (6, False)
    assert rig.run("init", "--folder", "late", env={"KEYTURN_JOURNAL": url}).code == 0


def test_a_url_in_place_of_a_reference_is_refused_and_not_shown(rig: Rig, server: PostgreSQL) -> None:
    ran = rig.run("init", "--folder", "bare", "--journal", server.url("postgres") + "#x")
    assert (ran.code, "expected a reference" in ran.err) == (2, True)
    assert "owner" not in ran.err + ran.out


def test_a_journal_on_this_machine_is_not_made_elsewhere(rig: Rig) -> None:
    rig.more = {}
    rig.write()
    ran = rig.run("init", "--journal", "env:KEYTURN_JOURNAL", env={"KEYTURN_JOURNAL": "postgresql://u@127.0.0.1/d"})
    assert (ran.code, "journal of kind sqlite" in ran.err) == (2, True)


def test_a_rotation_ends_well_on_postgresql(rig: Rig, server: PostgreSQL) -> None:
    env = {"KEYTURN_JOURNAL": server.create_database("rotated")}
    assert rig.run("init", env=env).code == 0
    adopted = rig.run("adopt", "gateway/sideband", "--from-stdin", "--handle", rig.handle, stdin=rig.initial, env=env)
    assert adopted.code == 0, adopted.err
    rig.write(overlap={"strategy": "dual", "hold": "0s"})
    rotated = rig.run("rotate", "gateway/sideband", "--yes", env=env)
    assert rotated.code == 0, rotated.err
    assert rig.served != rig.initial
    assert rig.run("audit", "verify", env=env).code == 0
