"""Three runners on one PostgreSQL journal: one is killed, one is stopped past its lease, the database is restarted."""

from __future__ import annotations

import signal
from pathlib import Path
from time import monotonic

import pytest

from fleet.harness import LEAD, fleet
from servers.postgresql import poll

LEASE_S = 2


@pytest.mark.parametrize("secrets", [8, pytest.param(24, marks=pytest.mark.sweep)])
def test_whatever_happens_to_a_fleet_every_secret_is_rotated_exactly_once(tmp_path: Path, secrets: int) -> None:
    with fleet(tmp_path / "fleet", secrets, lease_s=LEASE_S) as one, one.journal() as journal:
        rotated = one.keyturn("rotate", LEAD, "--yes")
        assert rotated.returncode == 0, rotated.stderr
        assert not set(one.created()) - {"lead"}
        killed, stopped, _third = (one.start() for _ in range(3))
        assert one.wait_for(journal, 1, at_most_s=40)
        killed.kill()
        assert one.wait_for(journal, 3, at_most_s=40, dead=killed)
        stopped.send_signal(signal.SIGSTOP)
        stopped_at = monotonic()
        one.server.restart()
        assert poll(lambda: monotonic() - stopped_at > LEASE_S + 1, at_most_s=30)
        stopped.send_signal(signal.SIGCONT)
        assert one.wait_for(journal, secrets, at_most_s=60, dead=killed)
        one.stop()
        assert one.not_once() == {}
        assert one.refused() == []
        assert journal.verify() == []
