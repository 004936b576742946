"""`codelab acp` as editors start it, with the official SDK as the editor, against a running service."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from acp import RequestError, schema

from tests.live.acp_cuts import cutting
from tests.live.acp_editor import NOTHING, Editor, bridged
from tests.live.service import Service
from tests.live.test_acp import WRITE, opened, prompt

pytestmark = pytest.mark.live

#: `make acp-cuts` has 200.
CUTS = int(os.environ.get("ACP_CUTS", "20"))
MCP_SERVER = """
from mcp.server import MCPServer
server = MCPServer("notes")
@server.tool()
def remember(text: str) -> str:
    "Remember a text."
    return f"Remembered {text}."
server.run()
"""


async def test_the_bridge_runs_tools_where_the_editor_has_none(service: Service, tmp_path: Path) -> None:
    workspace = tmp_path / "work"
    workspace.mkdir()
    editor = Editor(workspace, ["allow_once", "allow_once"])
    async with bridged(service.url, editor, tmp_path / "state", NOTHING) as agent:
        session_id = await opened(agent, workspace)
        await prompt(agent, session_id, f"/say Writing.\n{WRITE}")
        await prompt(agent, session_id, '/call list_files {"path": "."}\n/say Listed.')
        await prompt(agent, session_id, '/call execute_command {"command": "cat a.txt"}\n/say Ran.')
        page = await agent.list_sessions(cwd=str(workspace))
        assert [each.session_id for each in page.sessions] == [session_id]
    assert (workspace / "a.txt").read_text(encoding="utf-8") == "x\n"
    outputs = [json.loads(each.raw_output) for each in editor.of(schema.ToolCallProgress) if each.raw_output]
    assert outputs[1]["items"][0]["name"] == "a.txt"
    assert outputs[2]["stdout"] == "x\n"
    assert editor.text() == "Writing.Done.Listed.Ran."


async def test_the_bridge_uses_the_editors_files_and_terminal(service: Service, tmp_path: Path) -> None:
    editor = Editor(tmp_path, ["allow_once"] * 3)
    async with bridged(service.url, editor, tmp_path / "state") as agent:
        session_id = await opened(agent, tmp_path)
        await prompt(agent, session_id, WRITE)
        diff = "<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE"
        await prompt(
            agent, session_id, f"/call apply_diff {json.dumps({'path': 'a.txt', 'diff': diff})}\n/say Changed."
        )
        await prompt(agent, session_id, '/call execute_command {"command": "cat a.txt"}\n/say Ran.')
    progress = editor.of(schema.ToolCallProgress)
    assert [
        each.content[0].terminal_id for each in progress if each.content and each.content[0].type == "terminal"
    ] == ["term_0"]
    assert json.loads([each.raw_output for each in progress if each.raw_output][-1])["stdout"] == "y\n"


async def test_the_bridge_starts_the_editors_mcp_servers(service: Service, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(MCP_SERVER, encoding="utf-8")
    server = schema.McpServerStdio(name="notes", command=sys.executable, args=[str(tmp_path / "server.py")], env=[])
    editor = Editor(tmp_path, ["allow_once"])
    async with bridged(service.url, editor, tmp_path / "state") as agent:
        session = await agent.new_session(cwd=str(tmp_path), mcp_servers=[server])
        await prompt(agent, session.session_id, '/call mcp__notes__remember {"text": "milk"}\n/say Noted.')
    assert "Remembered milk." in "".join(each.raw_output or "" for each in editor.of(schema.ToolCallProgress))


async def test_a_session_is_loaded_cancelled_and_switched_through_the_bridge(service: Service, tmp_path: Path) -> None:
    first, second = Editor(tmp_path, ["allow_once"]), Editor(tmp_path)
    async with bridged(service.url, first, tmp_path / "state") as agent:
        session_id = await opened(agent, tmp_path)
        await prompt(agent, session_id, f"/say Writing.\n{WRITE}")
    async with bridged(service.url, second, tmp_path / "state") as agent:
        await agent.load_session(session_id=session_id, cwd=str(tmp_path), mcp_servers=[])
        assert second.text() == first.text() == "Writing.Done."
        await agent.set_session_mode(session_id=session_id, mode_id="coder")
        asking = asyncio.create_task(prompt(agent, session_id, WRITE.replace("a.txt", "b.txt")))
        await second.until(lambda: second.questions)
        await agent.cancel(session_id=session_id)
        assert await asyncio.wait_for(asking, 60) == "cancelled"
        assert second.of(schema.CurrentModeUpdate)[-1].current_mode_id == "coder"
        with pytest.raises(RequestError, match="absolute path"):
            await agent.new_session(cwd="relative", mcp_servers=[])


async def test_a_client_that_is_refused_is_told_how_to_sign_in(service: Service, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="codelab login") as refused:
        async with bridged(service.url, Editor(tmp_path), tmp_path / "state", api_key="nonsense"):
            pass
    assert refused.value.code == -32000


@pytest.mark.timeout(900)
async def test_connections_that_are_cut_lose_and_repeat_nothing(service: Service, tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    editor = Editor(tmp_path)
    count = '/call execute_command {"command": "echo once >> runs.txt", "shell": true}'
    expected, prompts = "", 0
    async with (
        cutting(service.port, CUTS, seed) as (cutter, port),
        bridged(f"http://127.0.0.1:{port}", editor, tmp_path / "state", NOTHING) as agent,
    ):
        session_id = await opened(agent, tmp_path)
        while cutter.cuts_left or prompts < 3:
            editor.answers.append("allow_once")
            script = f"/tokens 300 300\n{count}\n/tokens 50 200\n/say End {prompts}."
            assert await asyncio.wait_for(prompt(agent, session_id, script), 120) == "end_turn", seed
            expected += "".join(f"t{number} " for number in range(300))
            expected += "".join(f"t{number} " for number in range(50)) + f"End {prompts}."
            prompts += 1
            assert editor.text() == expected, (seed, prompts)
        cuts = cutter.cuts
        sessions = (await agent.list_sessions(cwd=str(tmp_path))).sessions
    print(f"{cuts} of {CUTS} connections were cut in {prompts} prompts; seed {seed}")
    assert [each.session_id for each in sessions] == [session_id]
    assert (tmp_path / "runs.txt").read_text(encoding="utf-8") == "once\n" * prompts
    assert len(editor.of(schema.ToolCallStart)) == prompts
    assert editor.of(schema.UserMessageChunk) == []
    numbers = [int(cursor) for cursor in editor.cursors]
    assert numbers == sorted(numbers)
