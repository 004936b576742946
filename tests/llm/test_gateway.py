"""LiteLLM's errors before any request. tests/live/test_journeys.py tests what providers do."""

from __future__ import annotations

import socket

import pytest

from llm import gateway
from llm.errors import ModelContextTooLong, ModelError, ModelNotAuthorized, ModelNotFound, ModelUnavailable
from llm.types import EndChunk, ModelMessage, ModelRequest, ReasoningChunk, TextChunk, TokenUsage
from tests.live.provider import Provider
from tests.llm.recorded import Recorded


async def failure(model: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        async for _ in gateway.stream(ModelRequest(model=model, messages=(ModelMessage(role="user", content="Hi"),))):
            pass
    return caught.value


@pytest.mark.parametrize(
    "model", ["openai/gpt-5-mini", "gpt-5-mini", "anthropic/claude", "gemini/gemini-2.5-pro", "azure/x"]
)
async def test_a_missing_key_is_reported_as_one(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    error = await failure(model)
    assert type(error) is ModelNotAuthorized
    assert "OPENAI_API_KEY" in str(error)


async def test_an_unknown_provider_is_an_unknown_model() -> None:
    assert type(await failure("nobody/nothing")) is ModelNotFound


async def test_a_provider_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        monkeypatch.setenv("OPENAI_API_BASE", address)
        error = await failure("openai/x")
    assert type(error) is ModelUnavailable
    assert address not in str(error)


async def test_reasoning_comes_apart_from_the_answer(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", provider.url)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    request = ModelRequest(model="openai/fake", messages=(ModelMessage(role="user", content="reasoning=hm tokens=2"),))
    chunks = [chunk async for chunk in gateway.stream(request)]
    assert chunks == [
        ReasoningChunk("hm"),
        TextChunk("w0 "),
        TextChunk("w1 "),
        EndChunk(reason="stop", usage=TokenUsage(input_tokens=7, output_tokens=5), extra={"reasoning_content": "hm"}),
    ]


#: What Anthropic and Gemini say, in their own forms.
ANTHROPIC: dict[str, tuple[int, str, str, int]] = {
    "too long": (400, "prompt is too long: 213462 tokens > 200000 maximum", "model_context_too_long", 200000),
    "no credit": (400, "Your credit balance is too low to access the Anthropic API.", "model_out_of_credit", 0),
    "a rate": (429, "This request would exceed your rate limit of 40,000 tokens per minute.", "model_rate_limited", 0),
    "a quota of a day": (429, "Number of input tokens has exceeded your daily rate limit", "model_rate_limited", 0),
    "a key": (401, "invalid x-api-key", "model_not_authorized", 0),
    "a model": (404, "model: claude-x", "model_not_found", 0),
    "overloaded": (529, "Overloaded", "model_unavailable", 0),
}


@pytest.mark.parametrize("name", ANTHROPIC)
async def test_refusals_of_other_providers_are_read_with_the_same_table(
    server: Recorded, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, words, code, window = ANTHROPIC[name]
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    monkeypatch.setenv("ANTHROPIC_API_BASE", server.url.removesuffix("/v1"))
    server.refuse(status, {"type": "error", "error": {"type": "x_error", "message": words}})
    request = ModelRequest(model="anthropic/claude-x", messages=(ModelMessage(role="user", content="Hi"),))
    with pytest.raises(ModelError) as caught:
        async for _ in gateway.stream(request):
            pass
    assert caught.value.code == code
    if isinstance(caught.value, ModelContextTooLong):
        assert caught.value.tokens.window == window
