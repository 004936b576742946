"""What the original's VS Code plugin sends and reads; every answer passes its schemas."""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from agents.roles import ROLES
from codelab.identity import api_keys
from llm.types import ModelToolCall
from sessions.api.commands import announce
from sessions.api.plugin import ndjson, tool_messages
from sessions.api.plugin.schemas import agent_id
from sessions.database import in_thread
from sessions.events.log import LoggedEvent
from sessions.models import Approval, Project, Session, ToolCall, Turn
from sessions.turns import attempts, inbox, tool_calls
from sessions.turns.deletion import delete_marked_sessions
from tests.clients import editor, plugin
from tests.sessions.api.rest.conftest import Http, rows
from tests.sessions.calls import read_call, write_call
from tests.sessions.story import begin, claim, request, step

pytestmark = pytest.mark.django_db(transaction=True)

PROJECTS = "/my/projects/"


async def new_project(http: Http, name: str = "shop", path: str | None = "/src/shop") -> str:
    """Make a project as the plugin does; return its path."""
    body = {"name": name} if path is None else {"name": name, "workspace_path": path}
    project = plugin.project(await http.ok("POST", PROJECTS, body))
    return f"{PROJECTS}{project['id']}/"


async def new_chat(http: Http, project: str) -> Session:
    """Make a session in a project."""
    chat = plugin.chat(await http.ok("POST", f"{project}chat/sessions/", {}))
    assert chat["message_count"] == 0
    return await rows(lambda: Session.objects.get(pk=chat["id"]))


@asynccontextmanager
async def following(session: Session) -> AsyncIterator[Any]:
    """Follow a session as the plugin does; yield a function that waits for the next event but a heartbeat."""
    async with aclosing(await ndjson.stream(session)) as lines:
        assert plugin.event(await anext(lines))["type"] == "heartbeat"

        async def following_event() -> dict[str, Any]:
            while True:
                event = plugin.event(await anext(lines))
                assert event["session_id"] == str(session.pk)
                if event["type"] != "heartbeat":
                    return event

        yield following_event


async def test_projects_are_made_once_read_changed_and_deleted(as_alice: Http, as_bob: Http) -> None:
    project = await new_project(as_alice)
    # The plugin posts again when it has lost the answer or its own state.
    assert await new_project(as_alice) == project
    other = await new_project(as_alice, "Default Project", None)
    listed = plugin.project_list(await as_alice.ok("GET", PROJECTS))
    assert (listed["total"], [each["name"] for each in listed["projects"]]) == (2, ["Default Project", "shop"])
    assert listed["projects"][0]["workspace_path"] is None
    changed = plugin.project(await as_alice.ok("PUT", project, {"name": "store"}))
    assert (changed["name"], changed["workspace_path"]) == ("store", "/src/shop")
    assert plugin.project(await as_alice.ok("PUT", project, {"workspace_path": None}))["workspace_path"] is None
    assert plugin.project(await as_alice.ok("GET", project))["name"] == "store"
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
        assert await as_bob.refused(method, project, body) == (404, "project_not_found")
    assert plugin.project_list(await as_bob.ok("GET", PROJECTS))["total"] == 0
    await as_alice.ok("DELETE", other)
    assert await as_alice.refused("GET", other) == (404, "project_not_found")
    for bad in ({}, {"name": ""}, {"name": "x" * 256}, {"name": "x", "workspace_path": "y" * 501}):
        assert await as_alice.refused("POST", PROJECTS, bad) == (400, "invalid_field")


async def test_sessions_of_a_project_are_the_same_everywhere(as_alice: Http) -> None:
    project = await new_project(as_alice)
    session = await new_chat(as_alice, project)
    sent = await as_alice.ok("POST", f"{project}chat/{session.pk}/message/", {"content": "Hello."})
    message = plugin.message(sent)
    assert (message["role"], message["content"]) == ("user", "Hello.")
    listed = plugin.chat_list(await as_alice.ok("GET", f"{project}chat/sessions/"))
    assert (listed["total"], listed["sessions"][0]["message_count"]) == (1, 1)
    history = plugin.message_list(await as_alice.ok("GET", f"{project}chat/sessions/{session.pk}/messages/"))
    assert (history["total"], history["messages"][0]["id"]) == (1, message["id"])
    # In the other APIs the UUID is the name of the session.
    elsewhere = editor.history(await as_alice.ok("GET", f"/api/v1/sessions/{session.pk}/history"))
    assert elsewhere["messages"][0]["content"] == "Hello."
    gone = await as_alice.ok("DELETE", f"{project}chat/sessions/{session.pk}")
    assert gone["id"] == str(session.pk)
    assert plugin.chat_list(await as_alice.ok("GET", f"{project}chat/sessions/")) == {"sessions": [], "total": 0}
    await in_thread(delete_marked_sessions)(math.inf)
    assert await rows(Turn.objects.count) == 0


