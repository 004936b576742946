"""What operators rely on: health, metrics, logs, documents, and a web process that stays small."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import websockets
from openapi_spec_validator import validate

from tests.live.service import ADMIN_PASSWORD, PROJECT, Service
from tests.neighbours.workers import wait_until
from tests.ports import free_port

pytestmark = pytest.mark.live


def test_health_names_every_dependency(service: Service) -> None:
    for path in ("/health", "/api/v1/health"):
        status, text = service.get(path)
        body = json.loads(text)
        assert status == 200
        assert {key: body[key] for key in ("status", "service")} == {"status": "healthy", "service": "gateway"}
        assert re.fullmatch(r"\d+\.\d+\.\d+", body["version"])
        assert body["checks"] == {"postgresql": "ok", "redis": "ok", "schema": "ok", "workers": "ok"}


def metric(service: Service, name: str) -> float:
    lines = [
        line for line in service.get("/metrics")[1].splitlines() if re.match(rf"{re.escape(name)}(\{{.*\}})? ", line)
    ]
    assert lines, f"no metric {name}"
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


async def test_metrics_count_what_web_and_worker_do(service: Service) -> None:
    before = metric(service, "messages_processed_total"), metric(service, "response_time_seconds_count")
    async with service.connect("/ws/metrics") as alice:
        await alice.say("/say one two three")
        await alice.until_final()
        await alice.say("/fail rate_limited")
        await alice.until_final()
        assert metric(service, "open_sockets") >= 1
    # The worker writes the counters when the turn has ended, a moment after its last frame.
    await asyncio.to_thread(wait_until, lambda: metric(service, "response_time_seconds_count") >= before[1] + 2)
    assert metric(service, "messages_processed_total") == before[0] + 2
    assert metric(service, "response_time_seconds_count") == before[1] + 2
    for name in (
        "turns_ended_total",
        "turns_open",
        "oldest_queued_turn_seconds",
        "workers_alive",
        "model_tokens_total",
        "first_token_seconds_count",
        "events_written_total",
        "django_http_requests_total_by_method_total",
    ):
        metric(service, name)
    labels = set(re.findall(r'[{,](\w+)="', service.get("/metrics")[1]))
    assert not labels & {"session", "session_id", "user", "user_id", "path", "key"}


@pytest.mark.parametrize(("base", "path"), [("/api/v1", "/api/v1/message"), ("/my", "/my/projects/")])
def test_the_rest_apis_describe_themselves(service: Service, base: str, path: str) -> None:
    status, text = service.get(f"{base}/openapi.json")
    document = json.loads(text)
    assert status == 200
    validate(document)
    assert path in document["paths"]
    status, page = service.get(f"{base}/docs")
    assert status == 200
    assert not re.search(r'(src|href)="(https?:)?//', page), "the page must not need the internet"


def test_the_socket_describes_itself(service: Service) -> None:
    assert json.loads(service.get("/api/v1/asyncapi.json")[1])["asyncapi"] == "3.0.0"


def test_the_protocol_documents_are_up_to_date(service: Service) -> None:
    service.manage("export_protocol", "--check")


def test_an_unknown_path_of_the_api_is_a_404_in_json(service: Service) -> None:
    status, text = service.get("/api/v1/nowhere")
    assert (status, json.loads(text)["error_code"]) == (404, "not_found")


def is_logged(service: Service, process: str, event: str, text: str) -> bool:
    """Return whether a process has logged an event with this text."""
    return any(f'"{event}"' in line and text in line for line in service.log_of(process).splitlines())


async def test_logs_carry_ids_and_no_text_of_messages(service: Service) -> None:
    async with service.connect("/ws/logged") as alice:
        await alice.say("/say canary-5f1c secret sk-abcdefgh12345678")
        turn_id = (await alice.until_final())[-1]["turn_id"]
    await asyncio.to_thread(wait_until, lambda: is_logged(service, "worker", "turn_completed", turn_id))
    logs = {name: service.log_of(name) for name in ("web", "worker", "beat")}
    assert not any("canary-5f1c" in text or "sk-abcdefgh" in text for text in logs.values())
    lines = [json.loads(line) for line in logs["worker"].splitlines() if turn_id in line]
    assert {"turn_started", "turn_completed"} <= {line["event"] for line in lines}
    assert all(line["session_id"] for line in lines if line["event"].startswith("turn_"))
    accepted = [json.loads(line) for line in logs["web"].splitlines() if '"message_accepted"' in line]
    assert all(line["session_id"] and line["user_id"] and line["request_id"] for line in accepted)
    assert any(line.get("socket_id") and line["session_key"] == "logged" for line in accepted)
    assert all(
        "request_id" in line for line in map(json.loads, logs["web"].splitlines()) if "request_finished" in str(line)
    )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/message", {"session_id": "traced", "message": "/say hi", "wait": True}),
        ("/v1/chat/completions", {"model": "scripted", "messages": [{"role": "user", "content": "/say hi"}]}),
    ],
)
def test_a_request_id_goes_from_the_caller_to_the_worker(service: Service, path: str, body: object) -> None:
    request_id = f"from-a-proxy-{uuid.uuid4()}"
    answer = httpx.post(service.url + path, json=body, headers={"X-Request-ID": request_id}, trust_env=False)
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (200, request_id)
    # The line is written after the answer.
    wait_until(lambda: is_logged(service, "web", "request_finished", request_id))
    lines = {name: [json.loads(each) for each in service.log_of(name).splitlines()] for name in ("web", "worker")}
    mine = {
        name: {line["event"]: line for line in lines[name] if line.get("request_id") == request_id} for name in lines
    }
    finished = mine["web"]["request_finished"]
    assert finished["turn_id"] == mine["worker"]["turn_started"]["turn_id"]
    assert finished["user_id"] == mine["worker"]["turn_started"]["user_id"]


def test_an_unusable_request_id_is_replaced(service: Service) -> None:
    for sent in ("", "a b", "x" * 200):
        answer = httpx.get(f"{service.url}/live", headers={"X-Request-ID": sent}, trust_env=False)
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["X-Request-ID"])


def test_probes_that_are_well_are_not_logged(service: Service) -> None:
    for path in ("/live", "/ready", "/health", "/metrics"):
        service.get(path)
    before = service.log_of("web").count("request_finished")
    for path in ("/live", "/ready", "/health", "/metrics"):
        assert service.get(path)[0] == 200
    assert service.log_of("web").count("request_finished") == before


def test_keys_and_passwords_of_urls_are_not_in_the_logs(service: Service) -> None:
    password = service.environment["DATABASE_URL"].split(":")[2].split("@")[0]
    broker = service.environment["REDIS_URL"].split(":")[2].split("@")[0]
    for name in ("web", "worker", "beat"):
        assert password not in service.log_of(name)
        assert broker not in service.log_of(name)


def test_the_web_process_never_loads_litellm(service: Service) -> None:
    # The running process, after all other tests have used it …
    maps = Path(f"/proc/{service.processes['web'].pid}/maps")
    if maps.exists():
        assert "litellm" not in maps.read_text()
        assert "tiktoken" not in maps.read_text()
    # … and a new one, which prints the names of its modules.
    program = (
        "import sys, codelab.asgi, codelab.urls, sessions.tasks; from django.urls import reverse; reverse('chat'); "
        "print([name for name in sys.modules if name.split('.')[0] in ('litellm', 'openai', 'tiktoken')])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PROJECT, env=service.environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_without_an_open_access_user_every_caller_has_to_sign_in(service: Service, tmp_path: Path) -> None:
    """Start a second web process on the same database, without an open access user."""
    closed = Service.__new__(Service)
    closed.__dict__.update(service.__dict__)
    closed.folder, closed.processes = tmp_path, {}
    closed.port = free_port()
    closed.url = f"http://127.0.0.1:{closed.port}"
    closed.environment = {**service.environment, "PORT": str(closed.port), "CODELAB_OPEN_ACCESS_USER": ""}
    closed.start("web")
    try:
        closed.wait_until_healthy()
        status, text = closed.post("/api/v1/message", {"session_id": "x", "message": "x"})
        assert (status, json.loads(text)["error_code"]) == (401, "not_signed_in")

        async def socket(cookie: str | None) -> dict[str, object]:
            headers = {"Cookie": cookie} if cookie else {}
            async with closed.connect("/ws/x", additional_headers=headers) as client:
                # The server closes an anonymous socket at once, and frames sent to it then are lost.
                with suppress(websockets.ConnectionClosed):
                    await client.say("/say in")
                return (await client.until_final())[-1]

        assert asyncio.run(socket(None))["error_code"] == "not_signed_in"
        assert asyncio.run(socket("sessionid=forged"))["error_code"] == "not_signed_in"
        assert asyncio.run(socket(f"sessionid={sign_in(closed)}"))["content"] == "in"
    finally:
        closed.stop("web")


def sign_in(service: Service) -> str:
    """Sign in as a browser does, through the admin's form; return the session cookie."""
    with httpx.Client(base_url=service.url, trust_env=False) as browser:
        page = browser.get("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        form = {"username": "admin", "password": ADMIN_PASSWORD, "csrfmiddlewaretoken": token[1], "next": "/"}
        browser.post("/admin/login/", data=form)
        return str(browser.cookies["sessionid"])


def test_flower_shows_jobs_only_with_the_password(service: Service) -> None:
    port = free_port()
    service.environment |= {"FLOWER_PORT": str(port), "FLOWER_PASSWORD": "a long password of flower"}
    service.start("flower")
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as browser:
            for _ in range(300):
                with suppress(httpx.TransportError):
                    browser.get("/healthcheck")
                    break
                time.sleep(0.1)
            # Flower leaves /healthcheck and /metrics open for probes; they show counts and names of tasks only.
            for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
                assert browser.get(path).status_code == 401, path
            assert browser.get("/", auth=("admin", "guess")).status_code == 401
            page = browser.get("/workers", auth=("admin", "a long password of flower"))
            assert page.status_code == 200
            assert "Flower" in page.text
    finally:
        service.stop("flower")
        del service.environment["FLOWER_PORT"], service.environment["FLOWER_PASSWORD"]


def test_flower_does_not_start_without_a_password(service: Service) -> None:
    command = [sys.executable, "-m", "codelab", "flower"]
    done = subprocess.run(
        command, check=False, cwd=PROJECT, env=service.environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert "FLOWER_PASSWORD" in done.stderr
    assert "Traceback" not in done.stderr
