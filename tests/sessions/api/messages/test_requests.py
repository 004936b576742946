"""What requests of the Messages API become, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from sessions.api.completions.errors import CompletionError
from sessions.api.completions.sealed import seal
from sessions.api.messages import requests
from sessions.api.messages.blocks import UNSIGNED
from sessions.api.messages.schemas import MessagesRequest
from sessions.turns.completions import CompletionRequest

PIXEL = "iVBORw0KGgo="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
MARK = {"type": "ephemeral"}
WEATHER = {"name": "weather", "description": "Tell it.", "input_schema": {"type": "object", "zeta": 1, "a": 2}}


def wanted(messages: Any = "Hi", **fields: Any) -> CompletionRequest:
    if not isinstance(messages, list):
        messages = [{"role": "user", "content": messages}]
    body = {"model": "openai/gpt-5-mini", "max_tokens": 100, "messages": messages, **fields}
    return requests.completion(MessagesRequest.model_validate(body))


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def call(**fields: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Riga"}, **fields}


def result(content: Any = "rain", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "c1", "content": content, **fields}


def test_instructions_come_first_without_the_clients_line_about_itself() -> None:
    line = "x-anthropic-billing-header: cc_version=2.1.197; cch=00000;"
    system = [text(line), text("You are a helper.", cache_control=MARK), text("Be short.")]
    rows = wanted(system=system).messages
    assert rows == [
        {"role": "system", "content": "You are a helper.", "cached": True},
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi"},
    ]
    assert wanted(system=f"{line}\nBe short.").messages[0]["content"] == "Be short."
    assert wanted(system="Be short.").messages[0] == {"role": "system", "content": "Be short."}


def test_instructions_in_the_middle_stay_there() -> None:
    rows = wanted([user(text("Hi")), {"role": "system", "content": "Now in French."}, assistant(text("Oui"))]).messages
    assert [(row["role"], row["content"]) for row in rows] == [
        ("user", "Hi"),
        ("system", "Now in French."),
        ("assistant", "Oui"),
    ]


def test_results_stand_before_what_the_user_says_with_them() -> None:
    shown = result([text("a"), IMAGE, text("b")], cache_control=MARK)
    rows = wanted([user(text("Go")), assistant(text("Let me look."), call()), user(text("and?"), shown)]).messages
    assert rows[1:] == [
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [{"id": "c1", "name": "weather", "arguments": {"city": "Riga"}}],
        },
        {
            "role": "tool",
            "content": "a\nb",
            "tool_call_id": "c1",
            "images": [{"url": f"data:image/png;base64,{PIXEL}"}],
            "cached": True,
        },
        {"role": "user", "content": "and?"},
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [("no such file", "Error: no such file"), ("Error: no such file", "Error: no such file"), ("", "Error: the tool")],
)
def test_a_failed_result_says_so(content: str, expected: str) -> None:
    row = wanted([user(text("Go")), assistant(call()), user(result(content, is_error=True))]).messages[-1]
    assert row["content"].startswith(expected)
    assert row["failed"] is True


def test_images_keep_their_place_in_the_text() -> None:
    url = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    (row,) = wanted([user(text("before"), url, text("after"), IMAGE)]).messages
    assert row["content"] == "before\nafter"
    assert row["images"] == [{"url": "https://example.org/a.png", "at": 6}, {"url": f"data:image/png;base64,{PIXEL}"}]


def test_documents_are_read_as_text() -> None:
    plain = {"type": "text", "media_type": "text/plain", "data": "One. Two."}
    blocks = [
        {"type": "document", "source": plain, "title": 'A "b"'},
        {"type": "document", "source": {"type": "content", "content": [text("Three."), IMAGE]}},
        {"type": "search_result", "source": "https://example.org", "title": "Found", "content": [text("Four.")]},
    ]
    (row,) = wanted([user(*blocks)]).messages
    assert row["content"] == (
        "<document title=\"A 'b'\">\nOne. Two.\n</document>\n<document>\nThree.\n</document>\n"
        '<search_result title="Found" source="https://example.org">\nFour.\n</search_result>'
    )
    assert len(row["images"]) == 1


PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
NESTED = "messages.0.content.0.source.content.0"
FILE = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
BITMAP = {"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": PIXEL}}


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        ([user(text("Read:"), PDF)], {}, "messages.0.content.1.source"),
        ([user(FILE)], {}, "messages.0.content.0.source"),
        ([user(BITMAP)], {}, "messages.0.content.0.source"),
        ([user(result([PDF]))], {}, "messages.0.content.0.content.0.source"),
        ([user({"type": "container_upload", "file_id": "f"})], {}, "messages.0.content.0"),
        ([user(call())], {}, "messages.0.content.0"),
        ([assistant(IMAGE)], {}, "messages.0.content.0"),
        ([user()], {}, "messages.0.content"),
        ([user(text(""))], {}, "messages.0.content"),
        ([{"role": "system", "content": [IMAGE]}], {}, "messages.0.content"),
        ([{"role": "system", "content": "Be short."}, assistant({"type": "server_tool_use"})], {}, "messages"),
        ([user({"type": "document", "source": {"type": "content", "content": [PDF]}})], {}, NESTED),
        ("Hi", {"tools": [WEATHER, WEATHER]}, "tools.1.name"),
        ("Hi", {"tools": [{**WEATHER, "input_schema": {"enum": ["a" * 2_000_001]}}]}, "tools"),
        ("Hi", {"tool_choice": {"type": "any"}}, "tool_choice"),
        ("Hi", {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name"),
        ("Hi", {"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ("Hi", {"thinking": {"type": "enabled", "budget_tokens": 10}}, "thinking.budget_tokens"),
        ("Hi", {"stop_sequences": ["x"] * 17}, "stop_sequences"),
        ("Hi", {"model": "claude-none"}, "model"),
        ("Hi", {"model": "codelab/none"}, "model"),
    ],
)
def test_what_cannot_be_served_is_named(messages: Any, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(CompletionError) as caught:
        wanted(messages, **fields)
    assert caught.value.param == param
    assert caught.value.status == (404 if param == "model" else 400)


def test_what_only_anthropics_servers_do_is_left_out() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
    used = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result"}]}
    it = wanted(
        [user(text("Hi")), assistant(used, found, text("Yes.")), assistant(used, found), user(text("And?"))],
        tools=[search, {**WEATHER, "defer_loading": True, "strict": True}],
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        metadata={"user_id": "u"},
        mcp_servers=[{"type": "url", "url": "https://example.org", "name": "x"}],
        something_new={"a": 1},
    )
    assert [row["role"] for row in it.messages] == ["user", "assistant", "user"]
    assert [tool["name"] for tool in it.tools] == ["weather"]
    assert it.options == {"max_tokens": 100}
    # A choice of a tool that was left out is left out as well.
    assert wanted(tools=[search], tool_choice={"type": "tool", "name": "web_search"}).options == {"max_tokens": 100}


def test_tools_keep_the_order_of_their_schema() -> None:
    (tool,) = wanted(tools=[{**WEATHER, "type": "custom", "strict": True, "cache_control": MARK}]).tools
    assert list(tool["parameters"]) == ["type", "zeta", "a"]
    assert (tool["strict"], tool["cached"], tool["description"]) == (True, True, "Tell it.")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "weather"}, {"tool_choice": {"type": "function", "function": {"name": "weather"}}}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"tool_choice": "auto", "parallel_tool_calls": False}),
    ],
)
def test_a_choice_of_tools_is_translated(choice: dict[str, Any], expected: dict[str, Any]) -> None:
    assert wanted(tools=[WEATHER], tool_choice=choice).options == {"max_tokens": 100, **expected}


def test_parameters_are_translated() -> None:
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    options = wanted(
        stop_sequences=["END", ""],
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        thinking={"type": "adaptive", "display": "summarized"},
        output_config={"effort": "high", "format": {"type": "json_schema", "schema": schema}, "task_budget": {}},
    ).options
    assert options == {
        "max_tokens": 100,
        "stop": ["END"],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "thinking": {"type": "adaptive"},
        "reasoning_effort": "high",
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    }
    thinking = {"type": "enabled", "budget_tokens": 2048}
    assert wanted(thinking=thinking, output_config={"effort": "new"}).options["thinking"] == thinking
    assert "thinking" not in wanted(thinking={"type": "of_tomorrow"}).options


CLOSED = {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "is_strict"),
    [
        (CLOSED, True),
        ({"type": "array", "items": CLOSED}, True),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "additionalProperties": True}, False),
        ({**CLOSED, "properties": {"b": {"type": "object"}}}, False),
        ({"anyOf": [CLOSED, {**CLOSED, "required": None}]}, False),
    ],
)
def test_only_a_schema_that_all_providers_take_as_strict_is_strict(schema: dict[str, Any], is_strict: bool) -> None:
    options = wanted(output_config={"format": {"type": "json_schema", "schema": schema}}).options
    assert options["response_format"]["json_schema"].get("strict", False) is is_strict


def test_thoughts_go_back_with_the_name_of_their_provider() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "real"}
    redacted = {"type": "redacted_thinking", "data": "opaque"}
    history = [user(text("Go")), assistant(thought, redacted, call()), user(result())]
    row = wanted(history).messages[1]
    assert (row["origin"], row["extra"]) == ("anthropic", {"thinking_blocks": [thought, redacted]})


@pytest.mark.parametrize("is_beside", [False, True])
def test_thoughts_of_other_providers_come_back(is_beside: bool) -> None:
    extra = {"reasoning_content": "Hm.", "reasoning_details": [{"text": "Hm.", "signature": "s"}]}
    seen = {"type": "thinking", "thinking": "Hm.", "signature": UNSIGNED if is_beside else seal("deepseek", extra)}
    beside = [{"type": "redacted_thinking", "data": seal("deepseek", extra)}] if is_beside else []
    row = wanted([user(text("Go")), assistant(seen, text("So."), *beside, call()), user(result())]).messages[1]
    assert (row["origin"], row["extra"], row["content"]) == ("deepseek", extra, "So.")
    # An answer without calls needs them no more, once the user goes on.
    rows = wanted([user(text("Go")), assistant(seen, text("So."), *beside), user(text("And?"))]).messages
    assert all("extra" not in row for row in rows)


def test_thoughts_without_a_signature_go_nowhere() -> None:
    for signature in ("", UNSIGNED):
        seen = {"type": "thinking", "thinking": "Hm.", "signature": signature}
        assert "extra" not in wanted([user(text("Go")), assistant(seen, call()), user(result())]).messages[1]


@pytest.mark.parametrize("name", ["claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-haiku-4-5-latest"])
def test_anthropics_own_names_are_those_of_the_catalog(name: str) -> None:
    assert wanted(model=name).model == "anthropic/claude-haiku-4-5"


def test_nul_and_half_characters_are_replaced() -> None:
    it = wanted([user(text("a\x00b"))], system="c\ud800")
    assert [row["content"] for row in it.messages] == ["c\ufffd", "a\ufffdb"]