async def test_deleting_a_project_stops_and_deletes_its_sessions(as_alice: Http) -> None:
    project = await new_project(as_alice)
    session = await new_chat(as_alice, project)
    await in_thread(request)(session, read_call("r"))
    await as_alice.ok("DELETE", project)
    assert await rows(Session.objects.count) == await rows(Project.objects.count) == 0


async def test_messages_of_tools_and_empty_ones_are_not_shown(as_alice: Http) -> None:
    project = await new_project(as_alice)
    session = await new_chat(as_alice, project)
    held = await in_thread(request)(session, read_call("r"))
    await in_thread(tool_calls.record_tool_result)(session.pk, "r", content="{}", failed=False)
    await in_thread(attempts.complete)(await in_thread(claim)(held.turn_id), step("It is fine."))
    history = plugin.message_list(await as_alice.ok("GET", f"{project}chat/sessions/{session.pk}/messages/"))
    shown = [(each["role"], each["content"]) for each in history["messages"]]
    assert shown == [("user", "Do it."), ("assistant", "It is fine.")]
    assert history["total"] == 2
    assert plugin.chat_list(await as_alice.ok("GET", f"{project}chat/sessions/"))["sessions"][0]["message_count"] == 2


async def test_agents_are_listed_and_cannot_be_changed(as_alice: Http) -> None:
    project = await new_project(as_alice)
    session = await new_chat(as_alice, project)
    agents = plugin.agent_list(await as_alice.ok("GET", f"{project}agents/"))
    assert agents["total"] == len(agents["agents"]) == len(ROLES)
    assert {each["status"] for each in agents["agents"]} == {"ready"}
    await in_thread(begin)(session)
    coder = agent_id("coder")
    assert plugin.agent(await as_alice.ok("GET", f"{project}agents/{coder}"))["name"] == "Coder"
    again_listed = plugin.agent_list(await as_alice.ok("GET", f"{project}agents/"))
    assert "busy" in {each["status"] for each in again_listed["agents"]}
    fixed = (409, "agents_are_fixed")
    assert await as_alice.refused("POST", f"{project}agents/", {"system_prompt": "x"}) == fixed
    assert await as_alice.refused("PUT", f"{project}agents/{coder}", {"config": {}}) == fixed
    assert await as_alice.refused("DELETE", f"{project}agents/{coder}") == fixed
    assert await as_alice.refused("GET", f"{project}agents/{uuid.uuid4()}") == (404, "unknown_agent")


@pytest.mark.parametrize("target", ["coder", "Coder", str(agent_id("coder"))])
async def test_a_message_can_be_for_an_agent(as_alice: Http, target: str) -> None:
    project = await new_project(as_alice)
    session = await new_chat(as_alice, project)
    path = f"{project}chat/{session.pk}/message/"
    await as_alice.ok("POST", path, {"content": "Hello.", "target_agent": target})
    assert (await rows(lambda: Session.objects.get())).current_agent == "coder"
    assert await as_alice.refused("POST", path, {"content": "x", "target_agent": "wizard"}) == (400, "unknown_agent")
    assert await as_alice.refused("POST", path, {"content": " \n"}) == (400, "empty_message")


COMMAND = ModelToolCall(id="c", name="execute_command", arguments={"command": 'git log "-3"', "timeout": 20})


