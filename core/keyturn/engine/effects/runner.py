"""Who holds a lease: a runner's name tells machine, boot, process and its start, so that a dead one is recognised."""

from __future__ import annotations

import os
import socket
from pathlib import Path

PROC = Path("/proc")


def runner_id() -> str:
    """This process, as `host/boot/pid-namespace/pid/start`."""
    return f"{_here()}/{os.getpid()}/{_started(os.getpid())}"


def is_dead(runner: str) -> bool:
    """Whether that runner is a process of this very machine, boot and pid namespace that no longer exists.

    Anything that can not be known from here (another host, another container) counts as alive.
    """
    where, _, process = runner.rpartition("/")[0].rpartition("/")
    if where != _here() or not process.isdigit():
        return False
    started = _started(int(process))
    if started is None:
        return not _exists(int(process))
    return started != runner.rpartition("/")[2]


def _here() -> str:
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
    namespace = (PROC / "self/ns/pid").readlink().name.strip("pid:[]")
    return f"{socket.gethostname()}/{boot}/{namespace}"


def _exists(pid: int) -> bool:
    """Whether there is such a process, where /proc shows only one's own (hidepid) too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str | None:
    """The process's start in clock ticks since boot (proc(5), field 22). Empty: a zombie. None: not to be seen."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in "ZX" else fields[19]
