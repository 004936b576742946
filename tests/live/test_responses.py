"""The Responses API, called by the `openai` package against real processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseFunctionToolCall
from pydantic import BaseModel

from tests.live.provider import Provider
from tests.live.service import Service
from tests.live.test_openai import client_of, key_of, until

pytestmark = pytest.mark.live

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "Tell the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
ASK_WEATHER = '/call weather {"city": "Riga"}\n/say It rains.'


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[openai.OpenAI]:
    with client_of(service) as it:
        yield it


@pytest.fixture(scope="module")
def provided(provided_service: Service) -> Iterator[openai.OpenAI]:
    with client_of(provided_service) as it:
        yield it


def calls_of(response: Response) -> list[ResponseFunctionToolCall]:
    return [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]


def code_of(response: Response) -> str:
    """Return the code of a failure; the package's type has fewer of them."""
    assert response.error is not None
    return str(response.error.code)


def said(text: str) -> Any:
    return {"role": "user", "content": text}


# Answers


def test_an_answer_comes_whole(client: openai.OpenAI) -> None:
    response = client.responses.create(model="scripted", input="/tokens 5", instructions="Count.", metadata={"a": "b"})
    assert (response.output_text, response.status) == ("t0 t1 t2 t3 t4 ", "completed")
    assert (response.instructions, response.metadata, response.error) == ("Count.", {"a": "b"}, None)
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 5


def test_an_answer_comes_in_events(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="scripted", input="/think Hm.\n/tokens 5", stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    thoughts = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
    assert ("".join(deltas), "".join(thoughts).strip()) == ("t0 t1 t2 t3 t4 ", "Hm.")
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    last = events[-1]
    assert last.type == "response.completed"
    assert [item.type for item in last.response.output] == ["reasoning", "message"]


@pytest.mark.parametrize("model", ["scripted", "codelab/coder"])
def test_a_tool_goes_to_the_caller_and_its_result_comes_back(client: openai.OpenAI, model: str) -> None:
    with client.responses.stream(model=model, input=ASK_WEATHER, tools=[WEATHER]) as stream:
        done = [event.arguments for event in stream if event.type == "response.function_call_arguments.done"]
        asked = stream.get_final_response()
    (call,) = calls_of(asked)
    assert (call.name, json.loads(call.arguments), done) == ("weather", {"city": "Riga"}, [call.arguments])
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    own = [said(ASK_WEATHER), *(item.model_dump(exclude_none=True) for item in asked.output), result]
    for fields in ({"input": own}, {"input": [result], "previous_response_id": asked.id}):
        told = client.responses.create(model=model, tools=[WEATHER], **fields)
        assert (told.output_text, told.status) == ("It rains.", "completed")


def test_items_may_be_named_instead_of_sent(client: openai.OpenAI) -> None:
    asked = client.responses.create(model="scripted", input="/say Let me look.\n" + ASK_WEATHER, tools=[WEATHER])
    named: Any = [{"type": "item_reference", "id": item.id} for item in asked.output]
    result: Any = {"type": "function_call_output", "call_id": calls_of(asked)[0].call_id, "output": "rain"}
    told = client.responses.create(
        model="scripted", input=[said("/say Let me look.\n" + ASK_WEATHER), *named, result], tools=[WEATHER]
    )
    assert told.output_text == "It rains."


def test_a_custom_tool_gets_its_text(client: openai.OpenAI) -> None:
    script = '/call apply_patch {"input": "*** Begin Patch"}\n/say Done.'
    custom: Any = {"type": "custom", "name": "apply_patch", "description": "Edit files."}
    asked = client.responses.create(model="scripted", input=script, tools=[custom])
    (item,) = asked.output
    assert item.type == "custom_tool_call"
    assert (item.name, item.input) == ("apply_patch", "*** Begin Patch")
    result: Any = {"type": "custom_tool_call_output", "call_id": item.call_id, "output": "ok"}
    told = client.responses.create(model="scripted", input=[result], tools=[custom], previous_response_id=asked.id)
    assert told.output_text == "Done."


@pytest.mark.parametrize("model", ["openai/gpt-5-mini", "codelab/coder"])
def test_a_provider_gets_its_thoughts_back_within_a_loop_of_tools(
    provided: openai.OpenAI, provider: Provider, model: str
) -> None:
    ask = said('tokens=0 reasoning=LetMeThink call=weather arguments={"city":"Riga"}')
    asked = provided.responses.create(model=model, input=[ask], tools=[WEATHER], store=False)
    assert [item.type for item in asked.output] == ["reasoning", "function_call"]
    own: Any = [item.model_dump(exclude_none=True) for item in asked.output]
    assert own[0]["encrypted_content"]
    result: Any = {"type": "function_call_output", "call_id": calls_of(asked)[0].call_id, "output": "rain"}
    provided.responses.create(model=model, input=[ask, *own, result], tools=[WEATHER], store=False)
    *_, answer, _ = provider.requests[-1]["messages"]
    assert (answer["role"], answer["reasoning_content"]) == ("assistant", "LetMeThink")


def test_a_typed_answer_is_parsed(provided: openai.OpenAI, provider: Provider) -> None:
    class Out(BaseModel):
        reasoning: str
        answer: str

    with pytest.raises(ValueError, match="w0"):
        # The provider's own text is not JSON; what it is asked for has the schema in its order.
        provided.responses.parse(model="openai/gpt-5-mini", input="typed please", text_format=Out)
    schema = provider.requests[-1]["response_format"]["json_schema"]
    assert list(schema["schema"]["properties"]) == ["reasoning", "answer"]
    assert schema["strict"] is True


async def test_the_async_client_works_as_well(service: Service) -> None:
    key = await asyncio.to_thread(key_of, service, "llm")
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with (
        openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=key, http_client=http) as client,
        client.responses.stream(model="scripted", input="/tokens 3") as stream,
    ):
        response = await stream.get_final_response()
    assert response.output_text == "t0 t1 t2 "


