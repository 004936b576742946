"""The events of a session in order, each once, and the calls that this client has to run.

What is not read waits here, up to a bound; beyond it the events are asked for again when the caller reads on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from codelab_client.errors import CodelabError
from codelab_client.events import SNAPSHOT, TURN_ENDS, Event, Json, ToolCall

MAX_WAITING_EVENTS = 10_000


class Feed:
    """Takes the frames of any number of sockets. `reconnect()` opens a socket that goes on behind `number`."""

    def __init__(self, after: int | None, reconnect: Callable[[], None]) -> None:
        #: Number of the newest event, None before the first.
        self.number = after
        self.listeners: list[Callable[[Event], None]] = []
        self.error: CodelabError | None = None
        self._reconnect = reconnect
        self._events: deque[Event] = deque()
        #: Number of the newest event that the caller has read.
        self._read = after
        self._is_behind = False
        self._calls: deque[ToolCall] = deque()
        #: Calls that were handed out and have no stored result yet: the server may offer them again.
        self._open_calls: set[str] = set()
        self._news, self._call_news = asyncio.Event(), asyncio.Event()

    def take_welcome(self, frame: Json) -> None:
        """Begin a socket: with what was missed, or with the state instead of it."""
        if frame["mode"] == SNAPSHOT:
            self.number = frame["after"]
            # Events before it are part of it.
            self._events.clear()
            self._is_behind = False
            self._hand_out(Event(frame["after"], SNAPSHOT, frame["snapshot"], frame["after"]))

    def take_event(self, event: Event) -> None:
        """Take the next event; drop one that is known, and come back for one that is missing."""
        known = self.number or 0
        if event.number <= known:
            return
        if event.first > known + 1:
            self._reconnect()
            return
        self.number = event.number
        self._hand_out(event)

    def take_call(self, call: ToolCall) -> None:
        """Take a call, unless it was handed out and its result is not stored yet."""
        if call.call_id not in self._open_calls:
            self._open_calls.add(call.call_id)
            self._calls.append(call)
            self._call_news.set()

    def finish_call(self, call_id: str) -> None:
        """Record that the result of a call is stored."""
        self._open_calls.discard(call_id)

    def end(self, error: CodelabError) -> None:
        """Let the readers end with an error: nothing comes any more."""
        self.error = error
        self._news.set()
        self._call_news.set()

    async def events(self) -> AsyncIterator[Event]:
        """Yield every event. Raises the error that ended the session."""
        while True:
            while self._events:
                event = self._events.popleft()
                self._read = event.number
                yield event
            if self._is_behind:
                self._is_behind = False
                self.number = self._read
                self._reconnect()
            if self.error is not None:
                raise self.error
            self._news.clear()
            await self._news.wait()

    async def calls(self) -> AsyncIterator[ToolCall]:
        """Yield every call. Raises the error that ended the session."""
        while True:
            while self._calls:
                yield self._calls.popleft()
            if self.error is not None:
                raise self.error
            self._call_news.clear()
            await self._call_news.wait()

    def _hand_out(self, event: Event) -> None:
        if event.kind in TURN_ENDS:
            self._keep_calls(lambda call: call.turn_id != event.turn_id)
        elif event.kind == SNAPSHOT:
            open_turns = {turn["turn_id"] for turn in event.payload["turns"]}
            self._keep_calls(lambda call: call.turn_id in open_turns)
        for listener in list(self.listeners):
            listener(event)
        if len(self._events) >= MAX_WAITING_EVENTS:
            self._events.clear()
            self._is_behind = True
        if not self._is_behind:
            self._events.append(event)
            self._news.set()

    def _keep_calls(self, is_wanted: Callable[[ToolCall], bool]) -> None:
        """Leave out calls that wait for the reader: a turn that was stopped must not run its next tool."""
        unwanted = [call for call in self._calls if not is_wanted(call)]
        for call in unwanted:
            self._calls.remove(call)
            self._open_calls.discard(call.call_id)
