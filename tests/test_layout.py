"""The shape of the house: which packages there are, how large modules may be, and that no imports go in circles."""

from __future__ import annotations

import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest

PROJECT = Path(__file__).parents[1]
PACKAGES = ("codelab", "sessions", "agents", "llm")
MAX_MODULE_LINES = 300
MAX_ROOT_MODULES = 12
MAX_CONTRACT_LINES = 12
MAX_HOPS = 9

CONTRACTS: list[dict[str, Any]] = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]


def _modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (path for path in (PROJECT / package).rglob("*.py") if "migrations" not in path.parts)


def test_modules_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in _modules()}
    assert {path: length for path, length in lengths.items() if length > MAX_MODULE_LINES} == {}


def test_few_modules_stand_at_the_root_of_sessions() -> None:
    assert len(list((PROJECT / "sessions").glob("*.py"))) <= MAX_ROOT_MODULES


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract["name"])
def test_import_contracts_are_short_and_have_no_exemption(contract: dict[str, Any]) -> None:
    assert len(contract.get("layers", ())) <= MAX_CONTRACT_LINES
    assert not {"ignore_imports", "exhaustive_ignores", "unmatched_ignore_imports_alerting"} & set(contract)


def test_no_imports_go_in_circles() -> None:
    """Counts imports inside functions, too."""
    graph = grimp.build_graph(*PACKAGES)
    left = set(graph.modules)
    # A module is taken away when nothing that is left imports it; what then remains is a circle, or leads into one.
    while free := {name for name in left if not graph.find_modules_that_directly_import(name) & left}:
        left -= free
    assert sorted(left) == []


def test_only_the_gateway_and_its_callers_may_name_litellm() -> None:
    """The contract lists the modules by name, so a new one has to be added to it."""
    (contract,) = (each for each in CONTRACTS if each["name"] == "Only the gateway imports LiteLLM")
    modules = {f"llm.{module.name}" for module in pkgutil.iter_modules([str(PROJECT / "llm")])}
    assert modules - {"llm.gateway"} == {name for name in contract["source_modules"] if name.startswith("llm.")}


def test_a_message_passes_nine_files_which_the_architecture_names() -> None:
    page = (PROJECT / "docs/architecture.md").read_text(encoding="utf-8")
    section = page.split("## A message, hop by hop\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d) \| `([\w/]+\.py)` \|", section, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    assert len(rows) <= MAX_HOPS
    assert {path for _, path in rows} == set(re.findall(r"`([\w/]+\.py)`", section))
    assert [path for _, path in rows if not (PROJECT / path).exists()] == []
