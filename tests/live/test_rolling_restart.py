"""A rolling restart of three web and two worker processes behind the documented nginx, while clients stream."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.live.service import PROJECT, Service
from tests.ports import free_port
from tests.servers import redis_database

pytestmark = [
    pytest.mark.live,
    # Five processes end and start one after another.
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed"),
]

WEBS, WORKERS, CLIENTS = 3, 2, 6
#: Three seconds of text.
TOKENS, RATE = 60, 20
#: Clients may see nothing for a second while webs restart, and for three while workers do. Other tests may run on the
#: same processors, so the limits here are wider; what goes wrong without `max_fails=0` is 20 seconds.
MAX_WEB_SILENCE_SECONDS, MAX_WORKER_SILENCE_SECONDS = 8.0, 10.0


@dataclass
class Seen:
    """What all clients saw in one part of the run."""

    counts: Counter[str] = field(default_factory=Counter)
    worst_silence: float = 0.0


class Fleet:
    """Several web and worker processes of one service, and nginx before them."""

    def __init__(self, folder: Path, redis: str) -> None:
        settings = {f"CODELAB_LIMIT_{name}": "off" for name in ("SIGN_INS", "CONNECTIONS", "MESSAGES", "TURNS")}
        # Longer than a turn.
        settings["CODELAB_WORKER_GRACE_SECONDS"] = "30"
        self.service = Service(folder, postgres=os.environ["DATABASE_URL"], redis=redis, **settings)
        self.folder = folder
        self.ports = {f"web{number}": free_port() for number in range(WEBS)}
        self.names = [*self.ports, *(f"worker{number}" for number in range(WORKERS))]
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        environment = {**self.service.environment, "PORT": str(self.ports.get(name, 0) or self.service.port)}
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "codelab", name.rstrip("0123456789")]
            self.processes[name] = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)

    def start_proxy(self) -> None:
        """Start nginx with the configuration of the documentation, but without TLS and with our ports."""
        text = (PROJECT / "docs/deployment.md").read_text(encoding="utf-8")
        (block,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
        block = block[: block.rindex("server {")]
        block = re.sub(r"ssl_certificate.*;\n", "", block).replace("listen 443 ssl;", f"listen 127.0.0.1:{self.port};")
        for documented, port in zip((8000, 8001, 8002), self.ports.values(), strict=True):
            block = block.replace(f"127.0.0.1:{documented} ", f"127.0.0.1:{port} ")
        folders = "".join(f"{name}_temp_path {name}; " for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
        head = "pid pid; error_log error.log; daemon off; events {}"
        http = f"access_log access.log; client_body_temp_path body; {folders}\n{block}"
        (self.folder / "nginx.conf").write_text(f"{head} http {{ {http} }}\n")
        command = ["nginx", "-p", str(self.folder), "-e", "error.log", "-c", "nginx.conf"]
        self.processes["nginx"] = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            process.kill()
            raise

    def is_ready(self, name: str) -> bool:
        if name in self.ports:
            try:
                return httpx.get(f"http://127.0.0.1:{self.ports[name]}/ready", timeout=5).status_code == 200
            except httpx.HTTPError:
                return False
        pid = self.processes[name].pid
        return bool(self.service.rows("SELECT 1 FROM agent_sessions_worker WHERE name ~ %s", f"-{pid}(-|$)"))

    async def wait_until_ready(self, *names: str) -> None:
        deadline = time.monotonic() + 240
        for name in names:
            while not await asyncio.to_thread(self.is_ready, name):
                assert time.monotonic() < deadline, (self.folder / f"{name}.log").read_text()[-2000:]
                await asyncio.sleep(0.1)

    async def restart(self, name: str) -> None:
        await asyncio.to_thread(self.stop, name)
        self.start(name)
        await self.wait_until_ready(name)

    def statuses(self) -> Counter[str]:
        """Count the answers of nginx by their status."""
        return Counter(re.findall(r'" (\d{3}) ', (self.folder / "access.log").read_text()))


@contextmanager
def fleet_in(folder: Path) -> Iterator[Fleet]:
    with redis_database() as redis:
        fleet = Fleet(folder, redis)
        try:
            for name in fleet.names:
                fleet.start(name)
            fleet.start_proxy()
            yield fleet
        finally:
            for process in fleet.processes.values():
                process.terminate()
            for process in fleet.processes.values():
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


class Client:
    """One user's program: a session after another turn by turn, by events, back with its last number after a close."""

    def __init__(self, fleet: Fleet, token: str) -> None:
        self.url = f"{fleet.url.replace('http', 'ws', 1)}/ws/rolling-{uuid.uuid4().hex}"
        self.headers = {"Authorization": f"Bearer {token}"}
        self.seen = Seen()
        self.ends = False
        self.number = 0
        self.unacknowledged: dict[str, Any] | None = None
        self.texts: dict[str, str] | None = None
        self.last_at = 0.0

    async def run(self) -> None:
        """Send turns until `ends`."""
        while not (self.ends and self.texts is None):
            try:
                options = {"subprotocols": ["codelab.v2"], "additional_headers": self.headers, "proxy": None}
                async with websockets.connect(self.url, open_timeout=60, **options) as socket:  # type: ignore[arg-type]
                    await self._follow(socket)
            except (websockets.WebSocketException, OSError, TimeoutError) as error:
                self.seen.counts[f"closed: {getattr(getattr(error, 'rcvd', None), 'code', None) or error}"[:60]] += 1
                # As clients do after a close with 1012: not all in the same moment.
                await asyncio.sleep(0.1)

    async def _follow(self, socket: websockets.ClientConnection) -> None:
        await socket.send(json.dumps({"type": "hello", "after": self.number, "tools": []}))
        if self.unacknowledged:
            await socket.send(json.dumps(self.unacknowledged))
        while True:
            if self.texts is None:
                if self.ends:
                    return
                content = f"/tokens {TOKENS} {RATE}"
                self.texts, self.last_at = {}, time.monotonic()
                self.unacknowledged = {
                    "type": "user_message",
                    "content": content,
                    "client_message_id": uuid.uuid4().hex,
                }
                await socket.send(json.dumps(self.unacknowledged))
            self._take(json.loads(await asyncio.wait_for(socket.recv(), 60)))

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "accepted":
            self.unacknowledged = None
        elif frame["type"] == "error":
            self.seen.counts[f"error: {frame['error_code']}"] += 1
            raise TimeoutError("refused")
        elif frame["type"] == "event":
            self._take_event(frame["kind"], frame["payload"], frame.get("first", frame["number"]), frame["number"])

    def _take_event(self, kind: str, payload: dict[str, Any], first: int, number: int) -> None:
        self.seen.counts["gaps"] += first != self.number + 1
        self.number = number
        if self.texts is None:
            return
        now = time.monotonic()
        self.seen.worst_silence, self.last_at = max(self.seen.worst_silence, now - self.last_at), now
        if kind == "text_delta":
            self.texts[payload["message_id"]] = self.texts.get(payload["message_id"], "") + payload["text"]
        elif kind == "turn_started":
            self.seen.counts["later attempts"] += payload["attempt"] > 1
            for message in payload.get("replaces") or []:
                self.texts.pop(message, None)
        elif kind in ("turn_completed", "turn_failed", "turn_cancelled"):
            expected = " ".join(f"t{index}" for index in range(TOKENS))
            self.seen.counts[kind] += 1
            self.seen.counts["wrong text"] += "".join(self.texts.values()).strip() != expected
            self.texts = None


