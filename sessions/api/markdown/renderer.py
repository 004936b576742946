"""Renders Markdown in a few processes of its own, and keeps what it has rendered.

A text that takes too long ends its process, is tried once more without colours, and then stays plain text for as long
as it is remembered.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from weakref import WeakValueDictionary

import structlog

from sessions.protocol.codes import ErrorCode, Rejected

logger = structlog.get_logger(__name__)

PROCESSES = 2
#: For one text, with the start of a process: far more than `child.MAX_SECONDS`, for machines that are busy.
MAX_SECONDS = 10.0
MAX_CACHE_BYTES = 16 * 1024 * 1024
#: What an entry of the cache takes beside its document.
ENTRY_BYTES = 300
#: Requests of a user that wait for the one that is being answered.
MAX_WAITING = 8
#: A document that stays plain text.
PLAIN = b"null"
PROJECT = Path(__file__).parents[3]
#: The process must not see keys and passwords.
ENVIRONMENT_NAMES = ("PATH", "LD_LIBRARY_PATH")

_THREADS = ThreadPoolExecutor(max_workers=PROCESSES, thread_name_prefix="markdown")
_thread = threading.local()


class _Cache:
    """The newest documents by the hash of their text, up to a number of bytes."""

    def __init__(self) -> None:
        self._documents: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: bytes) -> bytes | None:
        if key in self._documents:
            self._documents.move_to_end(key)
        return self._documents.get(key)

    def add(self, key: bytes, document: bytes) -> None:
        if key in self._documents:
            return
        self._documents[key] = document
        self._bytes += ENTRY_BYTES + len(document)
        while self._bytes > MAX_CACHE_BYTES:
            self._bytes -= ENTRY_BYTES + len(self._documents.popitem(last=False)[1])


class _Turns:
    """Lets a user's requests through one at a time, so that no user has all the processes."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._waiting: dict[int, int] = {}

    @asynccontextmanager
    async def turn(self, user_id: int) -> AsyncIterator[None]:
        count = self._waiting.get(user_id, 0)
        if count > MAX_WAITING:
            text = "Too many texts are being rendered for you. Try again in a moment."
            raise Rejected(ErrorCode.RATE_LIMITED, text, retry_after=1)
        self._waiting[user_id] = count + 1
        try:
            lock = self._locks.setdefault(user_id, asyncio.Lock())
            async with lock:
                yield
        finally:
            self._waiting[user_id] -= 1
            if not self._waiting[user_id]:
                del self._waiting[user_id]


_cache = _Cache()
_turns = _Turns()


async def render(user_id: int, texts: list[str], *, is_open: bool) -> list[bytes]:
    """Return the documents of texts as JSON: `blocks` and `length`, or null. Raises Rejected."""
    keys = [key_of(text, is_open=is_open) for text in texts]
    documents = [_cache.get(key) for key in keys]
    if None in documents:
        async with _turns.turn(user_id):
            for index, text in enumerate(texts):
                if documents[index] is None:
                    call = asyncio.get_running_loop().run_in_executor(_THREADS, _render, text, is_open)
                    documents[index] = await call
                    _cache.add(keys[index], documents[index] or PLAIN)
    return [document or PLAIN for document in documents]


def key_of(text: str, *, is_open: bool) -> bytes:
    """Return the name of a document in the cache."""
    return hashlib.sha256(f"{is_open} {text}".encode()).digest()


def _render(text: str, is_open: bool) -> bytes:
    has_code = "```" in text or "~~~" in text
    for is_highlighted in (True, False) if has_code else (False,):
        answer = _ask({"text": text, "open": is_open, "highlight": is_highlighted})
        if answer:
            return answer
        logger.warning("markdown_took_too_long", length=len(text), highlighted=is_highlighted)
    return PLAIN


def _ask(request: dict[str, object]) -> bytes:
    """Return the answer of the thread's process, which is started when there is none; empty if it ends."""
    process: subprocess.Popen[bytes] | None = getattr(_thread, "process", None)
    if process is None or process.poll() is not None:
        process = _thread.process = _start()
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process has no pipes")
    timer = threading.Timer(MAX_SECONDS, process.kill)
    timer.start()
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        line = process.stdout.readline()
    finally:
        timer.cancel()
    if line.endswith(b"\n"):
        return line[:-1]
    process.kill()
    process.communicate()
    _thread.process = None
    return b""


def _start() -> subprocess.Popen[bytes]:
    # Of its own session: Ctrl-C is for the web process, whose end this one notices.
    return subprocess.Popen(
        [sys.executable, "-m", "sessions.api.markdown.child"],
        cwd=PROJECT,
        env={name: os.environ[name] for name in ENVIRONMENT_NAMES if name in os.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