async def test_a_tool_is_requested_approved_run_and_answered(as_alice: Http) -> None:
    project = await new_project(as_alice)
    session = await new_chat(as_alice, project)
    async with following(session) as event:
        await as_alice.ok("POST", f"{project}chat/{session.pk}/message/", {"content": "Do it."})
        assert (await event())["type"] == "agent_switched"
        assert (await event())["type"] == "message_received"
        turn_id = (await rows(lambda: Turn.objects.get())).pk
        claimed = await in_thread(attempts.claim)(turn_id, worker="w", model="m")
        assert claimed
        held, change = claimed
        announce(change)
        assert (await event())["type"] == "task_started"
        announce(await in_thread(tool_calls.request_tools)(held, step("Let me see."), [COMMAND]))
        said = await event()
        assert (said["type"], said["payload"]["content"]) == ("message_created", "Let me see.")
        asked = await event()
        assert asked["type"] == "tool.approval_request"
        assert asked["payload"]["risk_level"] == "HIGH"
        approval_id = asked["payload"]["approval_id"]
        approve = f"{project}approvals/{approval_id}/approve"
        approved = plugin.approval(await as_alice.ok("POST", approve, {"decision": "approved"}))
        assert (approved["success"], approved["status"]) == (True, "approved")
        order = await event()
        assert order["type"] == "tool.execution_signal"
        assert plugin.command(order["payload"]["tool_params"]) == ("git", ["log", "-3"])
        assert order["payload"]["tool_params"]["timeout"] == 20_000
        path = f"{project}tools/{order['payload']['tool_id']}/result"
        # As the plugin really sends it, with more fields than in its types.
        sent = {
            "status": "completed",
            "completed_at": "2026-11-24T22:49:07.395Z",
            "session_id": str(session.pk),
            "result": {"tool_id": approval_id, "tool_type": "execute_command", "stdout": "a\x00b", "exit_code": 0},
        }
        taken = plugin.tool_result(await as_alice.ok("POST", path, sent))
        assert (taken["success"], taken["status"]) == (True, "completed")
        assert (await event())["type"] == "tool.result_ack"
        call = await rows(lambda: ToolCall.objects.get())
        assert call.result == '{"stdout": "a\\u0000b", "exit_code": 0}'
        assert await as_alice.refused("POST", path, sent) == (409, "tool_call_finished")
        assert await as_alice.refused("POST", approve) == (409, "tool_call_finished")
        held = await in_thread(claim)(turn_id)
        announce(await in_thread(attempts.complete)(held, step("Done.")))
        ended = [(await event())["type"] for _ in range(3)]
        assert ended == ["task_started", "message_created", "task_completed"]


async def test_a_rejection_and_a_failure_reach_the_model(as_alice: Http) -> None:
    project = await new_project(as_alice)
    session = await new_chat(as_alice, project)
    await in_thread(request)(session, COMMAND, read_call("r"))
    calls = {call.call_id: call for call in await rows(lambda: list(ToolCall.objects.all()))}
    reject = f"{project}approvals/{calls['c'].pk}/reject"
    assert plugin.approval(await as_alice.ok("POST", reject, {"reason": "Not now."}))["status"] == "rejected"
    sent = {"status": "failed", "result": {"stderr": "no such file"}, "error": "It\x00failed."}
    taken = plugin.tool_result(await as_alice.ok("POST", f"{project}tools/{calls['r'].pk}/result", sent))
    assert taken["status"] == "failed"
    results = dict(await rows(lambda: list(ToolCall.objects.values_list("call_id", "result"))))
    assert results["c"] == "Error: Not now."
    assert results["r"] == 'Error: It�failed.\n{"stderr": "no such file"}'


async def test_a_client_that_was_away_gets_what_it_missed_and_no_command_twice(as_alice: Http) -> None:
    project = await new_project(as_alice)
    session = await new_chat(as_alice, project)
    free = ModelToolCall(id="free", name="execute_command", arguments={"command": "git fetch"})
    await in_thread(request)(session, COMMAND, read_call("r"), free, text="Let me see.")
    asked = await rows(lambda: ToolCall.objects.get(call_id="free"))
    await as_alice.ok("POST", f"{project}approvals/{asked.pk}/approve")
    async with following(session) as event:
        missed = [await event() for _ in range(3)]
        assert [each["type"] for each in missed] == [
            "message_created",
            "tool.approval_request",
            "tool.execution_signal",
        ]
        assert missed[2]["payload"]["tool_name"] == "read_file"
        # A message now cancels the waiting call: the plugin cannot stop it in any other way.
        await as_alice.ok("POST", f"{project}chat/{session.pk}/message/", {"content": "Something else."})
        assert (await event())["type"] == "task_completed"
    assert await rows(lambda: list(Turn.objects.order_by("pk").values_list("status", flat=True))) == [
        "cancelled",
        "queued",
    ]


async def test_failures_and_the_end_of_a_session_are_reported(as_alice: Http) -> None:
    project = await new_project(as_alice)
    session = await new_chat(as_alice, project)
    held = await in_thread(begin)(session)
    lines = await ndjson.stream(session)
    announce(await in_thread(attempts.fail)(held, code="model_stalled", text="It fell silent."))
    types = []
    async with aclosing(lines):
        async for line in lines:
            types.append(plugin.event(line)["type"])
            if types[-1] == "error":
                await as_alice.ok("DELETE", f"{project}chat/sessions/{session.pk}")
    assert types == ["heartbeat", "error"]


