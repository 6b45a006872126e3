"""Misbehaviour on demand: calls that are lost, late, refused or hang, far sides that survive, processes that die."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NoReturn, TypeVar

from keyturn.clock import Clock
from keyturn.errors import Doubt, NotSent, PluginError, Refused
from keyturn.journal.store import Broken, Draft, Event, Journal, Lease, Sealed, Summary

T = TypeVar("T")


class Crash(BaseException):
    """The process died here. Not an Exception, so that no handler on the way takes it for an error."""


class Lands(StrEnum):
    """When a call that misbehaves takes effect at the far side."""

    NEVER = "never"
    NOW = "now"
    LATER = "later"


@dataclass(frozen=True)
class Kind:
    """One kind of fault: when the effect lands, how the call ends, whether it outlives its deadline first."""

    lands: Lands
    ends: type[BaseException] | None
    hangs: bool = False


KINDS: Mapping[str, Kind] = {
    "unavailable": Kind(Lands.NEVER, NotSent),
    "refused": Kind(Lands.NEVER, Refused),
    "before": Kind(Lands.NEVER, Doubt),
    "after": Kind(Lands.NOW, Doubt),
    "late": Kind(Lands.LATER, Doubt),
    "refused-after": Kind(Lands.NOW, Doubt),
    "hang": Kind(Lands.NEVER, Doubt, hangs=True),
    "hang-after": Kind(Lands.NOW, Doubt, hangs=True),
    "crash-before": Kind(Lands.NEVER, Crash),
    "crash-after": Kind(Lands.NOW, Crash),
    "meddled": Kind(Lands.NOW, None),
}
"""Every fault by name. `late` is written `late:SECONDS`; `meddled`: somebody else writes just before this call."""


@dataclass(frozen=True)
class Fault:
    """A fault as planned for one call."""

    name: str
    late_s: float = 0.0

    @property
    def kind(self) -> Kind:
        """What it does."""
        return KINDS[self.name]


class Faults:
    """Which coming calls misbehave, by verb: `faults.add("issue", "after")` hits the next issue call at the far side.

    One provider verb may make several calls; `nth` picks among them, `times` hits that many in a row.
    """

    def __init__(self) -> None:
        self._planned: dict[str, deque[Fault | None]] = {}
        self._lock = threading.Lock()

    def add(self, verb: str, fault: str, *, nth: int = 1, times: int = 1) -> None:
        """Plan a fault. Raises ValueError where there is no such kind."""
        name, _, seconds = fault.partition(":")
        if name not in KINDS or (name == "late") != bool(seconds):
            message = f"expected one of {', '.join(KINDS)} (late with :SECONDS)"
            raise ValueError(message)
        one = Fault(name, float(seconds or 0))
        with self._lock:
            self._planned[verb] = deque([None] * (nth - 1) + [one] * times)

    def take(self, verb: str) -> Fault | None:
        """The fault that hits this call, if any."""
        with self._lock:
            planned = self._planned.get(verb)
            fault = planned.popleft() if planned else None
            if fault and fault.name == "refused-after":
                self._planned[verb] = deque([Fault("refused")])
            return fault

    def clear(self) -> None:
        """Everything behaves from now on."""
        with self._lock:
            self._planned.clear()


@dataclass(order=True)
class _Late:
    at: float
    apply: Callable[[float], object] = field(compare=False)


def _nothing() -> None:
    pass


class Wire:
    """The line to a far side that keeps state: it delivers calls, and loses, delays or refuses them when told."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.faults = Faults()
        self.lock = threading.RLock()
        self._late: list[_Late] = []

    def tick(self) -> None:
        """Let late calls land whose time has come; what the far side refuses late nobody hears of."""
        with self.lock:
            now = self.clock.now()
            due = sorted(late for late in self._late if late.at <= now)
            self._late = [late for late in self._late if late.at > now]
            for late in due:
                _unheard(late.apply, late.at)

    def send(
        self, verb: str, deadline_at: float, apply: Callable[[float], T], *, meddle: Callable[[], None] = _nothing
    ) -> T:
        """Deliver a call that changes something. `apply` gets the time (epoch s) at which it lands."""
        with self.lock:
            self.tick()
            if self.clock.now() > deadline_at:
                raise NotSent(f"{verb}: the deadline is over", code="too-late")
            fault = self.faults.take(verb)
            if fault and fault.kind.ends is None:
                meddle()
            if not fault or fault.kind.ends is None:
                return apply(self.clock.now())
            self._land(fault, apply)
        raise self._end(verb, fault, deadline_at)

    def look(self, verb: str, deadline_at: float, read: Callable[[], T]) -> T:
        """Deliver a call that changes nothing: whatever goes wrong is NotSent, Refused or a crash."""
        fault = self.faults.take(verb)
        if fault and fault.kind.ends:
            raise self._end(verb, fault, deadline_at, in_doubt=NotSent)
        with self.lock:
            self.tick()
            return read()

    def _land(self, fault: Fault, apply: Callable[[float], object]) -> None:
        if fault.kind.lands is Lands.NOW:
            _unheard(apply, self.clock.now())
        if fault.kind.lands is Lands.LATER:
            self._late.append(_Late(self.clock.now() + fault.late_s, apply))

    def _end(
        self, verb: str, fault: Fault, deadline_at: float, *, in_doubt: type[PluginError] = Doubt
    ) -> BaseException:
        if fault.kind.hangs:
            self.clock.wait(max(0.0, deadline_at - self.clock.now()) + 1.0)
        ends = in_doubt if fault.kind.ends is Doubt else fault.kind.ends
        assert ends is not None
        return ends(f"{verb}: {fault.name}")


