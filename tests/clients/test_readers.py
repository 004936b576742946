"""The readers are as strict as the original's clients: input that breaks a client breaks its reader."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients import benchmark, editor, plugin
from tests.clients.transcript import RECORDED, Client, transcripts

#: The editor's whole message model, in the order of its fields.
KEYS = (
    *("type", "content", "role", "is_final", "call_id", "tool_name", "arguments", "requires_approval", "result"),
    *("error", "agent_type", "from_agent", "to_agent", "reason", "metadata"),
)
CALL = {"type": "tool_call", "call_id": "c", "tool_name": "t", "arguments": {"_": ""}, "requires_approval": True}
SWITCH = {"type": "agent_switched", "to_agent": "coder", "metadata": {"to_agent": "coder"}}
SAID = {"type": "assistant_message", "content": "Hi", "token": "Hi", "is_final": True}
MADE = {"role": "assistant", "message_id": "m", "content": "Hi", "timestamp": "2026-11-25T09:00:00Z"}
ID = "01a20fd6-0000-7000-8000-000000000001"
ASKED = {
    "approval_id": ID,
    "tool_name": "read_file",
    "params": {},
    "tool_params": {},
    "risk_level": "LOW",
    "timeout_seconds": 300,
}


@pytest.mark.parametrize(
    ("client", "good", "bad"),
    [
        (editor.CLIENT, SAID, {"content": 1}),
        (editor.CLIENT, SAID, {"metadata": []}),
        (editor.CLIENT, SAID, {"is_final": "true"}),
        (editor.CLIENT, {"type": "error", "error": "x"}, {"result": "text"}),
        (editor.CLIENT, CALL, {"arguments": {}}),
        (editor.CLIENT, CALL, {"call_id": None}),
        (editor.CLIENT, SWITCH, {"to_agent": None, "metadata": None}),
        (benchmark.CLIENT, SAID, {"token": None}),
        (benchmark.CLIENT, SWITCH, {"metadata": None}),
        (benchmark.CLIENT, CALL, {"arguments": None}),
        (benchmark.CLIENT, {"type": "error", "content": "x"}, {"content": None}),
        (plugin.CLIENT, {"type": "heartbeat"}, {"type": "plan_proposed"}),
        (plugin.CLIENT, {"type": "heartbeat"}, {"timestamp": None}),
        (plugin.CLIENT, {"type": "heartbeat"}, {"payload": None}),
        (plugin.CLIENT, {"type": "message_created", "payload": MADE}, {"payload": {}}),
        (
            plugin.CLIENT,
            {"type": "tool.approval_request", "payload": ASKED},
            {"payload": {**ASKED, "approval_id": "1"}},
        ),
        (
            plugin.CLIENT,
            {"type": "tool.approval_request", "payload": ASKED},
            {"payload": {**ASKED, "risk_level": "NO"}},
        ),
    ],
)
def test_input_that_a_client_cannot_parse_fails(client: Client, good: dict[str, Any], bad: dict[str, Any]) -> None:
    client.reader().take(json.dumps(good) + "\n")
    with pytest.raises((AssertionError, KeyError)):
        client.reader().take(json.dumps({**good, **bad}) + "\n")


def test_every_frame_of_the_editor_is_its_whole_model() -> None:
    frames = [line[2:] for path in transcripts("editor") for line in path.read_text().splitlines() if line[0:2] == "> "]
    assert {json.loads(frame)["type"] for frame in frames} == {"user_message", "tool_result", "switch_agent"}
    for frame in frames:
        assert tuple(json.loads(frame)) == KEYS
        assert frame == json.dumps(json.loads(frame), ensure_ascii=False, separators=(",", ":"))


def test_every_transcript_has_a_test() -> None:
    played = {path for name in ("editor", "benchmark", "gateway", "plugin", "terminal") for path in transcripts(name)}
    assert played == set(RECORDED.iterdir())
