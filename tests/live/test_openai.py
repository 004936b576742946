"""The OpenAI-compatible API, called by the `openai` package against real processes."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageFunctionToolCall

from tests.conftest import POSTGRES, REDIS
from tests.live.provider import Provider
from tests.live.service import Service, running

pytestmark = pytest.mark.live

#: Streams that are open at once in the test of many streams.
STREAMS = 200

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
READ_FILE: Any = {"type": "function", "function": {"name": "read_file"}}
ASK_WEATHER = '/call weather {"city": "Riga"}\n/say It rains.'

_numbers = itertools.count()


def key_of(service: Service, *scopes: str) -> str:
    """Make an API key of the demo user."""
    status, answer = service.post("/api/v1/api-keys", {"name": "openai", "scopes": scopes})
    assert status == 201, answer
    return str(json.loads(answer)["key"])


def client_of(service: Service, *scopes: str, key: str = "", max_retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{service.url}/v1",
        api_key=key or key_of(service, *(scopes or ("llm",))),
        http_client=openai.DefaultHttpxClient(trust_env=False),
        max_retries=max_retries,
        timeout=60,
    )


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[openai.OpenAI]:
    with client_of(service) as it:
        yield it


@pytest.fixture(scope="module")
def writer(service: Service) -> Iterator[openai.OpenAI]:
    """Return a client that may write to sessions."""
    with client_of(service, "api:read", "api:write") as it:
        yield it


@pytest.fixture(scope="module")
def provided(provided_service: Service) -> Iterator[openai.OpenAI]:
    with client_of(provided_service) as it:
        yield it


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def texts(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def calls_of(answer: ChatCompletion) -> list[ChatCompletionMessageFunctionToolCall]:
    calls = answer.choices[0].message.tool_calls or []
    return [call for call in calls if isinstance(call, ChatCompletionMessageFunctionToolCall)]


def until(look: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def turn_of(service: Service, text: str) -> str:
    """Return the status of the turn whose request ends with this text; empty if it does not exist."""
    statement = (
        "SELECT turn.status FROM agent_sessions_turn AS turn JOIN agent_sessions_message AS message "
        "ON message.turn_id = turn.id WHERE message.content = %s AND message.role = 'user'"
    )
    found = service.rows(statement, text)
    return str(found[0][0]) if found else ""


def turn_id_of(service: Service, text: str) -> object:
    """Return the id of the only turn whose request ends with this text."""
    ((turn_id,),) = service.rows("SELECT turn_id FROM agent_sessions_message WHERE content = %s", text)
    return turn_id


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


def test_a_stream_has_usage_only_on_request(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="scripted", messages=said("/say Hello."), stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_the_package_assembles_a_stream(client: openai.OpenAI) -> None:
    script = '/think Where?\n/say Let me look.\n/call weather {"city": "Riga"}\n/call weather {"city": "Oslo"}'
    with client.chat.completions.stream(model="scripted", messages=said(script), tools=[WEATHER]) as stream:
        done = [
            (event.index, event.arguments) for event in stream if event.type == "tool_calls.function.arguments.done"
        ]
        final = stream.get_final_completion()
    cities = ['{"city": "Riga"}', '{"city": "Oslo"}']
    assert done == list(enumerate(cities))
    message = final.choices[0].message
    assert (message.content, final.choices[0].finish_reason) == ("Let me look.", "tool_calls")
    assert [call.function.arguments for call in calls_of(final)] == cities


def test_reasoning_is_separate_from_the_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="scripted", messages=said("/think Hm. So.\n/say Yes."))
    message = answer.choices[0].message
    assert (message.content, (message.model_extra or {})["reasoning_content"]) == ("Yes.", "Hm. So.")


@pytest.mark.parametrize("model", ["scripted", "codelab/coder"])
def test_a_tool_goes_to_the_caller_and_its_result_comes_back(client: openai.OpenAI, model: str) -> None:
    messages = said(ASK_WEATHER)
    asked = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
    assert asked.choices[0].finish_reason == "tool_calls"
    assert asked.choices[0].message.content is None
    (call,) = calls_of(asked)
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Riga"})
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    messages = [*messages, asked.choices[0].message.model_dump(exclude_none=True), result]
    told = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
    assert (told.choices[0].message.content, told.choices[0].finish_reason) == ("It rains.", "stop")


async def test_the_async_client_works_as_well(service: Service) -> None:
    key = await asyncio.to_thread(key_of, service, "llm")
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=key, http_client=http) as client:
        stream = await client.chat.completions.create(model="scripted", messages=said("/tokens 3"), stream=True)
        assert texts([chunk async for chunk in stream]) == "t0 t1 t2 "


# What a provider gets


def test_a_provider_gets_the_callers_messages_and_parameters(provided: openai.OpenAI, provider: Provider) -> None:
    image = "data:image/png;base64,iVBORw0KGgo="
    provided.chat.completions.create(
        model="openai/gpt-5-mini",
        messages=[
            {"role": "developer", "content": "Be short."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "exactly this"},
                    {"type": "image_url", "image_url": {"url": image}},
                ],
            },
        ],
        tools=[WEATHER],
        tool_choice="auto",
        temperature=0.5,
        stop=["END"],
        max_completion_tokens=99,
        extra_body={"api_key": "not an option", "stream": False},
    )
    sent = provider.requests[-1]
    assert sent["messages"][0] == {"role": "system", "content": "Be short."}
    assert [part["type"] for part in sent["messages"][1]["content"]] == ["text", "image_url"]
    assert sent["messages"][1]["content"][1]["image_url"]["url"] == image
    assert sent["tools"][0]["function"]["parameters"] == WEATHER["function"]["parameters"]
    wanted = {"model": "gpt-5-mini", "temperature": 0.5, "stop": ["END"], "max_completion_tokens": 99}
    assert wanted.items() <= sent.items()
    assert (sent["tool_choice"], sent["stream"]) == ("auto", True)
    assert "api_key" not in sent


def test_a_provider_gets_content_parts_in_order(provided: openai.OpenAI, provider: Provider) -> None:
    images = [{"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}, {"url": "https://example.com/a.png"}]
    content: Any = [
        {"type": "text", "text": "before"},
        {"type": "image_url", "image_url": images[0]},
        {"type": "text", "text": "between"},
        {"type": "image_url", "image_url": images[1]},
    ]
    messages: Any = [
        {"role": "user", "name": "alice", "content": content[1:3]},
        {"role": "user", "name": "bob", "content": content},
    ]
    strict: Any = {**WEATHER, "function": {**WEATHER["function"], "strict": True}}
    provided.chat.completions.create(model="openai/gpt-5-mini", messages=messages, tools=[strict, READ_FILE])
    sent = provider.requests[-1]
    assert sent["messages"] == messages
    assert [tool["function"].get("strict") for tool in sent["tools"]] == [True, None]


@pytest.mark.parametrize("stream", [False, True])
def test_the_order_of_keys_is_kept_in_both_directions(
    provided: openai.OpenAI, provider: Provider, stream: bool
) -> None:
    arguments = '{"zeta": 1, "b": {"y": 2, "x": 3}, "reasoning": 3, "a": 4}'
    keys = ["zeta", "b", "reasoning", "a"]
    schema: Any = {"type": "object", "properties": {key: {"type": "integer"} for key in keys}}
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    said_before: Any = [
        *said("x"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ]
    answer: Any = provided.chat.completions.create(
        model="openai/fake",
        messages=[*said_before, *said(f"tokens=0 call=weather arguments={arguments.replace(' ', '')}")],
        tools=[{"type": "function", "function": {"name": "weather", "parameters": schema}}],
        response_format={"type": "json_schema", "json_schema": {"name": "out", "schema": schema}},
        logit_bias={"20": 1, "3": 2},
        stream=stream,
    )
    sent = provider.requests[-1]
    assert list(sent["tools"][0]["function"]["parameters"]["properties"]) == keys
    assert list(sent["response_format"]["json_schema"]["schema"]["properties"]) == keys
    assert list(sent["logit_bias"]) == ["20", "3"]
    assert sent["messages"][1]["tool_calls"][0]["function"]["arguments"] == arguments
    if stream:
        deltas = [delta for chunk in answer for delta in chunk.choices[0].delta.tool_calls or ()]
        assert "".join(delta.function.arguments for delta in deltas) == arguments
    else:
        assert calls_of(answer)[0].function.arguments == arguments


def test_an_agent_has_its_prompt_and_the_callers_instructions(provided: openai.OpenAI, provider: Provider) -> None:
    messages: Any = [{"role": "system", "content": "Answer in verse."}, *said("hello there")]
    answer = provided.chat.completions.create(model="codelab/coder", messages=messages, tools=[READ_FILE])
    assert answer.choices[0].message.content == "w0 w1 w2 "
    system, *rest = provider.requests[-1]["messages"]
    assert system["content"].endswith("# Instructions of the caller\n\nAnswer in verse.")
    assert len(system["content"]) > 500
    assert rest == [{"role": "user", "content": "hello there"}]
    assert [tool["function"]["name"] for tool in provider.requests[-1]["tools"]] == ["read_file"]


def test_an_agent_is_told_that_a_tool_does_not_exist(client: openai.OpenAI) -> None:
    script = '/say I write.\n/call write_file {"path": "a", "content": "b"}\n/obey\n/say Then not.'
    answer = client.chat.completions.create(model="codelab/coder", messages=said(script), tools=[READ_FILE])
    assert answer.choices[0].message.content == "I write.\n\nThen not."
    assert answer.choices[0].finish_reason == "stop"
    # A plain model's call goes back unchanged: the caller knows which tools exist.
    plain = client.chat.completions.create(model="scripted", messages=said(script), tools=[READ_FILE])
    assert plain.choices[0].finish_reason == "tool_calls"


# Errors


def test_a_wrong_key_is_an_authentication_error(service: Service) -> None:
    with client_of(service, key="clk_nothing") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "invalid_api_key"


def test_a_key_without_the_scope_is_a_permission_error(service: Service) -> None:
    with client_of(service, "api:read") as client:
        assert client.models.list().data
        with pytest.raises(openai.PermissionDeniedError) as caught:
            client.chat.completions.create(model="scripted", messages=said("x"))
    assert caught.value.code == "insufficient_scope"


@pytest.mark.parametrize("model", ["none", "codelab/wizard", "unheard-of/model"])
def test_an_unknown_model_is_not_found(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=model, messages=said("x"))
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(model)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
        ({"messages": said("x"), "n": 2}, "n"),
        ({"messages": said("x"), "logprobs": True}, "logprobs"),
        (
            {"messages": said("x"), "tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools.0.function.name",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages.0.content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]}]},
            "messages.0.content",
        ),
    ],
)
def test_an_invalid_request_is_a_bad_request(client: openai.OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="scripted", **fields)
    assert caught.value.param == param


FAILURES: list[tuple[str, type[openai.APIStatusError], int, str]] = [
    ("rate_limited", openai.RateLimitError, 429, "rate_limit_exceeded"),
    ("context_too_long", openai.BadRequestError, 400, "context_length_exceeded"),
    ("not_authorized", openai.InternalServerError, 502, "model_not_authorized"),
    ("unavailable", openai.InternalServerError, 503, "model_unavailable"),
    ("not_found", openai.NotFoundError, 404, "model_not_found"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure[0])
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_the_first_token_has_its_status(
    client: openai.OpenAI, failure: tuple[str, type[openai.APIStatusError], int, str], stream: bool
) -> None:
    name, kind, status, code = failure
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model="scripted", messages=said(f"/fail {name}"), stream=stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_says_when_to_retry(provided: openai.OpenAI, provided_service: Service, stream: bool) -> None:
    text = f"Number {next(_numbers)} status=429 retry_after=17.2"
    with pytest.raises(openai.RateLimitError) as caught:
        provided.chat.completions.create(model="openai/fake", messages=said(text), stream=stream)
    assert caught.value.response.headers["Retry-After"] == "18"
    told = "SELECT payload->'retry_after' FROM agent_sessions_event WHERE kind = 'turn_failed' AND turn_id = %s"
    assert provided_service.rows(told, turn_id_of(provided_service, text)) == [(18,)]


@pytest.mark.parametrize("period", ["total", "day"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_exhausted_budget_ends_one_turn_and_not_three(
    provided_service: Service, provider: Provider, period: str, stream: bool
) -> None:
    made = json.loads(provided_service.post("/api/v1/api-keys", {"name": "poor", "scopes": ["llm"]})[1])
    provided_service.rows(
        'INSERT INTO agent_sessions_budget (id, api_key, "limit", period, spent, reserved, period_start, created_at)'
        " VALUES (gen_random_uuid(), %s, 0.00000001, %s, 0, 0, now(), now()) RETURNING id",
        made["id"],
        period,
    )
    asked = len(provider.requests)
    with (
        client_of(provided_service, key=made["key"], max_retries=openai.DEFAULT_MAX_RETRIES) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.chat.completions.create(model="openai/gpt-5-mini", messages=said("Hello."), stream=stream)
    assert (caught.value.code, caught.value.type) == ("insufficient_quota", "insufficient_quota")
    assert "budget for this API key" in caught.value.message
    headers = caught.value.response.headers
    assert headers["X-Should-Retry"] == "false"
    assert ("Retry-After" in headers) == (period == "day")
    turns = provided_service.rows("SELECT status FROM agent_sessions_turn WHERE api_key = %s", made["id"])
    assert turns == [("failed",)]
    assert len(provider.requests) == asked


@pytest.mark.parametrize(
    ("failure", "turns"), [("unavailable", 2), ("not_authorized", 1), ("took_too_long", 1), ("refused", 1)]
)
def test_the_package_retries_only_an_unavailable_model(service: Service, failure: str, turns: int) -> None:
    text = f"/fail {failure}\n/say Number {next(_numbers)}."
    with client_of(service, max_retries=1) as client, pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model="scripted", messages=said(text))
    assert len(service.rows("SELECT 1 FROM agent_sessions_message WHERE content = %s", text)) == turns


def test_a_failure_in_the_middle_ends_the_stream_with_an_error(service: Service, client: openai.OpenAI) -> None:
    got: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError) as caught:
        got.extend(client.chat.completions.create(model="scripted", messages=said("/say Half a\n/cut"), stream=True))
    assert texts(got) == "Half a"
    assert (caught.value.code, caught.value.type) == ("model_truncated", "server_error")
    body = {"model": "scripted", "messages": said("/say Half a\n/cut"), "stream": True}
    status, raw = service.post("/v1/chat/completions", body)
    assert status == 200
    assert '"code":"model_truncated"' in raw.splitlines()[-2]
    assert "[DONE]" not in raw
    # Without a stream the caller has seen nothing, so the request fails as a whole.
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="scripted", messages=said("/say Half a\n/cut"))


def test_bad_json_and_unknown_paths_are_openai_errors(service: Service) -> None:
    with httpx.Client(base_url=service.url, trust_env=False) as http:
        answer = http.post("/v1/chat/completions", content=b"{")
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
        answer = http.get("/v1/nothing")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert http.get("/v1/models", headers={"Host": "evil.example"}).status_code == 400
        assert http.get("/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403


def test_a_stream_is_kept_alive_while_the_model_is_silent(service: Service) -> None:
    status, raw = service.post(
        "/v1/chat/completions", {"model": "scripted", "messages": said("/wait 11\n/say Now."), "stream": True}
    )
    assert status == 200
    assert raw.count(": still here") >= 1
    assert "Now." in raw


# Models


def test_models_and_agents_are_listed(client: openai.OpenAI, service: Service) -> None:
    listed = {model.id for model in client.models.list()}
    assert {"codelab/coder", "codelab/ask", "scripted"} <= listed
    # This service has no keys of providers.
    assert not [name for name in listed if name.startswith(("openai/", "anthropic/"))]
    everything = {model.id: model for model in client.models.list(extra_query={"all": 1})}
    assert {*listed, "openai/gpt-5-mini", "anthropic/claude-sonnet-5-5"} <= set(everything)
    mini = client.models.retrieve("openai/gpt-5-mini").model_dump()
    assert mini == everything["openai/gpt-5-mini"].model_dump()
    assert (mini["owned_by"], mini["context_length"], mini["max_model_len"]) == ("openai", 272_000, 272_000)
    assert mini["created"] > 1_600_000_000
    assert {"tools", "images"} <= set(mini["capabilities"])
    coder = client.models.retrieve("codelab/coder").model_dump()
    assert (coder["owned_by"], coder["context_length"]) == ("codelab", 10_000_000)


def test_models_of_providers_with_a_key_are_listed(client: openai.OpenAI, service: Service) -> None:
    assert service.rows("SELECT providers @> '[\"ollama\"]' FROM agent_sessions_worker LIMIT 1") == [(True,)]
    stored = httpx.put(
        f"{service.url}/api/v1/provider-keys/mistral", json={"api_key": "sk-of-the-demo-user"}, trust_env=False
    )
    assert stored.status_code == 200
    try:
        listed = {model.id for model in client.models.list()}
        assert [name for name in listed if name.startswith("mistral/")]
        assert not [name for name in listed if name.startswith("openai/")]
    finally:
        httpx.delete(f"{service.url}/api/v1/provider-keys/mistral", trust_env=False)

    status, answer = service.get("/api/v1/llm/models")
    assert status == 200
    models = {model["id"]: model for model in json.loads(answer)["models"]}
    assert models["scripted"]["default"] is True
    assert "coder" in models["scripted"]["agents"]
    assert {"tools", "images"} <= set(models["openai/gpt-5-mini"]["capabilities"])
    assert models["openai/gpt-5-mini"]["prices"][0]["output"] > 0


# Embeddings


def test_embeddings_come_in_order_as_numbers_and_packed(provided: openai.OpenAI, client: openai.OpenAI) -> None:
    # The package asks for base64 and decodes it.
    answer = provided.embeddings.create(model="openai/text-embedding-3-small", input=["a", "b"])
    assert [each.embedding for each in answer.data] == [[0.5, 0.0, 0.25], [0.5, 1.0, 0.25]]
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (9, 9)
    plain = provided.embeddings.create(
        model="openai/text-embedding-3-small", input=[[1, 2], [3]], encoding_format="float"
    )
    assert [each.embedding for each in plain.data] == [[0.5, 0.0, 0.25], [0.5, 1.0, 0.25]]
    (mine,) = client.embeddings.create(model="scripted", input="text", dimensions=4).data
    assert len(mine.embedding) == 4
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="scripted", input=[])
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="codelab/coder", input="x")


# Sessions


def test_completions_are_not_listed_as_sessions(client: openai.OpenAI, service: Service) -> None:
    client.chat.completions.create(model="scripted", messages=said("/say hidden"))
    sessions = json.loads(service.get("/api/v1/sessions")[1])["sessions"]
    assert [session for session in sessions if session["id"].startswith("completion-")] == []
    hidden = service.rows("SELECT count(*) FROM agent_sessions_session WHERE hidden")
    assert hidden[0][0] > 0
    used = service.rows("SELECT count(*) FROM agent_sessions_modelcall WHERE model = 'scripted' AND outcome = 'ok'")
    assert used[0][0] > 0


def test_a_message_can_be_sent_to_a_session_by_name(writer: openai.OpenAI, service: Service) -> None:
    key = f"live-{next(_numbers)}"
    assert service.post("/api/v1/sessions", {"session_id": key})[0] == 200
    headers = {"X-CodeLab-Session": key}
    script = '/call read_file {"path": "a.txt"}\n/say It is empty.'
    asked = writer.chat.completions.create(
        model="codelab/coder",
        messages=said(script),
        tools=[READ_FILE],
        extra_headers={**headers, "Idempotency-Key": "one"},
    )
    assert asked.choices[0].finish_reason == "tool_calls"
    (call,) = calls_of(asked)
    assert json.loads(call.function.arguments) == {"path": "a.txt"}
    # The same request again finds the same calls and adds no message.
    again = writer.chat.completions.create(
        model="codelab/coder",
        messages=said(script),
        tools=[READ_FILE],
        extra_headers={**headers, "Idempotency-Key": "one"},
    )
    assert [each.id for each in calls_of(again)] == [call.id]
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "nothing in it"}
    messages: Any = [*said(script), asked.choices[0].message.model_dump(exclude_none=True), result]
    for _ in range(2):
        stream = writer.chat.completions.create(
            model="codelab/coder", messages=messages, tools=[READ_FILE], stream=True, extra_headers=headers
        )
        assert texts(list(stream)) == "It is empty."
    history = json.loads(service.get(f"/api/v1/sessions/{key}/history")[1])["messages"]
    assert [message["role"] for message in history] == ["user", "assistant", "tool", "assistant"]
    assert history[2]["content"] == "nothing in it"


def test_an_unknown_session_is_not_found(writer: openai.OpenAI, client: openai.OpenAI) -> None:
    headers = {"X-CodeLab-Session": "nobodys"}
    with pytest.raises(openai.NotFoundError) as caught:
        writer.chat.completions.create(model="codelab/coder", messages=said("x"), extra_headers=headers)
    assert caught.value.code == "session_not_found"
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="codelab/coder", messages=said("x"), extra_headers=headers)


def test_the_package_does_not_send_a_message_to_a_session_twice(service: Service) -> None:
    key = f"failing-{next(_numbers)}"
    assert service.post("/api/v1/sessions", {"session_id": key})[0] == 200
    headers = {"X-CodeLab-Session": key}
    with client_of(service, "api:write", max_retries=2) as client, pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="codelab/coder", messages=said("/fail unavailable"), extra_headers=headers)
    history = json.loads(service.get(f"/api/v1/sessions/{key}/history")[1])["messages"]
    assert [message["content"] for message in history] == ["/fail unavailable"]


def test_a_repeated_request_to_a_session_adds_no_message(writer: openai.OpenAI, service: Service) -> None:
    key = f"repeating-{next(_numbers)}"
    assert service.post("/api/v1/sessions", {"session_id": key})[0] == 200
    answers = [
        writer.chat.completions.create(
            model="codelab/coder", messages=said("/say Yes."), extra_headers={"X-CodeLab-Session": key, **headers}
        )
        for headers in ({}, {"X-Stainless-Retry-Count": "1"}, {}, {"session-id": "one"}, {"session-id": "one"})
    ]
    assert {answer.choices[0].message.content for answer in answers} == {"Yes."}
    first, again, second, third, again_third = [answer.id for answer in answers]
    assert (again, again_third) == (first, third)
    history = json.loads(service.get(f"/api/v1/sessions/{key}/history")[1])["messages"]
    assert [message["role"] for message in history] == ["user", "assistant"] * 3
    assert second not in (first, third)


def test_unsupported_requests_to_a_session_are_refused(writer: openai.OpenAI, service: Service) -> None:
    assert service.post("/api/v1/sessions", {"session_id": "refusing"})[0] == 200
    headers = {"X-CodeLab-Session": "refusing"}
    answered: Any = [{"role": "assistant", "content": "x"}]
    unknown: Any = [{"role": "tool", "tool_call_id": "call_of_nobody", "content": "x"}]
    for model, messages in (("codelab/coder", answered), ("codelab/coder", unknown), ("scripted", said("x"))):
        with pytest.raises(openai.BadRequestError):
            writer.chat.completions.create(model=model, messages=messages, extra_headers=headers)


# Disconnecting


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_disconnects_stops_the_turn(service: Service, stream: bool) -> None:
    text = f"/say Number {next(_numbers)}.\n/stall"
    body = {"model": "scripted", "messages": said(text), "stream": stream}
    with httpx.Client(base_url=service.url, trust_env=False, timeout=httpx.Timeout(60, read=3)) as http:
        if stream:
            with http.stream("POST", "/v1/chat/completions", json=body) as answer:
                # Keep a reference: a stream is closed when its iterator is collected.
                lines = answer.iter_lines()
                assert any("Number" in line for line in lines)
                assert turn_of(service, text) == "running"
        else:
            with pytest.raises(httpx.ReadTimeout):
                http.post("/v1/chat/completions", json=body)
    # It waits two seconds for a repetition.
    until(lambda: turn_of(service, text) == "cancelled")


# Repeated requests


def turns_of(service: Service, text: str) -> list[tuple[str, int]]:
    """Return the status of each turn with this message, and its successful calls of models."""
    return service.rows(
        "SELECT turn.status, count(call.id) FROM agent_sessions_message AS message "
        "JOIN agent_sessions_turn AS turn ON turn.id = message.turn_id "
        "LEFT JOIN agent_sessions_modelcall AS call ON call.turn_id = turn.id AND call.outcome = 'ok' "
        "WHERE message.content = %s AND message.role = 'user' GROUP BY turn.id",
        text,
    )


@pytest.mark.parametrize(
    "headers",
    [{"Idempotency-Key": "key-of-one"}, {"X-Stainless-Retry-Count": "1"}, {"session-id": "of-a-client"}],
    ids=["key", "retry", "session"],
)
def test_a_repeated_request_is_answered_again_and_paid_once(
    client: openai.OpenAI, service: Service, headers: dict[str, str]
) -> None:
    text = f"/say Once {next(_numbers)}."
    first = client.chat.completions.create(model="scripted", messages=said(text), extra_headers=headers)
    stream = client.chat.completions.create(model="scripted", messages=said(text), stream=True, extra_headers=headers)
    chunks = list(stream)
    assert texts(chunks) == first.choices[0].message.content
    assert {chunk.id for chunk in chunks} == {first.id}
    assert turns_of(service, text) == [("completed", 1)]
    if "Idempotency-Key" in headers:
        with pytest.raises(openai.ConflictError) as caught:
            client.chat.completions.create(model="scripted", messages=said(f"{text}!"), extra_headers=headers)
        assert (caught.value.code, caught.value.param) == ("idempotency_key_reused", "Idempotency-Key")


def test_equal_requests_are_two_turns(client: openai.OpenAI, service: Service) -> None:
    text = f"/say Twice {next(_numbers)}."
    answers = [client.chat.completions.create(model="scripted", messages=said(text)) for _ in range(2)]
    assert len({answer.id for answer in answers}) == 2
    assert turns_of(service, text) == [("completed", 1)] * 2


def test_a_request_whose_connection_is_lost_can_be_repeated(service: Service) -> None:
    text = f"/tokens 60 20\n/say {next(_numbers)}"
    body = {"model": "scripted", "messages": said(text), "stream": True}
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as http:
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            assert any("t3 " in line for line in lines)
        again = http.post("/v1/chat/completions", json=body)
    content = "".join(re.findall(r'"content":"([^"]+)"', again.text))
    assert content.startswith("".join(f"t{i} " for i in range(60)))
    assert turns_of(service, text) == [("completed", 1)]


# Many streams


def threads_of(service: Service, name: str) -> int:
    status = Path(f"/proc/{service.processes[name].pid}/status").read_text()
    found = re.search(r"^Threads:\s+(\d+)", status, re.MULTILINE)
    assert found
    return int(found[1])


def test_open_streams_hold_no_thread(tmp_path: Path) -> None:
    body = {"model": "scripted", "messages": said("/say Here.\n/stall"), "stream": True}
    with (
        running(tmp_path, postgres=POSTGRES, redis=REDIS, CODELAB_WORKER_CONCURRENCY=str(STREAMS + 8)) as service,
        ExitStack() as opened,
        httpx.Client(base_url=service.url, trust_env=False, timeout=60, limits=httpx.Limits()) as http,
    ):
        # Pools start their threads at the first use.
        for _ in range(8):
            http.post("/v1/chat/completions", json={"model": "scripted", "messages": said("/say x")})
        before = threads_of(service, "web")
        for _ in range(STREAMS):
            answer = opened.enter_context(http.stream("POST", "/v1/chat/completions", json=body))
            assert next(line for line in answer.iter_lines() if line)
        began = time.monotonic()
        answer = http.post("/v1/chat/completions", json={"model": "scripted", "messages": said("/say Still.")})
        assert answer.json()["choices"][0]["message"]["content"] == "Still."
        assert http.get("/v1/models").status_code == 200
        took = time.monotonic() - began
        during = threads_of(service, "web")
        print(f"{STREAMS} streams: {before} threads before, {during} during; another answer took {took:.2f} s")
        # The pools may still have been growing. With one thread for each request it would be 200 more.
        assert during - before <= 20
