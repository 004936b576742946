"""Follows the events of one turn for a client of one of the APIs, piece by piece until the turn ends."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from sessions.api.completions.errors import CompletionError
from sessions.database import in_thread
from sessions.errors import SessionDeleted
from sessions.events.feed import ENDS_TURN, Feed
from sessions.models import EventKind, MessageRole
from sessions.protocol.codes import ErrorCode
from sessions.turns import completions
from sessions.turns.completions import TurnResult


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of a message, or of the model's reasoning."""

    message_id: str
    text: str
    is_reasoning: bool = False


@dataclass(frozen=True, slots=True)
class Retracted:
    """The worker that wrote these messages disappeared. Another one writes them again from the beginning."""

    message_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class End:
    """The last piece; `calls` are the tool calls that the client has to run: `id`, `name` and `arguments` of each."""

    reason: str
    result: TurnResult
    calls: Sequence[dict[str, Any]] = ()

    @property
    def extra(self) -> Mapping[str, Any]:
        """Return what only the provider `origin` understands of the answer, for the client to send back."""
        return self.result.extra

    @property
    def origin(self) -> str:
        """Return whose `extra` it is (`llm.origins`)."""
        return self.result.origin


type Piece = Text | Retracted | End
#: Gives the client the open calls of a turn that it can run now, and returns them.
type OfferCalls = Callable[[], Awaitable[list[dict[str, Any]]]]


class TurnFollower:
    """Follows one turn. `is_over` says afterwards whether it has ended, or waits for its client to run calls.

    `keeps_running`: the turn goes on when its client leaves, because it belongs to a live session, which other clients
    follow as well, or runs in the background. `can_retry`: its client may repeat the request if the turn fails.
    `backlog`: number of the newest event that was there when a repeated request began to follow. What has been
    retracted up to there is left out, because this client has not seen it.
    """

    def __init__(
        self,
        session_id: uuid.UUID,
        turn_id: uuid.UUID,
        after: int,
        *,
        keeps_running: bool = False,
        can_retry: bool = True,
        backlog: int = 0,
        writable: asyncio.Event | None = None,
        offer_calls: OfferCalls | None = None,
    ) -> None:
        self.session_id, self.turn_id = session_id, turn_id
        self.keeps_running, self._can_retry = keeps_running, can_retry
        #: `is_left`: its client has gone.
        self.is_over = self.is_left = False
        self._backlog = backlog
        self._feed = Feed(session_id, after, writable)
        self._offer_calls = offer_calls
        self._message_ids: set[str] = set()
        self._last_message_id = ""
        self._requested_calls: list[dict[str, Any]] = []

    async def pieces(self) -> AsyncGenerator[Piece]:
        """Yield the pieces, the last one an End. Raises CompletionError where the turn fails, and SessionDeleted."""
        if end := await self._end_with_calls():
            yield end
            return
        held: list[Piece] = []
        async with aclosing(aiter(self._feed)) as events:
            async for event in events:
                if event.kind == EventKind.SESSION_DELETED:
                    self.is_over = True
                    raise SessionDeleted
                if event.payload.get("turn_id") == str(self.turn_id):
                    piece = await self._piece(event.kind, event.payload)
                    if isinstance(piece, Retracted):
                        held = [each for each in held if not _is_of(each, piece.message_ids)]
                    if piece:
                        held.append(piece)
                if held and (self.is_over or event.number >= self._backlog):
                    for piece in held:
                        yield piece
                    held = []
                if self.is_over:
                    return

    async def _piece(self, kind: str, payload: dict[str, Any]) -> Piece | None:
        match kind:
            case EventKind.TEXT_DELTA:
                return self._text(payload["message_id"], payload["text"])
            case EventKind.REASONING_DELTA:
                return Text(payload["message_id"], payload["text"], is_reasoning=True)
            case EventKind.TURN_STARTED if payload["replaces"]:
                if self._last_message_id in payload["replaces"]:
                    self._last_message_id = ""
                return Retracted(payload["replaces"])
            case EventKind.MESSAGE_ADDED if payload["role"] == MessageRole.ASSISTANT:
                self._requested_calls = payload.get("tool_calls", [])
                # A text that the server writes in an agent's place has no pieces.
                if payload["content"] and payload["message_id"] not in self._message_ids:
                    return self._text(payload["message_id"], payload["content"])
            case EventKind.TURN_WAITING | EventKind.APPROVAL_DECIDED:
                return await self._end_with_calls()
            case _ if kind in ENDS_TURN:
                return await self._end(kind, payload)
        return None

    def _text(self, message_id: str, text: str) -> Text:
        if self._last_message_id not in ("", message_id) and message_id not in self._message_ids:
            # To this client several messages of an agent are one text.
            text = f"\n\n{text}"
        self._message_ids.add(message_id)
        self._last_message_id = message_id
        return Text(message_id, text)

    async def _end(self, kind: str, payload: dict[str, Any]) -> End:
        self.is_over = True
        if kind == EventKind.TURN_FAILED:
            code, retry_after = payload["error_code"], payload.get("retry_after")
            error = CompletionError(code, payload["error"], retry_after=retry_after, can_retry=self._can_retry)
            context = payload.get("context") or {}
            error.used, error.window = context.get("used"), context.get("window")
            raise error
        if kind == EventKind.TURN_CANCELLED:
            raise CompletionError(ErrorCode.CANCELLED, "The turn was stopped.")
        result = await in_thread(completions.turn_result)(self.turn_id)
        calls = self._requested_calls if result.finish_reason == "tool_calls" else ()
        return End(result.finish_reason, result, calls)

    async def _end_with_calls(self) -> End | None:
        """Return the end of the answer if the client now has calls to run."""
        calls = await self._offer_calls() if self._offer_calls else []
        if not calls:
            return None
        self.is_over = True
        return End("tool_calls", await in_thread(completions.turn_result)(self.turn_id), calls)


def _is_of(piece: Piece, message_ids: Collection[str]) -> bool:
    return isinstance(piece, Text) and piece.message_id in message_ids


async def collect(pieces: AsyncGenerator[Piece]) -> tuple[list[Text], End]:
    """Return the texts of a whole answer, without those that were retracted, and its end."""
    texts: list[Text] = []
    async for piece in pieces:
        match piece:
            case Text():
                texts.append(piece)
            case Retracted(message_ids):
                texts = [text for text in texts if text.message_id not in message_ids]
            case End():
                return texts, piece
    raise AssertionError("the last piece is an End")
