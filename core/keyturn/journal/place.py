"""Where a journal file may lie: ours alone, no symlink, and on a disk of this machine."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from keyturn.errors import UsageError
from keyturn.files import OTHERS_ANY
from keyturn.journal import faults

MOUNTS = Path("/proc/self/mountinfo")
NETWORK_KINDS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "9p", "ceph", "glusterfs", "lustre", "gfs2"}
    | {"ocfs2", "beegfs", "gpfs", "virtiofs", "vboxsf", "prl_fs"}
)
LOCAL_FUSE_KINDS = frozenset({"fuse.fuse-overlayfs", "fuseblk"})


def check_file(path: Path) -> None:
    """Raise UsageError unless `path` is a plain file that only we (or root) own, read and write."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise faults.missing(str(path)) from None
    if stat.S_ISLNK(found.st_mode):
        raise UsageError(
            "journal-symlink", "the journal is a symlink", hint="name the file it leads to", place=str(path)
        )
    if not stat.S_ISREG(found.st_mode):
        raise faults.foreign(str(path))
    if found.st_mode & OTHERS_ANY or found.st_uid not in (os.geteuid(), 0):
        raise UsageError(
            "journal-mode",
            f"expected mode 0600 and us or root as owner, "
            f"found mode {stat.S_IMODE(found.st_mode):04o} and owner {found.st_uid}",
            hint=f"chmod 600 {path}",
            place=str(path),
        )


def check_folder(folder: Path) -> None:
    """Raise UsageError `journal-network` where the folder's disk is another machine's.

    SQLite's WAL needs memory shared between its users, and locks that hold (https://www.sqlite.org/wal.html).
    """
    mounts = MOUNTS.read_text(errors="replace") if MOUNTS.exists() else ""
    kind = network_kind(mounts, folder.resolve())
    if kind:
        raise UsageError(
            "journal-network",
            f"a journal of kind sqlite can not lie on a network file system ({kind})",
            hint="choose a folder on a disk of this machine",
            place=str(folder),
        )


def network_kind(mountinfo: str, folder: Path) -> str | None:
    """The file system under `folder` if it is a network one. `mountinfo`: text as of proc_pid_mountinfo(5)."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        point = Path(_unescaped(left.split(" ")[4]))
        if folder.is_relative_to(point) and len(point.parts) >= best:  # of equal ones the last is on top
            best, kind = len(point.parts), right.split(" ")[0]
    far = kind in NETWORK_KINDS or (kind.startswith("fuse") and kind not in LOCAL_FUSE_KINDS)
    return kind if far else None


def _unescaped(text: str) -> str:
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, sign)
    return text
