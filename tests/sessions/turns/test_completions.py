"""Completions: what the model gets, how they end, how long they are kept."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from agents.context import Window
from agents.events import StepFinished
from agents.loop import Limit
from llm.errors import ModelError
from llm.types import ModelImage, ModelRequest, ModelToolCall, TokenUsage
from llm.wire.requests import build_conversation, build_messages
from sessions import tasks
from sessions.api.completions.errors import CompletionError
from sessions.api.completions.turn_follower import End, Piece, Retracted, Text, collect
from sessions.api.errors import STATUS
from sessions.api.openai import requests
from sessions.api.openai.responses import ChunkWriter, completion
from sessions.api.openai.schemas import ChatRequest
from sessions.events import log
from sessions.models import Budget, Completion, EventKind, Message, Session, Turn
from sessions.results import Claim
from sessions.turns import completions, inbox
from sessions.turns.completions import CompletionRequest
from sessions.turns.sessions import open_session
from tests.sessions import story

pytestmark = pytest.mark.django_db(transaction=True)

HELLO: Any = {"role": "user", "content": "Hello."}
TOOL = {"name": "weather", "description": "", "parameters": {"type": "object"}}


def window(_: str) -> Window:
    return Window(tokens=100_000)


def begin_request(user: User, **fields: Any) -> Claim:
    accepted = completions.accept(user.pk, CompletionRequest(**{"model": "scripted", "messages": [HELLO], **fields}))
    claim = story.claim(accepted.turn_id, model="the server's")
    assert claim is not None
    assert claim.is_completion
    return claim


def finish(claim: Claim, *calls: str, reason: str = "tool_calls", broken: Sequence[str] = ()) -> list[str]:
    """Let the model ask for tools; return the kinds of the events."""
    asked = tuple(ModelToolCall(id=f"call_{i}", name=name, arguments={}) for i, name in enumerate(calls))
    wrong = {call.id: "cannot be read" for call in asked if call.name in broken}
    usage = TokenUsage(input_tokens=7, output_tokens=2, cached_tokens=3)
    finished = StepFinished(text="", tool_calls=asked, broken=wrong, reason=reason, usage=usage)
    step = story.step("", story.model_call(tokens=(7, 2)))
    return [event.kind for event in completions.finish(claim, step, finished).events]


def test_the_budgets_of_an_api_key_count_for_its_requests(alice: User) -> None:
    key = uuid.uuid4()
    budget = Budget.objects.create(api_key=key, limit=1)
    accepted = completions.accept(alice.pk, CompletionRequest(model="scripted", messages=[HELLO]), api_key=key)
    claim = story.claim(accepted.turn_id, model="the server's")
    assert claim
    assert claim.budgets == (budget.pk,)


def test_a_plain_model_is_the_turns_own_and_gets_what_was_sent(alice: User) -> None:
    claim = begin_request(alice, model="openai/x", messages=[HELLO], options={"temperature": 1, "max_tokens": 5})
    assert Turn.objects.get().model == "openai/x"
    request = completions.model_request(claim.turn_id, claim.agent, window)
    assert isinstance(request, ModelRequest)
    assert (request.model, request.max_output_tokens, dict(request.options)) == ("openai/x", 5, {"temperature": 1})
    assert [(message.role, message.content) for message in request.messages] == [("user", "Hello.")]


def test_names_images_and_strict_tools_reach_the_model(alice: User) -> None:
    parts = [
        {"type": "text", "text": "A"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "text", "text": "B"},
        {"type": "image_url", "image_url": {"url": "https://example.com/b.png", "detail": "low"}},
    ]
    tools = [
        {"type": "function", "function": {"name": name, "strict": strict}} for name, strict in (("f", None), ("g", 0))
    ]
    messages = [{"role": "user", "name": "alice", "content": content} for content in (parts, parts[1:])]
    asked = requests.chat(ChatRequest.model_validate({"model": "scripted", "messages": messages, "tools": tools}))
    claim = begin_request(alice, messages=asked.messages, tools=asked.tools)
    request = completions.model_request(claim.turn_id, claim.agent, window)
    assert isinstance(request, ModelRequest)
    first, second = request.messages
    assert (first.name, first.content, second.content) == ("alice", "A\nB", "B")
    a, b = ModelImage("https://example.com/a.png", at=1), ModelImage("https://example.com/b.png", detail="low")
    assert (first.images, second.images) == ((a, b), (replace(a, at=0), b))
    assert [tool.strict for tool in request.tools] == [None, False]


@pytest.mark.parametrize("name", ["openai/x", "codelab/coder"])
def test_thoughts_that_a_caller_sends_back_reach_the_provider_that_was_asked(
    alice: User, name: str, settings: Settings
) -> None:
    settings.CODELAB_MODEL = "openai/x"
    thoughts = {"reasoning_content": "Hm.", "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "a": 1}]}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call], **thoughts},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ]
    asked = requests.chat(ChatRequest.model_validate({"model": name, "messages": messages}))
    claim = begin_request(alice, model=name, agent=asked.agent, messages=asked.messages)
    request = completions.model_request(claim.turn_id, claim.agent, window)
    assert isinstance(request, ModelRequest)
    sent = build_conversation(request)[-2]
    assert json.dumps({field: sent[field] for field in thoughts}) == json.dumps(thoughts)
    # Fallbacks of other providers.
    for other in (replace(request, model="groq/y"), replace(request, model="openrouter/openai/x")):
        assert not thoughts.keys() & build_conversation(other)[-2].keys()


def test_tool_calls_complete_the_turn_at_once(alice: User) -> None:
    claim = begin_request(alice, tools=[TOOL])
    assert finish(claim, "weather", "weather")[-1] == EventKind.TURN_COMPLETED
    outcome = completions.turn_result(claim.turn_id)
    assert (outcome.finish_reason, outcome.input_tokens, outcome.cached_tokens) == ("tool_calls", 7, 3)


def test_an_id_that_the_conversation_has_is_not_used_again(alice: User) -> None:
    before = [
        HELLO,
        {"role": "assistant", "content": "", "tool_calls": [{"id": "call_0", "name": "weather", "arguments": {}}]},
        {"role": "tool", "content": "rain", "tool_call_id": "call_0"},
    ]
    finish(begin_request(alice, tools=[TOOL], messages=before), "weather")
    (call,) = Message.objects.get(role="assistant").tool_calls
    assert call["id"] != "call_0"


def test_an_agent_continues_with_errors_for_tools_that_do_not_exist(alice: User) -> None:
    claim = begin_request(alice, model="codelab/coder", agent="coder", tools=[TOOL])
    assert finish(claim, "rm", "weather", broken=["weather"])[-1] == EventKind.TURN_QUEUED
    again = story.claim(claim.turn_id)
    assert again is not None
    request = completions.model_request(again.turn_id, again.agent, window)
    assert isinstance(request, ModelRequest)
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "tool", "tool"]
    results = [message.content for message in request.messages[-2:]]
    assert results == ["Error: the tool `rm` does not exist. Available: weather.", "Error: cannot be read"]
    # With one that is there, the caller hears of that one alone.
    assert finish(again, "rm", "weather")[-1] == EventKind.TURN_COMPLETED
    calls = Message.objects.filter(role="assistant").order_by("-number")[0].tool_calls
    assert [call["name"] for call in calls] == ["weather"]


def test_an_incomplete_call_never_reaches_the_caller(alice: User) -> None:
    claim = begin_request(alice, tools=[TOOL])
    finish(claim, "weather", reason="length", broken=["weather"])
    assert completions.turn_result(claim.turn_id).finish_reason == "length"
    assert Message.objects.get(role="assistant").tool_calls == []


@pytest.mark.parametrize("written", ['{"city": "Ro', "[1]", '{"n": 1e400}', '{"text": "\\u0000"}'])
def test_a_plain_models_broken_arguments_go_to_the_caller_as_they_are(alice: User, written: str) -> None:
    claim = begin_request(alice, tools=[TOOL])
    call = ModelToolCall(id="c", name="weather", arguments={}, raw_arguments=written)
    finished = StepFinished(text="", tool_calls=(call,), broken={"c": "cannot be read"}, reason="tool_calls")
    completions.finish(claim, story.step("", story.model_call(tokens=(7, 2))), finished)
    end = completions.turn_result(claim.turn_id)
    (event,) = (each for each in log.since(claim.session_id, 0) if each.payload.get("role") == "assistant")
    answer = completion([], End(end.finish_reason, end, event.payload["tool_calls"]), claim.turn_id, "m")
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == written
    # The caller sends it back with what it thinks of it.
    said: Any = [HELLO, choice["message"], {"role": "tool", "tool_call_id": "c", "content": "broken"}]
    wanted = requests.chat(ChatRequest.model_validate({"model": "scripted", "messages": said}))
    again = story.claim(completions.accept(alice.pk, wanted).turn_id)
    request = completions.model_request(again.turn_id, again.agent, window)
    assert isinstance(request, ModelRequest)
    (sent,) = build_messages(request.messages)[1]["tool_calls"]
    assert isinstance(json.loads(sent["function"]["arguments"]), dict)


def test_every_failure_of_a_turn_has_a_status_of_its_own() -> None:
    kinds: list[type[ModelError]] = [ModelError, *ModelError.__subclasses__()]
    codes = {kind.code for kind in kinds} | set(Limit)
    codes |= {"budget_exhausted", "price_unknown", "provider_key_refused", "provider_key_unreadable", "tool_timed_out"}
    assert all(STATUS[code] != 500 for code in codes)


def test_old_requests_are_deleted_and_nothing_else(alice: User, settings: Settings) -> None:
    old, new, open_one = begin_request(alice), begin_request(alice), begin_request(alice)
    finish(old)
    finish(new)
    seen = open_session(alice.pk, "a session that people see")
    long_ago = timezone.now() - timedelta(days=settings.CODELAB_COMPLETION_DAYS, minutes=1)
    Session.objects.exclude(pk=new.session_id).update(updated_at=long_ago)
    tasks.tidy()
    assert set(Session.objects.values_list("pk", flat=True)) == {new.session_id, open_one.session_id, seen.pk}
    assert Completion.objects.count() == 2


def test_sessions_are_kept_for_as_long_as_the_operator_says(alice: User, settings: Settings) -> None:
    settings.CODELAB_SESSION_DAYS = 30
    old, used = open_session(alice.pk, "old"), open_session(alice.pk, "used")
    waiting = open_session(alice.pk, "waiting")
    inbox.accept_message(waiting.pk, "Still to be answered")
    Session.objects.exclude(pk=used.pk).update(updated_at=timezone.now() - timedelta(days=30, minutes=1))
    tasks.tidy()
    assert set(Session.objects.values_list("pk", flat=True)) == {used.pk, waiting.pk}
    assert not Session.objects.filter(pk=old.pk).exists()


END = End("stop", completions.TurnResult(finish_reason="stop", input_tokens=1, output_tokens=1))


async def test_the_text_of_a_lost_worker_is_not_repeated() -> None:
    async def pieces() -> AsyncGenerator[Piece]:
        for piece in (Text("one", "Hal"), Retracted(["one"]), Text("two", "Whole."), END):
            yield piece

    answer = completion(*await collect(pieces()), uuid.uuid4(), "m")
    assert answer["choices"][0]["message"]["content"] == "Whole."
    chunks = ChunkWriter(uuid.uuid4(), "m", include_usage=False)
    assert chunks.write(Retracted(["nothing of it was sent"])) == ""
    chunks.write(Text("one", "Hal"))
    with pytest.raises(CompletionError) as caught:
        chunks.write(Retracted(["one"]))
    assert caught.value.code == "answer_restarted"


def test_the_calls_of_a_stream_come_one_after_the_other() -> None:
    calls = [{"id": str(i), "name": "f", "arguments": {}} for i in range(2)]
    lines = ChunkWriter(uuid.uuid4(), "m", include_usage=False).write(replace(END, calls=calls))
    # The two parts of each call, the end, [DONE], and what follows the last line break.
    assert [line.count('"index":1,"') for line in lines.split("\n\n")] == [0, 0, 1, 1, 0, 0, 0]
