"""Takes in the requests of all APIs for completions, and follows the turns that answer them.

A request becomes a turn in a session of its own, or a message to the live session that a header names.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from django.http import HttpRequest, HttpResponseBase

from sessions.api.commands import announce, store_timeout, with_broker
from sessions.api.completions import bodies, live_session, lost_turns
from sessions.api.completions.errors import ANSWER_RESTARTED, KEY_REUSED, CompletionError, invalid
from sessions.api.completions.turn_follower import End, Piece, Text, TurnFollower, collect
from sessions.api.http import owner, stream_response, writable_of
from sessions.api.streaming import unless_signed_out, with_heartbeat
from sessions.callers import Action, caller_of
from sessions.database import in_thread
from sessions.errors import SessionDeleted
from sessions.models import MAX_CLIENT_NAME_LENGTH, Turn
from sessions.protocol.codes import MAX_KEY_LENGTH
from sessions.results import AcceptedMessage
from sessions.turns import repeats
from sessions.turns.completions import CompletionRequest
from sessions.turns.repeats import KeyReused, Marks, Repeated

#: Names the live session that a request is for.
SESSION_HEADER = "X-CodeLab-Session"
#: Headers in which clients name their own session, and the agent in it: Codex, Claude Code.
CLIENT_SESSION_HEADERS = ("session-id", "x-claude-code-session-id")
CLIENT_AGENT_HEADERS = ("x-claude-code-agent-id", "x-openai-subagent")
#: How often the package of OpenAI or Anthropic has repeated a request.
RETRY_HEADER = "X-Stainless-Retry-Count"
#: What such a name may have. It is stored and shown.
UNPRINTABLE = re.compile(r"[^\x20-\x7e]")

#: Silence after which a stream begins, or gets a heartbeat. A failure before a stream begins is answered with its
#: status.
HEARTBEAT_SECONDS = 5.0
#: How long the error of a stream waits until the turn is left. A database that is away must not keep it for long.
LEAVE_TIMEOUT_SECONDS = 5.0


class StreamWriter(Protocol):
    """Writes the pieces of one answer as the events of an API."""

    #: Keeps proxies and impatient clients from taking silence for the end.
    heartbeat: str
    #: The stream begins before the first piece, so every failure is an event of it and none has a status.
    begins_at_once: bool

    async def begin(self) -> str:
        """Return the first events."""
        ...

    def write(self, piece: Piece) -> str:
        """Return the events of a piece, with an End the last ones. Raises CompletionError; then `fail` ends it."""
        ...

    def fail(self, error: Exception) -> str:
        """Return the last event of a stream that fails."""
        ...


def names_session(request: HttpRequest) -> bool:
    """Return whether a request is for a live session."""
    return SESSION_HEADER in request.headers


async def authorize(request: HttpRequest) -> None:
    """Raise AccessDenied for a caller who may not ask now. Call it before the body is read."""
    await caller_of(request).authorize(Action.WRITE if names_session(request) else Action.COMPLETION)


async def begin(
    request: HttpRequest, wanted: CompletionRequest, *, streamed: bool, tool_names: Sequence[str] = ()
) -> TurnFollower:
    """Store a request as a turn, or send it to the live session that it names. Return the turn that answers it.

    `tool_names` are those of the tools that the client can run.
    """
    writable = writable_of(request) if streamed else None
    key = request.headers.get(SESSION_HEADER)
    if key is not None:
        return await _send(request, wanted, tool_names, key, writable)
    return await begin_alone(request, wanted, writable)


async def begin_alone(
    request: HttpRequest, wanted: CompletionRequest, writable: asyncio.Event | None = None
) -> TurnFollower:
    """Store a request as a turn in a session of its own. Return the turn."""
    client_session, client_agent = _client(request)
    wanted = replace(wanted, client_session=client_session, client_agent=client_agent)
    storing = asyncio.ensure_future(_store(request, wanted))
    try:
        # What is cut off here may still be committed.
        accepted = await asyncio.shield(storing)
    except asyncio.CancelledError:
        storing.add_done_callback(partial(_leave_unseen, wanted.is_background))
        raise
    follow = partial(TurnFollower, accepted.session_id, accepted.turn_id, keeps_running=wanted.is_background)
    if isinstance(accepted, Repeated):
        return follow(0, backlog=accepted.last_number, writable=writable)
    announce(accepted)
    return follow(accepted.number, writable=writable)


async def _store(request: HttpRequest, wanted: CompletionRequest) -> AcceptedMessage | Repeated:
    async with store_timeout() as deadline:
        accept = with_broker(repeats.accept)
        try:
            marks, api_key = _marks(request, wanted), caller_of(request).api_key
            return await accept(owner(request).pk, wanted, marks, api_key=api_key, deadline=deadline)
        except KeyReused:
            text = "Another request came with this Idempotency-Key. Use a key for one request only."
            raise CompletionError(KEY_REUSED, text, status=409, param="Idempotency-Key") from None


async def follow(request: HttpRequest, turn: Turn, *, keeps_running: bool) -> TurnFollower:
    """Follow a turn that the client has asked for before, from its beginning. It does not stop while this one does.

    Raises SessionDeleted.
    """
    last_number = await in_thread(repeats.follow)(turn.pk)
    if last_number is None:
        raise SessionDeleted
    return TurnFollower(
        turn.session_id, turn.pk, 0, keeps_running=keeps_running, backlog=last_number, writable=writable_of(request)
    )


async def whole(request: HttpRequest, turn: TurnFollower) -> tuple[list[Text], End]:
    """Return the whole answer. Raises what `TurnFollower.pieces` raises, and AccessDenied."""
    return await unless_signed_out(_collect(turn), caller_of(request))


async def stream(request: HttpRequest, turn: TurnFollower, writer: StreamWriter) -> HttpResponseBase:
    """Return the answer as a stream of events. Raises what goes wrong before the stream has begun."""
    pieces = with_heartbeat(turn.pieces(), HEARTBEAT_SECONDS, caller_of(request))
    first: Piece | None = None
    if not writer.begins_at_once:
        try:
            first = await anext(pieces)
        except BaseException:
            await _leave(turn, pieces)
            raise
    return stream_response(_Stream(_lines(turn, first, pieces, writer), turn), "text/event-stream")


class _Stream:
    """The lines of a stream. Django closes it with its response, also where no line was taken and nothing has begun."""

    def __init__(self, lines: AsyncGenerator[str], turn: TurnFollower) -> None:
        self._lines, self._turn = lines, turn
        self._loop = asyncio.get_running_loop()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._lines

    def close(self) -> None:
        """Leave the turn, from any thread."""
        self._loop.call_soon_threadsafe(lost_turns.leave, self._turn)


async def _send(
    request: HttpRequest, wanted: CompletionRequest, tool_names: Sequence[str], key: str, writable: asyncio.Event | None
) -> TurnFollower:
    """Store what a request adds to a live session."""
    # It decodes images.
    new = await asyncio.to_thread(live_session.new_content, wanted)
    caller = caller_of(request)
    message_key = request.headers.get("Idempotency-Key", "")
    if len(message_key) > MAX_KEY_LENGTH:
        raise invalid("Idempotency-Key", f"A key has at most {MAX_KEY_LENGTH} characters.")
    session = await live_session.session_of(owner(request).pk, key)
    actions = [Action.IMAGE for _ in new.all_images] + ([Action.TURN] if new.text else [])
    await caller.authorize(*actions)
    async with store_timeout() as deadline:
        if new.text and not message_key:
            message_key = await in_thread(live_session.message_key)(session.pk, _marks(request, wanted))
        turn_id, number = await live_session.send(
            session, new, client_message_id=message_key, api_key=caller.api_key, deadline=deadline
        )
    offer_calls = partial(in_thread(live_session.offer_turn_calls), turn_id, tool_names) if tool_names else None
    return TurnFollower(
        session.pk,
        turn_id,
        number,
        keeps_running=True,
        # The session has stored the message; the same request would store it once more.
        can_retry=False,
        # Of a repeated request there may be some of the answer already.
        backlog=session.last_number,
        writable=writable,
        offer_calls=offer_calls,
    )


def _marks(request: HttpRequest, wanted: CompletionRequest) -> Marks:
    return repeats.marks_of(
        owner(request).pk,
        wanted.api,
        f"{wanted.kind} {bodies.digest_of(request)}",
        key=request.headers.get("Idempotency-Key", ""),
        client=_client(request),
        is_retry=request.headers.get(RETRY_HEADER, "0") != "0",
    )


def _client(request: HttpRequest) -> tuple[str, str]:
    """Return how the client names its own session, and the agent in it; empty where it does not."""
    session, agent = (
        next((value for header in headers if (value := request.headers.get(header))), "")
        for headers in (CLIENT_SESSION_HEADERS, CLIENT_AGENT_HEADERS)
    )
    return UNPRINTABLE.sub("?", session)[:MAX_CLIENT_NAME_LENGTH], UNPRINTABLE.sub("?", agent)[:MAX_CLIENT_NAME_LENGTH]


async def _collect(turn: TurnFollower) -> tuple[list[Text], End]:
    """Return the whole answer."""
    pieces = turn.pieces()
    try:
        return await collect(pieces)
    finally:
        await _leave(turn, pieces)


async def _lines(
    turn: TurnFollower, first: Piece | None, pieces: AsyncGenerator[Piece | None], writer: StreamWriter
) -> AsyncGenerator[str]:
    """Yield the lines of a stream: events, heartbeats while the model is silent, and at last the end or an error."""
    try:
        yield await writer.begin() + (writer.write(first) if first else "")
        async for piece in pieces:
            if line := writer.write(piece) if piece else writer.heartbeat:
                yield line
    except Exception as error:
        is_restarted = isinstance(error, CompletionError) and error.code == ANSWER_RESTARTED
        if leaving := lost_turns.leave(turn, is_restarted=is_restarted):
            # A client repeats its request as soon as it reads the error, and must then find the turn that it has lost.
            await asyncio.wait({leaving}, timeout=LEAVE_TIMEOUT_SECONDS)
        yield writer.fail(error)
    finally:
        await _leave(turn, pieces)


async def _leave(turn: TurnFollower, pieces: AsyncGenerator[Any]) -> None:
    """Stop following a turn."""
    lost_turns.leave(turn)
    await pieces.aclose()


def _leave_unseen(is_background: bool, storing: asyncio.Future[AcceptedMessage | Repeated]) -> None:
    """Leave a turn whose client had gone before the turn was stored."""
    if storing.cancelled() or storing.exception():
        return
    accepted = storing.result()
    if isinstance(accepted, AcceptedMessage):
        announce(accepted)
    if not is_background:
        lost_turns.leave_unseen(accepted.session_id, accepted.turn_id)
