"""The round trip and the events of docs/protocol.md, played against the service."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from typing import Any

import httpx
import pytest

from sessions.models import EventKind
from sessions.protocol.server import ServerFrame
from tests.docs.pages import code, part, table
from tests.live.service import Frame, Service, Socket
from tests.live.test_events import events_of
from tests.live.test_plans import script, task, until

pytestmark = pytest.mark.live

PAGE = "docs/protocol.md"
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: They depend on the prompt, which may change.
COUNTS = ("input_tokens", "output_tokens", "context")


def lines_of_the_round_trip() -> list[tuple[str, str]]:
    block = re.search(r"<!-- round trip -->\n```\n(.*?)\n```", part(PAGE, "A round trip with an approval"), re.DOTALL)
    assert block
    lines = [line for line in block[1].splitlines() if line and not line.startswith("//")]
    assert {line[:2] for line in lines} == {"> ", "< "}
    return [(line[0], line[2:]) for line in lines]


def comparable(frames: list[Frame]) -> list[Frame]:
    """Number ids in the order of the events, which have no other, and leave out the counts."""
    # An acknowledgement or an order may come before or after the event that it belongs to.
    ordered = sorted(frames, key=lambda frame: (frame.get("number", 0), frame["type"] != "event"))
    text, ids = json.dumps(ordered, sort_keys=True), {}  # type: ignore[var-annotated]
    text = ID.sub(lambda match: ids.setdefault(match[0], f"id{len(ids)}"), text)
    return [
        {**frame, "payload": {name: each for name, each in frame.get("payload", {}).items() if name not in COUNTS}}
        for frame in json.loads(text)
    ]


async def test_the_documented_round_trip_is_what_happens(service: Service) -> None:
    documented, seen = [], []
    async with service.connect("/ws/documented", subprotocols=["codelab.v2"]) as client:
        for direction, text in lines_of_the_round_trip():
            if direction == "<":
                documented.append(json.loads(text))
                seen.append(await client.receive())
            else:
                await client.send(text)
    assert comparable(seen) == comparable(documented)
    assert seen[-1]["kind"] == "turn_completed"
    for frame in documented:
        (kind,) = (each for each in ServerFrame.__subclasses__() if each.model_fields["type"].default == frame["type"])
        kind.model_validate(frame)


@pytest.mark.parametrize(
    ("sent", "told", "status"),
    [
        ({"result": {"success": True, "n": 1}}, '{"success": true, "n": 1}', "completed"),
        ({"result": "text"}, '"text"', "completed"),
        ({"result": "a\x00b"}, '"a\\u0000b"', "completed"),
        ({}, "Tool executed successfully", "completed"),
        ({"result": None}, "Tool executed successfully", "completed"),
        ({"error": "no such file", "result": 1}, "Error: no such file", "failed"),
        ({"error": "a\x00b"}, "Error: a\ufffdb", "failed"),
    ],
)
async def test_a_model_is_told_of_results_as_documented(
    service: Service, sent: dict[str, Any], told: str, status: str
) -> None:
    async with events_of(service, "documented-results") as (client, _):
        await client.say('/call read_file {"path": "a"}\n/say Done.')
        call = (await until(client, "tool_call_requested"))["payload"]
        await until(client, "turn_waiting")
        await client.send({"type": "tool_result", "call_id": call["call_id"], **sent})
        assert (await until(client, "tool_call_finished"))["payload"]["status"] == status
        assert (await until(client, "message_added", role="tool"))["payload"]["content"] == told
        await until(client, "turn_completed")


#: Names in the table that are not fields: where a field comes from, or belongs to.
OTHERS = {"switch_agent", "turn_cancelled", "text_delta", "assistant", "tool", "user"}
#: Fields that need a worker that dies, a provider that asks for a pause or refuses a long conversation, or a call that
#: would mislead a person.
NOT_PLAYED = {"again", "retry_after", "context", "display", "summary"}


def documented_fields() -> dict[str, set[str]]:
    """Return the fields of each kind's payload that the table names, without what is inside of a field."""
    inside = re.compile(r"(?<=`) \([^)]*\)")
    return {
        code(kind)[0]: set(code(inside.sub("", payload))) - OTHERS | ({"tool"} if "`tool`, " in payload else set())
        for kind, payload, _ in table(part(PAGE, "Events"))
    }


