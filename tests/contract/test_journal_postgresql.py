"""The PostgreSQL store: the common contract, and what only a server far away can get wrong."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Self

import psycopg
import pytest

from keyturn.clock import SystemClock
from keyturn.errors import KeyturnError, StuckError, UsageError
from keyturn.escrow import Escrow, new_identity
from keyturn.journal import JournalError, JournalSettings, make_journal, open_journal
from keyturn.journal.migrations import MIGRATIONS, POSTGRESQL_MIGRATIONS
from keyturn.journal.postgresql import PostgresqlJournal
from keyturn.journal.postgresql_pool import Limits
from keyturn.journal.postgresql_server import fault_of, settings_flaw
from keyturn.journal.postgresql_time import REMEASURE_S, DatabaseTime
from keyturn.journal.postgresql_url import parse_url
from keyturn.journal.store import Draft, LeaseHeld, Sealed
from keyturn.secret import Bundle
from keyturn.testing.clock import START_S, FakeClock
from keyturn.testing.journal_contract import JournalContract
from servers.postgresql import PASSWORD, PostgreSQL, postgresql

CLOCK = SystemClock()
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "postgresql.md"
QUICK = Limits(lock_s=0.2, statement_s=2.0, answer_s=0.5, reconnect_s=0.0)


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as one:
        yield one


class DrivenClock(FakeClock):
    """A clock that drives the database's as well, through a function that stands before the server's own."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._database = psycopg.connect(url, autocommit=True)

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.drive()

    def jump(self, seconds: float) -> None:
        super().jump(seconds)
        self.drive()

    def drive(self) -> None:
        self._database.execute("UPDATE test_clock SET at = %s", (self.now(),))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()


DRIVEN = (
    "CREATE TABLE test_clock (at float8)",
    f"INSERT INTO test_clock VALUES ({START_S})",
    "CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT to_timestamp(at) FROM test_clock'",
)


def driven(server: PostgreSQL) -> str:
    """A schema of its own whose clock a test drives; the URL leads there."""
    schema = f"s{secrets.token_hex(6)}"
    url = server.url(options=f"-csearch_path={schema},pg_catalog")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        for statement in DRIVEN:
            connection.execute(statement.encode())
    return url


class TestPostgresqlJournal(JournalContract):
    @pytest.fixture
    def settings(self, server: PostgreSQL) -> JournalSettings:
        return JournalSettings(kind="postgresql", url=driven(server))

    @pytest.fixture
    def clock(self, settings: JournalSettings) -> Iterator[FakeClock]:
        assert settings.url
        with DrivenClock(settings.url) as clock:
            yield clock

    def execute(self, settings: JournalSettings, statement: str) -> None:
        assert settings.url
        with psycopg.connect(settings.url, autocommit=True) as connection:
            connection.execute(statement.encode())


# One database each


@pytest.fixture
def url(server: PostgreSQL) -> str:
    """An empty database."""
    return server.create_database(f"d{secrets.token_hex(6)}")


@pytest.fixture
def made(url: str) -> str:
    """A database with a journal."""
    PostgresqlJournal.create(url, CLOCK).close()
    return url


def opened(url: str, runner: str = "runner-1", limits: Limits | None = None) -> PostgresqlJournal:
    return PostgresqlJournal.open(url, clock=CLOCK, runner=runner, operator="alice", limits=limits)


