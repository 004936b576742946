"""Reads: what a model is shown of a session, and what a client may ask about it. Nothing here writes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import cast

from django.db.models import Exists, F, OuterRef, QuerySet

from agents.context import Window, fit
from agents.plans import progress
from agents.roles import role_of, routed
from agents.tools import offer
from llm.types import Image as ModelImage
from llm.types import Message as ModelMessage
from llm.types import Role, Tool
from llm.types import ToolCall as ModelToolCall
from sessions import log, plans
from sessions.changes import StaleAttempt
from sessions.conversation import at_work
from sessions.images import for_model
from sessions.judgement import agents_for, offered_tools
from sessions.log import LoggedEvent, Page
from sessions.models import (
    OPEN_CALLS,
    OPEN_STATUSES,
    EventKind,
    Message,
    MessageRole,
    ModelCall,
    Plan,
    Session,
    SubTask,
    ToolCall,
    Turn,
    TurnStatus,
)
from sessions.sql import rows

#: Events that are replayed at most; whoever has missed more starts again from a snapshot.
REPLAY_LIMIT = 5000

# Every step needs them; to put the join together takes the ORM longer than to run both.
_TURN = "SELECT * FROM agent_sessions_turn WHERE id = %s"
_SESSION = "SELECT * FROM agent_sessions_session WHERE id = %s"

# Most messages have neither calls nor images. A thousand rows take the ORM 7.6 ms of a core, this one 1.7.
_CONVERSATION = """
    SELECT role, content, nullif(tool_calls::text, '[]'), tool_call_id, images::text
    FROM agent_sessions_message AS message JOIN agent_sessions_turn AS turn ON turn.id = message.turn_id
    WHERE message.session_id = %s AND turn.position <= %s AND NOT withdrawn
    AND (subtask_id IS NOT DISTINCT FROM %s OR (%s::uuid IS NULL AND role = 'user'))
    ORDER BY turn.position, message.number
"""

NO_RESULT = "Error: this tool was never answered."


def model_input(turn_id: uuid.UUID, agent: str, window: Window) -> tuple[tuple[ModelMessage, ...], tuple[Tool, ...]]:
    """Return what the model is given: the agent's instructions, as much of the conversation as it can read, its tools.

    Raises ModelContextTooLong.
    """
    turn = held_turn(turn_id)
    session = turn.session
    role = role_of(agent)
    subtask = at_work(session)
    names = offered_tools(session, role, subtask)
    prompt = role.instructions(
        tools=names,
        agents=routed(),
        mode=session.mode,
        plan=progress(plans.value_of(subtask.plan)) if subtask else "",
        subtask=subtask.description if subtask else "",
    )
    tools = tuple(tool for name in names for tool in offer([name], agents=agents_for(name, role)))
    return fit(prompt, _conversation(turn, subtask), window=window, tools=tools).messages, tools


def held_turn(turn_id: uuid.UUID) -> Turn:
    """Return a turn that a worker holds, with its session. Raises StaleAttempt when the session was deleted."""
    for turn in Turn.objects.raw(_TURN, [turn_id]):
        (turn.session,) = Session.objects.raw(_SESSION, [turn.session_id])
        return turn
    raise StaleAttempt("the session was deleted")


def history(turn_id: uuid.UUID, subtask: SubTask | None = None) -> tuple[ModelMessage, ...]:
    """Return the conversation up to a turn as the model is to see it: that with the user, or that of a sub-task.

    Whoever does a sub-task sees its description and what belongs to it. To the others the work on a plan is the result
    of the call that proposed it; what the user has said meanwhile, and was asked, is a part of both.

    In the order of turns, not of arrival: a message that was sent during an earlier turn comes after its answer, and
    messages of later turns are not there yet.
    """
    return _conversation(held_turn(turn_id), subtask)


def _conversation(turn: Turn, subtask: SubTask | None) -> tuple[ModelMessage, ...]:
    part = subtask and subtask.pk
    found = [
        (role, content, json.loads(calls) if calls else [], answers, json.loads(images) if images else [])
        for role, content, calls, answers, images in rows(_CONVERSATION, turn.session_id, turn.position, part, part)
    ]
    messages = [ModelMessage(role="user", content=subtask.description)] if subtask else []
    unanswered: list[str] = []
    proposed = any(call["name"] == plans.PROPOSAL for _, _, asked, *_ in found for call in asked)
    reports = _reports(turn.session_id) if proposed and not subtask else {}
    shown = [images for *_, images in found if images]
    pictures = iter(for_model(shown) if shown else ())
    for role, content, asked, answers, images in found:
        if role == MessageRole.TOOL:
            unanswered.remove(answers)
        elif unanswered:
            messages += _missing_results(unanswered)
        if role == MessageRole.ASSISTANT and not (content or asked):
            # Only thoughts, and then it was stopped: providers refuse a message without content.
            continue
        calls = tuple(ModelToolCall(**call) for call in asked)
        unanswered += [call.id for call in calls]
        message = ModelMessage(
            role=cast(Role, role),
            content=reports.get(answers) or content,
            tool_calls=calls,
            tool_call_id=answers,
        )
        messages.append(_with_images(message, next(pictures), of=len(images)) if images else message)
    return tuple(messages + _missing_results(unanswered))


def _with_images(message: ModelMessage, images: tuple[ModelImage, ...], *, of: int) -> ModelMessage:
    content = message.content
    if left_out := of - len(images):
        content += f"\n\n[{left_out} of {of} images left out: they come again below, or there are newer ones.]"
    return replace(message, content=content, images=images)


def _reports(session_id: uuid.UUID) -> dict[str, str]:
    """Return what became of the plans that were approved, by the call that had proposed each."""
    approved = Plan.objects.filter(session=session_id, approved_at__isnull=False).select_related("call")
    return {plan.call.call_id: plans.report(plan) for plan in approved}


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


def newest(session_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, tuple[int, bool]]:
    """Return the number of the newest event of each session, and whether it has an open turn."""
    is_open = Exists(Turn.objects.filter(session=OuterRef("pk"), status__in=OPEN_STATUSES))
    rows = Session.objects.filter(pk__in=session_ids).values_list("pk", "last_number", is_open)
    return {pk: (last, active) for pk, last, active in rows}


def open_calls(session_id: uuid.UUID) -> QuerySet[ToolCall]:
    """Return the session's tool calls that have no result, in the order in which they were asked for."""
    calls = ToolCall.objects.filter(turn__session_id=session_id, turn__status=TurnStatus.WAITING, status__in=OPEN_CALLS)
    return calls.order_by("created_at", "pk")


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
