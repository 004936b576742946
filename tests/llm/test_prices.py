"""The bound on a call's cost is never below the cost, so that a reservation always suffices."""

from __future__ import annotations

from decimal import Decimal

import pytest

from llm import prices
from llm.types import Endpoint, ModelImage, ModelMessage, ModelRequest, ModelToolCall, TokenUsage, Tool
from tests.agents.test_tokens import SAMPLES

IMAGE = ModelImage("data:image/png;base64,aGk=")


def request(content: str = "", model: str = "openai/gpt-5-mini", **more: object) -> ModelRequest:
    message = ModelMessage(role="user", content=content)
    return ModelRequest(**{"model": model, "messages": (message,), **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SAMPLES)
def test_no_tokenizer_finds_more_in_a_text_than_is_reserved(name: str) -> None:
    text, tokens = SAMPLES[name]
    assert prices.max_input_tokens(request(text)) >= tokens


def test_everything_that_is_sent_is_reserved_for() -> None:
    plain = prices.max_input_tokens(request("x"))
    call = ModelToolCall(id="c", name="read_file", arguments={"path": "x" * 100})
    called = ModelMessage(role="assistant", content="", tool_calls=(call,))
    tool = Tool(name="read_file", description="d" * 100, parameters={"type": "object"})
    seen = ModelMessage(role="user", content="x", images=(IMAGE,))
    assert (
        prices.max_input_tokens(request("x", messages=(ModelMessage(role="user", content="x"), called))) > plain + 100
    )
    assert prices.max_input_tokens(request("x", tools=(tool,))) > plain + 100 + prices.MAX_TOOLS_OVERHEAD_TOKENS
    assert prices.max_input_tokens(request(messages=(seen,))) == plain + prices.MAX_IMAGE_TOKENS
    assert prices.max_input_tokens(request("x", options={"response_format": "s" * 100})) > plain + 100


def test_what_may_be_spent_is_known_before() -> None:
    # 12 bytes and what is around them at $0.25, and 1,000 tokens at $2, for a million.
    expected = Decimal(12 + prices.MAX_OVERHEAD_TOKENS) * Decimal("0.25") + 1000 * 2
    assert prices.max_cost(request("Hello, world", max_output_tokens=1000)) == expected / 1_000_000
    # As much as the model says at most.
    assert (
        prices.max_cost(request(max_output_tokens=None))
        == (prices.MAX_OVERHEAD_TOKENS * Decimal("0.25") + 128_000 * 2) / 10**6
    )
    assert prices.max_cost(request(model="somebody/something")) is None


def test_a_call_that_the_caller_pays_costs_nothing() -> None:
    usage = TokenUsage(input_tokens=1000, output_tokens=1000)
    assert prices.cost("openai/gpt-5-mini", usage, own=False) == Decimal("0.00225")
    assert prices.cost("openai/gpt-5-mini", usage, own=True) == 0
    assert prices.max_cost(request("x", endpoint=Endpoint(api_key="sk-alice"))) == 0


def test_an_image_is_counted() -> None:
    assert prices.estimate(
        request(messages=(ModelMessage(role="user", content="", images=(IMAGE,)),))
    ).input_tokens == (prices.IMAGE_TOKENS)
