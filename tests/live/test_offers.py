"""A tool call goes to one connected client, and to another one when that client disconnects."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from tests.conftest import POSTGRES, REDIS
from tests.live.service import Frame, Service, Socket, running
from tests.live.test_approvals import until
from tests.live.test_events import until_end

pytestmark = pytest.mark.live

READ = '/call read_file {"path": "README.md"}\n/say Done.'


async def silent(client: Socket, seconds: float = 1.0) -> list[Frame]:
    """Return the frames that come within some seconds."""
    frames: list[Frame] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                frames.append(await client.receive())
    except TimeoutError:
        return frames


def result_of(call: Frame) -> Frame:
    return {"type": "tool_result", "call_id": call["call_id"], "result": {"success": True}}


async def test_only_the_client_that_sent_the_message_runs_the_tool(service: Service) -> None:
    async with service.connect("/ws/of-two") as bystander, service.connect("/ws/of-two") as asking:
        await asking.say(READ)
        call = await until(asking, "tool_call")
        assert "tool_call" not in [frame["type"] for frame in await silent(bystander, 2.5)]
        await asking.send(result_of(call))
        assert (await asking.until_final())[-1]["content"] == "Done."


async def test_another_client_gets_the_call_when_the_first_one_goes_away(service: Service) -> None:
    async with service.connect("/ws/of-heir") as heir:
        async with service.connect("/ws/of-heir") as asking:
            await asking.say(READ)
            call = await until(asking, "tool_call")
        again = await until(heir, "tool_call")
        assert again == call
        await heir.send(result_of(again))
        assert (await heir.until_final())[-1]["content"] == "Done."


async def test_a_client_that_reconnects_gets_its_open_calls_but_no_finished_ones(service: Service) -> None:
    two = '/call read_file {"path": "a"}\n/call read_file {"path": "b"}\n/say Done.'
    async with service.connect("/ws/of-back") as client:
        await client.say(two)
        first, second = await until(client, "tool_call"), await until(client, "tool_call")
        await client.send(result_of(first))
    async with service.connect("/ws/of-back?after=0") as client:
        assert (await until(client, "tool_call"))["call_id"] == second["call_id"]
        assert "tool_call" not in [frame["type"] for frame in await silent(client)]
        await client.send(result_of(second))
        assert (await client.until_final())[-1]["content"] == "Done."


@pytest.mark.timeout(120)
async def test_a_named_client_gets_its_calls_at_once_after_the_web_process_is_killed(tmp_path: Any) -> None:
    with running(tmp_path, postgres=POSTGRES, redis=REDIS) as own:
        async with own.connect("/ws/of-killed?client_id=editor") as client:
            await client.say(READ)
            call = await until(client, "tool_call")
            own.stop("web", signal_number=signal.SIGKILL)
        own.start("web")
        await asyncio.to_thread(own.wait_until_healthy)
        async with own.connect("/ws/of-killed?client_id=editor") as client:
            again = await until(client, "tool_call")
            assert again["call_id"] == call["call_id"]
            await client.send(result_of(again))
            assert (await client.until_final())[-1]["content"] == "Done."


async def test_one_of_several_v2_clients_runs_an_approved_call(service: Service) -> None:
    write = '/call write_file {"path": "a.txt", "content": "x"}\n/say Done.'
    options: dict[str, Any] = {"subprotocols": ["codelab.v2"]}
    async with service.connect("/ws/of-v2", **options) as watching, service.connect("/ws/of-v2", **options) as editor:
        await watching.send({"type": "hello"})
        await editor.send({"type": "hello", "tools": ["read_file", "write_file"]})
        await watching.say(write)
        asked = (await until(editor, "tool_call_requested"))["payload"]
        await watching.send({"type": "hitl_decision", "call_id": asked["call_id"], "decision": "approve"})
        frames = [await editor.receive() for _ in range(3)]
        [run] = [frame for frame in frames if frame["type"] == "tool_call"]
        assert (run["tool_name"], run["requires_approval"]) == ("write_file", False)
        await editor.send(result_of(run))
        await until_end(editor)
        assert "tool_call" not in [frame["type"] for frame in await silent(watching)]
