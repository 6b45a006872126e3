"""What every journal store promises, as one importable suite.

A store's test module inherits `JournalContract`, names its `settings` and how to reach behind its back:

    class TestSqliteJournal(JournalContract):
        @pytest.fixture
        def settings(self, tmp_path: Path) -> JournalSettings: ...

        def execute(self, settings: JournalSettings, statement: str) -> None: ...
"""
# ruff: noqa: D102, S106 - the names of the cases are the promises; secrets have names here, not values

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest

from keyturn.clock import Clock, SystemClock
from keyturn.errors import RefusedError
from keyturn.journal import JournalSettings, make_journal, open_journal
from keyturn.journal.store import (
    GENESIS,
    Draft,
    Event,
    Journal,
    Lease,
    LeaseHeld,
    LeaseLost,
    Sealed,
    Summary,
    chain_hash,
)
from keyturn.secret import Secret
from keyturn.testing.clock import FakeClock

NAME = "payments/entity"
SUBJECT = "vendor:app+live"
TTL_S = 30.0
PATIENCE_S = 30.0
ENVELOPE = b"age-encryption.org/v1\n\x00\xff"


def draft(kind: str = "noted", **data: Any) -> Draft:
    """An event worth nothing."""
    return Draft(type=kind, data=data)


def sealed(key: str = "v1", *, kind: str = "version", secret: str = NAME, blob: bytes = ENVELOPE) -> Sealed:
    """A row of the escrow."""
    return Sealed(secret=secret, kind=kind, key=key, version_id="v1", blob=blob, fields=("a", "b"))


def summary(status: str, **state: Any) -> Summary:
    """A summary row."""
    return Summary(secret=NAME, status=status, next_at=5.5, state=state)


