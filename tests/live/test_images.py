"""Images from a client to a model: uploaded, attached over each API, and downloaded again."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from sessions.protocol.codes import MAX_IMAGE_BYTES
from tests.conftest import POSTGRES, REDIS
from tests.live.provider import Provider
from tests.live.service import Service, running

pytestmark = pytest.mark.live

PNG = b"\x89PNG\r\n\x1a\n" + bytes(300_000)
URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Service]:
    """The service with a model that takes images."""
    with running(
        tmp_path_factory.mktemp("seeing"),
        postgres=POSTGRES,
        redis=REDIS,
        CODELAB_MODEL="openai/gpt-5-mini",
        CODELAB_AGENTS="single",
        OPENAI_API_BASE=provider.url,
    ) as it:
        yield it


@pytest.fixture
async def http(seeing: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=seeing.url, trust_env=False, timeout=60) as it:
        yield it


async def upload(http: httpx.AsyncClient, key: str, data: bytes = PNG) -> dict[str, Any]:
    answer = await http.post(f"/api/v1/sessions/{key}/images", content=data)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def asked(provider: Provider, text: str) -> Any:
    """Return the user's message with this text as the provider received it."""
    sent = [message for request in provider.requests for message in request.get("messages", ())]
    return next(message["content"] for message in sent if message["role"] == "user" and text in str(message["content"]))


async def test_an_image_reaches_the_model_over_the_socket(
    seeing: Service, http: httpx.AsyncClient, provider: Provider
) -> None:
    image = await upload(http, "socket/one")
    assert (image["media_type"], image["bytes"]) == ("image/png", len(PNG))
    assert await upload(http, "socket/one") == image
    async with seeing.connect("/ws/socket/one", subprotocols=["codelab.v2"]) as client:
        await client.send({"type": "hello"})
        await client.receive()
        await client.say("See the socket? tokens=3", images=[image["image_id"]])
        frames = [await client.receive()]
        while frames[-1].get("kind") != "turn_completed":
            frames.append(await client.receive())
    (added,) = [
        frame for frame in frames if frame.get("kind") == "message_added" and frame["payload"]["role"] == "user"
    ]
    assert added["payload"]["images"] == [image]
    assert asked(provider, "the socket") == [
        {"type": "text", "text": "See the socket? tokens=3"},
        {"type": "image_url", "image_url": {"url": URL}},
    ]
    history = (await http.get("/api/v1/sessions/socket/one/history")).json()
    assert history["messages"][0]["images"] == [image]
    got = await http.get(f"/api/v1/sessions/socket/one/images/{image['image_id']}")
    assert (got.content, got.headers["content-type"]) == (PNG, "image/png")
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in got.headers["cache-control"]


async def test_an_image_reaches_the_model_over_rest(http: httpx.AsyncClient, provider: Provider) -> None:
    image = await upload(http, "rest")
    body = {"session_id": "rest", "message": "See REST? tokens=3", "images": [image["image_id"]], "wait": True}
    answer = (await http.post("/api/v1/message", json=body)).json()
    assert answer["answer"]["content"] == "w0 w1 w2 "
    assert asked(provider, "REST?")[1]["image_url"]["url"] == URL


async def test_an_image_reaches_a_session_through_the_openai_api(http: httpx.AsyncClient, provider: Provider) -> None:
    assert (await http.post("/api/v1/sessions", json={"session_id": "door"})).status_code == 200
    parts: list[Any] = [
        {"type": "text", "text": "See the door? tokens=3"},
        {"type": "image_url", "image_url": {"url": URL}},
    ]
    body: dict[str, Any] = {"model": "codelab/coder", "messages": [{"role": "user", "content": parts}]}
    headers = {"X-CodeLab-Session": "door"}
    answer = (await http.post("/v1/chat/completions", json=body, headers=headers)).json()
    assert answer["choices"][0]["message"]["content"] == "w0 w1 w2 "
    assert asked(provider, "the door") == parts
    for url, said in (
        ("https://example.org/a.png", "send them as data"),
        ("data:image/png;base64,AAAA", "Unsupported image type. Use PNG, JPEG, GIF or WebP"),
        ("data:image/png;base64,AAAAA", "not base64"),
    ):
        parts[1]["image_url"] = {"url": url}
        refused = await http.post("/v1/chat/completions", json=body, headers=headers)
        assert refused.status_code == 400
        assert said in refused.json()["error"]["message"]
    assert len((await http.get("/api/v1/sessions/door/history")).json()["messages"]) == 2


