"""Private files: closed to others from the start, whole or not there, and no stranger's file believed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.errors import UsageError
from keyturn.files import READ_BYTES_MAX, private_folder, read_private, write_private


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def refusal(act: Callable[[], Any]) -> str:
    with pytest.raises(UsageError) as caught:
        act()
    assert caught.value.hint
    return caught.value.code


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def test_a_written_file_is_0600_whatever_the_umask_and_whatever_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o666)
    write_private(path, b"new")
    assert (path.read_bytes(), mode(path), names(tmp_path)) == (b"new", 0o600, ["key"])


def test_a_reader_that_has_the_old_file_open_keeps_the_whole_old_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"old" * 1000)
    with path.open("rb") as reader:
        write_private(path, b"new")
        assert reader.read() == b"old" * 1000


def test_a_new_file_never_replaces_one(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"one", new=True)
    assert refusal(lambda: write_private(path, b"two", new=True)) == "file-exists"
    assert (path.read_bytes(), names(tmp_path)) == (b"one", ["key"])


@pytest.mark.parametrize("new", [True, False])
def test_no_symlink_is_written_through(tmp_path: Path, new: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("untouched")
    link.symlink_to(target)
    assert refusal(lambda: write_private(link, b"x", new=new)) == "file-symlink"
    assert (target.read_text(), link.is_symlink()) == ("untouched", True)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    assert refusal(lambda: write_private(tmp_path / "none" / "key", b"x")) == "file-unwritable"
    folder = tmp_path / "folder"
    folder.mkdir()
    assert refusal(lambda: write_private(folder, b"x")) == "file-unwritable"
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize(("bits", "plain", "secret"), [
    (0o600, None, None),
    (0o400, None, None),
    (0o640, None, "file-mode"),
    (0o644, None, "file-mode"),
    (0o620, "file-mode", "file-mode"),
    (0o602, "file-mode", "file-mode"),
])  # fmt: skip
def test_a_file_that_others_may_change_is_not_believed(
    tmp_path: Path, bits: int, plain: str | None, secret: str | None
) -> None:
    path = tmp_path / "config"
    path.write_bytes(b"content")
    path.chmod(bits)
    for wanted, only_ours in ((plain, False), (secret, True)):
        if wanted:
            assert refusal(lambda only_ours=only_ours: read_private(path, secret=only_ours)) == wanted  # type: ignore[misc]
        else:
            assert read_private(path, secret=only_ours) == b"content"


def test_what_is_no_plain_file_is_refused_and_a_pipe_does_not_hang(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(tmp_path / "pipe")
    os.mkfifo(pipe, 0o600)
    assert refusal(lambda: read_private(link)) == "file-symlink"
    assert refusal(lambda: read_private(pipe)) == "file-kind"
    assert refusal(lambda: read_private(tmp_path)) == "file-kind"
    assert refusal(lambda: read_private(tmp_path / "none")) == "file-missing"


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    write_private(path, b"")
    os.truncate(path, READ_BYTES_MAX + 1)
    assert refusal(lambda: read_private(path)) == "file-size"


def test_a_private_folder_is_made_closed_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert private_folder(folder) == folder
    assert mode(folder) == 0o700
    assert private_folder(folder) == folder


@pytest.mark.parametrize("bits", [0o755, 0o770, 0o777])
def test_a_folder_that_is_open_to_others_is_refused(tmp_path: Path, bits: int) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(bits)
    assert refusal(lambda: private_folder(folder)) == "folder-mode"


def test_a_symlink_or_a_file_is_no_private_folder(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(tmp_path, target_is_directory=True)
    file.write_text("")
    assert refusal(lambda: private_folder(link)) == "folder-mode"
    assert refusal(lambda: private_folder(file)) == "file-unwritable"
