"""The service that plays the cases: one for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.cases.checks")

from tests.cases.providers import KEYS, Providers  # noqa: E402 (after the line above)
from tests.conftest import POSTGRES, REDIS  # noqa: E402
from tests.live.service import Service, running  # noqa: E402

#: Of web pages and of an editor's.
ORIGINS = "http://localhost:5173,app://obsidian.md"

#: A case may send more than a person.
NO_LIMITS = {f"CODELAB_LIMIT_{name}": "off" for name in ("CONNECTIONS", "MESSAGES", "TURNS", "READS", "TOKENS")}


@pytest.fixture(scope="session")
def providers() -> Iterator[Providers]:
    with Providers() as it:
        yield it


@pytest.fixture(scope="session")
def case_service(tmp_path_factory: pytest.TempPathFactory, providers: Providers) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("cases")
    catalog = folder / "models.toml"
    catalog.write_text(providers.catalog(), encoding="utf-8")
    with running(
        folder,
        postgres=POSTGRES,
        redis=REDIS,
        module="tests.cases.process",
        CODELAB_CATALOG=str(catalog),
        CODELAB_MODEL="openai/fake",
        CODELAB_AGENTS="single",
        OPENAI_API_BASE=f" {providers.url('openai')}\n",
        OPENAI_API_KEY="sk-test-1\n",
        CODELAB_ALLOWED_ORIGINS=ORIGINS,
        **NO_LIMITS,
        **{name.upper(): key for name, key in KEYS.items()},
    ) as it:
        yield it
