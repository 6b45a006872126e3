"""Folders and files that hold secrets: reached without following a symlink, ours alone to write, durable."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from keyturn.api import Doubt, NotSent, Refused

READ_BYTES_MAX = 8 * 1_048_576
BASE = os.O_NOFOLLOW | os.O_CLOEXEC
LOOSE_READ = 0o044
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)
NOT_PLAIN = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO)


@dataclass(frozen=True, kw_only=True)
class Access:
    """Permission bits, and the group if it is not the process' own."""

    mode: int = 0o600
    gid: int | None = None

    @property
    def of_folder(self) -> Access:
        """The same for a folder: who may read may also enter."""
        return Access(mode=self.mode | (self.mode & 0o444) >> 2, gid=self.gid)


class Folder:
    """An open folder. Its entries are reached through the descriptor, so that nobody can swap the path meanwhile."""

    def __init__(self, descriptor: int, shown: str) -> None:
        self._descriptor = descriptor
        self._shown = shown

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Open a folder by path. Raises Refused `folder-missing`, `folder-mode`."""
        try:
            return cls(_open_checked(str(path), None, str(path), 0o022), str(path))
        except FileNotFoundError:
            raise Refused(f"the folder {path} does not exist: create it, or mount it", code="folder-missing") from None

    def sub(self, name: str, *, private: bool = False) -> Folder | None:
        """The folder below, or None. Raises Refused `folder-mode`."""
        shown = f"{self._shown}/{name}"
        try:
            return Folder(_open_checked(name, self._descriptor, shown, 0o077 if private else 0o022), shown)
        except FileNotFoundError:
            return None

    def make(self, name: str, access: Access) -> None:
        """Create the folder below if it is not there, with exactly this access."""
        try:
            os.mkdir(name, 0o700, dir_fd=self._descriptor)
        except FileExistsError:
            return
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | BASE, dir_fd=self._descriptor)
        try:
            _give(descriptor, access)
        finally:
            os.close(descriptor)
        self.sync()

    def read(self, name: str) -> bytes | None:
        """A file's bytes, or None. Raises Refused `not-a-file`, `file-mode`, `file-size`."""
        shown = f"{self._shown}/{name}"
        try:
            # O_NONBLOCK: opening a pipe that somebody put there must not hang.
            descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | BASE, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Refused(f"{shown} is not an ordinary file: move it away", code="not-a-file")
            check_ours(found, shown, 0o022, "file-mode")
            data = file.read(READ_BYTES_MAX + 1)
        if len(data) > READ_BYTES_MAX:
            raise Refused(f"{shown} is longer than {READ_BYTES_MAX} bytes: move it away", code="file-size")
        return data

    def mode(self, name: str) -> int:
        """A file's permission bits."""
        return stat.S_IMODE(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_mode)

    def names(self) -> list[str]:
        """What the folder holds."""
        return sorted(os.listdir(self._descriptor))  # noqa: PTH208 - by descriptor, not by path

    def fill(self, name: str, data: bytes, access: Access) -> None:
        """Write a file of its own, durable on return; a left-over of an interrupted call is replaced."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BASE, 0o600, dir_fd=self._descriptor)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                _give(descriptor, access)
                os.fsync(descriptor)
        except OSError:
            os.unlink(name, dir_fd=self._descriptor)
            raise

    def hand_over(self, name: str, into: Folder, as_name: str) -> None:
        """Move a file in one step over whatever is there. Not durable before `into.sync()`."""
        try:
            os.rename(name, as_name, src_dir_fd=self._descriptor, dst_dir_fd=into._descriptor)
        except OSError:
            os.unlink(name, dir_fd=self._descriptor)
            raise

    def write(self, name: str, data: bytes) -> None:
        """Replace a private file: old or new after a crash, never a part. Durable on return."""
        self.fill(f"{name}.tmp", data, Access())
        self.hand_over(f"{name}.tmp", self, name)
        self.sync()

    def remove(self, name: str) -> bool:
        """Remove a file, durably. False where there was none."""
        try:
            os.unlink(name, dir_fd=self._descriptor)
        except FileNotFoundError:
            return False
        self.sync()
        return True

    def lock(self, name: str) -> int:
        """A descriptor for `try_lock`; closing it gives the lock back."""
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | BASE, 0o600, dir_fd=self._descriptor)

    def sync(self) -> None:
        """Make the folder's own entries durable. Raises Doubt: what had to become durable has happened already."""
        with failing_as(Doubt):
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the lock if nobody has it, on any process of this machine."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def failing_as(outcome: type[NotSent | Doubt]) -> Iterator[None]:
    """Turn what the operating system says into what the engine asks: did it happen? Raises Refused, or `outcome`."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        if outcome is Doubt:
            raise Doubt(f"changed on the disk, then: {why}", code="after-change") from None
        if error.errno in NO_ROOM:
            raise NotSent(f"no room on the disk: {why}", code="disk-full") from None
        if error.errno in NO_RIGHT:
            raise Refused(f"no right to the folder: {why}", code="folder-permission") from None
        if error.errno in NOT_PLAIN:
            raise Refused("a symlink or something else stands where a file or folder must be", code="symlink") from None
        raise NotSent(f"the file system failed: {why}", code="file-system") from None


def _open_checked(name: str, at: int | None, shown: str, loose: int) -> int:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | BASE, dir_fd=at)
    try:
        check_ours(os.fstat(descriptor), shown, loose, "folder-mode")
    except Refused:
        os.close(descriptor)
        raise
    return descriptor


def check_ours(found: os.stat_result, shown: str, loose: int, code: str) -> None:
    """Refuse what belongs to others, or has any of the `loose` permission bits. Raises Refused with this code."""
    if found.st_uid not in (0, os.geteuid()):
        raise Refused(f"{shown} belongs to user {found.st_uid}, expected root or this user: chown it", code=code)
    if found.st_mode & loose:
        mend = "chmod go-w" if not loose & LOOSE_READ else "chmod go-rwx"
        mode = stat.S_IMODE(found.st_mode)
        raise Refused(f"{shown} has mode {mode:04o}, which lets others in: {mend} {shown}", code=code)


def _give(descriptor: int, access: Access) -> None:
    if access.gid is not None:
        os.fchown(descriptor, -1, access.gid)
    os.fchmod(descriptor, access.mode)
