"""`codelab.v2`: clients that follow a session by its events, lose the connection and come back."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
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
        while (await writer.receive()).get("kind") != "text_delta":
            pass
        async with events_of(service, "v2-middle") as (reader, welcome):
            (begun,) = welcome["snapshot"]["texts"]
            assert welcome["snapshot"]["turns"][0]["status"] == "running"
            rest = await until_end(reader)
    assert begun["text"] + text_of(rest) == "".join(f"t{i} " for i in range(100))


@pytest.mark.parametrize("after", [10**9, 2**62])
async def test_a_number_beyond_the_log_gets_a_snapshot(service: Service, after: int) -> None:
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


async def test_the_answer_to_a_frame_repeats_its_ref(service: Service) -> None:
    async with service.connect("/ws/v2-refs", subprotocols=["codelab.v2"]) as client:

        async def answer(**frame: Any) -> Any:
            await client.send({"ref": "r", **frame})
            while (answer := await client.receive()).get("ref") is None:
                assert answer["type"] == "event"
            return answer

        assert (await answer(type="user_message", content="x"))["error_code"] == "hello_first"
        assert (await answer(type="hello"))["type"] == "welcome"
        accepted = await answer(type="user_message", content='/call read_file {"path": "a"}', client_message_id="m")
        assert (accepted["client_message_id"], accepted["ref"]) == ("m", "r")
        switched = {"type": "accepted", "ref": "r"}
        assert await answer(type="switch_agent", agent_type="universal") == switched
        assert await answer(type="cancel") == {"type": "accepted", "ref": "r"}
        refused: dict[str, dict[str, Any]] = {
            "nothing_to_cancel": {"type": "cancel"},
            "unknown_tool_call": {"type": "tool_result", "call_id": "no"},
            "invalid_field": {"type": "tool_result", "call_id": 7},
            "unknown_type": {"type": "bark"},
            "empty_message": {"type": "user_message", "content": " "},
            "invalid_text": {"type": "user_message", "content": "\x00"},
        }
        for code, frame in refused.items():
            answered = await answer(**frame)
            assert (answered["error_code"], answered["ref"]) == (code, "r")
        # A name that cannot be used is not repeated.
        for ref in ("", "x" * 65, 5, "\x00"):
            await client.send({"type": "bark", "ref": ref})
            assert "ref" not in await client.receive()


async def test_open_tool_calls_are_in_the_snapshot(service: Service) -> None:
    async with events_of(service, "v2-tool") as (client, _):
        await client.say('/call write_file {"path": "a", "content": "x"}\n/say Done.')
        while (await client.receive()).get("kind") != "turn_waiting":
            pass
    async with events_of(service, "v2-tool") as (client, welcome):
        (call,) = welcome["snapshot"]["tool_calls"]
        assert (call["tool"], call["requires_approval"]) == ("write_file", True)
        await client.send({"type": "tool_result", "call_id": call["call_id"], "result": {"success": True}})
        events = await until_end(client)
    kinds: list[Any] = [event["kind"] for event in events]
    # The client asked its user itself, so its result counts as the approval.
    assert kinds[:2] == ["approval_decided", "tool_call_finished"]
    assert text_of(events) == "Done."


def events_over_http(service: Service, key: str, after: int) -> list[Frame]:
    found: list[Frame] = []
    while True:
        status, text = service.get(f"/api/v1/sessions/{key}/events?after={after}")
        assert status == 200
        page = json.loads(text)
        found += page["events"]
        after = found[-1]["number"] if found else after
        if after >= page["last_number"]:
            return found


async def test_events_over_http_are_those_of_the_socket(service: Service) -> None:
    async with events_of(service, "v2-http") as (client, _):
        await client.say("/tokens 30 300")
        seen = await until_end(client)
    pages = await asyncio.to_thread(events_over_http, service, "v2-http", 0)
    assert [{**event, "type": "event"} for event in pages if event["number"] >= seen[0]["number"]] == [
        {key: frame[key] for key in ("type", "number", "kind", "payload")} for frame in seen
    ]
    assert await asyncio.to_thread(events_over_http, service, "v2-http", seen[-1]["number"]) == []
    status, _ = await asyncio.to_thread(service.get, "/api/v1/sessions/none/events")
    assert status == 404


async def test_server_sent_events_resume_after_the_last_one(service: Service) -> None:
    body = {"session_id": "v2-sse", "message": "/tokens 60 40"}
    await asyncio.to_thread(service.post, "/api/v1/message", body)
    numbers: list[int] = []
    texts: list[str] = []
    ended = False
    while not ended:
        headers = {"Accept": "text/event-stream"}
        if numbers:
            headers["Last-Event-ID"] = str(numbers[-1])
        async with (
            httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=30) as http,
            http.stream("GET", "/api/v1/sessions/v2-sse/events", headers=headers) as response,
        ):
            assert response.headers["content-type"] == "text/event-stream"
            taken = 0
            async for line in response.aiter_lines():
                if not line.startswith("data: "):
                    continue
                event = json.loads(line[6:])
                numbers.append(event["number"])
                if event["kind"] == "text_delta":
                    texts.append(event["payload"]["text"])
                ended, taken = event["kind"] in ENDS, taken + 1
                if ended or taken == 10:
                    break
    assert numbers == list(range(1, len(numbers) + 1))
    assert "".join(texts) == "".join(f"t{i} " for i in range(60))


async def test_reasoning_streams_apart_from_the_answer(service: Service) -> None:
    async with events_of(service, "v2-thoughts") as (client, _):
        await client.say("/think Let me see. It is simple.\n/say The answer is 42.")
        events = await until_end(client)
    thoughts = "".join(event["payload"]["text"] for event in events if event["kind"] == "reasoning_delta")
    assert (thoughts, text_of(events)) == ("Let me see. It is simple.", "The answer is 42.")
    [answer] = [event["payload"] for event in events if event["payload"].get("role") == "assistant"]
    assert (answer["reasoning"], answer["content"]) == (thoughts, "The answer is 42.")
    async with service.connect("/ws/v1-thoughts?stream=messages") as old:
        await old.say("/think Let me see.\n/say 42.")
        assert (await old.receive())["content"] == "42.", "an old client would show reasoning as the answer"


async def test_a_client_says_where_it_works_and_others_see_it(service: Service) -> None:
    facts = {"name": "shop", "git": {"branch": "main", "status": " M a.py"}, "open_files": ["a.py"]}
    async with service.connect("/ws/v2-works", subprotocols=["codelab.v2"]) as client:
        await client.send({"type": "hello", "workspace": facts})
        assert (await client.receive())["snapshot"]["workspace"]["branch"] == "main"
        async with events_of(service, "v2-works", after=1) as (other, _):
            # The model reads it beside the message, and the script in the message is played as ever.
            await client.say("/say one two")
            assert text_of(await until_end(client)) == "one two"
            assert text_of(await until_end(other)) == "one two"
            await client.send({"type": "workspace", "workspace": {**facts, "git": {"branch": "next"}}})
            changed = await other.receive()
            assert (changed["kind"], changed["payload"]["branch"]) == ("workspace_changed", "next")
    async with httpx.AsyncClient(trust_env=False) as http:
        history = (await http.get(f"{service.url}/api/v1/sessions/v2-works/history")).json()
    assert [message["content"] for message in history["messages"]] == ["/say one two", "one two"]
    told = service.rows(
        "SELECT surroundings FROM agent_sessions_message WHERE role = 'user' AND session_id ="
        " (SELECT id FROM agent_sessions_session WHERE key = 'v2-works')"
    )
    assert "Open files:\na.py" in told[0][0]
