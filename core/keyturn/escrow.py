"""The escrow: values in flight as age envelopes in the journal's database.

`age -d -i IDENTITY` opens an envelope when all else is gone: a version's is a JSON object of field to text, an answer's
is the raw body. Every envelope is sealed to all configured identities and to the offline recipients.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyrage  # type: ignore[import-untyped] # it ships no types
from pyrage import x25519

from keyturn.errors import StuckError, UsageError
from keyturn.files import write_private
from keyturn.journal.store import Journal, Lease, Sealed
from keyturn.secret import Bundle, Secret

VERSION = "version"
ANSWER = "answer"
IDENTITY_PREFIX = "AGE-SECRET-KEY-"
FINGERPRINT_LENGTH = 32


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One envelope without its content. `key` is the version id (`kind` version) or the attempt id (answer)."""

    secret: str
    kind: str
    key: str
    version_id: str
    fields: tuple[str, ...]
    at: float


class Escrow:
    """Seals to `identities` (age identity files' texts) and `recipients` (`age1...`); opens with any of `identities`.

    Fingerprints are keyed by the first identity: it must be the same one on every runner. A rotated identity is listed
    later, so that what was sealed to it still opens. Raises UsageError `escrow-identity` or `escrow-recipient`.
    """

    def __init__(
        self,
        journal: Journal,
        identities: Sequence[Secret | str],
        recipients: Sequence[str],
        now: Callable[[], float],
    ) -> None:
        texts = load_identities(identities)
        self._journal = journal
        self._now = now
        self._identities = [x25519.Identity.from_str(text.reveal()) for text in texts]
        self._recipients = [*(identity.to_public() for identity in self._identities), *map(_recipient, recipients)]
        self._keys = [_fingerprint_key(text) for text in texts]

    @property
    def recipients(self) -> tuple[str, ...]:
        """The public names of all keys that open what is sealed from now on."""
        return tuple(str(recipient) for recipient in self._recipients)

    def fingerprint(self, value: str) -> str:
        """32 hex characters: HMAC-SHA256 of the value, useless without the first identity."""
        return _keyed(self._keys[0], value)

    def matches(self, fingerprint: str, value: str) -> bool:
        """Whether this is the value's fingerprint under any of the identities, rotated ones included."""
        return any(hmac.compare_digest(fingerprint, _keyed(key, value)) for key in self._keys)

    def seal_version(self, secret: str, version_id: str, bundle: Bundle) -> None:
        """Keep a version's value, durably; an earlier envelope of this version is replaced. Raises JournalError."""
        content = json.dumps(bundle.reveal()).encode()
        self._seal(secret, VERSION, version_id, version_id, content, tuple(bundle))

    def seal_answer(self, secret: str, attempt_id: str, version_id: str, raw: Secret) -> None:
        """Keep a vendor's raw answer before anybody parses it, with or without a lease. Raises JournalError."""
        self._seal(secret, ANSWER, attempt_id, version_id, _bytes(raw.reveal()), ())

    def open_version(self, secret: str, version_id: str) -> Bundle | None:
        """A version's value, or None where none is kept. Raises StuckError `escrow-closed`."""
        found = [kept for kept in self._of_version(secret, version_id) if kept.kind == VERSION]
        return Bundle(json.loads(self._open(found[0]))) if found else None

    def open_answers(self, secret: str, version_id: str) -> list[tuple[str, Secret]]:
        """Attempt ids and raw answers of a version, oldest first. Raises StuckError `escrow-closed`."""
        found = [kept for kept in self._of_version(secret, version_id) if kept.kind == ANSWER]
        return [(kept.key, Secret(_text(self._open(kept)))) for kept in found]

    def drop(self, secret: str, version_id: str, *, lease: Lease) -> None:
        """Forget a version's value and its answers for good. May be repeated. Raises LeaseLost."""
        for kept in self._of_version(secret, version_id):
            self._journal.unseal_forever(secret, kept.kind, kept.key, lease=lease)

    def listing(self, secret: str | None = None) -> list[Kept]:
        """What is kept, oldest first, without any value."""
        return [
            Kept(secret=it.secret, kind=it.kind, key=it.key, version_id=it.version_id, fields=it.fields, at=it.at)
            for it in self._journal.sealed(secret)
        ]

    def _seal(self, secret: str, kind: str, key: str, version_id: str, content: bytes, fields: tuple[str, ...]) -> None:
        blob = pyrage.encrypt(content, self._recipients)
        at = self._now()
        self._journal.seal(
            Sealed(secret=secret, kind=kind, key=key, version_id=version_id, blob=blob, fields=fields, at=at)
        )

    def _of_version(self, secret: str, version_id: str) -> list[Sealed]:
        return [sealed for sealed in self._journal.sealed(secret) if sealed.version_id == version_id]

    def _open(self, sealed: Sealed) -> bytes:
        try:
            content: bytes = pyrage.decrypt(sealed.blob, self._identities)
        except pyrage.DecryptError as error:
            ours = ", ".join(str(identity.to_public()) for identity in self._identities)
            raise StuckError(
                "escrow-closed",
                f"no identity here opens the sealed {sealed.kind} {sealed.key} of {sealed.secret}",
                hint="add the identity it was sealed to under escrow: identities:, or open it offline with age -d",
                place=sealed.secret,
                fields={"kind": sealed.kind, "key": sealed.key, "identities": ours},
            ) from error
        return content


