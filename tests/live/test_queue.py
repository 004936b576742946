"""Waiting messages: edited, withdrawn or moved to the front, over the socket and REST, and what other clients see."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import psycopg
import pytest

from tests.live.provider import Provider
from tests.live.service import Frame, Service, Socket
from tests.live.test_events import ENDS, events_of, text_of

pytestmark = pytest.mark.live


async def until(client: Socket, kind: str) -> Frame:
    while True:
        frame = await client.receive()
        if kind in (frame.get("kind"), frame["type"]):
            return frame


async def accepted(client: Socket, content: str, **more: Any) -> Frame:
    await client.say(content, **more)
    return await until(client, "accepted")


async def all_events(service: Service, key: str) -> list[Frame]:
    async with httpx.AsyncClient(base_url=service.url, trust_env=False) as http:
        page = (await http.get(f"/api/v1/sessions/{key}/events")).json()
    events: list[Frame] = page["events"]
    return events


async def test_waiting_messages_are_edited_and_withdrawn(service: Service) -> None:
    async with events_of(service, "q-edit") as (client, _):
        await client.say("/tokens 60 40")
        await until(client, "turn_started")
        second = await accepted(client, "/say two")
        third = await accepted(client, "/say three")
        await client.send({"type": "edit_message", "message_id": second["message_id"], "content": "/say zwei"})
        edited = await until(client, "message_edited")
        assert edited["payload"]["content"] == "/say zwei"
        await client.send({"type": "withdraw_message", "message_id": third["message_id"]})
        await until(client, "message_withdrawn")
        async with events_of(service, "q-edit") as (_, welcome):
            shown = [message["content"] for message in welcome["snapshot"]["messages"]]
            assert shown == ["/tokens 60 40", "/say zwei"]
        answers: list[str] = []
        while len(answers) < 2:
            frame = await until(client, "message_added")
            if frame["payload"]["role"] == "assistant":
                answers.append(frame["payload"]["content"])
        assert answers[1] == "zwei"
        await until(client, "turn_completed")
        for frame in (
            {"type": "edit_message", "message_id": second["message_id"], "content": "x"},
            {"type": "withdraw_message", "message_id": second["message_id"]},
        ):
            await client.send(frame)
            assert (await until(client, "error"))["error_code"] == "message_begun"
        await client.send({"type": "withdraw_message", "message_id": third["message_id"]})
        assert (await until(client, "error"))["error_code"] == "message_not_found"


async def test_an_interrupt_is_answered_at_once(service: Service) -> None:
    async with events_of(service, "q-now") as (client, _):
        await client.say("/tokens 1000 20")
        await until(client, "text_delta")
        await client.say("/say later")
        await client.say("/say now", interrupt=True)
        assert (await until(client, "turn_cancelled"))["number"]
        answers: list[str] = []
        while len(answers) < 2:
            frame = await until(client, "message_added")
            if frame["payload"]["role"] == "assistant" and not frame["payload"].get("interrupted"):
                answers.append(frame["payload"]["content"])
        assert answers == ["now", "later"]


async def test_the_queue_over_rest(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.url, trust_env=False) as http:

        async def say(text: str) -> Any:
            return (await http.post("/api/v1/message", json={"session_id": "q-rest", "message": text})).json()

        await say("/stall")
        second, third = await say("/say two"), await say("/say three")
        one = "/api/v1/sessions/q-rest"
        answer = await http.patch(f"{one}/messages/{second['message_id']}", json={"content": "/say zwei"})
        assert (answer.status_code, answer.json()["content"]) == (200, "/say zwei")
        answer = await http.delete(f"{one}/messages/{third['message_id']}")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        waiting = (await http.get(f"{one}/queue")).json()["messages"]
        assert [(row["message_id"], row["content"]) for row in waiting] == [(second["message_id"], "/say zwei")]
        assert (await http.delete(f"{one}/messages/{third['message_id']}")).status_code == 404
        assert (await http.patch(f"{one}/messages/{second['message_id']}", json={"content": ""})).status_code == 400
        assert (await http.delete(f"/api/v1/sessions/none/messages/{third['message_id']}")).status_code == 404
        body = {"session_id": "q-rest", "message": "/say now", "interrupt": True, "wait": True}
        assert (await http.post("/api/v1/message", json=body, timeout=30)).json()["answer"]["content"] == "now"
        for _ in range(600):
            history = (await http.get(f"{one}/history")).json()
            # The answer to the message that still waited is the last one.
            if history["messages"][-1]["content"] == "zwei":
                break
            await asyncio.sleep(0.1)
        assert "/say three" not in [message["content"] for message in history["messages"]]
        assert history["message_count"] == len(history["messages"])


async def test_an_old_client_resumes_from_a_number(service: Service) -> None:
    async with service.connect("/ws/q-after?stream=tokens") as client:
        await client.say("/tokens 20 200")
        frames = await client.until_final()
    middle = frames[len(frames) // 2]["number"]
    async with service.connect(f"/ws/q-after?stream=tokens&after={middle}") as client:
        rest = await client.until_final()
    assert rest == [frame for frame in frames if frame["number"] > middle]
    async with service.connect(f"/ws/q-after?after={10**17}") as client:
        await client.say("/say hello")
        assert (await client.until_final())[-1]["content"] == "hello"


async def test_stopping_a_turn_closes_the_request_to_a_silent_model_at_once(
    provided_service: Service, provider: Provider
) -> None:
    """The web process publishes the stop. Without that, a worker learns of it when it next renews its leases."""
    told = []
    async with provided_service.connect("/ws/q-silent", subprotocols=["codelab.v2"]) as client:
        await client.send({"type": "hello"})
        # On a busy machine a renewal may come first, but not every time.
        for _ in range(3):
            before, asked = provider.closed_early, len(provider.requests)
            # The provider sends only keep-alive lines; without a stop the worker gives up after 2 s.
            await client.say("silent=30")
            turn_id = (await until(client, "turn_started"))["payload"]["turn_id"]
            async with asyncio.timeout(60):
                while len(provider.requests) == asked:  # noqa: ASYNC110 (it lives in another thread)
                    await asyncio.sleep(0.01)
            await client.send({"type": "cancel"})
            await until(client, "turn_cancelled")
            async with asyncio.timeout(60):
                while provider.closed_early == before:  # noqa: ASYNC110 (it lives in another thread)
                    await asyncio.sleep(0.01)
            lines = provided_service.log_of("worker").splitlines()
            told.append(any("turn_stopped" in line and turn_id in line for line in lines))
    assert any(told)


async def test_a_stop_is_heard_while_the_turn_is_claimed(provided_service: Service, provider: Provider) -> None:
    """The claim is committed, and the prompt is read with it. A lock on a table that only prompts read holds it up."""
    service = provided_service
    running = "SELECT status FROM agent_sessions_turn WHERE id = %s"
    async with events_of(service, "q-claimed") as (client, _), events_of(service, "q-after-it") as (other, _):
        await client.say("tokens=1")
        await until(client, "turn_completed")
        summarized = "UPDATE agent_sessions_session SET is_summarized = true WHERE key = 'q-claimed' RETURNING 1"
        assert service.rows(summarized)
        with psycopg.connect(service.database_url) as connection:
            connection.execute("LOCK TABLE agent_sessions_summary IN ACCESS EXCLUSIVE MODE")
            stopped = (await accepted(client, "silent=30"))["turn_id"]
            async with asyncio.timeout(60):
                while await asyncio.to_thread(service.rows, running, stopped) != [("running",)]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await client.send({"type": "cancel"})
            await until(client, "turn_cancelled")
            # What tells the worker of another stop comes behind.
            asked, closed = len(provider.requests), provider.closed_early
            await other.say("silent=30")
            async with asyncio.timeout(60):
                while len(provider.requests) == asked:  # noqa: ASYNC110 (it lives in another thread)
                    await asyncio.sleep(0.01)
                await other.send({"type": "cancel"})
                while provider.closed_early == closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(60):
            while not (of_turn := [line for line in log_of(service) if stopped in line and "turn_lost" in line]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert of_turn
    assert any(stopped in line and "turn_stopped" in line for line in log_of(service))


def log_of(service: Service) -> list[str]:
    return service.log_of("worker").splitlines()


async def test_a_turn_whose_task_is_lost_is_run_without_it(service: Service) -> None:
    """Insert the turn as the web process does, without a task."""
    lost = """
