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
from agents.roles import ROLES, UNASSIGNED, Role, routed_roles
from agents.tools import ASK_FOLLOWUP_QUESTION
from llm import catalog, scripted
from llm.types import CallRecord, ModelMessage, ModelRequest, Observer
from sessions.models import Message, MessageRole, ToolCall
from sessions.results import AgentChoice, Claim
from sessions.turns.current_agent import is_single_agent
from sessions.worker import model_access
from sessions.worker.prompt import claimed_turn


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
        return (ROLES[UNASSIGNED], *routed_roles()) if self.plans else routed_roles()


def read_question(turn_id: uuid.UUID) -> Question:
    """Return what the choice of an agent for a turn depends on."""
    session = claimed_turn(turn_id).session
    message = Message.objects.filter(turn=turn_id, role=MessageRole.USER).order_by("number").first()
    last = ToolCall.objects.filter(turn__session=session).exclude(turn=turn_id).order_by("-created_at").first()
    return Question(
        text=message.content if message else "",
        current=session.current_agent,
        pinned=session.pinned,
        answering=last is not None and last.tool == ASK_FOLLOWUP_QUESTION,
        plans=session.client_plans,
    )


def own_reply(question: Question) -> str:
    """Return what the orchestrator says itself, or nothing: a greeting needs no agent and no model."""
    if is_single_agent() or question.pinned or question.current != UNASSIGNED:
        return ""
    return smalltalk.reply_to(question.text)


def is_open(question: Question) -> bool:
    """Say whether somebody else may have to answer than the agent that the session is with."""
    if is_single_agent() or question.pinned:
        return False
    return routing.needs_choice(
        question.text, current=question.current, agents=question.agents, is_answer=question.answering
    )


async def choose(question: Question, claim: Claim, observe: Observer) -> AgentChoice:
    """Choose the agent for a turn's first step. `observe` receives the model call, if there is one.

    Raises ModelCallDenied and StaleAttempt.
    """
    agents = question.agents
    calls: list[CallRecord] = []

    def collect(call: CallRecord) -> None:
        calls.append(call)
        observe(call)

    if catalog.is_scripted(settings.CODELAB_MODEL) and not scripted.has_route(question.text):
        route = routing.choose_by_keywords(question.text, agents=agents)
    else:
        route = await routing.choose(
            question.text,
            agents=agents,
            call=lambda messages: model_access.stream(claim, _request(messages), observe=collect),
            current=question.current,
        )
    return AgentChoice(route=None if route.agent == question.current else route, calls=tuple(calls))


def _request(messages: tuple[ModelMessage, ...]) -> ModelRequest:
    return ModelRequest(
        model=settings.CODELAB_MODEL,
        messages=messages,
        # Words decide sooner than a second model could.
        fallbacks=(),
        tries=1,
        first_token_timeout=routing.CHOICE_TIMEOUT_SECONDS,
        idle_timeout=routing.CHOICE_TIMEOUT_SECONDS,
    )
