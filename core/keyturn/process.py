"""Starting a child process: no shell, an empty environment plus PATH and what is declared, bounded in time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from keyturn.errors import Doubt, NotSent
from keyturn.plugins.context import Finished
from keyturn.secret import Secret


def run(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: Secret | None = None, timeout_s: float
) -> Finished:
    """Run a child to its end; its whole process group is killed when time is over.

    Raises NotSent where it can not be started, Doubt where it had to be killed.
    """
    result = _run(argv, {"PATH": os.environ.get("PATH", os.defpath), **(env or {})}, stdin, timeout_s)
    if isinstance(result, Finished):
        return result
    raise result


def _run(
    argv: Sequence[str], env: Mapping[str, str], stdin: Secret | None, timeout_s: float
) -> Finished | NotSent | Doubt:
    """Failures are handed back, not raised here: the exceptions they come from carry what the child printed."""
    try:
        child = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return NotSent(f"{argv[0]} can not be started: {error.strerror}", code="child-missing")
    with child:
        try:
            out, err = child.communicate(stdin.reveal().encode() if stdin else None, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _kill_group(child)
            return Doubt(f"{argv[0]} did not end within {timeout_s:g} s and was killed", code="child-timeout")
        except BaseException:
            _kill_group(child)
            raise
    return Finished(code=child.returncode, out=_text(out), err=_text(err))


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _text(raw: bytes) -> Secret:
    return Secret(raw.decode(errors="replace"))
