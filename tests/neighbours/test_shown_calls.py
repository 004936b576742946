"""A client that was told to run a tool, and is cut off: no other client is told, and a person decides."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import POSTGRES, REDIS
from tests.live.service import Service, running
from tests.live.test_approvals import until
from tests.live.test_offers import READ, let_the_client_be_gone, result_of, silent

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a service whose web process the tests end."""
    with running(tmp_path_factory.mktemp("shown"), postgres=POSTGRES, redis=REDIS) as it:
        yield it


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_deploy_or_a_crash_of_web_shows_a_call_to_no_other_client(own: Service, how: signal.Signals) -> None:
    path = f"/ws/deployed-{how}"
    async with own.connect(f"{path}?client_id=laptop") as laptop:
        await laptop.say(READ)
        call = await until(laptop, "tool_call")
        own.stop("web", signal_number=how)
    own.start("web")
    await asyncio.to_thread(own.wait_until_healthy)
    async with own.connect(f"{path}?client_id=desktop&after=0") as desktop:
        # It was shown after 0.3 s.
        assert "tool_call" not in [frame["type"] for frame in await silent(desktop, 2)]
        async with own.connect(f"{path}?client_id=laptop&after=0") as laptop:
            assert (await until(laptop, "tool_call"))["call_id"] == call["call_id"]
            await laptop.send(result_of(call))
            assert (await desktop.until_final())[-1]["content"] == "Done."


async def test_a_call_of_the_openai_compatible_api_is_shown_to_no_editor(service: Service) -> None:
    tool = {"type": "function", "function": {"name": "read_file", "parameters": {"type": "object"}}}
    body: dict[str, Any] = {"model": "codelab/universal", "tools": [tool]}
    body["messages"] = [{"role": "user", "content": READ}]
    service.post("/api/v1/sessions", {"session_id": "two-doors"})
    status, answer = await asyncio.to_thread(
        lambda: service.post("/v1/chat/completions", body, **{"X-CodeLab-Session": "two-doors"})
    )
    assert status == 200
    [call] = json.loads(answer)["choices"][0]["message"]["tool_calls"]
    async with service.connect("/ws/two-doors?client_id=editor") as editor:
        assert "tool_call" not in [frame["type"] for frame in await silent(editor, 2)]
        let_the_client_be_gone(service, "two-doors")
        question = await until(editor, "tool_call")
        assert (question["call_id"], question["unknown"]) == (call["id"], True)
        await editor.send({"type": "hitl_decision", "call_id": call["id"], "decision": "reject"})
        assert (await editor.until_final())[-1]["content"] == "Done."
