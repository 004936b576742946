"""A model provider for tests: a real HTTP server that speaks OpenAI's wire format, correctly or not.

Token i of a request is a pure function of the request's last message and i, so that every test knows the right answer.
The message says how to behave, for example `tokens=200 rate=50` or `status=429`; with `stamp` a token is instead its
number and the time it was made at. With `limit=2` the first two requests meet a rate limit that asks to wait a second.

`turn=17 tokens=80 tools=2` is for runs with many faults: token i is then a pure function of the turn's number and i.
The model asks for a tool twice, each time after 80 tokens, and counts on in the next step; with `lump=500` it sends 500
tokens at a time, without end. As a process of its own (`python -m tests.live.provider LOG`) it prints its port, logs
each request, and ends with its input.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

ERROR = {"error": {"message": "secret detail from http://inside.example/v1 with sk-verysecretkey", "type": "x"}}


def token(i: int) -> str:
    return f"w{i} "


def turn_token(turn: int, i: int) -> str:
    return f"t{turn}.{i} "


def step_of(messages: list[dict[str, Any]]) -> int:
    """Return how often the model has asked for tools since the last user message."""
    steps = 0
    for message in messages:
        if message["role"] == "user":
            steps = 0
        steps += bool(message.get("tool_calls"))
    return steps


def text_of(content: str | list[dict[str, Any]]) -> str:
    """Return the text of a message, without its images."""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


class Provider:
    """Runs in its own thread.

    `requests` holds what it received, `bodies` the same as bytes, `first_byte_at` the time of each first token.
    """

    def __init__(self, log: Path | None = None) -> None:
        self._log = log.open("a", buffering=1) if log else None
        self.requests: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.first_byte_at: dict[str, float] = {}
        self.closed_early = 0
        #: Requests that were refused because of a limit, by turn and step.
        self._limited: Counter[tuple[str, str]] = Counter()
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Provider:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._done.wait()
        server.close()
        # Clients of this process keep their connections open for a next request, which never comes.
        for writer in self._open:
            writer.transport.abort()
        await asyncio.sleep(0)
        if self._log:
            self._log.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                found = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                raw = await reader.readexactly(int(found[1]) if found else 0)
                body = json.loads(raw)
                if self._log is None:
                    self.requests.append(body)
                    self.bodies.append(raw)
                if "input" in body:
                    if not await self._embeddings(writer, body):
                        break
                    continue
                said = text_of(next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user"))
                # A message that was not answered stands before the newest one.
                said = said.rpartition("\n\n")[2]
                wish = dict(re.findall(r"(\w+)=(\S+)", said))
                if "turn" in wish:
                    wish["step"] = str(step_of(body["messages"]))
                    if self._log:
                        asked = {"t": time.monotonic(), "turn": int(wish["turn"]), "step": int(wish["step"])}
                        self._log.write(json.dumps(asked) + "\n")
                if not await self._answer(writer, said, wish):
                    break
        self._open.discard(writer)
        with suppress(ConnectionError):
            writer.close()

    async def _embeddings(self, writer: asyncio.StreamWriter, asked: dict[str, Any]) -> bool:
        """Answer with vectors of three numbers, the last one first. The second number is the index of the input.

        For the input `endless` the first vector has no end.
        """
        if asked["input"] == ["endless"]:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._chunk(writer, b'{"data": [{"index": 0, "embedding": [0.5')
            await self._repeat(writer, b", 0.5" * 20_000)
            return False
        vectors = [{"index": i, "embedding": [0.5, float(i), 0.25]} for i in range(len(asked["input"]))]
        usage = {"prompt_tokens": 9, "total_tokens": 9}
        body = json.dumps({"object": "list", "data": vectors[::-1], "usage": usage}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        return True

    async def _answer(self, writer: asyncio.StreamWriter, said: str, wish: dict[str, str]) -> bool:
        """Answer one request as it wishes; return False if the connection must be closed afterwards."""
        asked = wish.get("turn", said), wish.get("step", "")
        if self._limited[asked] < int(wish.get("limit", 0)):
            self._limited[asked] += 1
            wish = {"status": "429", "retry_after": "1"}
        if "status" in wish:
            body = json.dumps(ERROR).encode()
            again = f"Retry-After: {wish['retry_after']}\r\n" if "retry_after" in wish else ""
            writer.write(
                f"HTTP/1.1 {wish['status']} No\r\nContent-Type: application/json\r\n{again}"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await writer.drain()
            return True
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await writer.drain()
        if "endless" in wish:
            return await self._endless(writer, wish["endless"])
        if "silent" in wish:
            return await self._keep_alive(writer, float(wish["silent"]))
        if "reasoning" in wish:
            self._event(writer, {"delta": {"reasoning_content": wish["reasoning"]}})
        rate = float(wish.get("rate", 0))
        started = time.monotonic()
        tokens = int(wish.get("tokens", 3))
        step = int(wish.get("step", 0))
        if "lump" in wish:
            return await self._lumps(writer, int(wish["turn"]), size=int(wish["lump"]))
        for i in range(tokens):
            if rate:
                await asyncio.sleep(max(0.0, started + i / rate - time.monotonic()))
            if "turn" in wish:
                text = turn_token(int(wish["turn"]), step * tokens + i)
            else:
                text = f"{i}@{time.monotonic():.6f} " if "stamp" in wish else token(i)
            self._event(writer, {"delta": {"content": text}, "finish_reason": None})
            await writer.drain()
            if i == 0:
                self.first_byte_at[said] = time.monotonic()
            if i == int(wish.get("reset_after", -1)):
                writer.transport.abort()
                return False
            if i == int(wish.get("stall_after", -1)):
                return await self._keep_alive(writer, 600)
        calls = step < int(wish.get("tools", 0))
        if calls:
            path = json.dumps({"path": f"{wish['turn']}/{step}"})
            self._tool_call(writer, "read_file", path, call_id=f"call_{uuid.uuid4().hex}")
        if "call" in wish:
            self._tool_call(writer, wish["call"], wish.get("arguments", '{"path": "README.md"}'))
        if "no_end" not in wish:
            reason = "tool_calls" if calls or "call" in wish else "stop"
            self._event(writer, {"delta": {}, "finish_reason": reason})
            usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
            self._event(writer, None, usage=usage)
            self._chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _lumps(self, writer: asyncio.StreamWriter, turn: int, *, size: int) -> bool:
        """Send tokens without end, many at once."""
        for first in itertools.count(0, size):
            text = "".join(turn_token(turn, i) for i in range(first, first + size))
            self._event(writer, {"delta": {"content": text}, "finish_reason": None})
            await writer.drain()
        return False

    def _tool_call(self, writer: asyncio.StreamWriter, name: str, text: str, call_id: str = "call_abc") -> None:
        for piece in ({"id": call_id, "function": {"name": name, "arguments": ""}}, text[:4], text[4:]):
            call = {"function": {"arguments": piece}} if isinstance(piece, str) else piece
            self._event(writer, {"delta": {"tool_calls": [{"index": 0, "type": "function", **call}]}})

    async def _keep_alive(self, writer: asyncio.StreamWriter, seconds: float) -> bool:
        """Send only comments, as proxies do; stop early when the client disconnects."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._chunk(writer, b": keep-alive\n\n")
            try:
                await writer.drain()
            except ConnectionError:
                self.closed_early += 1
                raise
            await asyncio.sleep(0.1)
        return False

    async def _endless(self, writer: asyncio.StreamWriter, what: str) -> bool:
        """Send without an end: `text`, `pieces`, `reasoning`, `arguments`, `calls`, a `line`, or `values`."""
        words = "x" * 50_000
        match what:
            case "text":
                piece = self._delta({"content": words})
            case "pieces":
                piece = self._delta({"content": "x"}) * 500
            case "reasoning":
                piece = self._delta({"reasoning_content": words})
            case "arguments":
                call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": words}}
                piece = self._delta({"tool_calls": [call]})
            case "calls":
                calls = [{"index": i, "id": f"c{i}", "function": {"name": "f", "arguments": "{}"}} for i in range(200)]
                piece = self._delta({"tool_calls": calls})
            case "values":
                piece = b'data: {"choices": [' + b"{}," * 300_000 + b"{}]}\n\n"
            case _:
                self._chunk(writer, b"data: ")
                piece = words.encode()
        await self._repeat(writer, piece)
        return False

    async def _repeat(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        """Send a piece again and again until the client leaves."""
        while True:
            self._chunk(writer, piece)
            await writer.drain()

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta, 'finish_reason': None}]})}\n\n".encode()

    def _event(self, writer: asyncio.StreamWriter, choice: dict[str, Any] | None, **more: Any) -> None:
        choices = [{"index": 0, "finish_reason": None, **choice}] if choice is not None else []
        body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": choices, **more}
        self._chunk(writer, f"data: {json.dumps(body)}\n\n".encode())

    def _chunk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def main() -> None:
    with Provider(Path(sys.argv[1])) as provider:
        print(provider.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