async def test_a_plan_is_sent_under_the_plugins_name_for_it(alice: User) -> None:
    event = LoggedEvent(uuid.uuid4(), 7, "plan_proposed", {"plan_id": "p", "steps": []})
    told = await ndjson.line_of(event)
    assert told
    shown = plugin.event(told)
    assert (shown["type"], shown["payload"]) == ("orchestration_plan_created", event.payload)
    assert await ndjson.line_of(LoggedEvent(event.session_id, 8, "plan_updated", {})) is None


async def test_turns_are_limited_here_as_well(alice: User, loop: None, settings: Settings) -> None:
    settings.CODELAB_LIMITS = {**settings.CODELAB_LIMITS, "turns": "1/minute"}
    key = await in_thread(api_keys.create)(
        alice, name="plugin", scopes="api:read api:write", expires_at=None, address="192.0.2.1"
    )
    http = Http(Client(headers={"Authorization": f"Bearer {key[1]}"}))
    project = await new_project(http)
    path = f"{project}chat/{(await new_chat(http, project)).pk}/message/"
    await http.ok("POST", path, {"content": "One."})
    assert await http.refused("POST", path, {"content": "Two."}) == (429, "rate_limited")


async def test_the_stream_is_ndjson(as_alice: Http, as_bob: Http) -> None:
    project = await new_project(as_alice)
    session = await new_chat(as_alice, project)
    path = f"{project}chat/{session.pk}/events/"
    response: Any = await in_thread(as_alice.client.get)(path, headers={"Accept": "application/x-ndjson"})
    assert (response.status_code, response["Content-Type"]) == (200, "application/x-ndjson")
    response.close()
    assert await as_bob.refused("GET", path) == (404, "session_not_found")


async def test_bob_cannot_see_anything_of_alices(as_alice: Http, as_bob: Http) -> None:
    project = await new_project(as_alice)
    session = await new_chat(as_alice, project)
    await in_thread(request)(session, COMMAND)
    call = (await rows(lambda: ToolCall.objects.get())).pk
    bobs = await new_project(as_bob)
    for base in (project, bobs):
        for method, path, body in (
            ("POST", f"chat/{session.pk}/message/", {"content": "x"}),
            ("GET", f"chat/sessions/{session.pk}/messages/", None),
            ("DELETE", f"chat/sessions/{session.pk}", None),
            ("POST", f"approvals/{call}/approve", None),
            ("POST", f"approvals/{call}/reject", None),
            ("POST", f"tools/{call}/result", {"status": "completed"}),
        ):
            assert (await as_bob.refused(method, base + path, body))[0] == 404, path
    for method, path in (("GET", "chat/sessions/"), ("POST", "chat/sessions/"), ("GET", "agents/")):
        assert await as_bob.refused(method, project + path) == (404, "project_not_found")
    # Alice cannot reach it through another project either.
    other = await new_project(as_alice, "other")
    assert (await as_alice.refused("POST", f"{other}approvals/{call}/approve"))[0] == 404
    assert await rows(lambda: Approval.objects.get().status) == "pending"
    assert await rows(lambda: Session.objects.filter(pk=session.pk).count()) == 1


async def test_unknown_paths_are_answered_in_json(as_alice: Http) -> None:
    project = await new_project(as_alice)
    assert await as_alice.refused("POST", f"{project}approvals/undefined/reject") == (404, "not_found")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"command": "npm test"}, {"command": "npm", "args": ["test"], "timeout": 60_000}),
        ({"command": "ls", "cwd": "src"}, {"command": "ls", "args": [], "timeout": 60_000, "cwd": "src"}),
        ({"command": 'python -c "f(1)"'}, {"command": "python", "args": ["-c", "f(1)"], "timeout": 60_000}),
        ({"command": "ls | wc"}, {"command": "ls | wc", "args": [], "timeout": 60_000}),
        ({"command": "ls", "shell": True, "timeout": 300}, {"command": "ls", "args": [], "timeout": 300_000}),
    ],
)
def test_a_command_is_one_program_with_its_words(arguments: dict[str, Any], expected: dict[str, Any]) -> None:
    params = tool_messages.parameters(ToolCall(tool="execute_command", arguments=arguments))
    assert params == expected
    plugin.command(params)


async def test_the_model_is_offered_what_the_plugin_can_run(as_alice: Http) -> None:
    session = await new_chat(as_alice, await new_project(as_alice))
    held = await in_thread(begin)(session)
    await in_thread(tool_calls.request_tools)(held, step(), [write_call("w")])
    assert (await rows(lambda: ToolCall.objects.get())).rule == "client tools"
    await in_thread(inbox.accept_message)(session.pk, "x")
