"""Chooses the agent of a turn in its first step, and another one only when the task seems to have changed.

The orchestrator answers greetings itself. An agent that the user has chosen must never be replaced. A model chooses
within a short time limit; when it fails, keywords do (`agents.routing`).
"""

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
from sessions.turns.current_agent import is_routed
from sessions.worker import model_access
from sessions.worker.prompt import claimed_turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the choice of an agent depends on."""

    text: str
    current: str
    #: The user has chosen the agent.
    is_pinned: bool
    #: The text answers a question of the agent.
    is_answer: bool
    #: A client can approve plans, so the orchestrator, which makes them, can be chosen.
    has_plans: bool = False

    @property
    def agents(self) -> tuple[Role, ...]:
        return (ROLES[UNASSIGNED], *routed_roles()) if self.has_plans else routed_roles()


def read_question(turn_id: uuid.UUID) -> Question:
    """Return what the choice of an agent for a turn depends on."""
    session = claimed_turn(turn_id).session
    message = Message.objects.filter(turn=turn_id, role=MessageRole.USER, withdrawn=False).order_by("number").first()
    last = (
        ToolCall.objects.filter(turn__session=session, turn__replaced_by=None)
        .exclude(turn=turn_id)
        .order_by("-created_at")
        .first()
    )
    return Question(
        text=message.content if message else "",
        current=session.current_agent,
        is_pinned=session.pinned,
        is_answer=last is not None and last.tool == ASK_FOLLOWUP_QUESTION,
        has_plans=session.client_plans,
    )


def own_reply(question: Question) -> str:
    """Return the orchestrator's reply to a greeting, which needs no model, or an empty text."""
    if not is_routed(question.current) or question.is_pinned or question.current != UNASSIGNED:
        return ""
    return smalltalk.reply_to(question.text)


def needs_choice(question: Question) -> bool:
    """Return whether another agent than the session's may have to answer."""
    if not is_routed(question.current) or question.is_pinned:
        return False
    return routing.needs_choice(
        question.text, current=question.current, agents=question.agents, is_answer=question.is_answer
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
        # Keywords are faster than a second model.
        fallbacks=(),
        tries=1,
        first_token_timeout=routing.CHOICE_TIMEOUT_SECONDS,
        idle_timeout=routing.CHOICE_TIMEOUT_SECONDS,
    )
