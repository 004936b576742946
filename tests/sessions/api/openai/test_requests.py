"""Requests of the OpenAI-compatible API: which models they may name, and how much they may ask for."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pydantic import ValidationError
from pytest_django import Settings

from sessions.api.completions import bodies, models
from sessions.api.completions.errors import CompletionError, of_error
from sessions.api.openai import requests
from sessions.api.openai.schemas import ChatRequest, EmbeddingsBody
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


def call(arguments: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": arguments}}]}]


async def test_the_scripted_model_exists_only_where_it_is_configured(settings: Settings) -> None:
    assert models.agent_of("scripted") == ""
    settings.CODELAB_MODEL = "openai/some-real-model"
    with pytest.raises(CompletionError) as caught:
        models.agent_of("scripted")
    assert (caught.value.code, caught.value.status) == ("model_not_found", 404)
    assert "scripted" not in models.listed_names(None)
    request: Any = None
    assert "scripted" not in [model.name for model in (await rest_models(request))["models"]]


@pytest.mark.parametrize("name", ["openai/a\x00b", "openai/a\nb", "openai/"])
def test_a_name_that_cannot_be_stored_is_no_model(name: str) -> None:
    for ask in (chat, lambda **fields: embeddings(input="x", **fields)):
        with pytest.raises(CompletionError) as caught:
            ask(model=name)
        assert (caught.value.code, caught.value.status) == ("model_not_found", 404)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"seed": 10**400}, "seed"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": ["a" * 1001]}, "stop"),
        ({"logit_bias": {str(i): 1 for i in range(50_000)}}, "logit_bias"),
        ({"response_format": nested(5_000)}, "response_format"),
        ({"tools": [tool(nested(5_000))]}, "tools"),
        ({"tools": [tool({"enum": ["a" * 2_000_001]})]}, "tools"),
        ({"messages": call("x" * 2_000_001)}, "messages.0.tool_calls"),
        ({"messages": call(nested(900))}, "messages.0.tool_calls"),
    ],
)
def test_what_a_request_holds_is_bounded(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(CompletionError) as caught:
        chat(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 10_000_001},
        {"max_completion_tokens": -5},
        {"temperature": float("nan")},
        {"temperature": 1e400},
        {"top_p": -1e400},
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


def refusal(**fields: Any) -> str:
    """Return the field that a refusal names."""
    body = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "x"}], **fields}
    try:
        bodies._read(json.dumps(body).encode(), ChatRequest, requests.chat)
    except Exception as error:
        problem = of_error(error)
        assert problem.status == 400
        return str(problem.param)
    raise AssertionError("the request was taken")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"top_p": []}, "top_p"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", None]}, "stop.1"),
        ({"logit_bias": {"5": "much"}}, "logit_bias.5"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"response_format": "json_object"}, "response_format"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": [tool({})]}, "tool_choice"),
        ({"user": 5}, "user"),
        ({"reasoning_effort": {}}, "reasoning_effort"),
        ({"parallel_tool_calls": "perhaps"}, "parallel_tool_calls"),
        ({"top_k": "many"}, "top_k"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 0.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"stream": "perhaps"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"model": None}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [None]}, "messages.0"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages.0.content.0.text"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"messages": [{"role": "assistant", "function_call": {"name": "f"}}]}, "messages.0.function_call"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "messages.0.tool_calls.0.function"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": None}]}, "messages.0.tool_call_id"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools.0.type"),
        ({"tools": [{"type": "function", "function": None}]}, "tools.0.function"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools.0.function.parameters"),
    ],
)
def test_a_field_of_a_wrong_type_is_named(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields) == param


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"temperature": "0.5", "top_p": 1, "seed": "7"}, {"temperature": 0.5, "top_p": 1, "seed": 7}),
        ({"max_tokens": 1e3}, {"max_tokens": 1000}),
        ({"max_tokens": "100"}, {"max_tokens": 100}),
        ({"max_tokens": -1, "max_completion_tokens": 0}, {}),
        ({"max_tokens": 5, "max_completion_tokens": -1}, {"max_tokens": 5}),
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "stop": [], "modalities": []}, {}),
        ({"tools": None, "tool_choice": "none", "stop": ""}, {}),
        ({"function_call": "auto", "functions": []}, {}),
        ({"stream": "true", "stream_options": {"include_usage": None, "include_obfuscation": False}}, {}),
        ({"top_k": 40, "min_p": 0.1, "unheard_of": {"a": 1}}, {"top_k": 40, "min_p": 0.1}),
        ({"tools": [tool(None)], "tool_choice": "required"}, {"tool_choice": "required"}),
    ],
)
def test_options_are_taken_as_other_servers_take_them(fields: dict[str, Any], options: dict[str, Any]) -> None:
    assert chat(**fields).options == options


def test_null_means_that_a_field_is_left_out() -> None:
    optional = {name: None for name in ChatRequest.model_fields if name not in ("model", "messages")}
    nothing = dict.fromkeys(("name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"))
    function = {"name": "f", "description": None, "parameters": None, "strict": None}
    called = {"id": "c", "type": None, "function": {"name": "f", "arguments": None}}
    asked = chat(
        **{**optional, "tools": [{"type": None, "function": function}]},
        messages=[
            {**nothing, "role": "developer", "content": "s"},
            {**nothing, "role": "user", "content": ["a", {"type": "text", "text": "b", "refusal": None}]},
            {**nothing, "role": "assistant", "content": None, "tool_calls": [called]},
            {**nothing, "role": "tool", "content": [], "tool_call_id": "c"},
            {**nothing, "role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}], "tool_calls": []},
        ],
    )
    assert asked.options == {}
    empty = {"type": "object", "properties": {}}
    assert asked.tools == [{"name": "f", "description": "", "parameters": empty}]
    assert asked.messages == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a\nb"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "name": "f", "arguments": {}}]},
        {"role": "tool", "content": "", "tool_call_id": "c"},
        {"role": "assistant", "content": ""},
    ]


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ('{"a": [1.5]}', {"a": [1.5]}),
        ({"a": 1}, {"a": 1}),
        ("", {}),
        (json.dumps('{"path": "a.txt"}'), {"path": "a.txt"}),
        ('{"path": "a.txt", "content": "half', '{"path": "a.txt", "content": "half'),
        ("[1, 2]", "[1, 2]"),
        ("null", "null"),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": 1e400}', '{"a": 1e400}'),
        ('{"a": 12345678901234567890}', '{"a": 12345678901234567890}'),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_arguments_of_an_earlier_call_may_be_any_text(written: Any, stored: Any) -> None:
    assert chat(messages=call(written)).messages[0]["tool_calls"][0]["arguments"] == stored


def test_images_of_a_tools_result_follow_in_a_message_of_the_user() -> None:
    calls = call("{}")[0]["tool_calls"]
    result = {"role": "tool", "tool_call_id": "c"}
    asked = chat(
        messages=[
            {"role": "assistant", "tool_calls": [*calls, {**calls[0], "id": "d"}]},
            {**result, "content": [IMAGE, {"type": "text", "text": "a screenshot"}]},
            {**result, "tool_call_id": "d", "content": [{"type": "input_image", "image_url": IMAGE["image_url"]}]},
            {"role": "user", "content": "What is it?"},
        ]
    )
    assert [row["role"] for row in asked.messages] == ["assistant", "tool", "tool", "user", "user"]
    assert [row["content"] for row in asked.messages[1:]] == [
        f"a screenshot\n{requests.IMAGES_FOLLOW}",
        requests.IMAGES_FOLLOW,
        requests.IMAGES_OF_RESULTS,
        "What is it?",
    ]
    url = {"url": "https://example.com/a.png"}
    assert asked.messages[3]["images"] == [url, url]
    last = chat(messages=[{**result, "content": [IMAGE]}]).messages[-1]
    assert (last["role"], last["images"]) == ("user", [url])
    body = {"model": "codelab/coder", "messages": [{**result, "content": [IMAGE]}]}
    (kept,) = requests.chat(ChatRequest.model_validate(body), in_session=True).messages
    assert (kept["role"], kept["images"]) == ("tool", [url])


def test_thoughts_are_kept_within_a_tool_loop() -> None:
    thoughts = {
        "reasoning_content": "Hm.",
        "reasoning_details": [{"text": "Hm."}],
        "thinking_blocks": [{"z": 1, "a": 2}],
    }
    said = {"role": "assistant", "content": "Yes.", **thoughts}
    asked = chat(
        messages=[
            {"role": "user", "content": "one", "reasoning_content": "not a thought"},
            said,
            {"role": "user", "content": "two"},
            call("{}")[0] | {"reasoning_content": ""},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
            said,
        ]
    )
    assert [row.get("extra") for row in asked.messages] == [None, None, None, {"reasoning_content": ""}, None, thoughts]


@pytest.mark.parametrize("nonsense", [None, 7, True, {"a": 1}, ["x"]])
def test_thoughts_of_another_type_are_left_out(nonsense: Any) -> None:
    (row,) = chat(messages=[{"role": "assistant", "content": "x", "reasoning_content": nonsense}]).messages
    assert "extra" not in row


def test_thoughts_have_a_limit() -> None:
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(CompletionError) as caught:
        chat(messages=[{"role": "assistant", "content": "x", "thinking_blocks": deep}])
    assert caught.value.param == "messages.0"


def test_a_signature_of_a_call_is_kept_and_other_fields_are_not() -> None:
    signature = {"extra_content": {"google": {"thought_signature": "c2lnLTE="}}}
    asked = chat(
        messages=[{"role": "assistant", "tool_calls": [{**call("{}")[0]["tool_calls"][0], **signature, "x": 1}]}]
    )
    assert asked.messages[0]["tool_calls"] == [{"id": "c", "name": "f", "arguments": {}, "extra": signature}]
