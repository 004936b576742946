"""What a provider wants back within a turn, and what two requests of a turn have in common."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from agents.context import Window
from llm.types import ModelRequest, ModelToolCall
from llm.wire.requests import build_conversation
from sessions.events import compaction
from sessions.models import Message, Session
from sessions.results import Claim, StepResult
from sessions.turns import attempts, tool_calls
from sessions.turns.provider_fields import MAX_CHARACTERS
from sessions.worker import prompt
from tests.sessions import story
from tests.sessions.story import begin, step

pytestmark = pytest.mark.django_db

THOUGHT = {"reasoning_details": [{"type": "reasoning.text", "z": 1, "a": "\x00 \ud800"}]}
SIGNATURE = {"extra_content": {"google": {"thought_signature": "c2lnLTE="}}}


def think(extra: dict[str, Any] = THOUGHT) -> StepResult:
    """A step of a provider that wants something back."""
    return step("", replace(story.model_call(), origin="openai"), extra=extra)


def read(call_id: str) -> ModelToolCall:
    return ModelToolCall(id=call_id, name="read_file", arguments={"path": "a.txt"}, extra=SIGNATURE)


def sent(claim: Claim) -> list[dict[str, Any]]:
    """What a provider gets of the next step."""
    messages, tools = prompt.model_input(claim.turn_id, "coder", Window(tokens=100_000))
    return build_conversation(ModelRequest(model="openai/fake", messages=messages, tools=tools))


def run(session: Session, claim: Claim, call_id: str, result: StepResult) -> Claim:
    """Take a step that calls a tool, and claim the turn again behind the tool's result."""
    tool_calls.request_tools(claim, result, [read(call_id)])
    tool_calls.record_tool_result(session.pk, call_id, content="text", failed=False)
    return story.claim(claim.turn_id)


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_it_comes_back_unchanged_within_the_turn_and_is_gone_after_it(session: Session) -> None:
    claim = run(session, begin(session), "c1", think())
    message = sent(claim)[2]
    assert json.dumps(message["reasoning_details"]) == json.dumps(THOUGHT["reasoning_details"])
    assert message["tool_calls"][0]["extra_content"] == SIGNATURE["extra_content"]
    attempts.complete(claim, step("Done."))
    later = begin(session, "And now?")
    assert "reasoning_details" not in json.dumps(sent(later))
    compaction.compact(claim.turn_id)
    assert not Message.objects.exclude(provider_fields="").exists()


def test_more_than_a_turn_needs_is_not_kept(session: Session) -> None:
    claim = run(session, begin(session), "c1", think({"reasoning_content": "x" * MAX_CHARACTERS}))
    assert not Message.objects.exclude(provider_fields="").exists()
    assert "reasoning_content" not in json.dumps(sent(claim))


def test_each_request_begins_with_the_one_before(session: Session) -> None:
    """Within a turn and across turns: providers charge a tenth for what they have read before."""
    claim = begin(session)
    requests = [sent(claim)]
    for number in range(3):
        claim = run(session, claim, f"c{number}", step("Let me see."))
        requests.append(sent(claim))
    attempts.complete(claim, step("Done."))
    requests.append(sent(begin(session, "And now?")))
    for before, after in pairwise(requests):
        assert after[: len(before)] == before
