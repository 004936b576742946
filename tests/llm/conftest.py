"""Fixtures for tests of models: a recorded server, and both ways to call it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from llm import calls, catalog, direct
from tests.llm.recorded import Recorded, recorded


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Recorded]:
    """An OpenAI-compatible server for models named `openai/…`. It needs no key."""
    async with recorded() as it:
        monkeypatch.setenv("OPENAI_API_BASE", it.url)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        monkeypatch.setattr(calls, "RETRY_DELAY_SECONDS", 0.01)
        yield it
        await direct.close()


@pytest.fixture(params=["direct", "litellm"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Each of the two ways to call an OpenAI-compatible provider."""
    if request.param == "litellm":
        file = tmp_path / "models.toml"
        file.write_text('[providers.openai]\napi_base = "http://unused"\nthrough_litellm = ["*"]\n')
        catalog.use([file])
    assert (catalog.provider_of("openai/fake") is None) == (request.param == "litellm")
    calls.preload("openai/fake")
    yield request.param
    catalog.use([])
