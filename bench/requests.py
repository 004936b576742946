"""Asks the APIs for streamed completions over bare connections, and records when their text arrives.

It is the load client's part for HTTP, so it does as little as possible: it reads lines, and of the events only text.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bench.provider import wish
from bench.records import Turn

MODEL = "openai/fake"
DATA = b"data: "
#: Lines may be as long as the longest event.
MAX_LINE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Api:
    """How one API asks, and what it answers."""

    path: str
    #: Returns the body for a message.
    body: Callable[[str], dict[str, Any]]
    #: Returns the text in an event.
    text: Callable[[Mapping[str, Any]], str]
    #: The type of the last event; without one the stream ends with `[DONE]`.
    end: str = ""


def _chat(event: Mapping[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))


def _responses(event: Mapping[str, Any]) -> str:
    return str(event["delta"]) if event["type"] == "response.output_text.delta" else ""


def _messages(event: Mapping[str, Any]) -> str:
    return str(event["delta"].get("text", "")) if event["type"] == "content_block_delta" else ""


APIS = {
    "chat completions": Api(
        "/v1/chat/completions",
        lambda text: {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": text}]},
        _chat,
    ),
    "Responses": Api(
        "/v1/responses",
        lambda text: {"model": MODEL, "stream": True, "store": False, "input": text},
        _responses,
        "response.completed",
    ),
    "Messages": Api(
        "/v1/messages",
        lambda text: {
            "model": MODEL,
            "stream": True,
            "max_tokens": 4096,
            "messages": [{"role": "user", "content": text}],
        },
        _messages,
        "message_stop",
    ),
}


class Request:
    """An open connection that asks for one answer."""

    def __init__(self, api: Api, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._api, self._host, self._reader, self._writer = api, host, reader, writer

    @classmethod
    async def open(cls, api: str, url: str) -> Request:
        """Connect to the server of an address."""
        place = urlsplit(url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=MAX_LINE_BYTES)
        return cls(APIS[api], place.netloc, reader, writer)

    async def run(self, **what: Any) -> Turn:
        """Ask for an answer, follow it to its end and close the connection."""
        turn = Turn(what["wish_id"], time.monotonic())
        body = json.dumps(self._api.body(wish(**what))).encode()
        head = f"POST {self._api.path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        head += f"anthropic-version: 2023-06-01\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        try:
            status = await self._reader.readline()
            if b" 200 " not in status:
                turn.error = status.decode(errors="replace").strip()
            else:
                await self._follow(turn)
        except OSError as error:
            turn.error = f"{type(error).__name__}: {error}"
        finally:
            self._writer.close()
        return turn

    async def _follow(self, turn: Turn) -> None:
        # The lines of events and those between the chunks of the body cannot be confused.
        while line := await self._reader.readline():
            if not line.startswith(DATA):
                continue
            if line.startswith(b"data: [DONE]"):
                turn.ended = time.monotonic()
                return
            event = json.loads(line[len(DATA) :])
            if text := self._api.text(event):
                turn.texts.append((time.monotonic(), text))
            elif self._api.end and event["type"] == self._api.end:
                turn.ended = time.monotonic()
                return
            elif event.get("error") or event.get("type") == "response.failed":
                turn.error = json.dumps(event)[:500]
                return
        turn.error = "the stream was cut"
