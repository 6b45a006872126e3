"""The file sink keeps the sink contract, and what only files can break."""

from __future__ import annotations

import grp
import json
import os
import random
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.api import Bundle, Conflict, Context, NotSent, PromoteRequest, Refused, Sink, SinkTraits
from keyturn.testing.sink_contract import FOREIGN_JOURNAL, SinkContract, SinkKit, id_of
from keyturn_file.disk import check_ours
from keyturn_file.hook import keyturn_plugin
from keyturn_file.options import Account, Place, subject
from keyturn_file.sink import FileSink

ROUNDS = 12
HOLD = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
"""
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "os.chown"}
DIED = 97


def in_a_child(act: Callable[[], object]) -> int:
    """Run `act` in a process of its own; its exit code, 1 where it raised."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(point: int) -> None:
    """Die, as by kill -9, before the `point`-th file system call from now."""
    left = iter(range(point))

    def hook(event: str, _: object) -> None:
        if event in EVENTS and next(left, None) is None:
            os._exit(DIED)

    sys.addaudithook(hook)


class InAFolder(SinkKit):
    """The contract's vocabulary, on a private folder."""

    folder: Path

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "secrets"
        self.folder.mkdir(mode=0o700)

    def make_sink(self, context: Context) -> Sink:
        return FileSink(context, self.account())

    def make_place(self, name: str) -> Any:
        return Place(path=name)

    def account(self) -> Account:
        return Account(folder=self.folder)

    @property
    def private(self) -> Path:
        return self.folder / ".keyturn"

    def everything(self) -> dict[str, int]:
        return {
            str(path.relative_to(self.folder)): stat.S_IMODE(path.lstat().st_mode) for path in self.folder.rglob("*")
        }


class TestFileSinkContract(InAFolder, SinkContract):
    """The shared contract, with a death before every file system call of a promote."""

    def consumed(self, place: str = "place") -> dict[str, str] | None:
        path = self.folder / place
        return json.loads(path.read_text()) if path.exists() else None

    def crash(self, point: int, act: Callable[[Sink], object]) -> bool:
        def doomed() -> None:
            die_at(point)
            act(self.sink())

        return in_a_child(doomed) == DIED


class TestRawPlaces(InAFolder, SinkContract):
    """The contract again, for files that hold one value alone below a folder."""

    def make_place(self, name: str) -> Any:
        return Place(path=f"below/{name}.key", format="raw")

    def consumed(self, place: str = "place") -> dict[str, str] | None:
        path = self.folder / "below" / f"{place}.key"
        return {"password": path.read_bytes().decode()} if path.exists() else None

    @pytest.mark.parametrize("kind", ["two fields"])
    def test_awkward_values_come_back_exactly(self, kind: str) -> None:  # a raw place takes one field
        del kind
        with self.refused(Refused):
            self.stage(1, value=self.bundle(1).with_(self.bundle(2)).with_({"more": self.bundle(2)["password"]}))


