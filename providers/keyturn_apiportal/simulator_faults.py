"""What may go wrong at both small portals; their own modules add what is theirs."""

from __future__ import annotations

from collections.abc import Mapping

HOWS: Mapping[str, bool] = {
    "timeout-before": False,  # 7.5: nothing happens, no answer comes
    "timeout-after": False,  # 7.5: committed, no answer comes
    "reset-before": False,  # 7.5: the connection breaks, nothing happened
    "reset-after": False,  # 7.5: committed, the connection breaks before the answer
    "late": True,  # 7.5: the connection breaks at once, the commit comes later
    "slow": True,  # 7.5: committed at once, the answer comes later
    "cut": False,  # 7.5: committed, the answer breaks off in the middle
    "token-revoked": False,  # 7.1: every access token is gone first
}
FORMS = ("json", "empty", "html")
"""Contract 7.1: 429, 5xx and HTML error pages."""
HOSTILE = ("reset-before", "reset-after", "late:1", "500", "502:html", "503-after:html", "429:1", "token-revoked")
"""Without time-outs, which teach a client nothing that a broken connection does not."""