def behind(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def refusal(act: Callable[[], Any], kind: type[KeyturnError] = UsageError) -> KeyturnError:
    with pytest.raises(kind) as caught:
        act()
    said = f"{caught.value} {caught.value.as_data()} {caught.value.__cause__!r}"
    assert caught.value.hint
    assert PASSWORD not in said
    return caught.value


def note(**data: Any) -> list[Draft]:
    return [Draft(type="noted", data=data)]


# Making and finding


def test_an_empty_database_holds_no_journal_and_none_is_made(url: str) -> None:
    assert refusal(lambda: opened(url)).code == "journal-missing"
    assert refusal(lambda: opened(url)).code == "journal-missing"


def test_a_journal_that_is_there_is_not_made_again(made: str) -> None:
    with closing(opened(made)) as journal:
        first = journal.id
    assert refusal(lambda: PostgresqlJournal.create(made, CLOCK)).code == "journal-exists"
    with closing(opened(made)) as journal:
        assert journal.id == first


def test_of_many_that_make_a_journal_at_once_one_does_and_the_others_change_nothing(url: str) -> None:
    start = threading.Barrier(4)

    def make(_: int) -> str:
        start.wait(30)
        try:
            with closing(PostgresqlJournal.create(url, CLOCK)) as journal:
                return journal.id
        except UsageError as error:
            return error.code

    with ThreadPoolExecutor(4) as pool:
        said = sorted(pool.map(make, range(4)))
    with closing(opened(url)) as journal:
        assert said == sorted([journal.id, *["journal-exists"] * 3])


def test_somebody_elses_table_is_refused_and_left_alone(url: str) -> None:
    behind(url, "CREATE TABLE journal (id text)")
    assert refusal(lambda: opened(url)).code == "journal-foreign"
    assert refusal(lambda: PostgresqlJournal.create(url, CLOCK)).code == "journal-exists"


def test_one_taken_name_and_nothing_is_made(url: str) -> None:
    behind(url, "CREATE TABLE head (id text)")
    assert refusal(lambda: PostgresqlJournal.create(url, CLOCK)).code == "journal-exists"
    assert refusal(lambda: opened(url)).code == "journal-missing"


def test_both_stores_have_the_same_migrations_and_columns() -> None:
    assert [(one.number, one.min_writer) for one in POSTGRESQL_MIGRATIONS] == [
        (one.number, one.min_writer) for one in MIGRATIONS
    ]
    words = [
        [re.findall(r"(\w+) (?:TEXT|REAL|DOUBLE|INTEGER|BIGINT|BLOB|BYTEA)", statement) for statement in one.statements]
        for one in (MIGRATIONS[0], POSTGRESQL_MIGRATIONS[0])
    ]
    words[1][-1].remove("number")
    assert words[0] == words[1]


OLD_TABLES = ("event", "head", "summary", "lease", "subject", "sealed")


def test_an_older_journal_is_migrated_when_it_is_opened_and_keeps_its_id(made: str) -> None:
    with closing(opened(made)) as journal:
        first = journal.id
    behind(made, "UPDATE journal SET schema = 0, min_writer = 0", *(f"DROP TABLE {name}" for name in OLD_TABLES))
    with ThreadPoolExecutor(3) as pool:
        for journal in pool.map(lambda _: opened(made), range(3)):
            assert journal.id == first
            journal.close()
    with closing(opened(made)) as journal:
        assert journal.sealed() == []


def test_a_journal_of_a_newer_version_is_refused_unless_it_lets_us_write(made: str) -> None:
    behind(made, "UPDATE journal SET schema = 1000000")
    with closing(opened(made)) as journal:
        behind(made, "UPDATE journal SET min_writer = 1000000")
        assert refusal(lambda: journal.claim_subject("a", "b")).code == "journal-newer"
    assert refusal(lambda: opened(made)).code == "journal-newer"


# The server's settings


GOOD = {
    "server_version_num": "160014",
    "server_encoding": "UTF8",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "standbys": "",
    "extra_float_digits": "1",
}


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({}, None),
        ({"server_version_num": "120022"}, "expected version 13 or newer, found 12"),
        ({"server_encoding": "SQL_ASCII"}, "expected a database in UTF8, found SQL_ASCII"),
        ({"fsync": "off"}, "expected fsync = on, found off"),
        ({"full_page_writes": "off"}, "expected full_page_writes = on, found off"),
        ({"synchronous_commit": "off"}, "expected synchronous_commit = on, found off"),
        ({"synchronous_commit": "local"}, None),
        ({"synchronous_commit": "local", "standbys": "b"}, "expected synchronous_commit = on, found local"),
        ({"synchronous_commit": "remote_apply", "standbys": "b"}, None),
        ({"extra_float_digits": "0"}, "expected extra_float_digits = 1, found 0"),
    ],
)
def test_a_server_that_could_lose_what_it_acknowledged_is_refused(change: dict[str, str], flaw: str | None) -> None:
    assert settings_flaw({**GOOD, **change}) == flaw


