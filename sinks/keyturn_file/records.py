"""What the sink keeps beside the file that consumers read. Pure: JSON in, JSON out; unknown keys survive."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from keyturn.api import Bundle, Fields, Held, Refused

T = TypeVar("T")

FORMAT = 1
ENTRIES_MAX = 10
FOREIGN_FIELD = "value"
"""What the one field of a raw file is called where nobody recorded its name."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One version as the ledger knows it: never a value. `version_id` is None where somebody else wrote it."""

    version_id: str | None
    number: int | None
    journal_id: str | None
    fingerprints: Fields
    revision: str
    meta: Fields = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Entry:
        """Read one entry. Raises KeyError, TypeError where it is damaged."""
        known = ("version_id", "number", "journal_id", "fingerprints", "revision", "meta")
        unknown = {key: value for key, value in data.items() if key not in known}
        return cls(**{key: data[key] for key in known}, unknown=unknown)

    def as_data(self) -> dict[str, Any]:
        """The entry as JSON-ready data."""
        return {
            **self.unknown,
            "version_id": self.version_id,
            "number": self.number,
            "journal_id": self.journal_id,
            "fingerprints": dict(self.fingerprints),
            "revision": self.revision,
            "meta": dict(self.meta),
        }

    def held(self) -> Held:
        """The entry as the engine sees it."""
        return Held(
            version_id=self.version_id,
            journal_id=self.journal_id,
            number=self.number,
            fingerprints=dict(self.fingerprints),
            revision=self.revision,
        )

    @property
    def keeps_as(self) -> str:
        """The name of its file among the previous versions; numbers alone repeat when a journal is new."""
        told_apart = hashlib.sha256((self.version_id or self.revision).encode()).hexdigest()[:12]
        return f"{self.number if self.version_id else 'foreign'}-{told_apart}.json"


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The versions that were, are, or are about to be current; newest first, at most ENTRIES_MAX.

    Which one is current is not written down: the file's content says so, so that no crash can make the two disagree.
    """

    entries: tuple[Entry, ...] = ()
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def holding(self, revision: str) -> Entry | None:
        """The version with this content."""
        return next((entry for entry in self.entries if entry.revision == revision), None)

    def of(self, version_id: str) -> Entry | None:
        """The version with this id."""
        return next((entry for entry in self.entries if entry.version_id == version_id), None)

    def with_next(self, new: Entry, current: Entry | None) -> Ledger:
        """This ledger with `new` first and what it replaces second: the last thing to fall off the end."""
        first = (new, current) if current else (new,)
        revisions = {entry.revision for entry in first}
        ids = {entry.version_id for entry in first}
        rest = (entry for entry in self.entries if entry.revision not in revisions and entry.version_id not in ids)
        return replace(self, entries=(*first, *rest)[:ENTRIES_MAX])


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """One version with its value: pending or previous."""

    entry: Entry
    bundle: Bundle


def ledger_bytes(ledger: Ledger) -> bytes:
    """The ledger as it is stored."""
    data = {**ledger.unknown, "keyturn": FORMAT, "versions": [entry.as_data() for entry in ledger.entries]}
    return _json(data)


def ledger_from(data: bytes | None) -> Ledger:
    """Read a ledger; none is an empty one. Raises Refused `record-damaged`."""
    if data is None:
        return Ledger()
    return _read(data, _ledger)


def stored_bytes(stored: Stored) -> bytes:
    """One version with its value, as it is stored."""
    return _json({"keyturn": FORMAT, "entry": stored.entry.as_data(), "bundle": stored.bundle.reveal()})


def stored_from(data: bytes) -> Stored:
    """Read one version. Raises Refused `record-damaged`."""
    return _read(data, _stored)


def rendered(bundle: Bundle, form: Literal["json", "raw"]) -> bytes:
    """What consumers read. Raises Refused where `raw` can not say it."""
    if form == "json":
        return _json(bundle.reveal())
    if len(bundle) != 1:
        raise Refused(f"expected one field for format raw, got {len(bundle)}: map one with fields", code="raw-fields")
    (secret,) = bundle.values()
    try:
        return secret.reveal().encode()
    except UnicodeEncodeError:
        # The original names the value.
        raise Refused("the value is no Unicode text: use format json", code="raw-text") from None


def parsed(data: bytes, form: Literal["json", "raw"], name: str) -> Bundle | None:
    """What consumers find in the file, or None where it is not of this format."""
    try:
        if form == "raw":
            return Bundle({name: data.decode()})
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(fields, dict) and all(isinstance(value, str) for value in fields.values())
    return Bundle(fields) if whole else None


def text_of(data: bytes) -> str:
    """Bytes as a text that can be fingerprinted, whatever they are."""
    return data.decode(errors="backslashreplace")


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, sort_keys=True) + "\n").encode()


def _ledger(data: dict[str, Any]) -> Ledger:
    unknown = {key: value for key, value in data.items() if key not in ("keyturn", "versions")}
    return Ledger(entries=tuple(Entry.from_data(entry) for entry in data["versions"]), unknown=unknown)


def _stored(data: dict[str, Any]) -> Stored:
    return Stored(entry=Entry.from_data(data["entry"]), bundle=Bundle(data["bundle"]))


def _read(data: bytes, make: Callable[[dict[str, Any]], T]) -> T:
    try:
        fields = json.loads(data)
        if fields["keyturn"] != FORMAT:
            raise Refused("the record was written by a newer keyturn: upgrade this one", code="record-newer")
        return make(fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # The original would quote the record, and with it a value.
        raise Refused(
            "the record beside the file is damaged: restore .keyturn or remove it", code="record-damaged"
        ) from None
