"""Private files: 0600 from creation, atomic and durable, no symlink followed, no file of others believed."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from keyturn.errors import UsageError

READ_BYTES_MAX = 16 * 1024 * 1024
OTHERS_WRITE = 0o022
OTHERS_ANY = 0o077


def write_private(path: Path, data: bytes, *, new: bool = False) -> None:
    """Write `data` to `path`, 0600: readers see the old file or the whole new one; durable on return.

    With `new` an existing file is never replaced. Raises UsageError `file-symlink` (a symlink stands there),
    `file-exists`, or `file-unwritable`; the old file is untouched then.
    """
    if path.is_symlink():
        raise UsageError(
            "file-symlink", "expected a plain file, found a symlink", hint="name the file it leads to", place=str(path)
        )
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        _write_new(draft, data)
        _put_in_place(draft, path, new=new)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise UsageError(
            "file-exists", "the file exists already", hint="choose another path, or move it away", place=str(path)
        ) from error
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def read_private(path: Path, *, secret: bool = False) -> bytes:
    """All bytes of a plain file that only we and root can write; with `secret` nobody else may read it either.

    Raises UsageError `file-missing`, `file-symlink`, `file-kind`, `file-mode`, `file-size` or `file-unreadable`.
    """
    try:
        # O_NONBLOCK: opening somebody's FIFO must not hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise UsageError(
            "file-missing", "the file does not exist", hint="check the path, or create it", place=str(path)
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        check_private(path, os.fstat(descriptor), secret=secret)
        return _read_all(path, descriptor)
    finally:
        os.close(descriptor)


def check_private(path: Path, found: os.stat_result, *, secret: bool) -> None:
    """Refuse what is no plain file, is owned by others, or is open to others. Raises UsageError."""
    if not stat.S_ISREG(found.st_mode):
        raise UsageError("file-kind", "expected a plain file", hint="name a plain file", place=str(path))
    closed_to_others, wanted = (OTHERS_ANY, "600") if secret else (OTHERS_WRITE, "go-w")
    if found.st_mode & closed_to_others or found.st_uid not in (os.geteuid(), 0):
        raise UsageError(
            "file-mode",
            f"expected a file that others can not {'read or write' if secret else 'write'}, "
            f"found mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}",
            hint=f"chmod {wanted} {path}, with you or root as owner",
            place=str(path),
        )


def private_folder(path: Path) -> Path:
    """The folder, made 0700 where it is missing. Raises UsageError where it is a symlink or open to others."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise _unwritable(path, error) from error
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid in (os.geteuid(), 0)
    if not ours or found.st_mode & OTHERS_ANY:
        raise UsageError(
            "folder-mode",
            f"expected a folder of ours that is closed to others, found mode {stat.S_IMODE(found.st_mode):04o}",
            hint=f"chmod 700 {path}, with you or root as owner, and no symlink",
            place=str(path),
        )
    return path


def sync_folder(path: Path) -> None:
    """Make the folder's entries durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_new(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(draft: Path, path: Path, *, new: bool) -> None:
    if new:
        path.hardlink_to(draft)  # fails where something stands there, which a rename would replace
        draft.unlink()
    else:
        draft.rename(path)


def _read_all(path: Path, descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        data = file.read(READ_BYTES_MAX + 1)
    if len(data) > READ_BYTES_MAX:
        raise UsageError(
            "file-size", f"expected at most {READ_BYTES_MAX} bytes", hint="name a smaller file", place=str(path)
        )
    return data


def _unreadable(path: Path, error: OSError) -> UsageError:
    if path.is_symlink():
        return UsageError(
            "file-symlink", "expected a plain file, found a symlink", hint="name the file it leads to", place=str(path)
        )
    why = os.strerror(error.errno or 0).lower()
    return UsageError("file-unreadable", f"can not read the file: {why}", hint="check its rights", place=str(path))


def _unwritable(path: Path, error: OSError) -> UsageError:
    why = os.strerror(error.errno or 0).lower()
    return UsageError(
        "file-unwritable", f"can not write: {why}", hint="check room and rights of the folder", place=str(path)
    )