@contextmanager
def writer(settings: JournalSettings, lease: Lease, *, runner: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that appends `count` events; it is dead when the block ends."""
    where = {"kind": settings.kind, "path": str(settings.path) if settings.path else None, "url": settings.url}
    order = {"settings": where, "secret": NAME, "runner": runner, "count": count, "lease": dataclasses.asdict(lease)}
    command = [sys.executable, "-m", "keyturn.testing.journal_writer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin
            process.stdin.write(json.dumps(order))
            process.stdin.close()
            process.stdin = None  # communicate would flush it again
            yield process
        finally:
            process.kill()


class JournalContract:
    """Inherit, override `settings` (a fixture) and `execute`."""

    @pytest.fixture
    def settings(self) -> JournalSettings:
        """A place where no journal is yet."""
        raise NotImplementedError

    def execute(self, settings: JournalSettings, statement: str) -> None:
        """Run one SQL statement behind the store's back, durably."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def journal(self, settings: JournalSettings, clock: FakeClock) -> Iterator[Journal]:
        make_journal(settings, clock=clock).close()
        with closing(self.reopen(settings, clock)) as journal:
            yield journal

    @pytest.fixture
    def lease(self, journal: Journal) -> Lease:
        return journal.acquire(SUBJECT, "runner-1", ttl_s=TTL_S)

    def reopen(self, settings: JournalSettings, clock: Clock, runner: str = "runner-1") -> Journal:
        """Another handle on the same journal."""
        return open_journal(settings, clock=clock, runner=runner, operator="alice")

    # Events

    def test_events_are_read_back_in_order_with_who_when_and_what(
        self, journal: Journal, lease: Lease, clock: FakeClock
    ) -> None:
        journal.append(NAME, [Draft(type="begun", data={"step": "issue"}, rotation_id="r1")], lease=lease)
        clock.advance(1.5)
        journal.append(NAME, [draft(), draft("ended")], lease=lease)
        events = journal.events(NAME)
        assert [(e.seq, e.type) for e in events] == [(1, "begun"), (2, "noted"), (3, "ended")]
        assert (events[0].rotation_id, events[0].runner, events[0].operator) == ("r1", "runner-1", "alice")
        assert events[1].at == events[0].at + 1.5
        assert journal.events(NAME, after=2) == events[2:]

    def test_append_answers_with_what_a_later_read_gives(self, journal: Journal, lease: Lease) -> None:
        stored = journal.append(NAME, [draft(pair=("a", "b"), depth={"x": [1, 2.5, None, True]})], lease=lease)
        assert stored == journal.events(NAME)

    def test_each_event_carries_the_hash_of_the_one_before(self, journal: Journal, lease: Lease) -> None:
        first, second = journal.append(NAME, [draft(), draft()], lease=lease)
        (third,) = journal.append(NAME, [draft()], lease=lease)
        assert (first.prev, second.prev, third.prev) == (GENESIS, first.hash, second.hash)
        assert len({first.hash, second.hash, third.hash}) == 3

    def test_each_secret_has_a_chain_of_its_own(self, journal: Journal, lease: Lease) -> None:
        journal.append("a", [draft()], lease=lease)
        (event,) = journal.append("b", [draft()], lease=lease)
        assert (event.seq, event.prev) == (1, GENESIS)

    def test_data_that_this_version_does_not_know_survives(
        self, journal: Journal, lease: Lease, settings: JournalSettings, clock: FakeClock
    ) -> None:
        data = {"from_the_future": {"nested": ["ü\u2028", 0.1, -1, None]}, "": "empty key"}
        journal.append(NAME, [Draft(type="unheard-of", data=data)], lease=lease)
        with closing(self.reopen(settings, clock)) as again:
            assert again.events(NAME)[0].data == data
            assert again.verify() == []

    def test_a_secret_value_can_not_be_stored(self, journal: Journal, lease: Lease) -> None:
        with pytest.raises(TypeError):
            journal.append(NAME, [draft(), draft(value=Secret("canary"))], lease=lease)
        assert journal.events(NAME) == []

    def test_summary_and_events_are_stored_together(self, journal: Journal, lease: Lease) -> None:
        journal.append(NAME, [draft()], lease=lease, summary=summary("holding", until="x"))
        journal.append(NAME, [draft()], lease=lease)
        assert journal.summaries() == {NAME: summary("holding", until="x")}
        journal.append(NAME, [], lease=lease, summary=summary("idle"))
        assert journal.summaries() == {NAME: summary("idle")}

    def test_an_append_that_fails_leaves_neither_events_nor_summary(self, journal: Journal, lease: Lease) -> None:
        journal.append(NAME, [draft()], lease=lease, summary=summary("idle"))
        before = (journal.events(NAME), journal.summaries(), journal.heads())
        with pytest.raises(TypeError):
            journal.append(NAME, [draft()], lease=lease, summary=summary("holding", odd=object()))
        assert (journal.events(NAME), journal.summaries(), journal.heads()) == before

    def test_a_journal_keeps_its_id(self, journal: Journal, settings: JournalSettings, clock: FakeClock) -> None:
        with closing(self.reopen(settings, clock)) as again:
            assert again.id == journal.id != ""

    def test_a_clock_that_lies_far_before_the_newest_event_is_refused(
        self, journal: Journal, lease: Lease, clock: FakeClock
    ) -> None:
        journal.append(NAME, [draft()], lease=lease)
        clock.jump(-119)
        journal.append(NAME, [draft()], lease=lease)
        clock.jump(-2)
        for write in (
            lambda: journal.append(NAME, [draft()], lease=lease),
            lambda: journal.acquire("another", "runner-1", ttl_s=TTL_S),
        ):
            with pytest.raises(RefusedError) as caught:
                write()
            assert caught.value.code == "clock-backwards"
        journal.seal(sealed())

    # Verify

    def test_a_whole_chain_verifies(self, journal: Journal, lease: Lease) -> None:
        journal.append(NAME, [draft(n=n) for n in range(5)], lease=lease)
        assert journal.verify() == []
        assert journal.verify(journal.heads()) == []

    @pytest.mark.parametrize(
        "change",
        [
            "data = '{\"n\":7}'",
            "data = 'no json'",
            "type = 'x'",
            "at = at + 1",
            "operator = 'mallory'",
            "runner = ''",
            "rotation_id = 'r'",
            "prev = hash",
        ],
    )
    def test_verify_names_the_first_event_that_was_changed(
        self, journal: Journal, lease: Lease, settings: JournalSettings, change: str
    ) -> None:
        journal.append("other", [draft()], lease=lease)
        journal.append(NAME, [draft(n=n) for n in range(5)], lease=lease)
        self.execute(settings, f"UPDATE event SET {change} WHERE secret = '{NAME}' AND seq >= 3")  # noqa: S608 - constants
        assert [(b.secret, b.seq) for b in journal.verify()] == [(NAME, 3)]

    def test_verify_names_the_follower_of_an_event_that_was_changed_with_its_hash(
        self, journal: Journal, lease: Lease, settings: JournalSettings
    ) -> None:
        stored = journal.append(NAME, [draft(n=n) for n in range(4)], lease=lease)
        columns = {name: value for name, value in vars(stored[1]).items() if name != "hash"}
        forged = chain_hash(**{**columns, "data": {"n": 9}})
        where = f"WHERE secret = '{NAME}' AND seq = 2"
        self.execute(settings, f"UPDATE event SET data = '{{\"n\":9}}', hash = '{forged}' {where}")  # noqa: S608 - constants
        assert [(b.secret, b.seq) for b in journal.verify()] == [(NAME, 3)]

    @pytest.mark.parametrize("seq", [1, 3, 5])
    def test_verify_names_an_event_that_was_removed(
        self, journal: Journal, lease: Lease, settings: JournalSettings, seq: int
    ) -> None:
        journal.append(NAME, [draft() for _ in range(5)], lease=lease)
        self.execute(settings, f"DELETE FROM event WHERE secret = '{NAME}' AND seq = {seq}")  # noqa: S608 - constants
        assert [(b.secret, b.seq) for b in journal.verify()] == [(NAME, seq)]

    def test_heads_kept_elsewhere_show_a_chain_that_was_cut_off(
        self, journal: Journal, lease: Lease, settings: JournalSettings
    ) -> None:
        stored = journal.append(NAME, [draft() for _ in range(5)], lease=lease)
        kept = journal.heads()
        self._cut(settings, stored[2])
        assert journal.verify() == []
        assert [(b.secret, b.seq) for b in journal.verify(kept)] == [(NAME, 4)]

    def test_heads_kept_elsewhere_show_a_chain_that_was_written_anew(
        self, journal: Journal, lease: Lease, settings: JournalSettings
    ) -> None:
        stored = journal.append(NAME, [draft(n=n) for n in range(3)], lease=lease)
        kept = journal.heads()
        self._cut(settings, stored[1])
        journal.append(NAME, [draft(n="another"), draft()], lease=lease)
        assert journal.verify() == []
        assert [(b.secret, b.seq) for b in journal.verify(kept)] == [(NAME, 3)]

    def test_heads_kept_elsewhere_show_a_secret_that_vanished(self, journal: Journal) -> None:
        assert [(b.secret, b.seq) for b in journal.verify({"gone": (2, "f" * 64)})] == [("gone", 1)]

    def test_older_heads_still_verify_after_the_chain_has_grown(self, journal: Journal, lease: Lease) -> None:
        journal.append(NAME, [draft()], lease=lease)
        kept = journal.heads()
        journal.append(NAME, [draft()], lease=lease)
        assert journal.verify(kept) == []

    def _cut(self, settings: JournalSettings, last: Event) -> None:
        where = f"WHERE secret = '{NAME}'"
        self.execute(settings, f"DELETE FROM event {where} AND seq > {last.seq}")  # noqa: S608 - constants
        self.execute(settings, f"UPDATE head SET seq = {last.seq}, hash = '{last.hash}' {where}")  # noqa: S608 - constants

    # Leases

    def test_a_held_subject_is_refused_and_says_who_holds_it(self, journal: Journal, lease: Lease) -> None:
        with pytest.raises(LeaseHeld) as caught:
            journal.acquire(SUBJECT, "runner-2", ttl_s=TTL_S)
        assert caught.value.lease == lease
        assert journal.acquire("another", "runner-2", ttl_s=TTL_S).subject == "another"

    def test_an_expired_lease_can_not_write_even_when_nobody_took_it(
        self, journal: Journal, lease: Lease, clock: FakeClock
    ) -> None:
        clock.advance(TTL_S)
        with pytest.raises(LeaseLost):
            journal.append(NAME, [draft()], lease=lease, summary=summary("idle"))
        assert (journal.events(NAME), journal.summaries()) == ([], {})

    def test_a_takeover_raises_the_fence_and_shuts_the_old_holder_out(
        self, journal: Journal, lease: Lease, clock: FakeClock
    ) -> None:
        clock.advance(TTL_S)
        taken = journal.acquire(SUBJECT, "runner-2", ttl_s=TTL_S)
        assert taken.fence > lease.fence
        with pytest.raises(LeaseLost):
            journal.append(NAME, [draft()], lease=lease)
        with pytest.raises(LeaseLost):
            journal.renew(lease, ttl_s=TTL_S)
        assert journal.append(NAME, [draft()], lease=taken)

    def test_a_renewed_lease_lives_longer(self, journal: Journal, lease: Lease, clock: FakeClock) -> None:
        clock.advance(TTL_S - 1)
        renewed = journal.renew(lease, ttl_s=TTL_S)
        clock.advance(TTL_S - 1)
        assert renewed.expires_at == clock.now() + 1
        assert journal.append(NAME, [draft()], lease=renewed)

    def test_an_expired_lease_can_not_be_renewed(self, journal: Journal, lease: Lease, clock: FakeClock) -> None:
        clock.advance(TTL_S)
        with pytest.raises(LeaseLost):
            journal.renew(lease, ttl_s=TTL_S)

    def test_a_released_lease_is_free_at_once_and_writes_no_more(self, journal: Journal, lease: Lease) -> None:
        journal.release(lease)
        with pytest.raises(LeaseLost):
            journal.append(NAME, [draft()], lease=lease)
        assert journal.acquire(SUBJECT, "runner-2", ttl_s=TTL_S).fence > lease.fence

    def test_releasing_a_lost_lease_does_not_touch_the_new_holder(
        self, journal: Journal, lease: Lease, clock: FakeClock
    ) -> None:
        clock.advance(TTL_S)
        taken = journal.acquire(SUBJECT, "runner-2", ttl_s=TTL_S)
        journal.release(lease)
        assert journal.append(NAME, [draft()], lease=taken)

    def test_a_dead_holders_lease_can_be_buried_and_then_taken(self, journal: Journal, lease: Lease) -> None:
        journal.bury(lease)
        with pytest.raises(LeaseLost):
            journal.append(NAME, [draft()], lease=lease)
        assert journal.acquire(SUBJECT, "runner-2", ttl_s=TTL_S).fence > lease.fence

    def test_burying_does_not_touch_a_lease_that_was_renewed_or_taken_over(
        self, journal: Journal, lease: Lease, clock: FakeClock
    ) -> None:
        clock.advance(1)
        renewed = journal.renew(lease, ttl_s=TTL_S)
        journal.bury(lease)
        assert journal.append(NAME, [draft()], lease=renewed)
        clock.advance(TTL_S)
        taken = journal.acquire(SUBJECT, "runner-2", ttl_s=TTL_S)
        journal.bury(renewed)
        assert journal.append(NAME, [draft()], lease=taken)

    def test_of_many_that_race_for_a_lease_one_wins(
        self, journal: Journal, settings: JournalSettings, clock: FakeClock
    ) -> None:
        start = threading.Barrier(4)

        def race(number: int) -> Lease | None:
            with closing(self.reopen(settings, clock)) as mine:
                start.wait(PATIENCE_S)
                try:
                    return mine.acquire("raced", f"runner-{number}", ttl_s=TTL_S)
                except LeaseHeld:
                    return None

        with ThreadPoolExecutor(4) as pool:
            won = [lease for lease in pool.map(race, range(4)) if lease]
        assert [lease.fence for lease in won] == [1]
        assert journal.append(NAME, [draft()], lease=won[0])

    # Claims

    def test_a_claim_takes_the_first_that_nobody_holds_and_none_when_all_are_held(
        self, journal: Journal, lease: Lease, clock: FakeClock
    ) -> None:
        names = [SUBJECT, "second", "third"]
        claimed = [journal.claim(names, "runner-2", ttl_s=TTL_S) for _ in range(3)]
        assert [one.subject if one else None for one in claimed] == ["second", "third", None]
        clock.advance(TTL_S)
        again = journal.claim(names, "runner-3", ttl_s=TTL_S)
        assert again
        assert (again.subject, again.runner, again.fence) == (SUBJECT, "runner-3", lease.fence + 1)
        assert journal.append(NAME, [draft()], lease=again)

    def test_of_many_that_claim_at_once_each_gets_another_one(
        self, journal: Journal, settings: JournalSettings, clock: FakeClock
    ) -> None:
        names = [f"secret-{n}" for n in range(12)]
        start = threading.Barrier(4)

        def claims(number: int) -> list[str]:
            with closing(self.reopen(settings, clock)) as mine:
                start.wait(PATIENCE_S)
                found = [mine.claim(names, f"runner-{number}", ttl_s=TTL_S) for _ in range(3)]
            return [lease.subject for lease in found if lease]

        with ThreadPoolExecutor(4) as pool:
            taken = [subject for subjects in pool.map(claims, range(4)) for subject in subjects]
        assert sorted(taken) == sorted(names)
        assert journal.claim(names, "late", ttl_s=TTL_S) is None

    def test_a_subject_stays_with_the_first_secret_that_claimed_it(self, journal: Journal) -> None:
        assert journal.claim_subject(SUBJECT, "a") == "a"
        assert journal.claim_subject(SUBJECT, "b") == "a"
        assert journal.claim_subject("another", "b") == "b"

    # Escrow

    def test_what_is_sealed_is_kept_oldest_first(self, journal: Journal, clock: FakeClock) -> None:
        for key in ("v2", "v1"):
            journal.seal(sealed(key))
            clock.advance(1)
        journal.seal(sealed("t1", kind="answer", secret="b"))
        assert [(s.secret, s.kind, s.key) for s in journal.sealed()] == [
            (NAME, "version", "v2"),
            (NAME, "version", "v1"),
            ("b", "answer", "t1"),
        ]
        assert [s.key for s in journal.sealed("b")] == ["t1"]
        assert (journal.sealed("b")[0].blob, journal.sealed("b")[0].fields) == (ENVELOPE, ("a", "b"))
        assert "age" not in repr(journal.sealed("b"))

    def test_sealing_again_replaces(self, journal: Journal) -> None:
        journal.seal(sealed(blob=b"one"))
        journal.seal(sealed(blob=b"two"))
        assert [s.blob for s in journal.sealed()] == [b"two"]

    def test_sealing_needs_no_lease_and_waits_for_no_fence(
        self, journal: Journal, lease: Lease, clock: FakeClock, settings: JournalSettings
    ) -> None:
        clock.advance(TTL_S)
        with closing(self.reopen(settings, clock, "runner-2")) as other:
            other.acquire(SUBJECT, "runner-2", ttl_s=TTL_S)
            journal.seal(sealed())
            assert [s.key for s in other.sealed(NAME)] == ["v1"]
        with pytest.raises(LeaseLost):
            journal.unseal_forever(NAME, "version", "v1", lease=lease)
        assert journal.sealed()

    def test_what_is_unsealed_is_gone_and_the_rest_stays(self, journal: Journal, lease: Lease) -> None:
        journal.seal(sealed("v1"))
        journal.seal(sealed("v1", kind="answer"))
        for _ in ("once", "again"):
            journal.unseal_forever(NAME, "version", "v1", lease=lease)
        assert [s.kind for s in journal.sealed()] == ["answer"]

    # Many at once, and sudden death

    def test_threads_of_one_process_append_and_seal_side_by_side(self, journal: Journal, lease: Lease) -> None:
        def busy(number: int) -> None:
            for turn in range(10):
                journal.append(NAME, [draft(n=number)], lease=lease)
                journal.seal(sealed(f"{number}-{turn}"))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(busy, range(4)))
        assert [e.seq for e in journal.events(NAME)] == list(range(1, 41))
        assert len(journal.sealed()) == 40
        assert journal.verify() == []

    def test_two_processes_that_append_at_once_keep_the_chain_whole(self, settings: JournalSettings) -> None:
        with closing(make_journal(settings, clock=SystemClock())) as journal:
            lease = journal.acquire(SUBJECT, "runner-1", ttl_s=PATIENCE_S)
            with (
                writer(settings, lease, runner="one", count=25) as one,
                writer(settings, lease, runner="two", count=25) as two,
            ):
                said = [process.communicate(timeout=PATIENCE_S)[0].split() for process in (one, two)]
                assert (one.returncode, two.returncode) == (0, 0)
            assert sorted(int(seq) for seqs in said for seq in seqs) == list(range(1, 51))
            assert {e.runner for e in journal.events(NAME)} == {"one", "two"}
            assert journal.verify() == []

    @pytest.mark.parametrize("after", [1, 7, 20])
    def test_a_writer_that_is_killed_leaves_a_whole_chain(self, settings: JournalSettings, after: int) -> None:
        with closing(make_journal(settings, clock=SystemClock())) as journal:
            lease = journal.acquire(SUBJECT, "runner-1", ttl_s=PATIENCE_S)
            with writer(settings, lease, runner="doomed", count=1_000_000) as process:
                assert process.stdout
                said = [process.stdout.readline() for _ in range(after)]
                process.kill()
                said += process.stdout.readlines()
            acknowledged = len([line for line in said if line.endswith("\n")])
            assert acknowledged <= len(journal.events(NAME)) <= acknowledged + 1
            assert journal.verify() == []
            assert journal.append(NAME, [draft()], lease=lease)
