"""The shape of the code, held by tests: who imports whom, how long it is, what the seams are, which words are fixed."""

from __future__ import annotations

import ast
import inspect
import re
import statistics
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from keyturn import api, errors
from keyturn.engine.fence import MUTATING
from keyturn.plugins import hookspecs
from keyturn.plugins.overlap import Overlap
from keyturn.plugins.provider import PROVIDER_VERBS, BreakGlass, Commander, Minter, Provider
from keyturn.plugins.sink import SINK_VERBS, Sink
from reference.codes import ERRORS, uses
from reference.pages import FOLDER, PAGES, verbs
from reference.source import ROOT, SHIPPED, Module, called, modules

TESTS = modules("tests")
SOURCE = modules(*SHIPPED)
CORE = modules("core")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLUGIN_FOLDERS = sorted(
    (folder for kind in ("providers", "sinks") for folder in (ROOT / kind).glob("keyturn_*")), key=lambda one: one.name
)

# Who imports whom


def test_the_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_every_plugin_is_named_in_every_contract_about_plugins() -> None:
    linter = PROJECT["tool"]["importlinter"]
    contracts = {one["id"]: one for one in linter["contracts"]}
    names = [folder.name for folder in PLUGIN_FOLDERS]
    assert sorted(linter["root_packages"]) == ["keyturn", *names]
    assert sorted(contracts["core"]["forbidden_modules"]) == names
    assert sorted(contracts["plugins-api"]["source_modules"]) == names
    simulators = ("simulator", "simulator_app", "simulator_faults")
    served = [f"**.{module} -> keyturn.simulator" for module in simulators[:2]]
    spoiled = [f"**.{module} -> keyturn.simulator_faults" for module in simulators]
    allowed = [*served, *spoiled, *(f"{name}.** -> keyturn.api" for name in names)]
    assert sorted(contracts["plugins-api"]["ignore_imports"]) == sorted(allowed)
    assert sorted(contracts["plugins-apart"]["modules"]) == names
    assert sorted(contracts["pluggy"]["source_modules"]) == ["keyturn", *names]


VENDOR_LIBRARIES = {"boto3", "botocore", "hvac", "cryptography", "psycopg", "starlette", "uvicorn"}
LIBRARY_PLACES = ("client", "simulator", "postgresql")
"""File names that may import a library of a vendor: a plugin's client, a simulator, the store of that database."""


