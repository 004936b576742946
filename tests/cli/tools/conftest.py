"""A workspace of Alice, and the tools of her client in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from codelab_cli.journal import Journal
from codelab_cli.outcome import Outcome
from codelab_cli.tools import Toolbox

type Result = dict[str, Any]


class Runner:
    """Runs calls with ids of their own."""

    def __init__(self, toolbox: Toolbox) -> None:
        self.toolbox = toolbox
        self._numbers = count(1)

    async def __call__(self, name: str, /, **arguments: Any) -> Outcome:
        # `from` is a keyword of Python.
        given = {"from" if key == "from_" else key: value for key, value in arguments.items()}
        return await self.toolbox.run(f"call_{next(self._numbers)}", name, given)

    async def result(self, name: str, /, **arguments: Any) -> Result:
        outcome = await self(name, **arguments)
        assert outcome.error is None, outcome.error
        assert isinstance(outcome.result, dict)
        return outcome.result

    async def error(self, name: str, /, **arguments: Any) -> str:
        outcome = await self(name, **arguments)
        assert outcome.error is not None, outcome.result
        return outcome.error


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "state") as journal:
        yield journal


@pytest.fixture
async def tools(root: Path, journal: Journal) -> AsyncIterator[Runner]:
    async with Toolbox(root, journal) as toolbox:
        yield Runner(toolbox)


@pytest.fixture
async def trusting(root: Path, journal: Journal) -> AsyncIterator[Runner]:
    """Tools of a client that was started with --allow-secrets."""
    async with Toolbox(root, journal, allow_secrets=True) as toolbox:
        yield Runner(toolbox)
