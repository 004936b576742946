"""`codelab acp` between an editor that sends anything and a server that may say no. Whole conversations: tests/live."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from codelab_cli.acp_link import ServerLink
from codelab_cli.acp_requests import ServerRequests
from codelab_cli.acp_sessions import OpenSession, Sent, start_session
from codelab_cli.acp_stdio import INVALID_PARAMS, Editor
from codelab_cli.outcome import Outcome

TOO_MANY_SOCKETS = 4429


async def nothing(*_: Any) -> None:
    pass


async def no_token() -> str | None:
    return None


def link_to(port: int, **handlers: Any) -> ServerLink:
    usual: dict[str, Any] = {"opened": nothing, "received": nothing, "lost": lambda: None, "failed": nothing}
    return ServerLink(f"http://127.0.0.1:{port}", token=no_token, **usual | handlers)


async def test_a_server_that_has_no_room_is_not_asked_again_and_again() -> None:
    sockets = 0

    async def handle(socket: ServerConnection) -> None:
        nonlocal sockets
        sockets += 1
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "Wait."}}))
        await socket.close(TOO_MANY_SOCKETS)

    async with serve(handle, "127.0.0.1", 0) as server:
        linking = asyncio.create_task(link_to(next(iter(server.sockets)).getsockname()[1]).run())
        await asyncio.sleep(2)
        linking.cancel()
    assert 1 < sockets < 8


async def test_a_message_that_cannot_be_handled_costs_only_itself() -> None:
    seen: list[Any] = []
    both = asyncio.Event()

    async def receive(message: Any) -> None:
        seen.append(message["id"])
        if len(seen) == 2:
            both.set()
        raise KeyError(message["id"])

    async def handle(socket: ServerConnection) -> None:
        for number in (1, 2):
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "result": {}}))
        await socket.wait_closed()

    async with serve(handle, "127.0.0.1", 0) as server:
        link = link_to(next(iter(server.sockets)).getsockname()[1], received=receive)
        linking = asyncio.create_task(link.run())
        await asyncio.wait_for(both.wait(), 60)
        linking.cancel()
    assert seen == [1, 2]


@pytest.mark.parametrize("params", [[1], "x", {"_meta": []}, {"clientCapabilities": "all"}])
async def test_params_that_are_no_objects_are_refused(params: Any) -> None:
    lines = [{"id": 1, "method": "session/list", "params": params}, {"id": 2, "method": "initialize", "params": None}]
    source = io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    target = io.BytesIO()
    seen = [message["id"] async for message in Editor(source, target).messages()]
    (answer,) = [json.loads(line) for line in target.getvalue().splitlines()]
    assert seen == [2]
    assert (answer["jsonrpc"], answer["id"], answer["error"]["code"]) == ("2.0", 1, INVALID_PARAMS)


async def test_work_that_fails_is_an_answer() -> None:
    async def work() -> None:
        raise KeyError("x")

    target = io.BytesIO()
    await Editor(io.BytesIO(), target).answering({"id": 7, "method": "session/new"}, work())
    answer = json.loads(target.getvalue())
    assert answer["id"] == 7
    assert "KeyError" in answer["error"]["message"]


def test_an_empty_meta_is_none() -> None:
    assert Sent(1, "session/set_mode", {"sessionId": "a", "_meta": None}).session_id == "a"
    assert Sent(1, "session/list", {"_meta": None}).session_id == ""


async def test_a_cancel_on_a_later_connection_ends_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    editor = Editor(io.BytesIO(), io.BytesIO())
    requests = ServerRequests(link_to(9), editor)
    session = await opened(tmp_path, editor)
    program = f"{sys.executable} -c 'import pathlib, time; pathlib.Path(\"begun\").touch(); time.sleep(60)'"
    params = {"callId": "call_1", "turnId": "turn", "name": "execute_command", "arguments": {"command": program}}
    message = {"id": 1, "method": "_codelab/run_tool", "params": params}
    requests.serve(message, session)
    while not (tmp_path / "begun").exists():  # noqa: ASYNC110  (another process makes it)
        await asyncio.sleep(0.01)
    # The connection is cut, and the server asks again on the next one.
    requests.lost()
    requests.serve(message, session)
    await asyncio.sleep(0)
    began = time.monotonic()
    requests.withdraw(1)
    await asyncio.gather(*requests.tasks, return_exceptions=True)
    # The command itself ends after 60 s.
    assert time.monotonic() - began < 40
    outcome: Outcome = await session.toolbox.run("call_1", "execute_command", {"command": program}, turn_id="turn")
    assert "was stopped before its end" in str(outcome.error)
    await session.close()


async def opened(folder: Path, editor: Editor) -> OpenSession:
    async def show(*_: str) -> None:
        pass

    return await start_session(
        "http://127.0.0.1:9",
        "a",
        {"cwd": str(folder)},
        editor=editor,
        capabilities={},
        allow_secrets=False,
        show_terminal=show,
    )
