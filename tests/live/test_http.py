"""What HTTP clients of every kind expect of any path: CORS, request ids, HEAD, OPTIONS, reasons in JSON."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import POSTGRES, REDIS
from tests.live.service import Service, running

pytestmark = pytest.mark.live

PAGE, PROGRAM, FOREIGN = "http://localhost:5173", "app://obsidian.md", "https://evil.example"
HELLO = {"model": "scripted", "messages": [{"role": "user", "content": "/say ok"}]}
STAINLESS = "authorization,content-type,x-stainless-os,x-stainless-arch,x-stainless-runtime,x-stainless-retry-count"


@pytest.fixture(scope="module")
def open_to_pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that pages of two other origins may use."""
    with running(
        tmp_path_factory.mktemp("origins"),
        postgres=POSTGRES,
        redis=REDIS,
        CODELAB_ALLOWED_ORIGINS=f"{PAGE.upper()},{PROGRAM}",
    ) as it:
        yield it


@pytest.fixture
def web(open_to_pages: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=open_to_pages.url, trust_env=False, timeout=30) as client:
        yield client


def preflight(web: httpx.Client, path: str, origin: str, method: str = "POST", headers: str = "") -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return web.options(path, headers=asked)


@pytest.mark.parametrize("origin", [PAGE, PROGRAM])
@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/v1/chat/completions", "POST", f"{STAINLESS},x-codelab-session,idempotency-key"),
        ("/v1/models", "GET", "authorization"),
        ("/v1/embeddings", "POST", "authorization, content-type"),
        ("/api/v1/sessions", "POST", "x-api-key,content-type"),
        ("/api/v1/sessions/a/b", "PATCH", "authorization,content-type"),
        ("/api/v1/rules/00000000-0000-7000-8000-000000000001", "DELETE", "authorization"),
        ("/my/projects/", "POST", "authorization"),
        ("/oauth/token", "POST", "authorization"),
        ("/.well-known/oauth-authorization-server", "GET", ""),
        ("/health", "GET", ""),
    ],
)
def test_a_preflight_is_answered_without_credentials(
    web: httpx.Client, origin: str, path: str, method: str, headers: str
) -> None:
    answer = preflight(web, path, origin, method, headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers.get("Access-Control-Allow-Headers", "") == headers
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/sessions", "/oauth/token", "/my/projects/"])
@pytest.mark.parametrize(
    "origin", [FOREIGN, "null", f"{PAGE}.evil.example", "http://localhost:5174", "https://localhost:5173", "*"]
)
def test_a_preflight_of_another_origin_is_refused(web: httpx.Client, path: str, origin: str) -> None:
    answer = preflight(web, path, origin)
    assert answer.status_code == 403
    assert "origin_not_allowed" in answer.text
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_preflight_repeats_names_of_headers_only(web: httpx.Client) -> None:
    for headers in ("a b", "x" * 5000, "x;y", "x:y"):
        answer = preflight(web, "/v1/models", PAGE, headers=headers)
        assert (answer.status_code, answer.headers.get("Access-Control-Allow-Headers")) == (204, None)


def assert_readable(answer: httpx.Response, origin: str = PAGE) -> None:
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "Origin" in answer.headers["Vary"]
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    assert {"retry-after", "x-should-retry", "x-request-id"} <= set(exposed.split(", "))
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    ("body", "status"),
    [(HELLO, 200), ({**HELLO, "stream": True}, 200), ({**HELLO, "model": "none"}, 404), ([], 400)],
    ids=["whole", "stream", "unknown model", "bad"],
)
def test_pages_of_an_allowed_origin_read_answers_streams_and_errors(web: httpx.Client, body: Any, status: int) -> None:
    answer = web.post("/v1/chat/completions", json=body, headers={"Origin": PAGE})
    assert answer.status_code == status
    assert_readable(answer)
    refused = web.post("/v1/chat/completions", json=body, headers={"Origin": FOREIGN})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert "Access-Control-Allow-Origin" not in refused.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/sessions", 200),
        ("GET", "/api/v1/sessions/none", 404),
        ("GET", "/api/v1/nowhere", 404),
        ("DELETE", "/v1/models", 405),
        ("POST", "/oauth/token", 422),
        ("GET", "/.well-known/jwks.json", 200),
        ("POST", "/chat/completions", 404),
    ],
)
def test_pages_of_an_allowed_origin_read_every_api(web: httpx.Client, method: str, path: str, status: int) -> None:
    answer = web.request(method, path, headers={"Origin": PROGRAM})
    assert answer.status_code == status
    assert_readable(answer, PROGRAM)


def test_pages_of_an_allowed_origin_read_what_the_web_server_refuses(open_to_pages: Service) -> None:
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nOrigin: " + PAGE + "\r\nX-Request-ID: mine\r\n"
    for host, rest, status in (
        ("127.0.0.1", "Content-Length: 99999999\r\n\r\n", b" 413 "),
        ("127.0.0.1", "X-Bad: a\x0bb\r\n\r\n", b" 400 "),
        ("evil.example", "Content-Length: 0\r\n\r\n", b" 400 "),
    ):
        answer = raw(open_to_pages, head.format(host=host) + rest)
        assert status in answer.partition(b"\r\n")[0]
        assert f"access-control-allow-origin: {PAGE}".encode() in answer.lower()
        assert b"x-request-id: mine" in answer.lower()
        assert b'{"error": {"message": "' in answer


