"""Flower shows turns as they ended, apart from the clean-up, and leads to the admin and back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.live.service import PROJECT, Service
from tests.ports import free_port

pytestmark = pytest.mark.live
PASSWORD = "a long password of flower"


@pytest.fixture
def flower(service: Service) -> Iterator[httpx.Client]:
    port = free_port()
    environment = {
        **service.environment,
        "FLOWER_PORT": str(port),
        "FLOWER_PASSWORD": PASSWORD,
        "CODELAB_WEB_URL": service.url,
    }
    with (service.folder / "flower.log").open("wb") as log:
        command = [sys.executable, "-m", "codelab", "flower"]
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=address, auth=("admin", PASSWORD), follow_redirects=True) as client:
            wait_for(lambda: _hears_workers(client), "Flower")
            yield client
    finally:
        process.terminate()
        process.wait(15)


def _hears_workers(client: httpx.Client) -> bool:
    """Return whether events of workers have reached Flower: it keeps none from before it listened."""
    try:
        return "flower_worker_online{" in client.get("/metrics").text
    except httpx.TransportError:
        return False


def wait_for(check: Callable[[], bool], name: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{name} is not there after {seconds} s"
        time.sleep(0.1)


def test_a_failed_turn_is_a_failure_that_leads_to_its_turn(service: Service, flower: httpx.Client) -> None:
    for text in ("/say one", "/fail rate_limited"):
        service.post("/api/v1/message", {"session_id": "flower", "message": text, "wait": True})
    statement = (
        "SELECT turn.id::text, turn.task, turn.worker, turn.status, call.task FROM agent_sessions_turn AS turn"
        " JOIN agent_sessions_session AS session ON session.id = turn.session_id"
        " JOIN agent_sessions_modelcall AS call ON call.turn_id = turn.id"
        " WHERE session.key = 'flower' ORDER BY turn.position, call.id DESC"
    )
    rows = {status: (turn, task, worker, of_call) for turn, task, worker, status, of_call in service.rows(statement)}
    tasks = {status: info(flower, task) for status, (_, task, _, _) in rows.items()}
    assert {status: task["state"] for status, task in tasks.items()} == {"completed": "SUCCESS", "failed": "FAILURE"}
    assert json.loads(tasks["completed"]["result"].replace("'", '"')) == "completed"

    turn, task, worker, of_call = rows["failed"]
    assert task == of_call
    assert tasks["failed"]["exception"] == "model_rate_limited"
    assert tasks["failed"]["result"].startswith("model_rate_limited: ")
    assert not tasks["failed"].get("traceback")
    # Early acknowledgement: nothing is delivered again.
    assert tasks["failed"]["retries"] == 0
    assert "Traceback" not in service.log_of("worker")

    page = flower.get(f"/task/{task}").text
    assert f'href="{service.url}/admin/agent_sessions/turn/{turn}/change/"' in page
    assert "traceback" not in page.lower().replace("task-traceback-copy", "")
    assert tasks["failed"]["worker"] == worker
    assert [(worker,)] == service.rows("SELECT name FROM agent_sessions_worker WHERE name = %s", worker)

    tasks_page = flower.get("/tasks")
    assert str(tasks_page.url).endswith("/tasks?name=sessions.tasks.advance_turn")
    assert re.search(r'aria-current="page">Turns<', tasks_page.text)
    assert re.search(r'href="/tasks\?name=tidy"\s*>Clean-up<', tasks_page.text)


def test_operators_send_and_limit_tasks(flower: httpx.Client) -> None:
    """The tab "Limits" of a worker's page, and Flower's API, refuse tasks that Flower does not know."""
    task = "sessions.tasks.tidy"
    for how in ("async-apply", "send-task"):
        sent = flower.post(f"/api/task/{how}/{task}", json={"args": []}).raise_for_status()
        ended = info(flower, sent.json()["task-id"])
        assert ended["state"] == "SUCCESS"
    # Flower asks workers for their names now and then.
    limit = {"workername": ended["worker"], "ratelimit": "0"}
    wait_for(lambda: flower.post(f"/api/task/rate-limit/{task}", data=limit).is_success, "the worker in Flower")


def info(flower: httpx.Client, task: str) -> dict[str, Any]:
    """Return what Flower knows of a task, as soon as it has ended."""
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        answer = flower.get(f"/api/task/info/{task}")
        found.update(answer.json() if answer.status_code == 200 else {})
        return found.get("state") in ("SUCCESS", "FAILURE")

    wait_for(has_ended, f"task {task}")
    return found
