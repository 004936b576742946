"""A correct client: it sends unacknowledged messages again, and runs each tool call once."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from contextlib import suppress
from typing import Any

import websockets

from tests.chaos.clients import CUT, ENDS, FRAME_TIMEOUT_SECONDS, Follower, Frame, World


class Author(Follower):
    """Follows a session and takes part in it: sends messages, stops turns, runs tools."""

    def __init__(self, world: World, session: str, *, first: int = 0) -> None:
        super().__init__(world, session, first=first)
        self.open_turns: set[str] = set()
        self.ended_turns: set[str] = set()
        #: Turns of steered messages that the turn they were sent into has not read.
        self.followers: set[str] = set()
        self.started: set[str] = set()
        self.deltas = self.starts = 0
        self._connection: websockets.ClientConnection | None = None
        self._refused = False
        self._changed = asyncio.Event()
        self._acks: dict[str, Frame] = {}
        self._said: dict[str, str] = {}
        self._executed: dict[str, Any] = {}
        self._results: dict[str, Frame] = {}
        self._stops: set[str] = set()
        self._last_said = ""
        self._message_numbers = itertools.count(1)

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def until(self, condition: Any) -> None:
        """Wait until frames make a condition true."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def say(self, wish: str, **more: Any) -> str:
        """Send a message until it is accepted; return its turn's id."""
        text = f"turn={next(self.world.turn_numbers)} {wish}"
        message_id = f"{self.session}-{next(self._message_numbers)}"
        frame = {"type": "user_message", "content": text, "client_message_id": message_id, **more}
        self.world.history.add("sent", session=self.session, id=message_id, text=text)
        self._said[message_id] = text
        self._last_said = message_id
        while message_id not in self._acks:
            await self.until(lambda: self._connection is not None)
            await self._send(frame)
            self._refused = False
            with suppress(TimeoutError):
                async with asyncio.timeout(FRAME_TIMEOUT_SECONDS):
                    await self.until(lambda: message_id in self._acks or self._connection is None or self._refused)
            if message_id not in self._acks:
                await asyncio.sleep(0.2)
        return str(self._acks[message_id]["turn_id"])

    async def change(self, wish: str | None) -> None:
        """Edit or withdraw the newest message. It may be too late for that."""
        ack = self._acks[self._last_said]
        frame = {"type": "withdraw_message", "message_id": ack["message_id"]}
        if wish is not None:
            text = f"{self._said[ack['client_message_id']].partition(' ')[0]} {wish}"
            frame = {**frame, "type": "edit_message", "content": text}
            self.world.history.add("edited", session=self.session, id=ack["client_message_id"], text=text)
        await self._send(frame)

    async def stop_turn(self, turn: str) -> None:
        """Stop a turn; return when it has ended in any way."""
        self._stops.add(turn)
        while turn in self._stops and turn not in self.ended_turns:
            await self.until(lambda: self._connection is not None)
            self.world.history.add("cancel", socket=self.socket, session=self.session, turn=turn)
            await self._send({"type": "cancel", "turn_id": turn})
            with suppress(TimeoutError):
                async with asyncio.timeout(FRAME_TIMEOUT_SECONDS):
                    await self.until(lambda: turn in self.ended_turns or self._connection is None)
            await asyncio.sleep(0.1)

    async def ended(self, *turns: str) -> None:
        """Wait until turns have ended in any way, and those that follow them for steered messages."""
        await self.until(lambda: self.ended_turns.issuperset({*turns, *self.followers}))

    async def _send(self, frame: Frame) -> None:
        if self._connection:
            with suppress(*CUT):
                await self._connection.send(json.dumps(frame))

    async def talk(self, connection: websockets.ClientConnection) -> None:
        self._connection = connection
        self._changed.set()
        again = asyncio.create_task(self._send_results_again())
        try:
            await super().talk(connection)
        finally:
            again.cancel()
            self._connection = None
            self._changed.set()

    async def _send_results_again(self) -> None:
        while True:
            for frame in list(self._results.values()):
                await self._send(frame)
            await asyncio.sleep(FRAME_TIMEOUT_SECONDS / 2)

    def handle(self, frame: Frame) -> None:
        super().handle(frame)
        if frame["type"] == "accepted":
            message_id = frame["client_message_id"]
            self._acks[message_id] = frame
            if frame["turn_id"] not in self.ended_turns:
                self.open_turns.add(frame["turn_id"])
            facts = {"turn": frame["turn_id"], "message": frame["message_id"], "repeated": frame["repeated"]}
            self.world.history.add("acked", session=self.session, id=message_id, socket=self.socket, **facts)
        elif frame["type"] == "error":
            self._refused = True
        self._changed.set()

    def note_event(self, event: Frame) -> None:
        super().note_event(event)
        payload = event["payload"]
        turn = payload.get("turn_id")
        match event["kind"]:
            case "turn_queued" if payload.get("messages"):
                self.followers.add(turn)
                self.open_turns.add(turn)
            case "turn_started":
                self.started.add(turn)
                self.starts += 1
            case "text_delta":
                self.deltas += 1
            case "tool_call_requested":
                self._run(payload)
            case "tool_call_finished":
                self._results.pop(payload["call_id"], None)
            case kind if kind in ENDS:
                self.ended_turns.add(turn)
                self.open_turns.discard(turn)
                for call_id in [call_id for call_id, it in self._executed.items() if it == turn]:
                    self._results.pop(call_id, None)

    def _run(self, call: Frame) -> None:
        """Run a call once, by its id, and keep the result until the server acknowledges it."""
        call_id: str = call["call_id"]
        if call_id in self._executed:
            return
        self._executed[call_id] = call["turn_id"]
        turn_number, _, step = call["arguments"]["path"].partition("/")
        facts = {"session": self.session, "turn_number": int(turn_number), "step": int(step), "call": call_id}
        with self.world.tool_log.open("a") as log:
            log.write(json.dumps({"t": time.monotonic(), **facts}) + "\n")
            log.flush()
            os.fsync(log.fileno())
        self.world.history.add("tool", **facts)
        self._results[call_id] = {"type": "tool_result", "call_id": call_id, "result": {"success": True}}
        if self._connection:
            self._sending = asyncio.ensure_future(self._send(self._results[call_id]))
