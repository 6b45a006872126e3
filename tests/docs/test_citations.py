"""Every fact that code cites as `contract N.M` stands on the vendor's contract page under that number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = ("providers", "sinks")
OURS = {"keyturn_file"}
"""Plugins with no wire of somebody else's."""
PAGES = sorted(page for page in (ROOT / "docs" / "contracts").glob("*.md") if page.stem != "index")
HEADING = re.compile(r"^#+ (?P<number>\d+(?:\.\d+)*)\.? ")
ITEM = re.compile(r"^(?P<number>\d+)\. ")
CITATION = re.compile(
    r"\bcontracts? (?:section )?(?P<numbers>\d+(?:\.\d+)?(?:(?:,| and)\s\d+(?:\.\d+)?)*)", re.IGNORECASE
)
BARE = re.compile(r"#.*?\s(?P<number>\d+\.\d+)\b")
"""In a table of the simulator's, a comment may leave the word out."""
FAULT = re.compile(r"^    \w+: .* = .*  # (?P<number>\d+)\b", re.MULTILINE)
"""A switch of the simulator's, with the number of its fault."""


def numbers_of(page: Path) -> set[str]:
    """The numbers of a page's headings, and of the numbered items below them, as `HEADING.ITEM`."""
    found: set[str] = set()
    section = ""
    for line in page.read_text().splitlines():
        heading, item = HEADING.match(line), ITEM.match(line)
        if heading:
            section = heading["number"]
            found.add(section)
        elif item:
            found.add(f"{section}.{item['number']}")
    return found


def sources_of(page: Path) -> list[Path]:
    """The plugin's modules, and the tests that are called after it."""
    plugin = (path for kind in KINDS for path in (ROOT / kind / f"keyturn_{page.stem}").rglob("*.py"))
    return sorted([*plugin, *(ROOT / "tests").rglob(f"*{page.stem}*.py")])


def cited(text: str) -> Iterator[str]:
    """The numbers that a module cites; citations may go over the end of a comment's line."""
    joined = re.sub(r"\s*\n\s*(?:# )?", " ", text)
    for citation in CITATION.finditer(joined):
        yield from re.findall(r"\d+(?:\.\d+)?", citation["numbers"])


def cited_in_tables(path: Path, text: str) -> Iterator[str]:
    """The numbers of faults that the simulator's tables give without the word."""
    if path.stem == "simulator_faults":
        yield from (bare["number"] for line in text.splitlines() for bare in BARE.finditer(line))
    if path.stem == "simulator_world":
        yield from (f"10.{fault['number']}" for fault in FAULT.finditer(text))


def wrong(path: Path, known: set[str]) -> list[str]:
    """The citations of one module that lead nowhere."""
    text = path.read_text()
    numbers = [*cited(text), *cited_in_tables(path, text)]
    return [f"{path.relative_to(ROOT)}: contract {number}" for number in numbers if number not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_citation_of_a_contract_stands_on_its_page(page: Path) -> None:
    known = numbers_of(page)
    assert [text for path in sources_of(page) for text in wrong(path, known)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_plugin_and_its_simulator_both_cite_the_page(page: Path) -> None:
    citing = {path.stem for path in sources_of(page) if any(cited(path.read_text()))}
    assert {name.startswith("simulator") for name in citing} == {True, False}


def test_pages_and_plugins_are_called_alike() -> None:
    plugins = {folder.name for kind in KINDS for folder in (ROOT / kind).glob("keyturn_*")}
    assert {f"keyturn_{page.stem}" for page in PAGES} == plugins - OURS


def test_no_module_names_a_contract_page_that_does_not_exist() -> None:
    named = {
        (str(path.relative_to(ROOT)), name)
        for folder in ("core", "providers", "sinks", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"contracts/[a-z_]+\.md", path.read_text())
    }
    assert [one for one in sorted(named) if not (ROOT / "docs" / one[1]).exists()] == []


def test_a_wrong_number_would_be_noticed() -> None:
    assert list(cited("# Contract 3.1, 3.4 and 12: so\n")) == ["3.1", "3.4", "12"]
    assert list(cited("    # it is so (contract\n    # section 99.9)\n")) == ["99.9"]
    numbers = numbers_of(ROOT / "docs" / "contracts" / "pingauthorize.md")
    assert {"3.4", "8", "10.12"} <= numbers
    assert not {"3.10", "10.24", "11"} & numbers
