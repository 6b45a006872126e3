"""References: where a value is (`env:`, `file:`, `exec:`, `SINK:PATH#FIELD`), and the one place that fetches it.

Configuration holds references, never values. Errors name the reference, never the value or a child's output.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, NoReturn

from keyturn.errors import PluginError, UsageError
from keyturn.secret import Secret

BYTES_MAX = 1_048_576
"""The largest value a reference may have, bytes."""

EXEC_TIMEOUT_S = 30.0
"""How long the command of an `exec:` reference may take, seconds."""

PATH_DEFAULT = "/usr/local/bin:/usr/bin:/bin"
CHUNK_BYTES = 65_536
SINK_REFERENCE = re.compile(r"(?P<sink>[a-z0-9][a-z0-9_-]*):(?P<path>[^#]+)#(?P<field>[^#]+)")

ReadSink = Callable[[str, str, str], Secret]
"""Reads one field of a sink by sink name, path and field name. Raises PluginError or KeyturnError."""


class Untrusted(Exception):
    """A file could not be taken: missing, too large, or somebody else could have written it. `why` is one line."""

    def __init__(self, why: str, *, mode: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.mode = mode


def read_trusted(path: Path, *, bytes_max: int = BYTES_MAX) -> bytes:
    """The bytes of a regular file that only its owner (this user or root) can write, and nobody else can replace.

    Symlinks are followed, since Kubernetes mounts secrets as links: the checks are about the file they end at and its
    folder. Raises Untrusted; its `mode` says whether ownership or permissions are the reason.
    """
    try:
        real = path.resolve(strict=True)
        # Not blocking: a FIFO in place of the file must not hang the run.
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it can not be opened"
        raise Untrusted(reason.lower()) from None
    try:
        _check_owner_and_mode(os.fstat(descriptor), real.parent.stat())
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(bytes_max + 1)
    finally:
        os.close(descriptor)
    if len(content) > bytes_max:
        raise Untrusted(f"it is larger than {bytes_max} bytes")
    return content


def _check_owner_and_mode(file: os.stat_result, folder: os.stat_result) -> None:
    if not stat.S_ISREG(file.st_mode):
        raise Untrusted("it is not a regular file")
    others = stat.S_IWGRP | stat.S_IWOTH
    if file.st_mode & others:
        raise Untrusted("the file can be written by its group or by others", mode=True)
    # In a sticky folder (every mounted Kubernetes secret) nobody can replace somebody else's file.
    if folder.st_mode & others and not folder.st_mode & stat.S_ISVTX:
        raise Untrusted("its folder can be written by its group or by others", mode=True)
    if file.st_uid not in (0, os.geteuid()):
        raise Untrusted("the file belongs to another user", mode=True)


def sink_of(reference: str) -> str | None:
    """The sink that a reference reads, or None where it reads none."""
    if reference.startswith(("env:", "file:", "exec:")):
        return None
    match = SINK_REFERENCE.fullmatch(reference)
    return match["sink"] if match else None


class Resolver:
    """Fetches values. Relative paths start at `folder` (the configuration's); `sinks` reads `SINK:PATH#FIELD`."""

    def __init__(
        self,
        folder: Path,
        sinks: ReadSink | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        exec_timeout_s: float = EXEC_TIMEOUT_S,
    ) -> None:
        self._folder = folder
        self._sinks = sinks
        self._environ = environ
        self._exec_timeout_s = exec_timeout_s

    def resolve(self, reference: str) -> Secret:
        """The value behind a reference, without one trailing newline.

        Raises UsageError `reference-unresolved`, also where the value is empty, not UTF-8, or holds a NUL.
        """
        scheme, _, rest = reference.partition(":")
        if scheme == "env":
            text = self._environ.get(rest)
            if text is None:
                _unresolved(reference, "the variable is not set", f"set {rest} for this process")
        elif scheme == "file":
            text = self._file(reference, rest)
        elif scheme == "exec":
            text = self._exec(reference, rest)
        else:
            text = self._sink(reference)
        return _checked(reference, text)

    def _file(self, reference: str, path: str) -> str:
        place = self._folder / path
        try:
            return _decoded(reference, read_trusted(place))
        except Untrusted as error:
            fix = "chmod go-w" if error.mode else "ls -lL"
            _unresolved(reference, error.why, f"{fix} {shlex.quote(str(place))}")

    def _exec(self, reference: str, command: str) -> str:
        hint = "run the command by hand, with nothing but PATH in its environment"
        try:
            argv = shlex.split(command)
            if not argv:
                _unresolved(reference, "the command is empty", hint)
            child = self._start(argv)
        except (OSError, ValueError):
            _unresolved(reference, "the command can not be started", hint)
        output = _output(child, timeout_s=self._exec_timeout_s)
        if output is None:
            _unresolved(reference, f"the command took over {self._exec_timeout_s:g} s or wrote too much", hint)
        if child.returncode != 0:
            _unresolved(reference, f"the command ended with code {child.returncode}", hint)
        return _decoded(reference, output)

    def _start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": self._environ.get("PATH", PATH_DEFAULT)},
            cwd=self._folder,
            # A group of its own: a helper that hangs is killed with its children.
            start_new_session=True,
        )

    def _sink(self, reference: str) -> str:
        match = SINK_REFERENCE.fullmatch(reference)
        if match is None:
            # It may be a value that somebody wrote in place of a reference: not shown.
            raise UsageError("reference-unresolved", "this is not a reference", hint=HINT_FORMS)
        if self._sinks is None:
            _unresolved(reference, "sinks can not be read by reference here yet", "use env:, file: or exec:")
        try:
            return self._sinks(match["sink"], match["path"], match["field"]).reveal()
        except PluginError as error:
            _unresolved(reference, error.why, f"keyturn check --online shows what sink {match['sink']} says")


HINT_FORMS = "write env:NAME, file:PATH, exec:COMMAND or SINK:PATH#FIELD"


def _unresolved(reference: str, why: str, hint: str) -> NoReturn:
    raise UsageError(
        "reference-unresolved",
        f"reference {reference} does not resolve: {why}",
        hint=hint,
        fields={"reference": reference},
    ) from None


def _decoded(reference: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        _unresolved(reference, "the value is not UTF-8", "store it as text, or base64")


def _checked(reference: str, text: str) -> Secret:
    text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not text:
        _unresolved(reference, "the value is empty", "store a value there")
    if "\0" in text:
        _unresolved(reference, "the value holds a NUL character", "store it as text, or base64")
    if not text.isascii() and any(0xD800 <= ord(character) <= 0xDFFF for character in text):  # noqa: PLR2004 - UTF-16 surrogates, PEP 383
        _unresolved(reference, "the value is not UTF-8", "store it as text, or base64")
    return Secret(text)


def _output(child: subprocess.Popen[bytes], *, timeout_s: float) -> bytes | None:
    """What the child wrote until it ended, or None where it took too long or wrote too much. It is gone afterwards."""
    deadline = time.monotonic() + timeout_s
    try:
        assert child.stdout is not None  # noqa: S101 - started with a pipe
        output = _read_until(child.stdout, deadline)
        if output is not None:
            child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        output = None
    finally:
        _end(child)
    return output


def _read_until(pipe: IO[bytes], deadline: float) -> bytes | None:
    read = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(pipe.fileno(), CHUNK_BYTES)
            if not chunk:
                return bytes(read)
            read += chunk
            if len(read) > BYTES_MAX:
                return None
    return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the child's group and collect it."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()
