"""How the simulated Circle is, until told otherwise: what the contract leaves open, and what may go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from keyturn_circle.simulator_cipher import FORMS
from keyturn_circle.simulator_faults import ANSWERS, KINDS, MUTATING, RULES

SECRET_PATH = "/v1/w3s/config/entity/entitySecret"  # noqa: S105 - a path
FIELD = "entitySecretCiphertext"

CHOICES: Mapping[str, Sequence[str | int]] = {
    "success": (200, 201),
    "rest": ("on", "off", "405"),
    "checks": ("secret-first", "wallet-first"),
    "bad_ciphertext": ("156013", "2"),
    "same_secret": ("accepted", "refused"),
    "public_key": tuple(FORMS),
    "recovery_answers": ANSWERS,
    "echo": ("errors", "message", "off"),
    "retry_after": ("none", "seconds", "date"),
    "key_answers": ("ok", "401", "3", "156006", "156007"),
    "sign_answers": ("ok", "no-signature", "empty-signature", "156001", "156023", "156025", "156027"),
    "down": ("", "all", "sign", "changes"),
}
"""What a switch may be set to."""

DOWN: Mapping[str, Sequence[str]] = {"": (), "all": KINDS, "sign": ("sign",), "changes": MUTATING}
CALLS = ("register_call", "rotate_call", "reset_call")


@dataclass(frozen=True, kw_only=True)
class Switches:
    """The state of every switch. Times are seconds. A call is `METHOD PATH FIELD...`."""

    # Calls (what nobody has seen is as the contract assumes it)
    rest: str = "off"  # contract 8.9: whether rotate and reset can be called, or answer 404 or 405
    register_call: str = f"POST {SECRET_PATH} {FIELD}"  # contract 2.2
    rotate_call: str = f"PUT {SECRET_PATH}/rotate {FIELD} newEntitySecretCiphertext"  # contract 2.3
    reset_call: str = f"PUT {SECRET_PATH}/reset recoveryFile newEntitySecretCiphertext"  # contract 2.4
    answer_field: str = "recoveryFile"  # contract 2.2
    success: int = 200  # contract 2.2: or 201
    # Key and ciphertext
    public_key: str = "rsa-label"  # contract 8.1
    key_calls: int = 0  # contract 8.1: after so many calls for it, another key is in use; 0: never
    bad_ciphertext: str = "156013"  # contract 8.3
    same_secret: str = "accepted"  # noqa: S105 - contract 8.4: a new secret that equals the current one
    # State
    ledger_first: bool = True  # contract 2.5, 8.2: a reused ciphertext is noticed before what is in it, or after
    rotate_first: bool = False  # contract 8.5: 156019, until the next rotation
    old_lives_s: float = 0.0  # contract 8.7: how long a replaced secret goes on being accepted
    new_waits_s: float = 0.0  # contract 8.7: how long a new one is not accepted yet
    flaps_s: float = 0.0  # contract 8.7: how long after a change every other answer comes from a back end that lags
    checks: str = "secret-first"  # contract 2.5: the order in which a signing looks at things
    # Answers
    recovery_answers: str = "ok"  # contract 8.11
    sign_answers: str = "ok"  # contract 8.15
    echo: str = "errors"  # contract 8.16: where an error quotes the request
    replay: bool = False  # contract 8.2: every change is delivered twice, the second answer comes through
    rate_limit: int = 3  # contract 8.12: requests per second and endpoint; 0: no limit
    retry_after: str = "none"  # contract 8.12
    # Identity
    key_answers: str = "ok"  # contract 8.13: how the API key is refused
    other_entity: bool = False  # contract 8.13: the API key belongs to another entity
    # Platform
    slow_s: float = 0.0  # contract 8.10: how long every answer takes
    hang_s: float = 60.0  # contract 8.10: how long a request without an answer hangs
    down: str = ""  # contract 8.10
    down_how: str = "503:html"  # contract 8.10: any fault

    def changed(self, changes: Mapping[str, Any]) -> Switches:
        """With some of them otherwise. Raises ValueError for an unknown switch, word or type."""
        known = {each.name: each.default for each in fields(self)}
        if set(changes) - set(known):
            message = f"expected switches: {', '.join(known)}"
            raise ValueError(message)
        for name, value in changes.items():
            _check(name, value, known[name])
        return replace(self, **changes)

    def call(self, on: str) -> tuple[str, str, tuple[str, ...]]:
        """Method, path and fields of register, rotate or reset."""
        method, path, *names = str(getattr(self, f"{on}_call")).split()
        return method, path, tuple(names)


def _check(name: str, value: Any, usual: Any) -> None:
    if not _alike(value, usual):
        message = f"expected {name} to be like {usual!r}"
        raise ValueError(message)
    if name == "down_how":
        RULES.check_how(f"{value}")
    elif name in CHOICES and value not in CHOICES[name]:
        message = f"expected {name}: {', '.join(map(str, CHOICES[name]))}"
        raise ValueError(message)
    elif name in CALLS and len(f"{value}".split()) != len(f"{usual}".split()):
        message = f"expected {name} to have as many words as {usual}"
        raise ValueError(message)


def _alike(value: Any, usual: Any) -> bool:
    """Of the same type, where a whole number may stand for any; never below zero."""
    kinds = (int, float) if isinstance(usual, float) else (type(usual),)
    return type(value) in kinds and (isinstance(value, str) or value >= 0)
