"""Stored responses, as later requests refer to them."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.events import StepFinished
from llm.types import TokenUsage
from sessions.api.responses import stored
from sessions.models import CompletionApi
from sessions.turns import completions
from sessions.turns.completions import CompletionRequest
from tests.sessions import story

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_item_is_read_without_the_conversation_that_it_answers(alice: User, bob: User) -> None:
    messages = [{"role": "user", "content": "Hello."}]
    request = CompletionRequest(api=CompletionApi.RESPONSES, model="scripted", messages=messages, is_stored=True)
    turn_id = completions.accept(alice.pk, request).turn_id
    finished = StepFinished(text="Hi.", tool_calls=(), broken={}, reason="stop", usage=TokenUsage())
    completions.finish(story.claim(turn_id), story.step("Hi."), finished)
    item_id = f"msg_{turn_id.hex}_0"
    with CaptureQueriesContext(connection) as queries:
        known = stored.known(alice.pk, None, [item_id])
    assert known.items[item_id]["content"][0]["text"] == "Hi."
    assert not [each for each in queries if 'completion"."messages"' in each["sql"]]
    assert not stored.known(bob.pk, None, [item_id]).items
