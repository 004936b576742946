"""A model server that plays given bytes over real HTTP, and keeps the requests that it received.

It lives in the event loop of the test. A play is a list of what happens: bytes are sent as one piece, numbers are
seconds of silence, RESET breaks the connection. A play that ends ends the response cleanly.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

type Step = bytes | float | Literal["reset"]

RESET: Literal["reset"] = "reset"
DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Play:
    """The response to one request."""

    steps: list[Step] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})


@dataclass(slots=True)
class Post:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Recorded:
    """Answers each request with the next play, and all further ones with the last."""

    def __init__(self) -> None:
        self.plays: list[Play] = []
        self.posts: list[Post] = []
        #: May answer a request instead, by its body; then no play is used up.
        self.rule: Callable[[dict[str, Any]], Play | None] = lambda _: None
        self._refused = 0
        self.connections = 0
        #: Is set when a client goes away in the middle of an answer.
        self.left = asyncio.Event()
        #: Is set when a silence begins.
        self.silent = asyncio.Event()
        self.port = 0
        self.open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def models(self) -> list[str]:
        return [post.body["model"] for post in self.posts]

    def play(self, *steps: Step, status: int = 200, **headers: str) -> Recorded:
        """Answer one more request in this way."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.plays.append(Play(list(steps), status, {"content-type": "text/event-stream", **named}))
        return self

    def refuse(self, status: int, body: Any = None, **headers: str) -> Recorded:
        """Answer one more request with an error."""
        error = body or {"error": {"message": "secret words with sk-key", "type": "x", "code": None}}
        return self.play(json.dumps(error).encode(), status=status, content_type="application/json", **headers)

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._exchange(reader, writer):
                pass
        self.open.discard(writer)
        with suppress(ConnectionError):
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        self.posts.append(Post(first.split()[1], headers, body))
        if play := self.rule(body):
            self._refused += 1
        else:
            play = self.plays[min(len(self.posts) - self._refused, len(self.plays)) - 1]
        if play.steps and isinstance(play.steps[0], float):
            # Not even the status comes.
            await self._silence(reader, play.steps[0])
        head = "".join(f"{name}: {value}\r\n" for name, value in play.headers.items())
        writer.write(f"HTTP/1.1 {play.status} X\r\n{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for step in play.steps:
            if step == RESET:
                await writer.drain()
                # What was written is to arrive before the connection breaks.
                await asyncio.sleep(0.02)
                writer.transport.abort()
                return False
            if isinstance(step, float):
                await writer.drain()
                await self._silence(reader, step)
            else:
                writer.write(b"%x\r\n%b\r\n" % (len(step), step))
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _silence(self, reader: asyncio.StreamReader, seconds: float) -> None:
        """Wait. A client sends nothing before its answer is complete, so anything to read means that it has left."""
        self.silent.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await reader.read(1)
                self.left.set()
                raise ConnectionError


@asynccontextmanager
async def recorded() -> AsyncIterator[Recorded]:
    """Yield a server on this machine."""
    it = Recorded()
    server = await asyncio.start_server(it.connection, "127.0.0.1", 0)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        for writer in it.open:
            writer.transport.abort()
        await asyncio.sleep(0)


def event(delta: dict[str, Any] | None = None, *, end: str | None = None, **more: Any) -> bytes:
    """Write one event in OpenAI's form."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": end}]
    it = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    return f"data: {json.dumps(it)}\n\n".encode()


def text(*pieces: str) -> list[bytes]:
    return [event({"content": piece}) for piece in pieces]


def tool_call(name: str, *arguments: str, index: int = 0, call_id: str = "call_1") -> list[bytes]:
    first = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
    more = [{"index": index, "function": {"arguments": piece}} for piece in arguments]
    return [event({"tool_calls": [call]}) for call in (first, *more)]


def usage(read: int = 7, said: int = 5, *, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "prompt_tokens": read,
        "completion_tokens": said,
        "total_tokens": read + said,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def ending(reason: str = "stop", **counts: int) -> list[bytes]:
    return [event({}, end=reason), event(usage=usage(**counts)), DONE]
