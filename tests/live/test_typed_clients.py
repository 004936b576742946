"""The OpenAI-compatible API with what typed clients and small models send: nulls, broken arguments, odd names."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.live.provider import Provider
from tests.live.service import Service
from tests.live.test_openai import client_of, key_of, said

pytestmark = pytest.mark.live


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("written", ['{"city":"Ro', "[1]", '{"n":1e400}'])
def test_a_plain_models_broken_arguments_come_as_they_are(
    provided_service: Service, provider: Provider, written: str, stream: bool
) -> None:
    before = len(provider.requests)
    with client_of(provided_service) as client:
        answer: Any = client.chat.completions.create(
            model="openai/fake",
            messages=said(f"tokens=0 call=weather arguments={written}"),
            tools=[{"type": "function", "function": {"name": "weather"}}],
            stream=stream,
        )
        if stream:
            choices = [choice for chunk in answer for choice in chunk.choices]
            calls = [call for choice in choices for call in choice.delta.tool_calls or ()]
            reason = choices[-1].finish_reason
        else:
            (choice,) = answer.choices
            calls, reason = choice.message.tool_calls, choice.finish_reason
    assert ("".join(call.function.arguments for call in calls), reason) == (written, "tool_calls")
    assert len(provider.requests) == before + 1


@pytest.mark.parametrize("is_encoded", [False, True])
def test_a_session_name_may_have_any_characters(service: Service, is_encoded: bool) -> None:
    name = f"проект 100% {is_encoded}"
    assert service.post("/api/v1/sessions", {"session_id": name})[0] == 200
    header = quote(name).encode() if is_encoded else name.encode()
    headers = [
        (b"X-CodeLab-Session", header),
        (b"Authorization", f"Bearer {key_of(service, 'api:read', 'api:write')}".encode()),
    ]
    body = {"model": "codelab/universal", "messages": said("/say ok")}
    with httpx.Client(trust_env=False, timeout=60) as client:
        answer = client.post(f"{service.url}/v1/chat/completions", headers=headers, json=body)
        assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "ok"), answer.text
        headers[0] = (b"X-CodeLab-Session", quote(name + "?").encode())
        assert client.post(f"{service.url}/v1/chat/completions", headers=headers, json=body).status_code == 404


#: What is JSON for some readers only, or too deep for all; each stands where a text stood.
NOT_JSON = {
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "1e999": b"1e999",
    "half a pair": rb'"\ud800"',
    "bytes": b'"\xff"',
    "depth": b"[" * 100_000 + b"]" * 100_000,
    "open depth": b'{"a":' * 50_000,
}
BODIES: dict[str, Any] = {
    "/v1/chat/completions": {"model": "scripted", "messages": said("@")},
    "/v1/chat/completions?option": {"model": "scripted", "messages": said("x"), "response_format": {"a": "@"}},
    "/v1/chat/completions?unknown": {"model": "scripted", "messages": said("x"), "metadata": {"a": "@"}},
    "/v1/embeddings": {"model": "openai/text-embedding-3-small", "input": ["@"]},
    "/api/v1/message": {"session_id": "entrance", "message": "@"},
    "/api/v1/sessions": {"session_id": "@"},
    "/api/v1/api-keys": {"name": "@"},
    "/api/v1/rules": {"effect": "deny", "tool": "@"},
    "/api/v1/sessions/entrance/hitl-decision": {"call_id": "c", "decision": "edit", "modified_arguments": {"a": "@"}},
    "/my/projects/": {"name": "@"},
}


@pytest.mark.parametrize("value", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("path", BODIES)
def test_what_is_not_json_is_refused_at_once(service: Service, path: str, value: bytes) -> None:
    data = json.dumps(BODIES[path]).encode().replace(b'"@"', value)
    status, text = service.post_bytes(path, data)
    answer = json.loads(text)
    code = answer["error"]["code"] if path.startswith("/v1") else answer["error_code"]
    assert (status, code) == (400, "invalid_json"), text


@pytest.mark.parametrize("value", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("path", ["/ws/entrance", "/api/v1/ws/entrance"])
async def test_a_frame_that_is_not_json_is_refused_at_once(service: Service, path: str, value: bytes) -> None:
    async with service.connect(path) as client:
        frame = json.dumps({"type": "tool_result", "call_id": "c", "result": {"a": "@"}}).encode()
        text = frame.replace(b'"@"', value).decode(errors="surrogateescape")
        if value != NOT_JSON["bytes"]:
            await client.send(text)
            answer = await client.receive(5)
            assert answer["error_code"] == "invalid_json", answer
        await client.say("/say alive")
        assert (await client.until_final())[-1]["content"] == "alive"
