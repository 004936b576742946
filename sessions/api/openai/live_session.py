"""Requests to a live session, which a header names: the session gets the new messages, the client gets its tool calls.

The session has its conversation, so only the messages after the last answer count.
"""

import uuid
from base64 import b64decode
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any
from urllib.parse import unquote

from agents.roles import UNASSIGNED
from llm.sizes import MAX_CALLS
from sessions.api.commands import announce, handle_message
from sessions.api.http import bind_session, no_session
from sessions.api.openai.errors import OpenAIError, in_field, invalid
from sessions.api.openai.models import agent_of
from sessions.api.openai.requests import images_of, require_supported, storable
from sessions.api.openai.schemas import ChatMessage, ChatRequest
from sessions.database import in_thread
from sessions.errors import ToolCallRejected
from sessions.models import Event, EventKind, Session, ToolCall
from sessions.protocol.codes import MAX_IMAGES, MAX_MESSAGE_LENGTH, ErrorCode
from sessions.turns import call_offers, images, tool_calls
from sessions.turns.sessions import owned_session


async def session_of(owner_id: int, header: str) -> Session:
    """Return the caller's session, which a header names in UTF-8, as it is or percent-encoded.

    Raises OpenAIError, the same for a missing session and for another user's.
    """
    with suppress(UnicodeError):
        # Django reads headers as Latin-1.
        header = header.encode("latin-1").decode()
    # A name may have percent signs of its own.
    for key in dict.fromkeys((header, unquote(header))):
        if session := await in_thread(owned_session)(owner_id, key):
            break
    if session is None or session.is_completion:
        raise OpenAIError(ErrorCode.SESSION_NOT_FOUND, str(no_session(key)), param="X-CodeLab-Session")
    bind_session(session)
    return session


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContent:
    """What a request adds to its session, validated."""

    #: The agent that answers.
    agent: str
    tool_results: list[ChatMessage]
    #: Empty when the user writes nothing.
    text: str
    images: list[bytes]


def new_content(request: ChatRequest) -> NewContent:
    """Return what follows the last answer: results of tools, and all that the user writes and shows.

    Several messages of the user are one. Raises OpenAIError.
    """
    require_supported(request)
    agent = agent_of(request.model)
    if not agent:
        raise invalid("model", "In a session an agent answers: name one, such as `codelab/coder`.")
    if request.messages[-1].role not in ("tool", "user"):
        raise invalid("messages", "The last message must be the user's, or the result of a tool.")
    unanswered = list(takewhile(lambda message: message.role != "assistant", reversed(request.messages)))[::-1]
    tool_results = [message for message in unanswered if message.role == "tool"]
    if len(tool_results) > MAX_CALLS:
        raise invalid("messages", f"At most {MAX_CALLS} results of tools at once.")
    if any(images_of(message, "messages") for message in tool_results):
        raise invalid("messages", "Only a user's message has images.")
    user_messages = [message for message in unanswered if message.role == "user"]
    text = "\n\n".join(message.text for message in user_messages if message.text.strip())
    if user_messages and not text:
        raise invalid("messages", "The message is empty.", ErrorCode.EMPTY_MESSAGE)
    if len(text) > MAX_MESSAGE_LENGTH:
        raise invalid("messages", f"A message to a session has at most {MAX_MESSAGE_LENGTH:,} characters.")
    urls = [image.url for message in user_messages for image in images_of(message, "messages")]
    if len(urls) > MAX_IMAGES:
        raise invalid("messages", f"A message to a session shows at most {MAX_IMAGES} images.")
    data = [_image_data(url) for url in urls]
    return NewContent(agent=agent, tool_results=tool_results, text=storable(text), images=data)


def _image_data(url: str) -> bytes:
    kind, _, encoded = url.partition(",")
    if not kind.startswith("data:"):
        raise invalid("messages", "A session keeps its images: send them as data, not as addresses.")
    try:
        data = b64decode(encoded, validate=True)
    except ValueError:
        raise invalid("messages", "The data of an image is not base64.", ErrorCode.INVALID_IMAGE) from None
    with in_field("messages"):
        images.require_image(data)
    return data


async def send(
    session: Session, new: NewContent, *, client_message_id: str | None, api_key: uuid.UUID | None, deadline: float
) -> tuple[uuid.UUID, int]:
    """Store what is new in a request. Return the turn that answers, and the number after which its answer begins.

    Raises OpenAIError, and what `record_tool_result` and `accept_message` raise.
    """
    # Images first, because the results let the turn continue. The clean-up deletes an image that no message shows.
    stored = [(await in_thread(images.store)(session.pk, image)).pk for image in new.images]
    for message in new.tool_results:
        start = await _record_result(session, message, deadline=deadline)
    if new.text:
        accepted = await handle_message(
            session.pk,
            new.text,
            client_message_id=client_message_id,
            agent=None if new.agent == UNASSIGNED else new.agent,
            images=stored,
            api_key=api_key,
            deadline=deadline,
        )
        announce(accepted)
        start = accepted.turn_id, accepted.number
    # `new_content` has seen that the last message is the user's or the result of a tool.
    return start


async def _record_result(session: Session, message: ChatMessage, *, deadline: float) -> tuple[uuid.UUID, int]:
    call_id = message.tool_call_id
    record, content = in_thread(tool_calls.record_tool_result), storable(message.text)
    with in_field("messages"):
        try:
            announce(await record(session.pk, call_id, content=content, failed=False, deadline=deadline))
        except ToolCallRejected as error:
            # A client that lost the first answer sends the same request again.
            if error.code != ErrorCode.TOOL_CALL_FINISHED:
                raise
    return await in_thread(_turn_of_result)(session, call_id)


def _turn_of_result(session: Session, call_id: str) -> tuple[uuid.UUID, int]:
    """Return the turn of a call that has its result, and the number of the event that tells of it."""
    call = ToolCall.objects.filter(turn__session=session, call_id=call_id).order_by("-created_at")[0]
    events = Event.objects.filter(session=session, number__gt=call.turn.position, kind=EventKind.TOOL_CALL_FINISHED)
    numbers = events.filter(payload__call_id=call_id).order_by("-number").values_list("number", flat=True)
    return call.turn_id, numbers[0] if numbers else call.turn.position


def offer_turn_calls(turn_id: uuid.UUID, tools: Collection[str]) -> list[dict[str, Any]]:
    """Give this client the calls of a turn that may run and that it can run, and return all that it has."""
    calls = call_offers.offer_to_request(turn_id, tools)
    return [{"id": call.call_id, "name": call.tool, "arguments": call.arguments} for call in calls]
