"""Plugins are listed without being run, and only the one that is asked for is imported."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.errors import UsageError
from keyturn.plugins import hookspecs
from keyturn.plugins.hookspecs import API, Kind
from keyturn.plugins.registry import Registry

PLUGIN = """
from __future__ import annotations
from dataclasses import dataclass
from keyturn.api import Kind, Plugin, hookimpl

@dataclass(frozen=True)
class Vendor:
    context: object
    account: object

@hookimpl
def keyturn_plugin() -> Plugin:
    return Plugin(kind=Kind.{kind}, name="{name}", summary="made in a test", api={api}, load=lambda: {load})
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder that Python imports from while the test runs."""
    site = tmp_path / "site"
    site.mkdir()
    before = set(sys.modules)
    sys.path.append(str(site))
    yield site
    sys.path.remove(str(site))
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(site) in str(sys.modules[name].__file__):
            del sys.modules[name]


def source(kind: str = "PROVIDER", name: str = "acme", api: int = API, load: str = "Vendor") -> str:
    return PLUGIN.format(kind=kind, name=name, api=api, load=load)


def distribution(site: Path, name: str, points: str, **modules: str) -> None:
    """What pip leaves behind for a distribution with these entry points and modules."""
    info = site / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(points)
    for module, text in modules.items():
        (site / f"{module}.py").write_text(text)


def single(tmp_path: Path, text: str, name: str = "plugin.py") -> Path:
    path = tmp_path / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def refusal(registry: Registry, name: str = "acme", kind: Kind = Kind.PROVIDER) -> UsageError:
    with pytest.raises(UsageError) as caught:
        registry.load(registry.find(kind, name))
    assert caught.value.hint
    return caught.value


def test_no_hook_takes_an_argument() -> None:
    hooks = [value for value in vars(hookspecs).values() if hasattr(value, "keyturn_spec")]
    assert hooks
    assert all(not inspect.signature(hook).parameters for hook in hooks)


def test_the_built_in_sink_is_listed_with_its_distribution_and_found() -> None:
    registry = Registry()
    (listed,) = [claim for claim in registry.listed() if (claim.kind, claim.name) == (Kind.SINK, "file")]
    assert (listed.distribution, listed.source) == ("keyturn", "keyturn_file.hook")
    plugin = registry.find(Kind.SINK, "file")
    assert registry.load(plugin).__name__ == "FileSink"


@pytest.mark.usefixtures("site")
def test_what_was_found_and_loaded_is_kept() -> None:
    registry = Registry()
    plugin = registry.find(Kind.SINK, "file")
    assert registry.find(Kind.SINK, "file") is plugin
    assert registry.load(plugin) is registry.load(plugin)


def test_a_third_partys_plugin_is_found_by_its_entry_point(site: Path) -> None:
    distribution(site, "keyturn-acme", "[keyturn.providers]\nacme = acme_hook\n", acme_hook=source())
    registry = Registry()
    assert registry.find(Kind.PROVIDER, "acme").summary == "made in a test"


def test_an_overlap_is_made_ready_to_be_asked(site: Path) -> None:
    text = source(kind="OVERLAP", load="lambda: Vendor(1, 2)")
    distribution(site, "keyturn-acme", "[keyturn.overlaps]\nacme = acme_hook\n", acme_hook=text)
    assert type(Registry().overlap("acme")).__name__ == "Vendor"


def test_an_unknown_name_is_answered_with_a_guess_and_the_list() -> None:
    error = refusal(Registry(), "fil", Kind.SINK)
    assert error.code == "plugin-unknown"
    assert "did you mean file?" in error.hint


def test_a_name_of_another_kind_is_unknown() -> None:
    assert refusal(Registry(), "file", Kind.PROVIDER).code == "plugin-unknown"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_module_anywhere", "no_such_module_anywhere"),
        ("raise SystemExit(3)", "SystemExit"),
        ("1 +", "SyntaxError"),
        ("", "expected one keyturn_plugin"),
        ("def keyturn_plugin(): return None", "expected one keyturn_plugin"),
        ("from keyturn.api import hookimpl\n@hookimpl\ndef keyturn_plugin(): return 1 / 0", "ZeroDivisionError"),
        ("from keyturn.api import hookimpl\n@hookimpl\ndef keyturn_plugin(): return 'acme'", "returns a Plugin"),
        ("from keyturn.api import hookimpl\n@hookimpl\ndef keyturn_plugin(secret): return secret", "secret"),
        (source(name="other"), "it registers provider other"),
        (source(kind="SINK"), "it registers sink acme"),
        (source(load="1 / 0"), "ZeroDivisionError"),
        (source(load="None"), "returns NoneType"),
    ],
)
def test_a_broken_plugin_stops_those_that_ask_for_it_and_says_why(site: Path, text: str, why: str) -> None:
    distribution(site, "keyturn-acme", "[keyturn.providers]\nacme = acme_hook\n", acme_hook=text)
    registry = Registry()
    error = refusal(registry)
    assert error.code == "plugin-broken"
    assert why in error.message
    assert registry.find(Kind.SINK, "file").name == "file"


def test_a_plugin_for_another_api_is_refused(site: Path) -> None:
    distribution(site, "keyturn-acme", "[keyturn.providers]\nacme = acme_hook\n", acme_hook=source(api=API + 1))
    assert refusal(Registry()).code == "plugin-api"


def test_two_distributions_that_claim_one_name_are_both_named_and_neither_is_imported(site: Path) -> None:
    text = "raise SystemExit('imported')"
    distribution(site, "keyturn-acme", "[keyturn.providers]\nacme = acme_hook\n", acme_hook=text)
    distribution(site, "acme-typo", "[keyturn.providers]\nacme = typo_hook\n", typo_hook=text)
    error = refusal(Registry())
    assert error.code == "plugin-clash"
    assert "keyturn-acme 1.2" in error.message
    assert "acme-typo 1.2" in error.message


def test_a_built_in_can_not_be_replaced(site: Path) -> None:
    distribution(site, "evil", "[keyturn.sinks]\nfile = evil_hook\n", evil_hook="raise SystemExit('imported')")
    error = refusal(Registry(), "file", Kind.SINK)
    assert error.code == "plugin-clash"
    assert "evil 1.2" in error.message
    assert "can not be replaced" in error.message


def test_one_distribution_that_is_found_twice_makes_one_claim(site: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    for place in (site, again):
        distribution(place, "keyturn-acme", "[keyturn.providers]\nacme = acme_hook\n", acme_hook=source())
    sys.path.append(str(again))
    try:
        assert Registry().find(Kind.PROVIDER, "acme")
    finally:
        sys.path.remove(str(again))


def test_entry_points_that_can_not_be_read_stop_nobody_else(site: Path) -> None:
    distribution(site, "broken-acme", "[keyturn.providers]\nno equals sign\n")
    registry = Registry()
    assert registry.find(Kind.SINK, "file")
    assert registry.broken()["broken-acme"].code == "plugin-broken"


def test_a_single_file_is_a_plugin(tmp_path: Path) -> None:
    path = single(tmp_path, source())
    registry = Registry([path])
    (listed,) = [claim for claim in registry.listed() if claim.name == "acme"]
    assert (listed.distribution, listed.source) == ("", str(path))
    assert registry.load(registry.find(Kind.PROVIDER, "acme"))(1, 2).account == 2


def test_a_single_file_can_not_replace_a_built_in(tmp_path: Path) -> None:
    path = single(tmp_path, source(kind="SINK", name="file"))
    error = refusal(Registry([path]), "file", Kind.SINK)
    assert error.code == "plugin-clash"
    assert str(path) in error.message


def test_two_files_of_one_name_are_two_plugins(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    files = [single(tmp_path, source(name="one")), single(tmp_path / "other", source(name="two"))]
    registry = Registry(files)
    assert registry.find(Kind.PROVIDER, "one").name == "one"
    assert registry.find(Kind.PROVIDER, "two").name == "two"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_never_run(tmp_path: Path, mode: int) -> None:
    path = single(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')\n{source()}")
    path.chmod(mode)
    assert refusal(Registry([path])).code == "plugin-mode"
    assert not (tmp_path / "ran").exists()


def test_a_file_in_a_folder_that_others_may_write_is_never_run(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    assert refusal(Registry([single(folder, source())])).code == "plugin-mode"


def test_a_symlink_to_a_plugin_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "link.py"
    link.symlink_to(single(tmp_path, source()))
    assert refusal(Registry([link])).code == "plugin-mode"


def test_a_file_that_is_missing_or_fails_stops_only_those_that_need_it(tmp_path: Path) -> None:
    files = [tmp_path / "missing.py", single(tmp_path, "1 / 0", "failing.py"), single(tmp_path, source(), "good.py")]
    registry = Registry(files)
    assert registry.find(Kind.PROVIDER, "acme")
    assert [error.code for error in registry.broken().values()] == ["plugin-mode", "plugin-broken"]
    error = refusal(Registry(files[1:2]))
    assert error.code == "plugin-broken"
    assert "ZeroDivisionError" in error.message
    assert not [name for name, module in sys.modules.items() if getattr(module, "__file__", "") == str(files[1])]