class TestContent(InAFolder):
    """What the file says outranks what was written about it."""

    def file(self) -> Path:
        return self.folder / "place"

    def test_consumers_read_sorted_json_with_a_newline_at_its_end(self) -> None:
        self.promote(1, None)
        assert self.file().read_text() == json.dumps(self.bundle(1).reveal()) + "\n"

    def test_a_value_edited_by_hand_is_foreign(self) -> None:
        self.serve(1)
        self.file().write_text(json.dumps({"password": f"{self.canary}-hand"}))
        current = self.look().current
        assert current
        assert (current.version_id, current.journal_id, current.number) == (None, None, None)
        assert current.fingerprints == self.bundle("hand").fingerprints(self.context().fingerprint)

    def test_a_file_edited_by_hand_is_not_replaced(self) -> None:
        expected = self.serve(1)
        self.file().write_text(json.dumps({"password": f"{self.canary}-hand"}))
        with self.refused(Conflict):
            self.promote(2, expected)
        with self.refused(Conflict):
            self.promote(2, None)

    def test_a_foreign_value_that_was_expected_is_replaced_and_kept(self) -> None:
        self.file().write_text(json.dumps({"password": f"{self.canary}-hand"}))
        self.promote(1, self.look().current)
        assert self.consumed() == self.bundle(1).reveal()
        (kept,) = self.look().previous
        assert kept.fingerprints == self.bundle("hand").fingerprints(self.context().fingerprint)

    def test_a_file_restored_to_an_old_value_is_recognised_as_that_version(self) -> None:
        self.serve(1)
        old = self.file().read_bytes()
        self.serve(2, 3, 4)
        self.file().write_bytes(old)
        current = self.look().current
        assert current
        assert (current.version_id, current.number) == (id_of(1), 1)

    @pytest.mark.parametrize("content", [b"", b"not json", b'["a"]', b'{"a": 1}', b"\xff\xfe", b"[" * 100_000])
    def test_content_of_another_format_is_foreign_and_never_replaced(self, content: bytes) -> None:
        self.file().write_bytes(content)
        current = self.look().current
        assert current
        assert current.version_id is None
        with pytest.raises(Refused):
            self.promote(1, current)
        assert self.file().read_bytes() == content

    def test_a_removed_file_is_an_empty_place(self) -> None:
        self.serve(1)
        self.file().unlink()
        assert self.look().current is None

    def test_keys_that_a_later_keyturn_wrote_survive_a_promote(self) -> None:
        self.serve(1)
        ledger = self.private / "place.meta.json"
        data = json.loads(ledger.read_text())
        data["future"] = {"a": 1}
        data["versions"][0]["future"] = "b"
        ledger.write_text(json.dumps(data))
        self.serve(2)
        data = json.loads(ledger.read_text())
        assert data["future"] == {"a": 1}
        assert data["versions"][1]["future"] == "b"

    @pytest.mark.parametrize("record", ["place.meta.json", "place.pending.json"])
    @pytest.mark.parametrize("content", ["", "{", "[]", '{"keyturn": 1}', '{"keyturn": 9}'])
    def test_a_damaged_record_stops_the_place_and_says_so(self, record: str, content: str) -> None:
        self.serve(1)
        self.stage(2)
        (self.private / record).write_text(content)
        with pytest.raises(Refused, match="record") as caught:
            self.promote(2, None)
        self.hides(caught.value)
        assert self.consumed_bytes() == json.dumps(self.bundle(1).reveal()).encode() + b"\n"

    def consumed_bytes(self) -> bytes:
        return self.file().read_bytes()

    def test_the_places_own_number_of_previous_versions_outranks_the_engines(self) -> None:
        for n in (1, 2, 3, 4):
            request = self.promotion(n, self.look().current, keep=1)
            call = replace(request.call, place=Place(path="place", keep_previous=2))
            self.sink().promote(replace(request, call=call))
        assert self.previous() == [id_of(3), id_of(2)]


