"""Servers of users whose names take half a minute to look up, beside calls of the operator's model by its name."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import POSTGRES, REDIS
from tests.live.provider import Provider
from tests.live.service import Service, running
from tests.neighbours.stream import PROVIDER_MESSAGE, neighbour

pytestmark = pytest.mark.live

SLOW_NAMES = Path(__file__).parent / "slow_names"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Service]:
    """Start a service whose operator names the model's server, and where some names are slow."""
    with running(
        tmp_path_factory.mktemp("names"),
        postgres=POSTGRES,
        redis=REDIS,
        PYTHONPATH=str(SLOW_NAMES),
        CODELAB_MODEL="openai/fake",
        CODELAB_AGENTS="single",
        CODELAB_MODEL_TRIES="1",
        OPENAI_API_BASE=provider.url.replace("127.0.0.1", "localhost"),
    ) as it:
        yield it
        # Otherwise it ends when its threads have their names, after 20 s.
        it.stop("worker", signal_number=signal.SIGKILL)


def ask(service: Service, model: str, content: str) -> tuple[int, str, float]:
    began = time.monotonic()
    body = {"model": model, "messages": [{"role": "user", "content": content}]}
    status, answer = service.post("/v1/chat/completions", body)
    return status, answer, time.monotonic() - began


def test_slow_names_of_users_hold_up_no_other_call(named: Service) -> None:
    for number, provider in enumerate(("groq", "xai", "openrouter")):
        body = json.dumps({"api_key": "sk-alice", "api_base": f"https://{number}.slow.example/v1"}).encode()
        url = f"{named.url}/api/v1/provider-keys/{provider}"
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT")) as answer:
            assert answer.status == 200
    with neighbour(named, message=PROVIDER_MESSAGE), ThreadPoolExecutor(16) as pool:
        slow = [
            pool.submit(ask, named, f"{provider}/some-model", "Hi.")
            for provider in ("groq", "xai", "openrouter")
            for _ in range(5)
        ]
        time.sleep(0.5)
        for _ in range(3):
            status, text, seconds = ask(named, "openai/fake", "tokens=3")
            assert (status, "w0 w1 w2" in text) == (200, True)
            # The name servers hold a thread for half a minute.
            assert seconds < 15
        for each in slow:
            status, text, seconds = each.result()
            assert (status, json.loads(text)["error"]["code"]) == (503, "model_unavailable")
            # It waits for the name for 3 s.
            assert seconds < 20
