"""A model provider for real programs: asks for the tool that a task names, then says that it is done.

It knows a task by its TAG in a user's message, because a program adds words of its own to what the user says. A task
also says what goes wrong first.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What a user's message has so that the provider knows the task.
TAG = "[task {name}]"
TAG_PATTERN = re.compile(r"\[task ([\w-]+)\]")
#: The last answer of each task.
DONE = "The file is written."
#: The text of an answer that stalls.
HALF = "I write the"
OVERLOADED = {"message": "The server is overloaded.", "type": "server_error", "param": None, "code": None}
#: OpenAI's words for a request of 9,031 tokens.
TOO_LONG = {
    "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9031 tokens. "
    "Please reduce the length of the messages.",
    "type": "invalid_request_error",
    "param": "messages",
    "code": "context_length_exceeded",
}

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """What the model does about a task: it asks for a tool, or, without tools, answers with a text.

    The one without a name is that of all messages without a TAG.
    """

    name: str
    tool: str = ""
    arguments: Json = field(default_factory=dict)
    text: str = ""
    #: So many requests are refused first.
    failures: int = 0
    #: So many requests get HALF first, and then nothing more.
    stalls: int = 0
    #: So many are refused as too long.
    overflows: int = 0


class Provider:
    """A context in which the provider runs.

    `requests` has the bodies that it got, `asked` their number by task, `stalled` how many answers stall now.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = {task.name: task for task in tasks}
        self.requests: list[Json] = []
        self.asked: Counter[str] = Counter()
        self.stalled = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                provider.requests.append(body)
                task = provider._find_task(body["messages"])
                number = provider._count(task)
                if task and number <= task.failures:
                    self._send(503, "application/json", json.dumps({"error": OVERLOADED}))
                elif task and number <= task.overflows:
                    self._send(400, "application/json", json.dumps({"error": TOO_LONG}))
                elif task and number <= task.stalls:
                    self._stall()
                else:
                    events = (f"data: {json.dumps(event)}\n\n" for event in provider._answer(task, body))
                    self._send(200, "text/event-stream", f"{''.join(events)}data: [DONE]\n\n")

            def _send(self, status: int, kind: str, text: str) -> None:
                answer = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def _stall(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                provider.stalled += 1
                with suppress(OSError):
                    self.wfile.write(f"data: {json.dumps(_chunk({'content': HALF}))}\n\n".encode())
                    while True:
                        time.sleep(0.1)
                        self.wfile.write(b": still there\n\n")
                provider.stalled -= 1

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Provider:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _count(self, task: Task | None) -> int:
        if task is None:
            return 0
        self.asked[task.name] += 1
        return self.asked[task.name]

    def _answer(self, task: Task | None, body: Json) -> Iterator[Json]:
        tools = {tool["function"]["name"] for tool in body.get("tools") or ()}
        if task is None:
            yield from _text("A task.")
        elif any(message["role"] == "tool" for message in body["messages"]):
            yield from _text(DONE)
        elif task.tool in tools:
            call = {"index": 0, "id": f"call_{task.name.replace('-', '_')}", "type": "function"}
            function = {"name": task.tool, "arguments": json.dumps(task.arguments)}
            yield _chunk({"role": "assistant", "content": None, "tool_calls": [{**call, "function": function}]})
            yield _chunk({}, "tool_calls")
        else:
            yield from _text(task.text or "A title.")
        yield {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}

    def _find_task(self, messages: list[Json]) -> Task | None:
        for message in reversed(messages):
            if message["role"] == "user" and (found := TAG_PATTERN.search(json.dumps(message["content"]))):
                return self._tasks.get(found[1])
        return self._tasks.get("")


def _text(text: str) -> Iterator[Json]:
    yield _chunk({"role": "assistant", "content": text[:5]})
    yield _chunk({"content": text[5:]})
    yield _chunk({}, "stop")


def _chunk(delta: Json, finish_reason: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "x", "choices": [choice]}
