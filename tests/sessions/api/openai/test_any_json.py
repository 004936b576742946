"""Any JSON in any field of a request is taken, or refused with the name of a field. It never fails later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.context import Window, fit
from llm import catalog
from llm.wire.requests import build_body
from sessions.api.completions import bodies
from sessions.api.completions.errors import CompletionError, of_error
from sessions.api.openai import requests
from sessions.api.openai.schemas import ChatRequest, EmbeddingsBody
from sessions.protocol.client import ESCAPED_NUL
from sessions.turns.completion_messages import request_of
from sessions.turns.completions import CompletionRequest

IMAGE = "data:image/png;base64,iVBORw0KGgo="
CHAT: dict[str, Any] = {
    "model": "openai/gpt-5-mini",
    "messages": [
        {"role": "system", "content": "s", "name": "n"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": IMAGE}}],
        },
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [
                {
                    "id": "c",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a": 1}'},
                    "extra_content": {"google": {"thought_signature": "s"}},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "strict": True, "parameters": {"type": "object"}},
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "o", "schema": {"type": "object"}}},
    "stream_options": {"include_usage": True},
    "logit_bias": {"5": 1},
    "stop": ["a"],
    **dict.fromkeys(("stream", "parallel_tool_calls", "enable_thinking", "logprobs", "store"), False),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "n", "seed", "top_k", "min_tokens"), 1),
    **dict.fromkeys(("temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty"), 0.5),
    **dict.fromkeys(("user", "reasoning_effort", "verbosity", "grammar", "service_tier"), "x"),
    **dict.fromkeys(("metadata", "thinking", "chat_template_kwargs", "audio", "function_call", "functions"), None),
    **dict.fromkeys(("modalities", "stop_token_ids", "guided_choice", "prediction", "web_search_options"), None),
}
EMBEDDINGS: dict[str, Any] = {
    "model": "openai/text-embedding-3-small",
    "input": ["x", "y"],
    "encoding_format": "float",
    "dimensions": 5,
    "user": "u",
}
WORDS = st.sampled_from(
    ["", "auto", "none", "required", "text", "user", "tool", "function", "nan", "1e400", "\x00", "x" * 300, IMAGE, "-1"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS | WORDS | st.sampled_from([2**63, -(2**70), 10**30, -1, 0, 1e300]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "url", "name", "function", "id", "\x00"]) | st.text(), inner)
    ),
    max_leaves=8,
)


def places_of(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from places_of(value[name], (*place, name))


def replaced(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    body = deepcopy(body)
    target = body
    for name in place[:-1]:
        target = target[name]
    target[place[-1]] = value
    return body


def assert_storable(request: CompletionRequest) -> None:
    """Check that PostgreSQL takes it: no NUL, no half of a pair, no number that is not JSON."""
    text = json.dumps([request.messages, request.tools, request.options], allow_nan=False, ensure_ascii=False)
    assert not ESCAPED_NUL.search(text.encode())


def assert_sendable(request: CompletionRequest) -> None:
    """Check that a worker makes a provider's request of it."""
    wanted = request_of(request)
    fit("p", wanted.messages, window=Window(tokens=100_000), tools=wanted.tools)
    provider = catalog.provider_of(wanted.model)
    assert provider is not None
    assert json.loads(build_body(wanted, provider))


def is_taken(body: Any, model: Any, convert: Any) -> bool:
    """Return whether a request is taken and can be served, or refused with a field."""
    problem: CompletionError | None = None
    try:
        wanted = bodies._read(json.dumps(body).encode(), model, convert)[0]
    except Exception as error:
        problem = of_error(error)
    if problem:
        assert 400 <= problem.status < 500
        assert problem.param or problem.code == "invalid_json"
        return False
    assert_storable(wanted)
    if model is not EmbeddingsBody:
        assert_sendable(wanted)
    return True


def test_the_requests_are_valid() -> None:
    assert is_taken(CHAT, ChatRequest, requests.chat)
    assert is_taken(EMBEDDINGS, EmbeddingsBody, requests.embeddings)


@settings(max_examples=600)
@given(st.lists(st.tuples(st.sampled_from(list(places_of(CHAT))), VALUES), min_size=1, max_size=2))
def test_any_value_in_any_field_is_taken_or_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    body = CHAT
    for place, value in changes:
        try:
            body = replaced(body, place, value)
        except (KeyError, IndexError, TypeError):
            # The first change has removed the second place.
            continue
    is_taken(body, ChatRequest, requests.chat)


@settings(max_examples=200)
@given(st.sampled_from(list(places_of(EMBEDDINGS))), VALUES)
def test_any_value_in_a_request_for_embeddings_is_taken_or_refused(place: tuple[Any, ...], value: Any) -> None:
    is_taken(replaced(EMBEDDINGS, place, value), EmbeddingsBody, requests.embeddings)
