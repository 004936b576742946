"""The Agent Client Protocol at `/acp`, with the official SDK as the editor and every message against the schema."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from acp import RequestError, schema, text_block

from tests.live.acp_editor import NOTHING, Editor, connected
from tests.live.service import Service

pytestmark = pytest.mark.live

WRITE = '/call write_file {"path": "a.txt", "content": "x\\n"}\n/say Done.'
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(100)).decode()


async def opened(agent: Any, folder: Path) -> str:
    session = await agent.new_session(cwd=str(folder), mcp_servers=[])
    return str(session.session_id)


async def prompt(agent: Any, session_id: str, text: str, **meta: Any) -> str:
    answer = await agent.prompt(session_id=session_id, prompt=[text_block(text)], **meta)
    return str(answer.stop_reason)


async def test_a_prompt_is_answered_with_text_thoughts_usage_and_a_stop_reason(
    service: Service, tmp_path: Path
) -> None:
    editor = Editor(tmp_path)
    async with connected(service, editor) as agent:
        session = await agent.new_session(cwd=str(tmp_path), mcp_servers=[])
        assert session.modes.current_mode_id == "orchestrator"
        assert {option.id for option in session.config_options} == {"agent", "approvals"}
        assert await prompt(agent, session.session_id, "/think Hm.\n/say Hello there.") == "end_turn"
        await editor.until(lambda: editor.of(schema.AvailableCommandsUpdate))
    assert editor.text() == "Hello there."
    assert editor.text(schema.AgentThoughtChunk) == "Hm."
    assert editor.of(schema.UserMessageChunk) == []
    assert editor.of(schema.UsageUpdate)[-1].size > editor.of(schema.UsageUpdate)[-1].used > 0
    assert editor.of(schema.CurrentModeUpdate)[-1].current_mode_id == "universal"
    numbers = [int(cursor) for cursor in editor.cursors]
    assert numbers == sorted(numbers)


async def test_files_and_terminals_of_the_editor_run_the_tools(service: Service, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree", encoding="utf-8")
    diff = "<<<<<<< SEARCH\ntwo\n=======\n2\n>>>>>>> REPLACE\n<<<<<<< SEARCH\nthree\n=======\n3\n>>>>>>> REPLACE"
    script = [
        '/call read_file {"path": "a.txt", "start_line": 2, "end_line": 2}',
        f"/call apply_diff {json.dumps({'path': 'a.txt', 'diff': diff})}",
        '/call execute_command {"command": "cat a.txt"}',
        '/call execute_command {"command": "sleep 20", "timeout": 1}',
        '/call execute_command {"command": "echo $((6 * 7))", "shell": true}',
        '/call write_file {"path": "../x", "content": "x"}',
        "/say Done.",
    ]
    editor = Editor(tmp_path, ["allow_once"] * 4)
    async with connected(service, editor) as agent:
        session_id = await opened(agent, tmp_path)
        for line in script:
            assert await prompt(agent, session_id, f"{line}\n/say ok") == "end_turn"
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "one\n2\n3\n"
    assert editor.terminals == {}
    calls = editor.of(schema.ToolCallStart)
    assert [call.kind for call in calls] == ["read", "edit", "execute", "execute", "execute", "edit"]
    assert [call.title for call in calls[:3]] == ["Read a.txt", "Edit a.txt", "cat a.txt"]
    assert calls[0].locations[0].path == str(tmp_path / "a.txt")
    assert [(each.old_text, each.new_text) for each in calls[1].content] == [("two\n", "2\n"), ("three\n", "3\n")]
    assert calls[-1].status == "failed"
    progress = editor.of(schema.ToolCallProgress)
    assert [each.status for each in progress if each.tool_call_id == calls[2].tool_call_id and each.status] == [
        "in_progress",
        "completed",
    ]
    assert any(each.content and each.content[0].type == "terminal" for each in progress)
    outputs = [json.loads(each.raw_output) for each in progress if each.raw_output]
    assert outputs[0]["content"] == "two\n"
    assert (outputs[2]["exit_code"], outputs[2]["stdout"]) == (0, "one\n2\n3\n")
    assert outputs[3]["timed_out"]
    assert outputs[4]["stdout"] == "42\n"


async def test_a_command_runs_once_although_its_session_is_loaded_again(service: Service, tmp_path: Path) -> None:
    editor = Editor(tmp_path, ["allow_once"])
    async with connected(service, editor) as agent:
        session_id = await opened(agent, tmp_path)
        script = f"/call execute_command {json.dumps({'command': 'echo x >> ran; exec sleep 20', 'shell': True})}"
        asking = asyncio.create_task(prompt(agent, session_id, script))
        await editor.until((tmp_path / "ran").exists)
        await agent.load_session(session_id=session_id, cwd=str(tmp_path), mcp_servers=[])
        await editor.until(lambda: not editor.terminals)
        # So long as another run would take to begin.
        await asyncio.sleep(1)
        assert (tmp_path / "ran").read_text() == "x\n"
        await agent.cancel(session_id=session_id)
        assert await asking == "cancelled"


class Runner(Editor):
    """An editor that runs our tools itself, and answers anything."""

    answer: dict[str, Any]

    async def ext_method(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert (method, params["name"]) == ("codelab/run_tool", "read_file")
        return self.answer


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ({"result": {"content": "x"}}, ""),
        ({"parts": [{"type": "video"}]}, "`parts.0`"),
        ({"result": 1, "is_error": "perhaps"}, "`is_error`"),
    ],
)
async def test_a_call_ends_whatever_its_client_answers(
    service: Service, tmp_path: Path, answer: dict[str, Any], failure: str
) -> None:
    editor = Runner(tmp_path)
    editor.answer = answer
    tools = schema.ClientCapabilities(field_meta={"codelab": {"tools": ["read_file"]}})
    async with connected(service, editor, tools) as agent:
        session_id = await opened(agent, tmp_path)
        assert await prompt(agent, session_id, '/call read_file {"path": "a.txt"}\n/say Done.') == "end_turn"
    progress = editor.of(schema.ToolCallProgress)
    assert [each.status for each in progress if each.status] == ["failed" if failure else "completed"]
    assert failure in next(each.raw_output for each in progress if each.raw_output)


@pytest.mark.parametrize(
    ("answer", "is_written", "is_asked_again"),
    [
        ("allow_once", True, True),
        ("allow_always", True, False),
        ("reject_once", False, True),
        ("reject_always", False, False),
    ],
)
async def test_a_permission_is_asked_and_may_become_a_rule(
    service: Service, tmp_path: Path, answer: str, is_written: bool, is_asked_again: bool
) -> None:
    editor = Editor(tmp_path, [answer, answer])
    async with connected(service, editor) as agent:
        session_id = await opened(agent, tmp_path)
        assert await prompt(agent, session_id, WRITE) == "end_turn"
        assert (tmp_path / "a.txt").exists() is is_written
        call, options = editor.questions[0]
        assert [option.kind for option in options] == ["allow_once", "allow_always", "reject_once", "reject_always"]
        assert (call.status, call.content[0].new_text) == ("pending", "x\n")
        await prompt(agent, session_id, WRITE.replace("a.txt", "b.txt"))
    assert len(editor.questions) == 1 + is_asked_again
    assert (tmp_path / "b.txt").exists() is is_written


async def test_a_question_that_is_answered_elsewhere_is_withdrawn(service: Service, tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    async with connected(service, editor) as agent:
        session_id = await opened(agent, tmp_path)
        asking = asyncio.create_task(prompt(agent, session_id, WRITE))
        call, _ = (await editor.until(lambda: editor.questions))[0]
        body = {"call_id": call.tool_call_id, "decision": "approve"}
        status, _ = await asyncio.to_thread(service.post, f"/api/v1/sessions/{session_id}/hitl-decision", body)
        assert status == 200
        assert await asking == "end_turn"
        received = agent._conn._transport.received
        asked = [each["id"] for each in received if each.get("method") == "session/request_permission"]
        withdrawn = [each["params"]["requestId"] for each in received if each.get("method") == "$/cancel_request"]
        assert withdrawn == asked
        # The late answer of the editor ends nothing.
        editor.answers = ["reject_once"]
        assert await prompt(agent, session_id, "/say Still here.") == "end_turn"
    assert (tmp_path / "a.txt").exists()


@pytest.mark.parametrize("script", ["/tokens 10000 50", WRITE, '/call execute_command {"command": "sleep 20"}'])
async def test_a_cancelled_prompt_answers_cancelled(service: Service, tmp_path: Path, script: str) -> None:
    editor = Editor(tmp_path, ["allow_once"] if "sleep" in script else [])
    async with connected(service, editor) as agent:
        session_id = await opened(agent, tmp_path)
        if "sleep" in script:
            await agent.set_config_option(config_id="approvals", session_id=session_id, value="full")
        asking = asyncio.create_task(prompt(agent, session_id, script))
        await editor.until(lambda: editor.text() or editor.questions or editor.terminals)
        await agent.cancel(session_id=session_id)
        assert await asyncio.wait_for(asking, 60) == "cancelled"
        assert await prompt(agent, session_id, "/say On.") == "end_turn"
    assert editor.terminals == {}


async def test_a_failed_turn_is_an_error_with_a_sentence(service: Service, tmp_path: Path) -> None:
    async with connected(service, Editor(tmp_path)) as agent:
        session_id = await opened(agent, tmp_path)
        with pytest.raises(RequestError, match="no more requests for now") as failed:
            await prompt(agent, session_id, "/fail rate_limited")
        data: Any = failed.value.data
        assert (failed.value.code, data["error_code"]) == (-32603, "model_rate_limited")
        assert await prompt(agent, session_id, "/say On.") == "end_turn"


async def test_a_session_is_loaded_with_its_history_and_listed_and_deleted(service: Service, tmp_path: Path) -> None:
    first, second = Editor(tmp_path, ["allow_once"]), Editor(tmp_path)
    async with connected(service, first) as agent:
        session_id = await opened(agent, tmp_path)
        await prompt(agent, session_id, f"/say Writing.\n{WRITE}")
    async with connected(service, second, NOTHING) as agent:
        page = await agent.list_sessions(cwd=str(tmp_path))
        assert [(each.session_id, each.cwd) for each in page.sessions] == [(session_id, str(tmp_path))]
        with pytest.raises(RequestError) as missing:
            await prompt(agent, session_id, "/say Too early.")
        assert missing.value.code == -32002
        loaded = await agent.load_session(session_id=session_id, cwd=str(tmp_path), mcp_servers=[])
        assert loaded.modes.current_mode_id == "universal"
        assert second.text() == first.text() == "Writing.Done."
        assert second.text(schema.UserMessageChunk).startswith("/say Writing.")
        assert [call.title for call in second.of(schema.ToolCallStart)] == ["Write a.txt"]
        half = len(second.cursors) // 2
        cursor, rest = second.cursors[half], second.updates[half + 1 :]
        events = [each for each in rest if not isinstance(each, schema.AvailableCommandsUpdate | schema.UsageUpdate)]
        second.updates.clear()
        await agent.load_session(session_id=session_id, cwd=str(tmp_path), mcp_servers=[], **{"acp/cursor": cursor})
        again = [
            each for each in second.updates if not isinstance(each, schema.AvailableCommandsUpdate | schema.UsageUpdate)
        ]
        assert again == events
        second.updates.clear()
        await agent.resume_session(session_id=session_id, cwd=str(tmp_path), mcp_servers=[])
        assert second.text() == ""
        assert await prompt(agent, session_id, "/say Once more.") == "end_turn"
        assert second.text() == "Once more."
        await agent.close_session(session_id=session_id)
        with pytest.raises(RequestError):
            await prompt(agent, session_id, "/say Closed.")
        await agent._conn.send_request("session/delete", {"sessionId": session_id})
        assert (await agent.list_sessions(cwd=str(tmp_path))).sessions == []
        with pytest.raises(RequestError) as gone:
            await agent.load_session(session_id=session_id, cwd=str(tmp_path), mcp_servers=[])
        assert gone.value.code == -32002


async def test_modes_are_agents_and_approvals_an_option(service: Service, tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    async with connected(service, editor) as agent:
        session_id = await opened(agent, tmp_path)
        await agent.set_session_mode(session_id=session_id, mode_id="coder")
        await editor.until(lambda: [each.current_mode_id for each in editor.of(schema.CurrentModeUpdate)] == ["coder"])
        changed = await agent.set_config_option(config_id="approvals", session_id=session_id, value="auto-edit")
        assert [option.current_value for option in changed.config_options] == ["coder", "auto-edit"]
        await prompt(agent, session_id, WRITE)
        assert (tmp_path / "a.txt").exists()
        assert editor.questions == []
        await prompt(agent, session_id, "/architect /say As the architect.")
        assert editor.of(schema.CurrentModeUpdate)[-1].current_mode_id == "architect"
        for wrong in ({"config_id": "approvals", "value": "all"}, {"config_id": "model", "value": "x"}):
            with pytest.raises(RequestError) as refused:
                await agent.set_config_option(session_id=session_id, **wrong)
            assert refused.value.code == -32602
        with pytest.raises(RequestError, match="does not exist"):
            await agent.set_session_mode(session_id=session_id, mode_id="wizard")


async def test_a_prompt_has_links_resources_and_images(service: Service, tmp_path: Path) -> None:
    blocks = [
        text_block("/say I see "),
        schema.ResourceContentBlock(type="resource_link", name="a.txt", uri="file:///a.txt"),
        schema.EmbeddedResourceContentBlock(
            type="resource", resource=schema.TextResourceContents(uri="file:///b.txt", text="beta")
        ),
        schema.ImageContentBlock(type="image", data=PNG, mime_type="image/png"),
    ]
    async with connected(service, Editor(tmp_path)) as agent:
        session_id = await opened(agent, tmp_path)
        assert (await agent.prompt(session_id=session_id, prompt=blocks)).stop_reason == "end_turn"
        editor = Editor(tmp_path)
        async with connected(service, editor) as other:
            await other.load_session(session_id=session_id, cwd=str(tmp_path), mcp_servers=[])
        shown = [each.content for each in editor.of(schema.UserMessageChunk)]
        assert shown[0].text == ('/say I see [a.txt](file:///a.txt)\n<resource uri="file:///b.txt">\nbeta\n</resource>')
        assert shown[1].mime_type == "image/png"
        for wrong in (
            schema.AudioContentBlock(type="audio", data="", mime_type="audio/wav"),
            schema.ImageContentBlock(type="image", data="no", mime_type="image/png"),
            text_block("x" * 100_001),
            text_block(" "),
        ):
            with pytest.raises(RequestError) as refused:
                await agent.prompt(session_id=session_id, prompt=[wrong])
            assert refused.value.code == -32602


async def test_bad_messages_get_the_right_error_and_end_nothing(service: Service, tmp_path: Path) -> None:
    editor = Editor(tmp_path)
    async with connected(service, editor) as agent:
        session_id = await opened(agent, tmp_path)
        asking = asyncio.create_task(prompt(agent, session_id, "/say Begun.\n/wait 2\n/say Ended."))
        await editor.until(editor.text)
        socket, received = agent._conn._transport.connection, agent._conn._transport.received

        async def code_of(text: str | bytes) -> int:
            before = len(received)
            await socket.send(text)
            errors: list[int] = await editor.until(
                lambda: [each["error"]["code"] for each in received[before:] if "error" in each]
            )
            return errors[0]

        big = json.dumps({"jsonrpc": "2.0", "id": 9, "method": "x", "params": {"a": "x" * 3_000_000}})
        new = {"jsonrpc": "2.0", "id": 99, "method": "session/new"}
        wrong: list[tuple[str | bytes, int]] = [
            ("{", -32700),
            ('"text"', -32600),
            ("[]", -32600),
            ('[{"jsonrpc": "2.0", "id": 7, "method": "session/list", "params": {}}]', -32600),
            (b"{}", -32600),
            (json.dumps({"jsonrpc": "2.0", "id": "x" * 1000, "method": "session/list", "params": {}}), -32600),
            ('{"jsonrpc": "2.0", "id": {}, "method": "session/list"}', -32600),
            ('{"jsonrpc": "1.0", "id": 99, "method": "session/list"}', -32600),
            ('{"jsonrpc": "2.0", "id": 99, "method": 7}', -32600),
            ('{"jsonrpc": "2.0", "id": 99}', -32600),
            ('{"jsonrpc": "2.0", "id": 99, "method": "session/list", "params": []}', -32602),
            ('{"jsonrpc": "2.0", "id": 99, "method": "session/fly", "params": {}}', -32601),
            (big, -32601),
            (json.dumps({**new, "params": {}}), -32602),
            (json.dumps({**new, "params": {"cwd": "relative", "mcpServers": []}}), -32602),
            (json.dumps({**new, "params": {"cwd": "/\x00", "mcpServers": []}}), -32602),
            (json.dumps({**new, "method": "session/prompt", "params": {"sessionId": "\x00", "prompt": []}}), -32602),
            (
                json.dumps(
                    {**new, "method": "session/load", "params": {"sessionId": "none", "cwd": "/", "mcpServers": []}}
                ),
                -32002,
            ),
        ]
        for text, code in wrong:
            assert await code_of(text) == code, text[:100]
        # Answers to requests that the server has not made, and notifications that it does not know.
        for text in (
            '{"jsonrpc": "2.0", "id": 12345, "result": {}}',
            '{"jsonrpc": "2.0", "id": "x", "error": {"code": 1, "message": ""}}',
            '{"jsonrpc": "2.0", "method": "session/fly"}',
            '{"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": "none"}}',
            '{"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": "none"}}',
        ):
            await socket.send(text)
        assert await asking == "end_turn"
        assert editor.text() == "Begun.Ended."


async def test_another_client_sees_the_conversation_and_an_observer_takes_no_tools(
    service: Service, tmp_path: Path
) -> None:
    editor, observer = Editor(tmp_path, ["allow_once"]), Editor(tmp_path)
    async with connected(service, editor) as agent, connected(service, observer, NOTHING) as watching:
        session_id = await opened(agent, tmp_path)
        await watching.load_session(session_id=session_id, cwd=str(tmp_path), mcp_servers=[])
        await prompt(agent, session_id, WRITE)
        await observer.until(lambda: observer.text() == "Done.")
    assert observer.text(schema.UserMessageChunk) == WRITE
    assert len(observer.questions) == 1


async def token_of_bob(service: Service) -> str:
    form = {"grant_type": "password", "client_id": "codelab-flutter-app", "username": "bob"}
    form["password"] = service.demo_password
    answer = await asyncio.to_thread(httpx.post, f"{service.url}/oauth/token", data=form)
    return str(answer.json()["access_token"])


async def test_another_user_is_refused(service: Service, tmp_path: Path) -> None:
    async with connected(service, Editor(tmp_path)) as agent:
        session_id = await opened(agent, tmp_path)
    headers = {"Authorization": f"Bearer {await token_of_bob(service)}"}
    async with connected(service, Editor(tmp_path), additional_headers=headers) as agent:
        with pytest.raises(RequestError) as missing:
            await agent.load_session(session_id=session_id, cwd=str(tmp_path), mcp_servers=[])
        assert missing.value.code == -32002
        assert session_id not in [each.session_id for each in (await agent.list_sessions()).sessions]


async def test_credentials_and_origins_are_those_of_all_sockets(service: Service, tmp_path: Path) -> None:
    token = await token_of_bob(service)
    headers = {"Authorization": f"Bearer {token}"}
    status, body = await asyncio.to_thread(service.post, "/api/v1/ws-ticket", {"session_id": "/acp"}, **headers)
    assert status == 200
    ticket = f"/acp?ticket={json.loads(body)['ticket']}"
    ways: list[tuple[str, dict[str, Any]]] = [(ticket, {}), ("/acp", {"subprotocols": ["acp", f"bearer.{token}"]})]
    for path, options in ways:
        async with connected(service, Editor(tmp_path), path=path, **options) as agent:
            assert (await agent.list_sessions(cwd=str(tmp_path))).sessions == []
            socket = agent._conn._transport.connection
            assert len(socket.response.headers["Acp-Connection-Id"]) == 36
            assert socket.subprotocol == ("acp" if options else None)
    for refused, code, close_code in (
        ({"additional_headers": {"Authorization": "Bearer nonsense"}}, -32000, 4401),
        ({"origin": "https://evil.example"}, -32603, 4403),
        ({}, -32000, 4401),
    ):
        path = "/acp" if refused else ticket
        async with service.connect(path, **refused) as socket:
            frame = await socket.receive()
            assert (frame["id"], frame["error"]["code"]) == (None, code)
            await socket.connection.wait_closed()
            assert socket.connection.close_code == close_code
