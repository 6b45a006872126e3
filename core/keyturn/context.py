"""The plugin's hands: the one implementation of `keyturn.plugins.context.Context`."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import final

from keyturn.errors import NotSent, UsageError
from keyturn.files import private_folder, write_private
from keyturn.http import HttpClient
from keyturn.plugins.context import Finished
from keyturn.process import run
from keyturn.secret import Bundle, Secret

FOLDER_PREFIX = "child-"


@final
class PluginContext:
    """One plugin instance's hands for one run; `close` when the run is over.

    `resolver` turns a reference into its value; `now` is epoch seconds by the journal's clock; `wait` lets seconds
    pass and is true when the process was asked to stop; `scratch` is a private folder for files that a child needs.
    """

    def __init__(
        self,
        *,
        resolver: Callable[[str], Secret],
        now: Callable[[], float],
        wait: Callable[[float], bool],
        fingerprint: Callable[[str], str],
        seal: Callable[[str, Secret], None],
        note: Callable[[str, Mapping[str, str]], None],
        scratch: Path,
    ) -> None:
        self._resolver, self._now, self._pause, self._fingerprint = resolver, now, wait, fingerprint
        self._seal, self._note, self._scratch = seal, note, scratch
        self._clients: list[HttpClient] = []

    def resolve(self, reference: str) -> Secret:
        """The value behind a reference. Raises NotSent where it does not resolve."""
        try:
            return self._resolver(reference)
        except UsageError as error:
            raise NotSent(str(error), code=error.code) from None

    def http(
        self,
        base_url: str,
        *,
        username: Secret | None = None,
        password: Secret | None = None,
        ca: Path | None = None,
        proxy: str | None = None,
        local_address: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpClient:
        """A client for one base URL, closed with this context. Raises NotSent where `ca` can not be read."""
        client = HttpClient(
            base_url,
            now=self._now,
            seal=self._seal,
            username=username,
            password=password,
            ca=ca,
            proxy=proxy,
            local_address=local_address,
            headers=headers,
        )
        self._clients.append(client)
        return client

    def run(
        self, argv: Sequence[str], *, files: Bundle | None = None, stdin: Secret | None = None, timeout_s: float = 60.0
    ) -> Finished:
        """Run a child with an empty environment plus PATH.

        Raises NotSent, code `child-missing`, where it can not be started, and Doubt, code `child-timeout`, where it
        outlived `timeout_s`; its whole process group is then killed.
        """
        with self._written(files or Bundle()) as paths:
            filled = [_fill(word, paths) for word in argv]
            return run(filled, stdin=stdin, timeout_s=timeout_s)

    def wait(self, check: Callable[[], bool], *, every_s: float, at_most_s: float) -> bool:
        """Poll until `check` is true; at least once. False when the time is over or the process was asked to stop."""
        end = self._now() + at_most_s
        # Counted as well, so that a clock that is set back can not make it endless.
        for _ in range(1 + math.ceil(max(0.0, at_most_s) / every_s)):
            if check():
                return True
            left_s = end - self._now()
            if left_s <= 0 or self._pause(min(every_s, left_s)):
                return False
        return check()

    def fingerprint(self, value: str) -> str:
        """The keyed fingerprint of a value."""
        return self._fingerprint(value)

    def seal(self, attempt_id: str, raw: Secret) -> None:
        """Seal a raw answer under its attempt id."""
        self._seal(attempt_id, raw)

    def note(self, event: str, fields: Mapping[str, str]) -> None:
        """A line for the operator and the journal, never a value."""
        self._note(event, fields)

    def now(self) -> float:
        """Epoch seconds by the journal's clock."""
        return self._now()

    def close(self) -> None:
        """Close every client made here."""
        while self._clients:
            self._clients.pop().close()

    @contextlib.contextmanager
    def _written(self, files: Bundle) -> Iterator[dict[str, Path]]:
        """The files in a private folder, for as long as the block lasts. Recorded before it exists (promise P4)."""
        if not files:
            yield {}
            return
        folder = self._scratch / f"{FOLDER_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
        self._note("value-files", {"folder": str(folder)})
        private_folder(self._scratch)
        private_folder(folder)
        try:
            yield {name: _write(folder, name, text) for name, text in files.reveal().items()}
        finally:
            shutil.rmtree(folder)


def sweep(scratch: Path) -> list[Path]:
    """Remove the value folders that dead processes of this machine left in `scratch`; those removed."""
    left = [folder for folder in scratch.glob(f"{FOLDER_PREFIX}*-*") if _orphaned(folder)]
    for folder in left:
        shutil.rmtree(folder)
    return left


def _orphaned(folder: Path) -> bool:
    pid = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
    if not pid.isdecimal() or not stat.S_ISDIR(folder.lstat().st_mode):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    if path.parent != folder or name in ("", ".", ".."):
        raise NotSent(f"expected a file name without folders, found {name!r}", code="child-file-name")
    write_private(path, text.encode(), new=True)
    return path


def _fill(word: str, paths: Mapping[str, Path]) -> str:
    """`{name}` replaced by that file's path; other braces stay."""
    for name, path in paths.items():
        word = word.replace(f"{{{name}}}", str(path))
    return word
