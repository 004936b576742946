"""A tool call goes to one client, and to no other one; a person decides when that client is gone."""

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


def let_the_client_be_gone(service: Service, key: str) -> None:
    """Let the time pass in which a client that is away may come back."""
    service.rows(
        "UPDATE agent_sessions_toolcall c SET offered_until = now() - interval '1 s' FROM agent_sessions_turn t"
        " JOIN agent_sessions_session s ON s.id = t.session_id WHERE t.id = c.turn_id AND key = %s"
        " AND offered_until IS NOT NULL RETURNING 1",
        key,
    )


async def test_a_call_that_was_shown_is_a_question_when_its_client_does_not_come_back(service: Service) -> None:
    async with service.connect("/ws/of-heir") as heir:
        async with service.connect("/ws/of-heir") as asking:
            await asking.say(READ)
            call = await until(asking, "tool_call")
        assert "tool_call" not in [frame["type"] for frame in await silent(heir, 2.5)]
        let_the_client_be_gone(service, "of-heir")
        question = await until(heir, "tool_call")
        assert (question["call_id"], question["requires_approval"]) == (call["call_id"], True)
        assert question["unknown"]
        assert "not known whether this call ran" in question["reason"]
        await heir.send({"type": "hitl_decision", "call_id": call["call_id"], "decision": "approve"})
        again = await until(heir, "tool_call")
        assert (again["call_id"], again["requires_approval"]) == (call["call_id"], False)
        await heir.send(result_of(again))
        assert (await heir.until_final())[-1]["content"] == "Done."


async def test_a_client_that_reconnects_gets_its_open_calls_but_no_finished_ones(service: Service) -> None:
    two = '/call read_file {"path": "a"}\n/call read_file {"path": "b"}\n/say Done.'
    async with service.connect("/ws/of-back?client_id=editor") as client:
        await client.say(two)
        first, second = await until(client, "tool_call"), await until(client, "tool_call")
        await client.send(result_of(first))
        await silent(client, 0.5)
        # The old socket is still there: a client comes back before its end is noticed.
        async with service.connect("/ws/of-back?client_id=editor&after=0") as again:
            assert (await until(again, "tool_call"))["call_id"] == second["call_id"]
            assert "tool_call" not in [frame["type"] for frame in await silent(again)]
            await again.send(result_of(second))
            assert (await again.until_final())[-1]["content"] == "Done."


async def test_two_windows_of_a_client_get_a_call_once_and_the_other_one_when_the_first_is_closed(
    service: Service,
) -> None:
    path = "/ws/of-windows?client_id=editor"
    async with service.connect(path) as other:
        async with service.connect(path) as first:
            await first.say(READ)
            call = await until(first, "tool_call")
            assert "tool_call" not in [frame["type"] for frame in await silent(other)]
        assert (await until(other, "tool_call"))["call_id"] == call["call_id"]
        await other.send(result_of(call))
        assert (await other.until_final())[-1]["content"] == "Done."


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


async def test_a_client_without_tools_gets_no_calls_of_another_one(service: Service) -> None:
    options: dict[str, Any] = {"subprotocols": ["codelab.v2"]}
    async with service.connect("/ws/of-none", **options) as page, service.connect("/ws/of-none", **options) as editor:
        await page.send({"type": "hello", "tools": ["read_file"], "client_id": "page"})
        await page.send({"type": "hello", "tools": [], "client_id": "page"})
        await until(page, "welcome")
        await until(page, "welcome")
        await editor.send({"type": "hello", "tools": ["read_file"], "client_id": "editor"})
        await page.say(READ)
        await editor.send(result_of(await until(editor, "tool_call")))
        frames = [await page.receive()]
        while frames[-1].get("kind") != "turn_completed":
            frames.append(await page.receive())
        assert "tool_call" not in [frame["type"] for frame in frames]
