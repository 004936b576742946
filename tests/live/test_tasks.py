"""Turns as Celery's tasks: what its tools show and stop while the worker's event loop runs them."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from celery import Celery

from tests.live.service import Service
from tests.live.test_queue import until

pytestmark = pytest.mark.live

TASK = "sessions.tasks.advance_turn"
#: More than the worker has threads, and ends when it is told to.
TURNS = 40


def celery_of(service: Service) -> Any:
    return Celery(broker=service.environment["REDIS_URL"], set_as_current=False)


@contextmanager
def events_of_tasks(service: Service) -> Iterator[list[dict[str, Any]]]:
    """Yield the events that Flower gets, as they come."""
    events: list[dict[str, Any]] = []
    with celery_of(service) as app, app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": events.append})
        listening = Thread(target=lambda: receiver.capture(limit=None, timeout=None, wakeup=True), daemon=True)
        listening.start()
        wait_until(lambda: bool(events))
        yield events
        receiver.should_stop = True
        listening.join(60)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def threads_of(service: Service) -> int:
    return len(list(Path(f"/proc/{service.processes['worker'].pid}/task").iterdir()))


async def test_running_turns_are_active_tasks_that_hold_no_thread(service: Service) -> None:
    # The worker's other threads are started on demand: at most 19 (docs/architecture.md).
    before = threads_of(service)
    async with asyncio.TaskGroup() as group:
        stops = [asyncio.Event() for _ in range(TURNS)]

        async def stall(number: int) -> str:
            async with service.connect(f"/ws/tasks-{number}", subprotocols=["codelab.v2"]) as client:
                await client.send({"type": "hello"})
                await client.say("/stall")
                turn_id: str = (await until(client, "turn_started"))["payload"]["turn_id"]
                started.append(turn_id)
                await stops[number].wait()
                await client.send({"type": "cancel"})
                await until(client, "turn_cancelled")
                return turn_id

        started: list[str] = []
        for number in range(TURNS):
            group.create_task(stall(number))
        async with asyncio.timeout(60):
            while len(started) < TURNS:  # noqa: ASYNC110 (each has a socket of its own)
                await asyncio.sleep(0.05)
        assert threads_of(service) < before + TURNS
        with celery_of(service) as app:
            inspect = app.control.inspect(timeout=30, limit=1)
            (active,) = (await asyncio.to_thread(inspect.active)).values()
            (stats,) = (await asyncio.to_thread(inspect.stats)).values()
        assert {task["args"][0] for task in active if task["name"] == TASK} >= set(started)
        assert all(task["acknowledged"] and task["time_start"] for task in active)
        assert stats["pool"]["implementation"] == "sessions.worker.pool:LoopPool"
        for stop in stops:
            stop.set()
    with celery_of(service) as app:

        def has_none() -> bool:
            (active,) = app.control.inspect(timeout=30, limit=1).active().values()
            return not any(task["args"] and task["args"][0] in started for task in active)

        await asyncio.to_thread(wait_until, has_none)


def test_events_tell_how_long_a_turn_took_and_steps_of_the_server_share_its_task(service: Service) -> None:
    script = '/call calculator {"expr": "6 * 7"}\n/wait 0.5\n/say 42'
    with events_of_tasks(service) as events:
        _, text = service.post("/api/v1/message", {"session_id": "t", "message": script, "wait": True})
        turn_id = json.loads(text)["turn_id"]
        ((task, attempts),) = service.rows("SELECT task, attempt FROM agent_sessions_turn WHERE id = %s", turn_id)
        wait_until(lambda: any(each["type"] == "task-succeeded" and each["uuid"] == task for each in events))
    assert attempts == 2
    of_task = sorted((each for each in events if each.get("uuid") == task), key=lambda each: each["clock"])
    assert [each["type"] for each in of_task] == ["task-received", "task-started", "task-succeeded"]
    assert (of_task[0]["name"], turn_id in of_task[0]["args"]) == (TASK, True)
    assert of_task[2]["result"] == "'completed'"
    assert of_task[2]["runtime"] >= 0.5
    others = {each["uuid"] for each in events if turn_id in str(each.get("args"))}
    assert others == {task}, "a step has had a task of its own"


def test_a_revoked_task_is_not_run(service: Service) -> None:
    task = str(uuid.uuid4())
    with events_of_tasks(service) as events, celery_of(service) as app:
        app.control.revoke(task)
        wait_until(lambda: any(task in each for each in app.control.inspect(limit=1).revoked().values()))
        app.send_task(TASK, (str(uuid.uuid4()),), task_id=task, queue="turns")
        wait_until(lambda: any(each["type"] == "task-revoked" and each["uuid"] == task for each in events))
    assert not any(each["type"] == "task-started" and each["uuid"] == task for each in events)
