"""Clients that follow a session: they lose the connection, reconnect, and say where they were.

They repair nothing: what a socket receives goes into the history unchanged, and the checker judges it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import websockets

from codelab.local.operating_system import LOOPBACK
from tests.chaos.history import History

ENDS = frozenset({"turn_completed", "turn_failed", "turn_cancelled"})
#: Errors of a connection that the proxy cuts.
CUT = (OSError, EOFError, TimeoutError, websockets.WebSocketException, httpx.HTTPError, httpx.StreamError)
#: Seconds after which a client sends an unanswered frame again.
FRAME_TIMEOUT_SECONDS = 4.0

type Frame = dict[str, Any]


@dataclass
class World:
    """The state that all clients of a run share."""

    history: History
    #: Ports of the web processes, or of the links in front of them.
    ports: Sequence[int]
    tool_log: Path
    dice: random.Random = field(default_factory=random.Random)
    turn_numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    follower_numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    socket_numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    #: Shortest and longest pause before a client reconnects.
    pause: tuple[float, float] = (0.05, 0.4)


class Follower:
    """Follows a session over one socket after another; it remembers the number of the last event."""

    kind = "v2"

    def __init__(self, world: World, session: str, *, first: int = 0) -> None:
        self.world, self.session = world, session
        self.after = 0
        self.name = f"{self.kind}-follower-{next(world.follower_numbers)}"
        self.socket = ""
        #: The web process that it is connected to.
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
        """Record a frame."""
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
    """A client of the original's protocol: pieces of text with numbers, and `?after=` to resume."""

    kind = "v1"

    async def _once(self, web: int) -> None:
        async with self._connect(web, None, f"?after={self.after}") as connection:
            self.opened(web, self.after, "replay")
            await self.talk(connection)

    def handle(self, frame: Frame) -> None:
        if "number" in frame:
            facts = {"socket": self.socket, "session": self.session, "number": frame["number"], "kind": frame["type"]}
            # The last frame of a message has all of it, and nothing new in `token`.
            text = frame.get("content") or frame.get("token", "")
            self.world.history.add("received", **facts, payload={"text": text})
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
