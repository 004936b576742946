"""The tools that a model asks for: they run in the client, and each result is taken once.

One transaction for each verb, like those of `sessions.lifecycle`, whose helpers move the turns. A turn whose tools are
out holds no worker, thread or connection.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from sessions import log
from sessions.changes import Change, Claimed, Step, ToolCallRefused
from sessions.conversation import make_call_ids_unique, message_added, store_message, store_step
from sessions.lifecycle import atomic_until, counted, event, lock_held, move
from sessions.models import EventKind, Message, MessageRole, ToolCall, ToolCallStatus, TurnStatus, new_id
from sessions.protocol import ErrorCode


def request_tools(held: Claimed, step: Step, calls: Sequence[ToolCall]) -> Change:
    """Store the step and its tool calls; the turn waits for their results and holds nothing. Raises StaleAttempt."""
    with transaction.atomic():
        session, turn = lock_held(held)
        make_call_ids_unique(session, calls)
        wire = [{"id": call.call_id, "name": call.tool, "arguments": call.arguments} for call in calls]
        events = store_step(session, turn, step, tool_calls=wire)
        for call in calls:
            call.turn = turn
        ToolCall.objects.bulk_create(calls)
        move(turn, TurnStatus.WAITING, waiting_since=timezone.now(), **counted(turn, step))
        new = [
            event(
                EventKind.TOOL_CALL_REQUESTED,
                turn.pk,
                {
                    "turn_id": str(turn.pk),
                    "call_id": call.call_id,
                    "tool": call.tool,
                    "arguments": call.arguments,
                    "requires_approval": call.requires_approval,
                },
                held.attempt,
            )
            for call in calls
        ]
        new.append(event(EventKind.TURN_WAITING, turn.pk, {"turn_id": str(turn.pk)}, held.attempt))
        events += log.append(session, new)
    return Change(events=events)


def record_tool_result(
    session_id: uuid.UUID, call_id: str, *, content: str, failed: bool, deadline: float = math.inf
) -> Change:
    """Take the result of a tool once; the last one of a turn queues it again. Raises ToolCallRefused and TooLate."""
    with atomic_until(deadline):
        session = log.lock(session_id)
        call = ToolCall.objects.filter(turn__session=session, call_id=call_id).order_by("-created_at").first()
        if call is None:
            raise ToolCallRefused(ErrorCode.UNKNOWN_TOOL_CALL, f"There is no tool call `{call_id}` in this session.")
        status = ToolCallStatus.FAILED if failed else ToolCallStatus.COMPLETED
        turn = call.turn
        changed = ToolCall.objects.filter(pk=call.pk, status=ToolCallStatus.WAITING).update(
            status=status, result=content, finished_at=timezone.now()
        )
        if not changed or turn.status != TurnStatus.WAITING:
            raise ToolCallRefused(ErrorCode.TOOL_CALL_FINISHED, f"The tool call `{call_id}` has its result already.")
        payload = {"turn_id": str(turn.pk), "call_id": call_id, "status": str(status)}
        message_id = new_id()
        new = [
            event(EventKind.TOOL_CALL_FINISHED, turn.pk, payload),
            message_added(message_id, turn.pk, MessageRole.TOOL, content, tool_call_id=call_id),
        ]
        done = not turn.tool_calls.filter(status=ToolCallStatus.WAITING).exists()
        if done:
            move(turn, TurnStatus.QUEUED, waiting_since=None)
            new.append(event(EventKind.TURN_QUEUED, turn.pk, {"turn_id": str(turn.pk)}))
        events = log.append(session, new)
        message = Message(
            id=message_id, session=session, turn=turn, role=MessageRole.TOOL, content=content, tool_call_id=call_id
        )
        store_message(message, events[1])
    return Change(events=events, ready=turn.pk if done else None)
