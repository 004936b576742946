"""Bodies below `/my/`, as the plugin sends them and as its schemas accept them."""

import uuid
from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema

from agents.roles import ROLES
from sessions.models import Project
from sessions.protocol.codes import MAX_FEEDBACK_LENGTH, MAX_MESSAGE_LENGTH

#: The plugin identifies users and agents by uuids. They are derived from our numbers and names.
ID_NAMESPACE = uuid.UUID("4b1d1e1c-6f0e-5f43-9d0c-0f3b6c1a7e55")


def agent_id(name: str) -> uuid.UUID:
    """Return the plugin's id of an agent."""
    return uuid.uuid5(ID_NAMESPACE, f"agent:{name}")


def user_id(owner_id: int) -> uuid.UUID:
    """Return the plugin's id of a user."""
    return uuid.uuid5(ID_NAMESPACE, f"user:{owner_id}")


def agent_name(wanted: str) -> str:
    """Return the name of the agent with this id, name or title, or an unknown text unchanged."""
    for role in ROLES.values():
        if wanted.casefold() in (role.name, role.title.casefold(), str(agent_id(role.name))):
            return role.name
    return wanted


class ProjectIn(Schema):
    name: str = Field(min_length=1, max_length=255)
    workspace_path: str | None = Field(None, max_length=500)


class ProjectChange(Schema):
    """Fields to change; a `workspace_path` of null removes the path."""

    name: str | None = Field(None, min_length=1, max_length=255)
    workspace_path: str | None = Field(None, max_length=500)


class ProjectOut(Schema):
    id: uuid.UUID
    user_id: uuid.UUID
    name: str
    workspace_path: str | None
    created_at: datetime
    updated_at: datetime

    @staticmethod
    def resolve_user_id(project: Project) -> uuid.UUID:
        return user_id(project.owner_id)


class ProjectList(Schema):
    projects: list[ProjectOut]
    total: int


class AgentConfig(Schema):
    tools: list[str]
    metadata: dict[str, Any]


class PluginAgent(Schema):
    id: uuid.UUID
    name: str
    status: Literal["ready", "busy", "error"]
    created_at: datetime
    config: AgentConfig


class PluginAgentList(Schema):
    agents: list[PluginAgent]
    total: int


class ChatOut(Schema):
    """A session; the plugin reads all fields but the title."""

    id: uuid.UUID
    created_at: datetime
    message_count: int
    title: str


class ChatList(Schema):
    sessions: list[ChatOut]
    total: int


class ChatMessageIn(Schema):
    content: str = Field(min_length=1, max_length=MAX_MESSAGE_LENGTH)
    target_agent: str | None = Field(None, max_length=64, description="The name or id of an agent.")


class PluginMessage(Schema):
    id: uuid.UUID
    content: str
    role: Literal["user", "assistant", "system"]
    timestamp: datetime = Field(alias="created_at")
    agent_id: uuid.UUID | None = None


class ChatMessages(Schema):
    """The newest messages, oldest first; `total` counts all."""

    messages: list[PluginMessage]
    total: int
    session_id: uuid.UUID


class RejectIn(Schema):
    reason: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH)


class ApprovalOut(Schema):
    success: bool = True
    approval_id: uuid.UUID
    status: str


class ToolResultIn(Schema):
    """The result of a tool."""

    status: Literal["completed", "failed"]
    result: dict[str, Any] | None = None
    error: str | None = Field(None, max_length=MAX_MESSAGE_LENGTH)


class ToolResultOut(Schema):
    success: bool = True
    tool_id: uuid.UUID
    status: Literal["completed", "failed"]
    message: str
