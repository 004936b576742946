"""Cases of requests to the OpenAI-compatible API."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.cases.files import Json, Script, cases, script
from tests.cases.player import Answer, client_of, post
from tests.cases.providers import Providers
from tests.cases.streams import words
from tests.live.service import Service

pytestmark = pytest.mark.live

CASES = cases("door")
SAYS_OK = [name for name in CASES if name.startswith(("door-broken-", "door-null-"))]
EVIL = "https://evil.example"


def play(service: Service, body: Json, *, headers: dict[str, str] | None = None) -> Answer:
    async def ask() -> Answer:
        async with client_of(service) as http:
            return await post(http, body, headers=headers)

    return asyncio.run(ask())


def assert_ok(service: Service, body: Json) -> None:
    """Check the answer "ok", whole and streamed; a body that names one of these is sent in that way alone."""
    for stream in [body["stream"]] if body.get("stream") else (False, True):
        answer = play(service, body | ({"stream": True} if stream else {}))
        assert (answer.status, answer.error, answer.text, answer.reason) == (200, None, "ok", "stop"), stream


def received(service: Service, providers: Providers, body: Json) -> Script:
    """Return a provider that got a body from its model."""
    provider = providers.add(script({"replies": [words("ok", "stop")]}))
    for stream in (False, True):
        answer = play(service, body | {"model": f"{provider.name}/fake", "stream": stream})
        assert (answer.status, answer.text) == (200, "ok")
    assert len(provider.requests) == 2
    return provider


@pytest.mark.parametrize("case_id", ["call-without-text-door"])
def test_call_without_text(case_id: str, case_service: Service, providers: Providers) -> None:
    for request in received(case_service, providers, CASES[case_id]["input"]).requests:
        assert request["messages"][1]["tool_calls"]
        assert request["messages"][1]["content"] is None


@pytest.mark.parametrize("case_id", SAYS_OK)
def test_says_ok(case_id: str, case_service: Service) -> None:
    assert_ok(case_service, CASES[case_id]["input"])


@pytest.mark.parametrize("case_id", [name for name in SAYS_OK if name.startswith("door-broken-")])
def test_a_provider_gets_arguments_that_are_an_object(
    case_id: str, case_service: Service, providers: Providers
) -> None:
    for request in received(case_service, providers, CASES[case_id]["input"]).requests:
        (call,) = request["messages"][1]["tool_calls"]
        assert isinstance(json.loads(call["function"]["arguments"]), dict)


KEPT = [
    pytest.param(kept["input"], id=f"{name} {place}")
    for name in SAYS_OK
    for place, kept in enumerate(CASES[name].get("keep", ()))
]


@pytest.mark.parametrize("body", KEPT)
def test_near_inputs_stay_right(body: Json, case_service: Service) -> None:
    assert_ok(case_service, body)


@pytest.mark.parametrize("case_id", ["door-session-name-not-ascii"])
def test_session_name(case_id: str, case_service: Service) -> None:
    given = CASES[case_id]["input"]
    _, path, body = given["made_first"].split(" ", 2)
    status, text = case_service.post(path, json.loads(body))
    assert status in (200, 201), text
    spelled = [header["X-CodeLab-Session"].removesuffix(" (raw UTF-8)").encode() for header in given["headers"]]
    with httpx.Client(base_url=case_service.url, trust_env=False, timeout=30) as http:
        found = [
            http.post("/v1/chat/completions", json=given["body"], headers={b"X-CodeLab-Session": name})
            for name in spelled
        ]
    assert "ok" in [each.json()["choices"][0]["message"]["content"] for each in found if each.status_code == 200]


@pytest.mark.parametrize("case_id", ["cors-answers"])
def test_cors_answers(case_id: str, case_service: Service) -> None:
    given = CASES[case_id]["input"]
    found = [play(case_service, body, headers=given["headers"]) for body in given["bodies"]]
    assert [each.status for each in found] == [200, 200, 404]
    assert [each.text for each in found] == ["ok", "ok", ""]
    for each in found:
        assert each.headers.get("access-control-allow-origin") == "http://localhost:5173"
        assert "origin" in each.headers.get("vary", "").lower()
        exposed = each.headers.get("access-control-expose-headers", "").lower()
        assert "retry-after" in exposed
        assert "x-should-retry" in exposed


def test_answers_for_another_origin_stay_refused(case_service: Service) -> None:
    for body in CASES["cors-answers"]["input"]["bodies"]:
        answer = play(case_service, body, headers={"Origin": EVIL})
        assert answer.status == 403
        assert answer.error is not None
        assert answer.error["code"] == "origin_not_allowed"
        assert "access-control-allow-origin" not in answer.headers


def exchange(service: Service, request: str) -> tuple[int, dict[str, str]]:
    """Send a request as it is; return the status and the headers of the answer."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=60) as connection:
        connection.sendall(request.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}").encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    first, *lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(first.split()[1]), {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }


def preflights() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the requests of the case, and the like for the REST API, each with its headers."""
    for raw in CASES["cors-preflight"]["input"]["raw"]:
        for path in ("/v1/chat/completions", "/v1/models"):
            for also in (path, "/api/v1/sessions", "/api/v1/sessions/mine"):
                changed = raw.replace(f"OPTIONS {path} ", f"OPTIONS {also} ")
                if changed != raw or also == path:
                    yield changed, dict(line.split(": ", 1) for line in raw.split("\r\n")[1:-2])


@pytest.mark.parametrize("case_id", ["cors-preflight"])
def test_cors_preflight(case_id: str, case_service: Service) -> None:
    for request, asked in preflights():
        status, headers = exchange(case_service, request)
        assert status in (200, 204), request
        assert headers["access-control-allow-origin"] == asked["Origin"]
        assert asked["Access-Control-Request-Method"] in headers["access-control-allow-methods"]
        allowed = {name.strip().lower() for name in headers["access-control-allow-headers"].split(",")}
        assert set(asked["Access-Control-Request-Headers"].split(",")) <= allowed


def test_preflights_of_another_origin_stay_refused(case_service: Service) -> None:
    for request, asked in preflights():
        _, headers = exchange(case_service, request.replace(asked["Origin"], EVIL))
        assert "access-control-allow-origin" not in headers, request
