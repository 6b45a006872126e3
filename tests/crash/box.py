"""The program as a container runs it: nobody's user, no home, no list of users, and nothing that can be written.

Where this user may make mount namespaces the box is a root of its own whose every mount is read-only. Elsewhere the
program runs beside us, and its folder has to stay as it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from program import Ran

ROOT = Path(__file__).parents[2]
NOBODY = 65534
SYSTEM = ("/bin", "/lib", "/lib64", "/usr", "/dev/null")
ETC = Path("/etc/keyturn")
UNSHARE = ("unshare", "--mount", "--propagation", "private")
BUILD = f"""
set -eu
root=$1 user=$2 etc=$3
shift 3
mount -t tmpfs -o mode=755 box "$root"
show() {{
    mkdir -p "$root$(dirname "$2")"
    if [ -L "$1" ]; then cp -P "$1" "$root$2"; return; fi
    if [ -d "$1" ]; then mkdir -p "$root$2"; else touch "$root$2"; fi
    mount --bind "$1" "$root$2"
    mount -o remount,bind,ro "$root$2"
}}
while [ "$1" != -- ]; do show "$1" "$1"; shift; done
shift
show "$etc" {ETC}
mkdir -p "$root/proc" "$root/tmp"
mount -t proc -o ro proc "$root/proc"
mount -o remount,ro "$root"
chroot --userspec="$user:$user" --groups= "$root" "$@"
"""
"""Arguments: an empty folder, the user's number, the folder to be seen as ETC, what else is to be seen, `--`, and the
program with its arguments."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A folder with `keyturn.yaml` that the program sees and may only read, and the program's environment."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def config(self) -> str:
        """The configuration, as the program sees it."""
        return str((ETC if sealed() else self.folder) / "keyturn.yaml")

    def run(self, *args: str, stdin: str = "") -> Ran:
        """`keyturn` in the box, to its end."""
        return self.python("-P", "-m", "keyturn", *args, stdin=stdin)

    def python(self, *args: str, stdin: str = "") -> Ran:
        """The interpreter in the box, to its end."""
        before = self._contents()
        done = subprocess.run(
            [*(self._walls() if sealed() else ()), sys.executable, *args],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", **self.environment},
            cwd="/",
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert self._contents() == before
        return Ran(code=done.returncode, out=done.stdout, err=done.stderr)

    def _walls(self) -> Sequence[str]:
        inside = self.folder.with_name(f"{self.folder.name}-root")
        inside.mkdir(exist_ok=True)
        python = dict.fromkeys(map(str, (ROOT, sys.base_prefix, sys.prefix)))
        seen = [path for path in (*SYSTEM, *python) if Path(path).exists()]
        return (*UNSHARE, "sh", "-c", BUILD, "sh", str(inside), str(NOBODY), str(self.folder), *seen, "--")

    def _contents(self) -> dict[str, tuple[int, int]]:
        """What stands in the folder now: size and time of the last change."""
        found = [self.folder, *self.folder.rglob("*")]
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def user() -> int:
    """Whose files the program may read."""
    return NOBODY if sealed() else os.geteuid()


@cache
def sealed() -> bool:
    """Whether we may build walls here."""
    if os.geteuid() != 0:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
