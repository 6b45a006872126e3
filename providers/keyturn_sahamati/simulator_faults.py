"""How the simulated Token Service misbehaves when told: faults that hit single requests, once or a few times."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.simulator_faults import FaultRules

KINDS = ("user-token", "entity-token", "read", "reset")
"""What a fault may be `on`: one of the four calls."""

HOWS: Mapping[str, bool] = {
    "timeout-before": False,  # contract 9.2: nothing happens, no answer comes
    "timeout-after": False,  # contract 9.1: committed, no answer comes
    "reset-before": False,  # contract 9.2: the connection breaks, nothing happened
    "reset-after": False,  # contract 9.1: committed, the connection breaks before the answer
    "late": True,  # contract 9.3: `late:SECONDS`, the connection breaks at once, the commit comes later
    "slow": True,  # contract 9.22: `slow:SECONDS`, committed at once, the answer comes later
    "cut-json": False,  # contract 9.4: committed, the answer breaks off in the middle
    "bad-length": False,  # contract 9.4: committed, Content-Length ends the answer too early
    "bad-utf8": False,  # contract 9.4: committed, a byte of the answer is no UTF-8
    "portal-before": False,  # contract 9.5: somebody else resets first, then the request is served
    "portal-after": False,  # contract 9.5: the request is served, then somebody else resets
    "token-revoked": False,  # contract 9.16: every user token is revoked first, then the request is served
}
"""What may happen besides a status, and whether it takes seconds."""

FORMS = ("json", "empty", "html", "oauth")
"""Of `STATUS[-after][:FORM]` (contract 9.1, 9.17, 9.21). A 3xx leads to a login page."""

HOSTILE = (
    *("reset-before", "reset-after", "late:1", "cut-json", "bad-length", "500:empty", "502:html", "502-after:html"),
    *("504-after:html", "429:0", "token-revoked"),
)
"""Without time-outs, which teach a client nothing that a reset does not, and cost its whole patience."""

RULES = FaultRules(kinds=KINDS, hows=HOWS, forms=FORMS, hostile=HOSTILE, also="portal-(before|after):.+")
"""`portal-before:NAME`: who it is that resets in between."""
