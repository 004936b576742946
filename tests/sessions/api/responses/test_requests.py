"""Requests of the Responses API: what items and tools become, and what is refused."""

import json
from base64 import b64encode
from typing import Any

import pytest
from openai.types.responses import Response as OpenAIResponse

from sessions.api.completions.bodies import MAX_BYTES
from sessions.api.completions.errors import CompletionError
from sessions.api.completions.sealed import seal
from sessions.api.responses.conversation import items_of
from sessions.api.responses.requests import LIVE, Known, translate
from sessions.api.responses.resource import Response
from sessions.api.responses.schemas import ResponsesRequest
from sessions.api.responses.tools import MAX_NAME_LENGTH, describe, provider_name
from sessions.turns.completions import CompletionRequest
from tests.sessions.api.responses.test_events import TURN_ID

ORIGIN = "anthropic"
THOUGHTS = {"thinking_blocks": [{"type": "thinking", "thinking": "Hm", "signature": "abc"}]}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def read(known: Known | None = None, **fields: Any) -> CompletionRequest:
    body = ResponsesRequest.model_validate({"model": "openai/gpt-5-mini", "input": "Hello", **fields})
    return translate(body, known or Known())


def rows(*items: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    return read(input=list(items), **fields).messages


def call(call_id: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "shell", "arguments": "{}", **fields}


def output(call_id: str, value: Any = "ok", kind: str = "function_call_output") -> dict[str, Any]:
    return {"type": kind, "call_id": call_id, "output": value}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def refusal(**fields: Any) -> CompletionError:
    with pytest.raises(CompletionError) as caught:
        read(**fields)
    return caught.value


def test_a_text_is_a_message_of_the_user_and_instructions_come_first() -> None:
    request = read(instructions="Be brief.")
    assert request.messages == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert (request.api, request.is_stored, request.is_background) == ("responses", True, False)


def test_thoughts_text_and_calls_are_one_answer() -> None:
    thoughts = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal(ORIGIN, THOUGHTS)}
    text = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]}
    messages = rows(user("Hi"), thoughts, text, call("c1"), call("c2"), output("c1"), output("c2"), text)
    assert [row["role"] for row in messages] == ["user", "assistant", "tool", "tool", "assistant"]
    answer = messages[1]
    assert (answer["content"], answer["origin"]) == ("Let me look.", ORIGIN)
    assert answer["extra"] == THOUGHTS
    assert [each["id"] for each in answer["tool_calls"]] == ["c1", "c2"]


def test_thoughts_of_another_service_and_of_earlier_answers_are_left_out() -> None:
    foreign = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAABpM0Yj"}
    own = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": seal(ORIGIN, THOUGHTS)}
    text = {"role": "assistant", "content": "Hello."}
    assert rows(user("Hi"), foreign, own, text, user("Bye")) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Bye"},
    ]


def test_the_order_of_keys_is_kept() -> None:
    arguments = '{"zeta": 1, "b": 2, "reasoning": 3, "a": 4}'
    (_, answer, _) = rows(user("Hi"), call("c1", arguments=arguments), output("c1"))
    assert list(answer["tool_calls"][0]["arguments"]) == ["zeta", "b", "reasoning", "a"]


def test_arguments_that_a_model_has_broken_stay_as_they_are() -> None:
    (_, answer, _) = rows(user("Hi"), call("c1", arguments='{"city": "Ro'), output("c1"))
    assert answer["tool_calls"][0]["arguments"] == '{"city": "Ro'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ok", "ok"),
        ([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}], "a\nb"),
        ({"content": "no", "success": False}, '{"content": "no", "success": false}'),
        ([1, "two"], '[1, "two"]'),
        (None, ""),
        ("", ""),
    ],
)
def test_an_output_may_have_any_form(value: Any, text: str) -> None:
    assert rows(user("Hi"), call("c1"), output("c1", value))[-1]["content"] == text


def test_images_stay_with_their_message_or_output() -> None:
    image = {"type": "input_image", "image_url": PIXEL, "detail": "low"}
    said = {
        "role": "user",
        "content": [{"type": "input_text", "text": "See"}, image, {"type": "input_text", "text": "?"}],
    }
    messages = rows(said, call("c1"), output("c1", [{"type": "input_text", "text": "shot"}, image]))
    assert messages[0] == {"role": "user", "content": "See\n?", "images": [{"url": PIXEL, "detail": "low", "at": 3}]}
    assert messages[-1]["images"] == [{"url": PIXEL, "detail": "low"}]


def test_calls_of_other_kinds_become_functions_and_those_of_servers_are_left_out() -> None:
    shell = {"type": "local_shell_call", "id": "l1", "call_id": "c1", "action": {"type": "exec", "command": ["ls"]}}
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "x"}}
    messages = rows(user("Hi"), searched, shell, {"type": "local_shell_call_output", "id": "c1", "output": "a.py"})
    assert messages[1]["tool_calls"] == [
        {"id": "c1", "name": "local_shell", "arguments": {"action": {"type": "exec", "command": ["ls"]}}}
    ]
    assert messages[2] == {"role": "tool", "content": "a.py", "tool_call_id": "c1"}


