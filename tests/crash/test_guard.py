"""The retire guard, with the whole program: whatever happened in the hold, old dies only on present evidence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crash.town import SECRET, Town, town, write_private

HOLD = {"overlap": {"strategy": "dual", "hold": "1h"}}


@contextmanager
def in_the_hold(folder: Path, **more: Any) -> Iterator[Town]:
    with town(folder, secret=HOLD, account={"activation": "1s"}, child=False, **more) as one:
        one.adopt()
        done = one.keyturn("rotate", SECRET, "--yes")
        assert done.returncode == 0, done.stderr
        assert "next: keyturn" in done.stdout
        yield one


def end_of_hold(one: Town) -> tuple[int, str]:
    assert one.keyturn("hold", SECRET, "--end", "--reason", "test").returncode == 0
    done = one.keyturn("run")
    return done.returncode, done.stdout + done.stderr


def nothing_retired(one: Town, old: str) -> bool:
    return not any(entry["on"] in ("remove", "delete") for entry in one.sim.log) and any(one.accepted(old))


def test_a_new_name_removed_by_an_admin_during_the_hold_is_stuck_with_the_true_reason(tmp_path: Path) -> None:
    with in_the_hold(tmp_path / "town") as one:
        old = one.sim.initial[SECRET]["bundle"]["shared_secret"]
        names = [name for name in one.sim.world.members[1].names if name.startswith("kong-2026") and "-9f3c" in name]
        one.sim.obey({"lists": {"1": names}})
        code, said = end_of_hold(one)
        assert code == 5, said
        assert f"version 2 is refused at {one.sim.urls[1]}" in said
        assert f"keyturn resume {SECRET}" in said
        assert nothing_retired(one, old)


def test_a_sink_restored_to_the_old_value_is_stuck_until_repaired(tmp_path: Path) -> None:
    with in_the_hold(tmp_path / "town") as one:
        new = one.served()
        old = one.sim.initial[SECRET]["bundle"]
        write_private(one.file, json.dumps(old))
        code, said = end_of_hold(one)
        assert code == 5, said
        assert "serves version 1, not version 2" in said
        assert f"keyturn repair {SECRET}" in said
        assert nothing_retired(one, old["shared_secret"])
        assert one.keyturn("repair", SECRET).returncode == 0
        assert one.served() == new
        assert one.run_until_quiet() == "current"
        assert not any(one.accepted(old["shared_secret"]))


def test_a_third_server_that_joined_without_the_new_name_is_stuck(tmp_path: Path) -> None:
    with in_the_hold(tmp_path / "town", servers=3, used=2) as one:
        old = one.sim.initial[SECRET]["bundle"]["shared_secret"]
        config = json.loads(one.config.read_text())
        config["providers"]["paz"]["servers"] = one.sim.urls
        write_private(one.config, json.dumps(config))
        code, said = end_of_hold(one)
        assert code == 5, said
        assert f"version 2 is refused at {one.sim.urls[2]}" in said
        assert nothing_retired(one, old)


def test_a_server_that_is_down_at_the_end_of_the_hold_leaves_the_old_one_alive_for_the_next_run(tmp_path: Path) -> None:
    with in_the_hold(tmp_path / "town") as one:
        old = one.sim.initial[SECRET]["bundle"]["shared_secret"]
        one.sim.switch(server_down=[1])
        code, said = end_of_hold(one)
        assert code == 6, said
        assert one.sim.urls[1] in said
        one.sim.switch(server_down=[])
        assert nothing_retired(one, old)
        assert one.run_until_quiet() == "current"
        assert one.accepted(old) == [False, False]


def test_a_secret_taken_out_of_the_configuration_in_flight_is_named_and_nothing_is_retired(tmp_path: Path) -> None:
    with in_the_hold(tmp_path / "town") as one:
        old = one.sim.initial[SECRET]["bundle"]["shared_secret"]
        config = json.loads(one.config.read_text())
        whole = dict(config)
        config["secrets"] = {}
        write_private(one.config, json.dumps(config))
        done = one.keyturn("run")
        assert done.returncode == 5, done.stderr
        assert SECRET in done.stdout + done.stderr
        assert nothing_retired(one, old)
        write_private(one.config, json.dumps(whole))
        assert one.keyturn("status").returncode == 0


def test_a_lost_escrow_identity_is_named_before_anything_is_changed(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        one.adopt()
        shutil.move(one.folder / "state" / "age.key", one.folder / "state" / "gone.key")
        done = one.keyturn("rotate", SECRET, "--yes")
        assert done.returncode == 2, done.stderr
        assert "age.key" in done.stderr
        assert one.sim.log == []
