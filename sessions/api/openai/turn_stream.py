"""What the events of a turn say to whoever asked by the OpenAI-compatible door, piece by piece until it ends."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from sessions.api.openai.errors import OpenAIError, of_turn
from sessions.database import in_thread
from sessions.errors import SessionDeleted
from sessions.events.feed import ENDS_TURN, Feed
from sessions.models import EventKind, MessageRole
from sessions.protocol import ErrorCode
from sessions.turns import completions
from sessions.turns.completions import TurnResult


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of a message, or of what the model thinks."""

    message_id: str
    text: str
    thought: bool = False


@dataclass(frozen=True, slots=True)
class Replaced:
    """These messages are said again from their beginning: the worker that said them is gone."""

    message_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of tools that the caller is to run; `id`, `name` and `arguments` of each."""

    calls: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class End:
    """The last piece."""

    reason: str
    outcome: TurnResult


type Piece = Text | Replaced | Calls | End
#: Returns the open calls of a turn that the caller is to run now, and takes them from other clients.
type Take = Callable[[], Awaitable[list[dict[str, Any]]]]


class Answer:
    """Follows one turn. `over` says afterwards whether it has ended, or handed calls to its caller.

    `in_session`: the turn is one of a live session, which others follow as well.
    """

    def __init__(
        self,
        session_id: uuid.UUID,
        turn_id: uuid.UUID,
        after: int,
        *,
        in_session: bool = False,
        writable: asyncio.Event | None = None,
        take: Take | None = None,
    ) -> None:
        self.session_id, self.turn_id = session_id, turn_id
        self.in_session = in_session
        self.over = False
        self._feed = Feed(session_id, after, writable)
        self._take = take
        self._shown: set[str] = set()
        self._last = ""
        self._calls: list[dict[str, Any]] = []

    async def pieces(self) -> AsyncGenerator[Piece]:
        """Yield the pieces, the last one an End. Raises OpenAIError where the turn fails, and SessionDeleted."""
        if self._take and (calls := await self._take()):
            async for piece in self._handed(calls):
                yield piece
            return
        async with aclosing(aiter(self._feed)) as events:
            async for event in events:
                if event.kind == EventKind.SESSION_DELETED:
                    self.over = True
                    raise SessionDeleted
                if event.payload.get("turn_id") != str(self.turn_id):
                    continue
                async for piece in self._read(event.kind, event.payload):
                    yield piece
                if self.over:
                    return

    async def _read(self, kind: str, payload: dict[str, Any]) -> AsyncGenerator[Piece]:
        match kind:
            case EventKind.TEXT_DELTA:
                yield self._text(payload["message_id"], payload["text"])
            case EventKind.REASONING_DELTA:
                yield Text(payload["message_id"], payload["text"], thought=True)
            case EventKind.TURN_STARTED if payload["replaces"]:
                if self._last in payload["replaces"]:
                    self._last = ""
                yield Replaced(payload["replaces"])
            case EventKind.MESSAGE_ADDED if payload["role"] == MessageRole.ASSISTANT:
                self._calls = payload.get("tool_calls", [])
                # What the server says in an agent's place comes whole.
                if payload["content"] and payload["message_id"] not in self._shown:
                    yield self._text(payload["message_id"], payload["content"])
            case EventKind.TURN_WAITING | EventKind.APPROVAL_DECIDED if self._take:
                if calls := await self._take():
                    async for piece in self._handed(calls):
                        yield piece
            case _ if kind in ENDS_TURN:
                self.over = True
                async for piece in self._ended(kind, payload):
                    yield piece

    async def _ended(self, kind: str, payload: dict[str, Any]) -> AsyncGenerator[Piece]:
        if kind == EventKind.TURN_FAILED:
            # A session has the message now; the same request would put it there once more.
            raise of_turn(payload, can_retry=not self.in_session)
        if kind == EventKind.TURN_CANCELLED:
            raise OpenAIError(ErrorCode.CANCELLED, "The turn was stopped.")
        outcome = await in_thread(completions.turn_result)(self.turn_id)
        if outcome.finish_reason == "tool_calls":
            yield Calls(self._calls)
        yield End(outcome.finish_reason, outcome)

    def _text(self, message_id: str, text: str) -> Text:
        if self._last and self._last != message_id and message_id not in self._shown:
            # Several messages of an agent are one text to this caller.
            text = f"\n\n{text}"
        self._shown.add(message_id)
        self._last = message_id
        return Text(message_id, text)

    async def _handed(self, calls: list[dict[str, Any]]) -> AsyncGenerator[Piece]:
        self.over = True
        yield Calls(calls)
        yield End("tool_calls", await in_thread(completions.turn_result)(self.turn_id))
