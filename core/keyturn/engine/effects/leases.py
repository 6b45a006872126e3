"""Holding a subject: take the lease, keep it alive while a call runs, give it back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from keyturn.engine.bench import Bench
from keyturn.engine.effects.runner import is_dead
from keyturn.errors import HeldElsewhereError, KeyturnError
from keyturn.journal.store import Lease, LeaseHeld, LeaseLost


class Held:
    """A lease that renews itself from a thread, and by `keep` from the loop."""

    def __init__(self, bench: Bench, lease: Lease) -> None:
        self._bench = bench
        self._lock = threading.Lock()
        self._lease = lease
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="lease")
        self._thread.start()

    @property
    def lease(self) -> Lease:
        """The lease as last renewed."""
        with self._lock:
            return self._lease

    def keep(self) -> None:
        """Renew when a third of its life is over. Raises LeaseLost."""
        self.renew(spent=1 / 3)

    def renew(self, *, spent: float = 0.0) -> None:
        """Renew when this share of its life is over. Raises LeaseLost."""
        ttl_s = self._bench.limits.lease_s
        with self._lock:
            if self._lease.expires_at - self._bench.journal.now() <= ttl_s * (1 - spent):
                self._lease = self._bench.journal.renew(self._lease, ttl_s=ttl_s)

    def stop(self) -> None:
        """Stop renewing."""
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self._bench.limits.lease_s / 6):
            try:
                self.keep()
            except LeaseLost:
                return
            except KeyturnError:
                # The journal stumbled; the lease may still be saved by the next beat. What is worse than a stumble the
                # loop meets as well, and it can say so.
                continue


@contextmanager
def holding(bench: Bench, secret: str, *, lease: Lease | None = None, wait_s: float = 0.0) -> Iterator[Held]:
    """Hold a secret, and with it its subject, which the journal binds to one secret for good (ADR 0006).

    With `lease`, one that was claimed already. Raises HeldElsewhereError after `wait_s` seconds of trying, or when the
    lease was lost on the way.
    """
    held = Held(bench, lease or _acquire(bench, secret, bench.clock.monotonic() + wait_s))
    try:
        yield held
    except LeaseLost as lost:
        raise HeldElsewhereError(
            "lease-lost",
            "this runner lost its lease: it was stopped for too long, and another one may be at work",
            hint="nothing to undo: run the command again",
            place=secret,
        ) from lost
    finally:
        held.stop()
        with suppress(KeyturnError):
            # What was done is done: a lease that can not be given back ends by itself.
            bench.journal.release(held.lease)


def _acquire(bench: Bench, secret: str, until: float) -> Lease:
    while True:
        try:
            return bench.journal.acquire(secret, bench.runner, ttl_s=bench.limits.lease_s)
        except LeaseHeld as held:
            if is_dead(held.lease.runner):
                bench.journal.bury(held.lease)
            elif bench.clock.monotonic() >= until or bench.clock.wait(0.1):
                raise _held(bench, held.lease) from held


def _held(bench: Bench, lease: Lease) -> HeldElsewhereError:
    left_s = max(0.0, lease.expires_at - bench.journal.now())
    return HeldElsewhereError(
        "held-elsewhere",
        f"another runner works on this secret ({lease.runner}, its lease ends in {left_s:.0f} s unless renewed)",
        hint="wait for it, or look with: keyturn status",
        place=lease.subject,
        fields={"runner": lease.runner},
    )
