"""Attacks on the PostgreSQL store that once succeeded, or came close: each name is what holds now."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest

from keyturn.clock import Clock, SystemClock
from keyturn.errors import KeyturnError
from keyturn.journal.postgresql import PostgresqlJournal
from keyturn.journal.postgresql_pool import Limits
from keyturn.journal.postgresql_url import parse_url
from keyturn.journal.store import Draft, Lease, LeaseLost, Sealed
from keyturn.testing.clock import FakeClock
from servers.cutter import Cutter
from servers.postgresql import PostgreSQL, postgresql

CLOCK = SystemClock()
TTL_S = 600.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A server that tests may stop if they start it again."""
    with postgresql() as one:
        yield one


@pytest.fixture
def empty(server: PostgreSQL) -> str:
    """An empty database."""
    return server.create_database(f"d{secrets.token_hex(6)}")


@pytest.fixture
def url(empty: str) -> str:
    """A database with a journal."""
    PostgresqlJournal.create(empty, CLOCK).close()
    return empty


def opened(
    url: str, runner: str = "runner-1", *, operator: str = "alice", clock: Clock = CLOCK, limits: Limits | None = None
) -> PostgresqlJournal:
    return PostgresqlJournal.open(url, clock=clock, runner=runner, operator=operator, limits=limits)