def test_a_server_that_does_not_force_its_commits_to_the_disk_is_refused() -> None:
    with postgresql({"fsync": "off"}) as careless:
        refused = refusal(lambda: PostgresqlJournal.create(careless.url(), CLOCK))
    assert refused.code == "journal-settings"
    assert "expected fsync = on, found off" in refused.message


def test_a_database_that_answers_before_the_disk_has_it_is_refused(made: str) -> None:
    name = made.rpartition("/")[2]
    behind(made, f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert refusal(lambda: opened(made)).code == "journal-settings"


def test_every_write_waits_for_the_disk_whatever_the_database_says(made: str) -> None:
    behind(
        made,
        f"ALTER DATABASE {made.rpartition('/')[2]} SET synchronous_commit = local",
        "CREATE TABLE seen (how text)",
        """CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
           $$BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END$$""",
        *(
            f"CREATE TRIGGER see BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION see()"
            for name in ("event", "summary", "sealed")
        ),
    )
    with closing(opened(made)) as journal:
        journal.append("a", note(), lease=journal.acquire("a", "runner-1", ttl_s=30))
        journal.seal(Sealed(secret="a", kind="answer", key="k", version_id="v", blob=b"sealed"))
    with psycopg.connect(made) as connection:
        assert connection.execute("SELECT how FROM seen").fetchall() == [("on",), ("on",)]


# The URL


@pytest.mark.parametrize(
    "text",
    [
        "mysql://u@db.internal/d",
        "postgresql://",
        "postgresql://u@/d",
        "postgresql://db.internal/d",
        "postgresql://u@db.internal",
        f"postgresql://u:{PASSWORD}@db.internal/d",
        "postgresql://u:0wner-p@ss@db.internal/d",
        "postgresql://u:0wner-p/ss@db.internal/d",
        "postgresql://u:123/ss@db.internal/d",
        "postgresql://u:0wner-p%zz@db.internal/d",
        "postgresql://u@db.internal/d?nonsense=0wner-p",
        "postgresql://u@db.internal/d?sslmode=prefer",
        "postgresql://u@db.internal/d?sslmode=allow",
        "postgresql://u@127.0.0.1,db.internal/d?sslmode=prefer",
        "postgresql://u@localhost/d?hostaddr=192.0.2.1&sslmode=prefer",
    ],
)
def test_a_url_that_can_not_be_used_is_refused_and_never_quoted(text: str) -> None:
    refused = refusal(lambda: parse_url(text))
    assert refused.code == "journal-url"
    assert not re.search("0wner-p|ss@", f"{refused} {refused.hint} {refused.__cause__!r}")


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("postgresql://u@127.0.0.1/d", "prefer"),
        ("postgresql://u@[::1]/d", "prefer"),
        ("postgresql://u@/d?host=/run/postgresql", "prefer"),
        ("postgresql://u@db.internal/d", "verify-full"),
        ("postgresql://u@127.0.0.1,db.internal/d", "verify-full"),
        ("postgres://u@db.internal/d?sslmode=require", "require"),
        ("postgresql://u@db.internal/d?sslmode=disable", "disable"),
    ],
)
def test_nothing_travels_in_the_clear_unless_the_url_says_so(text: str, mode: str) -> None:
    assert parse_url(text).options["sslmode"] == mode


def test_an_address_can_be_shown_without_the_password() -> None:
    address = parse_url("postgresql://keyturn:s3same@db.internal:6432/journal?sslmode=require")
    assert address.shown == "postgresql://keyturn@db.internal:6432/journal"
    assert "s3same" not in repr(address)
    assert address.scrubbed("no\n  entry for s3same.") == "no entry for <secret>"


NOWHERE = {
    "PGHOST": "192.0.2.1",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGDATABASE": "elsewhere",
    "PGUSER": "somebody",
    "PGPASSWORD": "wrong",
    "PGOPTIONS": "-csearch_path=nowhere",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/none",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCLIENTENCODING": "LATIN1",
    "PGCONNECT_TIMEOUT": "nonsense",
    "PGSERVICE": "elsewhere",
}
LOOK = """
import os
from keyturn.clock import SystemClock
from keyturn.journal import JournalSettings, open_journal
settings = JournalSettings(kind="postgresql", url=os.environ["URL"])
journal = open_journal(settings, clock=SystemClock(), runner="r", operator="o")
print(journal.id)
journal.close()
"""


