"""Requests of callers who use other words than those of the model's provider (`ModelRequest.is_translated`)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm import remembered
from llm.errors import ModelOptionRefused
from llm.types import ModelImage, ModelMessage, ModelRequest, ModelToolCall, Tool
from llm.wire.answers import ModelReply
from llm.wire.history import NO_CALL, RESULTS_READ
from llm.wire.instructions import REMINDER
from llm.wire.requests import build_conversation, build_parameters
from llm.wire.thinking import fit_thinking

CLAUDE, GPT, LOCAL = "anthropic/claude-sonnet-5", "openai/gpt-5.4", "hosted_vllm/qwen"
MARK = {"type": "ephemeral"}
READ = Tool(name="read", description="Reads.", parameters={"type": "object", "properties": {}})
IMAGE = ModelImage("data:image/png;base64,aGk=")


def system(content: str, **fields: Any) -> ModelMessage:
    return ModelMessage(role="system", content=content, **fields)


def user(content: str, **fields: Any) -> ModelMessage:
    return ModelMessage(role="user", content=content, **fields)


def called(*ids: str, **fields: Any) -> ModelMessage:
    calls = tuple(ModelToolCall(id=each, name="read", arguments={}) for each in ids)
    return ModelMessage(role="assistant", content="", tool_calls=calls, **fields)


def result(call_id: str, content: str = "text", **fields: Any) -> ModelMessage:
    return ModelMessage(role="tool", content=content, tool_call_id=call_id, **fields)


def sent(model: str, *messages: ModelMessage, **fields: Any) -> list[dict[str, Any]]:
    return build_conversation(request(model, *messages, **fields))


def request(model: str, *messages: ModelMessage, **fields: Any) -> ModelRequest:
    fields = {"written_for": model, "is_translated": True, "tools": (READ,), **fields}
    return ModelRequest(model=model, messages=messages, **fields)


def marked(wire: list[dict[str, Any]]) -> list[int]:
    return [place for place, message in enumerate(wire) if "cache_control" in json.dumps(message)]


def test_a_callers_marks_go_to_providers_that_take_them_and_no_others() -> None:
    history = [system("a"), system("b", cached=True), user("x"), called("c1"), result("c1", cached=True)]
    assert marked(sent(CLAUDE, *history)) == [1, 4]
    assert sent(CLAUDE, *history)[1]["content"] == [{"type": "text", "text": "b", "cache_control": MARK}]
    assert marked(sent("openrouter/anthropic/claude-sonnet-5", *history)) == [1, 4]
    assert marked(sent(GPT, *history)) == []
    # Without marks the caller wants nothing kept, which would cost more.
    assert marked(sent(CLAUDE, system("a"), user("x"))) == []


def test_anthropic_gets_four_marks_at_most() -> None:
    history = [
        each for i in range(6) for each in (user(str(i), cached=True), ModelMessage(role="assistant", content="y"))
    ]
    kept = Tool(name="read", description="Reads.", parameters={}, cached=True)
    asked = request(CLAUDE, *history, user("end"), tools=(kept,))
    assert marked(build_conversation(asked)) == [6, 8, 10]
    assert build_parameters(asked)["tools"][0]["cache_control"] == MARK
    assert "cache_control" not in json.dumps(build_parameters(request(GPT, user("x"), tools=(kept,))))


def test_a_mark_survives_when_messages_are_joined() -> None:
    wire = sent(CLAUDE, user("a", cached=True), system("later"), called("c1"), result("c1"))
    assert (marked(wire), wire[0]["role"]) == ([0], "user")


def test_later_instructions_stay_where_they_are() -> None:
    history = [system("a"), system("b"), user("x"), called("c1"), result("c1"), system("Mind this.")]
    reminder = REMINDER.format("Mind this.")
    local = sent(LOCAL, *history)
    assert [message["role"] for message in local] == ["system", "user", "assistant", "tool", "user"]
    assert (local[0]["content"], local[-1]["content"]) == ("a\n\nb", reminder)
    assert [message["role"] for message in sent(CLAUDE, *history)][:2] == ["system", "system"]
    assert sent(GPT, *history)[-1] == {"role": "system", "content": "Mind this."}
    assert [message["role"] for message in sent(LOCAL, system("a"))] == ["system", "user"]
    # Claude Code writes them behind the first message. They are not the conversation's beginning.
    history = [system("a"), user("x"), system("Mind this."), called("c1"), result("c1")]
    assert [message["role"] for message in sent(GPT, *history)] == ["system", "user", "system", "assistant", "tool"]


def test_a_caller_may_write_behind_results_and_begin_the_answer() -> None:
    wire = sent(
        LOCAL, user("x"), called("c1"), result("c1"), user("Go on."), ModelMessage(role="assistant", content="So")
    )
    assert [message["role"] for message in wire] == ["user", "assistant", "tool", "user", "assistant"]
    strict = sent("mistral/devstral-latest", user("x"), called("c1"), result("c1"), user("Go on."))
    assert [message["content"] for message in strict][-2:] == [RESULTS_READ, "Go on."]


def test_ids_that_a_provider_would_refuse_are_replaced_in_calls_and_results() -> None:
    long = "call_" + "x" * 60 + "|1"
    wire = sent(CLAUDE, user("x"), called(long), result(long))
    call_id = wire[1]["tool_calls"][0]["id"]
    assert len(call_id) <= 40
    assert wire[2]["tool_call_id"] == call_id
    again = sent(CLAUDE, user("x"), called(long), result(long), user("y"))
    assert again[1]["tool_calls"][0]["id"] == call_id


def test_images_of_results_stand_where_the_provider_reads_them() -> None:
    history = [user("x"), called("c1"), result("c1", images=(IMAGE,))]
    assert [part["type"] for part in sent(CLAUDE, *history)[-1]["content"]] == ["text", "image_url"]
    assert [message["role"] for message in sent(GPT, *history)] == ["user", "assistant", "tool", "assistant", "user"]


def test_thoughts_go_back_to_their_provider_alone() -> None:
    blocks = {"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]}
    history = [user("x"), called("c1", extra=blocks, origin="anthropic"), result("c1")]
    assert sent(CLAUDE, *history)[1]["thinking_blocks"] == blocks["thinking_blocks"]
    assert "thinking_blocks" not in sent(GPT, *history)[1]
    unknown = [user("x"), called("c1", extra=blocks), result("c1")]
    assert "thinking_blocks" not in sent(CLAUDE, *unknown)[1]


ADAPTIVE, BUDGET = {"type": "adaptive"}, {"type": "enabled", "budget_tokens": 4_000}


@pytest.mark.parametrize(
    ("model", "options", "fitted"),
    [
        (CLAUDE, {"thinking": ADAPTIVE}, {"thinking": ADAPTIVE}),
        (CLAUDE, {"thinking": ADAPTIVE, "reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        (CLAUDE, {"thinking": BUDGET, "reasoning_effort": "high"}, {"thinking": BUDGET}),
        (CLAUDE, {"thinking": {"type": "disabled"}, "reasoning_effort": "high"}, {"thinking": {"type": "disabled"}}),
        (CLAUDE, {"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}),
        (CLAUDE, {"reasoning_effort": "none"}, {}),
        (CLAUDE, {"reasoning_effort": ["x"]}, {}),
        (CLAUDE, {"reasoning_effort": "high", "tool_choice": "required"}, {"tool_choice": "required"}),
        (GPT, {"thinking": ADAPTIVE}, {}),
        (GPT, {"thinking": ADAPTIVE, "reasoning_effort": "max"}, {"reasoning_effort": "high"}),
        (GPT, {"thinking": BUDGET}, {"reasoning_effort": "medium"}),
        (GPT, {"thinking": {"type": "disabled"}, "reasoning_effort": "high"}, {}),
        (GPT, {"reasoning_effort": "xhigh", "top_p": 1}, {"reasoning_effort": "xhigh", "top_p": 1}),
        ("gemini/gemini-2.5-pro", {"reasoning_effort": "xhigh"}, {"reasoning_effort": "high"}),
        ("gemini/gemini-2.5-pro", {"reasoning_effort": "minimal"}, {"reasoning_effort": "minimal"}),
        ("xai/grok-4.7", {"reasoning_effort": "xhigh"}, {"reasoning_effort": "high"}),
        ("xai/grok-4.7", {"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}),
        (LOCAL, {"thinking": ADAPTIVE, "reasoning_effort": "high", "top_p": 1}, {"top_p": 1}),
    ],
)
def test_each_provider_is_told_how_to_think_in_its_own_words(
    model: str, options: dict[str, Any], fitted: dict[str, Any]
) -> None:
    assert fit_thinking(options, model, None) == fitted
    assert fit_thinking(options, model, 100_000) == fitted


@pytest.mark.parametrize(("limit", "effort"), [(1_024, None), (2_000, "low"), (4_096, "medium"), (4_097, "high")])
def test_thoughts_leave_room_for_the_answer(limit: int, effort: str | None) -> None:
    assert fit_thinking({"reasoning_effort": "high"}, CLAUDE, limit).get("reasoning_effort") == effort


def test_chat_completions_get_their_options_as_they_are() -> None:
    options = {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}
    asked = request(LOCAL, user("x"), options=options, is_translated=False)
    assert build_parameters(asked) | options == build_parameters(asked)


def test_a_wish_that_a_provider_refuses_is_left_out_for_translated_requests_alone() -> None:
    remembered.forget()
    translated = request(GPT, user("x"), options={"top_k": 5, "verbosity": "low"})
    plain = request(GPT, user("x"), options={"top_k": 5, "verbosity": "low"}, is_translated=False)
    error = ModelOptionRefused(fields=frozenset({"top_k"}))
    assert not remembered.learn(plain, plain, error)
    assert remembered.learn(translated, translated, error)
    assert "top_k" not in build_parameters(remembered.adapt(translated))
    assert build_parameters(remembered.adapt(plain))["top_k"] == 5
    remembered.forget()


@pytest.mark.parametrize("field", ["stop_reason", "matched_stop"])
def test_the_stop_text_is_kept_where_a_server_names_it(field: str) -> None:
    reply = ModelReply()
    choice = {"delta": {"content": "a"}, "finish_reason": "stop", field: "END"}
    reply.receive(json.dumps({"choices": [choice]}).encode())
    (end,) = reply.end()
    assert (end.reason, end.stop) == ("stop", "END")  # type: ignore[union-attr]
    numbered = ModelReply()
    numbered.receive(json.dumps({"choices": [{**choice, field: 2}]}).encode())
    assert numbered.end()[-1].stop == ""  # type: ignore[union-attr]


def test_a_result_without_a_call_is_not_lost() -> None:
    wire = sent(LOCAL, user("x"), called("c1"), result("gone", "rain"), result("c1", "sun"), user("y"))
    assert [message["role"] for message in wire] == ["user", "assistant", "tool", "user"]
    assert wire[2]["content"] == "sun"
    assert wire[3] == {"role": "user", "content": f"{NO_CALL.format('rain')}\n\ny"}
    assert sent(LOCAL, result("gone", "rain")) == [{"role": "user", "content": NO_CALL.format("rain")}]
