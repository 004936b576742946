"""Tokens of a request before a model is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sessions.api.completions.counting import count_input
from sessions.models import CompletionApi
from sessions.turns.completions import CompletionRequest

TOOL = {"name": "read", "description": "Reads a file.", "parameters": {"type": "object", "properties": {}}}


def wanted(text: str, **fields: Any) -> CompletionRequest:
    messages = [{"role": "user", "content": text}]
    return CompletionRequest(
        **{"api": CompletionApi.MESSAGES, "model": "openai/gpt-5.4", "messages": messages, **fields}
    )


async def test_everything_that_the_model_reads_counts() -> None:
    plain = await count_input(wanted("Hello, how are you?"))
    assert 6 <= plain <= 15
    more: list[dict[str, Any]] = [
        {"tools": [TOOL]},
        {"options": {"response_format": {"type": "json_schema", "json_schema": {"name": "out", "schema": {}}}}},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello, how are you?"}]},
        {
            "messages": [
                {"role": "user", "content": "Hello, how are you?", "images": [{"url": "https://a.example/x.png"}]}
            ]
        },
    ]
    for fields in more:
        assert await count_input(wanted("Hello, how are you?", **fields)) > plain
    # An agent has instructions of its own.
    assert await count_input(wanted("Hello", agent="coder")) > 500


@pytest.mark.parametrize("api", list(CompletionApi))
async def test_each_api_is_counted_by_the_same_measure(api: CompletionApi) -> None:
    assert 700 <= await count_input(wanted("some words " * 400, api=api)) <= 1_200


def call(number: int) -> dict[str, Any]:
    arguments = {"content": f"{number} words of many kinds, " * 200}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": f"c{number}", "name": "write", "arguments": arguments}],
    }


def text(number: int) -> dict[str, Any]:
    return {"role": "user", "content": f"{number} words of many kinds, " * 200}


@pytest.mark.parametrize("row_of", [text, call], ids=["texts", "calls"])
async def test_a_long_conversation_is_counted_beside_the_event_loop(row_of: Callable[[int], dict[str, Any]]) -> None:
    messages = [row_of(number) for number in range(100)]
    counted = asyncio.create_task(count_input(wanted("", messages=messages)))
    turns = 0
    while not counted.done():
        turns += 1
        await asyncio.sleep(0)
    assert await counted > 50_000
    # On the event loop it would be done after the first turn.
    assert turns > 3
