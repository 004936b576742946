"""Any JSON in any field of a request is taken, or refused with the name of a field. It never fails later."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.api.messages import requests
from sessions.api.messages.schemas import MessagesRequest
from tests.sessions.api.openai.test_any_json import VALUES, is_taken, places_of, replaced

MARK = {"type": "ephemeral"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
DOCUMENT = {"type": "document", "title": "t", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}}
FOUND = {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]}
BODY: dict[str, Any] = {
    "model": "openai/gpt-5-mini",
    "max_tokens": 9,
    "system": [{"type": "text", "text": "s", "cache_control": MARK}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": MARK}, IMAGE, DOCUMENT, FOUND]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c", "is_error": True, "content": [IMAGE]}],
        },
        {"role": "system", "content": "s"},
    ],
    "tools": [{"name": "f", "description": "d", "strict": True, "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "summarized"},
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "stop_sequences": ["a"],
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 1,
    "stream": False,
    "metadata": {"user_id": "u"},
    "context_management": {"edits": []},
}


def is_usable(body: Any) -> bool:
    return is_taken(body, MessagesRequest, requests.completion)


def test_the_request_is_valid() -> None:
    assert is_usable(BODY)


@settings(max_examples=300)
@given(st.sampled_from(list(places_of(BODY))), VALUES)
def test_any_value_in_any_field_is_taken_or_refused(place: tuple[Any, ...], value: Any) -> None:
    is_usable(replaced(BODY, place, value))