def test_a_custom_tool_is_a_function_with_one_text() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    custom = {"type": "custom", "name": "apply_patch", "description": "Edit files.", "format": grammar}
    used = {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin"}
    request = read(
        input=[user("Hi"), used, output("c1", kind="custom_tool_call_output")],
        tools=[custom],
        tool_choice={"type": "custom", "name": "apply_patch"},
    )
    (tool,) = request.tools
    assert tool["parameters"]["required"] == ["input"]
    assert "start: /.+/" in tool["description"]
    assert request.options["tool_choice"] == {"type": "function", "function": {"name": "apply_patch"}}
    assert request.messages[1]["tool_calls"][0]["arguments"] == {"input": "*** Begin"}
    assert describe(request.tools, request.details["tools"]) == [custom]
    items = list(items_of(request.messages, request.details["tools"], "k"))
    assert [item["type"] for item in items] == ["message", "custom_tool_call", "custom_tool_call_output"]
    assert items[1]["input"] == "*** Begin"


def test_a_namespace_is_flattened_and_tools_of_servers_are_dropped() -> None:
    spawn = {"type": "function", "name": "spawn", "description": "", "parameters": {"type": "object"}, "strict": False}
    namespace = {"type": "namespace", "name": "agents", "description": "Agents.", "tools": [spawn]}
    request = read(
        tools=[namespace, {"type": "web_search", "external_web_access": True}, {"type": "tool_search"}],
        input=[user("Hi"), call("c1", name="spawn", namespace="agents"), output("c1")],
    )
    assert [tool["name"] for tool in request.tools] == ["agents__spawn"]
    assert request.messages[1]["tool_calls"][0]["name"] == "agents__spawn"
    (described,) = describe(request.tools, request.details["tools"])
    assert (described["type"], described["name"]) == ("namespace", "agents")
    assert described["tools"][0]["name"] == "spawn"


def test_tools_may_come_with_the_input() -> None:
    tool = {"type": "function", "name": "late", "parameters": {"type": "object"}}
    request = read(input=[user("Hi"), {"type": "additional_tools", "role": "developer", "tools": [tool]}])
    assert [each["name"] for each in request.tools] == ["late"]
    assert request.messages == [{"role": "user", "content": "Hi"}]


def test_a_long_name_of_a_namespace_fits_and_stays_the_same() -> None:
    name = provider_name("n" * 60, "mcp__server")
    assert len(name) == MAX_NAME_LENGTH
    assert name == provider_name("n" * 60, "mcp__server") != provider_name("n" * 59, "mcp__server")


def test_options_are_in_chats_words() -> None:
    schema = {"type": "object", "properties": {"reasoning": {"type": "string"}, "answer": {"type": "string"}}}
    request = read(
        temperature=0.5,
        max_output_tokens=64,
        reasoning={"effort": "high", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "out", "schema": schema, "strict": True}, "verbosity": "low"},
        parallel_tool_calls=False,
    )
    assert request.options == {
        "temperature": 0.5,
        "max_tokens": 64,
        "reasoning_effort": "high",
        "verbosity": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "out", "schema": schema, "strict": True}},
    }
    assert list(request.options["response_format"]["json_schema"]["schema"]["properties"]) == ["reasoning", "answer"]


def test_only_allowed_tools_are_offered() -> None:
    tools = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in ("a", "b")]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "b"}]}
    request = read(tools=tools, tool_choice=allowed)
    assert [tool["name"] for tool in request.tools] == ["b"]
    assert request.options["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [], "instructions": "Be brief."}, "input"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"background": True, "store": False}, "background"),
        ({"tool_choice": {"type": "function", "name": "none"}}, "tool_choice"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input.0.id"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input.0"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input.0.content"),
        ({"input": [{}]}, "input.0.type"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input.0.call_id"),
        ({"input": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]}, "input.0.name"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input.0.call_id"),
        ({"model": "none"}, "model"),
    ],
)
def test_what_cannot_be_served_is_named(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


def test_a_file_of_text_is_read() -> None:
    data = "data:text/plain;base64," + b64encode(b"Hello").decode()
    part = {"type": "input_file", "filename": "a.txt", "file_data": data}
    assert rows({"role": "user", "content": [part]})[0]["content"] == "a.txt\n\nHello"


def test_what_follows_a_response_comes_behind_its_output() -> None:
    known = Known(
        rows=[{"role": "user", "content": "Hi"}],
        output=[{"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "shell", "arguments": "{}"}],
    )
    messages = read(known, input=[output("c1")], instructions="Be brief.").messages
    assert [row["role"] for row in messages] == ["system", "user", "assistant", "tool"]


def test_a_reference_is_the_item_itself() -> None:
    item = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "shell", "arguments": "{}"}
    messages = read(Known(items={"fc_1": item}), input=[user("Hi"), {"id": "fc_1"}, output("c1")]).messages
    assert messages[1]["tool_calls"][0]["id"] == "c1"
    live = read(LIVE, input=[user("Hi"), {"type": "item_reference", "id": "fc_1"}, output("c1")]).messages
    assert [row["role"] for row in live] == ["user", "assistant", "tool"]


def test_a_request_that_no_database_takes_is_made_storable() -> None:
    assert "\x00" not in json.dumps(read(input="a\x00b", metadata={"k": "\x00"}).messages)


def test_the_response_of_a_plain_request_is_openais() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    state = Response(TURN_ID, read(tools=[tool], metadata={"a": "b"})).state("queued")
    OpenAIResponse.model_validate(state)
    assert state["metadata"] == {"a": "b"}


def test_what_a_request_refers_to_is_bounded() -> None:
    text = {"type": "message", "id": "msg_1", "role": "assistant", "content": "x" * 100_000}
    repeated = refusal(known=Known(items={"msg_1": text}), input=[{"id": "msg_1"}] * 200)
    assert (repeated.status, repeated.param) == (400, "input.167")
    long = Known(rows=[user("x" * MAX_BYTES)])
    assert refusal(known=long, input="And now?").param == "previous_response_id"