def test_the_environment_and_the_home_folder_can_not_redirect_a_journal(made: str, tmp_path: Path) -> None:
    service = tmp_path / "services.conf"
    service.write_text("[elsewhere]\nhost=192.0.2.1\nport=1\ndbname=elsewhere\npassword=wrong\n")
    (tmp_path / ".pgpass").write_text("*:*:*:*:wrong")
    environment = {**os.environ, **NOWHERE, "URL": made, "HOME": str(tmp_path), "PGSERVICEFILE": str(service)}
    looked = subprocess.run([sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, check=False)
    with closing(opened(made)) as journal:
        assert (looked.stdout.strip(), looked.stderr) == (journal.id, "")


def test_a_password_comes_from_the_url_or_from_nowhere(made: str, tmp_path: Path) -> None:
    pgpass = tmp_path / ".pgpass"
    pgpass.write_text(f"*:*:*:*:{PASSWORD}")
    pgpass.chmod(0o600)
    url = re.sub(r":[^:@]+@", "@", made)
    environment = {**os.environ, "URL": url, "HOME": str(tmp_path), "PGPASSFILE": str(pgpass), "PGPASSWORD": PASSWORD}
    looked = subprocess.run([sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, check=False)
    assert "no password supplied" in looked.stderr


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda url: url.replace("owner:", "nobody-here:"), "authentication failed"),
        (lambda url: url.replace("0wner-p", "wr0ng-p"), "authentication failed"),
        (lambda url: f"{url}x", "does not exist"),
        (lambda url: re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", url), "refused"),
        (lambda url: re.sub(r"127\.0\.0\.1:\d+", "no-such-host.invalid", url), "no-such-host.invalid"),
    ],
    ids=["user", "password", "database", "port", "host"],
)
def test_what_is_wrong_with_a_connection_is_said_without_the_password(
    made: str, change: Callable[[str], str], why: str
) -> None:
    url = change(made)
    refused = refusal(lambda: opened(url), JournalError)
    assert refused.code == "journal-unreachable"
    assert why in refused.message
    assert refused.place.startswith("postgresql://")


