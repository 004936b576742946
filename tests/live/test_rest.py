"""REST calls that end other clients' sockets and streams. What the clients send is in test_recorded.py."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import httpx
import pytest
import websockets

from tests.clients import plugin
from tests.live.service import Service, Socket

pytestmark = pytest.mark.live

#: Fifty seconds, longer than a lease lasts.
TOKENS = "/tokens 2000 40"


async def test_clients_that_follow_a_session_learn_that_it_was_deleted(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=30) as http, AsyncExitStack() as open_:
        project = (await http.post("/my/projects/", json={"name": "to delete"})).json()["id"]
        chats = f"/my/projects/{project}/chat"
        key = (await http.post(f"{chats}/sessions/", json={})).json()["id"]
        old = await open_.enter_async_context(service.connect(f"/api/v1/ws/{key}"))
        new = await open_.enter_async_context(service.connect(f"/ws/{key}", subprotocols=["codelab.v2"]))
        await new.send({"type": "hello"})
        sse = http.stream("GET", f"/api/v1/sessions/{key}/events", headers={"Accept": "text/event-stream"})
        streams = [await open_.enter_async_context(it) for it in (sse, http.stream("GET", f"{chats}/{key}/events/"))]
        reading = [asyncio.create_task(stream.aread()) for stream in streams]
        await http.post("/api/v1/message", json={"session_id": key, "message": TOKENS})
        while (await new.receive()).get("kind") != "text_delta":
            pass
        assert (await http.delete(f"/api/v1/sessions/{key}")).status_code == 200

        for socket in (old, new):
            assert await closing(socket) == (4410, "session_deleted")
        # The streams end properly. The plugin's protocol has no reason for it, and the plugin gets 404 on return.
        events, lines = [text.decode() for text in await asyncio.wait_for(asyncio.gather(*reading), 60)]
        assert events.rstrip().rpartition("\n\n")[2].split("\n")[1] == "event: session_deleted"
        assert all(plugin.event(line + "\n") for line in lines.splitlines())
        assert (await http.get(f"{chats}/{key}/events/")).status_code == 404
        assert (await http.get(f"/api/v1/sessions/{key}")).status_code == 404
        # The worker stops, writes nothing more, and does not log a crash.
        turn_lost = f'"session_id": "{key}"'
        deadline = time.monotonic() + 30
        while "turn_lost" not in "".join(line for line in service.log_of("worker").splitlines() if turn_lost in line):
            assert time.monotonic() < deadline, "the worker continued for longer than its lease"
            await asyncio.sleep(0.1)
        mine = [line for line in service.log_of("worker").splitlines() if key in line]
        assert not [line for line in mine if "crashed" in line or "Traceback" in line]
    # Another thread deletes the rows in pieces after the answer. The session's own row goes last.
    deadline = time.monotonic() + 60
    while service.rows("SELECT 1 FROM agent_sessions_session WHERE id = %s", key):
        assert time.monotonic() < deadline, "the rows of a deleted session stay"
        await asyncio.sleep(0.1)
    for table in ("event", "turn", "message"):
        assert service.rows(f"SELECT 1 FROM agent_sessions_{table} WHERE session_id = %s", key) == []
    assert service.rows("SELECT outcome FROM agent_sessions_modelcall WHERE session_id IS NULL") != []


async def closing(socket: Socket) -> tuple[int, str]:
    """Return the close code of a socket, and the kind, error code or type of its last frame."""
    word = ""
    with pytest.raises(websockets.ConnectionClosed) as closed:
        while True:
            frame = await socket.receive()
            word = frame.get("kind") or frame.get("error_code") or frame["type"]
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, word