async def test_every_kind_of_event_has_exactly_the_documented_fields(service: Service) -> None:
    key = "documented-events"
    seen: dict[str, set[str]] = defaultdict(set)

    async def note(client: Socket, kind: str, **payload: Any) -> dict[str, Any]:
        """Return the payload of the next event of a kind with this in it; remember the fields of all that come."""
        while True:
            frame = await client.receive(60)
            assert frame["type"] != "error", frame
            if frame["type"] == "event":
                seen[frame["kind"]] |= frame["payload"].keys()
                if frame["kind"] == kind and payload.items() <= frame["payload"].items():
                    return dict(frame["payload"])

    async with (
        httpx.AsyncClient(base_url=f"{service.url}/api/v1/sessions/", trust_env=False, timeout=30) as http,
        service.connect(f"/ws/{key}", subprotocols=["codelab.v2"]) as client,
    ):
        await client.send({"type": "hello", "after": 0, "plans": True})
        image = (await http.post(f"{key}/images", content=b"\x89PNG\r\n\x1a\n")).json()["image_id"]
        await client.say('/think Hm.\n/say Look.\n/call read_file {"path": "a"}\n/say Done.', images=[image])
        call = await note(client, "tool_call_requested")
        await note(client, "turn_waiting")
        await client.send({"type": "tool_result", "call_id": call["call_id"], "result": {}})
        await note(client, "turn_completed")
        await client.say('/call write_file {"path": "a", "content": "x"}\n/say Done.')
        call = await note(client, "tool_call_requested")
        await note(client, "turn_waiting")
        await client.send({"type": "hitl_decision", "call_id": call["call_id"], "decision": "reject"})
        await note(client, "turn_completed")
        await client.say('/call read_file {"path": "a"}\n/say Done.')
        call = await note(client, "tool_call_requested")
        await note(client, "turn_waiting")
        await asyncio.sleep(1)
        # As if the client had been away for a minute.
        service.rows(
            "UPDATE agent_sessions_toolcall SET offered_until = now() - interval '1 s', shown_at = now()"
            " WHERE status = 'waiting' AND call_id = %s RETURNING 1",
            call["call_id"],
        )
        await note(client, "tool_call_requested", call_id=call["call_id"], unknown=True)
        await client.send({"type": "hitl_decision", "call_id": call["call_id"], "decision": "reject"})
        await note(client, "turn_completed")
        await client.send({"type": "hello", "plans": True, "tools": [{"name": "report"}]})
        await client.say("/call report {}\n/say Done.")
        call = await note(client, "tool_call_requested")
        await note(client, "turn_waiting")
        facts = {"exit_code": 0, "sha256_before": "0" * 64, "sha256_after": "1" * 64, "diff": "+x"}
        await client.send({"type": "tool_result", "call_id": call["call_id"], "result": facts})
        await note(client, "turn_completed")
        await client.say("/fail rate_limited")
        failing = await note(client, "message_added", role="user")
        await note(client, "turn_failed")
        await client.say("/fail rate_limited 60", replaces=failing["message_id"])
        await note(client, "turn_replaced")
        await note(client, "retry_scheduled")
        await client.send({"type": "cancel"})
        await note(client, "turn_cancelled")
        # A turn that goes on until it is interrupted; meanwhile messages wait, are changed and taken back.
        await client.say("/say Begun.\n/stall")
        await note(client, "text_delta")
        await client.say("/say one")
        waiting = await note(client, "message_added", role="user", content="/say one")
        message = {"message_id": waiting["message_id"]}
        await client.send({"type": "edit_message", **message, "content": "/say two"})
        await note(client, "message_edited")
        await client.send({"type": "withdraw_message", **message})
        await note(client, "message_withdrawn")
        await client.say("/say Later.")
        await client.say("/say Steered.", when="steer")
        await note(client, "message_added", content="/say Steered.")
        await client.say("/say Now.", interrupt=True)
        await note(client, "queue_changed")
        await note(client, "turn_completed")
        await note(client, "turn_completed")
        await note(client, "turn_completed")
        plan = script(task("one", "/say First.", estimated_time="1 min"))
        edited = {"decision": "edit", "modified_subtasks": [task("one", "/say First!"), task("two", "/say Second!")]}
        for decision in ({"decision": "reject", "feedback": "No."}, edited):
            await client.send({"type": "switch_agent", "agent_type": "architect"})
            await note(client, "agent_switched", to_agent="architect")
            await client.say(plan)
            proposed = await note(client, "plan_proposed")
            await note(client, "turn_waiting")
            await client.send({"type": "plan_decision", "plan_id": proposed["plan_id"], **decision})
            await note(client, "turn_completed")
        await client.send({"type": "workspace", "workspace": {"name": "shop"}})
        await note(client, "workspace_changed")
        await http.patch(key, json={"title": "Another"})
        await note(client, "session_changed")
        await http.delete(key)
        await note(client, "session_deleted")
    # The scripted model reads more than a session can have.
    assert seen.keys() == set(EventKind.values) - {EventKind.SUMMARY_ADDED}
    documented = documented_fields()
    for kind, fields in seen.items():
        assert fields <= documented[kind] <= fields | NOT_PLAYED, kind


def test_another_order_kind_or_field_of_an_event_would_be_seen() -> None:
    frames = [json.loads(text) for direction, text in lines_of_the_round_trip() if direction == "<"]
    whole = comparable(frames)
    assert (
        comparable([json.loads(ID.sub("01a20881-7ae9-7711-a8b9-1f2f1f5d7c55", json.dumps(f))) for f in frames]) != whole
    )
    for place, frame in enumerate(frames):
        for name in frame.keys() - {"type"}:
            changed = {**frame, name: frame[name] + 100 if isinstance(frame[name], int) else "other"}
            if name != "payload":
                assert comparable([*frames[:place], changed, *frames[place + 1 :]]) != whole, (place, name)
        assert comparable(frames[:place] + frames[place + 1 :]) != whole
