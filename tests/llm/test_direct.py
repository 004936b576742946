"""Calling an OpenAI-compatible provider directly gives what LiteLLM gives, and more where LiteLLM cannot."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm import catalog, direct, gateway
from llm.errors import ModelError, ModelRateLimited, ModelTruncated, ModelUnavailable
from llm.types import (
    Chunk,
    EndChunk,
    ModelImage,
    ModelMessage,
    ModelRequest,
    ModelToolCall,
    TextChunk,
    TokenUsage,
    Tool,
    ToolCallChunk,
)
from llm.wire.answers import ModelReply
from llm.wire.requests import build_messages, build_parameters
from tests.llm.recorded import DONE, RESET, Recorded, Step, ending, event, text, tool_call, usage

REQUEST = ModelRequest(model="openai/fake", messages=(ModelMessage(role="user", content="Hi"),))


async def read(request: ModelRequest = REQUEST) -> list[Chunk]:
    provider = catalog.provider_of(request.model)
    assert provider is not None
    return [chunk async for chunk in direct.stream(request, provider)]


async def failure(request: ModelRequest = REQUEST) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await read(request)
    return caught.value


def both() -> list[bytes]:
    """Two calls with interleaved pieces."""
    first, second = tool_call("a", "{}", call_id="x"), tool_call("b", '{"n"', ": 1}", index=1, call_id="y")
    return [first[0], second[0], first[1], *second[1:]]


RECORDINGS: dict[str, list[bytes]] = {
    "text": [*text("Hel", "lo", " wor", "ld"), *ending()],
    "a role first": [event({"role": "assistant", "content": ""}), *text("Hi"), *ending()],
    "reasoning": [event({"reasoning_content": "Hm, "}), event({"reasoning_content": "so."}), *text("Yes"), *ending()],
    "reasoning by another name": [event({"reasoning": "Hm."}), *text("Yes"), *ending()],
    "a tool call": [*text("Look: "), *tool_call("read", '{"pa', 'th"', ': "a"}'), *ending("tool_calls")],
    "a tool call in one piece": [
        event(
            {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
        ),
        *ending("tool_calls"),
    ],
    "two tool calls": [
        *tool_call("a", '{"x"', ": 1}", call_id="x"),
        *tool_call("b", "{}", index=1, call_id="y"),
        *ending("tool_calls"),
    ],
    "two tool calls, mixed": [*both(), *ending("tool_calls")],
    "empty deltas": [event({}), *text("a"), event({}), event({"content": ""}), *text("b"), *ending()],
    "nothing": [event({"content": None}), *ending()],
    "length": [*text("a"), *ending("length")],
    "content filter": [*text("a"), *ending("content_filter")],
    "the last piece with the end": [*text("a"), event({"content": "b"}, end="stop"), event(usage=usage()), DONE],
    "usage with the end": [*text("a"), event({}, end="stop", usage=usage()), DONE],
    "cached and reasoning tokens": [*text("a"), *ending(read=100, said=50, cached=80, reasoning=30)],
    "no usage": [*text("a"), event({}, end="stop"), DONE],
    "no [DONE]": [*text("a"), *ending()[:-1]],
    "many equal pieces": [*text(*["ab "] * 150), *ending()],
    "other scripts": [*text("Привет, ", "世界 ", "🙂\n", "\u2028x"), *ending()],
    "unknown fields": [event({"content": "a", "zzz": [1]}, zzz={"a": 1}), *ending()],
}


@pytest.mark.parametrize("name", RECORDINGS)
async def test_it_reads_what_litellm_reads(server: Recorded, name: str) -> None:
    server.play(*RECORDINGS[name])
    ours = await read()
    theirs = [chunk async for chunk in gateway.stream(REQUEST)]
    assert isinstance(ours[-1], EndChunk)
    assert isinstance(theirs[-1], EndChunk)
    # LiteLLM forgets which name a thought had.
    assert [*ours[:-1], replace(ours[-1], extra={})] == [*theirs[:-1], replace(theirs[-1], extra={})]
    assert list(ours[-1].extra.values()) == list(theirs[-1].extra.values())
    assert len(server.posts) == 2


async def test_both_ways_send_the_same_request(server: Recorded) -> None:
    server.play(*RECORDINGS["text"])
    request = ModelRequest(
        model="openai/gpt-4.1",
        messages=(
            ModelMessage(role="system", content="Be brief."),
            ModelMessage(
                role="user", content="Look", images=(ModelImage("data:image/png;base64,aGk=", "low", 2),), name="alice"
            ),
            ModelMessage(
                role="assistant", content="", tool_calls=(ModelToolCall(id="c", name="f", arguments={"é": 1}),)
            ),
            ModelMessage(role="tool", content="{}", tool_call_id="c"),
        ),
        tools=(
            Tool(name="f", description="F.", parameters={"type": "object", "properties": {}}),
            Tool(name="g", description="G.", parameters={"type": "object", "properties": {}}, strict=True),
        ),
        options={"temperature": 0.5},
    )
    await read(request)
    [chunk async for chunk in gateway.stream(request)]
    ours, theirs = (post.body for post in server.posts)
    # LiteLLM leaves out what is null.
    assert ours["messages"][2].pop("content") is None
    assert ours == theirs
    assert server.posts[0].path == server.posts[1].path == "/v1/chat/completions"


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
async def test_pieces_may_be_cut_anywhere(server: Recorded, size: int, line_end: bytes) -> None:
    stream = b"".join(RECORDINGS["other scripts"]).replace(b"\n", line_end)
    server.play(*(stream[i : i + size] for i in range(0, len(stream), size)))
    chunks = await read()
    assert "".join(c.text for c in chunks if isinstance(c, TextChunk)) == "Привет, 世界 🙂\n\u2028x"
    assert chunks[-1] == EndChunk(reason="stop", usage=TokenUsage(input_tokens=7, output_tokens=5))


async def test_the_forms_of_events(server: Recorded) -> None:
    server.play(
        b": comment\n\nevent: message\nid: 7\nretry: 10\ndata:" + text("a")[0][6:],
        # One event on several lines.
        b'data: {"choices": [{"index": 0,\ndata: "delta": {"content": "b"}}]}\n\n',
        b"data\n\n",
        *ending(),
    )
    assert (await read())[:2] == [TextChunk("a"), TextChunk("b")]


async def test_a_tool_call_without_an_index_or_arguments(server: Recorded) -> None:
    calls = [{"id": "x", "function": {"name": "a"}}, {"id": "y", "function": {"name": "b", "arguments": None}}]
    server.play(event({"tool_calls": calls}), *ending("tool_calls"))
    assert (await read())[:2] == [ToolCallChunk(index=0, id="x", name="a"), ToolCallChunk(index=1, id="y", name="b")]


@pytest.mark.parametrize("after", [[RESET], [b"data: nonsense\n\n"], [b'data: {"error": "x"}\n\n'], [30.0]])
async def test_after_the_end_marker_the_answer_is_complete(
    server: Recorded, after: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "USAGE_TIMEOUT_SECONDS", 0.2)
    server.play(*text("a"), event({}, end="stop"), *after)
    assert await read() == [TextChunk("a"), EndChunk(reason="stop")]


@pytest.mark.parametrize("missing", [1, 2])
async def test_the_last_event_needs_no_empty_line(server: Recorded, missing: int) -> None:
    server.play(*text("a"), event({}, end="stop")[:-missing])
    assert await read() == [TextChunk("a"), EndChunk(reason="stop")]


async def test_half_a_last_event_is_no_end(server: Recorded) -> None:
    server.play(*text("a"), event({}, end="stop")[:-9])
    assert type(await failure()) is ModelTruncated


async def test_an_error_in_json_with_a_good_status(server: Recorded) -> None:
    server.play(b'{"error": {"message": "slow down", "type": "rate_limit_error"}}', content_type="application/json")
    assert type(await failure()) is ModelRateLimited


@pytest.mark.parametrize(
    "steps",
    [
        [b"<html>hello</html>"],
        [b'data: {"choices": {}}\n\n'],
        [b"data: 7\n\n"],
        [b'data: {"error": {"message": "x"}}\n\n'],
    ],
    ids=["html", "not a list", "a number", "an error"],
)
async def test_nonsense_is_a_failure(server: Recorded, steps: list[bytes]) -> None:
    server.play(*steps)
    assert type(await failure()) in {ModelUnavailable, ModelTruncated}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after_ms": "1500", "retry_after": "2"}, 1.5),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry_after": "Fri, 21 Oct 2095 07:28:00 GMT"}, 3600.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, None),
        ({}, None),
    ],
)
async def test_when_to_retry(server: Recorded, headers: dict[str, str], seconds: float | None) -> None:
    server.refuse(429, **headers)
    assert (await failure()).retry_after == seconds


async def test_litellm_reports_when_to_retry_too(server: Recorded) -> None:
    server.refuse(429, retry_after="7")
    with pytest.raises(ModelRateLimited) as caught:
        [chunk async for chunk in gateway.stream(REQUEST)]
    assert caught.value.retry_after == 7


async def test_one_connection_serves_many_requests(server: Recorded) -> None:
    server.play(*text("a"), *ending())
    for _ in range(5):
        await read()
    assert (len(server.posts), server.connections) == (5, 1)


async def test_a_request_needs_no_thread_and_no_password_of_another_file(
    server: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login alice password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    server.play(*text("a"), *ending())
    with ThreadPoolExecutor(1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        threads.shutdown()
        assert TextChunk("a") in await read()
    assert server.posts[0].headers["authorization"] == "Bearer key"


async def test_the_operators_proxy_is_asked(server: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://alice:secret@127.0.0.1:{server.port}")
    monkeypatch.setenv("OPENAI_API_BASE", "http://provider.example/v1")
    server.play(*text("a"), *ending())
    assert TextChunk("a") in await read()
    assert server.posts[0].path == "http://provider.example/v1/chat/completions"
    assert server.posts[0].headers["proxy-authorization"].startswith("Basic ")


async def test_closing_the_stream_closes_the_connection(server: Recorded) -> None:
    server.play(*text("a"), 30.0)
    provider = catalog.provider_of("openai/fake")
    assert provider is not None
    stream = direct.stream(REQUEST, provider)
    await anext(stream)
    await stream.aclose()
    await asyncio.wait_for(server.left.wait(), 60)


async def test_two_hundred_answers_at_once(server: Recorded) -> None:
    server.play(*text("a", "b"), 0.2, *text("c"), *ending())
    answers = await asyncio.gather(*(read() for _ in range(200)))
    assert all(len(answer) == 4 for answer in answers)
    assert len(server.posts) == 200


async def test_images_go_where_they_are_read(server: Recorded) -> None:
    server.play(*RECORDINGS["text"])
    image, remote = ModelImage("data:image/png;base64,aGk="), ModelImage("https://example.com/a.png")
    message = ModelMessage(role="user", content="See", images=(image, remote))

    async def sent(model: str, *, through_litellm: bool = False) -> Any:
        request = ModelRequest(model=model, messages=(message,))
        if through_litellm:
            [chunk async for chunk in gateway.stream(request)]
        else:
            await read(request)
        return server.posts[-1].body["messages"][0]["content"]

    part = [{"type": "image_url", "image_url": {"url": url}} for url in (image.url, remote.url)]
    assert await sent("openai/gpt-4.1") == [{"type": "text", "text": "See"}, *part]
    assert await sent("openai/fake") == "See\n\n[2 of 2 images left out: this model does not read images.]"
    # LiteLLM might fetch an address itself.
    note = "See\n\n[1 of 2 images left out: this model reads images only as data, not at addresses.]"
    assert await sent("openai/gpt-4.1", through_litellm=True) == [{"type": "text", "text": note}, part[0]]


def test_images_stand_where_they_were_put() -> None:
    url = "data:image/png;base64,aGk="

    def parts(text: str, *images: ModelImage) -> list[Any]:
        (sent,) = build_messages([ModelMessage(role="user", content=text, images=images)], images=True)
        return [part.get("text") or part["image_url"].get("detail", "image") for part in sent["content"]]

    assert parts("A\nB", ModelImage(url, at=1), ModelImage(url)) == ["A", "image", "B", "image"]
    assert parts("A\nB", ModelImage(url, at=0), ModelImage(url, at=1), ModelImage(url, at=1)) == [
        "image",
        "A",
        "image",
        "image",
        "B",
    ]
    assert parts("\nA\n\nB", ModelImage(url, at=0), ModelImage(url, at=2)) == ["image", "\nA", "image", "\nB"]
    assert parts("", ModelImage(url), ModelImage(url, "high")) == ["image", "high"]
    # A text that was made shorter since.
    assert parts("A", ModelImage(url, at=5), ModelImage(url, at=7)) == ["A", "image", "image"]


def test_a_tool_is_strict_where_its_caller_said_so() -> None:
    tools = tuple(Tool(name="f", description="", parameters={}, strict=strict) for strict in (None, True, False))
    sent = build_parameters(ModelRequest(model="openai/x", messages=(), tools=tools))["tools"]
    assert [tool["function"].get("strict") for tool in sent] == [None, True, False]
    assert "strict" not in sent[0]["function"]


@pytest.mark.parametrize("url", ["http://example.com/a.png", "data:text/html;base64,aGk=", "file:///etc/passwd", ""])
def test_invalid_images_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="an image is"):
        ModelImage(url)


async def test_users_see_nothing_of_the_providers_text(server: Recorded) -> None:
    server.refuse(500)
    error = await failure()
    assert "sk-key" not in str(error)
    assert "sk-key" in error.detail
    assert not re.search("http", str(error))


@pytest.mark.parametrize(
    ("reported", "counted"),
    [
        (
            {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "prompt_cache_hit_tokens": 6},
            (10, 4, 6, 0, 0),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 20}, (10, 10, 0, 0, 0)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "total_tokens": 20,
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            (10, 9, 0, 0, 5),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "total_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            },
            (16, 4, 4, 2, 0),
        ),
    ],
    ids=["DeepSeek's name", "reasoning in the total", "counted reasoning", "cached tokens in the total"],
)
def test_usage_is_reported_in_many_ways(reported: dict[str, Any], counted: tuple[int, ...]) -> None:
    reply = ModelReply()
    reply.receive(json.dumps({"choices": [], "usage": reported}).encode())
    it = reply.usage
    assert it is not None
    assert counted == (it.input_tokens, it.output_tokens, it.cached_tokens, it.cache_write_tokens, it.reasoning_tokens)


@pytest.mark.parametrize("count", [-1, 10**9, 10**30])
def test_a_usage_that_cannot_be_true_is_estimated(count: int) -> None:
    reply = ModelReply()
    reply.receive(json.dumps({"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": 4}}).encode())
    assert reply.usage is None


async def test_done_is_the_end_even_if_the_connection_stays_open(server: Recorded) -> None:
    server.play(*text("a"), *ending(), 30.0)
    async with asyncio.timeout(20):
        assert await read() == [
            TextChunk("a"),
            EndChunk(reason="stop", usage=TokenUsage(input_tokens=7, output_tokens=5)),
        ]


async def test_usage_is_waited_for_and_nothing_after_it(server: Recorded) -> None:
    server.play(*text("a"), event({}, end="stop"), 0.3, event(usage=usage()), 30.0)
    async with asyncio.timeout(20):
        assert (await read())[-1] == EndChunk(reason="stop", usage=TokenUsage(input_tokens=7, output_tokens=5))


async def test_content_behind_an_end_marker_belongs_to_the_answer(server: Recorded) -> None:
    server.play(event({"content": "a"}, end="stop"), 0.2, event({"content": "b"}, end="stop"), DONE)
    assert (await read())[:2] == [TextChunk("a"), TextChunk("b")]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/event-stream; charset=utf-8", ""])
async def test_the_type_of_a_stream_may_be_wrong(server: Recorded, content_type: str) -> None:
    server.play(*text("a"), *ending(), content_type=content_type)
    assert (await read())[0] == TextChunk("a")


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
async def test_a_whole_answer_instead_of_a_stream(server: Recorded, content_type: str) -> None:
    message = {"role": "assistant", "content": "ok"}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage()}
    server.play(json.dumps(whole).encode(), content_type=content_type)
    assert await read() == [TextChunk("ok"), EndChunk(reason="stop", usage=TokenUsage(input_tokens=7, output_tokens=5))]
    assert len(server.posts) == 1
