"""Where a configuration is looked for, and which files are believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyturn import config
from keyturn.errors import UsageError
from unit.config_stubs import DESIGN, find


def write(path: Path, text: str = "keyturn: 1\n", mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def code_of(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        config.read(path)
    assert caught.value.hint
    return caught.value.code


def test_the_argument_comes_before_the_environment_before_the_folder(tmp_path: Path) -> None:
    here, named, asked = (write(tmp_path / name) for name in ("keyturn.yaml", "named.yaml", "asked.yaml"))
    environ = {"KEYTURN_CONFIG": str(named)}
    assert config.locate(asked, environ=environ, folder=tmp_path) == asked
    assert config.locate(None, environ=environ, folder=tmp_path) == named
    assert config.locate(None, environ={}, folder=tmp_path) == here


def test_a_named_place_that_is_missing_is_an_error_and_no_other_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "keyturn.yaml")
    with pytest.raises(UsageError, match=r"gone\.yaml") as caught:
        config.locate("gone.yaml", environ={}, folder=tmp_path)
    assert caught.value.code == "config-missing"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    assert code_of(write(tmp_path / "keyturn.yaml", mode=mode)) == "config-mode"


def test_a_symlink_to_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "real.yaml", mode=0o666)
    link = tmp_path / "keyturn.yaml"
    link.symlink_to("real.yaml")
    assert code_of(link) == "config-mode"


def test_a_folder_in_which_others_can_replace_the_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "open" / "keyturn.yaml")
    path.parent.chmod(0o777)
    assert code_of(path) == "config-mode"


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "keyturn.yaml")
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
        assert code_of(path) == "config-mode"
    assert config.read(write(tmp_path / "mine.yaml")).data == {"keyturn": "1"}


def test_a_pipe_in_place_of_the_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "keyturn.yaml", 0o600)
    assert code_of(tmp_path / "keyturn.yaml") == "config-missing"


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    assert code_of(write(tmp_path / "keyturn.yaml", "#" * (4 * 1024 * 1024 + 1))) == "config-size"


def test_a_folder_is_read_as_one_configuration(tmp_path: Path) -> None:
    head, _, secrets = DESIGN.partition("secrets:\n")
    first, second = secrets.split("  network/entity:\n")
    write(tmp_path / "a.yaml", head)
    write(tmp_path / "b.yaml", "keyturn: 1\nsecrets:\n" + first)
    write(tmp_path / "c.yaml", "secrets:\n  network/entity:\n" + second)
    write(tmp_path / "notes.txt", "not: [read")
    found = config.load(config.read(tmp_path), find)
    assert found.problems == ()
    assert len(found.secrets) == 4
    assert found.folder == tmp_path


def test_a_name_defined_in_two_files_names_both_places(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", DESIGN)
    write(tmp_path / "b.yaml", "secrets:\n  network/entity: {provider: sahamati}\nlimits: {rotations_per_run: 1}\n")
    found = config.load(config.read(tmp_path), find)
    told = {(one.code, one.scope, one.line) for one in found.problems if one.file == str(tmp_path / "b.yaml")}
    assert told == {("defined-twice", "secret:network/entity", 2), ("defined-twice", "all", 3)}
    assert all("a.yaml:" in one.message for one in found.problems)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    assert code_of(tmp_path) == "config-missing"


def test_two_thousand_secrets_load_in_seconds(tmp_path: Path) -> None:
    head, _, _ = DESIGN.partition("secrets:\n")
    one = "  n/{0}: {{provider: sahamati, target: {{entity_id: e{0}}}, sinks: [{{to: vault-eu, path: p{0}}}]}}\n"
    write(tmp_path / "keyturn.yaml", head + "secrets:\n" + "".join(one.format(n) for n in range(2_000)))
    found = config.load(config.read(tmp_path / "keyturn.yaml"), find)
    assert found.problems == ()
    assert len(found.secrets) == 2_000
