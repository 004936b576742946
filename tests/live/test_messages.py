"""The Messages API, called by the `anthropic` package against real processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, ToolUseBlock

from tests.live.provider import Provider
from tests.live.service import Service
from tests.live.test_openai import key_of

pytestmark = pytest.mark.live

WEATHER: Any = {
    "name": "weather",
    "description": "Tell the weather.",
    "input_schema": {"type": "object", "properties": {"zeta": {}, "city": {"type": "string"}}, "required": ["city"]},
}
ASK_WEATHER = '/say Let me look.\n/call weather {"zeta": 1, "city": "Riga"}\n/say It rains.'
ADAPTIVE: Any = {"type": "adaptive"}
PIXEL = "iVBORw0KGgo="


def client_of(service: Service, *scopes: str, key: str = "", max_retries: int = 0) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        base_url=service.url,
        api_key=key or key_of(service, *(scopes or ("llm",))),
        http_client=anthropic.DefaultHttpxClient(trust_env=False),
        max_retries=max_retries,
        timeout=60,
    )


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[anthropic.Anthropic]:
    with client_of(service) as it:
        yield it


@pytest.fixture(scope="module")
def provided(provided_service: Service) -> Iterator[anthropic.Anthropic]:
    with client_of(provided_service) as it:
        yield it


def said(text: Any) -> Any:
    return [{"role": "user", "content": text}]


def words(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def ask(client: anthropic.Anthropic, text: Any, *, model: str = "scripted", **fields: Any) -> Message:
    message: Message = client.messages.create(model=model, messages=said(text), max_tokens=1000, **fields)
    return message


def stream(client: anthropic.Anthropic, text: Any, *, model: str = "scripted", **fields: Any) -> Message:
    with client.messages.stream(model=model, messages=said(text), max_tokens=1000, **fields) as events:
        message: Message = events.get_final_message()
        return message


# Answers


@pytest.mark.parametrize("send", [ask, stream])
def test_an_answer_comes_whole_and_in_events(client: anthropic.Anthropic, send: Any) -> None:
    answer = send(client, "/tokens 5")
    assert (answer.type, answer.role, answer.model, words(answer)) == (
        "message",
        "assistant",
        "scripted",
        "t0 t1 t2 t3 t4 ",
    )
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 5)
    assert (answer.usage.cache_read_input_tokens, answer.usage.cache_creation_input_tokens) == (0, 0)


def test_text_comes_as_it_is_written(client: anthropic.Anthropic) -> None:
    events = list(client.messages.create(model="scripted", messages=said("/tokens 5 20"), max_tokens=100, stream=True))
    assert [events[0].type, events[-2].type, events[-1].type] == ["message_start", "message_delta", "message_stop"]
    assert events[0].type == "message_start"
    assert events[0].message.usage.input_tokens > 0
    assert events[0].message.id.startswith("msg_")
    assert len([event for event in events if event.type == "content_block_delta"]) > 1


async def test_the_async_client_works_as_well(service: Service) -> None:
    key = await asyncio.to_thread(key_of, service, "llm")
    http = anthropic.DefaultAsyncHttpxClient(trust_env=False)
    async with anthropic.AsyncAnthropic(base_url=service.url, api_key=key, http_client=http) as client:
        fields: Any = {"model": "scripted", "messages": said("/tokens 3"), "max_tokens": 100}
        assert words(await client.messages.create(**fields)) == "t0 t1 t2 "
        async with client.messages.stream(**fields) as events:
            assert "".join([text async for text in events.text_stream]) == "t0 t1 t2 "


@pytest.mark.parametrize("send", [ask, stream])
@pytest.mark.parametrize("model", ["scripted", "codelab/coder"])
def test_a_tool_goes_to_the_caller_and_its_result_comes_back(
    client: anthropic.Anthropic, send: Any, model: str
) -> None:
    asked = send(client, ASK_WEATHER, model=model, tools=[WEATHER])
    assert asked.stop_reason == "tool_use"
    text, call = asked.content
    assert text.text == "Let me look."
    assert isinstance(call, ToolUseBlock)
    assert (call.name, json.dumps(call.input)) == ("weather", '{"zeta": 1, "city": "Riga"}')
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "rain"}]}
    messages: Any = [
        *said(ASK_WEATHER),
        {"role": "assistant", "content": asked.content},
        {"role": "user", "content": [result]},
    ]
    told = client.messages.create(model=model, messages=messages, max_tokens=100, tools=[WEATHER])
    assert told._request_id
    assert (words(told), told.stop_reason) == ("It rains.", "end_turn")


@pytest.mark.parametrize("send", [ask, stream])
def test_thoughts_come_to_those_who_ask_for_them(client: anthropic.Anthropic, send: Any) -> None:
    answer = send(client, "/think Hm. So.\n/say Yes.", thinking=ADAPTIVE)
    thought, text = answer.content
    assert (thought.type, thought.thinking, text.text) == ("thinking", "Hm. So.", "Yes.")
    assert thought.signature
    assert [block.type for block in send(client, "/think Hm. So.\n/say Yes.").content] == ["text"]


@pytest.mark.parametrize("send", [ask, stream])
def test_thoughts_go_back_to_their_provider(provided: anthropic.Anthropic, provider: Provider, send: Any) -> None:
    question = "reasoning=Hm. tokens=1 call=weather"
    asked = send(provided, question, model="openai/fake", tools=[WEATHER], thinking=ADAPTIVE)
    call = asked.content[-1]
    assert asked.content[0].thinking == "Hm."
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    # As programs store it.
    content = [block.model_dump() for block in asked.content]
    messages: Any = [*said(question), {"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    provided.messages.create(model="openai/fake", messages=messages, max_tokens=100, tools=[WEATHER])
    assert provider.requests[-1]["messages"][1]["reasoning_content"] == "Hm."


# What a provider gets


def test_a_provider_gets_what_claude_code_sends(provided: anthropic.Anthropic, provider: Provider) -> None:
    mark: Any = {"type": "ephemeral"}
    system: Any = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197; cch=1;"},
        {"type": "text", "text": "You are a helper.", "cache_control": mark},
        {"type": "text", "text": "Be short.", "cache_control": mark},
    ]
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"zeta": 1, "city": "Riga"}}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "broken", "is_error": True}
    messages: Any = [
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, image]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{**result, "cache_control": mark}, {"type": "text", "text": "tokens=1"}]},
    ]
    provided.beta.messages.create(
        model="openai/gpt-5-mini",
        max_tokens=99,
        system=system,
        messages=messages,
        tools=[WEATHER, {"type": "web_search_20250305", "name": "web_search"}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["END"],
        metadata={"user_id": "u"},
        thinking=ADAPTIVE,
        betas=["context-management-2025-06-27", "of-tomorrow"],
        extra_body={"context_management": {"edits": []}, "output_config": {"effort": "high"}},
    )
    sent = provider.requests[-1]
    first, *rest = sent["messages"]
    assert (first["role"], "billing" in str(first)) == ("system", False)
    assert "You are a helper." in str(first)
    assert "Be short." in str(first)
    assert rest[0]["content"][1]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"
    assert rest[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"zeta": 1, "city": "Riga"}'}
    assert rest[2] == {"role": "tool", "tool_call_id": "toolu_1", "content": "Error: broken"}
    assert rest[-1] == {"role": "user", "content": "tokens=1"}
    (tool,) = sent["tools"]
    assert tool["function"]["parameters"] == WEATHER["input_schema"]
    wanted = {"tool_choice": "required", "parallel_tool_calls": False, "stop": ["END"], "max_completion_tokens": 99}
    assert wanted.items() <= sent.items()
    assert not {"context_management", "thinking", "metadata", "system"} & sent.keys()


def test_tokens_are_counted_without_asking_a_model(client: anthropic.Anthropic) -> None:
    few = client.messages.count_tokens(model="scripted", messages=said("/fail unavailable"))
    many = client.messages.count_tokens(
        model="scripted", messages=said("one two three " * 1000), system="Be short.", tools=[WEATHER]
    )
    assert 0 < few.input_tokens < 100
    assert 2000 < many.input_tokens < 5000


# Errors


def test_a_wrong_key_is_an_authentication_error(service: Service) -> None:
    with client_of(service, key="clk_nothing") as client:
        for call in (lambda: ask(client, "x"), client.models.list):
            with pytest.raises(anthropic.AuthenticationError) as caught:
                call()
            assert caught.value.type == "authentication_error"
            assert caught.value.request_id


def test_both_headers_may_have_the_key(service: Service) -> None:
    key = key_of(service, "llm")
    body = {"model": "scripted", "max_tokens": 9, "messages": said("/say Hi.")}
    for headers in (
        {"x-api-key": key},
        {"authorization": f"Bearer {key}"},
        {"x-api-key": key, "authorization": f"Bearer {key}"},
    ):
        answer = httpx.post(f"{service.url}/v1/messages?beta=true", json=body, headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text


def test_a_key_without_the_scope_is_a_permission_error(service: Service) -> None:
    with client_of(service, "api:read") as client, pytest.raises(anthropic.PermissionDeniedError) as caught:
        ask(client, "x")
    assert caught.value.error_code == "insufficient_scope"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": said([{"type": "text"}])}, "messages.0.content.0.text"),
        ({"messages": said([{"type": "tool_result", "content": "x"}])}, "messages.0.content.0.tool_use_id"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": [{"name": "x"}]}, "tools.0.input_schema"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools.0.name"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice.type"),
        ({"system": [{"type": "image"}]}, "system.0.text"),
    ],
)
def test_an_invalid_request_is_a_bad_request(client: anthropic.Anthropic, fields: dict[str, Any], named: str) -> None:
    body = {"model": "scripted", "max_tokens": 9, "messages": said("x"), **fields}
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.post("/v1/messages", body=body, cast_to=Message)
    assert caught.value.type == "invalid_request_error"
    assert named in str(caught.value.api_message)


def test_an_unknown_model_is_not_found(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        ask(client, "x", model="claude-none")
    assert (caught.value.type, caught.value.error_code) == ("not_found_error", "model_not_found")


@pytest.mark.parametrize("send", [ask, stream])
def test_a_failure_before_the_first_token_has_its_status(client: anthropic.Anthropic, send: Any) -> None:
    for failure, status, kind in (
        ("unavailable", 529, "overloaded_error"),
        ("rate_limited", 429, "rate_limit_error"),
        ("context_too_long", 400, "invalid_request_error"),
    ):
        with pytest.raises(anthropic.APIStatusError) as caught:
            send(client, f"/fail {failure}")
        assert (caught.value.status_code, caught.value.type) == (status, kind)
        if failure == "context_too_long":
            assert str(caught.value.api_message).startswith("prompt is too long")


def test_a_failure_says_when_to_retry(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.RateLimitError) as caught:
        ask(client, "/fail rate_limited 30")
    assert int(caught.value.response.headers["retry-after"]) > 20


def test_a_failure_in_the_middle_ends_the_stream_with_an_error(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        stream(client, "/tokens 3\n/cut")
    assert (caught.value.type, caught.value.error_code) == ("api_error", "model_truncated")


def test_paths_and_methods_have_anthropics_errors(service: Service) -> None:
    headers = {"x-api-key": key_of(service, "llm"), "anthropic-version": "2023-06-01"}
    for method, path, status, kind in (
        ("POST", "/v1/messages/batches", 404, "not_found_error"),
        ("POST", "/v1/v1/messages", 404, "not_found_error"),
        ("POST", "/messages", 404, "not_found_error"),
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("GET", "/v1/models/none", 404, "not_found_error"),
        ("GET", "/v1/models?limit=0", 400, "invalid_request_error"),
        ("POST", "/v1/messages", 400, "invalid_request_error"),
    ):
        answer = httpx.request(method, service.url + path, headers=headers, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind), path
        assert answer.json()["type"] == "error"
    assert httpx.head(service.url, trust_env=False).status_code == 200


# Models and sessions


def test_models_are_listed_in_pages(client: anthropic.Anthropic, service: Service) -> None:
    every = [model.id for model in client.models.list(limit=3)]
    assert {"codelab/coder", "scripted"} <= set(every)
    assert len(every) == len(set(every)) > 3
    page = client.models.list(limit=2, after_id=every[1])
    assert [model.id for model in page.data] == every[2:4]
    before = client.models.list(limit=2, before_id=every[2])
    assert ([model.id for model in before.data], before.has_more) == (every[:2], False)
    one = client.models.retrieve("codelab/coder")
    assert (one.id, one.type, one.display_name) == ("codelab/coder", "model", "codelab/coder")
    assert one.max_input_tokens
    # Other clients see OpenAI's form.
    headers = {"authorization": f"Bearer {client.api_key}"}
    assert httpx.get(f"{service.url}/v1/models", headers=headers, trust_env=False).json()["object"] == "list"


def test_a_live_session_answers(service: Service) -> None:
    headers = {"X-CodeLab-Session": "messages-live"}
    status, answer = service.post("/api/v1/sessions", {"session_id": "messages-live"})
    assert status in (200, 201), answer
    with client_of(service, "api:read", "api:write") as client:
        told = ask(client, "/say Hello.", model="codelab/coder", extra_headers=headers)
    assert words(told) == "Hello."
