"""A whole task on real processes: planned, approved, and done by several agents with tools that really run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.workspace import Workspace
from tests.conftest import POSTGRES, REDIS
from tests.live.service import Frame, Socket, running
from tests.live.test_events import ENDS

pytestmark = pytest.mark.live

CHECK = "python3 -m unittest discover -s tests -t ."

# Its length differs from the repaired one: within the same second Python tells a changed source only by its size.
BROKEN = '''"""Says hello."""


def greet(name: str) -> str:
    return f"Hello, {nam}!"
'''

TEST = """import unittest

from greeting import greet


class GreetTest(unittest.TestCase):
    def test_it_names_who_is_greeted(self) -> None:
        self.assertEqual(greet("Ada"), "Hello, Ada!")
"""

MENDED = '<<<<<<< SEARCH\n    return f"Hello, {nam}!"\n=======\n    return f"Hello, {name}!"\n>>>>>>> REPLACE'


def call(tool: str, **arguments: Any) -> str:
    return f"/call {tool} {json.dumps(arguments)}"


SUBTASKS = [
    {
        "id": "write",
        "agent": "coder",
        "description": "\n".join(
            [
                call("create_directory", path="tests"),
                call("write_file", path="greeting.py", content=BROKEN),
                call("write_file", path="tests/__init__.py", content=""),
                call("write_file", path="tests/test_greeting.py", content=TEST),
                "/say Written: greeting.py and its test.",
            ]
        ),
    },
    {
        "id": "check",
        "agent": "debug",
        "dependencies": ["write"],
        "description": "\n".join(
            [call("execute_command", command=CHECK), "/say The test fails: a name is misspelt in greeting.py, line 5."]
        ),
    },
    {
        "id": "mend",
        "agent": "coder",
        "dependencies": ["check"],
        "description": "\n".join(
            [
                call("read_file", path="greeting.py"),
                "/say There it is.",
                call("apply_diff", path="greeting.py", diff=MENDED),
                "/say Mended.",
            ]
        ),
    },
    {
        "id": "verify",
        "agent": "debug",
        "dependencies": ["mend"],
        "description": "\n".join(
            [call("execute_command", command=CHECK), call("attempt_completion", result="All tests pass.")]
        ).replace("\n/call attempt", "\n/say So:\n/call attempt"),
    },
]

TASK = "\n".join(
    [
        "/route orchestrator",
        "/say Create a small package with tests and make them pass: I will plan that.",
        call("create_plan", goal="A small package with passing tests", subtasks=SUBTASKS),
    ]
)


def is_question(event: Frame) -> bool:
    """Return whether the event asks for approval of a tool other than a plan."""
    asked = event["payload"]
    is_asked = event["kind"] == "tool_call_requested" and asked["requires_approval"]
    return bool(is_asked) and asked["tool"] != "create_plan"


async def work(client: Socket, workspace: Workspace) -> list[Frame]:
    """Act as an editor whose user approves everything; return the events up to the end of the turn."""
    events: list[Frame] = []
    while not events or events[-1]["kind"] not in ENDS:
        frame = await client.receive(60)
        if frame["type"] == "tool_call":
            await client.send(workspace.run(frame["call_id"], frame["tool_name"], frame["arguments"]))
        elif frame["type"] == "event":
            events.append(frame)
            payload = frame["payload"]
            if frame["kind"] == "plan_proposed":
                await client.send({"type": "plan_decision", "plan_id": payload["plan_id"], "decision": "approve"})
            elif is_question(frame):
                await client.send({"type": "hitl_decision", "call_id": payload["call_id"], "decision": "approve"})
    return events


def passes(folder: Path) -> bool:
    command = [sys.executable, *CHECK.split()[1:]]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


async def test_a_package_is_planned_written_and_repaired_until_its_tests_pass(tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    folder.mkdir()
    workspace = Workspace(folder)
    options: dict[str, Any] = {"subprotocols": ["codelab.v2"]}
    with running(tmp_path, postgres=POSTGRES, redis=REDIS, CODELAB_AGENTS="multi") as service:
        async with service.connect("/ws/package", **options) as client:
            await client.send({"type": "hello", "tools": list(workspace.tools), "plans": True})
            await client.say(TASK)
            events = await work(client, workspace)
        gated = service.rows(
            "SELECT c.tool, a.status FROM agent_sessions_toolcall c "
            "LEFT JOIN agent_sessions_approval a ON a.call_id = c.id WHERE c.requires_approval"
        )
    assert events[-1]["kind"] == "turn_completed"
    agents = [event["payload"]["to_agent"] for event in events if event["kind"] == "agent_switched"]
    assert [agent for agent in agents if agent != "orchestrator"] == ["coder", "debug", "coder", "debug"]
    states = [event["payload"]["status"] for event in events if event["kind"] == "plan_updated"]
    assert states == ["in_progress", "completed"] * 4
    assert {status for _, status in gated} == {"approved"}
    assert sorted({tool for tool, _ in gated}) == [
        "apply_diff",
        "create_directory",
        "create_plan",
        "execute_command",
        "write_file",
    ]
    ids = [call_id for call_id, _ in workspace.ran]
    assert len(set(ids)) == len(ids) == 8, "each call must run once"
    results = [event["payload"]["content"] for event in events if event["payload"].get("role") == "tool"]
    exits = [json.loads(result)["exit_code"] for result in results if "exit_code" in result]
    assert exits == [1, 0], "the test must fail first and pass after the repair"
    assert passes(folder)
