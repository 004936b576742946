"""The editor's side of `codelab acp`: one JSON message a line on standard input and output, and nothing else."""

import asyncio
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Any, BinaryIO

type Message = dict[str, Any]

logger = logging.getLogger(__name__)

#: Of one message; a longer one is not the Agent Client Protocol.
MAX_LINE_BYTES = 16 * 2**20
PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32602, -32603


class EditorFailed(Exception):
    """The editor answered a request with an error, or is gone."""


class Editor:
    """Reads and writes messages. Requests to the editor have ids of their own."""

    def __init__(self, source: BinaryIO | None = None, target: BinaryIO | None = None) -> None:
        self._source, self._target = source or sys.stdin.buffer, target or sys.stdout.buffer
        # A thread of its own: an editor that does not read must not stop the loop, and lines keep their order.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stdout")
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def messages(self) -> AsyncIterator[Message]:
        """Yield requests and notifications until the editor closes its end."""
        lines: asyncio.Queue[bytes] = asyncio.Queue(maxsize=100)
        loop = asyncio.get_running_loop()

        def read() -> None:
            with suppress(RuntimeError):
                while line := self._source.readline(MAX_LINE_BYTES):
                    asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
                asyncio.run_coroutine_threadsafe(lines.put(b""), loop).result()

        # A daemon, because a read of a pipe cannot be stopped.
        threading.Thread(target=read, daemon=True, name="stdin").start()
        while line := await lines.get():
            if not line.strip():
                continue
            try:
                message = json.loads(line)
            except ValueError:
                await self.error(None, PARSE_ERROR, "The line is not JSON.")
                continue
            if not isinstance(message, dict):
                await self.error(None, INVALID_REQUEST, "A line is one JSON object; batches are not supported.")
            elif "method" in message:
                if not (problem := _find_problem(message)):
                    yield message
                elif "id" in message:
                    await self.error(message["id"], INVALID_PARAMS, problem)
            else:
                self._settle(message)

    async def send(self, message: Message) -> None:
        """Write a message. Returns when the editor's pipe has taken it."""
        line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode() + b"\n"
        await asyncio.get_running_loop().run_in_executor(self._writer, self._write, line)

    async def error(self, message_id: Any, code: int, text: str, data: Any = None) -> None:
        """Answer a request with an error."""
        fields = {"code": code, "message": text, **({} if data is None else {"data": data})}
        await self.send({"id": message_id, "error": fields})

    async def answering(self, message: Message, work: Awaitable[None]) -> None:
        """Do the work for a message; a request is answered also when that fails."""
        try:
            await work
        except Exception as error:
            logger.exception("%s failed", message["method"])
            if "id" in message:
                text = f"`codelab acp` has a fault: {type(error).__name__}. Details are in its standard error."
                await self.error(message["id"], INTERNAL_ERROR, text)

    async def request(self, method: str, params: Message) -> Any:
        """Return the result of a request to the editor. Raises EditorFailed. Cancelling it tells the editor."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self.send({"id": number, "method": method, "params": params})
            return await answer
        except asyncio.CancelledError:
            await self.send({"method": "$/cancel_request", "params": {"requestId": number}})
            raise
        finally:
            self._waiting.pop(number, None)

    def _settle(self, message: Message) -> None:
        number = message.get("id")
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if answer is None or answer.done():
            return
        if isinstance(error := message.get("error"), dict):
            answer.set_exception(EditorFailed(str(error.get("message", "unknown error"))[:1000]))
        else:
            answer.set_result(message.get("result"))

    def _write(self, line: bytes) -> None:
        with suppress(BrokenPipeError, ValueError):
            self._target.write(line)
            self._target.flush()


def _find_problem(message: Message) -> str:
    """Return why a request or notification cannot be read, as a sentence; or an empty text."""
    params = message.get("params")
    if not isinstance(message["method"], str) or not isinstance(params, dict | None):
        return "`method` is a text, and `params` are an object."
    objects = ("_meta", "clientCapabilities")
    wrong = next((name for name in objects if not isinstance((params or {}).get(name), dict | None)), "")
    return f"`{wrong}` is an object." if wrong else ""
