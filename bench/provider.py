"""A provider for measurements: OpenAI's wire format, each token stamped with the time of its creation.

It is not measured, so it does as little as possible: no framework, one timer and one write for each token. Of a request
it reads only the wish in the last message, `bench id=a1 tokens=200 rate=50`. Token i is `i@seconds`, on the clock that
all processes share. With `rate=0` it sends everything at once, with `silent` nothing. With `tools=3` it asks for a file
until it has read the results of three calls, and answers then.

As a process (`python -m bench.provider`) it prints its port, then a line of JSON for each request and for each
connection that closed early. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable

WISH = re.compile(rb"bench id=(\S+) tokens=(\d+) rate=(\d+)( silent)?(?: tools=(\d+))?")
#: Stands once in the result of each call.
RESULT = b'"tool_call_id"'
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = '{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"fake",'
ROLE = CHUNK + '"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}'
PIECE = CHUNK + '"choices":[{"index":0,"delta":{"content":"%d@%.6f "},"finish_reason":null}]}'
CALL = CHUNK + (
    '"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_%s_%d","type":"function",'
    '"function":{"name":"read_file","arguments":"{\\"path\\": \\"file-%d.txt\\"}"}}]},"finish_reason":null}]}'
)
CALLED = CHUNK + '"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}'
END = CHUNK + '"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = CHUNK + '"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}'

type Log = Callable[[str, str], None]


def wish(*, wish_id: str, tokens: int, rate: int, silent: bool = False, tools: int = 0) -> str:
    """Return the message that requests an answer."""
    more = (" silent" if silent else "") + (f" tools={tools}" if tools else "")
    return f"bench id={wish_id} tokens={tokens} rate={rate}{more}"


def event(text: str) -> bytes:
    """Return one event of the stream as a chunk of the body."""
    data = f"data: {text}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """One connection of the service, with one request at a time."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._wish_id = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(self._received, 0, end)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) >= whole:
            body = bytes(self._received[end + 4 : whole])
            del self._received[:whole]
            self._begin(body)

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        if self._wish_id:
            self._log("closed", self._wish_id)

    def _begin(self, body: bytes) -> None:
        match = WISH.match(body, max(body.rfind(b"bench id="), 0))
        if not match:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        self._wish_id = match[1].decode()
        results = body.count(RESULT, match.end())
        self._log("asked", f"{self._wish_id}/{results}" if results else self._wish_id)
        self._tokens, self._made = int(match[2]), 0
        self._pause = 1 / int(match[3]) if int(match[3]) else 0.0
        self._read = len(body) // 4
        if match[4]:
            self._transport.write(HEAD)
            return
        if results < int(match[5] or 0):
            call = event(CALL % (self._wish_id, results, results)) + event(CALLED)
            self._transport.write(HEAD + event(ROLE) + call + self._close())
            return
        self._transport.write(HEAD + event(ROLE))
        self._started = self._loop.time()
        self._say()

    def _say(self) -> None:
        # Late tokens are sent at once, so that the rate holds on a busy machine.
        self._transport.write(event(PIECE % (self._made, time.monotonic())))
        self._made += 1
        if self._made >= self._tokens:
            self._end()
        else:
            self._timer = self._loop.call_at(self._started + self._made * self._pause, self._say)

    def _end(self) -> None:
        self._transport.write(event(END) + self._close())

    def _close(self) -> bytes:
        self._wish_id, self._timer = "", None
        usage = USAGE % (self._read, self._tokens, self._read + self._tokens)
        return event(usage) + event("[DONE]") + b"0\r\n\r\n"


async def serve() -> None:
    """Serve until the input ends."""

    def log(what: str, wish_id: str) -> None:
        print(json.dumps([what, wish_id, time.monotonic()]), flush=True)

    server = await asyncio.get_running_loop().create_server(lambda: Connection(log), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
