"""What users see while a server is down, and what must be true afterwards. Each test has its own servers."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import websockets

from codelab.local.embedded_servers import PostgresServer, RedisServer
from tests.live.service import Frame, Service, Socket, running
from tests.ports import free_port

pytestmark = pytest.mark.live


class Outage:
    """The service with its own PostgreSQL and Redis, which tests may stop."""

    def __init__(self, service: Service, postgres: PostgresServer, redis: RedisServer) -> None:
        self.service, self.postgres, self.redis = service, postgres, redis

    def signal(self, server: PostgresServer | RedisServer, number: int) -> None:
        """Send a signal to every process of a server. PostgreSQL has one for each connection, in its own group."""
        assert server.process is not None
        main = psutil.Process(server.process.pid)
        for process in (*main.children(recursive=True), main):
            process.send_signal(number)

    @contextmanager
    def away(self, server: PostgresServer | RedisServer, how: str) -> Iterator[None]:
        """Freeze or stop a server inside the `with` block."""
        if how == "frozen":
            self.signal(server, signal.SIGSTOP)
        else:
            server.stop()
        try:
            yield
        finally:
            if how == "frozen":
                self.signal(server, signal.SIGCONT)
            else:
                server.start()


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    folder: Path = tmp_path_factory.mktemp("outage")
    with (
        PostgresServer(folder / "postgres", port=free_port(), durable=False) as postgres,
        RedisServer(folder / "redis", port=free_port(), durable=False) as redis,
        running(folder, postgres=postgres.url, redis=redis.url) as service,
    ):
        yield Outage(service, postgres, redis)


async def refused(client: Socket, code: str) -> None:
    started = time.monotonic()
    await client.say("/say never")
    frame = await client.receive()
    assert frame["error_code"] == code
    # A refusal takes 3 s at most. Without a limit of ours a frozen server takes 10 to 15 s.
    assert time.monotonic() - started < 6


async def works_again(client: Socket, seconds: float = 60) -> None:
    """Send until a message is accepted and answered. Messages refused before must leave nothing behind."""
    deadline = time.monotonic() + seconds
    while True:
        await client.say("/say back")
        frame = await client.receive(seconds)
        if frame["type"] == "assistant_message":
            assert (await client.until_final(seconds))[-1]["content"] == "back"
            return
        assert time.monotonic() < deadline, frame
        await asyncio.sleep(0.5)


def stored(service: Service, key: str) -> list[str]:
    rows = service.rows(
        "SELECT m.content FROM agent_sessions_message m JOIN agent_sessions_session s ON s.id = m.session_id "
        "WHERE s.key = %s AND m.role = 'user' ORDER BY m.number",
        key,
    )
    return [content for (content,) in rows]


@pytest.mark.parametrize("how", ["frozen", "stopped"])
async def test_without_redis_a_message_is_refused_and_leaves_nothing_behind(outage: Outage, how: str) -> None:
    service = outage.service
    key = f"redis-{how}"
    async with service.connect(f"/ws/{key}") as client:
        await client.say("/say before")
        await client.until_final()
        with outage.away(outage.redis, how):
            for _ in range(3):
                await refused(client, "broker_unavailable")
            status, text = await asyncio.to_thread(service.get, "/health")
            assert (status, json.loads(text)["checks"]["redis"]) == (503, "Redis does not answer")
            assert (await asyncio.to_thread(service.get, "/live"))[0] == 200
            body = {"session_id": key, "message": "/say never"}
            status, text = await asyncio.to_thread(service.post, "/api/v1/message", body)
            assert (status, json.loads(text)["error_code"]) == (503, "broker_unavailable")
        await works_again(client)
    assert set(stored(service, key)) == {"/say before", "/say back"}


@pytest.mark.parametrize("how", ["frozen", "stopped"])
async def test_without_postgresql_a_message_is_refused_and_leaves_nothing_behind(outage: Outage, how: str) -> None:
    service = outage.service
    key = f"postgres-{how}"
    async with service.connect(f"/ws/{key}") as client:
        await client.say("/say before")
        await client.until_final()
        with outage.away(outage.postgres, how):
            for _ in range(3):
                await refused(client, "storage_unavailable")
            status, text = await asyncio.to_thread(service.get, "/health")
            assert (status, json.loads(text)["checks"]["postgresql"]) == (503, "PostgreSQL does not answer")
            assert (await asyncio.to_thread(service.get, "/live"))[0] == 200
        await works_again(client)
    assert set(stored(service, key)) == {"/say before", "/say back"}


async def test_the_first_message_after_a_restart_of_redis_is_accepted(outage: Outage) -> None:
    async with outage.service.connect("/ws/redis-restarted") as client:
        await client.say("/say before")
        await client.until_final()
    outage.redis.stop()
    outage.redis.start()
    async with outage.service.connect("/ws/redis-restarted") as client:
        await client.say("/say after")
        assert (await client.until_final())[-1]["content"] == "after"


async def test_a_stop_does_not_wait_for_a_frozen_redis(outage: Outage) -> None:
    async with outage.service.connect("/ws/stop-frozen", subprotocols=["codelab.v2"]) as client:
        await client.send({"type": "hello"})
        for said in ("/wait 60", "/wait 61", "/wait 62"):
            await client.say(said)
        turns: list[str] = []
        while len(turns) < 3:
            frame = await client.receive()
            turns += [frame["turn_id"]] if frame["type"] == "accepted" else []
        with outage.away(outage.redis, "frozen"):
            started = time.monotonic()
            for turn in turns:
                await client.send({"type": "cancel", "turn_id": turn})
            stopped = 0
            while stopped < 3:
                stopped += (await client.receive()).get("kind") == "turn_cancelled"
            took = time.monotonic() - started
    # Publishing through Redis hangs for 15 s; the stop itself takes a few milliseconds.
    assert took < 10, f"the stops took {took:.1f} s"


async def test_an_answer_goes_on_while_redis_is_away(outage: Outage) -> None:
    async with outage.service.connect("/ws/through-redis") as client:
        await client.say("/tokens 60 15")
        await client.receive()
        outage.redis.stop()
        await asyncio.sleep(1)
        outage.redis.start()
        frames = await client.until_final()
    assert frames[-1]["content"] == "".join(f"t{i} " for i in range(60))


async def test_an_answer_goes_on_through_a_restart_of_postgresql(outage: Outage) -> None:
    async with outage.service.connect("/ws/through-postgres") as client:
        await client.say("/tokens 60 15")
        first = await client.receive()
        outage.postgres.stop()
        outage.postgres.start()
        frames = [first, *await client.until_final()]
    expected = "".join(f"t{i} " for i in range(60))
    assert frames[-1]["content"] == expected
    assert "".join(frame["token"] for frame in frames[:-1]) == expected


async def test_a_killed_worker_is_replaced_and_its_turns_end(outage: Outage) -> None:
    """A client of the socket sees nothing but new text; one of completions repeats its request, and pays once."""
    service = outage.service
    text = "".join(f"t{i} " for i in range(40))
    body = {"model": "scripted", "messages": [{"role": "user", "content": "/tokens 40 20"}], "stream": True}
    async with (
        service.connect("/ws/killed?stream=messages") as client,
        httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=60) as http,
    ):

        async def ask(kill: bool = False) -> tuple[list[Frame], str]:
            """Return the chunks of an answer, and its text."""
            chunks: list[Frame] = []
            async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data: {"):
                        chunks.append(json.loads(line.removeprefix("data: ")))
                    if kill and '"content":"t' in line:
                        kill = False
                        await asyncio.to_thread(service.stop, "worker", signal_number=signal.SIGKILL)
                        service.start("worker")
            texts = [choice["delta"].get("content") or "" for each in chunks for choice in each.get("choices", ())]
            return chunks, "".join(texts)

        await client.say("/tokens 40 10")
        chunks, part = await ask(kill=True)
        assert chunks[-1]["error"]["code"] == "answer_restarted"
        assert text.startswith(part)
        again, whole = await ask()
        frames = await client.until_final(60)
    assert frames[-1]["content"] == text
    assert whole == text
    assert again[0]["id"] == chunks[0]["id"]
    calls = service.rows(
        "SELECT outcome, turn.status FROM agent_sessions_modelcall AS call JOIN agent_sessions_turn AS turn "
        "ON turn.id = call.turn_id JOIN agent_sessions_completion USING (turn_id) ORDER BY call.id"
    )
    assert calls == [("lost", "completed"), ("ok", "completed")]


async def test_a_worker_that_is_stopped_gives_its_turns_back(outage: Outage) -> None:
    service = outage.service
    async with service.connect("/ws/parked?stream=messages") as client:
        await client.say("/wait 5\n/say done")
        statuses = (
            "SELECT turn.status FROM agent_sessions_turn AS turn JOIN agent_sessions_session AS session"
            " ON session.id = turn.session_id WHERE session.key = 'parked'"
        )
        while service.rows(statuses) != [("running",)]:  # noqa: ASYNC110 (in a database)
            await asyncio.sleep(0.05)
        await asyncio.to_thread(service.stop, "worker")
        rows = service.rows(statuses)
        service.start("worker")
        frames = await client.until_final(60)
    assert rows == [("queued",)]
    assert frames[-1]["content"] == "done"


async def test_a_web_process_that_is_stopped_closes_its_sockets_one_by_one(outage: Outage) -> None:
    service = outage.service
    async with AsyncExitStack() as stack:
        sockets = [service.connect(f"/ws/leave{i}", subprotocols=["codelab.v2"]) for i in range(10)]
        clients = [await stack.enter_async_context(socket) for socket in sockets]
        for client in clients:
            await client.send({"type": "hello"})
            await client.receive()
        # Long enough to be still running when the last socket closes.
        await clients[0].say("/tokens 250 40")
        while (await clients[0].receive()).get("kind") != "text_delta":
            pass

        async def closed(client: Socket) -> tuple[int, float, int]:
            after = 0
            with pytest.raises(websockets.ConnectionClosed) as caught:
                while True:
                    after = (await client.receive()).get("number", after)
            assert caught.value.rcvd is not None
            return caught.value.rcvd.code, time.monotonic(), after

        service.processes["web"].terminate()
        try:
            ends = await asyncio.gather(*(closed(client) for client in clients))
            code = await asyncio.to_thread(service.processes.pop("web").wait, 60)
        finally:
            service.stop("web")
            service.start("web")
            await asyncio.to_thread(service.wait_until_healthy)
    assert code == 0
    assert {end[0] for end in ends} == {1012}
    moments = sorted(end[1] for end in ends)
    assert moments[-1] - moments[0] > 0.3, "the sockets closed all at once"
    async with service.connect("/ws/leave0", subprotocols=["codelab.v2"]) as client:
        await client.send({"type": "hello", "after": ends[0][2]})
        assert (await client.receive())["mode"] == "replay"
        number = ends[0][2]
        while True:
            frame = await client.receive()
            number += 1
            assert frame["number"] == number
            if frame["kind"] == "turn_completed":
                break
