"""How the simulated Azure API Management misbehaves when told."""

from __future__ import annotations

from keyturn.simulator_faults import FaultRules
from keyturn_apiportal.simulator_faults import FORMS, HOSTILE, HOWS

RULES = FaultRules(
    kinds=("token", "get", "list-secrets", "regenerate-primary", "regenerate-secondary", "probe"),
    groups={"regenerate": ("regenerate-primary", "regenerate-secondary"), "read": ("get", "list-secrets")},
    hows=HOWS,
    forms=FORMS,
    also=r"elsewhere-(?:before|after):(?:primary|secondary)",  # 7.11: somebody else regenerates that slot
    servers=True,
    hostile=HOSTILE,
)
