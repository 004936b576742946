"""RabbitMQ as the broker, by its URL alone, with two workers on one machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.service import PROJECT, Service
from tests.ports import free_port
from tests.servers import redis_database

#: Debian's rabbitmq-server on the PATH changes to a user of its own, who cannot write to the folders of tests.
SERVER = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin") or shutil.which("rabbitmq-server")

pytestmark = [pytest.mark.live, pytest.mark.skipif(not SERVER, reason="RabbitMQ is not installed")]


@pytest.fixture
def rabbitmq(tmp_path: Path) -> Iterator[str]:
    """Start a RabbitMQ of this test; yield its URL."""
    port, distribution, names = free_port(), free_port(), free_port()
    environment = {
        **os.environ,
        "RABBITMQ_NODENAME": f"test-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_BASE": str(tmp_path),
        "RABBITMQ_MNESIA_BASE": str(tmp_path / "mnesia"),
        "RABBITMQ_LOG_BASE": str(tmp_path / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(tmp_path / "plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names),
        "HOME": str(tmp_path),
    }
    with (tmp_path / "rabbitmq.log").open("wb") as log:
        # The script and all that it starts are one group.
        process = subprocess.Popen(
            [str(SERVER)], cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + 90
    while b"completed with" not in (tmp_path / "rabbitmq.log").read_bytes():
        assert process.poll() is None, (tmp_path / "rabbitmq.log").read_text()[-2000:]
        assert time.monotonic() < deadline, (tmp_path / "rabbitmq.log").read_text()[-2000:]
        time.sleep(0.2)
    yield f"amqp://guest:guest@127.0.0.1:{port}//"
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(["epmd", "-port", str(names), "-kill"], capture_output=True, check=False)


def start_worker(service: Service, number: int) -> subprocess.Popen[bytes]:
    with (service.folder / f"worker{number}.log").open("wb") as log:
        command = [sys.executable, "-m", "codelab", "worker"]
        return subprocess.Popen(command, cwd=PROJECT, env=service.environment, stdout=log, stderr=log)


async def test_two_workers_on_one_machine_share_the_turns(rabbitmq: str, tmp_path: Path) -> None:
    with redis_database() as redis:
        service = Service(tmp_path, postgres=os.environ["DATABASE_URL"], redis=redis, CODELAB_BROKER_URL=rabbitmq)
        service.start("web")
        workers = [start_worker(service, number) for number in range(2)]
        try:
            service.wait_until_healthy()
            deadline = time.monotonic() + 60
            while len(service.rows("SELECT 1 FROM agent_sessions_worker")) < 2:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)

            async def answer(number: int) -> None:
                async with service.connect(f"/ws/rabbit-{number}") as client:
                    await client.say("/say hello")
                    assert (await client.until_final())[-1]["content"] == "hello"

            await asyncio.gather(*(answer(number) for number in range(20)))

            assert all(worker.poll() is None for worker in workers), "node names of workers must differ"
            workers[0].terminate()
            workers[0].wait(60)

            await answer(20)
        finally:
            service.stop("web")
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait(60)
    for number in range(2):
        log = (tmp_path / f"worker{number}.log").read_text()
        assert "turn_completed" in log
        assert "ResourceLocked" not in log
