"""A path's metadata belongs to everybody: what others set stays, what they decided counts, what is odd is said."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from contract.vault_kit import OnVault, town
from keyturn.api import Conflict, NotSent, PluginError, Refused
from keyturn.testing.sink_contract import id_of
from keyturn_vault.options import Place
from keyturn_vault.sink import VaultSink

__all__ = ["town"]

RACERS = 64
RACE_S = 60.0


class TestMetadata(OnVault):
    """What others keep beside the versions."""

    def ledger(self, place: str = "place") -> dict[str, Any]:
        """Our entries, by key."""
        custom = self.metadata(place)["custom_metadata"] or {}
        return {key: json.loads(text) for key, text in custom.items() if key.startswith("keyturn-")}

    def test_settings_and_keys_of_others_survive_every_verb(self) -> None:
        self.serve(1)
        theirs = {"delete_version_after": "3h0m0s", "max_versions": 7, "cas_required": True}
        self.patch({**theirs, "custom_metadata": {"owner": "payments"}})
        self.serve(2, 3)
        self.stage(4)
        self.discard(id_of(4))
        self.discard(id_of(2))
        found = self.metadata()
        assert {key: found[key] for key in theirs} == theirs
        assert found["custom_metadata"]["owner"] == "payments"

    def test_the_ledger_names_the_versions_and_holds_no_value_and_no_plain_hash(self) -> None:
        self.serve(1, 2)
        assert sorted(entry["n"] for entry in self.ledger().values()) == [1, 2]
        assert self.canary not in json.dumps(self.metadata())

    def test_the_ledger_does_not_grow_with_every_rotation(self) -> None:
        self.serve(*range(1, 9), keep=1)
        # The current one, the previous one, and the one that was destroyed last.
        assert sorted(entry["n"] for entry in self.ledger().values()) == [6, 7, 8]

    def test_what_a_later_keyturn_wrote_into_an_entry_survives(self) -> None:
        self.serve(1)
        ((key, entry),) = self.ledger().items()
        self.patch({"custom_metadata": {key: json.dumps({**entry, "future": {"a": 1}})}})
        self.serve(2, 1)
        assert self.ledger()[key]["future"] == {"a": 1}

    @pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"v": "x", "n": null, "j": "", "m": {}}'])
    def test_a_damaged_entry_makes_its_content_foreign_and_nothing_else(self, text: str) -> None:
        self.serve(1)
        ((key, _),) = self.ledger().items()
        self.patch({"custom_metadata": {key: text or None}})
        current = self.look().current
        assert current
        assert current.version_id is None
        self.promote(2, current)
        assert self.consumed() == self.bundle(2).reveal()

    def test_metadata_that_does_not_fit_is_refused_before_anything_is_written(self) -> None:
        request = replace(self.promotion(1, None), meta={"head": "x" * 500})
        with pytest.raises(Refused) as caught:
            self.sink().promote(request)
        assert caught.value.code == "meta-too-long"
        assert not self.exists(f"kv/metadata/{self.prefix}/place")

    def test_entries_that_name_nothing_are_removed_however_many_there_are(self) -> None:
        self.serve(1)
        ((_, entry),) = self.ledger().items()
        for first in (0, 50):
            orphans = {f"keyturn-{n:032x}": json.dumps({**entry, "v": str(n)}) for n in range(first, first + 50)}
            self.patch({"custom_metadata": orphans})
        self.serve(2)
        assert len(self.ledger()) == 2

    def test_a_promote_that_lost_leaves_nothing_in_the_ledger(self) -> None:
        expected = self.serve(1)
        self.by_hand({"password": f"{self.canary}-hand"}, cas=1)
        with pytest.raises(Conflict):
            self.promote(2, expected)
        assert [entry["n"] for entry in self.ledger().values()] == [1]

    def test_of_64_racing_promoters_exactly_one_wins(self) -> None:
        expected = self.serve(1)
        # Each of its own, and ready: logged in, and the engine looked at.
        sinks = [VaultSink(self.context(), self.as_root()) for _ in range(RACERS)]
        for sink in sinks:
            sink.read(self.reading())
        start, promotions = threading.Barrier(RACERS), [self.promotion(n, expected) for n in range(2, 2 + RACERS)]

        def race(index: int) -> str:
            start.wait(RACE_S)
            try:
                sinks[index].promote(promotions[index])
            except (Conflict, NotSent) as error:
                return error.code
            return "won"

        with ThreadPoolExecutor(RACERS) as pool:
            ended = list(pool.map(race, range(RACERS)))
        assert ended.count("won") == 1
        assert set(ended) == {"won", "place-moved"}
        assert self.consumed() == self.bundle(2 + ended.index("won")).reveal()
        assert self.metadata()["current_version"] == 2


class TestNeighbours(OnVault):
    """Consumers' tree holds what consumers may read, and nothing else."""

    def test_a_reader_of_the_whole_folder_never_sees_a_pending_version(self) -> None:
        self.serve(1)
        self.stage(2)
        self.stage(3, place="new")
        policy = {"kv/data/team/*": "read", "kv/metadata/team/*": "list"}
        lines = [f'path "{path}" {{ capabilities = ["{right}"] }}' for path, right in policy.items()]
        reader = self.server.token("\n".join(lines))
        listed = self.server.call("LIST", f"kv/metadata/{self.prefix}", token=reader)
        assert listed["data"]["keys"] == ["place"]
        read = self.server.call("GET", f"kv/data/{self.prefix}/place", token=reader)
        assert read["data"]["data"] == self.bundle(1).reveal()

    def test_what_is_pending_leaves_nothing_behind_once_it_is_served_or_dropped(self) -> None:
        self.serve(1, 2)
        self.stage(3)
        self.discard(id_of(3))
        assert not self.exists(f"kv/metadata/keyturn-pending/{self.prefix}/place")

    def test_a_place_in_the_pending_tree_is_refused(self) -> None:
        call = replace(self.call(), place=Place(path="keyturn-pending/team/a"))
        with pytest.raises(Refused) as caught:
            self.sink().inspect(replace(self.looking(), call=call))
        assert caught.value.code == "path-in-pending"

    def test_a_secret_and_a_folder_of_its_name_live_side_by_side(self) -> None:
        self.serve(1, place="a")
        self.serve(2, place="a/b")
        self.stage(3, place="a")
        self.stage(4, place="a/b")
        assert self.value_of(id_of(3), "a") == self.bundle(3).reveal()
        assert self.value_of(id_of(4), "a/b") == self.bundle(4).reveal()


