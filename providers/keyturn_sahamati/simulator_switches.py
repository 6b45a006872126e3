"""How the simulated Token Service is, until told otherwise: what the contract leaves open, and what may go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from keyturn_sahamati.simulator_faults import KINDS, RULES

DAY_S = 86_400.0

CHOICES: Mapping[str, Sequence[str]] = {
    "null_form": ("null", "absent"),
    "expires_on": ("s", "ms", "text", "ms-text", "null", "absent", "past"),
    "expiration_date": ("utc", "ist", "z", "wrong", "absent"),
    "makes": ("usual", "awkward", "long"),
    "reset_answers": ("new", "same", "missing", "empty"),
    "entity_meta": ("own", "others", "absent"),
    "bad_token": ("401", "401:empty", "403", "403:empty", "403:html"),
    "not_admin": ("401", "401:empty", "403", "403:empty", "403:html"),
    "refusal": ("timeout", "reset", "tls", "403:html", "403:empty"),
    "retry_after": ("seconds", "date", "none"),
    "down": ("", "all", "read", "tokens", "after-reset"),
}
"""The words that a switch may have."""

DOWN: Mapping[str, Sequence[str]] = {
    "": (),
    "all": KINDS,
    "read": ("read",),
    "tokens": ("user-token", "entity-token"),
    "after-reset": KINDS,
}


@dataclass(frozen=True, kw_only=True)
class Switches:
    """The state of every switch. Times are seconds."""

    # Old and new (what a reset leaves of the old secret is decided when it happens)
    grace_s: float = 0.0  # contract 9.7: how long a replaced secret goes on being accepted
    grace_message: bool = False  # contract 9.7: and whether the answer then has a `message`
    expiry_grace_s: float = 5 * DAY_S  # contract 9.8: the same for a secret that expired by time
    expiry_message: bool = True  # contract 9.8
    revoke_tokens: bool = False  # contract 9.9: a reset ends the tokens that the old secret was used for
    read_lag_s: float = 0.0  # contract 9.6: `read` is served by a copy that is behind
    # Values
    null_form: str = "null"  # contract 9.10: how an answer says that there is no expiry
    expires_on: str = "s"  # contract 9.11
    expiration_date: str = "utc"  # contract 9.12
    clamp: bool = False  # contract 9.13: validity is cut to the rest of the user token's life
    maximum_days: int = 180  # contract 9.13
    makes: str = "usual"  # contract 9.14
    reset_answers: str = "new"  # contract 9.14: what the answer of a reset has for a secret
    nine_digits: bool = True  # contract 9.15: fractions of a second in timestamps
    extra_members: bool = True  # contract 9.15
    lower_case_errors: bool = False  # contract 9.15
    echo_txn: bool = True  # contract 9.15
    other_entity: bool = False  # contract 9.15: answers and tokens name another entity
    # Identity
    password_expired: bool = False  # contract 9.16
    user_token_life_s: float = DAY_S  # contract 9.16: or 180 days
    entity_token_life_s: float = DAY_S
    entity_meta: str = "own"  # contract 2.1: the claim of a user token that names entities
    bad_token: str = "401"  # noqa: S105 - contract 9.17: how a bad bearer token is refused
    not_admin: str = "401"  # contract 9.17: how a user is refused who does not administer the entity
    strict: bool = True  # contract 9.18
    # Network and platform
    allowed: Sequence[str] | None = None  # contract 9.20: registered addresses; None: all
    refusal: str = "timeout"  # contract 9.20: what the others get
    rate_limit: int = 0  # contract 9.21: calls a minute; 0: no limit
    retry_after: str = "seconds"  # contract 9.21: the form of Retry-After
    offset_s: float = 0.0  # contract 9.22: how far the server's clock is ahead
    slow_s: float = 0.0  # contract 9.22: how long every answer takes
    hang_s: float = 60.0  # contract 9.2: how long a request without an answer hangs
    down: str = ""  # contract 9.23
    down_how: str = "503:html"  # contract 9.21, 9.23: any fault; 302 leads to a login page

    def changed(self, changes: Mapping[str, Any]) -> Switches:
        """With some of them otherwise. Raises ValueError for an unknown switch, word or type."""
        known = {each.name: each.default for each in fields(self)}
        if set(changes) - set(known):
            message = f"expected switches: {', '.join(known)}"
            raise ValueError(message)
        for name, value in changes.items():
            _check(name, value, known[name])
        return replace(self, **changes)


def _check(name: str, value: Any, usual: Any) -> None:
    if name == "down_how":
        RULES.check_how(value)
    elif name in CHOICES and value not in CHOICES[name]:
        message = f"expected {name}: {', '.join(CHOICES[name])}"
        raise ValueError(message)
    kind = (int, float) if isinstance(usual, float) else (list, tuple, type(None)) if usual is None else type(usual)
    if not isinstance(value, kind):
        message = f"expected {name} to be like {usual!r}"
        raise ValueError(message)  # noqa: TRY004 - an order is a value from outside
