"""The tools of a session's client: which it can run, and which it defines itself.

The last client that says what it has counts for the session. An approval covers exactly what its user saw: a call that
waits is ended when the client changes the tool, and the model may ask for the tool as it is now.
"""

import math
import uuid
from collections.abc import Sequence

from agents.client_tools import ClientTool, InvalidTools, ToolDefinition, check
from sessions.database import atomic_until
from sessions.events import log
from sessions.events.log import LoggedEvent
from sessions.models import Session, ToolCallStatus
from sessions.protocol.codes import ErrorCode, Rejected
from sessions.results import Change
from sessions.turns.definitions import store_definitions
from sessions.turns.tool_calls import finish_call, open_calls
from sessions.turns.transitions import withdraw_approvals

CHANGED = (
    "Error: {tool} was not run. The client has changed this tool since the call. "
    "Read what it does now, and call it again if you still need it."
)


def set_client_tools(
    session_id: uuid.UUID,
    names: Sequence[str],
    definitions: Sequence[ToolDefinition] = (),
    *,
    deadline: float = math.inf,
) -> tuple[Change, frozenset[str]]:
    """Set the tools that the session's client can run, from the next step on: known `names` and its own definitions.

    Return the change, and the hashes of the definitions: this client runs calls of these. Raises Rejected, and TooLate.
    """
    if not definitions:
        same = {"client_tools": list(names), "tool_definitions": ""}
        Session.objects.filter(pk=session_id).exclude(**same).update(**same)
        return Change(), frozenset()
    tools = require_usable(names, definitions)
    digests = frozenset(tool.digest for tool in tools)
    with atomic_until(deadline):
        session = log.lock(session_id)
        is_new = store_definitions(session, tools)
        if not is_new and session.client_tools == list(names):
            return Change(), digests
        session.client_tools = list(names)
        session.save(update_fields=["client_tools", "tool_definitions"])
        return _end_changed_calls(session, {tool.name: tool for tool in tools}), digests


def require_usable(names: Sequence[str], definitions: Sequence[ToolDefinition]) -> tuple[ClientTool, ...]:
    """Return the tools that a client defines. Raises Rejected."""
    try:
        return check(definitions, names)
    except InvalidTools as error:
        raise Rejected(ErrorCode.INVALID_TOOLS, str(error)) from None


def _end_changed_calls(session: Session, tools: dict[str, ClientTool]) -> Change:
    """End the calls of tools that are not what they were, unless a client runs them already."""
    events: list[LoggedEvent] = []
    ready: uuid.UUID | None = None
    for call in open_calls(session.pk).filter(definition__isnull=False, shown_at=None).select_related("turn"):
        tool = tools.get(call.tool)
        if tool is None or tool.digest == call.definition_digest:
            continue
        withdraw_approvals(call=call)
        change = finish_call(session, call, ToolCallStatus.FAILED, CHANGED.format(tool=call.tool))
        events += change.events
        ready = ready or change.ready
    return Change(events=events, ready=ready)
