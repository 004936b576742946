"""Takes what clients send by any API: stores it, then notifies workers and subscribers.

All of it is stored or nothing, within STORE_TIMEOUT_SECONDS. A notification may be lost, because the log has it all.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sessions import broker
from sessions.broker import require_broker
from sessions.database import in_thread
from sessions.events.hub import publish_events
from sessions.events.pubsub import WORKERS, publish
from sessions.models import EventKind, Session, Via
from sessions.protocol import (
    Cancel,
    EditMessage,
    ErrorCode,
    FrameError,
    HitlDecision,
    HitlResponse,
    PlanDecision,
    Request,
    SwitchAgent,
    ToolResult,
    UserMessage,
    WithdrawMessage,
)
from sessions.results import Accepted, Change
from sessions.turns import approvals, attempts, inbox, tool_calls
from sessions.turns.current_agent import choose_agent

#: Seconds in which a client learns whether its message was stored.
STORE_TIMEOUT_SECONDS = 2.8
#: What stands before a plan's id where it is named as an approval.
PLAN_APPROVAL = "plan-approval-"

#: What is being told at the moment; the event loop itself keeps no task alive.
_telling: set[asyncio.Task[None]] = set()


@asynccontextmanager
async def store_timeout() -> AsyncIterator[float]:
    """Give up with TimeoutError after STORE_TIMEOUT_SECONDS; yields the deadline, as `time.monotonic` counts."""
    deadline = time.monotonic() + STORE_TIMEOUT_SECONDS
    async with asyncio.timeout(STORE_TIMEOUT_SECONDS):
        yield deadline


async def store_change(
    lookup: Awaitable[Session], verb: Callable[..., Change], *arguments: Any, **options: Any
) -> Change:
    """Run a verb on the session that `lookup` returns, and announce the change. Raises TimeoutError, too."""
    async with store_timeout() as deadline:
        session = await lookup
        change = await in_thread(verb)(session.pk, *arguments, **options, deadline=deadline)
    announce(change)
    return change


async def handle_message(
    session_id: uuid.UUID,
    content: str,
    *,
    client_message_id: str | None = None,
    interrupt: bool = False,
    agent: str | None = None,
    images: Sequence[uuid.UUID] = (),
    api_key: uuid.UUID | None = None,
    deadline: float,
) -> Accepted:
    """Store a user's message.

    Raises BrokerUnavailable, what `inbox.accept_message` raises, and database errors; then nothing was stored.
    """
    await require_broker()
    return await in_thread(inbox.accept_message)(
        session_id,
        content,
        client_message_id=client_message_id,
        interrupt=interrupt,
        agent=agent,
        images=images,
        api_key=api_key,
        deadline=deadline,
    )


async def handle_frame(
    session: Session, frame: Request, *, api_key: uuid.UUID | None = None, deadline: float
) -> Change:
    """Store what a client's frame asks for. Raises what the verbs raise, and FrameError; then nothing was stored."""
    match frame:
        case UserMessage():
            return await handle_message(
                session.pk,
                frame.content,
                client_message_id=frame.client_message_id,
                interrupt=bool(frame.interrupt),
                agent=frame.agent_type,
                images=frame.images or (),
                api_key=api_key,
                deadline=deadline,
            )
        case EditMessage():
            return await in_thread(inbox.edit_message)(session.pk, frame.message_id, frame.content, deadline=deadline)
        case WithdrawMessage():
            return await in_thread(inbox.withdraw_message)(session.pk, frame.message_id, deadline=deadline)
        case Cancel():
            return await in_thread(attempts.cancel)(session.pk, frame.turn_id, deadline=deadline)
        case SwitchAgent():
            return await in_thread(choose_agent)(session.pk, frame.agent_type, reason=frame.reason, deadline=deadline)
        case ToolResult():
            content, failed = _tool_message(frame)
            record = in_thread(tool_calls.record_tool_result)
            return await record(session.pk, frame.call_id, content=content, failed=failed, deadline=deadline)
        case HitlDecision() | HitlResponse():
            answer = _approval_answer(frame, by=session.owner_id)
            return await in_thread(approvals.decide)(session.pk, frame.call_id, answer, deadline=deadline)
        case PlanDecision():
            plan_id, answer = _plan_answer(frame, by=session.owner_id)
            return await in_thread(approvals.decide_plan)(session.pk, plan_id, answer, deadline=deadline)


def announce(change: Change) -> None:
    """Tell workers of the turn that is ready, and followers of the events, in a while.

    Nobody waits for it: a frozen Redis would hold up the next frame of a socket, be it the one that stops a turn.
    """
    telling = asyncio.create_task(_tell(change))
    _telling.add(telling)
    telling.add_done_callback(_telling.discard)


async def _tell(change: Change) -> None:
    await broker.enqueue_turn_soon(change.ready)
    await publish_events(change.events)
    for event in change.events:
        if event.kind == EventKind.TURN_CANCELLED:
            # Its worker would find out at its next write or sign of life; so it also lets a silent model go at once.
            await publish(WORKERS, {"type": "turn.stopped", "turn_id": event.payload["turn_id"]})


def _approval_answer(frame: HitlDecision | HitlResponse, *, by: int) -> approvals.Decision:
    """Return what a frame of either form says to a call that requires approval. Raises FrameError."""
    if isinstance(frame, HitlDecision):
        word, arguments = frame.decision, frame.modified_arguments
    else:
        word, arguments = frame.action, frame.edited_arguments
    if word == "edit" and arguments is None:
        raise FrameError(ErrorCode.INVALID_FIELD, "An `edit` needs the arguments to run the call with.")
    return approvals.Decision(
        approve=word != "reject",
        arguments=arguments if word == "edit" else None,
        feedback=frame.feedback or "",
        by=by,
        via=Via.SOCKET,
    )


def _plan_answer(frame: PlanDecision, *, by: int) -> tuple[str, approvals.Decision]:
    """Return which plan a frame answers, and what it says. Raises FrameError."""
    plan_id = frame.plan_id or (frame.approval_request_id or "").removeprefix(PLAN_APPROVAL)
    if not plan_id:
        raise FrameError(ErrorCode.INVALID_FIELD, "Name the plan in `plan_id`.")
    edits = frame.decision in ("edit", "modify")
    if edits and frame.modified_subtasks is None:
        raise FrameError(ErrorCode.INVALID_FIELD, "An EDIT decision requires modified_subtasks.")
    return plan_id, approvals.Decision(
        approve=frame.decision != "reject",
        arguments={"subtasks": frame.modified_subtasks} if edits else None,
        feedback=frame.feedback or "",
        by=by,
        via=Via.SOCKET,
    )


def _tool_message(frame: ToolResult) -> tuple[str, bool]:
    """Return what the model is told of a tool's result, and whether the tool failed, as the original did."""
    if frame.error is not None:
        # NUL is the one character that PostgreSQL cannot store; the output of tools may well have it.
        return f"Error: {frame.error}".replace("\x00", "�"), True
    if frame.result is None:
        return "Tool executed successfully", False
    result: Any = frame.result
    return json.dumps(result, ensure_ascii=False).replace("\x00", "�"), False
