"""A thousand secrets due at once, three runners, one of them killed: `PYTHONPATH=tests python -m fleet [COUNT]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from fleet.harness import LEAD, Fleet, fleet
from keyturn.journal.store import Journal
from servers.postgresql import memory

COUNT = 1_000
RUNNERS = 3
LEASE_S = 5
KILLED_AFTER = 0.25
LIMIT_S = 1_800.0


def work(one: Fleet, journal: Journal) -> tuple[float, int]:
    """From the moment all are due until all are done, s; and the pid of the runner that was killed on the way."""
    one.keyturn("rotate", LEAD, "--yes")
    began = monotonic()
    killed, *_others = (one.start() for _ in range(RUNNERS))
    count = len(one.followers)
    one.wait_for(journal, int(count * KILLED_AFTER), at_most_s=LIMIT_S)
    killed.kill()
    one.wait_for(journal, count, at_most_s=LIMIT_S, dead=killed)
    took_s = monotonic() - began
    one.stop()
    return took_s, killed.pid


def lines(count: int, folder: Path) -> list[str]:
    """The table."""
    began = monotonic()
    with fleet(folder, count, lease_s=LEASE_S) as one, one.journal() as journal:
        ready_s = monotonic() - began
        took_s, pid = work(one, journal)
        left = one.taken_over_s(journal, pid)
        wrong, refused, broken = one.not_once(), one.refused(), journal.verify()
        cores, slowest_s, once = os.cpu_count(), max(left, default=0.0), count - len(wrong)
        return [
            f"secrets adopted        {count:8d}    in {ready_s:.0f} s, at {len(one.sims)} simulated vendors",
            f"runners                {RUNNERS:8d}    one killed with -9 at {KILLED_AFTER:.0%}; {cores} cores for all",
            f"all rotated and done   {took_s:8.1f} s",
            f"rotations              {count / took_s:8.1f} /s",
            f"exactly once           {once:8d}    by the vendors' log{f', not: {wrong}' if wrong else ''}",
            f"accepted where served  {count - len(refused):8d}    and the old value refused",
            f"left by the killed one {len(left):8d}    resumed after {slowest_s:.1f} s at most; lease {LEASE_S} s",
            f"broken chains          {len(broken):8d}",
        ]


if __name__ == "__main__":
    with TemporaryDirectory(prefix="keyturn-fleet-", dir=memory()) as place:
        for line in lines(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT, Path(place)):
            sys.stdout.write(f"{line}\n")
