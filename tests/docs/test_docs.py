"""The pages say what is true: links lead somewhere, commands parse, configurations load, error codes exist."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import click
import pytest
import yaml

from keyturn.cli.app import Session, program
from keyturn.config import load, read
from keyturn.plugins.hookspecs import Kind
from keyturn.plugins.registry import Registry

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = ("core", "providers", "sinks")
FENCE = re.compile(r"^(?P<dent> *)```(?P<info>[^\n]*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
INLINE = re.compile(r"`(keyturn (?:-|[a-z])[^`]*)`")
CODE = re.compile(r"[a-z]+(?:-[a-z0-9]+)+")
SHELL = re.compile(r"\s*(?:\||;|&&|\|\|)\s*")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fenced(page: Path) -> Iterator[tuple[list[str], str]]:
    """Info words and body of every fenced block."""
    for found in FENCE.finditer(page.read_text()):
        yield found["info"].split(), found["body"]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_internal_links_resolve(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(prose(page)))
        todo += [(page.parent / path).resolve() for path in links if path]
    assert set(PAGES) <= seen


def command_lines(page: Path) -> Iterator[tuple[str, bool]]:
    """Every `keyturn ...` that the page shows, and whether it is to be typed as it stands: in a shell block it is."""
    for info, body in fenced(page):
        if info[:1] in (["console"], ["sh"]):
            lines = [line.strip().removeprefix("$ ") for line in body.splitlines()]
            shown = [line for line in lines if info[0] == "sh" or f"$ {line}" in body]
            yield from ((part, True) for line in shown for part in SHELL.split(line) if part.startswith("keyturn "))
    yield from ((line, False) for line in INLINE.findall(prose(page)))


def words(line: str) -> list[str]:
    """A command line's arguments, without redirections."""
    return shlex.split(re.sub(r"\s[<>]\s*\S+", "", line), comments=True)[1:]


def parsed(line: str) -> None:
    """Parse a command line down to its last command; nothing is run. Raises click.UsageError."""
    command: click.Command = program
    context = command.make_context("keyturn", words(line), obj=Session())
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None, name
        command, context = found, found.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_that_is_shown_exists_with_its_options(page: Path) -> None:
    for line, whole in command_lines(page):
        try:
            parsed(line)
        except click.exceptions.Exit:
            continue
        except click.UsageError as error:
            if whole or not isinstance(error, click.MissingParameter):
                pytest.fail(f"{line}: {error.format_message()}")


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        parsed("keyturn rotate gateway/sideband --no-such-option")
    with pytest.raises(click.UsageError):
        parsed("keyturn no-such-command")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_configuration_loads_without_problems(page: Path, tmp_path: Path) -> None:
    for number, (info, body) in enumerate(fenced(page)):
        if info[:1] == ["yaml"]:
            yaml.safe_load(body)
        if info[:2] == ["yaml", "configuration"]:
            place = tmp_path / f"{number}.yaml"
            place.write_text(body)
            source = read(place)
            configuration = load(source, Registry(source.plugins).find)
            assert [str(problem) for problem in configuration.problems] == []
            assert configuration.secrets


def test_the_smallest_plugin_of_the_page_is_one(tmp_path: Path) -> None:
    page = ROOT / "docs" / "plugins" / "writing-a-plugin.md"
    code = next(body for info, body in fenced(page) if info == ["python", "null.py"])
    file = tmp_path / "null.py"
    file.write_text(code)
    file.chmod(0o600)
    plugin = Registry([file]).find(Kind.SINK, "null")
    assert plugin.summary == "forgets everything"
    assert plugin.load()(None, plugin.account)


def mentioned(page: Path) -> set[str]:
    """Error codes on a page: those in a table's column `code`, and those in brackets."""
    found = set(re.findall(r"\(`([a-z]+(?:-[a-z0-9]+)+)`\)", prose(page)))
    in_table = False
    for line in prose(page).splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells[:1] == ["code"] or not cells:
            in_table = bool(cells)
        elif in_table:
            found |= {code for code in re.findall(r"`([^`]+)`", cells[0]) if CODE.fullmatch(code)}
    return found


@cache
def known_codes() -> frozenset[str]:
    """Every kebab-case text in the code, those with a part that is filled in included."""
    found: set[str] = set()
    halves = ("refuse", "remove")
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                    found.add(node.value)
                if isinstance(node, ast.JoinedStr):
                    tails = [str(one.value) for one in node.values if isinstance(one, ast.Constant)]
                    found |= {half + tail for half, tail in product(halves, tails) if tail.startswith("-")}
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_error_code_that_is_mentioned_exists(page: Path) -> None:
    assert mentioned(page) <= known_codes()
