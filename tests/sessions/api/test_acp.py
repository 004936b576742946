"""The Agent Client Protocol without an editor: what its messages are made of, and what they cannot do to a process."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from sessions.api.acp.editor import Editor
from sessions.api.acp.peer import Peer
from sessions.api.acp.rpc import Response
from sessions.api.acp.tool_views import blocks_of


def block(old: str, new: str, line_end: str = "\n") -> str:
    return f"<<<<<<< SEARCH{line_end}{old}======={line_end}{new}>>>>>>> REPLACE"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", " \t\n"])
def test_the_blocks_of_a_diff_are_read_whatever_ends_its_lines(line_end: str) -> None:
    diff = block("a\nb\n", "", line_end) + line_end + block("c\n", "d\n", line_end)
    assert blocks_of(diff) == [("a\nb\n", ""), ("c\n", "d\n")]


def test_a_bad_diff_of_a_model_holds_up_no_process() -> None:
    started = time.process_time()
    assert blocks_of("<<<<<<< SEARCH\n" * 60_000) == []
    assert time.process_time() - started < 1


async def test_a_terminal_that_is_being_created_is_released_when_its_call_is_stopped() -> None:
    """The editor runs the program already, and only its answer names the terminal."""
    asked: asyncio.Queue[Any] = asyncio.Queue()

    async def send(text: str) -> None:
        asked.put_nowait(json.loads(text))

    async def show(call_id: str, terminal_id: str) -> None:
        raise AssertionError("a call that was stopped shows nothing")

    peer = Peer(send)
    run = asyncio.create_task(Editor("s", "/folder", peer, show).run("c1", "execute_command", {"command": "ls"}))
    async with asyncio.timeout(30):
        create = await asked.get()
        run.cancel()
        await asyncio.sleep(0)
        peer.settle(Response(create["id"], {"terminalId": "t1"}))
        for method in ("terminal/kill", "terminal/release"):
            request = await asked.get()
            assert (request["method"], request["params"]["terminalId"]) == (method, "t1")
            peer.settle(Response(request["id"], {}))
        with pytest.raises(asyncio.CancelledError):
            await run
    assert create["method"] == "terminal/create"