from django.contrib.auth.models import User
from sessions.turns import inbox, sessions
session = sessions.open_session(User.objects.get(username="demo").pk, "q-lost")
inbox.accept_message(session.pk, "/say found")
"""
    await asyncio.to_thread(service.manage, "shell", "-v0", "-c", lost)
    for _ in range(600):
        events = await all_events(service, "q-lost")
        if events[-1]["kind"] in ENDS:
            break
        await asyncio.sleep(0.1)
    assert text_of(events) == "found"
    assert "turn_taken_without_task" in service.log_of("worker")


async def test_a_steered_message_is_read_at_the_next_step(service: Service) -> None:
    async with events_of(service, "q-steer") as (client, _):
        first = await accepted(client, '/say Look.\n/call read_file {"path": "a"}\n/say Never said.')
        call = (await until(client, "tool_call_requested"))["payload"]
        await until(client, "turn_waiting")
        steered = await accepted(client, "/say Steered.", when="steer", client_message_id="s")
        again = await accepted(client, "/say Steered.", when="steer", client_message_id="s")
        assert (again["repeated"], again["message_id"]) == (True, steered["message_id"])
        assert steered["turn_id"] == first["turn_id"]
        async with httpx.AsyncClient(base_url=service.url, trust_env=False) as http:
            (waiting,) = (await http.get("/api/v1/sessions/q-steer/queue")).json()["messages"]
        assert (waiting["message_id"], waiting["steer"]) == (steered["message_id"], True)
        await client.send({"type": "tool_result", "call_id": call["call_id"], "result": 1})
        assert (await until(client, "turn_started"))["payload"]["reads"] == [steered["message_id"]]
        assert (await until(client, "text_delta"))["payload"]["text"] == "Steered."
        assert (await until(client, "turn_completed"))["payload"]["turn_id"] == first["turn_id"]


async def test_a_post_that_waits_gets_the_answer_to_a_message_that_came_too_late_to_steer(service: Service) -> None:
    async with events_of(service, "q-late") as (client, _):
        first = await accepted(client, "/say Begun.\n/wait 1\n/say Done.")
        await until(client, "text_delta")
        body = {"session_id": "q-late", "message": "/say Steered.", "when": "steer", "wait": True}
        async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=30) as http:
            out = (await http.post("/api/v1/message", json=body)).json()
            assert (out["status"], out["answer"]["content"]) == ("completed", "Steered.")
            assert out["turn_id"] != first["turn_id"]
            refused = await http.post("/api/v1/message", json={**body, "when": "later"})
            assert (refused.status_code, refused.json()["error_code"]) == (400, "invalid_field")
