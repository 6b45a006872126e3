"""An older copy of the journal: it does not know what was done since, so it may do nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from crash.town import SECRET, Town, town, until


def copied(one: Town, name: str) -> Path:
    """The journal as it is now, whole: no runner has it open."""
    copy = one.folder / name
    shutil.copytree(one.folder / "state", copy)
    return copy


def restored(one: Town, copy: Path) -> None:
    shutil.rmtree(one.folder / "state")
    copy.rename(one.folder / "state")


def test_a_journal_that_was_restored_from_before_a_rotation_begins_no_other_one(tmp_path: Path) -> None:
    with town(tmp_path, child=False) as one:
        one.adopt()
        copy = copied(one, "backup")
        assert one.keyturn("rotate", SECRET, "--yes").returncode == 0
        value = one.served()
        restored(one, copy)
        refused = one.keyturn("rotate", SECRET, "--yes", "--force", "--reason", "test")
        assert refused.returncode == 3
        assert "serves version 2, written by this journal later than all that it knows" in refused.stderr
        assert one.served() == value
        assert all(one.accepted(value))


def test_a_journal_that_was_restored_from_the_hold_retires_nothing(tmp_path: Path) -> None:
    with town(tmp_path, child=False, secret={"overlap": {"strategy": "dual", "hold": "1s"}}) as one:
        one.adopt()
        first = one.served()
        assert one.keyturn("rotate", SECRET, "--yes").returncode == 0
        copy = copied(one, "backup")
        done = one.keyturn("rotate", SECRET, "--yes", "--force", "--reason", "test")
        assert done.returncode == 0, done.stderr
        value = one.served()
        restored(one, copy)
        assert until(lambda: one.run_until_quiet(1) == "stuck"), "once the hold is over"
        assert "it is an older copy" in one.keyturn("status").stdout
        assert one.served() == value != first
        assert all(one.accepted(value))
