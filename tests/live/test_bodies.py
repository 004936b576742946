"""Bodies beyond every limit: the service refuses them before it reads them, and other clients do not notice."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPResponse

import httpx
import pytest

from codelab.body_limits import MAX_BODY_BYTES, MAX_OPENAI_BODY_BYTES
from tests.live.service import Service
from tests.live.test_openai import key_of
from tests.live.test_slow_readers import memory_of

pytestmark = pytest.mark.live

PIECE = b"x" * 65536
#: MB by which the web process may grow: its own fluctuation, and one body of permitted size.
MAX_GROWTH_MIB = 64


@contextmanager
def asking(service: Service, path: str, *headers: str) -> Iterator[socket.socket]:
    """Send the head of a request."""
    head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers, "", ""])
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(head.encode())
        yield connection


def answer_of(connection: socket.socket) -> tuple[int, str]:
    """Read one answer. The caller checks whether the connection ends after it."""
    response = HTTPResponse(connection)
    response.begin()
    body = response.read().decode()
    assert response.getheader("Connection") == "close"
    return response.status, json.loads(body)["error_code"]


def everything_of(connection: socket.socket) -> bytes:
    """Read until the server closes or resets the connection."""
    found = b""
    with suppress(ConnectionError):
        while data := connection.recv(65536):
            found += data
    return found


def test_a_length_beyond_the_limit_is_refused_before_a_byte_is_sent(service: Service) -> None:
    with asking(service, "/api/v1/message", f"Content-Length: {10**10}") as connection:
        assert answer_of(connection) == (413, "body_too_large")


def test_an_oversized_body_with_expect_continue_is_refused_before_it_is_sent(service: Service) -> None:
    head = [f"Content-Length: {MAX_BODY_BYTES + 1}", "Expect: 100-continue"]
    with asking(service, "/nowhere", *head) as connection:
        assert everything_of(connection).startswith(b"HTTP/1.1 413 ")
    head[0] = "Content-Length: 2"
    with asking(service, "/api/v1/message", *head) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")


def test_an_endless_body_is_cut_off_while_others_are_served(service: Service) -> None:
    before, memory, sent = memory_of(service), [0.0], 0
    with asking(service, "/api/v1/message", "Transfer-Encoding: chunked") as connection:
        while not select.select([connection], [], [], 0)[0]:
            connection.sendall(b"10000\r\n" + PIECE + b"\r\n")
            sent += len(PIECE)
            # The kernel's buffers on both sides take more, before the client can read the answer.
            assert sent < 4 * MAX_BODY_BYTES
            if sent % 2**22 == 0:
                assert service.get("/live")[0] == 200
                memory.append(memory_of(service))
        assert answer_of(connection) == (413, "body_too_large")
        # The client keeps sending.
        with suppress(ConnectionError):
            for _ in range(1024):
                connection.sendall(b"10000\r\n" + PIECE + b"\r\n")
        memory.append(memory_of(service))
    assert sent > MAX_BODY_BYTES
    assert max(memory) - before < MAX_GROWTH_MIB


@pytest.mark.parametrize("head", [f"Content-Length: {MAX_BODY_BYTES + 1}", "Transfer-Encoding: chunked"])
def test_bytes_after_a_refused_body_are_not_a_request(service: Service, head: str) -> None:
    follower = b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    body = follower + b"x" * (MAX_BODY_BYTES + 1 - len(follower))
    if head.startswith("Transfer"):
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with asking(service, "/api/v1/message", head) as connection:
        with suppress(ConnectionError):
            connection.sendall(body + follower)
        found = everything_of(connection)
    assert found.startswith(b"HTTP/1.1 413 ")
    assert found.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_all_before_it_reads_sees_the_answer(service: Service, chunked: bool) -> None:
    size = 400
    pieces = (PIECE for _ in range(size))
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as http:
        refused = http.post("/api/v1/message", content=pieces if chunked else PIECE * size)
        assert (refused.status_code, refused.json()["error_code"]) == (413, "body_too_large")
        assert http.get("/live").status_code == 200


def padded(size: int) -> bytes:
    """Return a request of this many bytes for a model that does not exist."""
    head = b'{"model": "none", "messages": [{"role": "user", "content": "x"}], "padding": "'
    return head + b"x" * (size - len(head) - 2) + b'"}'


@pytest.mark.parametrize(
    ("size", "status", "code"),
    [
        (MAX_OPENAI_BODY_BYTES, 404, "model_not_found"),
        (MAX_OPENAI_BODY_BYTES + 1, 413, "body_too_large"),
        (MAX_BODY_BYTES + 1, 413, "body_too_large"),
    ],
)
def test_the_openai_api_takes_16_mib_and_refuses_more_with_its_own_error(
    service: Service, size: int, status: int, code: str
) -> None:
    headers = {"Authorization": f"Bearer {key_of(service, 'llm')}", "Content-Type": "application/json"}
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60, headers=headers) as http:
        answer = http.post("/v1/chat/completions", content=padded(size))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_form_is_not_parsed_before_its_sender_is_authenticated(service: Service) -> None:
    # Parsing millions of fields takes hundreds of MB and blocks other clients for seconds.
    form = b"".join(b"%x&" % i for i in range(MAX_OPENAI_BODY_BYTES // 8))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    def post() -> int:
        with httpx.Client(base_url=service.url, trust_env=False, timeout=60, headers=headers) as http:
            return http.post("/nowhere", content=form).status_code

    before, memory = memory_of(service), [0.0]
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(post)
        while not posting.done():
            memory.append(memory_of(service))
            time.sleep(0.02)
    assert posting.result() == 404
    assert max(memory) - before < MAX_GROWTH_MIB
