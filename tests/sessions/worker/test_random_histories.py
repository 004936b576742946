"""Two workers take the steps of a session in any order, while its user does anything: both are told all of it.

What a worker knows of a session is right as long as no verb changes what a model has read.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from agents.context import Window
from sessions.models import OPEN_STATUSES, Message, MessageRole, Session, ToolCallStatus, Turn, TurnStatus
from sessions.protocol.codes import Rejected
from sessions.turns import attempts, inbox, tool_calls
from sessions.worker import histories, prompt
from tests.sessions import story
from tests.sessions.calls import read_call

pytestmark = pytest.mark.django_db

WINDOW = Window(tokens=100_000)
ACTIONS = 60


@pytest.fixture(autouse=True)
def _kept_at_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "MIN_MESSAGES", 1)
    # The workers of the test have a count of their own.
    monkeypatch.setattr(histories, "_tokens", 0)


class Story:
    """One session, its user and its workers, each with what it knows."""

    def __init__(self, session: Session, dice: Random, monkeypatch: pytest.MonkeyPatch) -> None:
        self.session, self.dice, self._patch = session, dice, monkeypatch
        self.workers: list[OrderedDict[Any, Any]] = [OrderedDict(), OrderedDict()]
        self.known = self.number = 0

    def go_on(self) -> None:
        """Do what a user does, or take a step. What is not possible now is refused."""
        self.number += 1
        actions = (self.send, self.change, self.stop, self.replace_newest, *[self.take_step] * 6)
        with suppress(Rejected):
            self.dice.choice(actions)()

    def send(self) -> None:
        when: dict[str, Any] = self.dice.choice([{}, {"steer": True}, {"steer": True}, {"interrupt": True}])
        inbox.accept_message(self.session.pk, f"message {self.number}", **when)

    def change(self) -> None:
        if waiting := inbox.waiting_messages(self.session.pk):
            message = self.dice.choice(waiting).pk
            if self.dice.random() < 0.5:
                inbox.withdraw_message(self.session.pk, message)
            else:
                inbox.edit_message(self.session.pk, message, f"edited {self.number}")

    def stop(self) -> None:
        attempts.cancel(self.session.pk, None)

    def replace_newest(self) -> None:
        messages = Message.objects.filter(session=self.session, role=MessageRole.USER, withdrawn=False)
        if newest := messages.order_by("-turn__position", "number").first():
            inbox.accept_message(self.session.pk, f"replaced {self.number}", replaces=newest.pk)

    def take_step(self) -> None:
        turn = self.session.turns.filter(status__in=OPEN_STATUSES).order_by("position").first()
        if turn is None:
            self.send()
        elif turn.status == TurnStatus.WAITING:
            call = turn.tool_calls.filter(status=ToolCallStatus.WAITING).first()
            assert call
            tool_calls.record_tool_result(self.session.pk, call.call_id, content=f"{self.number}", failed=False)
        else:
            self.answer(turn)

    def answer(self, turn: Turn) -> None:
        claim = story.claim(turn.pk)
        # A worker that knows nothing is told the same.
        assert self.read(turn, self.dice.choice(self.workers)) == self.read(turn, OrderedDict())
        result = story.step(f"answer {self.number}", replace(story.model_call(), origin="openai"))
        way = self.dice.random()
        if way < 0.4:
            attempts.complete(claim, result)
        elif way < 0.8:
            thought = replace(result, extra={"reasoning_content": "a thought"})
            tool_calls.request_tools(claim, thought, [read_call(f"call{self.number}", f"{self.number}.txt")])
        elif way < 0.9:
            attempts.release(claim)
        else:
            attempts.fail(claim, code="model_unavailable", text="Try again.", result=result)

    def read(self, turn: Turn, kept: OrderedDict[Any, Any]) -> prompt.Prompt:
        self._patch.setattr(histories, "_kept", kept)
        self.known += self.session.pk in kept
        return prompt.build_for(prompt.claimed_turn(turn.pk), "coder", WINDOW)


@pytest.mark.parametrize("seed", range(4))
def test_a_worker_that_knows_a_session_is_told_as_much_as_another(
    session: Session, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Story(session, Random(seed), monkeypatch)
    for _ in range(ACTIONS):
        it.go_on()
    assert it.known > ACTIONS / 10
