"""Values that can not be shown, compared, copied to disk or iterated by accident."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NoReturn, final

HIDDEN = "<secret>"


@final
class Secret:
    """One secret text. `reveal()` is the only way to the value, so that a search for it finds every use.

    Rendering gives a placeholder (an error path must never fail because it tried to print); comparing, hashing,
    iterating, pickling and copying raise TypeError.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            # The value itself must not get into this message.
            message = f"a secret is text, not {type(text).__name__}"
            raise TypeError(message)
        self._text = text

    def reveal(self) -> str:
        """The value itself."""
        return self._text

    def same_as(self, other: Secret) -> bool:
        """Whether both hold the same text, in constant time."""
        return hmac.compare_digest(self._text.encode(), other.reveal().encode())

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        _refuse("compared; use same_as")

    def __hash__(self) -> int:  # noqa: PLE0309 - raises on purpose
        _refuse("hashed; use a keyed fingerprint")

    def __reduce__(self) -> NoReturn:
        _refuse("pickled or copied")


@final
class Bundle(Mapping[str, Secret]):
    """A version's value: named secret texts. Shows its field names only; never equal to anything by accident."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Secret | str] | None = None) -> None:
        self._fields = {
            name: value if isinstance(value, Secret) else Secret(value) for name, value in (fields or {}).items()
        }

    def __getitem__(self, name: str) -> Secret:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def reveal(self) -> dict[str, str]:
        """All fields in clear."""
        return {name: secret.reveal() for name, secret in self._fields.items()}

    def with_(self, more: Mapping[str, Secret]) -> Bundle:
        """This bundle with further or replaced fields."""
        return Bundle({**self._fields, **more})

    def only(self, names: Iterable[str]) -> Bundle:
        """The part of this bundle with these field names; absent ones are left out."""
        return Bundle({name: self._fields[name] for name in names if name in self._fields})

    def fingerprints(self, of: Callable[[str], str]) -> dict[str, str]:
        """The keyed fingerprint of each field."""
        return {name: of(secret.reveal()) for name, secret in self._fields.items()}

    def __repr__(self) -> str:
        return f"<bundle {', '.join(sorted(self._fields)) or 'empty'}>"

    def __eq__(self, other: object) -> bool:
        _refuse("compared; use same_as on its fields, or fingerprints")

    def __hash__(self) -> int:  # noqa: PLE0309 - raises on purpose
        _refuse("hashed; use fingerprints")

    def __reduce__(self) -> NoReturn:
        _refuse("pickled or copied")


def _refuse(what: str) -> NoReturn:
    message = f"a secret value can not be {what}"
    raise TypeError(message)
