"""Bodies: few values, however long their texts, and no text that takes long to look at."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from ninja.errors import HttpError, ValidationError

from sessions.api.completions import bodies
from sessions.api.completions.errors import CompletionError
from sessions.api.openai.schemas import ChatRequest


class Sent:
    """A request with a body."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        return self._data[:size]


async def read(data: bytes) -> ChatRequest:
    request: Any = Sent(data)
    return await bodies.read(request, ChatRequest, lambda body: body)


def chat(content: Any, **more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **more}).encode()


async def test_a_long_text_with_quotes_is_read_as_it_is() -> None:
    text = 'say "hi", {[1e400, \\ back]}\n' * 100_000
    assert (await read(chat(text))).messages[0].text == text


async def test_ten_thousand_parts_are_read() -> None:
    body = await read(chat([{"type": "text", "text": "x" * 100}] * 10_000))
    assert len(body.messages[0].text) == 10_000 * 101 - 1


@pytest.mark.parametrize(
    "data",
    [
        chat([{"type": "text", "text": "x"}] * 100_000),
        b'{"a":[' + b"{}," * 1_000_000 + b"1]}",
        b'{"a":[' + b"1," * 2_000_000 + b"1]}",
        b'{"a":' + b'"\\"' * 5_000_000,
        b"[" * 5_000_000,
    ],
    ids=["parts", "objects", "numbers", "texts without an end", "depth"],
)
async def test_a_body_of_many_values_is_refused_before_it_is_decoded(data: bytes) -> None:
    started_at = time.thread_time()
    with pytest.raises(CompletionError, match="too many values"):
        await read(data)
    # Ours is the thread that waits.
    assert time.thread_time() - started_at < 0.2


@pytest.mark.parametrize("padding", ["", "x" * 100_000], ids=["small", "large"])
@pytest.mark.parametrize("number", [b"1e400", b"Infinity", b"NaN"])
async def test_numbers_that_are_not_json_are_refused(number: bytes, padding: str) -> None:
    with pytest.raises(HttpError):
        await read(chat(padding, temperature=0.5).replace(b"0.5", number))


async def test_what_a_client_repeats_has_the_same_digest() -> None:
    async def digest(body: dict[str, Any]) -> str:
        request: Any = Sent(json.dumps(body).encode())
        await bodies.read(request, ChatRequest, lambda read: read)
        return bodies.digest_of(request)

    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "metadata": {"a": "1", "b": "2"}}
    # Codex writes fields in another order; Claude Code asks for the whole answer after a stream that was lost.
    again = {"stream": True, "metadata": {"b": "2", "a": "1"}, "messages": body["messages"], "model": "m"}
    assert await digest(again) == await digest(body)
    assert await digest({**body, "metadata": {"a": "2", "b": "1"}}) != await digest(body)
    deep: Any = {}
    for _ in range(150):
        deep = {"x": deep}
    assert await digest({**body, "unknown": deep}) != await digest(body)


async def test_an_invalid_field_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        await read(chat("x" * 100_000, max_tokens=-5))
    assert caught.value.errors[0]["loc"] == ("body", "body", "max_tokens")
