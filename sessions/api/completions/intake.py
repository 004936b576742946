"""Takes in the requests of all APIs for completions, and follows the turns that answer them.

A request becomes a turn in a session of its own, or a message to the live session that a header names.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import structlog
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponseBase

from sessions.api.commands import announce, store_timeout, with_broker
from sessions.api.completions import live_session
from sessions.api.completions.errors import invalid
from sessions.api.completions.turn_follower import End, Piece, Text, TurnFollower, collect
from sessions.api.http import owner, stream_response, writable_of
from sessions.api.streaming import unless_signed_out, until_signed_out, with_heartbeat
from sessions.callers import Action, caller_of
from sessions.database import in_thread
from sessions.errors import NothingToCancel
from sessions.models import MAX_CLIENT_NAME_LENGTH, Session
from sessions.protocol.codes import MAX_KEY_LENGTH
from sessions.turns import attempts, completions
from sessions.turns.completions import CompletionRequest

logger = structlog.get_logger(__name__)

#: Names the live session that a request is for.
SESSION_HEADER = "X-CodeLab-Session"
#: Headers in which clients name their own session, and the agent in it: Codex, Claude Code.
CLIENT_SESSION_HEADERS = ("session-id", "x-claude-code-session-id")
CLIENT_AGENT_HEADERS = ("x-claude-code-agent-id", "x-openai-subagent")
#: What such a name may have. It is stored and shown.
UNPRINTABLE = re.compile(r"[^\x20-\x7e]")

#: Silence after which a stream begins, or gets a heartbeat. A failure before a stream begins is answered with its
#: status.
HEARTBEAT_SECONDS = 5.0

#: Turns that are being cancelled; the event loop itself keeps no task alive.
_cancellations: set[asyncio.Task[None]] = set()


class StreamWriter(Protocol):
    """Writes the pieces of one answer as the events of an API."""

    #: Keeps proxies and impatient clients from taking silence for the end.
    heartbeat: str
    #: The stream begins before the first piece, so every failure is an event of it and none has a status.
    begins_at_once: bool

    def begin(self) -> str:
        """Return the first events."""
        ...

    def write(self, piece: Piece) -> str:
        """Return the events of a piece, with an End the last ones. Raises CompletionError; then `fail` ends it."""
        ...

    def fail(self, error: Exception) -> str:
        """Return the last event of a stream that fails."""
        ...


async def authorize(request: HttpRequest) -> None:
    """Raise AccessDenied for a caller who may not ask now. Call it before the body is read."""
    action = Action.COMPLETION if request.headers.get(SESSION_HEADER) is None else Action.WRITE
    await caller_of(request).authorize(action)


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
    caller = caller_of(request)
    wanted = replace(
        wanted,
        client_session=_client_name(request, CLIENT_SESSION_HEADERS),
        client_agent=_client_name(request, CLIENT_AGENT_HEADERS),
    )
    async with store_timeout() as deadline:
        accept = with_broker(completions.accept)
        accepted = await accept(owner(request).pk, wanted, api_key=caller.api_key, deadline=deadline)
    announce(accepted)
    return TurnFollower(
        accepted.session_id, accepted.turn_id, accepted.number, keeps_running=wanted.is_background, writable=writable
    )


async def whole(request: HttpRequest, turn: TurnFollower) -> tuple[list[Text], End]:
    """Return the whole answer. Raises what `TurnFollower.pieces` raises, and AccessDenied."""
    return await unless_signed_out(_collect(turn), caller_of(request))


async def stream(request: HttpRequest, turn: TurnFollower, writer: StreamWriter) -> HttpResponseBase:
    """Return the answer as a stream of events. Raises what goes wrong before the stream has begun."""
    pieces = with_heartbeat(turn.pieces(), HEARTBEAT_SECONDS)
    first: Piece | None = None
    if not writer.begins_at_once:
        try:
            first = await anext(pieces)
        except BaseException:
            await _leave(turn, pieces)
            raise
    lines = _lines(turn, first, pieces, writer)
    return stream_response(until_signed_out(lines, caller_of(request), writer.fail), "text/event-stream")


async def _send(
    request: HttpRequest, wanted: CompletionRequest, tool_names: Sequence[str], key: str, writable: asyncio.Event | None
) -> TurnFollower:
    """Store what a request adds to a live session."""
    # It decodes images.
    new = await asyncio.to_thread(live_session.new_content, wanted)
    caller = caller_of(request)
    client_message_id = request.headers.get("Idempotency-Key") or None
    if client_message_id and len(client_message_id) > MAX_KEY_LENGTH:
        raise invalid("Idempotency-Key", f"A key has at most {MAX_KEY_LENGTH} characters.")
    session = await live_session.session_of(owner(request).pk, key)
    actions = [Action.IMAGE for _ in new.all_images] + ([Action.TURN] if new.text else [])
    await caller.authorize(*actions)
    async with store_timeout() as deadline:
        turn_id, number = await live_session.send(
            session, new, client_message_id=client_message_id, api_key=caller.api_key, deadline=deadline
        )
    offer_calls = partial(in_thread(live_session.offer_turn_calls), turn_id, tool_names) if tool_names else None
    return TurnFollower(
        session.pk,
        turn_id,
        number,
        keeps_running=True,
        # The session has stored the message; the same request would store it once more.
        can_retry=False,
        writable=writable,
        offer_calls=offer_calls,
    )


def _client_name(request: HttpRequest, headers: Sequence[str]) -> str:
    name = next((value for header in headers if (value := request.headers.get(header))), "")
    return UNPRINTABLE.sub("?", name)[:MAX_CLIENT_NAME_LENGTH]


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
        yield writer.begin() + (writer.write(first) if first else "")
        async for piece in pieces:
            if line := writer.write(piece) if piece else writer.heartbeat:
                yield line
    except Exception as error:
        yield writer.fail(error)
    finally:
        await _leave(turn, pieces)


async def _leave(turn: TurnFollower, pieces: AsyncGenerator[Any]) -> None:
    """Stop following a turn. Cancel it if nothing else can follow it."""
    if not (turn.keeps_running or turn.is_over):
        task = asyncio.create_task(_cancel(turn))
        _cancellations.add(task)
        task.add_done_callback(_cancellations.discard)
    await pieces.aclose()


async def _cancel(turn: TurnFollower) -> None:
    with suppress(NothingToCancel, Session.DoesNotExist):
        try:
            announce(await in_thread(attempts.cancel)(turn.session_id, turn.turn_id))
        except DatabaseError as error:
            # The turn goes on to its end, though no client waits for it.
            logger.warning("completion_not_stopped", turn_id=str(turn.turn_id), error=type(error).__name__)
