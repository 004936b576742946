"""Stores what clients send by any API, then notifies workers and subscribers.

Within STORE_TIMEOUT_SECONDS either everything is stored or nothing. Notifications may be lost: the log has all events.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from django.db import Error as DatabaseError
from structlog.contextvars import bind_contextvars

from agents import results
from sessions import broker
from sessions.broker import require_broker
from sessions.database import describe, in_deletion_thread, in_thread, in_urgent_thread, is_temporary
from sessions.errors import NothingToCancel
from sessions.events.hub import publish_events
from sessions.events.pubsub import WORKERS, publish
from sessions.models import EventKind, Session, Via
from sessions.protocol import client, client_tools
from sessions.protocol.client import Request
from sessions.protocol.codes import MAX_IMAGES, ErrorCode, FrameError
from sessions.results import AcceptedMessage, Change, ToolOutput
from sessions.turns import approvals, attempts, inbox, tool_calls
from sessions.turns.approvals import Decision
from sessions.turns.current_agent import choose_agent
from sessions.turns.deletion import delete_piece
from sessions.turns.workspaces import set_workspace

logger = structlog.get_logger(__name__)

#: Seconds in which a client learns whether its message was stored.
STORE_TIMEOUT_SECONDS = 2.8
#: Seconds before a stop is tried again.
STOP_RETRY_SECONDS = 0.05
#: Precedes a plan's id in the name of its approval.
PLAN_APPROVAL_PREFIX = "plan-approval-"

#: Announcements under way; the event loop itself keeps no task alive.
_announcements: set[asyncio.Task[None]] = set()


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


def with_broker[**P, R](verb: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Return a verb that runs in a thread, or raises BrokerUnavailable, and stores nothing, while Redis is away."""

    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        await require_broker()
        return await in_thread(verb)(*args, **kwargs)

    return run


handle_message = with_broker(inbox.accept_message)


async def handle_frame(
    session: Session, frame: Request, *, api_key: uuid.UUID | None = None, deadline: float
) -> Change:
    """Store what a client's frame asks for. Raises what the verbs raise, and FrameError; then nothing was stored."""
    match frame:
        case client.UserMessage():
            when = client.when_of(frame.when, frame.interrupt)
            return await handle_message(
                session.pk,
                frame.content,
                client_message_id=frame.client_message_id,
                interrupt=when == "interrupt",
                steer=when == "steer",
                agent=frame.agent_type,
                images=frame.images or (),
                replaces=frame.replaces,
                api_key=api_key,
                deadline=deadline,
            )
        case client.EditMessage():
            return await in_thread(inbox.edit_message)(session.pk, frame.message_id, frame.content, deadline=deadline)
        case client.WithdrawMessage():
            return await in_thread(inbox.withdraw_message)(session.pk, frame.message_id, deadline=deadline)
        case client.Cancel():
            return await stop_turn(session.pk, frame.turn_id, deadline=deadline)
        case client.SwitchAgent():
            return await in_thread(choose_agent)(session.pk, frame.agent_type, reason=frame.reason, deadline=deadline)
        case client.SetWorkspace():
            return await in_thread(set_workspace)(session.pk, frame.workspace, deadline=deadline)
        case client.ToolResult():
            record = in_thread(tool_calls.record_output)
            return await record(session.pk, frame.call_id, tool_output(frame), deadline=deadline)
        case client.HitlDecision() | client.HitlResponse():
            decision = _approval_decision(frame, by=session.owner_id)
            return await in_urgent_thread(approvals.decide)(session.pk, frame.call_id, decision, deadline=deadline)
        case client.PlanDecision():
            plan_id, decision = _plan_decision(frame, by=session.owner_id)
            return await in_urgent_thread(approvals.decide_plan)(session.pk, plan_id, decision, deadline=deadline)


async def stop_turn(session_id: uuid.UUID, turn_id: uuid.UUID | None, *, deadline: float) -> Change:
    """Cancel a turn. Raises what the verb raises.

    A named turn is cancelled again after an error that passes: a person waits, and would have to press the button
    again. Without a name the second try could stop the next turn.
    """
    is_retry = False
    while True:
        try:
            return await in_urgent_thread(attempts.cancel)(session_id, turn_id, deadline=deadline)
        except NothingToCancel:
            if not is_retry:
                raise
            # The first try was committed, and only its confirmation was lost.
            return Change()
        except DatabaseError as error:
            if turn_id is None or not is_temporary(error) or time.monotonic() > deadline:
                raise
            is_retry = True
        await asyncio.sleep(STOP_RETRY_SECONDS)


