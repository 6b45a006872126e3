"""What the sink writes besides values, and how it tells contents apart. Pure: JSON-ready data in and out.

Which version a content is, is never written beside it: the ledger names it by the content's keyed fingerprint, so that
no crash can make the two disagree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keyturn.api import Bundle, Fields, Held, Refused

PREFIX = "keyturn-"
PRINT_CHARS = 32
ENTRY_CHARS_MAX = 512
"""What one value of custom metadata may have (contract 4.2)."""

Fingerprint = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One version as the ledger names it: never a value. `unknown` keeps what a later Keyturn wrote."""

    version_id: str
    number: int
    journal_id: str
    meta: Fields = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The entry as one value of custom metadata."""
        known = {"v": self.version_id, "n": self.number, "j": self.journal_id, "m": dict(self.meta)}
        return compact({**self.unknown, **known})

    def refuse_long(self) -> None:
        """Raise Refused `meta-too-long` where it does not fit into one value."""
        if (length := len(self.text)) > ENTRY_CHARS_MAX:
            why = f"expected at most {ENTRY_CHARS_MAX} characters of metadata for a version, got {length}"
            raise Refused(why, code="meta-too-long")


def entry_from(text: object) -> Entry | None:
    """Read one entry; None where it is none, so that the content it should name is foreign."""
    try:
        data = json.loads(_text(text))
        unknown = {key: value for key, value in data.items() if key not in ("v", "n", "j", "m")}
        return Entry(
            version_id=str(data["v"]), number=int(data["n"]), journal_id=str(data["j"]), meta=_texts(data["m"]),
            unknown=unknown,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def ledger_from(custom_metadata: Mapping[str, Any] | None) -> dict[str, Entry]:
    """The ledger in a path's custom metadata, by key; other people's keys are left out."""
    ours = {key: entry_from(text) for key, text in (custom_metadata or {}).items() if key.startswith(PREFIX)}
    return {key: entry for key, entry in ours.items() if entry}


def ledger_key(content: Mapping[str, Any], fingerprint: Fingerprint) -> str:
    """The key under which the ledger names the version with this content."""
    return PREFIX + fingerprint(compact(content))[:PRINT_CHARS]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """One readable version of a path. `revision` is the KV engine's number for it; `entry` is None if foreign.

    `texts`: its values are texts, as all are that Keyturn writes.
    """

    revision: int
    key: str
    bundle: Bundle
    prints: Fields
    entry: Entry | None
    written: str = ""
    texts: bool = True

    @classmethod
    def of(cls, data: Mapping[str, Any], ledger: Mapping[str, Entry], fingerprint: Fingerprint) -> Stored:
        """From the `data` of a read (contract 2.2) and the ledger. Raises KeyError, TypeError where it is none."""
        content, metadata = data["data"], data["metadata"]
        key, bundle = ledger_key(content, fingerprint), bundle_of(content)
        return cls(
            revision=int(metadata["version"]),
            key=key,
            bundle=bundle,
            prints=bundle.fingerprints(fingerprint),
            entry=ledger.get(key),
            written=str(metadata.get("created_time", "")),
            texts=all(isinstance(value, str) for value in content.values()),
        )

    @property
    def version_id(self) -> str | None:
        """Which version of ours it is."""
        return self.entry.version_id if self.entry else None

    @property
    def held(self) -> Held:
        """As the engine sees it."""
        return _held(self.entry, self.prints, self.revision)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pending:
    """What the pending tree holds for a path. `entry` is None where it is nothing that Keyturn wrote."""

    revision: int
    entry: Entry | None
    key: str
    bundle: Bundle
    prints: Fields

    @classmethod
    def of(cls, data: Mapping[str, Any], fingerprint: Fingerprint) -> Pending:
        """From the `data` of a read. Raises KeyError, TypeError where it is none."""
        revision, envelope = int(data["metadata"]["version"]), data["data"]
        try:
            entry = Entry(
                version_id=_text(envelope["version"]),
                number=int(envelope["number"]),
                journal_id=_text(envelope["journal"]),
                meta=_texts(envelope["meta"]),
            )
            content = _texts(envelope["fields"])
        except (ValueError, KeyError, TypeError, AttributeError):
            entry, content = None, {}
        bundle = Bundle(content)
        prints = bundle.fingerprints(fingerprint)
        return cls(
            revision=revision, entry=entry, key=ledger_key(content, fingerprint), bundle=bundle, prints=prints
        )  # fmt: skip

    @property
    def version_id(self) -> str | None:
        """Which version of ours it is."""
        return self.entry.version_id if self.entry else None

    @property
    def held(self) -> Held:
        """As the engine sees it."""
        return _held(self.entry, self.prints, self.revision)


def envelope_of(entry: Entry, bundle: Bundle) -> dict[str, Any]:
    """A pending version with its value, as it is stored. All texts: the engine rounds large numbers (contract 4.3)."""
    return {
        "version": entry.version_id,
        "number": str(entry.number),
        "journal": entry.journal_id,
        "meta": dict(entry.meta),
        "fields": bundle.reveal(),
    }


def bundle_of(content: Mapping[str, Any]) -> Bundle:
    """What consumers read, as fields. What is no text (a hand-made secret) becomes JSON text."""
    return Bundle({name: value if isinstance(value, str) else compact(value) for name, value in content.items()})


def compact(data: object) -> str:
    """JSON with sorted keys, in ASCII, without blanks."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _held(entry: Entry | None, prints: Fields, revision: int) -> Held:
    return Held(
        version_id=entry.version_id if entry else None,
        journal_id=entry.journal_id if entry else None,
        number=entry.number if entry else None,
        fingerprints=prints,
        revision=str(revision),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(fields: Mapping[str, object]) -> dict[str, str]:
    return {name: _text(value) for name, value in fields.items()}
