"""Journeys of users through the real service: real processes, a real socket, a real provider over HTTP."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from tests.live.provider import Provider, token
from tests.live.service import Service, Socket

pytestmark = pytest.mark.live


async def test_hi_on_the_guides_path_is_answered_by_an_assistant_message(service: Service) -> None:
    async with service.connect("/ws/test_session") as alice:
        await alice.say("Hi")
        frames = await alice.until_final()
    assert frames[0]["type"] == "assistant_message"
    assert {frame["type"] for frame in frames} == {"assistant_message"}
    assert frames[-1]["content"] == "".join(frame["token"] for frame in frames)
    assert frames[-1]["token"] == ""


async def test_the_originals_path_names_the_agent_and_sends_whole_messages(service: Service) -> None:
    async with service.connect("/api/v1/ws/editor") as editor:
        nulls = {"is_final": None, "call_id": None, "metadata": None, "result": None}
        await editor.say("/tokens 30", role="user", **nulls)
        switched, answer = await editor.receive(), await editor.receive()
        await editor.say("/tokens 2", role="user", **nulls)
        second = await editor.receive()
    assert switched["type"] == "agent_switched"
    assert switched["metadata"]["to_agent"] == switched["to_agent"] == "universal"
    assert answer["content"] == answer["token"] == "".join(f"t{i} " for i in range(30))
    assert answer["is_final"] is True
    assert second["content"] == "t0 t1 "


async def test_nothing_is_sent_before_the_clients_first_frame(service: Service) -> None:
    async with service.connect("/api/v1/ws/quiet") as editor:
        with pytest.raises(TimeoutError):
            await editor.receive(timeout=1)


@pytest.mark.parametrize(("path", "streams"), [("/ws/x?stream=messages", False), ("/api/v1/ws/x?stream=tokens", True)])
async def test_a_client_chooses_what_is_streamed(service: Service, path: str, streams: bool) -> None:
    async with service.connect(path) as client:
        await client.say("/tokens 20 200")
        frames = [frame for frame in await client.until_final() if frame["type"] == "assistant_message"]
    assert (len(frames) > 1) is streams


def test_posting_a_message_is_answered_with_ids_and_with_the_answer_when_asked_to_wait(service: Service) -> None:
    status, text = service.post("/api/v1/message", {"session_id": "test", "message": "Hello"})
    body = json.loads(text)
    assert status == 200
    assert body["session_id"] == "test"
    assert body["status"] == "queued"
    status, text = service.post("/api/v1/message", {"session_id": "test", "message": "/say Done.", "wait": True})
    waited = json.loads(text)
    assert (status, waited["status"], waited["answer"]["content"]) == (200, "completed", "Done.")
    status, text = service.get("/api/v1/sessions/test/history")
    history = json.loads(text)["messages"]
    assert [message["role"] for message in history if message["id"] in {body["message_id"], waited["message_id"]}] == [
        "user",
        "user",
    ]
    assert waited["answer"]["message_id"] in {message["id"] for message in history}


def test_a_failed_turn_is_an_error_over_rest(service: Service) -> None:
    body = {"session_id": "failing", "message": "/fail rate_limited", "wait": True}
    status, text = service.post("/api/v1/message", body)
    assert status == 502
    assert json.loads(text)["error_code"] == "model_rate_limited"


async def test_two_sockets_on_one_session_see_the_same_frames(service: Service) -> None:
    async with service.connect("/ws/shared") as first, service.connect("/ws/shared") as second:
        await asyncio.sleep(0.5)
        await first.say("/tokens 40 200")
        seen = await asyncio.gather(first.until_final(), second.until_final())
    assert seen[0] == seen[1]
    numbers = [frame["number"] for frame in seen[0]]
    assert numbers == sorted(set(numbers))


async def test_a_tool_runs_in_the_client_and_the_turn_goes_on_with_its_result(service: Service) -> None:
    async with service.connect("/api/v1/ws/tools") as editor:
        await editor.say(
            '/call write_file {"path": "a.txt", "content": "x"}\n/call read_file {"path": "b"}\n/say Both.'
        )
        frames = [await editor.receive() for _ in range(3)]
        calls = frames[1:]
        assert [(call["tool_name"], call["requires_approval"]) for call in calls] == [
            ("write_file", True),
            ("read_file", False),
        ]
        assert calls[0]["arguments"] == {"path": "a.txt", "content": "x"}
        await editor.send({"type": "tool_result", "call_id": calls[0]["call_id"], "result": {"success": True}})
        await editor.send({"type": "tool_result", "call_id": calls[0]["call_id"], "result": {"success": False}})
        assert (await editor.receive())["error_code"] == "tool_call_finished"
        await editor.send(
            {"type": "tool_result", "call_id": calls[1]["call_id"], "error": "Операция отклонена: read_file"}
        )
        assert (await editor.receive())["content"] == "Both."
    rows = service.rows(
        "SELECT c.tool, c.status, c.result FROM agent_sessions_toolcall c "
        "JOIN agent_sessions_turn t ON t.id = c.turn_id JOIN agent_sessions_session "
        "s ON s.id = t.session_id WHERE s.key = 'tools' ORDER BY c.created_at, c.call_id"
    )
    assert rows == [
        ("write_file", "completed", '{"success": true}'),
        ("read_file", "failed", "Error: Операция отклонена: read_file"),
    ]


async def test_clients_that_send_at_the_same_moment_are_all_served(service: Service) -> None:
    async def send(i: int) -> str:
        async with service.connect(f"/ws/crowd{i}?stream=messages") as client:
            await client.say(f"/say {i}")
            return str((await client.until_final())[-1]["content"])

    assert await asyncio.gather(*(send(i) for i in range(60))) == [str(i) for i in range(60)]


async def test_messages_sent_during_a_turn_are_answered_in_order(service: Service) -> None:
    async with service.connect("/ws/queue?stream=messages") as alice:
        await alice.say("/wait 0.5\n/say first")
        await alice.say("/say second")
        await alice.say("/say third")
        answers = [(await alice.receive())["content"] for _ in range(3)]
    assert answers == ["first", "second", "third"]


async def test_a_provider_is_streamed_in_order_promptly_and_stored(
    provided_service: Service, provider: Provider
) -> None:
    async with provided_service.connect("/ws/stream") as alice:
        await alice.say("warm up")
        await alice.until_final()
        said = "tokens=200 rate=50"
        await alice.say(said)
        first = await alice.receive()
        first_at = time.monotonic()
        frames = [first, *await alice.until_final()]
    expected = "".join(token(i) for i in range(200))
    assert "".join(frame["token"] for frame in frames) == expected
    assert (frames[-1]["token"], frames[-1]["content"]) == ("", expected)
    # It takes some 20 ms on an idle machine (docs/performance.md), and the whole answer 4 s.
    assert first_at - provider.first_byte_at[said] < 3
    rows = provided_service.rows("SELECT content FROM agent_sessions_message WHERE id = %s", frames[-1]["message_id"])
    assert rows == [(expected,)]
    rows = provided_service.rows(
        "SELECT input_tokens, output_tokens FROM agent_sessions_turn WHERE id = %s", frames[-1]["turn_id"]
    )
    assert rows == [(7, 5)], "the usage must be what the provider counted"


async def test_eight_sessions_at_once_take_hardly_longer_than_one(provided_service: Service) -> None:
    async def turn(client: Socket, i: int) -> float:
        started = time.monotonic()
        await client.say(f"tokens=100 rate=50 session={i}")
        frames = await client.until_final()
        assert frames[-1]["content"] == "".join(token(n) for n in range(100))
        return time.monotonic() - started

    async with provided_service.connect("/ws/alone") as alone:
        one = await turn(alone, 0)
    sockets = [provided_service.connect(f"/ws/many{i}") for i in range(8)]
    clients = [await socket.__aenter__() for socket in sockets]
    eight = await asyncio.gather(*(turn(client, i) for i, client in enumerate(clients, 1)))
    for socket in sockets:
        await socket.__aexit__(None, None, None)
    # Each takes 2 s at the provider's rate, so 16 s one after the other. The margin is for a busy machine.
    assert max(eight) < one * 4


async def test_a_providers_tool_call_reaches_the_client_whole(provided_service: Service, provider: Provider) -> None:
    async with provided_service.connect("/ws/provided-tool") as alice:
        await alice.say("tokens=0 call=read_file")
        (call,) = await alice.until_final()
        assert (call["tool_name"], call["arguments"]) == ("read_file", {"path": "README.md"})
        await alice.send({"type": "tool_result", "call_id": call["call_id"], "result": {"content": "x"}})
        again = await alice.until_final()
    # The provider asks for the tool in every answer; the test needs only that it received the result.
    assert again[-1]["tool_name"] == "read_file"
    roles = [message["role"] for message in provider.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
    assert provider.requests[-1]["messages"][2]["tool_calls"][0]["id"] == call["call_id"]


FAILURES = [
    ("status=401", "model_not_authorized"),
    ("status=403", "model_not_authorized"),
    ("status=404", "model_not_found"),
    ("status=429", "model_rate_limited"),
    ("status=400", "model_refused"),
    ("status=500", "model_unavailable"),
    ("status=503", "model_unavailable"),
    ("tokens=5 no_end=1", "model_truncated"),
    ("tokens=5 reset_after=2", "model_truncated"),
    ("tokens=0 call=read_file no_end=1", "model_truncated"),
    ("tokens=5 stall_after=2", "model_stalled"),
    ("silent=600", "model_timed_out"),
]

#: Failures that the service retries, before the first output.
TRIED_AGAIN = {"status=429", "status=500", "status=503"}


@pytest.mark.parametrize(("said", "code"), FAILURES)
async def test_a_failing_provider_fails_the_turn_with_a_sentence(
    provided_service: Service, provider: Provider, said: str, code: str
) -> None:
    asked = len(provider.requests)
    key = said.replace(" ", "-")
    async with provided_service.connect(f"/ws/{key}") as alice:
        await alice.say(said)
        frames = await alice.until_final()
        assert frames[-1]["type"] == "error"
        assert frames[-1]["error_code"] == code
        assert frames[-1]["content"] == frames[-1]["error"]
        assert not any(secret in json.dumps(frames[-1]) for secret in ("http", "sk-", "Traceback", "litellm", "OpenAI"))
        # The session stays usable.
        await alice.say("tokens=2")
        assert (await alice.until_final())[-1]["content"] == "w0 w1 "
    tries = 3 if said in TRIED_AGAIN else 1
    assert len(provider.requests) - asked == tries + 1, "the ledger must have every request to the provider"
    rows = provided_service.rows(
        "SELECT t.status, t.error_code, m.content FROM agent_sessions_turn t "
        "JOIN agent_sessions_message m ON m.turn_id = t.id AND m.role = 'user' "
        "JOIN agent_sessions_session s ON s.id = t.session_id WHERE s.key = %s ORDER BY t.position",
        key,
    )
    assert rows == [("failed", code, said), ("completed", "", "tokens=2")]


@pytest.mark.parametrize("script", ["/tokens 500 50", "/say a\n/stall", "/stall"])
async def test_a_stopped_turn_says_nothing_more(service: Service, script: str) -> None:
    async with service.connect("/ws/stopped") as alice:
        await alice.say(script)
        if "stall" not in script or "say" in script:
            await alice.receive()
        else:
            await asyncio.sleep(0.5)
        started = time.monotonic()
        await alice.send({"type": "cancel"})
        frames = await alice.until_final()
        # It takes some 10 ms on an idle machine, because a stop does not wait for the model, which takes 10 s or more.
        assert time.monotonic() - started < 5
        assert frames[-1]["error_code"] == "cancelled"
        await alice.send({"type": "cancel"})
        assert (await alice.receive())["error_code"] == "nothing_to_cancel"
        with pytest.raises(TimeoutError):
            await alice.receive(timeout=1)
        await alice.say("/say next")
        assert (await alice.until_final())[-1]["content"] == "next"


def test_a_turn_is_stopped_over_rest(service: Service) -> None:
    _, text = service.post("/api/v1/message", {"session_id": "rest-stop", "message": "/stall"})
    turn_id = json.loads(text)["turn_id"]
    status, text = service.post(f"/api/v1/sessions/rest-stop/cancel?turn_id={turn_id}", None)
    assert (status, json.loads(text)) == (200, {"turn_id": turn_id, "status": "cancelled"})
    status, text = service.post("/api/v1/sessions/rest-stop/cancel", None)
    assert (status, json.loads(text)["error_code"]) == (409, "nothing_to_cancel")
    status, text = service.post("/api/v1/sessions/nobodys/cancel", None)
    assert (status, json.loads(text)["error_code"]) == (404, "session_not_found")


async def test_a_message_sent_twice_under_one_id_is_answered_once(service: Service) -> None:
    async with service.connect("/ws/twice?stream=messages") as alice:
        for _ in range(3):
            await alice.say("/say once", client_message_id="m1")
        await alice.say("/say last")
        answers = [(await alice.receive())["content"] for _ in range(2)]
    assert answers == ["once", "last"]
    body = {"session_id": "twice", "message": "/say once", "client_message_id": "m1", "wait": True}
    status, text = service.post("/api/v1/message", body)
    assert status == 200
    assert json.loads(text)["repeated"] is True
    assert json.loads(text)["answer"]["content"] == "once"
