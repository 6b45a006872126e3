"""What `status` says of each place: published, behind, or failed with the reason. From outside, with two file sinks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.rig import Rig, estate
from cli.test_looking import adopt, only
from keyturn_pingauthorize.simulator import SECRET
from program import Ran

GOOD: dict[str, Any] = {"kind": "file", "folder": "second"}
BAD = {**GOOD, "group": "no-such-group", "file_mode": "0640"}
"""Staging works there, promoting does not: the group is looked up when consumers are to see the file."""
WHY = "there is no group no-such-group"


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Rig]:
    """Version 1 is current in two sinks."""
    (tmp_path / "second").mkdir(mode=0o700)
    places = [{"to": "custody", "path": "sideband.json"}, {"to": "second", "path": "sideband.json"}]
    with estate(tmp_path, overlap={"hold": "1h"}, sinks=places) as rig:
        second(rig, GOOD)
        adopt(rig)
        yield rig


def second(rig: Rig, options: dict[str, Any]) -> None:
    rig.more["sinks"] = {"custody": {"kind": "file", "folder": "custody"}, "second": options}
    rig.write()


def said(ran: Ran) -> list[tuple[str, Any, Any, Any]]:
    """Of each place: its sink, the version it serves, its state, and why."""
    found = only(ran)["sinks"]
    return [(one["place"].partition(":")[0], one["serves"], one["state"], one["why"]) for one in found]


def test_a_place_whose_promote_failed_is_behind_and_says_why_until_a_run_has_mended_it(two: Rig) -> None:
    second(two, BAD)
    assert two.run("rotate", SECRET, "--yes").code == 6
    ((_, *first), (_, serves, state, why)) = said(two.run("status", "--json"))
    assert first == [2, "published", None]
    assert (serves, state) == (1, "failed")
    assert WHY in why
    text = two.run("status").out
    assert "custody/sideband.json: version 2, as published\n" in text
    assert f"second/sideband.json: version 1, as published; behind: {why}\n" in text
    second(two, GOOD)
    assert two.run("run").code == 0
    assert said(two.run("status", "--json")) == [("custody", 2, "published", None), ("second", 2, "published", None)]


def test_a_failed_place_that_is_repaired_alone_is_published(two: Rig) -> None:
    second(two, BAD)
    assert two.run("rotate", SECRET, "--yes").code == 6
    second(two, GOOD)
    assert two.run("repair", SECRET, "--sink", "second").code == 0
    assert said(two.run("status", "--json"))[1] == ("second", 2, "published", None)


def test_a_place_that_the_rotation_does_not_know_is_behind_until_it_is_repaired(two: Rig) -> None:
    assert two.run("rotate", SECRET, "--yes").code == 0
    places = [{"to": "custody", "path": "sideband.json"}, {"to": "second", "path": "another.json"}]
    two.write(sinks=places)
    assert said(two.run("status", "--json"))[1] == ("second", None, "behind", None)
    assert "another.json: not published yet\n" in two.run("status").out
    assert two.run("repair", SECRET).code == 0
    assert said(two.run("status", "--json"))[1] == ("second", 2, "published", None)


def test_what_nobody_adopted_is_served_by_nobody(tmp_path: Path) -> None:
    with estate(tmp_path) as rig:
        assert said(rig.run("status", "--json")) == [("custody", None, None, None)]
        assert "serving" not in rig.run("status").out


def test_check_online_tells_of_a_place_that_was_emptied_and_repair_fills_it(two: Rig) -> None:
    (two.folder / "second/sideband.json").unlink()
    checked = two.run("check", "--online")
    assert "second/sideband.json serves nothing, though version 1 is current" in checked.out
    assert f"keyturn repair {SECRET}" in checked.out
    assert two.run("repair", SECRET).code == 0
    assert (two.folder / "second/sideband.json").exists()
    assert "serves nothing" not in two.run("check", "--online").out