def imported(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_libraries_of_vendors_are_imported_by_clients_and_simulators_only() -> None:
    found = [
        f"{module.path} imports {name}"
        for module in SOURCE
        for name in imported(module)
        if name.partition(".")[0] in VENDOR_LIBRARIES and not _may_import_libraries(module)
    ]
    assert found == []


def _may_import_libraries(module: Module) -> bool:
    return any(module.path.name.startswith(place) for place in LIBRARY_PLACES) or "simulator" in module.path.parts


# Sizes

FUNCTION_MAX, FUNCTION_P90, FUNCTION_MEDIAN, MODULE_MAX = 70, 40, 13, 600
LONGER: Mapping[str, str] = {}
"""Functions and modules that may be longer, with the reason. Aim for none."""


def sizes(module: Module) -> Iterator[tuple[str, int]]:
    for function in module.functions:
        first = min([function.lineno, *(one.lineno for one in function.decorator_list)])
        yield f"{module.path}:{function.name}", (function.end_lineno or first) - first + 1


def test_no_function_is_longer_than_70_lines_and_no_module_longer_than_600() -> None:
    functions = [f"{name}: {lines}" for module in SOURCE for name, lines in sizes(module) if lines > FUNCTION_MAX]
    long = [f"{module.path}: {module.lines}" for module in SOURCE if module.lines > MODULE_MAX]
    assert [one for one in functions + long if one.rpartition(":")[0] not in LONGER] == []


def test_half_of_the_functions_are_short_and_nine_in_ten_fit_on_a_screen() -> None:
    lines = sorted(lines for module in SOURCE for _, lines in sizes(module))
    assert statistics.median(lines) <= FUNCTION_MEDIAN
    assert lines[int(len(lines) * 0.9)] < FUNCTION_P90


# The seams

PROTOCOLS: Sequence[type] = (Provider, Minter, BreakGlass, Commander, Sink, Overlap)
VERBS = [(kind, name, verb) for kind in PROTOCOLS for name, verb in verbs(kind).items()]
LABELS = ("Repeat:", "Target gone:", "Raises:", "After a crash in the middle:")
verb_ids = [f"{kind.__name__}.{name}" for kind, name, _ in VERBS]


def test_hooks_take_no_arguments() -> None:
    specs = [one for one in vars(hookspecs).values() if hasattr(one, "keyturn_spec")]
    assert [spec.__name__ for spec in specs] == ["keyturn_plugin"]
    assert all(not inspect.signature(spec).parameters for spec in specs)


@pytest.mark.parametrize("kind", PROTOCOLS, ids=lambda kind: kind.__name__)
def test_a_seam_has_six_verbs_at_most(kind: type) -> None:
    assert 1 <= len(verbs(kind)) <= 6


@pytest.mark.parametrize(("kind", "name", "verb"), VERBS, ids=verb_ids)
def test_a_verb_takes_one_frozen_request_and_gives_one_frozen_response(kind: type, name: str, verb: Any) -> None:
    assert len(inspect.signature(verb).parameters) == 2, f"{kind.__name__}.{name}: self and the request"
    hints = get_type_hints(verb)
    assert list(hints) == ["request", "return"]
    for data in hints.values():
        assert is_dataclass(data)
        assert vars(data)["__dataclass_params__"].frozen
        assert data in vars(api).values()


@pytest.mark.parametrize(("kind", "name", "verb"), VERBS, ids=verb_ids)
def test_a_verb_says_what_happens_when_it_is_repeated_late_refused_or_cut_short(
    kind: type, name: str, verb: Any
) -> None:
    text = " ".join((verb.__doc__ or "").split())
    places = [text.find(label) for label in LABELS]
    assert -1 not in places, f"{kind.__name__}.{name} lacks one of {LABELS}"
    assert places == sorted(places)


def test_the_fence_knows_every_verb_and_what_it_answers() -> None:
    for kinds, table in (((Provider, Minter, BreakGlass, Commander), PROVIDER_VERBS), ((Sink,), SINK_VERBS)):
        answers = {name: get_type_hints(verb)["return"] for kind in kinds for name, verb in verbs(kind).items()}
        assert answers == dict(table)


# The fence is the only caller

FENCED = {*PROVIDER_VERBS, *SINK_VERBS, "notify"}
PLUGIN_NAMES = {"provider", "target", "sink", "plugin", "notifier", "instance"}
"""What a plugin object, or one that wraps it, is called. `.issue` on one of these is a call past the fence."""


def test_only_the_fence_calls_a_plugins_verbs() -> None:
    past = [
        f"{module.path}:{call.lineno} calls {ast.unparse(call.func)}"
        for module in CORE
        if module.name != "keyturn.engine.fence" and not module.name.startswith("keyturn.testing")
        for call, _ in module.calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in FENCED and _is_a_plugin(call.func.value)
    ]
    assert past == []


def _is_a_plugin(value: ast.expr) -> bool:
    name = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
    return name in PLUGIN_NAMES


ABOUT_PLUGINS = ("engine", "overlaps")


def test_abilities_are_declared_and_never_tried_out() -> None:
    tried = [
        f"{module.path}:{call.lineno}"
        for module in CORE
        if module.path.parts[2] in ABOUT_PLUGINS and module.name != "keyturn.engine.fence"
        for call, _ in module.calls
        if called(call) in ("hasattr", "isinstance") and _asks_for_a_seam(call)
    ]
    raised = [m.path for m in CORE if m.path.parts[2] in ABOUT_PLUGINS and "NotImplementedError" in m.text]
    assert tried + raised == []


def _asks_for_a_seam(call: ast.Call) -> bool:
    if called(call) == "hasattr":
        return True
    return any(re.search(rf"\b{kind.__name__}\b", ast.unparse(call.args[1])) for kind in PROTOCOLS)


def test_the_verbs_that_change_something_are_those_whose_repetition_is_a_question() -> None:
    assert MUTATING - {"notify", "renew"} == {*("issue", "reset", "retire", "stage", "promote", "discard", "command")}


# Errors are data

KEBAB = re.compile(r"[a-z][a-z0-9]*(?:-(?:[a-z0-9]+|\{\w+\}))*|\{\w+\}(?:-[a-z0-9]+)+")


def test_every_error_has_a_code_in_the_source() -> None:
    assert [use.where for use in uses() if use.kind == "error" and not use.code and not use.passed_on] == []


def test_every_code_is_in_kebab_case() -> None:
    assert [f"{use.where}: {use.code}" for use in uses() if use.code and not KEBAB.fullmatch(use.code)] == []


def test_an_error_code_means_one_thing_and_one_exit_code() -> None:
    exits: dict[str, set[int]] = defaultdict(set)
    for use in uses():
        if use.kind == "error" and use.code:
            exits[use.code].add(ERRORS[use.maker].exit_code)
    assert {code: found for code, found in exits.items() if len(found) > 1} == {}


def test_every_error_says_what_to_type_next() -> None:
    assert [use.where for use in uses() if use.kind in ("error", "stuck") and not use.hinted] == []


def test_every_problem_says_what_to_do_next() -> None:
    kinds = ("problem", "config")
    found = [use for use in uses() if use.kind in kinds and (use.code or use.passed_on) and not use.hinted]
    assert [use.where for use in found] == []


def test_every_error_class_ends_with_an_exit_code_of_its_own() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.KeyturnError)]
    assert sorted(kind.exit_code for kind in kinds) == list(range(1, 8))
    assert all(kind.__doc__ for kind in kinds)


