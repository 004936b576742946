"""`codelab.v2`: clients that follow a session by its events, lose the connection and come back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.live.service import Frame, Service, Socket

pytestmark = pytest.mark.live

ENDS = {"turn_completed", "turn_failed", "turn_cancelled"}


@asynccontextmanager
async def events_of(service: Service, key: str, after: int | None = None) -> AsyncIterator[tuple[Socket, Frame]]:
    async with service.connect(f"/ws/{key}", subprotocols=["codelab.v2"]) as client:
        assert client.connection.subprotocol == "codelab.v2"
        await client.send({"type": "hello", "after": after})
        welcome = await client.receive()
        assert welcome["type"] == "welcome"
        yield client, welcome


async def until_end(client: Socket) -> list[Frame]:
    frames: list[Frame] = []
    while not frames or frames[-1].get("kind") not in ENDS:
        frames.append(await client.receive())
    return [frame for frame in frames if frame["type"] == "event"]


def text_of(events: list[Frame]) -> str:
    return "".join(event["payload"]["text"] for event in events if event["kind"] == "text_delta")


async def test_a_new_client_gets_a_snapshot_and_then_every_event(service: Service) -> None:
    async with events_of(service, "v2-new") as (client, welcome):
        assert (welcome["mode"], welcome["after"]) == ("snapshot", 0)
        assert welcome["snapshot"]["messages"] == []
        await client.say("/say one two", client_message_id="m1")
        frames = [await client.receive() for _ in range(2)]
        accepted = next(frame for frame in frames if frame["type"] == "accepted")
        assert (accepted["client_message_id"], accepted["repeated"]) == ("m1", False)
        await until_end(client)
    async with events_of(service, "v2-new") as (_, welcome):
        state = welcome["snapshot"]
        assert [message["content"] for message in state["messages"]] == ["/say one two", "one two"]
        assert (state["turns"], state["texts"]) == ([], [])
        assert welcome["after"] == state["number"]
    async with events_of(service, "v2-new", after=0) as (client, welcome):
        assert (welcome["mode"], welcome["after"]) == ("replay", 0)
        events = [await client.receive() for _ in range(state["number"])]
        assert [event["number"] for event in events] == list(range(1, state["number"] + 1))
        assert events[-1]["kind"] == "turn_completed"


async def test_a_client_that_comes_back_misses_nothing_and_sees_nothing_twice(service: Service) -> None:
    dice = random.Random(7)
    seen: list[Frame] = []
    async with events_of(service, "v2-cuts") as (client, welcome):
        after = welcome["after"]
        await client.say("/tokens 300 100")
    while not seen or seen[-1]["kind"] not in ENDS:
        async with events_of(service, "v2-cuts", after) as (client, welcome):
            assert welcome["mode"] == "replay"
            for _ in range(dice.randint(1, 25)):
                seen.append(await client.receive())
                after = seen[-1]["number"]
                if seen[-1]["kind"] in ENDS:
                    break
            client.connection.transport.abort()
    numbers = [event["number"] for event in seen]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert text_of(seen) == "".join(f"t{i} " for i in range(300))


async def test_a_snapshot_in_the_middle_of_an_answer_has_its_beginning(service: Service) -> None:
    async with events_of(service, "v2-middle") as (writer, _):
        await writer.say("/tokens 100 50")
        await asyncio.sleep(1)
        async with events_of(service, "v2-middle") as (reader, welcome):
            (begun,) = welcome["snapshot"]["texts"]
            assert welcome["snapshot"]["turns"][0]["status"] == "running"
            rest = await until_end(reader)
    assert begun["text"] + text_of(rest) == "".join(f"t{i} " for i in range(100))


@pytest.mark.parametrize("after", [10**9, 2**62])
async def test_a_number_from_another_life_gets_a_snapshot(service: Service, after: int) -> None:
    async with events_of(service, "v2-ahead", after) as (_, welcome):
        assert (welcome["mode"], welcome["after"]) == ("snapshot", 0)


async def test_before_hello_only_hello_is_understood(service: Service) -> None:
    async with service.connect("/ws/v2-rude", subprotocols=["codelab.v2"]) as client:
        await client.say("/say x")
        assert (await client.receive())["error_code"] == "hello_first"
        await client.send({"type": "hello", "after": -1})
        assert (await client.receive())["error_code"] == "invalid_field"
        await client.send({"type": "hello"})
        assert (await client.receive())["type"] == "welcome"
    async with service.connect("/ws/v2-rude") as old:
        await old.send({"type": "hello"})
        assert (await old.receive())["error_code"] == "unknown_type"


async def test_what_waits_for_a_tool_is_in_the_snapshot(service: Service) -> None:
    async with events_of(service, "v2-tool") as (client, _):
        await client.say('/call write_file {"path": "a"}\n/say Done.')
        while (await client.receive()).get("kind") != "turn_waiting":
            pass
    async with events_of(service, "v2-tool") as (client, welcome):
        (call,) = welcome["snapshot"]["tool_calls"]
        assert (call["tool"], call["requires_approval"]) == ("write_file", True)
        await client.send({"type": "tool_result", "call_id": call["call_id"], "result": {"success": True}})
        events = await until_end(client)
    kinds: list[Any] = [event["kind"] for event in events]
    assert kinds[0] == "tool_call_finished"
    assert text_of(events) == "Done."
