"""Kill the real program with SIGKILL at its n-th journal write: `python -m keyturn.testing.crash N WHEN ARG…`.

`WHEN` is `before` or `after`. Events and sealed values both count.
"""

from __future__ import annotations

import sys
from typing import Literal, NoReturn, cast

from keyturn.cli import main
from keyturn.cli.estate import Wiring
from keyturn.testing.faults import CrashingJournal


def crash(at: int, when: Literal["before", "after"], argv: list[str]) -> NoReturn:
    """Run the program with a journal that ends the process."""
    main(argv, wiring=Wiring(journal=lambda journal: CrashingJournal(journal, at, when, kill=True)))


if __name__ == "__main__":
    crash(int(sys.argv[1]), cast('Literal["before", "after"]', sys.argv[2]), sys.argv[3:])
