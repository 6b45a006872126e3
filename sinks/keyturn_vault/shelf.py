"""One path of the KV engine and its twin in the pending tree: what is there, and the requests that change it.

MOUNT/data/PATH                 what consumers read; each promote writes one version, by check-and-set
MOUNT/metadata/PATH             its custom metadata holds the ledger: which content is which version
MOUNT/data/PENDING/PATH         the pending version, with its value
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from keyturn.api import Bundle, NotSent
from keyturn_vault.answers import Reply
from keyturn_vault.client import Vault
from keyturn_vault.engine import Settings
from keyturn_vault.options import Account
from keyturn_vault.records import (
    Entry,
    Fingerprint,
    Pending,
    Stored,
    envelope_of,
    ledger_from,
)

T = TypeVar("T")

AT_ONCE_MAX = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Front:
    """What one round trip tells of a path: everything but its values, and the pending version.

    `latest` is the number that check-and-set compares with, 0 on a path without versions; `numbers` are the versions
    that were not destroyed, newest first.
    """

    latest: int
    numbers: tuple[int, ...]
    ledger: Mapping[str, Entry]
    pending: Pending | None
    pending_latest: int
    settings: Settings = field(default_factory=Settings)
    at: float | None = None

    @property
    def destroyed(self) -> bool:
        """Whether the newest version was destroyed: nothing is served, for good."""
        return self.latest > 0 and self.latest not in self.numbers

    def names(self, version_id: str) -> bool:
        """Whether the ledger knows this version."""
        return any(entry.version_id == version_id for entry in self.ledger.values())


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """A path with its values. `older` are readable versions before the newest, newest first; `whole`: all of them."""

    front: Front
    current: Stored | None
    older: tuple[Stored, ...]
    whole: bool

    @property
    def soft_deleted(self) -> bool:
        """Whether somebody deleted the newest version so that it can be had again (contract 2.3)."""
        return self.current is None and self.front.latest > 0 and not self.front.destroyed

    @property
    def versions(self) -> tuple[Stored, ...]:
        """All readable versions, newest first."""
        return (self.current, *self.older) if self.current else self.older

    @property
    def everything(self) -> tuple[Stored | Pending, ...]:
        """All readable versions, and the pending one."""
        return (*self.versions, self.front.pending) if self.front.pending else self.versions

    def of(self, version_id: str) -> Stored | None:
        """The newest copy of this version."""
        return next((stored for stored in self.versions if stored.version_id == version_id), None)


class Shelf:
    """The requests for one path, until one deadline."""

    def __init__(
        self, vault: Vault, account: Account, path: str, *, fingerprint: Fingerprint, deadline_at: float
    ) -> None:
        self._vault, self._fingerprint, self._deadline_at = vault, fingerprint, deadline_at
        self._mount, self._path = account.mount, path
        self._pending = f"{account.pending}/{path}"

    # looking

    def front(self) -> Front:
        """The path without its values, and the pending version. One round trip."""
        metadata, pending = side_by_side(
            [
                partial(self._read, self._at("metadata", self._path)),
                partial(self._read, self._at("data", self._pending)),
            ]
        )
        versions: Mapping[str, Any] = metadata.data.get("versions") or {}
        alive = sorted((int(number) for number, one in versions.items() if not one.get("destroyed")), reverse=True)
        return Front(
            latest=int(metadata.data.get("current_version") or 0),
            numbers=tuple(alive),
            ledger=ledger_from(metadata.data.get("custom_metadata")),
            pending=self._understood(lambda: Pending.of(pending.data, self._fingerprint)) if pending.found else None,
            pending_latest=int((pending.data.get("metadata") or {}).get("version") or 0),
            settings=Settings.of(metadata.data),
            at=metadata.at,
        )

    def look(self, older_max: int) -> Look:
        """The path with its values, `older_max` earlier ones at most. Two round trips."""
        return self.opened(self.front(), older_max)

    def opened(self, front: Front, older_max: int) -> Look:
        """The values of what `front` saw. One round trip."""
        wanted = front.numbers[: older_max + 1]
        replies = side_by_side([partial(self._version, number) for number in wanted])
        found = [self._stored(reply, front.ledger) for reply in replies if reply.found]
        current = next((stored for stored in found if stored.revision == front.latest), None)
        older = tuple(stored for stored in found if stored is not current)
        return Look(front=front, current=current, older=older, whole=len(wanted) == len(front.numbers))

    def newest(self) -> Stored | None:
        """What consumers read. One round trip."""
        reply = self._read(self._at("data", self._path))
        if not reply.found:
            return None
        ledger = ledger_from((reply.data.get("metadata") or {}).get("custom_metadata"))
        return self._stored(reply, ledger)

    def is_folder(self) -> bool:
        """Whether there are paths below this one. False where that may not be asked."""
        path = self._at("metadata", self._path)
        return self._vault.read(path, deadline_at=self._deadline_at, params={"list": "true"}, or_denied=True).found

    # changing

    def write(self, bundle: Bundle, cas: int) -> None:
        """Let consumers read this, if version `cas` is the newest now. Raises Conflict `place-moved`, Doubt."""
        self._post(self._at("data", self._path), {"options": {"cas": cas}, "data": bundle.reveal()})

    def keep_pending(self, entry: Entry, bundle: Bundle, cas: int) -> None:
        """Write the pending version. Raises Conflict where another was written meanwhile."""
        self._post(self._at("data", self._pending), {"options": {"cas": cas}, "data": envelope_of(entry, bundle)})

    def drop_pending(self) -> None:
        """Remove the pending version with all that is kept of it."""
        self._vault.write("DELETE", self._at("metadata", self._pending), deadline_at=self._deadline_at)

    def note(self, changes: Mapping[str, Entry | None]) -> None:
        """Put entries into the ledger, or with None take them out. All other metadata stays as it is (contract 2.4)."""
        if not changes:
            return
        path = self._at("metadata", self._path)
        texts = {key: entry.text if entry else None for key, entry in changes.items()}
        if self._vault.write("PATCH", path, {"custom_metadata": texts}, deadline_at=self._deadline_at).found:
            return
        if named := {key: text for key, text in texts.items() if text}:
            # Nothing is there yet that a whole write could reset.
            self._post(path, {"custom_metadata": named})

    def destroy(self, numbers: Sequence[int]) -> None:
        """Remove the values of these versions for good."""
        self._post(self._at("destroy", self._path), {"versions": list(numbers)})

    def _at(self, what: str, path: str) -> str:
        return f"{self._mount}/{what}/{path}"

    def _version(self, number: int) -> Reply:
        return self._read(self._at("data", self._path), {"version": str(number)})

    def _read(self, path: str, params: Mapping[str, str] | None = None) -> Reply:
        return self._vault.read(path, deadline_at=self._deadline_at, params=params)

    def _post(self, path: str, body: Mapping[str, Any]) -> Reply:
        return self._vault.write("POST", path, body, deadline_at=self._deadline_at)

    def _stored(self, reply: Reply, ledger: Mapping[str, Entry]) -> Stored:
        return self._understood(lambda: Stored.of(reply.data, ledger, self._fingerprint))

    def _understood(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (KeyError, TypeError, ValueError, AttributeError):
            # The original would quote the answer.
            raise NotSent("the server's answer is not that of a KV engine of version 2", code="vault-answer") from None


def side_by_side(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make independent calls at once; the first failure is raised when all have ended."""
    if len(calls) <= 1:
        return [call() for call in calls]
    with ThreadPoolExecutor(min(AT_ONCE_MAX, len(calls))) as pool:
        return [made.result() for made in [pool.submit(call) for call in calls]]
