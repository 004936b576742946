"""Reads: what a model is shown of a session, and what a client may ask about it. Nothing here writes."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import cast

from django.db.models import F

from agents.roles import role_of, routed
from agents.tools import offer
from llm.types import Message as ModelMessage
from llm.types import Role, Tool
from llm.types import ToolCall as ModelToolCall
from sessions import log
from sessions.changes import StaleAttempt
from sessions.judgement import offered_tools
from sessions.log import LoggedEvent, Page
from sessions.models import (
    OPEN_CALLS,
    OPEN_STATUSES,
    EventKind,
    Message,
    MessageRole,
    ModelCall,
    Session,
    ToolCall,
    Turn,
    TurnStatus,
)

#: Events that are replayed at most; whoever has missed more starts again from a snapshot.
REPLAY_LIMIT = 5000

NO_RESULT = "Error: this tool was never answered."


def model_input(turn_id: uuid.UUID, agent: str) -> tuple[tuple[ModelMessage, ...], tuple[Tool, ...]]:
    """Return what the model is given: the conversation, the agent's instructions first, and its tools."""
    session = held_turn(turn_id).session
    role = role_of(agent)
    names = offered_tools(session, role)
    prompt = role.instructions(tools=names, agents=routed(), mode=session.mode)
    return history(turn_id, prompt), offer(names, agents=[peer.name for peer in routed() if peer.name != agent])


def held_turn(turn_id: uuid.UUID) -> Turn:
    """Return a turn that a worker holds, with its session. Raises StaleAttempt when the session was deleted."""
    turn = Turn.objects.select_related("session").filter(pk=turn_id).first()
    if turn is None:
        raise StaleAttempt("the session was deleted")
    return turn


def history(turn_id: uuid.UUID, prompt: str) -> tuple[ModelMessage, ...]:
    """Return the conversation up to a turn as the model is to see it, the agent's instructions first.

    In the order of turns, not of arrival: a message that was sent during an earlier turn comes after its answer, and
    messages of later turns are not there yet.
    """
    turn = held_turn(turn_id)
    rows = Message.objects.filter(session_id=turn.session_id, turn__position__lte=turn.position, withdrawn=False)
    messages = [ModelMessage(role="system", content=prompt)]
    unanswered: list[str] = []
    for row in rows.order_by("turn__position", "number"):
        if row.role == MessageRole.TOOL:
            unanswered.remove(row.tool_call_id)
        elif unanswered:
            messages += _missing_results(unanswered)
        calls = tuple(ModelToolCall(**call) for call in row.tool_calls)
        unanswered += [call.id for call in calls]
        messages.append(
            ModelMessage(
                role=cast(Role, row.role), content=row.content, tool_calls=calls, tool_call_id=row.tool_call_id
            )
        )
    return tuple(messages + _missing_results(unanswered))


def _missing_results(unanswered: list[str]) -> list[ModelMessage]:
    """Answer calls whose turn ended without a result: providers refuse a history with an unanswered call."""
    missing = [ModelMessage(role="tool", content=NO_RESULT, tool_call_id=call_id) for call_id in unanswered]
    unanswered.clear()
    return missing


def news(session_id: uuid.UUID, after: int) -> Page:
    """Return the next events of a session; of one that is gone, that it was deleted, because its log is gone, too."""
    page = log.since(session_id, after)
    if not page and not Session.objects.filter(pk=session_id).exists():
        page.append(LoggedEvent(session_id, after + 1, EventKind.SESSION_DELETED, {}))
    return page


def can_replay(session_id: uuid.UUID, after: int) -> bool:
    """Say whether what lies behind a number can be told event by event: it is ours, and not too long ago."""
    last = Session.objects.values_list("last_number", flat=True).get(pk=session_id)
    return 0 <= last - after <= REPLAY_LIMIT


def open_turns(session_id: uuid.UUID) -> list[str]:
    """Return the ids of the session's turns that have not ended, in order."""
    turns = Turn.objects.filter(session_id=session_id, status__in=OPEN_STATUSES).order_by("position")
    return [str(pk) for pk in turns.values_list("pk", flat=True)]


def open_calls(session_id: uuid.UUID) -> list[ToolCall]:
    """Return the session's tool calls that have no result, in the order in which they were asked for."""
    calls = ToolCall.objects.filter(turn__session_id=session_id, turn__status=TurnStatus.WAITING, status__in=OPEN_CALLS)
    return list(calls.order_by("created_at", "pk"))


def waiting_messages(session_id: uuid.UUID) -> list[Message]:
    """Return the user's messages that nobody has begun to answer, the next one first."""
    rows = Message.objects.filter(session_id=session_id, role=MessageRole.USER, withdrawn=False)
    return list(rows.filter(turn__status=TurnStatus.QUEUED, turn__attempt=0).order_by("turn__position"))


def tokens_used(owner_id: int, since: datetime) -> list[tuple[datetime, int]]:
    """Return when a user's calls of models since then ended and how many tokens they took, the oldest first.

    Also those in sessions that were deleted: nobody gets more by deleting.
    """
    # The ids begin with the time, so the newest calls are found by the index.
    first = uuid.UUID(int=int(since.timestamp() * 1000) << 80)
    calls = ModelCall.objects.filter(pk__gte=first, owner_id=owner_id).order_by("pk")
    return list(calls.values_list("created_at", F("input_tokens") + F("output_tokens")))


def owned_session(owner_id: int, key: str) -> Session | None:
    """Return the owner's session with this key; a foreign one looks exactly like a missing one."""
    return Session.objects.filter(owner_id=owner_id, key=key).first()
