"""LiteLLM's errors before any request. tests/live/test_journeys.py tests what providers do."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import Any

import pytest

from llm import gateway
from llm.errors import ModelContextTooLong, ModelError, ModelNotAuthorized, ModelNotFound, ModelUnavailable
from llm.origins import origin_of
from llm.types import (
    Chunk,
    EndChunk,
    ModelImage,
    ModelMessage,
    ModelRequest,
    ModelToolCall,
    ReasoningChunk,
    TextChunk,
    TokenUsage,
    Tool,
    ToolCallChunk,
)
from llm.wire.instructions import REMINDER
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


def blocks(*each: dict[str, Any]) -> bytes:
    """Write events of Anthropic's own form."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in each)


def piece(index: int, kind: str, **fields: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def block(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def block_end(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


CLAUDE = "anthropic/claude-sonnet-4-5"
READ = Tool(name="read_file", description="Reads.", parameters={"type": "object", "properties": {}})
#: https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking, streaming and redacted thinking.
THOUGHT_AND_CALL = blocks(
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "claude",
            "stop_reason": None,
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 100,
                "cache_read_input_tokens": 1000,
                "output_tokens": 1,
            },
        },
    },
    block(0, "thinking", thinking="", signature=""),
    piece(0, "thinking_delta", thinking="Hm, "),
    piece(0, "thinking_delta", thinking="so."),
    piece(0, "signature_delta", signature="c2lnLTE="),
    block_end(0),
    block(1, "redacted_thinking", data="cmVk"),
    block_end(1),
    block(2, "tool_use", id="toolu_1", name="read_file", input={}),
    piece(2, "input_json_delta", partial_json='{"path":'),
    piece(2, "input_json_delta", partial_json='"a.txt"}'),
    block_end(2),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 20}},
    {"type": "message_stop"},
)
MARK = {"type": "ephemeral"}


async def test_claude_gets_cache_marks_and_its_thoughts_back(server: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """What LiteLLM makes of both is what counts."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    monkeypatch.setenv("ANTHROPIC_API_BASE", server.url.removesuffix("/v1"))
    server.play(THOUGHT_AND_CALL)

    async def ask(*messages: ModelMessage, tools: tuple[Tool, ...] = (READ,)) -> tuple[list[Chunk], dict[str, Any]]:
        options = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        request = ModelRequest(model=CLAUDE, messages=messages, tools=tools, options=options)
        chunks = [chunk async for chunk in gateway.stream(request)]
        return chunks, server.posts[-1].body

    asked = ModelMessage(role="system", content="Be brief."), ModelMessage(role="user", content="Read it.")
    chunks, first = await ask(*asked)
    end = chunks[-1]
    assert isinstance(end, EndChunk)
    assert end.usage
    usage = end.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens) == (1110, 1000, 100)
    assert "".join(chunk.arguments for chunk in chunks if isinstance(chunk, ToolCallChunk)) == '{"path":"a.txt"}'
    question = {"type": "text", "text": "Read it.", "cache_control": MARK}
    instructions = [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
    assert first["system"] == instructions
    assert first["messages"] == [{"role": "user", "content": [question]}]

    call = ModelToolCall(id="toolu_1", name="read_file", arguments={"path": "a.txt"})
    answer = ModelMessage(role="assistant", content="", tool_calls=(call,), extra=end.extra, origin=origin_of(CLAUDE))
    result = ModelMessage(role="tool", content="text", tool_call_id="toolu_1")
    _, second = await ask(*asked, answer, result)
    assert second["system"] == instructions
    assert second["messages"] == [
        {"role": "user", "content": [question]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm, so.", "signature": "c2lnLTE="},
                {"type": "redacted_thinking", "data": "cmVk"},
                {"type": "tool_use", "id": "toolu_1", "name": "read_file", "input": {"path": "a.txt"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "text", "cache_control": MARK}],
        },
    ]
    # An agent without tools may have calls of other agents in its conversation.
    _, third = await ask(*asked, answer, result, tools=())
    assert third["messages"] == second["messages"]
    assert [tool["name"] for tool in third["tools"]] == ["dummy_tool"]


async def test_claude_gets_what_callers_of_other_apis_say_in_its_own_words(
    server: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = "anthropic/claude-haiku-4-5"
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    monkeypatch.setenv("ANTHROPIC_API_BASE", server.url.removesuffix("/v1"))
    server.play(THOUGHT_AND_CALL)
    thoughts = {"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]}
    call = ModelToolCall(id="toolu_1", name="read_file", arguments={})
    image = ModelImage("data:image/png;base64,aGk=")
    request = ModelRequest(
        model=model,
        messages=(
            ModelMessage(role="system", content="Be brief.", cached=True),
            ModelMessage(role="user", content="Look."),
            ModelMessage(role="assistant", content="", tool_calls=(call,), extra=thoughts, origin=origin_of(model)),
            ModelMessage(role="tool", content="", tool_call_id="toolu_1", images=(image,)),
            ModelMessage(role="system", content="Mind this.", cached=True),
        ),
        tools=(replace(READ, cached=True),),
        options={"thinking": {"type": "adaptive"}, "reasoning_effort": "high", "stop": ["END"], "verbosity": "low"},
        max_output_tokens=32_000,
        written_for=model,
        is_translated=True,
    )
    async for _ in gateway.stream(request):
        pass
    body = server.posts[-1].body
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
    assert body["tools"][0]["cache_control"] == MARK
    assert (body["thinking"], body["stop_sequences"]) == ({"type": "enabled", "budget_tokens": 4096}, ["END"])
    assert "verbosity" not in body
    _, answer, results = body["messages"]
    assert answer["content"][0] == thoughts["thinking_blocks"][0]
    result, reminder = results["content"]
    assert [part["type"] for part in result["content"]] == ["text", "image"]
    assert (reminder["text"], reminder["cache_control"]) == (REMINDER.format("Mind this."), MARK)
