"""A client with a tool of its own, against a running service."""

from __future__ import annotations

import pytest

from tests.live.service import Service

pytestmark = pytest.mark.live

DEPLOY = {"name": "mcp__ops__deploy", "description": "Deploys.", "kind": "other"}
HELLO = {"type": "hello", "after": 0, "client_id": "ops"}


async def test_a_tool_of_a_client_is_asked_about_and_comes_to_that_client_alone(service: Service) -> None:
    path = "/ws/own-tools"
    async with (
        service.connect(path, subprotocols=["codelab.v2"]) as client,
        service.connect(path, subprotocols=["codelab.v2"]) as other,
    ):
        await other.send({"type": "hello", "after": 0, "tools": ["read_file"]})
        # The last `hello` counts for the session, and two sockets are handled side by side.
        assert (await other.receive(30))["type"] == "welcome"
        await client.send({**HELLO, "tools": ["read_file", DEPLOY]})
        await client.send({**HELLO, "tools": [{"name": "read_file"}]})
        while (frame := await client.receive(30))["type"] != "error":
            pass
        assert frame["error_code"] == "invalid_tools"
        await client.say('/call mcp__ops__deploy {"to": "test"}\n/say Done.')
        while (frame := await client.receive(30)).get("kind") != "turn_waiting":
            if frame.get("kind") == "tool_call_requested":
                asked = frame["payload"]
        assert asked["requires_approval"]
        assert asked["client_tool"] == {"kind": "other", "description": "Deploys."}
        await client.send({"type": "hitl_decision", "call_id": asked["call_id"], "decision": "approve"})
        while (frame := await client.receive(30))["type"] != "tool_call":
            pass
        assert (frame["tool_name"], frame["arguments"]) == ("mcp__ops__deploy", {"to": "test"})
        parts = [{"type": "text", "text": "Deployments are closed today."}]
        await client.send({"type": "tool_result", "call_id": frame["call_id"], "parts": parts, "is_error": True})
        while (frame := await client.receive(30)).get("kind") != "tool_call_finished":
            pass
        assert frame["payload"]["status"] == "failed"
        while (frame := await other.receive(30)).get("kind") != "turn_completed":
            assert frame["type"] != "tool_call"
