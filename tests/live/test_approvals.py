"""Tools that need approval, as each kind of client answers; and agents that a user chooses."""

from __future__ import annotations

import pytest

from tests.live.service import Frame, Service, Socket
from tests.live.test_events import events_of, until_end

pytestmark = pytest.mark.live

WRITE = '/call write_file {"path": "a.txt", "content": "x"}\n/say Done.'


async def until(client: Socket, kind: str) -> Frame:
    while True:
        frame = await client.receive()
        if kind in (frame.get("kind"), frame["type"]):
            return frame


async def test_a_v2_client_approves_a_call_and_runs_it(service: Service) -> None:
    async with events_of(service, "ap-v2") as (client, _):
        await client.say(WRITE)
        asked = (await until(client, "tool_call_requested"))["payload"]
        assert (asked["requires_approval"], asked["rule"]) == (True, "mode: ask")
        edited = {"path": "b.txt", "content": "y"}
        await client.send(
            {"type": "hitl_decision", "call_id": asked["call_id"], "decision": "edit", "modified_arguments": edited}
        )
        decided = (await until(client, "approval_decided"))["payload"]
        assert (decided["status"], decided["arguments"]) == ("edited", edited)
        async with events_of(service, "ap-v2") as (_, welcome):
            (call,) = welcome["snapshot"]["tool_calls"]
            assert (call["requires_approval"], call["arguments"]) == (False, edited)
        await client.send({"type": "hitl_decision", "call_id": asked["call_id"], "decision": "reject"})
        assert (await until(client, "error"))["error_code"] == "approval_decided"
        await client.send({"type": "tool_result", "call_id": asked["call_id"], "result": {"success": True}})
        assert (await until_end(client))[-1]["kind"] == "turn_completed"


async def test_a_model_that_repeats_a_call_ends_its_turn(service: Service) -> None:
    async with service.connect("/api/v1/ws/repeats") as client:
        await client.say('/say Again.\n/call read_file {"path": "a.txt"}\n' * 9)
        for _ in range(4):
            call = await until(client, "tool_call")
            await client.send({"type": "tool_result", "call_id": call["call_id"], "result": {"success": True}})
        end = await until(client, "error")
    assert (end["type"], end["error_code"], end["is_final"]) == ("error", "repeated_calls", True)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"type": "tool_result", "result": {"success": True, "bytes_written": 1}}, '"bytes_written": 1'),
        ({"type": "tool_result", "error": "User rejected: no"}, "Error: User rejected: no"),
        ({"type": "hitl_response", "action": "reject", "edited_arguments": None, "feedback": "Not now."}, "Not now."),
    ],
)
async def test_an_editor_may_ask_its_user_itself(service: Service, answer: Frame, told: str) -> None:
    key = f"ap-ide-{told[:8].strip()}".replace(" ", "")
    async with service.connect(f"/api/v1/ws/{key}") as client:
        await client.say(WRITE)
        assert (await client.receive())["type"] == "agent_switched"
        call = await client.receive()
        assert (call["type"], call["requires_approval"], call["is_final"]) == ("tool_call", True, True)
        await client.send({**answer, "call_id": call["call_id"]})
        assert (await client.until_final())[-1]["content"] == "Done."
        await client.send({**answer, "call_id": call["call_id"]})
        assert (await client.receive())["error_code"] in ("tool_call_finished", "approval_decided")
    rows = service.rows(
        "SELECT m.content FROM agent_sessions_message m JOIN agent_sessions_session s ON s.id = m.session_id "
        "WHERE s.key = %s AND m.role = 'tool'",
        key,
    )
    assert told in rows[0][0]


async def test_an_old_client_that_approves_by_a_frame_gets_the_call_again_to_run_it(service: Service) -> None:
    async with service.connect("/ws/ap-old") as client:
        await client.say(WRITE)
        call = await until(client, "tool_call")
        await client.send({"type": "hitl_decision", "call_id": call["call_id"], "decision": "approve"})
        again = await until(client, "tool_call")
        assert (again["call_id"], again["requires_approval"]) == (call["call_id"], False)
        await client.send({"type": "tool_result", "call_id": call["call_id"], "result": {"success": True}})
        assert (await client.until_final())[-1]["content"] == "Done."


@pytest.mark.parametrize(
    "call", ['write_file {"path": "../x", "content": ""}', "launch_rocket {}", 'write_file {"path": 1}', "write_file {"]
)
async def test_a_forbidden_call_never_reaches_a_client(service: Service, call: str) -> None:
    async with service.connect(f"/ws/ap-refused-{len(call)}") as client:
        await client.say(f"/call {call}\n/say Never mind.")
        frames = await client.until_final()
    assert [frame["type"] for frame in frames if frame["type"] != "assistant_message"] == []
    assert frames[-1]["content"] == "Never mind."


async def test_a_client_chooses_another_agent(service: Service) -> None:
    async with service.connect("/api/v1/ws/ap-agent") as client:
        await client.send({"type": "switch_agent", "agent_type": "architect", "content": "Switched", "reason": None})
        frame = await client.receive()
        assert (frame["type"], frame["to_agent"], frame["is_final"]) == ("agent_switched", "architect", True)
        assert frame["metadata"]["confidence"] == "high"
        await client.send({"type": "switch_agent", "agent_type": "wizard", "content": ""})
        assert (await client.receive())["error_code"] == "unknown_agent"
        await client.say('/call write_file {"path": "a.py", "content": ""}\n/say As I thought.')
        assert (await client.until_final())[-1]["content"] == "As I thought.", "the architect may change only *.md"
