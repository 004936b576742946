"""One session through four APIs: the same history, one log without gaps, one ledger."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import ExitStack
from typing import Any

import pytest

from tests.live import test_messages, test_openai
from tests.live.service import Frame, Service

pytestmark = pytest.mark.live

CODER = "codelab/coder"
READ_FILE: Any = {"name": "read_file", "description": "Read a file.", "input_schema": {"type": "object"}}


async def test_four_apis_share_a_session(service: Service) -> None:
    key = "through-four-apis"
    headers = {"X-CodeLab-Session": key}
    frames: list[Frame] = []
    with ExitStack() as opened:
        openai = opened.enter_context(test_openai.client_of(service, "api:read", "api:write"))
        anthropic = opened.enter_context(test_messages.client_of(service, "api:read", "api:write"))

        def chat() -> str | None:
            messages: Any = test_openai.said("/say Two.")
            return (
                openai.chat.completions.create(model=CODER, messages=messages, extra_headers=headers)
                .choices[0]
                .message.content
            )

        def respond() -> str:
            with openai.responses.stream(model=CODER, input="/say Three.", extra_headers=headers) as events:
                return events.get_final_response().output_text

        def message() -> str:
            asked: Any = [{"role": "user", "content": '/call read_file {"path": "a.txt"}\n/say Four.'}]
            options: Any = {"model": CODER, "max_tokens": 1000, "tools": [READ_FILE], "extra_headers": headers}
            answer = anthropic.messages.create(messages=asked, **options)
            assert answer.stop_reason == "tool_use"
            (call,) = [block for block in answer.content if block.type == "tool_use"]
            asked += [{"role": "assistant", "content": answer.content}]
            asked += [
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "its text"}]}
            ]
            return test_messages.words(anthropic.messages.create(messages=asked, **options))

        async with service.connect(f"/ws/{key}", subprotocols=["codelab.v2"]) as socket:

            async def until_completed() -> None:
                while not frames or frames[-1].get("kind") != "turn_completed":
                    frames.append(await socket.receive())
                frames.append({})

            await socket.send({"type": "hello", "after": None})
            await socket.say("/say One.")
            await until_completed()
            for ask, answer in ((chat, "Two."), (respond, "Three."), (message, "Four.")):
                assert await asyncio.to_thread(ask) == answer
                await until_completed()

    # The socket has seen everything, in order.
    numbers = [frame["number"] for frame in frames if frame.get("type") == "event"]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    logged = service.rows(
        "SELECT coalesce(event.first, number), number FROM agent_sessions_event AS event "
        "JOIN agent_sessions_session AS session ON session.id = session_id WHERE key = %s ORDER BY number",
        key,
    )
    assert logged[0][0] == 1
    assert logged[-1][1] == numbers[-1]
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(logged))

    history = json.loads(service.get(f"/api/v1/sessions/{key}/history")[1])["messages"]
    said = [(each["role"], each["content"]) for each in history if each["content"]]
    assert [text for role, text in said if role == "assistant"] == ["One.", "Two.", "Three.", "Four."]
    assert [role for role, _ in said] == ["user", "assistant"] * 3 + ["user", "tool", "assistant"]

    # Four turns, a step each and one more for the result of the call.
    usage = json.loads(service.get(f"/api/v1/events/metrics/session/{key}")[1])
    assert [call["outcome"] for call in usage["requests"]] == ["ok"] * 5
    assert len({call["turn_id"] for call in usage["requests"]}) == 4
    assert usage["total_tokens"] == sum(call["total_tokens"] for call in usage["requests"]) > 0