def test_messages_start_lower_case_and_have_no_full_stop() -> None:
    ours = [use for use in uses() if use.text and use.kind != "plugin"]
    loud = [f"{use.where}: {use.text}" for use in ours if use.text[0].isupper() or use.text.endswith(".")]
    assert loud == []


def test_every_code_is_listed_in_the_reference() -> None:
    page = (FOLDER / "errors.md").read_text()
    assert [use.code for use in uses() if use.code and f"| `{use.code}` |" not in page] == []


def test_every_key_of_the_configuration_says_what_it_means() -> None:
    lines = PAGES["configuration.md"]().splitlines()
    assert [line for line in lines if line.startswith("| `") and line.endswith("|  |")] == []


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_of_the_reference_says_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), "stale: make docs"


# Tests

SUITES = re.compile(r"\((?:\w+, )*(?:ProviderContract|SinkContract)\)")
WITHOUT_SUITE: Mapping[str, str] = {}
"""Plugins that are not held to the shared suite, with the reason. Aim for none."""


@pytest.mark.parametrize("folder", PLUGIN_FOLDERS, ids=lambda folder: folder.name)
def test_every_plugin_has_contract_tests_and_passes_the_shared_suite(folder: Path) -> None:
    about = [module for module in modules("tests/contract") if folder.name in module.text]
    assert about, f"no contract test of {folder.name}"
    suites = [module.path for module in about if SUITES.search(module.text)]
    assert bool(suites) != (folder.name in WITHOUT_SUITE), (
        f"{folder.name}: {WITHOUT_SUITE.get(folder.name, 'no suite')}"
    )


PATCHES = re.compile(r"monkeypatch\.(?:setattr|delattr|setitem)|mock\.patch|unittest\.mock|@patch\b|MagicMock")
THIS = "tests/test_architecture.py"


def test_no_test_patches_our_code_or_sleeps() -> None:
    found = [str(module.path) for module in TESTS if str(module.path) != THIS and PATCHES.search(module.text)]
    found += [
        f"{module.path}:{call.lineno}"
        for module in (*TESTS, *SOURCE)
        for call, _ in module.calls
        if called(call) == "sleep" and "await" not in module.text.splitlines()[call.lineno - 1]
    ]
    assert found == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    words = re.compile(r"pytest\.(?:skip|xfail|importorskip)|mark\.(?:skip|skipif|xfail)")
    assert [module.path for module in TESTS if str(module.path) != THIS and words.search(module.text)] == []


# What may not be in the tree

HOSTS = re.compile(r"index[-]url|find[-]links|artifactor[y]|/simple[/]", re.IGNORECASE)
MACHINE = re.compile(r"(?<![\w.])/(?:work|root)/\w")
INDEX_ALLOWED = "--no-emit-index-url"


def tracked() -> Iterator[tuple[Path, str]]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file():
            yield Path(name), path.read_text(errors="replace")


def test_no_file_names_a_package_index_or_a_path_of_this_machine() -> None:
    found = []
    for path, text in tracked():
        ours = text.replace(INDEX_ALLOWED, "")
        found += [f"{path}: {match.group()}" for words in (HOSTS, MACHINE) for match in words.finditer(ours)]
    assert found == []


# Every loop has a limit

ENDLESS: Mapping[str, str] = {
    "keyturn.cli.acting.rotate:_one": "ends at the given time, or with the lease",
    "keyturn.cli.acting.run:_watch": "a worker works until it is told to stop",
    "keyturn.cli.setting_up.play:_finish": "ends with the rotations, or after FINISH_S_MAX",
    "keyturn.config.cross:_refuse_circles": "each turn takes a node off the graph",
    "keyturn.engine.effects.leases:_acquire": "ends at the given time, or with the lease",
    "keyturn.mint:make": "a forbidden beginning is drawn less often than not",
    "keyturn.mint:_draw": "a byte is refused less often than not",
}
"""Loops whose end is not in their head, with the reason why they end."""


def test_no_loop_is_endless_without_a_reason() -> None:
    found = {
        f"{module.name}:{function.name}"
        for module in CORE
        for function in module.functions
        for node in ast.walk(function)
        if isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value
    }
    assert found == ENDLESS.keys()
