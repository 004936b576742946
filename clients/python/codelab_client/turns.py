"""Follows one turn to its end, from events that may begin before its id is known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from codelab_client.errors import TurnFailed
from codelab_client.events import SNAPSHOT, TURN_ENDS, Answer, Event, Json

#: Codes of a turn's end that no error names.
CANCELLED = "cancelled"


class TurnWatch:
    """Takes a session's events, and has the answer of a turn when that has ended."""

    def __init__(self, on_event: Callable[[Event], None] | None = None) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._on_event = on_event
        self._message_id = ""
        self._turn_id: str | None = None
        #: Events that came before the server told the turn's id.
        self._early: list[Event] = []
        self._events: list[Event] = []
        self._text = ""

    def start(self, message_id: str, turn_id: str, earlier: Iterable[Event] = ()) -> None:
        """Follow the turn that answers a message from here on, in what came `earlier`, and in what has come since."""
        self._message_id, self._turn_id = message_id, turn_id
        last = 0
        for event in [*earlier, *self._early]:
            if event.number > last:
                last = event.number
                self.take(event)
        self._early.clear()

    def take(self, event: Event) -> None:
        """Read an event of the session."""
        if self._turn_id is None:
            self._early.append(event)
        elif event.kind == SNAPSHOT:
            self._take_snapshot(event.payload)
        elif event.kind == "turn_queued" and self._message_id in event.payload.get("messages", ()):
            # It steered a turn that ended before it was read.
            self._turn_id = event.turn_id
            self._take(event)
        elif event.turn_id == self._turn_id:
            self._take(event)

    def _take(self, event: Event) -> None:
        self._events.append(event)
        if self._on_event is not None:
            self._on_event(event)
        payload = event.payload
        if event.kind == "message_added" and payload["role"] == "assistant":
            self._text = payload["content"]
        if event.kind not in TURN_ENDS or self.answer.done():
            return
        if event.kind == "turn_completed":
            counts = payload.get("input_tokens") or 0, payload.get("output_tokens") or 0
            self.answer.set_result(Answer(self._text, payload["turn_id"], *counts, self._events))
        elif event.kind == "turn_cancelled":
            self.answer.set_exception(TurnFailed(CANCELLED, "The turn was stopped."))
        else:
            error = TurnFailed(payload["error_code"], payload["error"], retry_after=payload.get("retry_after"))
            self.answer.set_exception(error)

    def _take_snapshot(self, state: Json) -> None:
        """Read the state after so many events that they are not sent: has the turn ended, and how?"""
        said = [message for message in state["messages"] if message.get("turn_id") == self._turn_id]
        texts = [message["content"] for message in said if message["role"] == "assistant"]
        self._text = texts[-1] if texts else ""
        if any(turn["turn_id"] == self._turn_id for turn in state["turns"]) or self.answer.done():
            return
        if texts:
            self.answer.set_result(Answer(self._text, self._turn_id or "", events=self._events))
        else:
            self.answer.set_exception(TurnFailed("no_answer", "The turn ended without an answer while away."))
