"""A process that writes to a journal until it is done or killed; `JournalContract` starts it.

Reads one JSON object from standard input and says each stored `seq` on a line of its own, after it is durable.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from keyturn.clock import SystemClock
from keyturn.journal import JournalSettings, open_journal
from keyturn.journal.store import Draft, Lease


def write(order: dict[str, Any]) -> None:
    """Append `count` events to `secret` under `lease`, to the journal of `settings`."""
    path = order["settings"]["path"]
    settings = JournalSettings(**{**order["settings"], "path": Path(path) if path else None})
    journal = open_journal(settings, clock=SystemClock(), runner=order["runner"], operator="writer")
    lease = Lease(**order["lease"])
    for number in range(order["count"]):
        stored = journal.append(order["secret"], [Draft(type="written", data={"number": number})], lease=lease)
        sys.stdout.write(f"{stored[-1].seq}\n")
        sys.stdout.flush()
    journal.close()


if __name__ == "__main__":
    write(json.load(sys.stdin))
