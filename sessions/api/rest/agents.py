"""Lists agents, returns a session's agent and switches it."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema

from agents.roles import ROLES, Role
from sessions.api.commands import announce, store_timeout
from sessions.api.http import ERRORS, require_clean, session_of
from sessions.api.rest import history
from sessions.api.rest.schemas import Switch
from sessions.database import in_thread
from sessions.turns.current_agent import choose_agent

router = Router(tags=["agents"])

#: A session's key may contain slashes.
ONE = "/agents/{path:session_id}"


class AgentOut(Schema):
    """An agent, with the fields of the original service and an `emoji`."""

    type: str = Field(alias="name")
    name: str = Field(alias="title")
    description: str
    allowed_tools: list[str] = Field(alias="tools")
    has_file_restrictions: bool
    file_patterns: list[str] = Field(alias="writes", description="The files that it may change.")
    emoji: str

    @staticmethod
    def resolve_has_file_restrictions(role: Role) -> bool:
        return "**" not in role.writes


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
    """A session's agent. The original server nests the fields in `context`, the original editor reads them flat."""

    context: AgentContext
    session_id: str
    current_agent: str
    switch_count: int
    agent_history: list[Switch]


class SwitchIn(Schema):
    """The agent that answers from now on."""

    target_agent: str = Field(min_length=1, max_length=64)
    reason: str | None = Field(None, max_length=1000)
    confidence: Any = Field(None, description="Accepted for the original clients, ignored.")


@router.get("/agents", response={200: AgentList, **ERRORS})
async def list_agents(request: HttpRequest) -> dict[str, Any]:
    """List the agents."""
    return {"agents": list(ROLES.values()), "total": len(ROLES)}


@router.get(f"{ONE}/current", response={200: CurrentAgent, **ERRORS})
async def get_current_agent(request: HttpRequest, session_id: str) -> CurrentAgent:
    """Return which agent answers in a session."""
    session = await session_of(request, session_id)
    switches = await in_thread(history.switches)(session)
    fields: dict[str, Any] = {
        "session_id": session.key,
        "current_agent": session.current_agent,
        "switch_count": len(switches),
    }
    context = AgentContext(
        id=str(session.pk),
        switch_history=switches,
        last_switch_at=switches[-1]["timestamp"] if switches else None,
        created_at=session.created_at,
        **fields,
    )
    return CurrentAgent(context=context, agent_history=switches, **fields)


@router.post(f"{ONE}/switch", response={200: CurrentAgent, **ERRORS})
async def switch_agent(request: HttpRequest, session_id: str, body: SwitchIn) -> CurrentAgent:
    """Let another agent answer from the next message on."""
    require_clean(body.reason or "", body.target_agent)
    async with store_timeout() as deadline:
        session = await session_of(request, session_id)
        if session.current_agent != body.target_agent:
            choose = in_thread(choose_agent)
            change = await choose(session.pk, body.target_agent, reason=body.reason, deadline=deadline)
            announce(change)
    return await get_current_agent(request, session_id)
