"""What an operator would notice, measured: `python -m tests.bench`. Medians, beside a bare measure of the same run."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from keyturn.clock import SystemClock
from keyturn.engine.record import events as ev
from keyturn.engine.record.fold import fold
from keyturn.engine.record.state import SecretState
from keyturn.engine.record.summary import summarise
from keyturn.escrow import new_identity
from keyturn.files import private_folder
from keyturn.ids import uuid7
from keyturn.journal import JournalSettings, make_journal, open_journal
from keyturn.journal.store import Draft, Journal

CLOCK = SystemClock()
KEYTURN = [sys.executable, "-P", "-m", "keyturn"]
STARTS = 15
SECRETS = 1_000
APPENDS = 500
LEASE_S = 3_600.0
TESTS = Path(__file__).parents[1]


def timed_ms(do: Callable[[], object]) -> float:
    """How long it takes, milliseconds."""
    began = CLOCK.monotonic()
    do()
    return (CLOCK.monotonic() - began) * 1000


def started_ms(argv: list[str], folder: Path) -> float:
    """How long a process takes from start to end, milliseconds."""
    return timed_ms(lambda: subprocess.run(argv, cwd=folder, stdout=subprocess.DEVNULL, check=True))


def help_against_nothing(folder: Path) -> str:
    """`keyturn --help` over an interpreter that does nothing; in turns, so that both see the same machine."""
    pairs = [
        (started_ms([*KEYTURN, "--help"], folder), started_ms([sys.executable, "-c", "pass"], folder))
        for _ in range(STARTS)
    ]
    ours, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
    more = f"{ours - bare:+6.1f} ms, x{ours / bare:.2f}"
    return f"keyturn --help       {ours:6.1f} ms   python -c pass {bare:6.1f} ms   {more}"


def status_of_many(folder: Path) -> str:
    """`keyturn status` on an estate of many adopted secrets, whole process."""
    estate_of_many(folder)
    times = [started_ms([*KEYTURN, "status", "--json"], folder) for _ in range(3)]
    return f"keyturn status       {statistics.median(times):6.0f} ms for {SECRETS} secrets"


def estate_of_many(folder: Path) -> None:
    """A configuration and a journal of many adopted secrets at one vendor."""
    state = private_folder(folder / "state")
    new_identity(state / "age.key")
    names = [f"team-{number % 10}/secret-{number}" for number in range(SECRETS)]
    settings = JournalSettings(kind="sqlite", path=state / "journal.db")
    with closing(make_journal(settings, clock=CLOCK)) as journal:
        for name in names:
            adopt(journal, name)
    path = folder / "keyturn.yaml"
    path.write_text(yaml.safe_dump(configuration(names)))
    path.chmod(0o600)


def configuration(names: list[str]) -> dict[str, object]:
    """One account, one sink, and a policy for every secret."""
    login = {"username": "env:PAZ_USER", "password": "env:PAZ_PASSWORD"}
    return {
        "keyturn": 1,
        "journal": {"kind": "sqlite", "path": "state/journal.db"},
        "escrow": {"identities": ["file:state/age.key"]},
        "providers": {"paz": {"kind": "pingauthorize", "servers": ["https://paz.invalid:1443"], **login}},
        "sinks": {"files": {"kind": "file", "folder": "served"}},
        "secrets": {
            name: {
                "provider": "paz",
                "target": {"name_prefix": f"gw-{number}"},
                "rotate": {"every": "30d", "window": "Sun 02:00-04:00 Europe/Berlin", "jitter": "30m"},
                "sinks": [{"to": "files", "path": f"{name}.json"}],
            }
            for number, name in enumerate(names)
        },
    }


def adoption(number: int) -> ev.Adopted:
    """The event of an adoption, as large as a real one."""
    marks = {"shared_secret": f"{number:032x}"}
    version = uuid7(CLOCK.now(), os.urandom(10))
    return ev.Adopted(version=version, number=1, handle=f"kong-{number}", fingerprints=marks, how="from sink files")


def adopt(journal: Journal, name: str) -> None:
    """One adopted secret in the journal, with its summary row."""
    drafts = [ev.draft(adoption(1))]
    state = fold(name, ev.foretold(name, drafts, after=0, at=journal.now(), operator="bench"), SecretState(secret=name))
    lease = journal.acquire(name, "bench", ttl_s=LEASE_S)
    journal.append(name, drafts, lease=lease, summary=summarise(state))


def appends_against_bare_inserts(folder: Path) -> str:
    """Durable appends, chained and fenced, in turns with bare inserts of the same bytes into SQLite, FULL and WAL."""
    settings = JournalSettings(kind="sqlite", path=folder / "append.db")
    make_journal(settings, clock=CLOCK).close()
    drafts = [ev.draft(adoption(number)) for number in range(APPENDS)]
    with (
        closing(open_journal(settings, clock=CLOCK, runner="bench", operator="bench")) as journal,
        closing(bare_table(folder / "bare.db")) as bare,
    ):
        lease = journal.acquire("bench", "bench", ttl_s=LEASE_S)
        pairs = [
            (
                timed_ms(lambda one=draft: journal.append("bench", [one], lease=lease)),  # type: ignore[misc]
                timed_ms(lambda one=draft: insert(bare, one)),  # type: ignore[misc]
            )
            for draft in drafts
        ]
    ours_ms, bare_ms = (statistics.median(times) for times in zip(*pairs, strict=True))
    rates = f"{1000 / ours_ms:6.0f} /s   bare insert    {1000 / bare_ms:6.0f} /s"
    return f"journal append       {rates}   x{ours_ms / bare_ms:.2f} as long"


def bare_table(path: Path) -> sqlite3.Connection:
    """A table as durable as the journal, and nothing more."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE event (data TEXT)")
    return connection


def insert(connection: sqlite3.Connection, draft: Draft) -> None:
    """One insert, a transaction of its own."""
    connection.execute("INSERT INTO event VALUES (?)", (json.dumps(dict(draft.data)),))


def publish_into_three_sinks(folder: Path) -> str:
    """See `bench.publish`."""
    return elsewhere("publish", folder)


def gap_of_a_cut_over(folder: Path) -> str:
    """See `bench.gap`."""
    return elsewhere("gap", folder)


def elsewhere(measure: str, folder: Path) -> str:
    """A measure in a process whose path is that of the tests."""
    argv = [sys.executable, "-m", f"bench.{measure}", str(folder)]
    return subprocess.run(argv, cwd=TESTS, stdout=subprocess.PIPE, text=True, check=True).stdout


def measures() -> Iterator[str]:
    """All of them, each in a folder of its own."""
    ours = (help_against_nothing, status_of_many, appends_against_bare_inserts)
    for measure in (*ours, publish_into_three_sinks, gap_of_a_cut_over):
        with TemporaryDirectory(prefix="keyturn-bench-") as folder:
            yield measure(Path(folder))


if __name__ == "__main__":
    for line in measures():
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
