"""The agents there are, which one a session has, and giving it another one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema

from agents.roles import ROLES, Role
from sessions.api.commands import announce, store_timeout
from sessions.api.http import ERRORS, owned, require_clean
from sessions.api.rest import serializers
from sessions.api.rest.schemas import Switch
from sessions.database import in_thread
from sessions.models import Session
from sessions.turns.current_agent import choose_agent

router = Router(tags=["agents"])

#: The name of the session may have slashes in it.
ONE = "/agents/{path:session_id}"


class AgentOut(Schema):
    """An agent, as the original describes it; `emoji` is in its documents."""

    type: str
    name: str
    description: str
    allowed_tools: list[str]
    has_file_restrictions: bool
    file_patterns: list[str] = Field(description="The files that it may change.")
    emoji: str


class AgentList(Schema):
    agents: list[AgentOut]
    total: int


class AgentContext(Schema):
    """Which agent answers in a session, and which did before."""

    id: str
    session_id: str
    current_agent: str
    switch_count: int
    switch_history: list[Switch]
    last_switch_at: datetime | None
    created_at: datetime


class CurrentAgent(Schema):
    """The original's server nests it in `context`, the original's editor reads it flat: both are there."""

    context: AgentContext
    session_id: str
    current_agent: str
    switch_count: int
    agent_history: list[Switch]


class SwitchIn(Schema):
    """Who is to answer from here on."""

    target_agent: str = Field(min_length=1, max_length=64)
    reason: str | None = Field(None, max_length=1000)
    confidence: Any = Field(None, description="Sent by the original; it changes nothing.")


@router.get("/agents", response={200: AgentList, **ERRORS})
async def list_agents(request: HttpRequest) -> AgentList:
    """List the agents."""
    return AgentList(agents=[_agent(role) for role in ROLES.values()], total=len(ROLES))


@router.get(f"{ONE}/current", response={200: CurrentAgent, **ERRORS})
async def get_current_agent(request: HttpRequest, session_id: str) -> CurrentAgent:
    """Return which agent answers in a session."""
    session = await owned(request, session_id)
    return await in_thread(_current)(session)


@router.post(f"{ONE}/switch", response={200: CurrentAgent, **ERRORS})
async def switch_agent(request: HttpRequest, session_id: str, body: SwitchIn) -> CurrentAgent:
    """Let another agent answer from the next message on."""
    require_clean(body.reason or "", body.target_agent)
    async with store_timeout() as deadline:
        session = await owned(request, session_id)
        if session.current_agent != body.target_agent:
            choose = in_thread(choose_agent)
            change = await choose(session.pk, body.target_agent, reason=body.reason, deadline=deadline)
            announce(change)
    return await get_current_agent(request, session_id)


def _agent(role: Role) -> AgentOut:
    return AgentOut(
        type=role.name,
        name=role.title,
        description=role.description,
        allowed_tools=list(role.tools),
        has_file_restrictions="**" not in role.writes,
        file_patterns=list(role.writes),
        emoji=role.emoji,
    )


def _current(session: Session) -> CurrentAgent:
    switches = serializers.switches(session)
    context = AgentContext(
        id=str(session.pk),
        session_id=session.key,
        current_agent=session.current_agent,
        switch_count=len(switches),
        switch_history=switches,
        last_switch_at=switches[-1]["timestamp"] if switches else None,
        created_at=session.created_at,
    )
    return CurrentAgent(
        context=context,
        session_id=session.key,
        current_agent=session.current_agent,
        switch_count=len(switches),
        agent_history=switches,
    )
