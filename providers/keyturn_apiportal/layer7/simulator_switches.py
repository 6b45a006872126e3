"""How the simulated portal and its proxies are, until told otherwise: what the contract leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from keyturn_apiportal.layer7.simulator_faults import RULES

CHOICES: Mapping[str, Sequence[str | int]] = {
    "version": ("5.2.1+", "5.1", "4.5"),
    "patch_missing": (404, 405),
    "put_answers": (200, 204),
    "errors": ("nested", "top", "bare"),
    "role": ("full", "read-only", "none"),
    "hashing": ("both", "hashed", "plaintext"),
    "hashing_shown": ("ok", "missing", "empty", "not-json"),
    "algorithm": ("SHA-512", "SHA-384", "SHA-256", "SHA-1", "MD5"),
    "hashed_shown": ("asterisks", "empty", "absent"),
    "given_stays_plain": ("given", "all", "none"),
    "pending_answers": (200, 202),
    "pending_post": ("hidden", "shown"),
    "locked": (400, 409, 423),
    "names": ("free", "unique"),
    "totals": ("right", "low", "high", "absent"),
    "sync": ("automatic", "on-demand", "never", "old-otk", "error", "validation-error"),
    "refused": (401, 400),
    "says": ("", "3003000", "3003103", "3003113", "3003115", "3003117", "3003119", "3003203"),
}
"""What a switch may be set to."""


@dataclass(frozen=True, kw_only=True)
class Switches:
    """The portal's. Times are seconds."""

    # Calls
    version: str = "5.2.1+"  # contract 2, 7.8: which ways of changing a secret there are
    patch_missing: int = 404  # contract 7.8: how a portal without PATCH answers it
    patch_takes_secret: bool = False  # contract 2: PATCH with a value of the caller's
    put_answers: int = 200  # contract 1
    errors: str = "nested"  # contract 1, 7.3: the shape of an error's body
    echo: bool = False  # contract 7.14: an error quotes the body of the request
    list_secrets: bool = False  # whether the list of an application's keys has secrets
    # Login
    token_life_s: float = 3600.0  # contract 1
    role: str = "full"  # contract 7.1: what the client may do
    # Hashing
    hashing: str = "both"  # contract 2: what the tenant allows
    hashing_shown: str = "ok"  # contract 7.7: how the setting is answered
    algorithm: str = "SHA-512"  # contract 2, 7.7
    hashed_shown: str = "asterisks"  # contract 2, 8: what GET has for a hashed secret
    given_stays_plain: str = "given"  # contract 2: which secrets stay plaintext at creation, whatever was asked for
    patch_moves_time: bool = True  # contract 2: whether a new secret moves `modifyTs`
    # Approval
    approve_edits: bool = False  # contract 2: EDIT_APPLICATION_REQUEST_WORKFLOW
    approve_deletes: bool = False  # contract 2: DELETE_APPLICATION_REQUEST_WORKFLOW
    approve_applications: bool = False  # contract 2: APPLICATION_REQUEST_WORKFLOW
    administrator: bool = False  # contract 2: the client is not bound to an organisation, nothing waits
    pending_answers: int = 200  # contract 2: a 2xx that is only a request
    pending_post: str = "hidden"  # contract 7.4: whether the answer has the key and its secret already
    locked: int = 409  # contract 2, 7.3: how a change is refused while a request is pending
    # Keys
    key_limit: int = 0  # contract 7.12: keys of one application; 0: no limit
    names: str = "free"  # contract 7.12: whether two keys may have one name
    delete_enabled: bool = False  # contract 5: whether a key can be deleted that is still ENABLED
    key_store_check: bool = True  # contract 6, 7.12: no key is deleted that a proxy still takes
    delete_fails: bool = False  # contract 6: what is deleted stays as DELETE_FAILED
    # Lists and deployments
    page_max: int = 100  # contract 1, 7.13
    totals: str = "right"  # contract 7.13
    deployments: bool = False  # contract 3: whether the deployments of a key can be asked for
    # Platform
    slow_s: float = 0.0  # contract 7.5: how long every answer takes
    hang_s: float = 60.0  # contract 7.5: how long a request without an answer hangs
    trouble: str = ""  # contract 7.1: any fault, on every request


@dataclass(frozen=True, kw_only=True)
class ProxySwitches:
    """One proxy's. What concerns its synchronisation counts for changes from then on."""

    sync: str = "automatic"  # contract 3, 7.9: how it hears of a change; `old-otk` takes no hashed keys
    sync_s: float = 1.0  # contract 3, 7.9: how long that takes
    cache_s: float = 0.0  # contract 7.9: how long it goes on taking what was replaced
    flap_s: float = 0.0  # contract 7.9: how far every other answer lags behind
    trouble: str = ""  # contract 7.9: any fault, on every request
    refused: int = 401  # contract 4, 7.10
    says: str = ""  # contract 4, 7.10: the x-ca-err of every answer
    says_first: bool = False  # contract 4: before it looks at the credentials, or only where they are good
    err_header: bool = True  # contract 7.10
    token_life_s: float = 3600.0  # contract 4


T = TypeVar("T", Switches, ProxySwitches)


def changed(switches: T, changes: Mapping[str, Any]) -> T:
    """With some of them otherwise. Raises ValueError for an unknown switch, word or type."""
    known = {each.name: each.default for each in fields(switches)}
    if set(changes) - set(known):
        message = f"expected switches: {', '.join(known)}"
        raise ValueError(message)
    for name, value in changes.items():
        _check(name, value, known[name])
    return replace(switches, **changes)


def _check(name: str, value: Any, usual: Any) -> None:
    if name in CHOICES and value not in CHOICES[name]:
        message = f"expected {name}: {', '.join(map(str, CHOICES[name]))}"
        raise ValueError(message)
    if not _alike(value, usual):
        message = f"expected {name} to be like {usual!r}"
        raise ValueError(message)
    if name == "trouble" and value:
        RULES.check_how(value)


def _alike(value: Any, usual: Any) -> bool:
    """Of the same type, where a whole number may stand for any; never below zero."""
    kinds = (int, float) if isinstance(usual, float) else (type(usual),)
    return type(value) in kinds and (isinstance(value, str) or value >= 0)
