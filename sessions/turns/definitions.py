"""The stored definitions of a session's client-defined tools.

A session without any costs no statement. Callers that write have locked the session.
"""

import hashlib

from agents import client_tools
from agents.client_tools import ClientTool
from sessions.models import Session, ToolDefinitions


def definitions_of(session: Session) -> dict[str, ClientTool]:
    """Return the tools that the session's client has defined, by name, in the client's order."""
    if not session.tool_definitions:
        return {}
    text = ToolDefinitions.objects.filter(session=session).values_list("text", flat=True).first()
    return client_tools.load(text) if text else {}


def store_definitions(session: Session, tools: tuple[ClientTool, ...]) -> bool:
    """Store the tools in the place of those before. Return whether they differ. The caller saves the session."""
    text = client_tools.dump(tools) if tools else ""
    digest = hashlib.sha256(text.encode()).hexdigest() if text else ""
    if digest == session.tool_definitions:
        return False
    session.tool_definitions = digest
    if text:
        ToolDefinitions.objects.update_or_create(session=session, defaults={"text": text})
    else:
        ToolDefinitions.objects.filter(session=session).delete()
    return True
