"""PingAuthorize over HTTP: lost answers, late commits and refused retries on every mutating call of a rotation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crash.town import SECRET, Town, town
from keyturn.cli.estate import open_estate
from keyturn.engine.entry import Ask, resume, rotate
from keyturn.engine.outcome import Outcome

LOST = (
    "timeout-before",
    "timeout-after",
    "reset-before",
    "reset-after",
    "late:1.5",
    "status:500",
    "status-after:500",
    "html",
    "html-after",
    "429",
    "empty:500",
)
STRICT = {"readd_is_error": True}
"""A retry of what was applied is refused, so that a blind repeat shows."""


def outcomes(one: Town) -> Iterator[Outcome]:
    """One process after the other in the same interpreter: rotate, then resume until quiet."""
    for turn in range(8):
        estate = open_estate(str(one.config))
        try:
            job = estate.job(SECRET)
            outcome = rotate(estate.bench, job, Ask()) if turn == 0 else resume(estate.bench, job)
        finally:
            estate.close()
        yield outcome
        if outcome.status in ("done", "undone", "quiet", "stuck"):
            return


def survived(folder: Path, on: str, server: int | None, how: str) -> str | None:
    """What went wrong, if anything."""
    where = f"{on} at {server}: {how}"
    with town(folder, limits={"call": "1s"}, account={"settle": "500ms", "mirror_timeout": "1s"}) as one:
        one.adopt()
        old = one.served()
        one.sim.switch(**STRICT)
        one.sim.fault(on, how, server=server)
        for outcome in outcomes(one):
            if not all(one.accepted(one.served())):
                return f"{where}: a consumer would be refused after {outcome.status}"
        if outcome.status not in ("done", "undone"):
            return f"{where}: ends {outcome.status}: {outcome.text}"
        sent = Counter(
            (entry["on"], entry["server"], entry["name"]) for entry in one.sim.log if 0 < entry["status"] < 400
        )
        if any(count > 1 for count in sent.values()):
            return f"{where}: applied twice: {sent}"
        if outcome.status == "done" and any(one.accepted(old)):
            return f"{where}: the old value lives"
        return None


CALLS = (
    ("create", None),
    ("remove", 0),
    *(
        pytest.param(*call, marks=pytest.mark.sweep)
        for call in (("add", 0), ("add", 1), ("remove", 1), ("delete", None))
    ),
)


@pytest.mark.parametrize(("on", "server"), CALLS)
def test_it_is_settled_by_looking_and_nothing_is_repeated_blindly(tmp_path: Path, on: str, server: int | None) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda how: survived(tmp_path / how.replace(":", "-"), on, server, how), LOST))
    assert [text for text in found if text] == []
