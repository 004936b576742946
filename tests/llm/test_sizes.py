"""What a server may send has limits on every path, and the call ends with an error that says so."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import pytest

from llm import calls, embeddings, sizes
from llm.errors import ModelAnswerTooLong, ModelError, ModelUnavailable
from llm.types import CallOutcome, CallRecord, Chunk, EmbeddingRequest, ModelMessage, ModelRequest, TextChunk
from llm.wire.vectors import parse_vectors
from tests.llm.recorded import Recorded, Step, ending, event, text

HELLO = (ModelMessage(role="user", content="Hi"),)
REQUEST = ModelRequest(model="openai/fake", messages=HELLO, fallbacks=("openai/other",))
EMBED = EmbeddingRequest(model="openai/fake", inputs=("a", "b"), dimensions=2)


async def ask(request: ModelRequest = REQUEST) -> tuple[list[Chunk], CallRecord, ModelError | None]:
    chunks: list[Chunk] = []
    records: list[CallRecord] = []
    error = None
    try:
        async for chunk in calls.stream(request, observe=records.append):
            chunks += [chunk]
    except ModelError as raised:
        error = raised
    (record,) = records
    return chunks, record, error


def delta(**fields: Any) -> bytes:
    return event(fields)


def call(index: int, arguments: str = "", name: str = "f") -> bytes:
    return delta(tool_calls=[{"index": index, "id": f"c{index}", "function": {"name": name, "arguments": arguments}}])


ENDLESS: dict[str, list[Step]] = {
    "text": [delta(content="x" * 50_000)] * 100,
    "text in small pieces": [delta(content="x") * 1_000] * 450,
    "reasoning": [delta(reasoning_content="x" * 50_000)] * 100,
    "arguments": [call(0, "x" * 50_000)] * 100,
    "calls": [b"".join(map(call, range(200)))],
    "names": [call(0, name=f"{i}" + "x" * 50_000) for i in range(100)],
    "a line": [b"data: " + b"x" * 50_000, *[b"x" * 50_000] * 100],
    "an event": [b"data: x" * 5_000 + b"\n"] * 1_000,
    "an event of many values": [b'data: {"choices": [' + b"{}," * 200_000 + b"{}]}\n\n"],
    "comments": [b": x" * 100_000 + b"\n"] * 500,
}


@pytest.mark.parametrize("steps", ENDLESS.values(), ids=ENDLESS)
async def test_an_answer_has_a_limit(server: Recorded, steps: list[Step]) -> None:
    server.play(*steps, *ending())
    chunks, record, error = await ask()
    assert isinstance(error, ModelAnswerTooLong)
    # Neither this model nor another one is called again.
    assert server.models == ["fake"]
    assert record.error_code == "model_answer_too_long"
    assert record.outcome == (CallOutcome.TRUNCATED if chunks else CallOutcome.FAILED)
    assert record.usage.output_tokens <= sizes.MAX_ANSWER_BYTES / 4 + 1


async def test_what_was_said_up_to_the_limit_is_kept(server: Recorded) -> None:
    server.play(*[delta(content="x" * 50_000)] * 100, *ending())
    chunks, _, _ = await ask()
    said = sum(len(chunk.text) for chunk in chunks if isinstance(chunk, TextChunk))
    assert sizes.MAX_ANSWER_BYTES - 100_000 < said <= sizes.MAX_ANSWER_BYTES


async def test_a_long_answer_below_the_limit_is_complete(server: Recorded) -> None:
    server.play(*[delta(content="x" * 50_000)] * 35, *ending())
    chunks, record, error = await ask()
    assert (error, record.outcome, len(chunks)) == (None, CallOutcome.COMPLETED, 36)


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
async def test_a_compressed_answer_is_inflated_within_the_limit(server: Recorded, compress: Any) -> None:
    encoding = "gzip" if compress is gzip.compress else "deflate"
    server.play(compress(b"".join([*text("Hi"), *ending()])), content_encoding=encoding)
    chunks, _, error = await ask()
    assert (chunks[0], error) == (TextChunk("Hi"), None)
    server.play(compress(b"data: " + b"x" * 200_000_000), content_encoding=encoding)
    tracemalloc.start()
    _, _, error = await ask()
    assert isinstance(error, ModelAnswerTooLong)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


async def test_an_unknown_compression_is_a_failure(server: Recorded) -> None:
    server.play(b"xyz", content_encoding="br")
    _, _, error = await ask(ModelRequest(model="openai/fake", messages=HELLO, tries=1))
    assert isinstance(error, ModelUnavailable)


async def vectors_or_error(body: bytes, server: Recorded) -> Any:
    server.plays.clear()
    server.posts.clear()
    server.play(body, content_type="application/json")
    try:
        return [list(each) for each in (await embeddings.embed(EMBED, observe=lambda _: None)).vectors]
    except ModelError as error:
        return type(error).__name__


async def test_embeddings_are_as_long_as_what_was_asked(server: Recorded) -> None:
    data = [{"index": 1, "embedding": [1.5, 2]}, {"embedding": [-0.5, 2e-1], "index": 0, "object": "embedding"}]
    good = json.dumps({"object": "list", "data": data}).encode()
    assert await vectors_or_error(good, server) == [pytest.approx([-0.5, 0.2]), [1.5, 2.0]]
    long = json.dumps({"data": [{"index": i, "embedding": [0.1] * 10_000} for i in range(2)]}).encode()
    assert await vectors_or_error(long, server) == "ModelAnswerTooLong"
    for number in (b"1e999", b"NaN", b"null", b'"a"', b"1e39", b"[1]", b"1,,2", b"--1"):
        assert await vectors_or_error(good.replace(b"1.5", number), server) == "ModelUnavailable"
    assert await vectors_or_error(b"[" * 2_000, server) == "ModelUnavailable"


def test_parsing_embeddings_takes_little_memory() -> None:
    row = ",".join(f"-0.{i:017d}" for i in range(3_072))
    rows = (f'{{"object": "embedding", "index": {i}, "embedding": [{row}]}}' for i in range(256))
    body = f'{{"data": [{", ".join(rows)}], "usage": {{"prompt_tokens": 3, "total_tokens": 3}}}}'.encode()
    assert len(body) < sizes.max_embeddings_bytes(256, 3_072)
    del row, rows
    tracemalloc.start()
    assert len(parse_vectors(body).vectors) == 256
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


async def test_an_unknown_model_gets_a_limit_on_its_answer(server: Recorded) -> None:
    for model, limit in (("openai/fake", 8192), ("openai/gpt-5-mini", None)):
        server.play(*text("Hi"), *ending())
        await ask(ModelRequest(model=model, messages=HELLO))
        assert server.posts[-1].body.get("max_completion_tokens") == limit
    await ask(ModelRequest(model="openai/fake", messages=HELLO, max_output_tokens=9))
    assert server.posts[-1].body["max_completion_tokens"] == 9
