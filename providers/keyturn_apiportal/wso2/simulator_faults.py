"""How the simulated WSO2 API Manager misbehaves when told."""

from __future__ import annotations

from keyturn.simulator_faults import FaultRules
from keyturn_apiportal.simulator_faults import FORMS, HOSTILE, HOWS

RULES = FaultRules(
    kinds=("token", "get", "secrets", "generate", "revoke", "regenerate", "probe"),
    groups={"change": ("generate", "revoke"), "read": ("get", "secrets")},
    hows={**HOWS, "no-value": False},  # 7.6: committed, the answer lacks the secret
    forms=FORMS,
    also=r"elsewhere-(?:before|after):(?:generate|revoke-oldest|revoke-newest)",  # 7.11: somebody else at the portal
    servers=True,
    hostile=HOSTILE,
)
