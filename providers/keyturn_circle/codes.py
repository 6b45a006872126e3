"""What Circle's error codes mean (contract 3). Pure: the code counts, the HTTP status only where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Meaning(StrEnum):
    """The classes of codes. The first six are about secrets; `no-evidence` tells nothing about one."""

    NOT_ACTIVE = "not-active"
    NOT_SET = "not-set"
    REUSED = "reused"
    ALREADY_SET = "already-set"
    RECOVERY_REFUSED = "recovery-refused"
    ROTATE_FIRST = "rotate-first"
    NO_EVIDENCE = "no-evidence"
    DOUBT = "doubt"
    OPERATOR = "operator"
    BUG = "bug"


M = Meaning

MEANINGS: Mapping[int, Meaning] = {
    -1: M.DOUBT,
    2: M.BUG,
    3: M.OPERATOR,
    401: M.OPERATOR,
    155601: M.NO_EVIDENCE,  # but of a wallet set that a probe makes
    156001: M.NO_EVIDENCE,
    156004: M.REUSED,
    156005: M.NO_EVIDENCE,
    156006: M.OPERATOR,
    156007: M.OPERATOR,
    156008: M.OPERATOR,
    156010: M.OPERATOR,
    156013: M.NOT_ACTIVE,
    156014: M.BUG,
    156015: M.ALREADY_SET,
    156016: M.NOT_SET,
    156018: M.RECOVERY_REFUSED,
    156019: M.ROTATE_FIRST,
    156020: M.NO_EVIDENCE,
    156021: M.NO_EVIDENCE,
    156023: M.NO_EVIDENCE,
    156024: M.NO_EVIDENCE,
    156025: M.NO_EVIDENCE,
    156026: M.NO_EVIDENCE,
    156027: M.NO_EVIDENCE,
    # The smart-contract platform's own numbers for the same things.
    175403: M.NO_EVIDENCE,
    177601: M.NO_EVIDENCE,
    177602: M.REUSED,
    177603: M.OPERATOR,
    177604: M.NOT_ACTIVE,
    177605: M.NOT_SET,
    177606: M.ROTATE_FIRST,
    177607: M.NO_EVIDENCE,
}
"""The vendor's table of 2024; older lists give some numbers other meanings, so `codes` can change it."""

WALLET_SET_EXISTS = 155601
UNKNOWN_WALLET = 156001

HINTS: Mapping[int, str] = {
    3: "give the API key access to developer-controlled wallets and to the entity's configuration, in the Console",
    401: "check where api_key points: it is three parts with colons, as the Console shows it once",
    156001: "set canary_wallet to a wallet of this entity and environment, or have one made",
    156004: "something on the way sends calls again: look at the proxies between here and Circle",
    156006: "use a TEST key for testnets and a LIVE key for main networks; check environment and canary_chain",
    156007: "the API key was deleted or never existed: make one in the Console, and put it where api_key points",
    156008: "ask Circle whether developer-controlled wallets are set up for this entity",
    156010: "ask Circle whether this API key's entity still exists",
    156015: "a secret is registered already: take it over with keyturn adopt, or reset it with keyturn recover",
    156016: "no secret is registered in this environment: check the API key; a first one is made by rotate --first",
    156023: "set probe_message to another text",
    156025: "set probe_message to another text",
    156027: "set canary_chain to a chain that Circle supports, and have another canary made",
    156018: "each rotation and reset voids the recovery files before: hand in the newest one",
    156019: "stop, and ask Circle what it wants",
    177603: "ask Circle whether this API key's entity still exists",
}
"""What a person does about a code that tells him to."""

ANY_HINT = "look the code up in Circle's error list; if its meaning has changed, set it under codes"


def meaning(code: int | None, status: int, changed: Mapping[int, str]) -> Meaning:
    """The class of one refusal. What has no code, or one that nobody knows, leaves everything open."""
    if code is None:
        return Meaning.DOUBT
    if code in changed:
        return Meaning(changed[code])
    # Not every answer with status 401 carries that code (contract 1).
    return MEANINGS.get(code, Meaning.OPERATOR if status == 401 else Meaning.DOUBT)  # noqa: PLR2004


def hint(code: int | None) -> str:
    """What a person does about it."""
    return HINTS.get(code, ANY_HINT) if code is not None else ANY_HINT