def announce(change: Change) -> None:
    """Start to send the turn that is ready to the workers, and the events to their subscribers.

    Returns at once: a Redis that hangs would delay the next frame of a socket, which may be the one that stops a turn.
    An accepted message's turn stands in all further log lines of its request, and goes with the task to a worker.
    """
    if isinstance(change, AcceptedMessage):
        bind_contextvars(turn_id=str(change.turn_id), session_id=str(change.session_id))
    loop = asyncio.get_running_loop()
    # Its first part runs here: the task is on its way before anything else is done.
    sending = asyncio.eager_task_factory(loop, broker.enqueue_turn_soon(change.ready))
    for task in (sending, loop.create_task(_publish(change))):
        _announcements.add(task)
        task.add_done_callback(_announcements.discard)
    if isinstance(change, AcceptedMessage):
        logger.info("message_accepted")


async def _publish(change: Change) -> None:
    # At once: the notice of a stop must not wait for a layer that hangs.
    await asyncio.gather(
        *(
            # Otherwise its worker notices at its next write or renewal, and a silent model stays connected until then.
            publish(WORKERS, {"type": "turn.stopped", "turn_id": event.payload["turn_id"]})
            for event in change.events
            if event.kind == EventKind.TURN_CANCELLED
        ),
        publish_events(change.events),
    )
    if change.events and change.events[-1].kind == EventKind.SESSION_DELETED:
        await _delete_rows(change.events[-1].session_id)


async def _delete_rows(session_id: uuid.UUID) -> None:
    """Delete the rows of a session that is marked as deleted. What is left after an error is for `tidy`."""
    try:
        while await in_deletion_thread(delete_piece)(session_id):
            pass
    except Exception as error:
        logger.warning("rows_not_deleted", session_id=str(session_id), **describe(error))


def _approval_decision(frame: client.HitlDecision | client.HitlResponse, *, by: int) -> Decision:
    if isinstance(frame, client.HitlDecision):
        word, arguments = frame.decision, frame.modified_arguments
    else:
        word, arguments = frame.action, frame.edited_arguments
    if word == "edit" and arguments is None:
        raise FrameError(ErrorCode.INVALID_FIELD, "An `edit` needs the arguments to run the call with.")
    return _decision(word, arguments if word == "edit" else None, frame.feedback, by=by)


def _plan_decision(frame: client.PlanDecision, *, by: int) -> tuple[str, Decision]:
    plan_id = frame.plan_id or (frame.approval_request_id or "").removeprefix(PLAN_APPROVAL_PREFIX)
    if not plan_id:
        raise FrameError(ErrorCode.INVALID_FIELD, "Name the plan in `plan_id`.")
    is_edit = frame.decision in ("edit", "modify")
    if is_edit and frame.modified_subtasks is None:
        raise FrameError(ErrorCode.INVALID_FIELD, "An EDIT decision requires modified_subtasks.")
    arguments = {"subtasks": frame.modified_subtasks} if is_edit else None
    return plan_id, _decision(frame.decision, arguments, frame.feedback, by=by)


def _decision(word: str, arguments: dict[str, Any] | None, feedback: str | None, *, by: int) -> Decision:
    return Decision(approve=word != "reject", arguments=arguments, feedback=feedback or "", by=by, via=Via.SOCKET)


def tool_output(frame: client.ToolResult) -> ToolOutput:
    """Return the tool's result in the original's words for the model, and what else comes of it. Raises FrameError."""
    parts = frame.parts or []
    images = [part.image_id for part in parts if isinstance(part, client_tools.ImagePart)]
    if len(images) > MAX_IMAGES:
        raise FrameError(ErrorCode.INVALID_FIELD, f"A result may have at most {MAX_IMAGES} images.")
    text = results.text_of(frame.result, map(_text_of, parts), error=frame.error, is_error=bool(frame.is_error))
    # PostgreSQL cannot store NUL, which the output of tools may contain.
    return ToolOutput(
        text=text.replace("\x00", "\ufffd"),
        failed=frame.error is not None or bool(frame.is_error),
        has_run=frame.error is None,
        images=() if frame.error is not None else images,
        facts=results.facts_of(frame.result),
    )


def _text_of(part: client_tools.ResultPart) -> str:
    match part:
        case client_tools.TextPart():
            return part.text
        case client_tools.ImagePart():
            return "[Image]"
        case client_tools.FilePart():
            return f"[File {part.path}, SHA-256 {part.sha256.lower()}]"
