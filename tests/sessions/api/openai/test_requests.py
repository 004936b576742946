"""Requests of the OpenAI-compatible API: which models they may name, and how much they may ask for."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pydantic import ValidationError
from pytest_django import Settings

from sessions.api.openai import models, requests
from sessions.api.openai.errors import OpenAIError
from sessions.api.openai.requests import ChatRequest, EmbeddingsBody
from sessions.api.rest.models import list_models as rest_models
from sessions.turns.completions import CompletionRequest


def chat(**fields: Any) -> CompletionRequest:
    body = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "x"}], **fields}
    return requests.chat(ChatRequest.model_validate(body))


def embeddings(**fields: Any) -> CompletionRequest:
    return requests.embeddings(EmbeddingsBody.model_validate({"model": "openai/text-embedding-3-small", **fields}))


def tool(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def call(arguments: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": arguments}}]}]


async def test_the_scripted_model_exists_only_where_it_is_configured(settings: Settings) -> None:
    assert models.agent_of("scripted") == ""
    settings.CODELAB_MODEL = "openai/some-real-model"
    with pytest.raises(OpenAIError) as caught:
        models.agent_of("scripted")
    assert (caught.value.code, caught.value.status) == ("model_not_found", 404)
    assert "scripted" not in [model["id"] for model in models.list_all()]
    request: Any = None
    assert "scripted" not in [model.name for model in (await rest_models(request))["models"]]


@pytest.mark.parametrize("name", ["openai/a\x00b", "openai/a\nb", "openai/"])
def test_a_name_that_cannot_be_stored_is_no_model(name: str) -> None:
    for ask in (chat, lambda **fields: embeddings(input="x", **fields)):
        with pytest.raises(OpenAIError) as caught:
            ask(model=name)
        assert (caught.value.code, caught.value.status) == ("model_not_found", 404)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 1e400}, "temperature"),
        ({"top_p": -1e400}, "top_p"),
        ({"seed": 10**400}, "seed"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": ["a" * 1001]}, "stop"),
        ({"stop": {"a": 1}}, "stop"),
        ({"logit_bias": {str(i): 1 for i in range(50_000)}}, "logit_bias"),
        ({"response_format": nested(5_000)}, "response_format"),
        ({"tools": [tool(nested(5_000))]}, "tools"),
        ({"tools": [tool({"enum": ["a" * 2_000_001]})]}, "tools"),
        ({"messages": call('{"a": 1e400}')}, "messages.0.tool_calls"),
        ({"messages": call('{"a": NaN}')}, "messages.0.tool_calls"),
        ({"messages": call(json.dumps(nested(900)))}, "messages.0.tool_calls"),
    ],
)
def test_what_a_request_holds_is_bounded(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(OpenAIError) as caught:
        chat(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 10_000_001},
        {"max_completion_tokens": 0},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 10_001}]},
        {"messages": [{"role": "assistant", "tool_calls": call("{}")[0]["tool_calls"] * 129}]},
    ],
)
def test_how_much_a_request_asks_for_is_bounded(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        chat(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "x", "dimensions": 8_193},
        {"input": ["x"] * 257},
        {"input": [1] * 300_001},
        {"input": [[1] * 2_000] * 151},
        {"input": [2**31]},
        {"input": [-1]},
    ],
)
def test_what_embeddings_are_made_of_is_bounded(fields: dict[str, Any]) -> None:
    began = time.process_time()
    with pytest.raises(ValidationError):
        embeddings(**fields)
    assert time.process_time() - began < 1


def test_ordinary_requests_pass() -> None:
    asked = chat(
        temperature=0.5, stop=["\n"], seed=7, max_tokens=100, tools=[tool(nested(50))], messages=call('{"a": [1.5]}')
    )
    assert asked.options == {"temperature": 0.5, "stop": ["\n"], "seed": 7, "max_tokens": 100}
    assert embeddings(input=[[1, 2], [3]], dimensions=8_192).messages == [[1, 2], [3]]
    assert embeddings(input=[1, 2]).messages == [[1, 2]]
    assert embeddings(input=["a", "b"]).messages == ["a", "b"]
