"""The workspace over REST and over sockets of both protocols; only its owner sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User

from codelab.identity import api_keys
from sessions.database import in_thread
from sessions.events import log
from sessions.models import Session, Workspace
from tests.codelab.identity.conftest import Caller, receive
from tests.sessions.api.rest.conftest import Http, opened, rows

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/v1/sessions/s/workspace"
SHOP: dict[str, Any] = {
    "name": "shop",
    "system": "Linux",
    "shell": "zsh",
    "date": "2026-11-28",
    "time_zone": "Europe/Berlin",
    "git": {"branch": "main", "head": "3f1c0d2", "status": " M a.py"},
    "tree": ["README.md", "src/"],
    "open_files": ["src/a.py"],
    "selection": {"path": "src/a.py", "start_line": 1, "end_line": 2, "text": "x = 1\n"},
    "instructions": [{"path": "AGENTS.md", "text": "Use tabs. Literally: \\u0000"}],
}


def kinds(session: Session) -> list[str]:
    return [event.kind for event in log.since(session.pk, 0)]


async def test_a_workspace_is_put_and_read_back(as_alice: Http, alice: User) -> None:
    stored = await as_alice.ok("PUT", PATH, SHOP | {"unknown": 1, "colour": None})
    assert stored == {**SHOP, "session_id": "s", "hash": stored["hash"]}
    assert await as_alice.ok("GET", PATH) == stored
    session = await opened(alice)
    assert await rows(lambda: kinds(session)) == ["workspace_changed"]
    # What was read may be put back.
    assert await as_alice.ok("PUT", PATH, stored) == stored
    assert await rows(lambda: kinds(session)) == ["workspace_changed"]
    replaced = await as_alice.ok("PUT", PATH, {"name": "x"})
    assert replaced == {"session_id": "s", "hash": replaced["hash"], "name": "x"}


async def test_a_session_without_a_workspace_says_so(as_alice: Http, alice: User) -> None:
    assert await as_alice.refused("GET", PATH) == (404, "session_not_found")
    await opened(alice)
    assert await as_alice.ok("GET", PATH) == {"session_id": "s"}


async def test_another_user_neither_sees_nor_changes_it(as_alice: Http, as_bob: Http) -> None:
    stored = await as_alice.ok("PUT", PATH, SHOP)
    assert await as_bob.refused("GET", PATH) == (404, "session_not_found")
    await as_bob.ok("PUT", PATH, {"name": "Bob's own"})
    assert await as_alice.ok("GET", PATH) == stored


TOO_MUCH: dict[str, Any] = {
    "name": "x" * 301,
    "system": ["Linux"],
    "shell": 7,
    "date": {"day": 1},
    "time_zone": "x" * 301,
    "git": {"status": "x" * 20_001},
    "tree": ["a"] * 1001,
    "open_files": ["x" * 1025],
    "selection": {"start_line": 0},
    "instructions": [{"path": "AGENTS.md", "text": "x" * 65_537}],
}


@pytest.mark.parametrize("field", TOO_MUCH)
async def test_every_field_has_bounds_and_the_answer_names_the_field(as_alice: Http, field: str) -> None:
    status, answer = await as_alice("PUT", PATH, {field: TOO_MUCH[field]})
    assert (status, answer["error_code"]) == (400, "invalid_workspace")
    assert answer["error"].startswith(f"Field `{field}")
    async with v2(await key_of("api:read api:write")) as socket:
        await send(socket, {"type": "hello", "ref": "1", "workspace": {field: TOO_MUCH[field]}})
        refused = await receive(socket)
        assert (refused["error_code"], refused["ref"]) == ("invalid_workspace", "1")
        assert refused["error"] == answer["error"].replace(f"`{field}", f"`workspace.{field}")
    assert not await rows(Workspace.objects.exists)


@pytest.mark.parametrize("body", [[], "x", None, {"name": "a\x00b"}, {"instructions": [{"path": "a"}]}, {"git": []}])
async def test_what_is_no_workspace_is_refused(as_alice: Http, body: Any) -> None:
    status, code = await as_alice.refused("PUT", PATH, body)
    assert (status, code) in [(400, "invalid_workspace"), (400, "invalid_text"), (400, "invalid_json")]
    assert not await rows(Workspace.objects.exists)


async def test_more_than_the_limit_of_all_parts_is_refused(as_alice: Http) -> None:
    files = [{"path": f"{number}.md", "text": "x" * 60_000} for number in range(4)]
    status, answer = await as_alice("PUT", PATH, {"instructions": files})
    assert (status, answer["error_code"]) == (400, "invalid_workspace")
    assert answer["error"] == "The workspace has more than 200 KiB. Send fewer or shorter instructions."
    assert await as_alice.refused("PUT", PATH, {"x": "y" * 2**20}) == (413, "body_too_large")


# Sockets


async def key_of(scopes: str) -> str:
    user = await rows(lambda: User.objects.get(username="alice"))
    return (await in_thread(api_keys.create)(user, name="tests", scopes=scopes, expires_at=None, address=""))[1]


def v2(key: str) -> Any:
    return Caller(key).socket("/ws/s", ["codelab.v2"])


async def send(socket: Any, frame: dict[str, Any]) -> None:
    await socket.send_to(text_data=json.dumps(frame))


async def test_hello_sets_it_and_the_frame_replaces_it(as_alice: Http) -> None:
    async with v2(await key_of("api:read api:write")) as socket:
        await send(socket, {"type": "hello", "workspace": SHOP})
        state = (await receive(socket))["snapshot"]
        assert (state["number"], state["workspace"]["name"], state["workspace"]["branch"]) == (1, "shop", "main")
        assert state["workspace"]["instructions"] == ["AGENTS.md"]
        await send(socket, {"type": "workspace", "workspace": {"name": "next"}, "ref": "a"})
        frames = sorted([await receive(socket) for _ in range(2)], key=lambda frame: frame["type"])
        assert frames[0] == {"type": "accepted", "ref": "a"}
        assert (frames[1]["kind"], frames[1]["number"]) == ("workspace_changed", 2)
        changed = frames[1]["payload"]
        assert changed == {"hash": changed["hash"], "name": "next", "system": "", "branch": "", "instructions": []}
        # The same again is answered, and is no event.
        await send(socket, {"type": "workspace", "workspace": {"name": "next"}, "ref": "b"})
        assert await receive(socket) == {"type": "accepted", "ref": "b"}
        await send(socket, {"type": "workspace", "ref": "c"})
        refused = await receive(socket)
        assert (refused["error_code"], refused["ref"]) == ("invalid_workspace", "c")
        await send(socket, {"type": "hello", "after": 0, "workspace": {"name": "next"}})
        assert (await receive(socket))["mode"] == "replay"
        assert [(await receive(socket))["payload"]["name"] for _ in range(2)] == ["shop", "next"]
    assert (await as_alice.ok("GET", PATH))["name"] == "next"


async def test_a_hello_that_is_refused_changes_nothing(as_alice: Http, alice: User) -> None:
    session = await opened(alice)
    files = [{"path": f"{number}.md", "text": "x" * 60_000} for number in range(4)]
    async with v2(await key_of("api:read api:write")) as socket:
        await send(socket, {"type": "hello", "tools": ["read_file"], "workspace": {"instructions": files}})
        assert (await receive(socket))["error_code"] == "invalid_workspace"
    await rows(session.refresh_from_db)
    assert (session.client_tools, session.last_number) == (None, 0)


async def test_a_key_that_only_reads_may_follow_and_not_say_where_it_works(as_alice: Http, alice: User) -> None:
    await opened(alice)
    key = await key_of("api:read")
    async with v2(key) as socket:
        await send(socket, {"type": "hello", "workspace": SHOP})
        assert (await receive(socket))["error_code"] == "insufficient_scope"
        await send(socket, {"type": "hello"})
        assert (await receive(socket))["snapshot"]["workspace"] is None
    response = await Caller(key).ask("PUT", PATH, SHOP)
    assert (response.status_code, response.json()["error_code"]) == (403, "insufficient_scope")
    assert (await Caller(key).ask("GET", PATH)).status_code == 200


async def test_a_client_without_hello_sees_nothing_new(as_alice: Http) -> None:
    async with Caller(await key_of("api:read api:write")).socket("/api/v1/ws/s") as socket:
        await send(socket, {"type": "switch_agent", "agent_type": "coder"})
        assert (await receive(socket))["type"] == "agent_switched"
        await as_alice.ok("PUT", PATH, SHOP)
        await send(socket, {"type": "workspace", "workspace": {"name": "by a frame"}})
        await send(socket, {"type": "switch_agent", "agent_type": "ask"})
        assert (await receive(socket))["to_agent"] == "ask", "nothing came before"
    assert (await as_alice.ok("GET", PATH))["name"] == "by a frame"
