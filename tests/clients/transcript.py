"""Plays recorded transcripts of the original's clients (tests/clients/recorded) against a running service.

A transcript is a text with one line for each step, in the client's order:

    # a remark
    POST /oauth/token a=b            a request; the rest of the line is its body, to the byte
    200 token {"expires_in": 900}    its answer: the status, how the client parses it, and some of what is in it
    OPEN /api/v1/ws/$key             a socket (FOLLOW: a stream) instead of the one before; CLOSE: without another
    > {"type":"user_message",…}      a frame, to the byte
    < {"type":"tool_call",…}         the next frame, and some of what is in it
    ~                                nothing comes for a while
    = {"bubbles": ["Hello"]}         what the client shows by now

`$name` is the value at its first place in an answer or frame, `$_` is any value. Every answer and every frame goes
through a parser as strict as the client's own.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Protocol

import httpx

from tests.clients.casts import Parse
from tests.live.service import Service

RECORDED = Path(__file__).parent / "recorded"
#: Seconds to wait where no frame may come, and where one must come.
SILENCE, PATIENCE = 0.5, 60
REQUEST = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (\S+) ?(.*)")
ANSWER = re.compile(r"(\d{3}) ?(\w*) ?(.*)")


class Reader(Protocol):
    """What a client reads of frames, and what it shows."""

    def take(self, text: str) -> dict[str, Any] | None:
        """Parse a frame or a line as the client does; return None if the client ignores it."""
        ...

    def shown(self) -> dict[str, Any]:
        """Return what the client shows."""
        ...


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client of the original: the headers that it sends, and how it reads."""

    reader: Callable[[], Reader]
    answers: dict[str, Parse]
    #: Headers of its requests, of its requests with a body, and of its handshakes.
    headers: dict[str, str]
    body_headers: dict[str, str]
    #: Largest frame that its library accepts, in bytes.
    max_size: int | None = None


def transcripts(client: str) -> list[Path]:
    """Return the transcripts of a client."""
    found = sorted(RECORDED.glob(f"{client}-*.txt"))
    assert found, f"{client} has no transcripts"
    return found


async def play(path: Path, client: Client, service: Service, **names: str) -> None:
    """Play a transcript; `names` are the initial values."""
    async with AsyncExitStack() as stack:
        player = _Player(client, service, names, stack)
        for number, line in _lines(path):
            try:
                await player.do(line)
            except Exception as error:
                raise AssertionError(f"{path.name}, line {number}: {line[:200]}\n{error!r}") from error
        await player.do("CLOSE")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line and not line.startswith("#"):
            yield number, line


class _Player:
    def __init__(self, client: Client, service: Service, names: dict[str, str], stack: AsyncExitStack) -> None:
        self.client, self.service, self.names, self.stack = client, service, names, stack
        # The clients do not follow redirects.
        self.http = httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=PATIENCE)
        stack.push_async_callback(self.http.aclose)
        self.reader = client.reader()
        self.response: httpx.Response | None = None
        self.following: AsyncExitStack | None = None
        self.send: Any = None
        self.incoming: AsyncIterator[str] | None = None
        self.pending: asyncio.Future[str] | None = None

    async def do(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "OPEN" | "FOLLOW" | "CLOSE":
                await self._leave()
                if word != "CLOSE":
                    await (self._open if word == "OPEN" else self._follow)(self._filled(rest))
            case ">":
                await self.send(self._filled(rest))
            case "<":
                self._expect(json.loads(rest), await self._next())
            case "~":
                await self._hear_nothing()
            case "=":
                self._expect(json.loads(rest), self.reader.shown())
            case _ if found := REQUEST.fullmatch(line):
                await self._request(*map(self._filled, found.groups()))
            case _:
                found = ANSWER.fullmatch(line)
                assert found, "not a line of a transcript"
                self._answer(*found.groups())

    def _filled(self, text: str) -> str:
        return Template(text).substitute(self.names)

    async def _request(self, method: str, path: str, body: str) -> None:
        headers = self._headers(self.client.headers)
        if body:
            headers |= self.client.body_headers
            if not body.startswith("{"):
                headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.response = await self.http.request(method, path, content=body.encode() or None, headers=headers)

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        """Return the headers whose names all have values: before sign-in a client does not have a token."""
        return {
            name: Template(value).safe_substitute(self.names) for name, value in headers.items() if self._has(value)
        }

    def _has(self, value: str) -> bool:
        return all(name in self.names for name in Template(value).get_identifiers())

    def _answer(self, status: str, parser: str, expected: str) -> None:
        assert self.response is not None
        assert self.response.status_code == int(status), self.response.text
        data = self.response.json() if parser or expected else None
        if parser:
            self.client.answers[parser](data)
        if expected:
            self._expect(json.loads(expected), data)

    async def _open(self, path: str) -> None:
        self.following = AsyncExitStack()
        connected = self.service.connect(path, max_size=self.client.max_size)
        socket = await self.following.enter_async_context(connected)
        self.send = socket.send
        self.incoming = (str(message) async for message in socket.connection)

    async def _follow(self, path: str) -> None:
        self.following = AsyncExitStack()
        headers = self._headers(self.client.headers) | {"Accept": "application/x-ndjson"}
        response = await self.following.enter_async_context(self.http.stream("GET", path, headers=headers))
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/x-ndjson"
        self.incoming = (line + "\n" async for line in response.aiter_lines())

    async def _leave(self) -> None:
        if self.following is not None:
            if self.pending is not None:
                self.pending.cancel()
                await asyncio.gather(self.pending, return_exceptions=True)
            await self.following.aclose()
        self.following = self.incoming = self.pending = self.send = None

    async def _next(self) -> dict[str, Any]:
        """Return the next frame that the client does not ignore."""
        async with asyncio.timeout(PATIENCE):
            while True:
                frame = self.reader.take(await self._received())
                if frame is not None:
                    return frame

    async def _hear_nothing(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SILENCE):
                    text = await self._received()
            except TimeoutError:
                return
            assert self.reader.take(text) is None, text

    async def _received(self) -> str:
        assert self.incoming is not None
        # Keep the task after a timeout, because a half-read frame must not be lost.
        self.pending = self.pending or asyncio.ensure_future(anext(self.incoming))
        text = await asyncio.shield(self.pending)
        self.pending = None
        return text

    def _expect(self, expected: Any, found: Any) -> None:
        """Compare the expected value with the actual one, and learn the values of new names."""
        match expected:
            case str() if expected.startswith("$"):
                name = expected[1:]
                assert found == self.names.setdefault(name, found) or name == "_", (expected, found)
                self.names.pop("_", None)
            case dict():
                assert isinstance(found, dict), found
                for key, value in expected.items():
                    assert key in found, f"{key} is missing in {found}"
                    self._expect(value, found[key])
            case list():
                assert isinstance(found, list), found
                assert len(found) == len(expected), found
                for one, other in zip(expected, found, strict=True):
                    self._expect(one, other)
            case _:
                assert found == expected, f"{found!r} is not {expected!r}"
