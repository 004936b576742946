"""Who answers a message: decided once, when its turn begins, and again only when the task seems to have changed.

The orchestrator answers greetings itself. What its user has chosen stays chosen. A model is asked with a short time
limit; when it fails, words decide (`agents.routing`). Nothing here is needed to go on: a turn whose worker died between
the choice and the answer has its agent already.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from django.conf import settings
from django.db import transaction

from agents import routing, smalltalk
from agents.roles import UNASSIGNED, routed
from llm import calls, catalog
from llm.types import Message as ModelMessage
from llm.types import ModelRequest, ModelStream
from sessions import log
from sessions.changes import Change, Claimed
from sessions.conversation import switch_agent
from sessions.lifecycle import lock_held
from sessions.models import Message, MessageRole, Session, ToolCall
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


def question(turn_id: uuid.UUID) -> Question:
    """Return what the choice of an agent for a turn depends on."""
    session = Session.objects.get(turns=turn_id)
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


async def choose(asked: Question) -> routing.Route | None:
    """Choose the agent for a turn's first step; None when it stays with the one that the session is with."""
    agents = routed()
    if is_single_agent() or asked.pinned:
        return None
    if not routing.may_have_changed(asked.text, current=asked.current, agents=agents, answering=asked.answering):
        return None
    if catalog.is_scripted(settings.CODELAB_MODEL):
        route = routing.by_words(asked.text, agents=agents)
    else:
        route = await routing.choose(asked.text, agents=agents, call=_call, current=asked.current)
    return None if route.agent == asked.current else route


def assign(held: Claimed, route: routing.Route) -> tuple[Claimed, Change]:
    """Store the choice; return the attempt as it goes on and what to publish. Raises StaleAttempt."""
    with transaction.atomic():
        session, turn = lock_held(held)
        new = switch_agent(session, route.agent, reason=route.reason, confidence=str(route.confidence), turn_id=turn.pk)
        events = log.append(session, [replace(new, attempt=held.attempt)])
    return replace(held, agent=route.agent), Change(events=events)


def _call(messages: tuple[ModelMessage, ...]) -> ModelStream:
    return calls.stream(
        ModelRequest(
            model=settings.CODELAB_MODEL,
            messages=messages,
            # Words decide sooner than a second model could.
            fallbacks=(),
            tries=1,
            first_token_timeout=routing.TIMEOUT,
            idle_timeout=routing.TIMEOUT,
        )
    )