def new_identity(path: Path) -> str:
    """Write a new age identity, 0600 and durable, never over an existing file; its public recipient is returned.

    Raises UsageError `file-exists`, `file-symlink` or `file-unwritable`.
    """
    identity = x25519.Identity.generate()
    recipient = str(identity.to_public())
    write_private(path, f"# public key: {recipient}\n{identity}\n".encode(), new=True)
    return recipient


def load_identities(texts: Iterable[Secret | str]) -> list[Secret]:
    """The identities in age identity files' texts: one each line, `#` begins a comment line.

    Raises UsageError `escrow-identity` where a text has none, or a line is none.
    """
    found = [identity for number, text in enumerate(texts, 1) for identity in _identities_in(number, _revealed(text))]
    if not found:
        raise _bad_identity("escrow: identities: names no identity")
    return found


def _identities_in(number: int, text: str) -> list[Secret]:
    lines = [line.strip() for line in text.splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    if not wanted:
        raise _bad_identity(f"identity file {number} holds no identity")
    for line in wanted:
        try:
            x25519.Identity.from_str(line)
        except pyrage.IdentityError:
            # Without its cause: the parser's words may quote the line.
            raise _bad_identity(
                f"identity file {number}: expected {IDENTITY_PREFIX}..., found something else"
            ) from None
    return [Secret(line) for line in wanted]


def _bad_identity(message: str) -> UsageError:
    hint = "make one with keyturn init (or age-keygen) and name its file under escrow: identities:"
    return UsageError("escrow-identity", message, hint=hint)


def _recipient(text: str) -> x25519.Recipient:
    try:
        return x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        # Without text or cause: an identity pasted here by mistake must not be shown.
        raise UsageError(
            "escrow-recipient",
            "expected a public age1... key",
            hint="put public keys (age-keygen -y) under escrow: recipients:",
        ) from None


def _fingerprint_key(identity: Secret) -> bytes:
    """HKDF-SHA256 (RFC 5869) of the identity, one block."""
    extracted = hmac.digest(b"keyturn", identity.reveal().upper().encode(), "sha256")
    return hmac.digest(extracted, b"fingerprint v1\x01", "sha256")


def _keyed(key: bytes, value: str) -> str:
    return hmac.digest(key, _bytes(value), "sha256").hex()[:FINGERPRINT_LENGTH]


def _revealed(text: Secret | str) -> str:
    return text.reveal() if isinstance(text, Secret) else text


def _bytes(text: str) -> bytes:
    # surrogatepass: a vendor's odd bytes must neither stop the sealing nor raise an error that quotes them.
    return text.encode("utf-8", "surrogatepass")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")
