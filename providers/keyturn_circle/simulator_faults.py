"""How the simulated Circle misbehaves when told: faults that hit single requests, once or a few times."""

from __future__ import annotations

import re
from collections.abc import Mapping

from keyturn.simulator_faults import FaultRules

MUTATING = ("register", "rotate", "reset")
KINDS = (*MUTATING, "sign", "public-key", "entity", "wallet-sets", "wallets", "list-wallet-sets", "list-wallets")
"""What a fault may be `on`: one kind of call."""

HOWS: Mapping[str, bool] = {
    "timeout-before": False,  # contract 8.10: nothing happens, no answer comes
    "timeout-after": False,  # contract 8.10: committed, no answer comes
    "reset-before": False,  # contract 8.10: the connection breaks, nothing happened
    "reset-after": False,  # contract 8.10: committed, the connection breaks before the answer
    "late": True,  # contract 8.10: `late:SECONDS`, the connection breaks at once, the commit comes later
    "slow": True,  # contract 8.10: `slow:SECONDS`, committed at once, the answer comes later
    "held": True,  # contract 8.7: `held:SECONDS`, in flight for so long, and judged only then
    "cut": False,  # contract 8.10: committed, the connection breaks in the middle of the answer
    "bad-length": False,  # contract 8.10: committed, Content-Length ends the answer too early
    "bad-utf8": False,  # contract 8.11: committed, a byte of the answer is no UTF-8
    "elsewhere-before": False,  # contract 8.6: somebody rotates in the Console, then the request is served
    "elsewhere-after": False,  # contract 8.6: the request is served, then somebody rotates in the Console
    "replayed": False,  # contract 8.2: a proxy delivers the request twice and passes on the second answer
}
"""What may happen besides a status, and whether it takes seconds."""

ANSWERS = ("ok", "missing", "empty", "not-base64", "truncated", "html", "no-data")
"""`answer:WORD`, contract 8.11: committed, and what the 2xx then has for a recovery file."""
CODE = re.compile(r"code(?P<after>-after)?:(?P<code>-?\d+)")
"""`code:N`: the error of that number in place of the call (contract 3); with `code-after:N` the call took effect."""
FORMS = ("json", "empty", "html")
"""Of `STATUS[-after][:FORM]` (contract 8.10, 8.12)."""

HOSTILE = (
    *("reset-before", "reset-after", "late:1", "cut", "bad-length", "500:empty", "502:html", "500-after:empty"),
    *("502-after:html", "503-after:html", "429:0", "429:none", "replayed", "answer:missing", "code-after:-1"),
)
"""Without time-outs, which teach a client nothing that a broken connection does not, and cost its whole patience."""

RULES = FaultRules(kinds=KINDS, hows=HOWS, forms=FORMS, answers=ANSWERS, hostile=HOSTILE, also=CODE.pattern)


def code_of(how: str) -> int | None:
    """The number in `code[-after]:N`; None for other words."""
    match = CODE.fullmatch(how)
    return int(match["code"]) if match else None
