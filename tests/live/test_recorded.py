"""Recorded clients of the original: the tests send what they send, byte for byte, and parse as strictly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import pytest

from tests.clients import benchmark, editor, gateway, plugin, terminal
from tests.clients.transcript import Client, play, transcripts
from tests.conftest import POSTGRES, REDIS
from tests.live.service import DEMO_PASSWORD, Service, running

pytestmark = pytest.mark.live

INTERNAL_KEY = "change-me-internal-key"
CLIENTS = {"editor": editor.CLIENT, "benchmark": benchmark.CLIENT, "gateway": gateway.CLIENT, "plugin": plugin.CLIENT}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service set up as the original: several agents, users who sign in, programs with the internal key."""
    with running(
        tmp_path_factory.mktemp("guarded"),
        postgres=POSTGRES,
        redis=REDIS,
        CODELAB_AGENTS="multi",
        CODELAB_OPEN_ACCESS_USER="",
        CODELAB_INTERNAL_KEY=INTERNAL_KEY,
        CODELAB_INTERNAL_USER="bob",
    ) as service:
        yield service


@pytest.mark.parametrize(
    ("client", "path"),
    [pytest.param(client, path, id=path.stem) for name, client in CLIENTS.items() for path in transcripts(name)],
)
async def test_a_client_of_the_original_works(guarded: Service, client: Client, path: Path) -> None:
    names = {"password": quote_plus(DEMO_PASSWORD)}
    if "internal" in path.stem:
        names["internal_key"] = INTERNAL_KEY
    if client is plugin.CLIENT:
        names["pasted"] = await api_key(guarded)
    await play(path, client, guarded, **names)


async def api_key(service: Service) -> str:
    """Return an API key, such as a user makes elsewhere and pastes into the plugin."""
    async with httpx.AsyncClient(base_url=service.url, trust_env=False) as http:
        form = {
            "grant_type": "password",
            "client_id": "codelab-flutter-app",
            "username": "demo",
            "password": DEMO_PASSWORD,
        }
        token = (await http.post("/oauth/token", data=form)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return str((await http.post("/api/v1/api-keys", json={"name": "plugin"}, headers=headers)).json()["key"])


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in transcripts("terminal")])
async def test_a_client_that_never_signs_in_works_locally(service: Service, path: Path) -> None:
    await play(path, terminal.CLIENT, service)
