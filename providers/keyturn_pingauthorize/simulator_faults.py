"""How the simulated cluster misbehaves when told: faults that hit single requests, once or a few times."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.simulator_faults import FaultRules

CHANGES = ("create", "add", "remove", "delete")
KINDS = (*CHANGES, "read", "probe")
"""What a fault may be `on`: `read` is every GET of the Configuration API, `probe` the Sideband API."""

HOWS: Mapping[str, bool] = {
    "timeout-before": False,  # contract 10.2: nothing happens, no answer comes
    "timeout-after": False,  # 10.2: committed, no answer comes
    "reset-before": False,  # 10.2: the connection breaks, nothing happened
    "reset-after": False,  # 10.2: committed, the answer is cut in the middle
    "late": True,  # 10.2: `late:SECONDS`, the commit and the answer come late
    "reset-late": True,  # 10.2: `reset-late:SECONDS`, the connection breaks at once, the commit comes late
    "html": False,  # 10.1: a proxy's page with status 200, nothing happened
    "html-after": False,  # 10.1: committed, the proxy's page hides it
    "429": False,  # 10.18: with Retry-After, nothing happened
}
"""What may happen, and whether it takes seconds."""

ALSO = (
    r"(status|status-after|empty):\d{3}"  # contract 10.1: nothing happened; committed all the same; without a body
    r"|foreign-(add|remove|delete):.+"  # 10.12: another administrator adds that name first, then the request is served
)
HOSTILE = ("reset-before", "reset-after", "late:0.2", "status:500", "status-after:500", "html", "html-after", "429")
"""Without time-outs, which teach a client nothing that a reset does not, and cost its whole patience."""

RULES = FaultRules(
    kinds=KINDS, hows=HOWS, forms=(), hostile=HOSTILE, also=ALSO, groups={"change": CHANGES}, servers=True
)
