"""What callers of the Responses and the Messages API get back of an answer, and what their next request gives it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from llm.origins import origin_of
from sessions.api.completions.sealed import seal, unseal
from sessions.api.completions.turn_follower import End
from sessions.models import Completion, CompletionApi
from sessions.turns import completions
from sessions.turns.completion_messages import fitting_names
from sessions.turns.completions import CompletionRequest, TurnResult
from tests.llm.recorded import DONE, Recorded, ending, event, recorded, text
from tests.sessions.worker.worker import MODEL, Worker, look, worker_of

pytestmark = pytest.mark.django_db(transaction=True)

ASK = {"role": "user", "content": "Read it."}
LONG = "mcp__a_server_with_quite_a_long_name__and_a_tool_with_a_longer_one.read"
READ = {"name": LONG, "description": "Reads.", "parameters": {"type": "object", "properties": {}}}
SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln"}}}


@pytest.fixture
async def provider() -> AsyncIterator[Recorded]:
    async with recorded() as it:
        yield it


@pytest.fixture
async def worker(provider: Recorded, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    async with worker_of(provider.url, settings, monkeypatch) as it:
        yield it


async def answer(worker: Worker, owner: User, **fields: Any) -> TurnResult:
    fields = {"api": CompletionApi.MESSAGES, "model": MODEL, "messages": [ASK], **fields}
    turn_id = await look(lambda: completions.accept(owner.pk, CompletionRequest(**fields)).turn_id)
    await worker.run(turn_id)
    return await look(lambda: completions.turn_result(turn_id))


def call(name: str, **fields: Any) -> bytes:
    return event({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": name, "arguments": "{}"}, **fields}]})


@pytest.mark.parametrize("agent", ["", "coder"])
async def test_thoughts_and_signatures_come_back_to_their_provider(
    worker: Worker, alice: User, provider: Recorded, agent: str
) -> None:
    (fitting,) = fitting_names([LONG]).values()
    provider.play(event({"reasoning_content": "Hm."}), call(fitting, **SIGNED), *ending("tool_calls"))
    result = await answer(worker, alice, tools=[READ], agent=agent)
    end = End(result.finish_reason, result)
    assert (end.origin, end.extra) == (origin_of(MODEL), {"reasoning_content": "Hm.", "calls": {"c1": SIGNED}})
    assert provider.posts[0].body["tools"][0]["function"]["name"] == fitting

    found = unseal(seal(end.origin, end.extra))
    assert found is not None
    said = {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "name": LONG, "arguments": {}}]}
    history: list[dict[str, Any]] = [
        ASK,
        {**said, "origin": found[0], "extra": found[1]},
        {"role": "tool", "content": "x", "tool_call_id": "c1"},
    ]
    provider.play(*text("Done."), *ending())
    await answer(worker, alice, messages=history, tools=[READ], agent=agent)
    sent = provider.posts[1].body["messages"][-2]
    assert (sent["reasoning_content"], sent["tool_calls"][0]["extra_content"]) == ("Hm.", SIGNED["extra_content"])
    assert sent["tool_calls"][0]["function"]["name"] == fitting

    history[1]["origin"] = "another"
    await answer(worker, alice, messages=history, tools=[READ], agent=agent)
    sent = provider.posts[2].body["messages"][-2]
    assert ("reasoning_content" in sent, "extra_content" in sent["tool_calls"][0]) == (False, False)


async def test_callers_get_the_names_of_their_tools_whatever_the_model_got(
    worker: Worker, alice: User, provider: Recorded
) -> None:
    (fitting,) = fitting_names([LONG]).values()
    provider.play(call(fitting), *ending("tool_calls"))
    choice = {"type": "function", "function": {"name": LONG}}
    await answer(worker, alice, tools=[READ], options={"tool_choice": choice})
    stored = await look(lambda: Completion.objects.get().turn.messages.get(role="assistant").tool_calls)
    assert [each["name"] for each in stored] == [LONG]
    assert provider.posts[0].body["tool_choice"]["function"]["name"] == fitting
    # Chat completions get what they ask for, and their provider decides.
    await answer(worker, alice, tools=[READ], api=CompletionApi.CHAT)
    assert provider.posts[1].body["tools"][0]["function"]["name"] == LONG


def test_names_of_tools_fit_and_differ() -> None:
    names = ["read", "a.b", "a_b", "x" * 70, "x" * 71, "ü"]
    fitting = fitting_names(names)
    assert fitting == fitting_names(names)
    given = [fitting.get(name, name) for name in names]
    assert len(set(given)) == len(names)
    assert all(len(name) <= 64 and name.isascii() and "." not in name for name in given)
    assert given[0] == "read"


async def test_the_stop_text_and_what_was_cached_are_told(worker: Worker, alice: User, provider: Recorded) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cache_write_tokens": 4}}
    last = {"choices": [{"delta": {}, "finish_reason": "stop", "stop_reason": "END"}], "usage": usage}
    provider.play(*text("a"), b"data: " + json.dumps(last).encode() + b"\n\n", DONE)
    result = await answer(worker, alice, options={"stop": ["END", "x"]})
    assert (result.stop, result.cache_write_tokens, result.finish_reason) == ("END", 4, "stop")
    # Not one of the request's own: a word of the server's.
    assert (await answer(worker, alice, options={"stop": "x"})).stop == ""


async def test_chat_completions_store_nothing_more(worker: Worker, alice: User, provider: Recorded) -> None:
    provider.play(event({"reasoning_content": "Hm."}), *text("a"), *ending())
    result = await answer(worker, alice, api=CompletionApi.CHAT)
    assert (result.extra, result.origin, result.stop) == ({}, "", "")
