"""The catalog: its built-in file, an operator's additions, and the errors for invalid files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest

from codelab.environment import PROJECT
from llm import catalog
from llm.catalog import CatalogError
from llm.types import TokenUsage


@pytest.fixture(autouse=True)
def _shipped() -> Iterator[None]:
    yield
    catalog.use([])


def write(folder: Path, text: str) -> Path:
    file = folder / "own.toml"
    file.write_text(text)
    return file


def test_shipped_models_are_whole() -> None:
    names = {model.name for model in catalog.all_models()}
    assert "scripted" in names
    assert len(names) > 20
    for model in catalog.all_models():
        assert model.prices, model.name
        assert model.window >= model.max_output > 0
        assert set(model.fallbacks) <= names
        assert {name.partition("/")[0] for name in (model.name, *model.fallbacks)} == {model.name.partition("/")[0]}


def test_windows_and_prices_are_those_of_the_source() -> None:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    source = json.loads((Path(spec.origin).parent / "model_prices_and_context_window_backup.json").read_text())
    for model in catalog.all_models():
        if catalog.is_scripted(model.name):
            continue
        theirs = source.get(model.name) or source[model.name.partition("/")[2]]
        price = model.prices[0]
        assert model.window == theirs["max_input_tokens"], model.name
        if "embeddings" in model.capabilities:
            assert theirs["mode"] == "embedding"
            assert float(price.input) == pytest.approx(theirs["input_cost_per_token"] * 1_000_000), model.name
            assert price.output == theirs["output_cost_per_token"] == 0
            continue
        assert model.max_output == theirs["max_output_tokens"], model.name
        for ours, name in (
            (price.input, "input_cost_per_token"),
            (price.cached_input, "cache_read_input_token_cost"),
            (price.output, "output_cost_per_token"),
        ):
            assert float(ours) == pytest.approx(theirs[name] * 1_000_000), (model.name, name)
        # 0 stands for a provider that charges nothing beside the input.
        written = theirs.get("cache_creation_input_token_cost") or theirs["input_cost_per_token"]
        assert float(price.cache_write) == pytest.approx(written * 1_000_000), model.name


def test_a_name_of_no_file_works_and_its_price_is_unknown() -> None:
    model = catalog.find("somebody/something")
    assert (model.is_known, model.cost(TokenUsage(input_tokens=1)), model.fallbacks) == (False, None, ())
    assert model.window > 0
    assert "images" not in model.capabilities


def test_costs_are_exact_and_have_tiers() -> None:
    model = catalog.find("openai/gpt-5.4")
    assert model.cost(TokenUsage(input_tokens=272_000, cached_tokens=200_000, output_tokens=10)) == Decimal("0.23015")
    assert model.cost(TokenUsage(input_tokens=272_001)) == Decimal("1.360005")
    assert model.cost(TokenUsage()) == 0
    writes = catalog.find("anthropic/claude-opus-5-5")
    usage = TokenUsage(input_tokens=1_000_000, cached_tokens=200_000, cache_write_tokens=100_000)
    assert writes.cost(usage) == Decimal("0.04") + Decimal("0.5") + Decimal("2.8")
    # A provider that counts more cached tokens than it read.
    assert model.cost(TokenUsage(input_tokens=10, cached_tokens=1000)) == Decimal("0.0000025")


def test_an_operators_file_adds_and_replaces(tmp_path: Path) -> None:
    own = """
        [providers.lab]
        api_base = "http://gpu.internal:8000/v1"
        key_variable = "LAB_KEY"

        [models."lab/qwen"]
        window = 32768
        capabilities = []
        fallbacks = ["openai/gpt-4.1-mini"]

        [models."openai/gpt-4.1"]
        prices = [{ input = 0.1, output = 0.2 }]
    """
    catalog.use([write(tmp_path, own)])
    model = catalog.find("lab/qwen")
    assert (model.window, model.capabilities, model.fallbacks) == (32768, frozenset(), ("openai/gpt-4.1-mini",))
    assert catalog.find("openai/gpt-4.1").cost(TokenUsage(input_tokens=10, cached_tokens=10)) == Decimal("0.000001")
    provider = catalog.provider_of("lab/anything")
    assert provider is not None
    assert (provider.api_base, provider.key_variable) == ("http://gpu.internal:8000/v1", "LAB_KEY")
    assert "openai/gpt-5-mini" in {model.name for model in catalog.all_models()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models", "is not TOML"),
        ("[model.x]\nwindow = 1", "model: Extra inputs"),
        ('[models."a/b"]\nwindow = "big"', "models.a/b.window: Input should be a valid integer"),
        ('[models."a/b"]\nwindow = 0', "models.a/b.window: Input should be greater than 0"),
        ('[models."a/b"]\ncapabilities = ["magic"]', "models.a/b.capabilities"),
        ('[models."a/b"]\nprices = [{ input = -1, output = 1 }]', "models.a/b.prices.0.input"),
        ('[models."a/b"]\nprices = [{ input = nan, output = 1 }]', "models.a/b.prices.0.input"),
        ('[models."a/b"]\nprices = [{ above = 5, input = 1, output = 1 }]', "the first tier must have no `above`"),
        ('[models."a/b"]\nfallbacks = ["a/b"]', "a/b cannot be its own fallback"),
        ('[providers.a]\napi_base = "gpu:8000"', "give an address such as http://host:port/v1"),
        ('[providers.a]\napi_base = "http://user:key@gpu/v1"', "without a key in it"),
    ],
)
def test_an_invalid_file_is_reported(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CatalogError) as caught:
        catalog.load(write(tmp_path, text))
    assert said in str(caught.value)
    assert "own.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_process_does_not_start_with_it(tmp_path: Path) -> None:
    code = "from codelab.environment import environment"
    given = {**os.environ, "CODELAB_CATALOG": str(tmp_path / "nowhere.toml")}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=given, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert run.stderr == f"CODELAB_CATALOG is not usable: {tmp_path}/nowhere.toml cannot be read as UTF-8 " + (
        "(FileNotFoundError).\n"
    )


def test_it_needs_nothing_that_calls_models() -> None:
    code = "import sys, llm.catalog; print({'litellm', 'openai', 'aiohttp'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_which_models_are_read_without_litellm() -> None:
    direct = ["openai/gpt-5-mini", "ollama/qwen3", "hosted_vllm/a/b", "lm_studio/x", "openrouter/anthropic/claude"]
    assert all(catalog.provider_of(name) for name in direct)
    others = ["gpt-5-mini", "openai/gpt-5.1-codex", "openai/gpt-5.2-pro", "anthropic/claude", "openai/", "scripted"]
    assert not any(catalog.provider_of(name) for name in others)