def test_without_the_library_it_says_what_to_install(tmp_path: Path) -> None:
    code = f"import sys; sys.modules['psycopg'] = None\n{LOOK}"
    environment = {**os.environ, "URL": "postgresql://u@127.0.0.1/d"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "a journal of kind postgresql needs more packages: psycopg is missing" in ran.stderr


def test_a_journal_without_a_url_says_so() -> None:
    settings = JournalSettings(kind="postgresql")
    assert refusal(lambda: make_journal(settings, clock=CLOCK)).code == "journal-url"
    assert refusal(lambda: open_journal(settings, clock=CLOCK, runner="r", operator="o")).code == "journal-url"


# Rights


def granted(server: PostgreSQL, url: str) -> str:
    """The URL of a role that may do what the page grants, and no more."""
    (block,) = re.findall(r"```sql grants\n(.*?)```", PAGE.read_text(), re.DOTALL)
    role = f"r{secrets.token_hex(6)}"
    statements = block.replace("keyturn_runner", role).replace("'PASSWORD'", "'let-me-in'").split(";")
    behind(url, *(statement for statement in statements if statement.strip()))
    return server.url(url.rpartition("/")[2], user=role, password="let-me-in")


def test_a_runner_needs_no_more_rights_than_the_page_grants(server: PostgreSQL, made: str) -> None:
    with closing(opened(granted(server, made))) as journal:
        lease = journal.acquire("a", "runner-1", ttl_s=30)
        journal.append("a", note(), lease=journal.renew(lease, ttl_s=30))
        assert journal.claim_subject("s", "a") == journal.claim_subject("s", "b") == "a"
        for _ in range(2):
            journal.seal(Sealed(secret="a", kind="answer", key="k", version_id="v", blob=b"sealed"))
        journal.unseal_forever("a", "answer", "k", lease=lease)
        journal.release(lease)
        assert journal.claim(["a", "b"], "runner-1", ttl_s=30)
        assert (journal.verify(), list(journal.heads()), journal.summaries()) == ([], ["a"], {})


@pytest.mark.parametrize(
    "change", ["UPDATE event SET type = 'x'", "DELETE FROM event", "TRUNCATE event", "DROP TABLE event"]
)
def test_a_runner_can_not_change_what_happened(server: PostgreSQL, made: str, change: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        behind(granted(server, made), change)


def test_a_role_with_too_few_rights_is_told_so(server: PostgreSQL, made: str) -> None:
    runner = granted(server, made)
    behind(made, f"REVOKE INSERT ON event FROM {runner.split('/')[2].split(':')[0]}")
    with closing(opened(runner)) as journal:
        lease = journal.acquire("a", "runner-1", ttl_s=30)
        refused = refusal(lambda: journal.append("a", note(), lease=lease))
    assert (refused.code, "table event" in refused.message) == ("journal-rights", True)


# Locks and sessions


def test_nobody_waits_for_a_claimer_that_was_stopped_in_the_middle(made: str) -> None:
    with closing(opened(made)) as journal, psycopg.connect(made) as stopped:
        journal.release(journal.acquire("first", "runner-1", ttl_s=30))
        stopped.execute("SELECT * FROM lease WHERE subject = 'first' FOR UPDATE")
        began = monotonic()
        claimed = journal.claim(["first", "second"], "runner-1", ttl_s=30)
        assert claimed
        assert claimed.subject == "second"
        with pytest.raises(LeaseHeld):
            journal.acquire("first", "runner-1", ttl_s=30)
        assert monotonic() - began < 2.0


def test_a_lock_that_lasts_too_long_is_unfinished_and_nothing_is_stored(made: str) -> None:
    with closing(opened(made, limits=QUICK)) as journal, psycopg.connect(made) as other:
        lease = journal.acquire("a", "runner-1", ttl_s=30)
        other.execute("SELECT * FROM lease FOR UPDATE")
        assert refusal(lambda: journal.append("a", note(), lease=lease), JournalError).code == "journal-busy"
        other.rollback()
        assert journal.append("a", note(), lease=lease)[0].seq == 1


def test_a_heartbeat_does_not_wait_for_a_slow_query(made: str) -> None:
    with closing(opened(made)) as journal, psycopg.connect(made) as other, ThreadPoolExecutor(1) as pool:
        lease = journal.acquire("a", "runner-1", ttl_s=30)
        other.execute("LOCK TABLE event IN ACCESS EXCLUSIVE MODE")
        slow = pool.submit(journal.events, "a")
        with pytest.raises(TimeoutError):
            slow.result(timeout=0.1)
        assert journal.renew(lease, ttl_s=60).expires_at > lease.expires_at
        assert not slow.done()
        other.rollback()
        assert slow.result(timeout=30) == []


def test_nothing_depends_on_the_state_of_a_session(made: str) -> None:
    with closing(opened(made)) as journal:
        lease = journal.acquire("a", "runner-1", ttl_s=30)
        for number in range(12):
            journal.append("a", note(n=number), lease=lease)
            journal.now()
            for connection in journal._pool._idle:
                assert connection.execute("SELECT * FROM pg_prepared_statements").fetchall() == []
                connection.execute("DISCARD ALL")  # what a pooler does between two clients
        assert len(journal.events("a")) == 12


def test_two_leases_on_one_secret_keep_its_chain_whole(made: str) -> None:
    with closing(opened(made)) as journal, ThreadPoolExecutor(4) as pool:
        leases = [journal.acquire(f"subject-{number}", "runner-1", ttl_s=30) for number in range(4)]

        def busy(number: int) -> int:
            stored = 0
            for turn in range(20):
                with suppress(JournalError):  # the very first event, by two at once: one of them is told to come again
                    stored += len(journal.append("a", note(n=turn), lease=leases[number]))
            return stored

        assert sum(pool.map(busy, range(4))) == len(journal.events("a")) >= 77
        assert journal.verify() == []


# Escrow and time


def test_the_escrow_keeps_values_in_it(made: str, tmp_path: Path) -> None:
    new_identity(tmp_path / "age.key")
    with closing(opened(made)) as journal:
        escrow = Escrow(journal, [(tmp_path / "age.key").read_text()], [], journal.now)
        escrow.seal_version("a", "v1", Bundle({"password": "canary"}))
        opened_again = escrow.open_version("a", "v1")
        assert opened_again
        assert opened_again.reveal() == {"password": "canary"}
        with psycopg.connect(made) as connection:
            assert b"canary" not in (connection.execute("SELECT blob FROM sealed").fetchone() or [b"canary"])[0]
        escrow.drop("a", "v1", lease=journal.acquire("a", "runner-1", ttl_s=30))
        assert escrow.listing() == []


def test_time_is_the_databases(server: PostgreSQL) -> None:
    url = driven(server)
    machine = FakeClock(START_S + 500)
    with DrivenClock(url) as clock:
        PostgresqlJournal.create(url, machine).close()
        with closing(PostgresqlJournal.open(url, clock=machine, runner="r", operator="o")) as journal:
            assert journal.now() == START_S
            clock.advance(90)
            machine.advance(REMEASURE_S)
            assert journal.now() == START_S + 90
            assert journal.acquire("a", "r", ttl_s=30).expires_at == START_S + 120


class Asked:
    """A database's clock; how often it was asked, and whether it answers."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.times, self.up, self.ahead = clock, 0, True, 100.0

    def __call__(self) -> float:
        self.times += 1
        if not self.up:
            raise JournalError("journal-unreachable", "down", hint="wait")
        return self.clock.now() + self.ahead


def test_the_databases_clock_is_asked_every_few_seconds_and_not_at_every_turn() -> None:
    clock = FakeClock()
    asked = Asked(clock)
    time = DatabaseTime(clock, asked)
    for _ in range(100):
        assert time.now() == clock.now() + 100
        clock.advance(0.125)
    assert asked.times <= 1 + 100 * 0.125 / REMEASURE_S


def test_a_clock_that_was_set_or_a_machine_that_slept_asks_anew() -> None:
    clock = FakeClock()
    asked = Asked(clock)
    time = DatabaseTime(clock, asked)
    time.now()
    clock.jump(3600)
    asked.ahead -= 3600
    assert time.now() == START_S + 100
    assert asked.times == 2


def test_a_database_that_is_away_does_not_stop_the_clock() -> None:
    clock = FakeClock()
    asked = Asked(clock)
    time = DatabaseTime(clock, asked)
    asked.up = False
    assert refusal(time.now, JournalError).code == "journal-unreachable"
    asked.up = True
    time.now()
    asked.up = False
    clock.advance(60)
    assert time.now() == START_S + 160


# What the server says


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("53100", "journal-full"),
        ("53300", "journal-unreachable"),
        ("40001", "journal-busy"),
        ("40P01", "journal-busy"),
        ("57014", "journal-busy"),
        ("42501", "journal-rights"),
        ("42P01", "journal-missing"),
        ("42703", "journal-foreign"),
        ("25006", "journal-replica"),
        ("58030", "journal-unwritable"),
        ("XX001", "journal-corrupt"),
        ("42601", None),
    ],
)
def test_what_the_server_says_becomes_one_fault_per_cause(state: str, code: str | None) -> None:
    fault = fault_of("place", psycopg.errors.lookup(state)())
    assert (fault.code if fault else None) == code


def test_an_unreadable_event_is_a_damaged_journal(made: str) -> None:
    with closing(opened(made)) as journal:
        journal.append("a", note(), lease=journal.acquire("a", "runner-1", ttl_s=30))
        behind(made, "UPDATE event SET data = '{'")
        assert refusal(lambda: journal.events("a"), StuckError).code == "journal-corrupt"


def test_opening_and_the_summaries_do_not_read_history(made: str) -> None:
    with closing(opened(made)) as journal:
        journal.append("a", note(), lease=journal.acquire("a", "runner-1", ttl_s=30))
    behind(made, "ALTER TABLE event RENAME TO hidden")
    with closing(opened(made)) as journal:
        assert journal.summaries() == {}
