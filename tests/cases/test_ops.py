"""Cases of what operators set."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.cases.files import cases, script
from tests.cases.open import case_ids
from tests.cases.player import play_session
from tests.cases.process import PLAIN
from tests.cases.providers import KEYS, Providers
from tests.cases.streams import words
from tests.conftest import POSTGRES
from tests.live.service import Service
from tests.servers import redis_database

pytestmark = pytest.mark.live

CASES = cases("ops")
GREETING = {"replies": [words("hello", "stop")]}


def headers_of(service: Service, providers: Providers, name: str) -> list[str | None]:
    """Return the header with the key in each request for a message."""
    provider = providers.scripts.get(name) or providers.add(script(GREETING), name=name)
    it = asyncio.run(play_session(service, provider, [{"message": "hi"}], agent=name, room=asyncio.Semaphore(1)))
    assert [(turn.errors, turn.text) for turn in it.turns] == [([], "hello")]
    return [headers.get("authorization") for headers in it.headers]


@pytest.mark.parametrize("case_id", case_ids(["provider-key-with-blanks"]))
def test_key(case_id: str, case_service: Service, providers: Providers) -> None:
    given = [each["OPENAI_API_KEY"] for each in CASES[case_id]["input"]["environment"]]
    assert given == list(KEYS.values())[: len(given)]
    for name in list(KEYS)[: len(given)]:
        assert headers_of(case_service, providers, name) == ["Bearer sk-test-1"], repr(KEYS[name])


@pytest.mark.parametrize("case_id", case_ids(["provider-key-with-blanks"]))
def test_key_of_the_server_s_model(case_id: str, case_service: Service, providers: Providers) -> None:
    """The address has blanks around it, too, and works."""
    provider = providers.add(script(GREETING), name="openai")
    it = asyncio.run(play_session(case_service, provider, [{"message": "hi"}], agent=PLAIN, room=asyncio.Semaphore(1)))
    assert [(turn.errors, turn.text) for turn in it.turns] == [([], "hello")]
    assert [headers.get("authorization") for headers in it.headers] == ["Bearer sk-test-1"]


def test_an_empty_key_stays_no_header(case_service: Service, providers: Providers) -> None:
    (name,) = (name for name, key in KEYS.items() if not key)
    assert headers_of(case_service, providers, name) == [None]


REFUSED = b"SFATAL\0C08P01\0Munsupported startup parameter in options: statement_timeout\0\0"
ENCRYPTION_REQUESTS = (80877103, 80877104)
PROTOCOL_3 = 196608


class Pooler:
    """Stands before PostgreSQL and refuses a connection with `options`, as PgBouncer does by default."""

    def __init__(self, server: str) -> None:
        self._server = urlsplit(server)
        self._loop = asyncio.new_event_loop()
        self._done, self._ready = asyncio.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)
        self.connections = 0

    def __enter__(self) -> Pooler:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._done.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def behind(self, url: str) -> str:
        """Return the URL of a database by way of this pooler."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{self.port}"))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._start(reader, writer)
        writer.close()

    async def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(8)
            length, code = struct.unpack("!ii", head)
            body = await reader.readexactly(length - 8)
            if code not in ENCRYPTION_REQUESTS:
                break
            writer.write(b"N")
        if code == PROTOCOL_3 and b"options" in body.split(b"\0")[::2]:
            writer.write(b"E" + struct.pack("!i", len(REFUSED) + 4) + REFUSED)
            await writer.drain()
            return
        self.connections += 1
        server_reader, server_writer = await asyncio.open_connection(self._server.hostname, self._server.port)
        server_writer.write(head + body)
        both = _copy(reader, server_writer), _copy(server_reader, writer)
        try:
            await asyncio.wait([asyncio.ensure_future(each) for each in both], return_when=asyncio.FIRST_COMPLETED)
        finally:
            server_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()


@pytest.fixture
def pooled_service(tmp_path: Path) -> Iterator[Service]:
    with Pooler(POSTGRES) as pooler, redis_database() as redis:
        service = Service(tmp_path, postgres=POSTGRES, redis=redis)
        service.environment["DATABASE_URL"] = pooler.behind(service.database_url)
        try:
            service.start("web", "worker")
            service.wait_until_healthy(40)
            yield service
        finally:
            service.stop("web", "worker")
        assert pooler.connections > 0


@pytest.mark.parametrize("case_id", case_ids(["pooler-refuses-startup-options"]))
async def test_pooler(case_id: str, pooled_service: Service) -> None:
    async with pooled_service.connect("/ws/pooled") as client:
        await client.say("/say hello")
        assert (await client.until_final())[-1]["content"] == "hello"