def _unheard(apply: Callable[[float], object], at: float) -> None:
    try:
        apply(at)
    except PluginError:
        return


class CrashingJournal:
    """A journal under which the process dies at the `at`-th write (append and seal both count, from 1).

    `when`: before the write, or after it is durable. With `kill` the own process gets SIGKILL instead of `Crash`.
    """

    def __init__(
        self, journal: Journal, at: int, when: Literal["before", "after"] = "after", *, kill: bool = False
    ) -> None:
        self.journal = journal
        self.at = at
        self.when = when
        self.kill = kill
        self.writes = 0
        self.dead = False

    def _write(self, write: Callable[[], T]) -> T:
        if self.dead:
            raise Crash("this process is dead")
        self.writes += 1
        if self.writes == self.at and self.when == "before":
            self._die()
        written = write()
        if self.writes == self.at:
            self._die()
        return written

    def _die(self) -> NoReturn:
        if self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        self.dead = True
        raise Crash(f"{self.when} journal write {self.at}")

    def append(
        self, secret: str, drafts: Sequence[Draft], *, lease: Lease, summary: Summary | None = None
    ) -> list[Event]:
        """See `Journal.append`; counted."""
        return self._write(lambda: self.journal.append(secret, drafts, lease=lease, summary=summary))

    def seal(self, sealed: Sealed) -> None:
        """See `Journal.seal`; counted."""
        self._write(lambda: self.journal.seal(sealed))

    @property
    def id(self) -> str:
        """See `Journal.id`."""
        return self.journal.id

    def now(self) -> float:
        """See `Journal.now`."""
        return self.journal.now()

    def events(self, secret: str, *, after: int = 0) -> list[Event]:
        """See `Journal.events`."""
        return self.journal.events(secret, after=after)

    def summaries(self) -> dict[str, Summary]:
        """See `Journal.summaries`."""
        return self.journal.summaries()

    def heads(self) -> dict[str, tuple[int, str]]:
        """See `Journal.heads`."""
        return self.journal.heads()

    def verify(self, heads: Mapping[str, tuple[int, str]] | None = None) -> list[Broken]:
        """See `Journal.verify`."""
        return self.journal.verify(heads)

    def acquire(self, subject: str, runner: str, *, ttl_s: float) -> Lease:
        """See `Journal.acquire`."""
        return self.journal.acquire(subject, runner, ttl_s=ttl_s)

    def claim(self, subjects: Sequence[str], runner: str, *, ttl_s: float) -> Lease | None:
        """See `Journal.claim`."""
        return self.journal.claim(subjects, runner, ttl_s=ttl_s)

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """See `Journal.renew`."""
        return self.journal.renew(lease, ttl_s=ttl_s)

    def release(self, lease: Lease) -> None:
        """See `Journal.release`. A dead process gives nothing back."""
        if not self.dead:
            self.journal.release(lease)

    def bury(self, lease: Lease) -> None:
        """See `Journal.bury`."""
        self.journal.bury(lease)

    def claim_subject(self, subject: str, secret: str) -> str:
        """See `Journal.claim_subject`."""
        return self.journal.claim_subject(subject, secret)

    def sealed(self, secret: str | None = None) -> list[Sealed]:
        """See `Journal.sealed`."""
        return self.journal.sealed(secret)

    def unseal_forever(self, secret: str, kind: str, key: str, *, lease: Lease) -> None:
        """See `Journal.unseal_forever`."""
        self.journal.unseal_forever(secret, kind, key, lease=lease)

    def close(self) -> None:
        """See `Journal.close`."""
        self.journal.close()
