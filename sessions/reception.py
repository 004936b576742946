"""Who answers a message: decided once, when its turn begins, and again only when the task seems to have changed.

The orchestrator answers greetings itself. What its user has chosen stays chosen. A model is asked with a short time
limit; when it fails, words decide (`agents.routing`). Nothing here is needed to go on: a turn whose worker died between
the choice and the answer has its agent already.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from agents import routing, smalltalk
from agents.roles import UNASSIGNED, routed
from llm import catalog
from llm.errors import ModelError, ModelTimedOut
from llm.types import Chunk, EndChunk, ModelRequest, ModelStream
from llm.types import Message as ModelMessage
from sessions import ledger, log
from sessions.changes import Change, Claimed, Used
from sessions.conversation import switch_agent
from sessions.lifecycle import lock_held
from sessions.models import Message, MessageRole, ModelCallPurpose, ToolCall
from sessions.queries import held_turn
from sessions.queue import is_single_agent


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the choice of an agent depends on."""

    text: str
    current: str
    #: Its user has chosen the agent.
    pinned: bool
    #: The agent had asked its user something; this is the answer.
    answering: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who is to answer, and what it took to find out."""

    #: None: the agent that the session is with.
    route: routing.Route | None = None
    #: None: no model was asked.
    used: Used | None = None


def question(turn_id: uuid.UUID) -> Question:
    """Return what the choice of an agent for a turn depends on."""
    session = held_turn(turn_id).session
    message = Message.objects.filter(turn=turn_id, role=MessageRole.USER).order_by("number").first()
    last = ToolCall.objects.filter(turn__session=session).exclude(turn=turn_id).order_by("-created_at").first()
    return Question(
        text=message.content if message else "",
        current=session.current_agent,
        pinned=session.pinned,
        answering=last is not None and last.tool == "ask_followup_question",
    )


def own_reply(asked: Question) -> str:
    """Return what the orchestrator says itself, or nothing: a greeting needs no agent and no model."""
    if is_single_agent() or asked.pinned or asked.current != UNASSIGNED:
        return ""
    return smalltalk.small_talk(asked.text)


def is_open(asked: Question) -> bool:
    """Say whether somebody else may have to answer than the agent that the session is with."""
    if is_single_agent() or asked.pinned:
        return False
    return routing.may_have_changed(asked.text, current=asked.current, agents=routed(), answering=asked.answering)


async def choose(asked: Question) -> Choice:
    """Choose the agent for a turn's first step, where that is open."""
    agents = routed()
    if catalog.is_scripted(settings.CODELAB_MODEL):
        route, used = routing.by_words(asked.text, agents=agents), None
    else:
        call = _Call()
        route = await routing.choose(asked.text, agents=agents, call=call.stream, current=asked.current)
        used = call.used()
    return Choice(route=None if route.agent == asked.current else route, used=used)


def assign(held: Claimed, choice: Choice) -> tuple[Claimed, Change]:
    """Store the choice; return the attempt as it goes on and what to publish. Raises StaleAttempt."""
    route = choice.route
    with transaction.atomic():
        session, turn = lock_held(held)
        if choice.used:
            ledger.record(session, turn, choice.used, agent=UNASSIGNED)
        if route is None:
            return held, Change()
        new = switch_agent(session, route.agent, reason=route.reason, confidence=str(route.confidence), turn_id=turn.pk)
        events = log.append(session, [replace(new, attempt=held.attempt)])
    return replace(held, agent=route.agent), Change(events=events)


class _Call:
    """The call of a model that chooses: passes its chunks on, and notes for the ledger what it takes."""

    def __init__(self) -> None:
        self._started_at = timezone.now()
        self._first_token_at: datetime | None = None
        self._end: EndChunk | None = None
        self._error_code = ""

    async def stream(self, messages: tuple[ModelMessage, ...]) -> AsyncGenerator[Chunk]:
        request = ModelRequest(
            model=settings.CODELAB_MODEL,
            messages=messages,
            first_token_timeout=routing.TIMEOUT,
            idle_timeout=routing.TIMEOUT,
        )
        chunks: ModelStream
        async with aclosing(catalog.stream(request)) as chunks:
            try:
                async for chunk in chunks:
                    self._first_token_at = self._first_token_at or timezone.now()
                    if isinstance(chunk, EndChunk):
                        self._end = chunk
                    yield chunk
            except ModelError as error:
                self._error_code = error.code
                raise

    def used(self) -> Used:
        """Return what it took, once it has been waited for: without an end or an error, in vain."""
        read, written = (self._end.input_tokens, self._end.output_tokens) if self._end else (0, 0)
        return Used(
            purpose=ModelCallPurpose.ROUTING,
            started_at=self._started_at,
            first_token_at=self._first_token_at,
            ended_at=timezone.now(),
            input_tokens=read,
            output_tokens=written,
            cost=catalog.cost(settings.CODELAB_MODEL, input_tokens=read, output_tokens=written),
            error_code=self._error_code or ("" if self._end else ModelTimedOut.code),
        )