class TestDeleted(OnVault):
    """Soft-deleted is somebody's decision, destroyed is the end of a version, without metadata it never was."""

    def delete(self, what: str, body: dict[str, Any] | None = None) -> None:
        self.server.call("POST" if body else "DELETE", f"kv/{what}/{self.prefix}/place", body)

    def test_a_soft_deleted_value_stops_a_rotation_and_says_how_to_bring_it_back(self) -> None:
        expected = self.serve(1, 2)
        self.delete("data")
        assert self.look().current is None
        assert self.consumed() is None
        problem = self.problems()["sink-soft-deleted"]
        assert problem.fatal
        assert f"bao kv undelete -mount=kv -versions=2 {self.prefix}/place" in problem.hint
        for expects in (None, expected):
            with pytest.raises(Conflict) as caught:
                self.promote(3, expects)
            assert caught.value.code == "soft-deleted"
        self.delete("undelete", {"versions": [2]})
        assert self.look().current == expected

    def test_a_destroyed_value_is_an_empty_place_that_can_be_written(self) -> None:
        expected = self.serve(1, 2)
        self.delete("destroy", {"versions": [2]})
        seen = self.look()
        assert seen.current is None
        assert [held.version_id for held in seen.previous] == [id_of(1)]
        assert not self.problems()["sink-destroyed"].fatal
        with self.refused(Conflict):
            self.promote(3, expected)
        self.stage(3)
        assert self.consumed() is None
        assert not self.promote(3, None).already
        assert self.consumed() == self.bundle(3).reveal()

    def test_after_all_metadata_was_deleted_the_place_is_new(self) -> None:
        self.serve(1, 2)
        self.delete("metadata")
        assert self.look().current is None
        self.serve(3)
        assert self.metadata()["current_version"] == 1

    def test_metadata_without_versions_is_an_empty_place_and_keeps_what_is_there(self) -> None:
        path = f"kv/metadata/{self.prefix}/place"
        body = {"custom_metadata": {"owner": "payments"}, "delete_version_after": "3h"}
        self.server.call("POST", path, body)
        assert self.look().current is None
        self.serve(1)
        found = self.metadata()
        assert found["custom_metadata"]["owner"] == "payments"
        assert found["delete_version_after"] == "3h0m0s"

    def test_a_previous_version_that_somebody_deleted_is_none_any_more(self) -> None:
        self.serve(1, 2)
        self.delete("delete", {"versions": [1]})
        assert self.previous() == []
        assert self.discard(id_of(1))


class TestProblems(OnVault):
    """What a look warns of."""

    def test_a_mount_that_requires_check_and_set_gives_no_warning(self) -> None:
        self.serve(1)
        assert self.problems() == {}

    def test_without_the_right_to_see_the_mounts_settings_that_is_said(self) -> None:
        self.serve(1)
        problems = {problem.code: problem for problem in self.look().problems}
        assert list(problems) == ["cas-unknown"]
        assert not problems["cas-unknown"].fatal
        self.patch({"cas_required": True})
        assert self.look().problems == ()

    def test_a_mount_that_lets_anybody_overwrite_is_named_with_the_command(self) -> None:
        self.server.mount("loose", cas_required=False)
        sink = VaultSink(self.context(), self.as_root(mount="loose"))
        (problem,) = sink.inspect(self.looking()).problems
        assert (problem.code, problem.fatal) == ("cas-not-required", False)
        assert problem.hint.startswith("bao write loose/config cas_required=true")

    @pytest.mark.parametrize(
        ("change", "code"),
        [({"max_versions": 2}, "few-versions"), ({"delete_version_after": "30s"}, "versions-expire")],
    )
    def test_settings_that_lose_versions_are_named(self, change: dict[str, Any], code: str) -> None:
        self.serve(1)
        self.patch(change)
        assert not self.problems()[code].fatal

    def test_a_path_that_is_only_a_folder_is_fatal(self) -> None:
        self.serve(1, place="place/below")
        assert self.problems()["path-is-folder"].fatal
        assert {problem.code for problem in self.look().problems} == {"cas-unknown"}, "without the right to list"

    def test_the_servers_clock_is_seen(self) -> None:
        at = self.look().sink_now
        assert at is not None
        assert abs(at - self.context().now()) < 5

    def test_no_verb_wants_more_than_a_plugin_error(self) -> None:
        with pytest.raises(PluginError):
            self.sink().inspect(replace(self.looking(), call=self.call(left_s=-1)))
