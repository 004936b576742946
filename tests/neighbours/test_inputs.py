"""Inputs that are large, deep or odd, beside a neighbour's stream on the same worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.conftest import POSTGRES, REDIS
from tests.live.service import Service, running
from tests.neighbours.stream import PROVIDER_MESSAGE, neighbour

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a service in which an agent is chosen for each message."""
    folder = tmp_path_factory.mktemp("agents")
    with running(folder, postgres=POSTGRES, redis=REDIS, CODELAB_AGENTS="multi") as it:
        yield it


def ask(service: Service, content: str, **fields: Any) -> tuple[int, Any]:
    body = {"model": "scripted", "messages": [{"role": "user", "content": content}], **fields}
    status, answer = service.post("/v1/chat/completions", body)
    return status, json.loads(answer)


def test_the_scripted_model_cannot_be_asked_where_it_is_not_configured(provided_service: Service) -> None:
    with neighbour(provided_service, message=PROVIDER_MESSAGE):
        status, answer = ask(provided_service, "/tokens 100000000")
        assert (status, answer["error"]["code"]) == (404, "model_not_found")
        body = {"model": "scripted", "input": ["a"], "dimensions": 1_000_000_000}
        status, text = provided_service.post("/v1/embeddings", body)
        assert status in (400, 404), text
        assert "scripted" not in provided_service.get("/v1/models")[1]
        assert provided_service.get("/v1/models/scripted")[0] == 404


def test_what_a_caller_can_size_is_bounded(service: Service) -> None:
    deep: Any = {}
    for _ in range(900):
        deep = {"a": deep}
    tool = {"type": "function", "function": {"name": "f", "parameters": deep}}
    with neighbour(service):
        status, answer = ask(service, "/tokens 1000000000")
        assert (status, answer["choices"][0]["message"]["content"]) == (
            200,
            "/tokens says at most 10,000 tokens at once.",
        )
        status, answer = ask(service, "\n".join(["/tokens 10000"] * 100))
        assert (status, answer["error"]["code"]) == (502, "model_answer_too_long")
        for fields in ({"tools": [tool]}, {"temperature": float("nan")}, {"stop": ["a"] * 100}, {"n": 1_000_000}):
            status, answer = ask(service, "/say Hi.", **fields)
            assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
        for body in ({"input": "a", "dimensions": 1_000_000_000}, {"input": ["a"] * 10_000}):
            status, text = service.post("/v1/embeddings", {"model": "scripted", **body})
            assert status == 400, text
        body = {"model": "scripted", "input": ["a" * 50_000] * 240, "dimensions": 4_096}
        status, text = service.post("/v1/embeddings", body)
        for _ in range(5):
            # Twelve megabytes; a busy machine has not stored them in three seconds, and says so.
            if status == 200:
                break
            assert (status, json.loads(text)["error"]["code"]) == (503, "storage_unavailable")
            status, text = service.post("/v1/embeddings", body)
        assert status == 200


@pytest.mark.parametrize(
    "text",
    [
        "a" * 100_000,
        " ".join(f"word{i}" for i in range(11_000)),
        "please " * 14_000,
        " \n" * 40_000 + "x",
        "`" * 99_999,
    ],
    ids=["one word", "words", "the same word", "blanks", "signs"],
)
async def test_a_long_message_is_given_to_an_agent_at_once(agents: Service, text: str) -> None:
    async with agents.connect("/ws/long") as alice:
        await alice.say("please fix this code")
        await alice.until_final()
        with neighbour(agents):
            await alice.say(text)
            last = (await alice.until_final())[-1]
            assert last.get("error_code") is None


async def test_a_long_command_is_judged_at_once(service: Service) -> None:
    with psycopg.connect(service.database_url) as connection:
        connection.execute(
            """
            INSERT INTO agent_sessions_policyrule (id, owner_id, effect, tool, subject, agent, folder, created_at)
            SELECT gen_random_uuid(), auth_user.id, 'deny', 'execute_command', '*a*a*a*b' || number, '*', '.', now()
            FROM auth_user, generate_series(1, 500) AS number WHERE username = 'demo'
            """
        )
    try:
        async with service.connect("/ws/judged") as alice:
            with neighbour(service):
                for command in ("a; " * 6_000, "a" * 20_000, '"' * 20_000):
                    await alice.say(f"/call execute_command {json.dumps({'command': command.strip()})}")
                    frame = await alice.receive()
                    while frame["type"] not in ("tool_call", "error"):
                        frame = await alice.receive()
                    assert (frame["type"], frame["requires_approval"]) == ("tool_call", True)
                    await alice.send({"type": "cancel"})
                    await alice.until_final()
    finally:
        with psycopg.connect(service.database_url) as connection:
            connection.execute("DELETE FROM agent_sessions_policyrule WHERE subject LIKE '*a*a*a*b%'")


async def test_numbers_that_are_not_json_go_back_to_the_model(service: Service) -> None:
    async with service.connect("/ws/numbers") as alice:
        with neighbour(service):
            for number in ("1e400", "-1e400", "9" * 5_000, "[" * 2_000):
                await alice.say(f'/call read_file {{"path": "a", "start_line": {number}}}')
                frames = await alice.until_final()
                assert "error_code" not in frames[-1], frames[-1]
