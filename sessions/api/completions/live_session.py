"""Requests to a live session, which a header names: the session gets the new messages, the client gets its tool calls.

The session has its conversation, so only the messages after the last answer count.
"""

import uuid
from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any
from urllib.parse import unquote

from django.db.models.functions import Now

from agents.roles import UNASSIGNED
from llm.sizes import MAX_CALLS
from sessions.api.commands import announce, handle_message
from sessions.api.completions.errors import CompletionError, in_field, invalid
from sessions.api.http import bind_session, no_session
from sessions.database import in_thread
from sessions.errors import ToolCallRejected
from sessions.models import Event, EventKind, Message, Session, ToolCall, new_id
from sessions.protocol.codes import MAX_IMAGES, MAX_MESSAGE_LENGTH, ErrorCode
from sessions.results import ToolOutput
from sessions.turns import call_offers, images, tool_calls
from sessions.turns.completions import CompletionRequest
from sessions.turns.repeats import MAX_AGE, Marks
from sessions.turns.sessions import owned_session


async def session_of(owner_id: int, header: str) -> Session:
    """Return the caller's session, which a header names in UTF-8, as it is or percent-encoded.

    Raises CompletionError, the same for a missing session and for another user's.
    """
    with suppress(UnicodeError):
        # Django reads headers as Latin-1.
        header = header.encode("latin-1").decode()
    # A name may have percent signs of its own.
    for key in dict.fromkeys((header, unquote(header))):
        if session := await in_thread(owned_session)(owner_id, key):
            break
    if session is None or session.is_completion:
        raise CompletionError(ErrorCode.SESSION_NOT_FOUND, str(no_session(key)), param="X-CodeLab-Session")
    bind_session(session)
    return session


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What the client says of a call that it has run."""

    call_id: str
    text: str
    failed: bool = False
    images: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContent:
    """What a request adds to its session, validated."""

    #: The agent that answers.
    agent: str
    tool_results: Sequence[ToolResult]
    #: Empty when the user writes nothing.
    text: str
    images: Sequence[bytes]

    @property
    def all_images(self) -> list[bytes]:
        """Return the images of the message and of the results."""
        return [*self.images, *(image for result in self.tool_results for image in result.images)]


def new_content(wanted: CompletionRequest) -> NewContent:
    """Return what follows the last answer: results of tools, and all that the user writes and shows.

    Several messages of the user are one. Raises CompletionError.
    """
    if not wanted.agent:
        raise invalid("model", "In a session an agent answers: name one, such as `codelab/coder`.")
    # The session has instructions of its own.
    messages = [row for row in wanted.messages if row["role"] != "system"]
    if not messages or messages[-1]["role"] not in ("tool", "user"):
        raise invalid("messages", "The last message must be the user's, or the result of a tool.")
    unanswered = list(takewhile(lambda row: row["role"] != "assistant", reversed(messages)))[::-1]
    results = [row for row in unanswered if row["role"] == "tool"]
    if len(results) > MAX_CALLS:
        raise invalid("messages", f"At most {MAX_CALLS} results of tools at once.")
    written = [row for row in unanswered if row["role"] == "user"]
    text = "\n\n".join(row["content"] for row in written if row["content"].strip())
    if written and not text:
        raise invalid("messages", "The message is empty.", ErrorCode.EMPTY_MESSAGE)
    if len(text) > MAX_MESSAGE_LENGTH:
        raise invalid("messages", f"A message to a session has at most {MAX_MESSAGE_LENGTH:,} characters.")
    return NewContent(
        agent=wanted.agent,
        tool_results=[_tool_result(row) for row in results],
        text=text,
        images=_images("A message to a session shows", written),
    )


def _tool_result(row: Mapping[str, Any]) -> ToolResult:
    return ToolResult(
        call_id=row["tool_call_id"],
        text=row["content"],
        failed=row.get("failed", False),
        images=_images("A result to a session has", [row]),
    )


def _images(what: str, rows: Iterable[Mapping[str, Any]]) -> list[bytes]:
    urls = [image["url"] for row in rows for image in row.get("images", ())]
    if len(urls) > MAX_IMAGES:
        raise invalid("messages", f"{what} at most {MAX_IMAGES} images.")
    return [_image_data(url) for url in urls]


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


def message_key(session_id: uuid.UUID, marks: Marks) -> str:
    """Return the key of a request's message: that of the message that the request repeats, or a new one."""
    beginning = f"request-{(marks.key or marks.fingerprint)[:40]}-"
    if marks.key or marks.is_retry:
        equal = Message.objects.filter(session=session_id, client_message_id__startswith=beginning)
        recent = equal.filter(created_at__gt=Now() - MAX_AGE).order_by("-number")
        if key := recent.values_list("client_message_id", flat=True).first():
            return key
    return f"{beginning}{new_id().hex}"


async def send(
    session: Session, new: NewContent, *, client_message_id: str, api_key: uuid.UUID | None, deadline: float
) -> tuple[uuid.UUID, int]:
    """Store what is new in a request. Return the turn that answers, and the number after which its answer begins.

    Raises CompletionError, and what `record_tool_result` and `accept_message` raise.
    """
    # Images first, because the results let the turn continue. The clean-up deletes an image that no message shows.
    stored = await _store_images(session, new.images)
    for result in new.tool_results:
        start = await _record_result(session, result, deadline=deadline)
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


async def _store_images(session: Session, data: Iterable[bytes]) -> list[uuid.UUID]:
    return [(await in_thread(images.store)(session.pk, image)).pk for image in data]


async def _record_result(session: Session, result: ToolResult, *, deadline: float) -> tuple[uuid.UUID, int]:
    shown = await _store_images(session, result.images)
    output = ToolOutput(text=result.text, failed=result.failed, has_run=True, images=shown)
    with in_field("messages"):
        try:
            record = in_thread(tool_calls.record_output)
            # The model gets all of it.
            change = await record(
                session.pk, result.call_id, output, deadline=deadline, shown_characters=len(result.text)
            )
            announce(change)
        except ToolCallRejected as error:
            # A client that lost the first answer sends the same request again.
            if error.code != ErrorCode.TOOL_CALL_FINISHED:
                raise
    return await in_thread(_turn_of_result)(session, result.call_id)


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
