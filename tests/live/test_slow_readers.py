"""Clients that do not read, or send too much: what they cost, and that other clients do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.conftest import POSTGRES, REDIS
from tests.live.service import Frame, Service, Socket, running

pytestmark = pytest.mark.live

#: Messages sent to a session that no client reads: 20 MB, which wait for a silent model.
MESSAGES, TEXT = 200, "x" * 100_000
#: Size of the client's kernel buffer in bytes. It must hold a whole segment, which is 64 KiB on the loopback.
RECEIVE_BUFFER = 128 * 1024
#: Sockets of that session that do not read.
SOCKETS = 6


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a separate service, because other tests would change the memory of its web process."""
    with running(tmp_path_factory.mktemp("slow"), postgres=POSTGRES, redis=REDIS) as it:
        yield it


def memory_of(service: Service) -> float:
    """Return the memory of the web process in MB."""
    status = Path(f"/proc/{service.processes['web'].pid}/status")
    if not status.exists():
        pytest.skip("only Linux has the memory of a process in /proc")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


@asynccontextmanager
async def lazy(service: Service, key: str) -> AsyncIterator[Socket]:
    """Follow a session from its first event, and read from the network only when the test calls `receive`."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", service.port))
    options: dict[str, Any] = {"sock": connection, "max_queue": 1, "ping_interval": None, "close_timeout": 1}
    async with service.connect(f"/ws/{key}", subprotocols=["codelab.v2"], **options) as client:
        await client.send({"type": "hello", "after": 0})
        assert (await client.receive())["mode"] == "replay"
        yield client


@asynccontextmanager
async def lazy_stream(service: Service, key: str) -> AsyncIterator[httpx.Response]:
    """Do the same over server-sent events."""
    transport = httpx.AsyncHTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)])
    async with (
        httpx.AsyncClient(transport=transport, base_url=service.url, timeout=60) as http,
        http.stream(
            "GET", f"/api/v1/sessions/{key}/events?after=0", headers={"Accept": "text/event-stream"}
        ) as response,
    ):
        assert response.status_code == 200
        yield response


async def fill(service: Service, key: str) -> None:
    """Send 20 MB of messages to a session."""
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=60) as http:
        for content in ["/stall", *[TEXT] * MESSAGES]:
            response = await http.post("/api/v1/message", json={"session_id": key, "message": content})
            assert response.status_code == 200


async def numbers_of(client: Socket, last: int) -> list[int]:
    """Read events up to the last number; return their numbers."""
    numbers: list[int] = []
    while not numbers or numbers[-1] < last:
        frame = await client.receive(60)
        if frame["type"] == "event":
            numbers.append(frame["number"])
    return numbers


async def numbers_of_stream(response: httpx.Response, last: int) -> list[int]:
    numbers: list[int] = []
    async for line in response.aiter_lines():
        if line.startswith("id: "):
            numbers.append(int(line[4:]))
        # The data line ends an event.
        elif line.startswith("data: ") and numbers[-1] == last:
            break
    return numbers


async def stay(clients: list[Socket]) -> None:
    """Send a frame from time to time, so that the server keeps the clients; leave the answers unread."""
    while True:
        for client in clients:
            await client.send("no JSON")
        await asyncio.sleep(5)


def last_number(service: Service, key: str) -> int:
    ((number,),) = service.rows("SELECT last_number FROM agent_sessions_session WHERE key = %s", key)
    return int(number)


async def answer_of(client: Socket) -> str:
    """Ask for 300 tokens and return the joined pieces."""
    await client.say("/tokens 300 60")
    return "".join(frame.get("token", "") for frame in await client.until_final() if not frame.get("is_final"))


async def test_readers_that_stop_cost_little_delay_no_client_and_miss_nothing(service: Service) -> None:
    async with AsyncExitStack() as stack:
        # First with sockets that read: it shows what the load itself costs, and what the process keeps afterwards.
        readers = [await stack.enter_async_context(lazy(service, "warm")) for _ in range(SOCKETS)]
        reading = [asyncio.create_task(numbers_of(reader, 2 * MESSAGES)) for reader in readers]
        await fill(service, "warm")
        await asyncio.gather(*reading)
    before = memory_of(service)
    async with AsyncExitStack() as stack:
        stalled = [await stack.enter_async_context(lazy(service, "stalled")) for _ in range(SOCKETS)]
        stream = await stack.enter_async_context(lazy_stream(service, "stalled"))
        neighbour = await stack.enter_async_context(service.connect("/ws/neighbour"))
        staying = asyncio.create_task(stay(stalled))
        filling = asyncio.create_task(fill(service, "stalled"))
        answers, memory = [], []
        while not filling.done():
            answers.append(await answer_of(neighbour))
            memory.append(memory_of(service))
        await filling
        memory.append(memory_of(service))
        assert set(answers) == {"".join(f"t{i} " for i in range(300))}
        # In memory, the events that these clients have not read would be 140 MB. Measured: 2 MB for all of them
        # together. The rest is for the process's own fluctuation.
        assert max(memory) - before < 2 * (SOCKETS + 1)

        last = last_number(service, "stalled")
        assert last >= 2 * MESSAGES
        everything = list(range(1, last + 1))
        found = await asyncio.gather(*[numbers_of(client, last) for client in stalled], numbers_of_stream(stream, last))
        assert all(numbers == everything for numbers in found)
        staying.cancel()


async def test_a_client_that_never_reads_is_dropped_and_an_idle_one_is_not(service: Service) -> None:
    loop = asyncio.get_running_loop()
    async with service.connect("/ws/idle", ping_interval=None) as idle, lazy(service, "dead") as client:
        await fill_a_little(service, "dead")
        started = loop.time()
        # The client does not notice the close while it does not read, so the test asks the server.
        while figure(service, "open_sockets") > 1:
            # The server pings after 30 s of silence, waits 30 s for the answer, and checks every 2 s.
            assert loop.time() - started < 110
            await asyncio.sleep(1)
        assert loop.time() - started > 30
        with pytest.raises(websockets.ConnectionClosed):
            await numbers_of(client, 10**9)
        await asyncio.sleep(max(started + 62 - loop.time(), 0))
        await idle.say("/say still here")
        assert (await idle.until_final())[-1]["content"] == "still here"


async def fill_a_little(service: Service, key: str) -> None:
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=60) as http:
        for content in ["/stall", *[TEXT] * 20]:
            await http.post("/api/v1/message", json={"session_id": key, "message": content})


def figure(service: Service, name: str) -> float:
    """Return the value of a metric, 0 if it has none yet."""
    lines = service.get("/metrics")[1].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


async def test_a_flood_closes_its_socket_and_accepted_messages_get_their_turns(service: Service) -> None:
    floods = figure(service, 'frames_refused_total{error_code="too_many_frames"}')
    async with service.connect("/ws/quiet") as neighbour, lazy_writer(service, "flood") as client:
        accepted: set[str] = set()
        for i in range(5):
            await client.say("/say before", client_message_id=f"before-{i}")
            accepted.add((await receive(client, "accepted"))["message_id"])
        answering = asyncio.create_task(answer_of(neighbour))
        with contextlib.suppress(websockets.ConnectionClosed):
            for i in range(5000):
                await client.say("/say flood", client_message_id=f"flood-{i}")
        frames: list[Frame] = []
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                frames.append(await client.receive())
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        assert (frames[-1]["type"], frames[-1]["error_code"]) == ("error", "too_many_frames")
        assert await answering == "".join(f"t{i} " for i in range(300))
    accepted |= {frame["message_id"] for frame in frames if frame["type"] == "accepted"}
    async with asyncio.timeout(60):
        open_turns = (
            "SELECT 1 FROM agent_sessions_turn t JOIN agent_sessions_session s ON s.id = t.session_id"
            " WHERE s.key = 'flood' AND t.status <> 'completed'"
        )
        while service.rows(open_turns):  # noqa: ASYNC110 (rows have no event to wait for)
            await asyncio.sleep(0.5)
    stored = service.rows(
        "SELECT m.id::text FROM agent_sessions_message m JOIN agent_sessions_session s ON s.id = m.session_id"
        " WHERE s.key = 'flood' AND role = 'user'"
    )
    # The message in progress at the close may be stored without an acknowledgement.
    assert accepted <= {row[0] for row in stored}
    assert len(stored) <= len(accepted) + 1
    assert figure(service, 'frames_refused_total{error_code="too_many_frames"}') == floods + 1


@asynccontextmanager
async def lazy_writer(service: Service, key: str) -> AsyncIterator[Socket]:
    async with service.connect(f"/ws/{key}", subprotocols=["codelab.v2"], ping_interval=None) as client:
        await client.send({"type": "hello", "after": 0})
        await receive(client, "welcome")
        yield client


async def receive(client: Socket, kind: str) -> Frame:
    """Return the next frame of a type."""
    while (frame := await client.receive())["type"] != kind:
        pass
    return frame


async def test_a_client_that_waits_for_each_answer_is_never_too_fast(service: Service) -> None:
    async with service.connect("/ws/fast") as client:
        for _ in range(700):
            await client.send("no JSON")
            assert (await client.receive())["error_code"] == "invalid_json"


async def test_answers_to_a_client_that_never_reads_are_bounded(service: Service) -> None:
    async with lazy(service, "deaf") as client:
        text = json.dumps({"type": "hello", "after": 10**9})
        await fill_a_little(service, "deaf")
        before = memory_of(service)
        with contextlib.suppress(websockets.ConnectionClosed, TimeoutError):
            async with asyncio.timeout(60):
                # Each frame asks for a snapshot of half a megabyte.
                for _ in range(2000):
                    await client.send(text)
        # All answers would take a gigabyte. A snapshot takes several times its size while the server makes it.
        assert memory_of(service) - before < 12


async def test_an_answer_that_is_longer_than_a_frame_comes_in_parts(service: Service) -> None:
    async with service.connect("/ws/long?stream=messages") as client:
        await client.say("\n".join(["/tokens 10000"] * 18))
        frames = await client.until_final()
    sizes = [len(json.dumps(frame)) for frame in frames]
    # The original's benchmark client closes its socket at a mebibyte.
    assert max(sizes) < 1024 * 1024 < sum(len(frame["content"]) for frame in frames)
