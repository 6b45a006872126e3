"""Single-file plugins: a configured path whose owner and mode are checked before one line of it runs."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path
from types import ModuleType

from keyturn.errors import UsageError
from keyturn.files import OTHERS_WRITE, read_private


def import_file(path: Path) -> ModuleType:
    """Run one plugin file as a module of a name of its own. Raises UsageError `plugin-mode` or `plugin-broken`."""
    source = _trusted_source(path)
    module = ModuleType(f"keyturn_single_file_{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}")
    module.__file__ = str(path)
    # Dataclasses and pydantic look their module up by name.
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - the configured plugin itself
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise UsageError(
            "plugin-broken",
            f"the plugin file did not load: {type(error).__name__}: {error}",
            hint="repair the file; secrets that do not use it are not affected",
            place=str(path),
        ) from error
    return module


def _trusted_source(path: Path) -> bytes:
    """The file's bytes, from the very descriptor whose owner and mode were looked at."""
    try:
        source = read_private(path)
        folder = path.parent.stat()
    except UsageError as error:
        raise _refused(path, error.message, error.hint) from error
    ours = folder.st_uid in (0, os.geteuid())
    # In a sticky folder others can add files, but not replace this one.
    if not ours or (folder.st_mode & OTHERS_WRITE and not folder.st_mode & stat.S_ISVTX):
        raise _refused(path, "others can replace files in its folder", f"chmod go-w {path.parent}, with root as owner")
    return source


def _refused(path: Path, why: str, hint: str) -> UsageError:
    return UsageError("plugin-mode", f"the plugin file was not loaded: {why}", hint=hint, place=str(path))
