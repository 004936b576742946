"""Clients as they ought to be: they come back after a cut, send again what was not acknowledged, run a tool once.

They trust nothing and mend nothing: what a socket receives goes into the history as it came, and the checker judges it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import websockets

from codelab.local.system import LOOPBACK
from tests.chaos.history import History

ENDS = frozenset({"turn_completed", "turn_failed", "turn_cancelled"})
#: What can go wrong with a connection that somebody cuts.
CUT = (OSError, EOFError, TimeoutError, websockets.WebSocketException, httpx.HTTPError, httpx.StreamError)
#: Seconds after which something unanswered is sent again.
PATIENCE = 4.0

type Frame = dict[str, Any]


@dataclass
class World:
    """What all clients of a run share."""

    history: History
    #: Ports of the web processes, or of the links before them.
    ports: Sequence[int]
    tool_log: Path
    dice: random.Random = field(default_factory=random.Random)
    turn_numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    follower_numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    socket_numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    #: Shortest and longest pause before a connection is opened again.
    pause: tuple[float, float] = (0.05, 0.4)


class Follower:
    """Follows a session by sockets, one after the other; what is known of it is the number of the last event."""

    kind = "v2"

    def __init__(self, world: World, session: str, *, first: int = 0) -> None:
        self.world, self.session = world, session
        self.after = 0
        self.name = f"{self.kind}-follower-{next(world.follower_numbers)}"
        self.socket = ""
        #: Which web process it talks to.
        self.web = first
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        while True:
            self.socket = f"{self.kind}-{next(self.world.socket_numbers)}"
            self.web = (self.web + 1) % len(self.world.ports)
            why = "end"
            try:
                await self._once(self.web)
            except CUT as error:
                why = type(error).__name__
            finally:
                self.world.history.add("closed", socket=self.socket, session=self.session, why=why)
            await asyncio.sleep(self.world.dice.uniform(*self.world.pause))

    async def _once(self, web: int) -> None:
        async with self._connect(web, ["codelab.v2"]) as connection:
            await connection.send(json.dumps({"type": "hello", "after": self.after}))
            async with asyncio.timeout(10):
                welcome = json.loads(await connection.recv())
            if welcome["type"] != "welcome":
                self._note_error(welcome)
                return
            self.opened(web, welcome["after"], welcome["mode"])
            self.after = welcome["after"]
            await self.talk(connection)

    @asynccontextmanager
    async def _connect(
        self, web: int, subprotocols: Any, query: str = ""
    ) -> AsyncIterator[websockets.ClientConnection]:
        url = f"ws://{LOOPBACK}:{self.world.ports[web]}/ws/{self.session}{query}"
        options: Any = {"max_size": None, "proxy": None, "open_timeout": 5, "close_timeout": 1}
        async with websockets.connect(url, subprotocols=subprotocols, **options) as connection:
            yield connection

    def opened(self, web: int, after: int, mode: str) -> None:
        facts = {"socket": self.socket, "session": self.session, "kind": self.kind, "follower": self.name}
        self.world.history.add("opened", **facts, after=after, web=web, mode=mode)

    async def talk(self, connection: websockets.ClientConnection) -> None:
        """Receive until the connection ends."""
        async for text in connection:
            self.handle(json.loads(text))

    def handle(self, frame: Frame) -> None:
        """Note what came."""
        if frame["type"] == "event":
            self.note_event(frame)
        elif frame["type"] == "error":
            self._note_error(frame)

    def note_event(self, event: Frame) -> None:
        payload: Frame = event["payload"]
        first = {"first": event["first"]} if event.get("first") else {}
        facts = {"socket": self.socket, "session": self.session, "number": event["number"], "kind": event["kind"]}
        self.world.history.add("received", **facts, **first, payload=payload)
        self.after = event["number"]

    def _note_error(self, frame: Frame) -> None:
        facts = {"socket": self.socket, "session": self.session, "code": frame.get("error_code")}
        self.world.history.add("refused", **facts)


class OldFollower(Follower):
    """A client of the original's protocol: pieces of text with numbers, and `?after=` to go on where it was."""

    kind = "v1"

    async def _once(self, web: int) -> None:
        async with self._connect(web, None, f"?after={self.after}") as connection:
            self.opened(web, self.after, "replay")
            await self.talk(connection)

    def handle(self, frame: Frame) -> None:
        if "number" in frame:
            facts = {"socket": self.socket, "session": self.session, "number": frame["number"], "kind": frame["type"]}
            self.world.history.add("received", **facts, payload={"text": frame.get("token", "")})
            self.after = frame["number"]


class StreamFollower(Follower):
    """A client without WebSockets: server-sent events, continued with Last-Event-ID."""

    kind = "sse"

    async def _once(self, web: int) -> None:
        url = f"http://{LOOPBACK}:{self.world.ports[web]}/api/v1/sessions/{self.session}/events"
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(self.after)}
        timeout = httpx.Timeout(5, read=30)
        async with (
            httpx.AsyncClient(trust_env=False, timeout=timeout) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                await asyncio.sleep(0.3)
                return
            self.opened(web, self.after, "replay")
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    self.note_event(json.loads(line.removeprefix("data: ")))


class Author(Follower):
    """Follows a session and takes part in it: sends messages, stops turns, runs the tools it is asked for."""

    def __init__(self, world: World, session: str, *, first: int = 0) -> None:
        super().__init__(world, session, first=first)
        self.open_turns: set[str] = set()
        self.ended_turns: set[str] = set()
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
        self._message_numbers = itertools.count(1)

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def until(self, condition: Any) -> None:
        """Wait until something is true that frames make true."""
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
        while message_id not in self._acks:
            await self.until(lambda: self._connection is not None)
            await self._send(frame)
            self._refused = False
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self.until(lambda: message_id in self._acks or self._connection is None or self._refused)
            if message_id not in self._acks:
                await asyncio.sleep(0.2)
        return str(self._acks[message_id]["turn_id"])

    async def change(self, turn: str, wish: str | None) -> None:
        """Change what a message asks for, or take it back; it may be too late for that."""
        ack = next(ack for ack in self._acks.values() if ack["turn_id"] == turn)
        frame = {"type": "withdraw_message", "message_id": ack["message_id"]}
        if wish is not None:
            text = f"{self._said[ack['client_message_id']].partition(' ')[0]} {wish}"
            frame = {**frame, "type": "edit_message", "content": text}
            self.world.history.add("edited", session=self.session, id=ack["client_message_id"], text=text)
        await self._send(frame)

    async def stop_turn(self, turn: str) -> None:
        """Have a turn stopped; done when the turn has ended in some way."""
        self._stops.add(turn)
        while turn in self._stops and turn not in self.ended_turns:
            await self.until(lambda: self._connection is not None)
            self.world.history.add("cancel", socket=self.socket, session=self.session, turn=turn)
            await self._send({"type": "cancel", "turn_id": turn})
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self.until(lambda: turn in self.ended_turns or self._connection is None)
            await asyncio.sleep(0.1)

    async def ended(self, *turns: str) -> None:
        """Wait for the end of turns, however they end."""
        await self.until(lambda: self.ended_turns.issuperset(turns))

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
            await asyncio.sleep(PATIENCE / 2)

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
        """Run a tool once, by the call's id, and remember the result until the server says that it has it."""
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
