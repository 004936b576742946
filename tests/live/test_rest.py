"""The original's editor and benchmark client through real processes: their calls in their order, parsed as they do."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import websockets

from tests.clients import benchmark, editor
from tests.live.service import Service

pytestmark = pytest.mark.live

WRITE = '/call write_file {"path": "a.txt", "content": "x"}\n/say Done.'


def http_client(service: Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{service.url}/api/v1", trust_env=False, timeout=30)


async def test_the_editors_day(service: Service) -> None:
    async with http_client(service) as http:
        # New chat: no body and no content type; redirects are not followed.
        key = editor.session((await http.post("/sessions")).json())["id"]
        one = f"/sessions/{key}"
        async with service.connect(f"/api/v1/ws/{key}") as socket:
            assert editor.pending_approvals((await http.get(f"{one}/pending-approvals")).json())["count"] == 0
            assert editor.history((await http.get(f"{one}/history")).json())["messages"] == []
            await socket.say(WRITE, role="user")
            call = (await socket.until_final())[-1]
            assert (call["type"], call["requires_approval"]) == ("tool_call", True)
        # The editor was closed with the dialog open; the question is there when it comes back.
        shown = editor.session_list((await http.get("/sessions")).json())
        assert key in [session["id"] for session in shown]
        async with service.connect(f"/api/v1/ws/{key}") as socket:
            (restored,) = editor.pending_approvals((await http.get(f"{one}/pending-approvals")).json())[
                "pending_approvals"
            ]
            assert (restored["call_id"], restored["tool_name"]) == (call["call_id"], "write_file")
            await socket.send({"type": "tool_result", "call_id": call["call_id"], "error": "User rejected: no"})
            assert (await socket.until_final())[-1]["content"] == "Done."
        history = editor.history((await http.get(f"{one}/history")).json())
        assert [message["role"] for message in history["messages"]] == ["user", "assistant", "tool", "assistant"]
        assert history["messages"][2]["content"] == "Error: User rejected: no"
        assert history["agent_history"]
        renamed = editor.session((await http.patch(one, json={"title": "Mine"})).json())
        assert renamed["title"] == "Mine"
        assert (await http.delete(one)).status_code == 200
        assert (await http.get(one)).status_code == 404


async def test_the_benchmarks_figures(service: Service) -> None:
    async with http_client(service) as http:
        key = benchmark.created_session((await http.post("/sessions")).json())
        async with service.connect(f"/api/v1/ws/{key}") as socket:
            await socket.say('/call read_file {"path": "a"}\n/tokens 3', role="user")
            call = (await socket.until_final())[-1]
            await socket.send({"type": "tool_result", "call_id": call["call_id"], "result": {"success": False}})
            await socket.until_final()
            await socket.say("/fail rate_limited", role="user")
            assert (await socket.until_final())[-1]["error_code"] == "model_rate_limited"
        answer: Any = (await http.get(f"/events/metrics/session/{key}")).json()
        used = benchmark.session_metrics(answer)
        assert [request["success"] for request in used["requests"]] == [True, True, False]
        assert [request["completion_tokens"] for request in used["requests"]] == [0, 3, 0]
        assert {request["model"] for request in used["requests"]} == {"scripted"}
        assert answer["requests"][2]["error"] == "model_rate_limited"
        assert used["total_tokens"] == sum(r["prompt_tokens"] + r["completion_tokens"] for r in used["requests"])


async def test_who_follows_a_session_hears_that_it_was_deleted(service: Service) -> None:
    body = {"session_id": "to-delete", "message": "/say half a word\n/stall"}
    assert (await asyncio.to_thread(service.post, "/api/v1/message", body))[0] == 200
    async with (
        service.connect("/api/v1/ws/to-delete") as old,
        service.connect("/ws/to-delete", subprotocols=["codelab.v2"]) as new,
        http_client(service) as http,
    ):
        await new.send({"type": "hello"})
        kind = ""
        while kind != "text_delta":
            kind = (await http.get("/sessions/to-delete/events")).json()["events"][-1]["kind"]
            await asyncio.sleep(0.1)
        assert (await http.delete("/sessions/to-delete")).status_code == 200
        for socket in (old, new):
            kinds = []
            with pytest.raises(websockets.ConnectionClosed) as closed:
                while True:
                    frame = await socket.receive()
                    kinds.append(frame.get("kind") or frame.get("error_code"))
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4410
            # The word that its turn was stopped may be lost with the log; that the session is gone is not.
            assert kinds[-1] == "session_deleted"
        assert (await http.get("/sessions/to-delete")).status_code == 404
    assert service.rows("SELECT 1 FROM agent_sessions_session WHERE key = 'to-delete'") == []
