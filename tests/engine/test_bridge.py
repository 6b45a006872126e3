"""The bridge: a derived secret is renewed with the old value just before issue ends that one."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.bridge_kit import ENTITY, TOKEN, Entity, pair
from engine.promises import chain_is_whole, never_lost, no_leak
from engine.test_crashes import end_is_good
from keyturn.config.model import Consumer, Notify
from keyturn.engine.effects.runner import runner_id
from keyturn.journal import open_journal
from keyturn.model import Mode
from keyturn.testing.faults import Crash, CrashingJournal

TELL = Notify(exec=("/bin/true",))


def events(entity: Entity, secret: str = ENTITY) -> list[tuple[str, dict[str, Any]]]:
    journal = open_journal(entity.settings, clock=entity.clock, runner="reader", operator="reader")
    try:
        return [(event.type, dict(event.data)) for event in journal.events(secret)]
    finally:
        journal.close()


def verbs(entity: Entity) -> list[str]:
    return [data["verb"] for kind, data in events(entity) if kind == "call.sent"]


def minted(entity: Entity) -> list[float]:
    """When each token was made."""
    return [one.born_at for one in entity.tokens.vendor.credentials]


def test_the_token_is_renewed_with_the_old_value_just_before_the_reset(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    assert entity.token_number() == 1
    entity.clock.advance(3600)
    assert entity.rotate().status == "done"
    assert entity.token_number() == 2
    assert entity.token_works()
    assert verbs(entity)[:2] == ["renew", "issue"]
    reset_at = entity.vendor.newest("main").born_at  # type: ignore[union-attr]
    assert 0 <= reset_at - minted(entity)[-1] <= 5
    end_is_good(entity, "bridged")


def test_the_step_is_in_the_plan_before_anybody_drains(tmp_path: Path) -> None:
    drains = Consumer(name="kong", quiesce=TELL, release=TELL)
    entity = pair(tmp_path, consumers=(drains,))
    entity.rotate()
    steps = [step.value for step in entity.state().rotation.frozen.steps]  # type: ignore[union-attr]
    assert steps[:4] == ["preflight", "bridge", "quiesce", "issue"]
    assert verbs(entity)[:3] == ["renew", "quiesce", "issue"]


@pytest.mark.parametrize(
    "ask", [{"compromised": True, "reason": "leaked"}, {"mode": Mode.CURRENT_DEAD, "reason": "expired"}]
)
def test_where_the_old_value_is_of_no_use_nothing_is_made_of_it(tmp_path: Path, ask: dict[str, Any]) -> None:
    entity = pair(tmp_path)
    entity.rotate(**ask)
    assert entity.state().current.number == 2  # type: ignore[union-attr]
    assert "renew" not in verbs(entity)
    assert entity.token_number() == 1


def test_a_first_secret_has_nothing_to_bridge(tmp_path: Path) -> None:
    entity = Entity(folder=tmp_path)
    entity.vendor.seed()
    entity.rotate(mode=Mode.FIRST, force=True, reason="new member")
    assert entity.state().current.number == 1  # type: ignore[union-attr]
    assert "renew" not in verbs(entity)


def test_a_token_that_can_not_be_made_turns_the_rotation_back_and_nothing_was_reset(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    entity.tokens.vendor.faults.add("issue", "unavailable", times=50)
    outcome = entity.rotate()
    assert (outcome.status, outcome.code, outcome.exit_code) == ("undone", "bridge-failed", 4)
    assert f"renew at {TOKEN} did not work yet" in outcome.text
    assert "issue could not be sent" in outcome.text
    assert verbs(entity) == ["renew"] * entity.limits.tries_per_run
    assert not entity.vendor.log
    entity.tokens.vendor.faults.clear()
    entity.clock.advance(1000)
    assert entity.rotate().status == "done"
    assert entity.token_number() == 3, "the one that was left in flight, and a fresh one"


def test_a_token_that_fails_once_is_tried_again_in_the_same_run(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    entity.tokens.vendor.faults.add("issue", "refused")
    assert entity.rotate().status == "done"
    assert verbs(entity)[:3] == ["renew", "renew", "issue"]


def test_a_token_that_somebody_else_works_on_is_waited_for_and_never_the_other_way_round(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    journal = open_journal(entity.settings, clock=entity.clock, runner="elsewhere", operator="bo")
    journal.acquire(TOKEN, f"other-host/{runner_id()}", ttl_s=30)
    began = entity.clock.now()
    assert entity.rotate().status == "done"
    assert entity.clock.now() - began >= 30
    journal.acquire(ENTITY, f"other-host/{runner_id()}", ttl_s=3600)
    assert entity.token(force=True, reason="while its source is held").status == "holding"
    journal.close()


def test_a_bridge_that_became_old_before_the_reset_is_made_anew(tmp_path: Path) -> None:
    entity = pair(tmp_path)
    entity.vendor.faults.add("issue", "unavailable", times=entity.limits.tries_per_run)
    assert entity.rotate().status == "unfinished"
    assert (entity.token_number(), verbs(entity).count("renew")) == (2, 1)
    assert entity.run().status == "done", "a fresh one is good enough"
    assert verbs(entity).count("renew") == 1
    entity.clock.advance(90_000)
    entity.vendor.faults.add("issue", "unavailable", times=entity.limits.tries_per_run)
    assert entity.rotate(force=True, reason="again").status == "unfinished"
    entity.clock.advance(3600)
    assert entity.run().status == "done"
    assert verbs(entity).count("renew") == 3
    assert entity.vendor.newest("main").born_at - minted(entity)[-1] < 60  # type: ignore[union-attr]


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_journal_write_of_both_it_ends_well_with_one_reset_and_a_token_that_works(
    tmp_path: Path, when: Any
) -> None:
    for at in count(1):
        folder = tmp_path / f"{at}"
        folder.mkdir()
        entity = pair(folder)
        died = killed(entity, at, when)
        where = f"killed {when} write {at}"
        assert never_lost(entity), where
        assert entity.token_works(), where
        entity.clock.advance(entity.limits.lease_s + 1)
        entity.settle()
        end_is_good(entity, where)
        assert no_leak(entity), where
        assert chain_is_whole(entity), where
        assert len(minted(entity)) <= 3, f"{where}: a fresh one is not made again"
        if not died:
            break
    assert at > 30


def killed(entity: Entity, at: int, when: Any) -> bool:
    entity.crash = lambda journal: CrashingJournal(journal, at, when)
    try:
        entity.rotate()
    except Crash:
        return True
    finally:
        entity.crash = lambda journal: journal
    return False
