"""What is true at every moment of a rotation, a reset or a registration that goes wrong, and at its end."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keyturn.cli.estate import Wiring
from program import Ran

from .wallets import FIELD, FILE, SECRET, Wallets, wallets

REASON = ("--force", "--reason", "test", "--yes")
VERBS = {
    "rotate": ("rotate", SECRET, *REASON),
    "reset": ("recover", SECRET, *REASON),
    "register": ("rotate", SECRET, "--first", "--yes"),
}
RUNS_MAX, APART_S = 6, 130.0
ATTENTION = 8


@contextmanager
def team(folder: Path, verb: str, **more: Any) -> Iterator[Wallets]:
    """A team about to do this. Before a reset the secret is lost: somebody set another, and the file is ours still."""
    with wallets(folder, registered=verb != "register", **more) as one:
        if verb != "register":
            one.begin()
        if verb == "reset":
            file = one.custody()
            one.sim.console_elsewhere()
            one.sim.entity.current.file = file  # type: ignore[union-attr]
        yield one
        assert one.sim.log.reused == [], "no ciphertext is sent twice"
        never_told(one)


def act(one: Wallets, verb: str, wiring: Wiring | None = None) -> Ran:
    """Type what the team is about to do."""
    return one.keyturn(*VERBS[verb], wiring=wiring)


def runs(one: Wallets) -> list[Ran]:
    """A schedule's runs, until one is done or only a person has something to do."""
    ran: list[Ran] = []
    while len(ran) < RUNS_MAX and (not ran or ran[-1].code not in (0, ATTENTION)):
        assert kept(one), "promise P1"
        one.clock.advance(APART_S)
        ran.append(one.keyturn("run"))
        assert ran[-1].out.count(f"--supply {FILE}=@FILE") <= 1, "what is missing is said once"
    assert kept(one), "promise P1"
    return ran


def kept(one: Wallets) -> bool:
    """Promise P1: the secret in force is served or opens from the escrow, or else the file that resets it."""
    files = [one.custody(), *(bundle.get(FILE, "") for bundle in one.escrowed())]
    return not one.sim.secret or one.safe() or one.sim.recovery_file in files


def in_order(one: Wallets) -> None:
    """Consumers read the secret in force, and custody has its file, or what is printed for that makes another."""
    assert one.accepted(), "promise P2"
    if not one.sim.recovery_file_is(one.custody()):
        repaired(one)


def repaired(one: Wallets) -> None:
    """The file is missing: run, alert and status say so, and what they print repairs it, typed as it is."""
    assert one.keyturn("run").code == ATTENTION
    assert [what for what in (line.split("|")[1] for line in one.alerts) if what == "artefact"] == ["artefact"]
    status = one.keyturn("status", SECRET).said
    assert "without it a lost secret can not be recovered" in status
    one.well(*typed(status, "where nobody has it: "), "--yes")
    assert one.accepted(), "promise P2"
    assert one.sim.recovery_file_is(one.custody())
    assert one.row().status == "current"


def typed(text: str, after: str) -> list[str]:
    """The command that is printed behind these words."""
    found = re.search(re.escape(after) + r"keyturn ([^;|<\n]+)", text)
    assert found, text
    return shlex.split(found[1].replace("TEXT", "test"))


def refused_probes(one: Wallets) -> int:
    """How often the vendor was asked with a bad secret."""
    asked = [entry for entry in one.sim.log if entry["event"] == "attempt" and entry["on"] == "sign"]
    return len([entry for entry in asked if entry["code"] in (156013, 156016)])


def never_told(one: Wallets) -> None:
    """Promise P4: neither secret nor recovery file in anything that was said or journaled."""
    texts = [*one.said, (one.folder / "state/journal.db").read_bytes().decode(errors="replace"), *one.alerts]
    made = [value for made in one.sim.entity.generations for value in (made.value, made.file)]
    assert not [value for value in made for text in texts if value in text]


def replace_by_file(folder: Path) -> None:
    """A place that can be neither read nor written, for root either."""
    folder.rename(folder.with_suffix(".away"))
    folder.write_text("not a folder")


def put_back(folder: Path) -> None:
    """It is reachable again."""
    folder.unlink()
    folder.with_suffix(".away").rename(folder)


__all__ = [
    "FIELD",
    "SECRET",
    "act",
    "in_order",
    "kept",
    "never_told",
    "put_back",
    "refused_probes",
    "repaired",
    "replace_by_file",
    "runs",
    "team",
    "typed",
]
