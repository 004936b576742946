"""All providers of the cases in one HTTP server: each play has an address of its own, `/NAME/v1`."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.cases.files import Json, Reply, Script

#: A service reads its catalog once, so all are in it from the beginning.
PROVIDERS = 600

#: The keys of providers, by the variable that holds each, in lower case.
KEYS = {
    "key1": "sk-test-1\n",
    "key2": "sk-test-1\r\n",
    "key3": "sk-test-1 ",
    "key4": " sk-test-1",
    "key5": "sk-test-1\xa0",
    "key6": "",
}

REFUSAL = Reply(
    400, "application/json", [b'{"error": {"message": "Invalid request.", "type": "invalid_request_error"}}']
)


def _behind_the_last_user(messages: list[Json]) -> list[Json]:
    places = [place for place, message in enumerate(messages) if message["role"] == "user"]
    return messages[places[-1] + 1 :] if places else messages


def _has_a_strange_name(messages: list[Json]) -> bool:
    names = [call["function"]["name"] for message in messages for call in message.get("tool_calls") or ()]
    return any(not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)


def _does_not_alternate(messages: list[Json]) -> bool:
    roles = [
        message["role"]
        for message in messages
        if message["role"] not in ("system", "tool") and not message.get("tool_calls")
    ]
    return any(role != ("user", "assistant")[place % 2] for place, role in enumerate(roles))


def _lacks_a_thought(messages: list[Json]) -> bool:
    newest = _behind_the_last_user(messages)
    return any(message.get("tool_calls") and not message.get("reasoning_content") for message in newest)


def signatures(messages: list[Json]) -> list[Any]:
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    return [call.get("extra_content", {}).get("google", {}).get("thought_signature") for call in calls]


def _lacks_a_signature(messages: list[Json]) -> bool:
    return not all(signatures(_behind_the_last_user(messages)))


#: By the words of the cases.
RULES: dict[str, Callable[[list[Json]], bool]] = {
    "400 whenever a function name in tool_calls is not [a-zA-Z0-9_-]{1,64}": _has_a_strange_name,
    "400 when the roles of messages without tool_calls, system and tool left out, do not alternate user, assistant": (
        _does_not_alternate
    ),
    "400 when an assistant message with tool_calls behind the last user message has no reasoning_content": (
        _lacks_a_thought
    ),
    "400 when a call behind the last user message has no extra_content.google.thought_signature": _lacks_a_signature,
    "as above": _lacks_a_signature,
}


class Providers:
    """Answers by the scripts, and keeps the requests in them. Runs in a thread of its own."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self._free = (f"case{number}" for number in range(1, PROVIDERS + 1))
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)

    def __enter__(self) -> Providers:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(60)
        self._loop.close()

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._connection, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._done.wait()

    def add(self, script: Script, *, name: str = "") -> Script:
        """Let a provider play this: the one with this name, or one that has played nothing yet."""
        assert not script.refuses or script.refuses in RULES, script.refuses
        script.name = name or next(self._free)
        self.scripts[script.name] = script
        return script

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    def catalog(self) -> str:
        """Return a catalog file with all providers, which are of OpenAI's kind."""
        names = [f"case{number}" for number in range(1, PROVIDERS + 1)]
        return "".join(
            f'[providers.{name}]\napi_base = "{self.url(name)}"\noutput_limit = "max_completion_tokens"\n'
            f'key_variable = "{name.upper()}"\n'
            for name in (*names, *KEYS)
        )

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            script = self.scripts[first.split("/")[1]]
            script.requests.append(body)
            script.headers.append(headers)
            reply = _reply(script, body)
            head = f"HTTP/1.1 {reply.status} X\r\nContent-Type: {reply.content_type}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            for piece in reply.pieces:
                if isinstance(piece, bytes):
                    writer.write(piece)
                    await writer.drain()
                else:
                    # A client sends nothing before its answer is complete, so anything to read means that it has left.
                    with suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1), piece)
                        break
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()


def _reply(script: Script, body: Json) -> Reply:
    if script.refusal and script.unknown_field in body:
        return script.refusal
    if script.refuses and RULES[script.refuses](body["messages"]):
        return REFUSAL
    script.replied += 1
    return script.replies[min(script.replied, len(script.replies)) - 1]