async def ask(fleet: Fleet, token: str, clients: list[Client]) -> Counter[str]:
    """Ask by the OpenAI-compatible API, one whole answer after another; count the statuses.

    A process that is about to stop refuses new work with 503, which OpenAI's own clients send again.
    """
    statuses: Counter[str] = Counter()
    body = {"model": "scripted", "messages": [{"role": "user", "content": f"/tokens {TOKENS} {RATE}"}]}
    async with httpx.AsyncClient(timeout=60, headers={"Authorization": f"Bearer {token}"}) as http:
        while not clients[0].ends:
            try:
                response = await http.post(f"{fleet.url}/v1/chat/completions", json=body)
                statuses[str(response.status_code)] += 1
                if response.status_code == 503:
                    await asyncio.sleep(float(response.headers["Retry-After"]))
            except httpx.HTTPError as error:
                statuses[type(error).__name__] += 1
    return statuses


async def test_clients_notice_no_rolling_restart(tmp_path: Path) -> None:
    with fleet_in(tmp_path) as fleet:
        await fleet.wait_until_ready(*fleet.names)
        form = {"grant_type": "password", "client_id": "codelab-flutter-app"}
        form |= {"username": "demo", "password": fleet.service.demo_password}
        answer = await asyncio.to_thread(httpx.post, f"{fleet.url}/oauth/token", data=form, timeout=30)
        token = answer.json()["access_token"]
        clients = [Client(fleet, token) for _ in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask(fleet, token, clients))
            for client in clients:
                group.create_task(client.run())
            await asyncio.sleep(3)
            parts: dict[str, Seen] = {}
            for part, count in (("web", WEBS), ("worker", WORKERS)):
                for client in clients:
                    client.seen = Seen()
                for number in range(count):
                    await fleet.restart(f"{part}{number}")
                counts: Counter[str] = sum((client.seen.counts for client in clients), Counter())
                parts[part] = Seen(counts, max(client.seen.worst_silence for client in clients))
            for client in clients:
                client.ends = True
        answers, statuses = asking.result(), fleet.statuses()

    for seen in parts.values():
        assert seen.counts["turn_completed"] >= CLIENTS
        assert not [name for name in ("turn_failed", "turn_cancelled", "gaps", "wrong text") if seen.counts[name]]
    assert set(answers) <= {"200", "503"}
    assert answers["503"] <= WEBS * 2
    assert answers["200"] > 0
    assert "502" not in statuses
    assert parts["web"].worst_silence < MAX_WEB_SILENCE_SECONDS
    assert parts["worker"].worst_silence < MAX_WORKER_SILENCE_SECONDS
    # A worker that stops lets its turns finish, so that no model call is paid for twice.
    assert not parts["worker"].counts["later attempts"]
