"""How the simulated portal and its proxies misbehave when told: faults that hit single requests."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.simulator_faults import FaultRules, Spoiled
from keyturn.simulator_faults import spoiled as spoiled_by

MUTATING = ("put-app", "post-key", "put-key", "patch", "delete", "put-legacy")
READING = ("apps", "app", "keys", "key", "get-legacy", "suggest", "settings", "proxies", "deployments", "requests")
PAPI = ("token", *READING, *MUTATING, "review")
PROXY = ("otk", "otk-revoke", "resource")

HOWS: Mapping[str, bool] = {
    "timeout-before": False,  # contract 7.5: nothing happens, no answer comes
    "timeout-after": False,  # contract 7.5: committed, no answer comes
    "reset-before": False,  # contract 7.5: the connection breaks, nothing happened
    "reset-after": False,  # contract 7.5: committed, the connection breaks before the answer
    "late": True,  # contract 7.5: `late:SECONDS`, the connection breaks at once, the commit comes later
    "slow": True,  # contract 7.5: `slow:SECONDS`, committed at once, the answer comes later
    "held": True,  # contract 7.5: `held:SECONDS`, in flight for so long, and judged only then
    "cut": False,  # contract 7.5: committed, the connection breaks in the middle of the answer
    "bad-length": False,  # contract 7.5: committed, Content-Length ends the answer too early
    "bad-utf8": False,  # contract 7.5: committed, a byte of the answer is no UTF-8
    "replayed": False,  # contract 6: an HTTP library delivers the request twice, the second answer comes through
    "elsewhere-before": False,  # contract 7.11: somebody regenerates the secret, then the request is served
    "elsewhere-after": False,  # contract 7.11: the request is served, then somebody regenerates the secret
    "edited-before": False,  # contract 7.11: somebody edits the key, then the request is served
    "hashing-before": False,  # contract 7.7: the tenant's hashing setting changes, then the request is served
    "moved": False,  # contract 7.13: an item of this list has moved to its end
}
"""What may happen besides a status, and whether it takes seconds."""

RULES = FaultRules(
    kinds=(*PAPI, *PROXY),
    groups={"changes": MUTATING, "papi": PAPI},
    hows=HOWS,
    forms=("json", "empty", "html", "old", "bare"),  # contract 7.1, 7.3: three shapes of an error, a page, nothing
    answers=("missing", "asterisks", "empty", "old", "no-body"),  # contract 7.6
    also=r"x-ca-err:\d{7}",  # contract 7.10: a proxy answers with this code
    hostile=(
        *("reset-before", "reset-after", "late:1", "cut", "bad-length", "500:empty", "502:html", "500-after:empty"),
        *("502-after:html", "503-after:html", "429:0", "429:none", "replayed", "answer:missing", "x-ca-err:3003000"),
    ),
    servers=True,
)
"""A `server` is the number of a proxy; without one a fault hits the portal or any proxy."""


def spoiled(how: str) -> Spoiled | None:
    """What stands in place of an answer; None where the word asks for something else."""
    return spoiled_by(how, RULES)
