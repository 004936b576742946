"""Plans on real processes: over both protocols, and with workers that are killed during a plan."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import POSTGRES, REDIS
from tests.live.service import Frame, Service, Socket, running
from tests.live.test_events import events_of

pytestmark = pytest.mark.live


def script(*subtasks: dict[str, Any], afterwards: str = "/say That was the plan.") -> str:
    """Return the script of a plan. The description of each sub-task is the script for it."""
    plan = {"goal": "Tried out", "subtasks": subtasks}
    return f"/call create_plan {json.dumps(plan)}\n{afterwards}"


def task(name: str, lines: str, agent: str = "coder", **more: Any) -> dict[str, Any]:
    return {"id": name, "description": lines, "agent": agent, **more}


async def until(client: Socket, *names: str, **payload: Any) -> Frame:
    """Return the next frame or event of one of these types or kinds, with this in its payload."""
    while True:
        frame = await client.receive(60)
        told = frame.get("payload", frame)
        if {frame["type"], frame.get("kind")} & set(names) and payload.items() <= told.items():
            return frame


async def as_architect(client: Socket) -> None:
    await client.send({"type": "switch_agent", "agent_type": "architect"})
    await until(client, "agent_switched")


def updates(service: Service, key: str) -> list[tuple[str, str]]:
    rows = service.rows(
        "SELECT e.payload->>'subtask_id', e.payload->>'status' FROM agent_sessions_event e "
        "JOIN agent_sessions_session s ON s.id = e.session_id WHERE s.key = %s AND e.kind = 'plan_updated' "
        "ORDER BY e.number",
        key,
    )
    return [(str(name), str(status)) for name, status in rows]


def each_once(*names: str) -> list[tuple[str, str]]:
    return [(name, status) for name in names for status in ("in_progress", "completed")]


async def test_a_v2_client_follows_a_plan_to_its_end(service: Service) -> None:
    async with events_of(service, "plan-v2") as (client, _):
        await client.send({"type": "hello", "after": 0, "plans": True})
        await as_architect(client)
        read = task("look", '/call read_file {"path": "a.txt"}\n/say I have read it.')
        await client.say(script(read, task("tell", "/say It says x.", "ask", dependencies=["look"])))
        proposed = (await until(client, "plan_proposed"))["payload"]
        decision = {"type": "plan_decision", "plan_id": proposed["plan_id"]}
        await client.send({**decision, "decision": "edit"})
        assert (await until(client, "error"))["error_code"] == "invalid_field"
        await client.send({**decision, "plan_id": "none", "decision": "approve"})
        assert (await until(client, "error"))["error_code"] == "unknown_plan"
        await client.send({**decision, "decision": "approve"})
        async with events_of(service, "plan-v2") as (_, welcome):
            assert welcome["snapshot"]["plan"]["plan_id"] == proposed["plan_id"]
        asked = (await until(client, "tool_call_requested", tool="read_file"))["payload"]
        await client.send({**decision, "decision": "reject"})
        assert (await until(client, "error"))["error_code"] == "approval_decided"
        await client.send({"type": "tool_result", "call_id": asked["call_id"], "result": {"content": "x"}})
        finished = (await until(client, "plan_finished"))["payload"]
        assert (finished["status"], finished["completed"]) == ("completed", 2)
        await until(client, "turn_completed")
        await client.say("/say Anything else?")
        assert (await until(client, "message_added", role="assistant"))["payload"]["content"] == "Anything else?"
    assert updates(service, "plan-v2") == each_once("look", "tell")


async def test_an_editor_that_asks_for_plans_gets_the_frames_of_the_original(service: Service) -> None:
    async with service.connect("/api/v1/ws/plan-v1?plans=1") as client, service.connect("/api/v1/ws/plan-v1") as other:
        await as_architect(client)
        await client.say(script(task("one", "/say First."), task("two", "/say Second.", "debug")))
        asked = await until(client, "plan_notification")
        metadata = asked["metadata"]
        assert (asked["is_final"], metadata["subtask_count"]) == (True, 2)
        await client.send(
            {
                "type": "plan_decision",
                "approval_request_id": f"plan-approval-{metadata['plan_id']}",
                "decision": "modify",
                "modified_subtasks": [metadata["subtasks"][0], task("two", "/say Another.", "ask")],
                "feedback": None,
            }
        )
        frames: list[Frame] = []
        while not frames or frames[-1]["type"] != "plan_completed":
            frames.append(await client.receive())
        kinds = [frame["type"] for frame in frames if frame["type"] != "agent_switched"]
        one = ["subtask_started", "plan_progress", "assistant_message", "subtask_completed", "plan_progress"]
        assert kinds == [*one, *one, "plan_completed"]
        said = [(f["content"], f["is_final"]) for f in frames if f["type"] == "assistant_message"]
        assert said == [("First.", False), ("Another.", True)]
        assert frames[-1]["metadata"]["plan_status"] == "complete"
        told = [await other.receive()]
        while not (told[-1]["type"] == "assistant_message" and told[-1]["is_final"]):
            told.append(await other.receive())
        assert {frame["type"] for frame in told} == {"agent_switched", "assistant_message"}


async def test_a_rejected_plan_goes_back_to_the_model(service: Service) -> None:
    async with service.connect("/ws/plan-no?plans=1") as client:
        await as_architect(client)
        await client.say(script(task("one", "/say never"), afterwards="/say Then not."))
        plan_id = (await until(client, "plan_notification"))["metadata"]["plan_id"]
        await client.send({"type": "plan_decision", "plan_id": plan_id, "decision": "reject", "feedback": "No."})
        assert (await until(client, "assistant_message", is_final=True))["content"] == "Then not."
    assert updates(service, "plan-no") == []


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose worker the test may kill."""
    with running(tmp_path_factory.mktemp("plans"), postgres=POSTGRES, redis=REDIS) as service:
        yield service


