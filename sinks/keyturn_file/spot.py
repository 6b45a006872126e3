"""One place on the disk: the file that consumers read, and what is kept beside it in `.keyturn`.

FOLDER/PATH                            what consumers read
FOLDER/.keyturn/                       0700; PATH with each / written %2F:
    PATH.meta.json                     the ledger: ids, numbers, fingerprints; no values
    PATH.pending.json                  the pending version
    PATH.previous/NUMBER-HASH.json     earlier versions
    PATH.next                          the file about to be handed over
    PATH.lock                          held by whoever changes any of these
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from keyturn.api import Bundle
from keyturn_file.disk import Access, Folder
from keyturn_file.options import Account, Place
from keyturn_file.records import (
    FOREIGN_FIELD,
    Entry,
    Ledger,
    Stored,
    ledger_bytes,
    ledger_from,
    parsed,
    rendered,
    stored_bytes,
    stored_from,
    text_of,
)

PRIVATE = ".keyturn"

Fingerprint = Callable[[str], str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Serving:
    """What consumers read now. `bundle` is None where the content is not of this place's format."""

    entry: Entry
    bundle: Bundle | None


@contextmanager
def opened(account: Account, place: Place, fingerprint: Fingerprint, *, writing: bool) -> Iterator[Spot]:
    """Open one place; `writing` makes the private folder. Raises Refused, OSError."""
    with ExitStack() as stack:
        top = Folder.open(account.folder)
        stack.callback(top.close)
        if writing:
            top.make(PRIVATE, Access(mode=0o700))
        yield Spot(top, place, fingerprint, stack)


class Spot:
    """One opened place. Reads take no lock; whoever writes holds it."""

    def __init__(self, top: Folder, place: Place, fingerprint: Fingerprint, stack: ExitStack) -> None:
        self._stack = stack
        self._top = top
        self._place = place
        self._fingerprint = fingerprint
        self._base = quote(place.path, safe="")
        *self._parents, self._name = place.path.split("/")
        self._private = self._kept_open(top.sub(PRIVATE, private=True))

    def serving(self) -> Serving | None:
        """What consumers read. Content that the ledger does not know is foreign."""
        home = self._home()
        # Content before ledger: a version is written to the ledger before consumers can read it.
        data = home.read(self._name) if home else None
        if data is None:
            return None
        ledger = self.ledger()
        known = ledger.holding(self.revision(data))
        bundle = parsed(data, self._place.format, _field_name(known or next(iter(ledger.entries), None)))
        return Serving(entry=known or self._foreign(data, bundle), bundle=bundle)

    def mode(self) -> int:
        """The permission bits of what consumers read. Raises FileNotFoundError."""
        home = self._home()
        if home is None:
            raise FileNotFoundError(self._place.path)
        return home.mode(self._name)

    def ledger(self) -> Ledger:
        """The versions known here."""
        return ledger_from(self._private.read(f"{self._base}.meta.json") if self._private else None)

    def pending(self) -> Stored | None:
        """The pending version."""
        data = self._private.read(f"{self._base}.pending.json") if self._private else None
        return stored_from(data) if data is not None else None

    def previous(self, current: Entry | None) -> list[Stored]:
        """Earlier versions, the last one served first."""
        folder = self._earlier()
        texts = [folder.read(name) for name in folder.names() if name.endswith(".json")] if folder else []
        kept = [stored_from(text) for text in texts if text is not None]
        order = {entry.revision: index for index, entry in enumerate(self.ledger().entries)}
        kept.sort(key=lambda stored: (order.get(stored.entry.revision, len(order)), -(stored.entry.number or 0)))
        return [stored for stored in kept if current is None or stored.entry.revision != current.revision]

    def entry(self, bundle: Bundle, made: Callable[[dict[str, str], str], Entry]) -> Entry:
        """The ledger entry of a value: `made` gets its fingerprints and revision."""
        return made(bundle.fingerprints(self._fingerprint), self.revision(rendered(bundle, self._place.format)))

    def revision(self, data: bytes) -> str:
        """The compare-and-set token: a keyed fingerprint of the whole content, so that it gives nothing away."""
        return self._fingerprint(text_of(data))

    def keep_pending(self, stored: Stored) -> None:
        """Write the pending version."""
        self._own.write(f"{self._base}.pending.json", stored_bytes(stored))

    def keep_previous(self, stored: Stored) -> None:
        """Keep what is about to be replaced."""
        self._own.make(f"{self._base}.previous", Access(mode=0o700))
        folder = self._earlier()
        if folder:
            folder.write(stored.entry.keeps_as, stored_bytes(stored))

    def keep_ledger(self, ledger: Ledger) -> None:
        """Write the ledger."""
        self._own.write(f"{self._base}.meta.json", ledger_bytes(ledger))

    def replace(self, bundle: Bundle, access: Access) -> Folder:
        """Let consumers read `bundle`, in one step. Durable once the answered folder is synced."""
        home = self._home(access)
        if home is None:
            raise FileNotFoundError(self._place.path)
        self._own.fill(f"{self._base}.next", rendered(bundle, self._place.format), access)
        self._own.hand_over(f"{self._base}.next", home, self._name)
        return home

    def drop_pending(self) -> None:
        """Remove the pending version."""
        self._own.remove(f"{self._base}.pending.json")

    def drop_previous(self, entry: Entry) -> bool:
        """Remove one earlier version."""
        folder = self._earlier()
        return folder.remove(entry.keeps_as) if folder else False

    def lock(self) -> int:
        """The descriptor to lock, closed with the place."""
        descriptor = self._own.lock(f"{self._base}.lock")
        self._stack.callback(_close, descriptor)
        return descriptor

    def sweep(self) -> None:
        """Remove what an interrupted call left half written. The lock must be held."""
        for name in ("next", "pending.json.tmp", "meta.json.tmp"):
            self._own.remove(f"{self._base}.{name}")
        folder = self._earlier()
        for name in folder.names() if folder else []:
            if folder and name.endswith(".tmp"):
                folder.remove(name)

    @property
    def _own(self) -> Folder:
        if self._private is None:
            raise FileNotFoundError(PRIVATE)
        return self._private

    def _earlier(self) -> Folder | None:
        return self._kept_open(self._private.sub(f"{self._base}.previous", private=True)) if self._private else None

    def _home(self, make: Access | None = None) -> Folder | None:
        folder: Folder | None = self._top
        for name in self._parents:
            if folder and make:
                folder.make(name, make.of_folder)
            folder = self._kept_open(folder.sub(name)) if folder else None
        return folder

    def _kept_open(self, folder: Folder | None) -> Folder | None:
        if folder:
            self._stack.callback(folder.close)
        return folder

    def _foreign(self, data: bytes, bundle: Bundle | None) -> Entry:
        return Entry(
            version_id=None,
            number=None,
            journal_id=None,
            fingerprints=bundle.fingerprints(self._fingerprint) if bundle else {},
            revision=self.revision(data),
        )


def _field_name(entry: Entry | None) -> str:
    return next(iter(entry.fingerprints), FOREIGN_FIELD) if entry else FOREIGN_FIELD


def _close(descriptor: int) -> None:
    Folder(descriptor, "").close()
