"""Who answers a message: decided once, when its turn begins, and again only when the task seems to have changed.

The orchestrator answers greetings itself. What its user has chosen stays chosen. A model is asked with a short time
limit; when it fails, words decide (`agents.routing`). Nothing here is needed to go on: a turn whose worker died between
the choice and the answer has its agent already.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.conf import settings

from agents import routing, smalltalk
from agents.roles import ROLES, UNASSIGNED, Role, routed
from llm import catalog, scripted
from llm.calls import CallRecord, Observer
from llm.types import ModelMessage, ModelRequest
from sessions.billing import ledger
from sessions.models import Message, MessageRole, ModelCallPurpose, ToolCall
from sessions.results import Claimed
from sessions.turns.attempts import Choice
from sessions.turns.current_agent import is_single_agent
from sessions.worker import model_access
from sessions.worker.prompt import held_turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the choice of an agent depends on."""

    text: str
    current: str
    #: Its user has chosen the agent.
    pinned: bool
    #: The agent had asked its user something; this is the answer.
    answering: bool
    #: Somebody can approve a plan, so the orchestrator itself may be chosen, who makes one.
    plans: bool = False

    @property
    def agents(self) -> tuple[Role, ...]:
        """Return the agents to choose from."""
        return (ROLES[UNASSIGNED], *routed()) if self.plans else routed()


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
        plans=session.client_plans,
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
    return routing.may_have_changed(asked.text, current=asked.current, agents=asked.agents, answering=asked.answering)


async def choose(asked: Question, held: Claimed, tell: Observer) -> Choice:
    """Choose the agent for a turn's first step, where that is open. `tell` is told of the model call, if there is one.

    Raises CallRefused and StaleAttempt.
    """
    agents = asked.agents
    if catalog.is_scripted(settings.CODELAB_MODEL) and not scripted.chooses(asked.text):
        route, used = routing.by_words(asked.text, agents=agents), None
    else:
        made: list[CallRecord] = []

        def note(call: CallRecord) -> None:
            made.append(call)
            tell(call)

        route = await routing.choose(
            asked.text,
            agents=agents,
            call=lambda messages: model_access.stream(held, _request(messages), tell=note),
            current=asked.current,
        )
        used = ledger.used(made[0], ModelCallPurpose.ROUTING) if made else None
    return Choice(route=None if route.agent == asked.current else route, used=used)


def _request(messages: tuple[ModelMessage, ...]) -> ModelRequest:
    return ModelRequest(
        model=settings.CODELAB_MODEL,
        messages=messages,
        # Words decide sooner than a second model could.
        fallbacks=(),
        tries=1,
        first_token_timeout=routing.TIMEOUT,
        idle_timeout=routing.TIMEOUT,
    )
