"""Requests about a live session, which a header names: its newest messages go there, and its tools come back.

The session knows its conversation, so of the request's messages only those behind the last answer count.
"""

from __future__ import annotations

import uuid
from base64 import b64decode
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from agents.roles import UNASSIGNED
from sessions.api.commands import announce, handle_message
from sessions.api.http import no_session
from sessions.api.openai.errors import OpenAIError, in_field, invalid
from sessions.api.openai.models import agent_of
from sessions.api.openai.requests import ChatMessage, ChatRequest, images_of, require_supported, storable
from sessions.database import in_thread
from sessions.errors import ToolCallRejected
from sessions.models import Event, EventKind, Session, ToolCall, ToolCallStatus, TurnStatus
from sessions.protocol import MAX_IMAGES, MAX_MESSAGE_LENGTH, ErrorCode
from sessions.turns import images, tool_calls
from sessions.turns.sessions import owned_session

#: How long a call stays with a caller that has it to run.
HOLD = timedelta(minutes=10)


async def session_of(owner_id: int, key: str) -> Session:
    """Return the caller's session. Raises OpenAIError; somebody else's looks exactly like a missing one."""
    session = await in_thread(owned_session)(owner_id, key)
    if session is None or session.is_completion:
        raise OpenAIError(ErrorCode.SESSION_NOT_FOUND, str(no_session(key)), param="X-CodeLab-Session")
    return session


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a request has that its session does not know, checked."""

    #: Who is to answer.
    agent: str
    results: list[ChatMessage]
    #: Empty: the user says nothing.
    said: str
    pictures: list[bytes]


def news(request: ChatRequest) -> News:
    """Return what follows the last answer: results of tools, and all that the user says and shows.

    Several messages of the user are one. Raises OpenAIError.
    """
    require_supported(request)
    agent = agent_of(request.model)
    if not agent:
        raise invalid("model", "In a session an agent answers: name one, such as `codelab/coder`.")
    if request.messages[-1].role not in ("tool", "user"):
        raise invalid("messages", "The last message must be the user's, or the result of a tool.")
    behind: list[ChatMessage] = []
    for message in reversed(request.messages):
        if message.role == "assistant":
            break
        behind.insert(0, message)
    results = [message for message in behind if message.role == "tool"]
    if any(images_of(message, "messages") for message in results):
        raise invalid("messages", "Only a user's message has images.")
    spoken = [message for message in behind if message.role == "user"]
    said = "\n\n".join(message.text for message in spoken if message.text.strip())
    if spoken and not said:
        raise invalid("messages", "The message is empty.", ErrorCode.EMPTY_MESSAGE)
    if len(said) > MAX_MESSAGE_LENGTH:
        raise invalid("messages", f"A message to a session has at most {MAX_MESSAGE_LENGTH:,} characters.")
    shown = [image.url for message in spoken for image in images_of(message, "messages")]
    if len(shown) > MAX_IMAGES:
        raise invalid("messages", f"A message to a session shows at most {MAX_IMAGES} images.")
    return News(agent=agent, results=results, said=storable(said), pictures=[_picture(url) for url in shown])


def _picture(url: str) -> bytes:
    """Return the bytes of a picture. Raises OpenAIError."""
    kind, _, encoded = url.partition(",")
    if not kind.startswith("data:"):
        raise invalid("messages", "A session keeps its images: send them as data, not as addresses.")
    try:
        data = b64decode(encoded, validate=True)
    except ValueError:
        raise invalid("messages", "The data of an image is no base64.", ErrorCode.INVALID_IMAGE) from None
    with in_field("messages"):
        images.require_image(data)
    return data


async def send(
    session: Session,
    new: News,
    *,
    client_message_id: str | None,
    api_key: uuid.UUID | None,
    deadline: float,
) -> tuple[uuid.UUID, int]:
    """Store what is new in a request; return the turn that answers, and the number behind which it does.

    Raises OpenAIError, and what `record_tool_result` and `accept_message` raise.
    """
    # Before the results, with which the turn goes on. One that no message shows is forgotten.
    shown = [(await in_thread(images.store)(session.pk, picture)).pk for picture in new.pictures]
    place: tuple[uuid.UUID, int] | None = None
    for message in new.results:
        place = await _result(session, message, deadline=deadline)
    if new.said:
        accepted = await handle_message(
            session.pk,
            new.said,
            client_message_id=client_message_id,
            agent=None if new.agent == UNASSIGNED else new.agent,
            images=shown,
            api_key=api_key,
            deadline=deadline,
        )
        announce(accepted)
        place = accepted.turn_id, accepted.number
    if place is None:
        raise AssertionError("the last message is the user's or the result of a tool")
    return place


async def _result(session: Session, message: ChatMessage, *, deadline: float) -> tuple[uuid.UUID, int]:
    call_id = message.tool_call_id
    record, content = in_thread(tool_calls.record_tool_result), storable(message.text)
    with in_field("messages"):
        try:
            announce(await record(session.pk, call_id, content=content, failed=False, deadline=deadline))
        except ToolCallRejected as error:
            # The same request again is no error: its first answer was lost.
            if error.code != ErrorCode.TOOL_CALL_FINISHED:
                raise
    return await in_thread(_finished)(session, call_id)


def _finished(session: Session, call_id: str) -> tuple[uuid.UUID, int]:
    """Return the turn of a call that has its result, and the number of the event that tells of it."""
    call = ToolCall.objects.filter(turn__session=session, call_id=call_id).order_by("-created_at")[0]
    events = Event.objects.filter(session=session, number__gt=call.turn.position, kind=EventKind.TOOL_CALL_FINISHED)
    numbers = events.filter(payload__call_id=call_id).order_by("-number").values_list("number", flat=True)
    return call.turn_id, numbers[0] if numbers else call.turn.position


def take_calls(turn_id: uuid.UUID, names: list[str]) -> list[dict[str, Any]]:
    """Take the calls of a turn that may run and that this caller can run; other clients leave them alone then.

    What a person is still to be asked about is not among them, nor are the tools of other clients.
    """
    now, runner = timezone.now(), f"openai {turn_id}"
    rows = ToolCall.objects.filter(turn=turn_id, turn__status=TurnStatus.WAITING, status=ToolCallStatus.WAITING)
    rows = rows.filter(Q(offered_to__in=("", runner)) | Q(offered_until__lt=now), tool__in=names)
    rows.update(offered_to=runner, offered_until=now + HOLD)
    mine = ToolCall.objects.filter(turn=turn_id, turn__status=TurnStatus.WAITING, status=ToolCallStatus.WAITING)
    return [
        {"id": call.call_id, "name": call.tool, "arguments": call.arguments}
        for call in mine.filter(offered_to=runner).order_by("created_at", "pk")
    ]
