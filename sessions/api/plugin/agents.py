"""Lists agents for the plugin. They are files of the server (agents/roles), the same in every project."""

import uuid

from django.http import HttpRequest
from ninja import Router

from agents.roles import ROLES
from sessions.api.http import ERRORS, ErrorOut
from sessions.api.plugin.lookup import project_of
from sessions.api.plugin.schemas import AgentConfig, PluginAgent, PluginAgentList, agent_id
from sessions.database import in_thread
from sessions.errors import NotFound
from sessions.models import Project, Session, TurnStatus
from sessions.protocol.codes import ErrorCode, Rejected

router = Router()

ALL = "/projects/{uuid:project_id}/agents/"
ONE = ALL + "{uuid:agent}"


@router.get(ALL, response={200: PluginAgentList, **ERRORS})
async def list_agents(request: HttpRequest, project_id: uuid.UUID) -> PluginAgentList:
    """List the agents; those that run in a session of the project are busy."""
    agents = await _agents(await project_of(request, project_id))
    return PluginAgentList(agents=agents, total=len(agents))


@router.get(ONE, response={200: PluginAgent, **ERRORS})
async def get_agent(request: HttpRequest, project_id: uuid.UUID, agent: uuid.UUID) -> PluginAgent:
    """Return an agent."""
    for each in await _agents(await project_of(request, project_id)):
        if each.id == agent:
            return each
    raise NotFound(ErrorCode.UNKNOWN_AGENT, f"Agent `{agent}` does not exist.")


@router.post(ALL, response={409: ErrorOut, **ERRORS})
async def create_agent(request: HttpRequest, project_id: uuid.UUID) -> None:
    """Refuse to create an agent, because operators add them as files."""
    await project_of(request, project_id)
    raise _agents_are_fixed()


@router.put(ONE, response={409: ErrorOut, **ERRORS})
async def change_agent(request: HttpRequest, project_id: uuid.UUID, agent: uuid.UUID) -> None:
    """Refuse to change an agent."""
    await get_agent(request, project_id, agent)
    raise _agents_are_fixed()


@router.delete(ONE, response={409: ErrorOut, **ERRORS})
async def delete_agent(request: HttpRequest, project_id: uuid.UUID, agent: uuid.UUID) -> None:
    """Refuse to delete an agent."""
    await get_agent(request, project_id, agent)
    raise _agents_are_fixed()


def _agents_are_fixed() -> Rejected:
    text = "Clients cannot change agents. Ask the operator, who keeps them as files of the server."
    return Rejected(ErrorCode.AGENTS_ARE_FIXED, text)


async def _agents(project: Project) -> list[PluginAgent]:
    running = Session.objects.filter(project=project, turns__status=TurnStatus.RUNNING)
    busy = set(await in_thread(list)(running.values_list("current_agent", flat=True)))
    return [
        PluginAgent(
            id=agent_id(role.name),
            name=role.title,
            status="busy" if role.name in busy else "ready",
            created_at=project.created_at,
            config=AgentConfig(
                tools=list(role.tools),
                metadata={"type": role.name, "description": role.description, "emoji": role.emoji},
            ),
        )
        for role in ROLES.values()
    ]