class TestSafety(InAFolder):
    """Modes, owners, symlinks, room."""

    @pytest.mark.parametrize("mask", [0o000, 0o077, 0o177])
    def test_every_file_is_private_from_creation_whatever_the_umask(self, mask: int) -> None:
        def watched() -> None:
            os.umask(mask)
            seen: set[int] = set()
            # Looks at all modes before each file system call: what somebody else could have opened by then.
            sys.addaudithook(lambda event, _: seen.update(self.everything().values()) if event in EVENTS else None)
            self.serve(1, 2, 3)
            self.stage(4)
            assert seen == {0o600, 0o700}

        assert in_a_child(watched) == 0

    def test_a_group_may_read_what_consumers_read_and_nothing_else(self) -> None:
        group = grp.getgrgid(os.getegid()).gr_name
        sink = FileSink(self.context(), Account(folder=self.folder, group=group, file_mode="0640"))
        sink.promote(self.promotion(1, None, place="below/file"))
        sink.promote(self.promotion(2, self.look("below/file").current, place="below/file"))
        modes = self.everything()
        assert modes.pop("below/file") == 0o640
        assert modes.pop("below") == 0o750
        assert set(modes.values()) == {0o600, 0o700}

    def test_an_unknown_group_is_refused_before_anything_is_written(self) -> None:
        sink = FileSink(self.context(), Account(folder=self.folder, group="no-such-group", file_mode="0640"))
        with self.refused(Refused):
            sink.promote(self.promotion(1, None))

    @pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
    def test_a_folder_that_others_may_write_to_is_refused(self, mode: int) -> None:
        self.folder.chmod(mode)
        with pytest.raises(Refused) as caught:
            self.promote(1, None)
        assert caught.value.code == "folder-mode"

    def test_a_private_folder_that_others_may_enter_is_refused(self) -> None:
        self.private.mkdir(mode=0o750)
        with pytest.raises(Refused) as caught:
            self.stage(1)
        assert caught.value.code == "folder-mode"

    def test_what_belongs_to_somebody_else_is_refused(self) -> None:
        fields = list(self.folder.stat())
        fields[stat.ST_UID] = os.geteuid() + 1
        with pytest.raises(Refused) as caught:
            check_ours(os.stat_result(fields), "folder", 0o022, "folder-mode")
        assert caught.value.code == "folder-mode"

    def test_a_folder_that_is_not_there_is_refused_and_not_made(self) -> None:
        self.folder.rmdir()
        with pytest.raises(Refused) as caught:
            self.promote(1, None)
        assert caught.value.code == "folder-missing"
        assert not self.folder.exists()

    @pytest.mark.parametrize(
        "what", ["secrets", "place", ".keyturn", "place.lock", "place.pending.json", "place.previous"]
    )
    def test_a_symlink_is_followed_nowhere(self, what: str, tmp_path: Path) -> None:
        target = tmp_path / "target"
        is_folder = what in ("secrets", ".keyturn", "place.previous")
        target.mkdir(mode=0o700) if is_folder else target.write_text("{}")
        self.serve(1)
        link = {"secrets": self.folder, "place": self.folder / what, ".keyturn": self.private}.get(
            what, self.private / what
        )
        if link.exists():
            link.rename(tmp_path / "aside")
        link.symlink_to(target)
        with pytest.raises(Refused) as caught:
            self.serve(2)
        assert caught.value.code == "symlink"
        assert list(target.iterdir()) == [] if is_folder else target.read_text() == "{}"

    @pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path, 0o600)])
    def test_what_is_no_ordinary_file_is_refused_without_hanging(self, make: Callable[[Path], object]) -> None:
        make(self.folder / "place")
        with pytest.raises(Refused):
            self.promote(1, None)

    def test_a_file_that_others_may_write_is_not_believed(self) -> None:
        self.serve(1)
        (self.folder / "place").chmod(0o666)
        with pytest.raises(Refused) as caught:
            self.look()
        assert caught.value.code == "file-mode"

    def test_a_file_that_others_may_read_is_reported(self) -> None:
        self.serve(1)
        (self.folder / "place").chmod(0o644)
        (problem,) = self.look().problems
        assert (problem.code, problem.fatal) == ("file-mode", False)

    def test_without_room_consumers_keep_the_old_value_and_nothing_half_written_is_left(self) -> None:
        current = self.serve(1)
        long = Bundle({"password": f"{self.canary}-{'x' * 2000}"})
        outcomes = [
            self.promote_with_room_for(size, self.promotion(2, current, value=long)) for size in range(0, 2200, 99)
        ]
        assert outcomes[0] == "disk-full"
        assert outcomes[-1] == "done"
        assert set(outcomes) == {"disk-full", "done"}

    def promote_with_room_for(self, size: int, request: PromoteRequest) -> str:
        """What a promote says when no file may grow beyond `size` bytes."""

        def cramped() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            try:
                self.sink().promote(request)
            except NotSent as error:
                os._exit(DIED if error.code == "disk-full" else 1)

        code = in_a_child(cramped)
        assert code in (0, DIED)
        assert self.consumed() == (self.bundle(1) if code else request.bundle).reveal()
        assert not [name for name in self.everything() if name.endswith((".tmp", ".next"))]
        return "disk-full" if code else "done"

    def test_half_written_files_of_a_dead_call_are_removed_by_the_next(self) -> None:
        self.serve(1, 2)
        left = [
            self.private / "place.next",
            self.private / "place.pending.json.tmp",
            self.private / "place.previous" / "1.json.tmp",
        ]
        for path in left:
            path.write_text("half")
        self.stage(3)
        assert not [path for path in left if path.exists()]

    def test_a_place_that_another_process_holds_is_busy_until_the_deadline(self) -> None:
        self.serve(1)
        holder = subprocess.Popen(  # the lock goes with the process
            [sys.executable, "-c", HOLD, str(self.private / "place.lock")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with holder:
            assert holder.stdout
            holder.stdout.readline()
            with self.refused(NotSent):
                self.stage(2, left_s=0.2)
            holder.communicate(b"\n")
        self.stage(2)

    def test_another_journals_version_can_not_be_discarded(self) -> None:
        self.stage(1, journal=FOREIGN_JOURNAL)
        with self.refused(Refused):
            self.discard(id_of(1))


class TestSuddenDeath(InAFolder):
    """kill -9 at any moment."""

    def test_consumers_always_read_one_whole_version_while_promoters_are_killed(self) -> None:
        self.promote(0, None, value=self.long(0))
        dice = random.Random(self.canary)
        for round_ in range(ROUNDS):
            first = 1 + round_ * 1000
            with self.promoter(first) as child:
                self.read_until_changed()
                for _ in range(dice.randrange(200)):
                    self.read_whole()
                os.kill(child, signal.SIGKILL)
            served = self.read_whole()
            current = self.look().current
            assert current
            assert current.number == served
            assert self.promote(first + 999, current, value=self.long(first + 999)).already is False

    def long(self, n: int) -> Bundle:
        """A value that takes more than one write."""
        return Bundle({"number": str(n), "password": f"{self.canary}-{n}" * 2000})

    @contextmanager
    def promoter(self, first: int) -> Iterator[int]:
        child = os.fork()
        if child == 0:
            try:
                for n in range(first, first + 998):
                    self.stage(n, value=self.long(n))
                    self.promote(n, self.look().current, value=self.long(n))
            finally:
                os._exit(0)
        try:
            yield child
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def read_whole(self) -> int:
        """The number of the version that consumers read; fails where it is not whole."""
        fields = json.loads((self.folder / "place").read_text())
        n = int(fields["number"])
        assert fields == self.long(n).reveal()
        return n

    def read_until_changed(self) -> None:
        before = self.read_whole()
        for _ in range(100_000):
            if self.read_whole() != before:
                return
        pytest.fail("the promoter never got anywhere")


class TestOptions:
    """What a configuration may say."""

    @pytest.mark.parametrize(
        "path",
        ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", ".hidden", "a/.keyturn", "a b", "a\x00", "ä", "a" * 201],
    )
    def test_a_path_that_could_leave_the_folder_is_refused(self, path: str) -> None:
        with pytest.raises(ValueError, match="expected") as caught:
            Place(path=path)
        assert "input_value" not in str(caught.value)

    def test_a_relative_folder_hangs_on_the_configurations_own(self, tmp_path: Path) -> None:
        account = Account.model_validate({"folder": "sub"}, context={"folder": tmp_path})
        assert account.folder == tmp_path / "sub"
        assert Account.model_validate({"folder": "/abs"}, context={"folder": tmp_path}).folder == Path("/abs")

    def test_one_file_has_one_canonical_name(self, tmp_path: Path) -> None:
        one = subject(Account(folder=tmp_path / "x" / ".." / "y"), Place(path="a"))
        assert (
            one == subject(Account(folder=tmp_path / "y"), Place(path="a", format="raw")) == str(tmp_path / "y" / "a")
        )

    def test_a_group_needs_a_mode_that_lets_it_read(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="file_mode 0640"):
            Account(folder=tmp_path, group="root")

    def test_the_registration_says_what_the_sink_can_do(self, tmp_path: Path) -> None:
        plugin = keyturn_plugin()
        assert plugin.load() is FileSink
        assert plugin.traits
        traits = plugin.traits(Account(folder=tmp_path), Place(path="a"))
        assert traits == SinkTraits(hides_pending=True, compares=True, keeps_previous=True, bytes_max=1_048_576)