# What is stored


def test_a_stored_response_is_read_listed_and_deleted(client: openai.OpenAI) -> None:
    created = client.responses.create(model="scripted", input="/think Hm.\n/say Hello.", instructions="Be brief.")
    read = client.responses.retrieve(created.id)
    assert read.model_dump(exclude={"completed_at"}) == created.model_dump(exclude={"completed_at"})
    items = client.responses.input_items.list(created.id).data
    texts = [item.model_dump()["content"][0]["text"] for item in items]
    assert texts == ["/think Hm.\n/say Hello."]
    client.responses.delete(created.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(created.id)


def test_a_response_of_another_user_or_not_stored_does_not_exist(client: openai.OpenAI, service: Service) -> None:
    hidden = client.responses.create(model="scripted", input="/say Hello.", store=False)
    stored = client.responses.create(model="scripted", input="/say Hello.")
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(hidden.id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="scripted", input="/say Hello.", previous_response_id=hidden.id)
    assert (caught.value.param, caught.value.code) == ("previous_response_id", "previous_response_not_found")
    form = {"grant_type": "password", "client_id": "codelab-flutter-app", "username": "bob"}
    form["password"] = service.demo_password
    token = httpx.post(f"{service.url}/oauth/token", data=form, trust_env=False).json()["access_token"]
    with client_of(service, key=token) as bob, pytest.raises(openai.NotFoundError):
        bob.responses.retrieve(stored.id)


def test_a_response_in_the_background_is_fetched_and_followed_later(client: openai.OpenAI) -> None:
    created = client.responses.create(model="scripted", input="/tokens 60 40", background=True)
    assert created.status in ("queued", "in_progress")
    first = []
    for event in client.responses.retrieve(created.id, stream=True):
        first.append(event)
        if event.type == "response.output_text.delta":
            break
    rest = list(client.responses.retrieve(created.id, stream=True, starting_after=first[-1].sequence_number))
    texts = [event.delta for event in [*first, *rest] if event.type == "response.output_text.delta"]
    expected = "".join(f"t{number} " for number in range(60))
    assert "".join(texts) == expected
    assert rest[-1].type == "response.completed"
    assert client.responses.retrieve(created.id).output_text == expected
    again = list(client.responses.retrieve(created.id, stream=True))
    assert again[-1].sequence_number == rest[-1].sequence_number


def test_a_lost_stream_goes_on_where_it_was_cut(client: openai.OpenAI, service: Service) -> None:
    script = "/tokens 30 40"
    seen = []
    with client.responses.create(model="scripted", input=script, stream=True) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
    assert seen[0].type == "response.created"
    response = seen[0].response
    # The turn goes on for a moment without a client.
    rest = list(client.responses.retrieve(response.id, stream=True, starting_after=seen[-1].sequence_number))
    texts = [event.delta for event in [*seen, *rest] if event.type == "response.output_text.delta"]
    assert "".join(texts) == "".join(f"t{number} " for number in range(30))
    assert rest[-1].type == "response.completed"
    turns = "SELECT count(*) FROM agent_sessions_message WHERE content = %s AND role = 'user' AND turn_id = %s"
    assert service.rows(turns, script, response.id.removeprefix("resp_")) == [(1,)]


def test_a_response_in_the_background_is_stopped(client: openai.OpenAI) -> None:
    created = client.responses.create(model="scripted", input="/stall", background=True)
    assert client.responses.cancel(created.id).status == "cancelled"
    assert client.responses.cancel(created.id).status == "cancelled"


# Errors


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": "x", "previous_response_id": "resp_none"}, "previous_response_id"),
        ({"input": "x", "conversation": "conv_1"}, "conversation"),
        ({"input": "x", "temperature": "hot"}, "temperature"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input.0.role"),
        ({"input": "x", "background": True, "store": False}, "background"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(client: openai.OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="scripted", **fields)
    assert caught.value.param == param


def test_a_failure_has_its_status_or_is_the_last_event(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="scripted", input="/fail context_too_long")
    assert caught.value.code == "context_length_exceeded"
    *_, last = client.responses.create(model="scripted", input="/say Hello.\n/fail context_too_long", stream=True)
    assert last.type == "response.failed"
    assert code_of(last.response) == "context_length_exceeded"


def test_a_failed_response_in_the_background_says_why(client: openai.OpenAI) -> None:
    created = client.responses.create(model="scripted", input="/fail refused", background=True)
    until(lambda: client.responses.retrieve(created.id).status == "failed")
    assert code_of(client.responses.retrieve(created.id)) == "model_refused"


def test_codex_finds_its_list_of_models(service: Service) -> None:
    headers = {"Authorization": f"Bearer {key_of(service, 'llm')}"}
    answer = httpx.get(f"{service.url}/v1/models?client_version=0.171.0", headers=headers, trust_env=False).json()
    assert answer["models"] == []
    assert answer["data"]


def test_a_live_session_answers(service: Service) -> None:
    with client_of(service, "api:read", "api:write", "llm") as client:
        status, answer = service.post("/api/v1/sessions", {})
        assert status in (200, 201), answer
        headers = {"X-CodeLab-Session": json.loads(answer)["id"]}
        tools: Any = [{**WEATHER, "name": "read_file"}]
        first = client.responses.create(
            model="codelab/coder", input='/call read_file {"path": "a"}\n/say Read.', tools=tools, extra_headers=headers
        )
        (call,) = calls_of(first)
        result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "text"}
        second = client.responses.create(
            model="codelab/coder", input=[result], tools=tools, previous_response_id=first.id, extra_headers=headers
        )
    assert second.output_text == "Read."