async def test_every_user_message_after_the_last_answer_counts(http: httpx.AsyncClient, provider: Provider) -> None:
    key = "behind"
    assert (await http.post("/api/v1/sessions", json={"session_id": key})).status_code == 200
    shown = [f"data:image/png;base64,{base64.b64encode(PNG[:8] + bytes([i])).decode()}" for i in range(3)]
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in shown]
    messages = [
        {"role": "user", "content": "An old one."},
        {"role": "assistant", "content": "And its answer."},
        {"role": "user", "content": [{"type": "text", "text": "First of all"}, *pictures[:2]]},
        {"role": "system", "content": "Not said by the user."},
        {"role": "user", "content": [pictures[2], {"type": "text", "text": "and at last tokens=3"}]},
    ]
    body = {"model": "codelab/coder", "messages": messages}
    answer = (await http.post("/v1/chat/completions", json=body, headers={"X-CodeLab-Session": key})).json()
    assert answer["choices"][0]["message"]["content"] == "w0 w1 w2 "
    text = "First of all\n\nand at last tokens=3"
    assert asked(provider, "First of all") == [{"type": "text", "text": text}, *pictures]
    history = (await http.get(f"/api/v1/sessions/{key}/history")).json()["messages"]
    assert [(message["role"], message["content"]) for message in history] == [
        ("user", text),
        ("assistant", "w0 w1 w2 "),
    ]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://example.org/a.png", "invalid_field"),
        ("data:image/png;base64,AAAAA", "invalid_image"),
        ("data:image/png;base64,AAAA", "invalid_image"),
        (f"data:image/png;base64,{base64.b64encode(PNG + bytes(MAX_IMAGE_BYTES)).decode()}", "image_too_large"),
    ],
)
async def test_a_refused_image_does_not_continue_the_turn(http: httpx.AsyncClient, url: str, code: str) -> None:
    key = f"unmoved-{code}-{len(url)}"
    assert (await http.post("/api/v1/sessions", json={"session_id": key})).status_code == 200
    tool = {"type": "function", "function": {"name": "read_file"}}
    messages: list[Any] = [{"role": "user", "content": "call=read_file tokens=1"}]
    body: dict[str, Any] = {"model": "codelab/coder", "messages": messages, "tools": [tool]}
    headers = {"X-CodeLab-Session": key}
    answer = (await http.post("/v1/chat/completions", json=body, headers=headers)).json()
    said = answer["choices"][0]["message"]
    (call,) = said["tool_calls"]
    messages += [
        said,
        {"role": "tool", "tool_call_id": call["id"], "content": "It is empty."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": url}}],
        },
    ]
    refused = await http.post("/v1/chat/completions", json=body, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    history = (await http.get(f"/api/v1/sessions/{key}/history")).json()["messages"]
    assert [message["role"] for message in history] == ["user", "assistant"]


async def test_invalid_images_leave_nothing_behind_and_the_socket_open(
    seeing: Service, http: httpx.AsyncClient
) -> None:
    for data, status, code in (
        (b"<svg/>", 400, "invalid_image"),
        (b"", 400, "invalid_image"),
        (PNG + bytes(MAX_IMAGE_BYTES), 413, "image_too_large"),
    ):
        answer = await http.post("/api/v1/sessions/bad/images", content=data)
        assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert (await http.get("/api/v1/sessions/bad")).status_code == 404, "a refused image must leave nothing behind"
    assert (await http.post("/api/v1/sessions", json={"session_id": "bad"})).status_code == 200
    missing = "00000000-0000-7000-8000-000000000000"
    assert (await http.get(f"/api/v1/sessions/bad/images/{missing}")).json()["error_code"] == "image_not_found"
    rest = await http.post("/api/v1/message", json={"session_id": "bad", "message": "x", "images": [missing]})
    assert (rest.status_code, rest.json()["error_code"]) == (409, "image_not_found")
    async with seeing.connect("/ws/bad") as client:
        for wanted, code in (
            ([missing], "image_not_found"),
            (["x"], "invalid_field"),
            ([URL[:1000]], "invalid_field"),
            ([URL], "frame_too_large"),
            ([missing] * 9, "invalid_field"),
            ("x", "invalid_field"),
        ):
            await client.say("x", images=wanted)
            assert (await client.receive())["error_code"] == code
        await client.say("Still here? tokens=2")
        assert (await client.until_final())[-1]["content"] == "w0 w1 "


async def test_a_model_without_image_input_is_told_about_images(provided_service: Service, provider: Provider) -> None:
    async with httpx.AsyncClient(base_url=provided_service.url, trust_env=False, timeout=60) as http:
        image = await upload(http, "blind")
        body = {"session_id": "blind", "message": "See nothing? tokens=3", "images": [image["image_id"]], "wait": True}
        assert (await http.post("/api/v1/message", json=body)).json()["status"] == "completed"
    assert "1 of 1 images left out" in asked(provider, "See nothing")
