"""Bad input over a real socket gets an answer with a code, and the socket stays open."""

from __future__ import annotations

import json
import urllib.parse

import pytest
import websockets

from tests.live.service import Service, Socket
from tests.sessions.protocol.test_protocol import BAD

pytestmark = pytest.mark.live


async def assert_alive(client: Socket) -> None:
    await client.say("/say alive")
    assert (await client.until_final())[-1]["content"] == "alive"


async def test_every_bad_frame_is_answered_and_the_socket_lives_on(service: Service) -> None:
    async with service.connect("/ws/bad") as client:
        for text, code in BAD:
            await client.send(text)
            frame = await client.receive()
            assert (frame["type"], frame["error_code"]) == ("error", code), text[:80]
            assert frame["content"] == frame["error"]
            assert "is_final" not in frame
        for data in (b"", b"\x00\xff", b'{"type": "user_message", "content": "Hi"}'):
            await client.send(data)
            assert (await client.receive())["error_code"] == "binary_frame"
        await assert_alive(client)


async def test_a_frame_beyond_the_servers_own_limit_ends_the_socket_with_1009(service: Service) -> None:
    async with service.connect("/ws/huge") as client:
        await client.send("x" * 1_000_000)
        assert (await client.receive())["error_code"] == "frame_too_large"
        await assert_alive(client)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.send("x" * (1024 * 1024 + 1))
            await client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("key", ["k" * 129, "%00", "a%00b"])
async def test_an_invalid_session_name_is_reported_and_closes_the_socket(service: Service, key: str) -> None:
    async with service.connect(f"/ws/{key}") as client:
        assert (await client.receive())["error_code"] == "invalid_session_key"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4404


@pytest.mark.parametrize(
    "key", ["k" * 128, "a/b/c", "%D0%BA%D0%BB%D1%8E%D1%87", "a%20b", "..", "<script>", "session.1"]
)
async def test_a_client_may_choose_any_other_name(service: Service, key: str) -> None:
    async with service.connect(f"/ws/{key}") as client:
        await assert_alive(client)


async def test_a_page_of_a_foreign_origin_is_refused(service: Service) -> None:
    for origin in ("https://evil.example", f"http://127.0.0.1:{service.port + 1}", "null"):
        async with service.connect("/ws/origin", origin=origin) as client:
            assert (await client.receive())["error_code"] == "origin_not_allowed"
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4403
        status, text = service.post("/api/v1/message", {"session_id": "x", "message": "x"}, Origin=origin)
        assert (status, json.loads(text)["error_code"]) == (403, "origin_not_allowed")
    async with service.connect("/ws/origin", origin=service.url) as client:
        await assert_alive(client)


async def test_a_foreign_host_name_is_not_an_allowed_origin(service: Service) -> None:
    host = f"evil.example:{service.port}"
    headers = {"Host": host}
    async with service.connect("/ws/rebound", origin=f"http://{host}", additional_headers=headers) as client:
        assert (await client.receive())["error_code"] == "origin_not_allowed"


async def test_an_unknown_path_is_refused_before_it_opens(service: Service) -> None:
    for path in ("/", "/nowhere", "/ws/", "/api/v1/ws/"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with service.connect(path):
                pass
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_field"),
        ({"session_id": "x"}, 400, "invalid_field"),
        ({"session_id": "", "message": "x"}, 400, "invalid_field"),
        ({"session_id": "x" * 129, "message": "x"}, 400, "invalid_field"),
        ({"session_id": "x", "message": ""}, 400, "invalid_field"),
        ({"session_id": "x", "message": 5}, 400, "invalid_field"),
        ({"session_id": "x", "message": "a\x00b"}, 400, "invalid_text"),
        ({"session_id": "x", "message": "a\ud800b"}, 400, "invalid_json"),
        ({"session_id": "x", "message": "x", "wait": True, "timeout": -1}, 400, "invalid_field"),
        ({"session_id": "x", "message": " \n "}, 400, "empty_message"),
        ({"session_id": "x", "message": "x", "client_message_id": "i" * 129}, 400, "invalid_field"),
        ({"session_id": "x", "message": "x" * (2 * 1024 * 1024)}, 413, "body_too_large"),
        ([], 400, "invalid_field"),
        ("x", 400, "invalid_field"),
    ],
)
def test_a_bad_body_is_a_4xx_with_a_code(service: Service, body: object, status: int, code: str) -> None:
    got, text = service.post("/api/v1/message", body)
    assert (got, json.loads(text)["error_code"]) == (status, code)


def test_a_broken_header_or_parameter_is_not_a_server_error(service: Service) -> None:
    body = {"session_id": "x", "message": "x"}
    for origin in ("http://[", "://", "x", "http://[::1"):
        assert service.post("/api/v1/message", body, Origin=origin)[0] == 403
    for path in ("/api/v1/sessions?limit=abc", "/api/v1/sessions/bad/events?after=x"):
        status, text = service.get(path)
        assert (status, json.loads(text)["error_code"]) == (400, "invalid_field")
        assert "`limit`" in text or "`after`" in text


# Each case has its own names, because all tests share the service and its sessions.
@pytest.mark.parametrize("key", ["rest/b", "rest/b/history", "%D0%BA/rest", "events", "rest b"])
def test_a_session_with_any_name_can_be_read(service: Service, key: str) -> None:
    name = urllib.parse.unquote(key)
    assert service.post("/api/v1/message", {"session_id": name, "message": "/say x", "wait": True})[0] == 200
    path = f"/api/v1/sessions/{urllib.parse.quote(name)}"
    assert json.loads(service.get(f"{path}/history")[1])["message_count"] == 2
    assert json.loads(service.get(f"{path}/events")[1])["last_number"] > 4
    if not name.endswith("/history"):
        assert json.loads(service.get(path)[1])["id"] == name


def test_a_foreign_session_looks_like_a_missing_one(service: Service) -> None:
    service.rows(
        "INSERT INTO agent_sessions_session "
        "(id, owner_id, key, title, current_agent, last_number, created_at, updated_at)"
        " SELECT gen_random_uuid(), id, 'bobs', '', 'universal', 0, now(), now() FROM auth_user WHERE username = 'bob'"
        " RETURNING id"
    )
    for path in ("/api/v1/sessions/{}", "/api/v1/sessions/{}/history"):
        foreign, missing = service.get(path.format("bobs")), service.get(path.format("none"))
        assert foreign[0] == missing[0] == 404
        assert foreign[1].replace("bobs", "none") == missing[1]
    assert "bobs" not in service.get("/api/v1/sessions")[1]


async def test_handler_names_and_odd_text_are_only_text(service: Service) -> None:
    async with service.connect("/ws/odd") as client:
        for text in (
            "websocket.disconnect",
            "session.events",
            "\u202e\ufeff\u0007",
            "'; DROP TABLE x; --",
            "{{ 7*7 }}",
        ):
            await client.say(f"/say {text}")
            assert (await client.until_final())[-1]["content"] == text
