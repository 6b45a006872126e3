"""What a plugin remarks on the way reaches the operator and the journal."""

from __future__ import annotations

from pathlib import Path

from crash.town import SECRET, town


def test_a_required_action_that_a_server_reports_is_told_and_journaled(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        one.adopt()
        one.sim.switch(required_actions=True)
        done = one.keyturn("rotate", SECRET, "--yes")
        assert done.returncode == 0, done.stderr
        assert "required-action" in done.stderr
        assert any(event.type == "plugin.noted" for event in one.events())
        assert "required-action" in one.keyturn("history", SECRET).stdout
