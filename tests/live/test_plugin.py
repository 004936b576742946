"""The VS Code plugin's way through real processes: a project, a stream, a command that is approved and run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.clients import benchmark, plugin
from tests.live.service import Service

pytestmark = pytest.mark.live

SCRIPT = '/say Let me see.\n/call execute_command {"command": "git log -3"}\n/say Three commits.'


async def events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    async for line in lines:
        yield plugin.event(line + "\n")


async def test_a_task_from_the_project_to_the_answer(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=60) as http:

        async def post(path: str, body: object) -> Any:
            response = await http.post(path, json=body)
            assert response.status_code == 200, response.text
            return response.json()

        plugin.ready((await http.get("/ready")).json())
        project = plugin.project(await post("/my/projects/", {"name": "live", "workspace_path": "/src/live"}))
        base = f"/my/projects/{project['id']}"
        session = plugin.chat(await post(f"{base}/chat/sessions/", {}))["id"]
        headers = {"Accept": "application/x-ndjson"}
        async with http.stream("GET", f"{base}/chat/{session}/events/", headers=headers) as stream:
            assert stream.headers["content-type"] == "application/x-ndjson"
            plugin.message(await post(f"{base}/chat/{session}/message/", {"content": SCRIPT, "target_agent": "coder"}))
            said = []
            async for event in events(stream.aiter_lines()):
                payload = event.get("payload", {})
                match event["type"]:
                    case "message_created":
                        said.append(payload["content"])
                    case "tool.approval_request":
                        path = f"{base}/approvals/{payload['approval_id']}/approve"
                        plugin.approval(await post(path, {"decision": "approved"}))
                    case "tool.execution_signal":
                        assert plugin.command(payload["tool_params"]) == ("git", ["log", "-3"])
                        result = {"status": "completed", "result": {"stdout": "a\nb\nc", "exit_code": 0}}
                        plugin.tool_result(await post(f"{base}/tools/{payload['tool_id']}/result", result))
                    case "task_completed":
                        break
        assert said == ["Let me see.", "Three commits."]
        status, text = service.get(f"/api/v1/events/metrics/session/{session}")
        assert status == 200
        used = benchmark.session_metrics(json.loads(text))
        assert [request["success"] for request in used["requests"]] == [True, True]
        assert used["total_tokens"] > 0
        assert json.loads(text)["total_cost"] == 0.0
        assert (await http.delete(f"{base}/")).json()["status"] == "deleted"