def replace_worker(service: Service) -> None:
    """Kill the worker and start another one."""
    service.stop("worker", signal_number=signal.SIGKILL)
    service.start("worker")


# For each of three killed workers a lease has to expire and another worker to start.
@pytest.mark.timeout(400)
async def test_a_plan_survives_workers_that_are_killed_at_any_point(lone: Service) -> None:
    key = "plan-crash"
    tasks = (
        task("slow", '/call read_file {"path": "a.txt"}\n/tokens 40 20\n/say .'),
        task("quick", "/say quick.", "debug", dependencies=["slow"]),
        task("last", '/call read_file {"path": "b.txt"}\n/tokens 40 20', "ask", dependencies=["quick"]),
    )
    async with events_of(lone, key) as (client, _):
        await client.send({"type": "hello", "after": 0, "plans": True})
        await as_architect(client)
        await client.say(script(*tasks))
        proposed = (await until(client, "plan_proposed"))["payload"]
        # No worker holds a plan that waits, so a user can answer it without any worker.
        lone.stop("worker", signal_number=signal.SIGKILL)
        await client.send({"type": "plan_decision", "plan_id": proposed["plan_id"], "decision": "approve"})
        await until(client, "plan_updated", subtask_id="slow", status="in_progress")
        lone.start("worker")
        await answer(client, "a.txt")
        # During a step of a sub-task whose first step is stored.
        await until(client, "text_delta")
        await asyncio.to_thread(replace_worker, lone)
        # As soon as the next one has begun, at any moment.
        await until(client, "plan_updated", subtask_id="quick", status="in_progress")
        await asyncio.to_thread(replace_worker, lone)
        await answer(client, "b.txt")
        await until(client, "text_delta")
        await asyncio.to_thread(replace_worker, lone)
        finished = (await until(client, "plan_finished"))["payload"]
        assert (finished["status"], finished["total"], finished["completed"]) == ("completed", 3, 3)
        await until(client, "turn_completed")
    assert updates(lone, key) == each_once("slow", "quick", "last")
    calls = lone.rows(
        "SELECT c.arguments->>'path' FROM agent_sessions_toolcall c JOIN agent_sessions_turn t ON t.id = c.turn_id "
        "JOIN agent_sessions_session s ON s.id = t.session_id WHERE s.key = %s AND c.tool = 'read_file' ORDER BY c.id",
        key,
    )
    assert calls == [("a.txt",), ("b.txt",)], "a stored call must not run again"


async def answer(client: Socket, path: str) -> None:
    asked = (await until(client, "tool_call_requested", tool="read_file"))["payload"]
    assert asked["arguments"] == {"path": path}
    await client.send({"type": "tool_result", "call_id": asked["call_id"], "result": {"content": "x"}})
