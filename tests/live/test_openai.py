"""The OpenAI-compatible door, used by the `openai` package itself against real processes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import psutil
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.live.provider import Provider
from tests.live.service import Service

pytestmark = pytest.mark.live

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def key_of(service: Service, name: str, scopes: list[str]) -> str:
    """A new API key of the demo user."""
    status, answer = service.post("/api/v1/api-keys", {"name": name, "scopes": scopes})
    assert status == 201, answer
    return str(json.loads(answer)["key"])


def client_of(service: Service, *, key: str | None = None, **options: Any) -> openai.OpenAI:
    key = key or key_of(service, "openai", ["llm"])
    http = httpx.Client(trust_env=False, timeout=60)
    return openai.OpenAI(
        base_url=f"{service.url}/v1", api_key=key, http_client=http, **{"max_retries": 0, **options}
    )


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[openai.OpenAI]:
    with client_of(service) as it:
        yield it


@pytest.fixture(scope="module")
def provided(provided_service: Service) -> Iterator[openai.OpenAI]:
    with client_of(provided_service) as it:
        yield it


def said(text: str, *, role: str = "user") -> Any:
    return [{"role": role, "content": text}]


def texts(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


# Answers


def test_an_answer_comes_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="scripted", messages=said("/tokens 5"))
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "t0 t1 t2 t3 t4 ")
    assert (choice.finish_reason, answer.model, answer.object) == ("stop", "scripted", "chat.completion")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 5, 7)


def test_an_answer_comes_in_chunks(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="scripted", messages=said("/tokens 5 50"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert texts(chunks) == "t0 t1 t2 t3 t4 "
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) > 1
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1


def test_without_the_wish_a_stream_has_no_usage(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="scripted", messages=said("/say Hello."), stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