def behind(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def code(act: Callable[[], Any]) -> str:
    with pytest.raises(KeyturnError) as caught:
        act()
    return caught.value.code


def note(**data: Any) -> list[Draft]:
    return [Draft(type="noted", data=data)]


def answer(key: str = "k") -> Sealed:
    return Sealed(secret="a", kind="answer", key=key, version_id="v", blob=b"sealed")


# Two runners, one lease


def test_after_a_fail_over_that_forgot_a_lease_its_number_does_not_let_two_runners_write(url: str) -> None:
    with closing(opened(url)) as one, closing(opened(url, "runner-2")) as two:
        forgotten = one.acquire("a", "runner-1", ttl_s=TTL_S)
        behind(url, "DELETE FROM lease")
        held = two.acquire("a", "runner-2", ttl_s=TTL_S)
        assert held.fence == forgotten.fence
        for write in (
            lambda: one.append("a", note(), lease=forgotten),
            lambda: one.renew(forgotten, ttl_s=TTL_S),
            lambda: one.unseal_forever("a", "answer", "k", lease=forgotten),
        ):
            with pytest.raises(LeaseLost):
                write()
        one.release(forgotten)
        one.bury(Lease(subject="a", runner="runner-1", fence=held.fence, expires_at=held.expires_at))
        assert two.append("a", note(), lease=held)


def test_tables_in_two_schemas_are_no_journal(url: str) -> None:
    # Whose search_path comes here first would hold leases that the others do not see.
    behind(url, "CREATE SCHEMA owner", "CREATE TABLE owner.lease (LIKE public.lease INCLUDING ALL)")
    assert code(lambda: opened(url)) == "journal-foreign"


# A chain that does not fit any more


def test_a_database_that_rounds_times_is_refused_before_its_chains_look_forged(url: str) -> None:
    with closing(opened(url)) as journal:
        lease = journal.acquire("a", "runner-1", ttl_s=TTL_S)
        for _ in range(3):
            journal.append("a", note(), lease=lease)
    behind(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET extra_float_digits = 0")
    assert code(lambda: opened(url)) == "journal-settings"


def test_no_url_changes_how_text_is_stored(url: str) -> None:
    for query in ("client_encoding=LATIN1", "options=-cclient_encoding%3DLATIN1"):
        with closing(opened(f"{url}?{query}", operator="jürgen")) as journal:
            lease = journal.acquire("é", "runner-1", ttl_s=TTL_S)
            stored = journal.append("é", note(), lease=lease)
            journal.release(lease)
        with closing(opened(url)) as journal:
            assert (journal.verify(), journal.events("é")[-1:]) == ([], stored)


def test_whatever_a_vendor_writes_is_kept(url: str) -> None:
    data = {"\0": "a\0b \ud800 \udcff '; COMMIT; DROP TABLE event; -- %s \\", "long": "ü" * 200_000}
    with closing(opened(url)) as journal:
        stored = journal.append("a", note(**data), lease=journal.acquire("a", "runner-1", ttl_s=TTL_S))
        assert (journal.events("a"), journal.verify()) == (stored, [])


# Acknowledged, and lost


@pytest.mark.parametrize("table", ["event", "sealed", "lease"])
def test_tables_that_a_crash_would_empty_are_refused(url: str, table: str) -> None:
    behind(url, f"ALTER TABLE {table} SET UNLOGGED")
    assert code(lambda: opened(url)) == "journal-settings"


def test_a_write_that_may_be_stored_is_never_called_busy(server: PostgreSQL, url: str) -> None:
    # The first COMMIT is on its way and its transaction keeps its locks for longer than the second attempt waits.
    with Cutter(server.port) as cutter:
        through = url.replace(f":{server.port}/", f":{cutter.port}/")
        with closing(opened(through, limits=Limits(lock_s=0.2))) as journal:
            lease = journal.acquire("a", "runner-1", ttl_s=TTL_S)
            cutter.cut("silent")
            assert code(lambda: journal.append("a", note(), lease=lease)) == "journal-unreachable"


# A server that goes away


def test_a_server_that_is_restarted_is_waited_for_by_every_thread(server: PostgreSQL, url: str) -> None:
    with closing(opened(url)) as journal, ThreadPoolExecutor(4) as pool:
        server.stop()
        sealing = [pool.submit(journal.seal, answer(str(n))) for n in range(4)]
        with pytest.raises(TimeoutError):
            sealing[0].result(timeout=0.3)
        server.start()
        for one in sealing:
            one.result(timeout=30)
        assert len(journal.sealed()) == 4


def test_a_server_that_stays_away_is_waited_for_once_and_after_it_came_back_again(server: PostgreSQL, url: str) -> None:
    clock = FakeClock()
    with closing(opened(url, clock=clock)) as journal:
        for _ in range(2):
            began = clock.monotonic()
            server.stop()
            assert code(lambda: journal.seal(answer())) == "journal-unreachable"
            waited = clock.monotonic()
            assert waited >= began + 5.0
            assert code(lambda: journal.seal(answer())) == "journal-unreachable"
            assert clock.monotonic() == waited
            server.start()
            journal.seal(answer())


# What somebody else puts beside our tables


TRAPS = {
    "array_position": "array_position(text[], text) RETURNS int",
    "unnest": "unnest(text[]) RETURNS SETOF text",
    "pg_advisory_xact_lock": "pg_advisory_xact_lock(int) RETURNS void",
}
COMPARING = ("=", "<")


def traps() -> list[str]:
    """Functions and operators that fit our statements more closely than the server's own."""
    body = "LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$"
    compare = f"CREATE FUNCTION trap(float8, numeric) RETURNS bool {body}"
    operators = [
        f"CREATE OPERATOR {sign} (LEFTARG = float8, RIGHTARG = numeric, FUNCTION = trap)" for sign in COMPARING
    ]
    return [compare, *operators, *(f"CREATE FUNCTION {trap} {body}" for trap in TRAPS.values())]


def test_a_function_that_somebody_else_put_in_our_schema_never_runs(empty: str) -> None:
    behind(empty, *traps())
    with closing(PostgresqlJournal.create(empty, CLOCK, runner="runner-1")) as journal:
        lease = journal.claim(["a", "b"], "runner-1", ttl_s=TTL_S)
        assert lease
        journal.append("a", note(), lease=lease)
        journal.seal(answer())
        journal.unseal_forever("a", "answer", "k", lease=lease)
        journal.bury(lease)
        assert journal.acquire("a", "runner-1", ttl_s=TTL_S)
        assert (journal.claim_subject("s", "a"), journal.verify()) == ("a", [])
        journal._pool._forget()
        assert journal.sealed() == []  # on a new connection, which compares what is known


@pytest.mark.parametrize("taken", ["TYPE event AS ENUM ('a')", "DOMAIN lease AS text", "VIEW journal AS SELECT 1"])
def test_a_database_where_something_has_one_of_our_names_is_left_alone(empty: str, taken: str) -> None:
    behind(empty, f"CREATE {taken}")
    assert code(lambda: PostgresqlJournal.create(empty, CLOCK)) == "journal-exists"


# URLs


@pytest.mark.parametrize(
    "text",
    ["postgresql://u:s3same/d?user=x", "postgresql://u@h:s3same/d", "postgresql://u:s3same\udcfc@h/d"],
    ids=["no-host", "as-port", "not-unicode"],
)
def test_a_password_in_the_wrong_place_is_not_shown(text: str) -> None:
    with pytest.raises(KeyturnError) as caught:
        parse_url(text)
    assert caught.value.code == "journal-url"
    assert not re.search("s3same", f"{caught.value} {caught.value.as_data()} {caught.value.__cause__!r}")
