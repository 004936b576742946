"""How the tests read the documentation: pages, sections, tables, code."""

from __future__ import annotations

import re
from pathlib import Path

from codelab.environment import PROJECT

PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def read(path: str) -> str:
    return (PROJECT / path).read_text(encoding="utf-8")


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def rows(text: str, column: int = 0) -> set[str]:
    """Return what stands as code in a column of the text's tables."""
    cells = (line.strip("|").split("|") for line in text.splitlines() if line.startswith("|"))
    return {name for row in cells if len(row) > column for name in code(row[column])}


def table(text: str) -> list[list[str]]:
    """Return the cells of the rows of the text's tables, without their heads."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    rule = [place for place, row in enumerate(cells) if set("".join(row)) <= set("-| ")]
    return [row for place, row in enumerate(cells) if place not in rule and place + 1 not in rule]


def section(path: str, title: str) -> str:
    """Return a section to the next heading of the first or second level."""
    match = re.search(rf"^(#+) {re.escape(title)}$(.*?)(?=^#{{1,2}} |\Z)", read(path), re.MULTILINE | re.DOTALL)
    assert match, f"{path} has no section {title}"
    return match[2]


def part(path: str, title: str) -> str:
    """Return a section to the next heading of any level."""
    return re.split(r"^#+ ", section(path, title), maxsplit=1, flags=re.MULTILINE)[0]