def raw(service: Service, request: str) -> bytes:
    """Return what the server sends until it closes, or says nothing more for a second."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(request.encode("latin-1"))
        received = b""
        try:
            while more := connection.recv(65536):
                received += more
                connection.settimeout(1)
        except TimeoutError:
            pass
        return received


def test_answers_to_programs_vary_by_origin_and_pages_of_ours_do_not(web: httpx.Client) -> None:
    answer = web.get("/.well-known/jwks.json")
    assert answer.headers["Vary"] == "Origin"
    for path in ("/", "/login", "/static/sessions/icon.svg"):
        assert "Access-Control-Allow-Origin" not in web.get(path, headers={"Origin": PAGE}).headers


def test_without_allowed_origins_nothing_is_allowed(service: Service) -> None:
    with httpx.Client(base_url=service.url, trust_env=False) as web:
        assert preflight(web, "/v1/models", PAGE).status_code == 403
        answer = web.get("/v1/models")
        assert (answer.status_code, "Vary" in answer.headers) == (200, False)


# Request ids


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/none"),
        ("GET", "/v1/nothing"),
        ("PUT", "/v1/models"),
        ("OPTIONS", "/v1/models"),
        ("HEAD", "/v1/models"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/oauth/token"),
        ("GET", "/.well-known/jwks.json"),
        ("GET", "/nowhere"),
        ("GET", "/"),
        ("GET", "/static/sessions/icon.svg"),
        ("GET", "/admin/"),
        ("GET", "/health"),
        ("GET", "/metrics"),
    ],
)
def test_every_answer_has_a_request_id(web: httpx.Client, method: str, path: str) -> None:
    mine = f"mine-{uuid.uuid4()}"
    assert web.request(method, path, headers={"X-Request-ID": mine}).headers["X-Request-ID"] == mine
    assert uuid.UUID(web.request(method, path).headers["X-Request-ID"])
    assert uuid.UUID(web.request(method, path, headers={"X-Request-ID": "no id"}).headers["X-Request-ID"])


def test_a_stream_has_a_request_id(web: httpx.Client) -> None:
    with web.stream("POST", "/v1/chat/completions", json={**HELLO, "stream": True}) as answer:
        assert answer.headers["X-Request-ID"]


# Methods and paths


@pytest.mark.parametrize(
    "path",
    ["/v1/models", "/v1/models/scripted", "/api/v1/sessions", "/health", "/live", "/.well-known/jwks.json", "/v1/none"],
)
def test_head_is_get_without_a_body(web: httpx.Client, path: str) -> None:
    head, get = web.head(path), web.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_head_of_a_stream_ends(web: httpx.Client, open_to_pages: Service) -> None:
    assert web.post("/api/v1/sessions", json={"session_id": "headed"}).status_code == 200
    path, accept = "/api/v1/sessions/headed/events", {"Accept": "text/event-stream"}
    answer = web.head(path, headers=accept)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream")
    # The connection is free for another request at once.
    assert web.get(path).status_code == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/chat/completions", "OPTIONS, POST"),
        ("/api/v1/sessions", "GET, HEAD, OPTIONS, POST"),
        ("/oauth/token", "OPTIONS, POST"),
    ],
)
def test_options_and_wrong_methods_are_told_the_right_ones(web: httpx.Client, path: str, allowed: str) -> None:
    answer = web.options(path)
    assert (answer.status_code, answer.headers["Allow"]) == (204, allowed)
    answer = web.put(path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert allowed in answer.text
    assert answer.json()["error"]
    assert answer.json().get("error_code", "method_not_allowed") == "method_not_allowed"


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        "/models",
        "/models/gpt-5",
        "/completions",
        "/embeddings",
        "/responses",
        "/v1",
        "/v1/v1/chat/completions",
        "/v1/v1/models",
        "/openai/v1/chat/completions",
        "/openai/deployments/gpt-5/chat/completions",
        "/api/v1/chat/completions",
        "/api/chat/completions",
        "/engines/davinci/completions",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_base_url_is_explained(web: httpx.Client, method: str, path: str) -> None:
    answer = web.request(method, path, headers={"Accept": "text/html" if method == "GET" else "*/*"})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "not_found")
    assert "the base URL of a client ends with /v1" in error["message"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/audio/speech", "/v1/files", "/v1/", "/v1/models/"])
def test_an_endpoint_that_does_not_exist_names_those_that_do(web: httpx.Client, path: str) -> None:
    answer = web.post(path, json={})
    assert answer.status_code in (404, 405)
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert "POST /v1/chat/completions" in error["message"] or "GET, HEAD" in error["message"]


def test_other_unknown_paths_are_pages_for_browsers_only(web: httpx.Client) -> None:
    answer = web.get("/nowhere")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "not_found")
    answer = web.get("/nowhere", headers={"Accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_every_status_has_its_reason(web: httpx.Client) -> None:
    answer = web.post("/oauth/token")
    assert (answer.status_code, answer.reason_phrase) in {(422, "Unprocessable Content"), (422, "Unprocessable Entity")}
