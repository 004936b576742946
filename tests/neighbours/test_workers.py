"""What happens to one worker, or to one turn of a worker, happens to no other turn."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.conftest import POSTGRES, REDIS
from tests.live.service import Service, running
from tests.neighbours.stream import neighbour
from tests.neighbours.workers import has_reported, kill, name_of, start_worker, turn, wait_until

pytestmark = pytest.mark.live

#: A turn goes on after 1 s, or 2 s on a busy machine. Its lease would last for 9 to 12 s.
MAX_RECOVERY_SECONDS = 8.0
#: Refuses the message of a session's answer, as a text that is too large would be refused.
POISON = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''poison''; END';
    CREATE TRIGGER refuse BEFORE INSERT ON agent_sessions_message
    FOR EACH ROW WHEN (NEW.session_id = '{}' AND NEW.role = 'assistant') EXECUTE FUNCTION refuse()
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose workers the tests kill, with two of them."""
    with running(tmp_path_factory.mktemp("workers"), postgres=POSTGRES, redis=REDIS) as it:
        try:
            start_worker(it, "second")
            # Before that a worker takes no other one for dead, because PostgreSQL may have been restarted.
            time.sleep(5)
            yield it
        finally:
            it.stop("second", "third", "fourth")


@contextmanager
def locked(service: Service, statement: str, *parameters: object) -> Iterator[None]:
    """Keep what a statement locks."""
    with psycopg.connect(service.database_url) as connection:
        connection.execute(statement.encode(), parameters)
        yield


async def begin(service: Service, key: str, message: str) -> str:
    """Send a message, wait until its turn runs, and return its worker's name in `service.processes`."""
    async with service.connect(f"/ws/{key}") as client:
        await client.say(message)
        await asyncio.to_thread(wait_until, lambda: turn(service, key)["worker"], key)
    workers = {name_of(service, name): name for name in service.processes}
    return workers[turn(service, key)["worker"]]


async def test_a_killed_workers_turn_goes_on_within_seconds(service: Service) -> None:
    victim = await begin(service, "killed", "/tokens 60 20")
    await asyncio.to_thread(kill, service, victim)
    seconds = await asyncio.to_thread(wait_until, lambda: turn(service, "killed")["attempt"] == 2)
    assert seconds < MAX_RECOVERY_SECONDS
    await asyncio.to_thread(wait_until, lambda: turn(service, "killed")["status"] == "completed")
    await asyncio.to_thread(start_worker, service, victim)


async def test_a_worker_whose_heartbeat_is_cut_off_keeps_its_turns(service: Service) -> None:
    with neighbour(service):
        cut = service.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN agent_sessions_worker"
            " ON lock_key = (classid::bigint << 32 | objid::bigint) WHERE locktype = 'advisory'"
        )
        assert len(cut) >= 2
        await asyncio.sleep(3)


async def test_a_turn_that_cannot_be_recovered_costs_no_other_turn(service: Service) -> None:
    victim = await begin(service, "poison", "/tokens 400 20")
    await asyncio.sleep(0.5)
    service.rows("UPDATE agent_sessions_turn SET lost_leases = 2 WHERE status = 'running' RETURNING id")
    ((session_id,),) = service.rows("SELECT id FROM agent_sessions_session WHERE key = 'poison'")
    with psycopg.connect(service.database_url) as connection:
        connection.execute(POISON.format(session_id).encode())
    i = 0
    while await begin(service, f"beside-{i}", "/tokens 100 20") != victim:
        i += 1
    try:
        await asyncio.to_thread(kill, service, victim)
        seconds = await asyncio.to_thread(wait_until, lambda: turn(service, f"beside-{i}")["attempt"] == 2)
        assert seconds < MAX_RECOVERY_SECONDS
        await asyncio.to_thread(wait_until, lambda: turn(service, "poison")["status"] == "failed")
        assert turn(service, "poison")["error_code"] == "internal_error"
    finally:
        with psycopg.connect(service.database_url) as connection:
            connection.execute("DROP FUNCTION refuse CASCADE")
    await asyncio.to_thread(start_worker, service, victim)


async def test_a_worker_with_a_wrong_clock_steals_nothing_and_strands_nothing(service: Service) -> None:
    clocks = {"third": 20, "fourth": -20}
    with neighbour(service):
        for name, seconds in clocks.items():
            start_worker(service, name, wait=False, CHAOS_CLOCK=str(seconds))
        for name in clocks:
            await asyncio.to_thread(wait_until, lambda name=name: has_reported(service, name), name)
            assert "clock_differs_from_database" in service.log_of(name)
        for i in range(8):
            async with service.connect(f"/ws/clock-{i}") as client:
                await client.say("/say done")
                assert (await client.until_final(MAX_RECOVERY_SECONDS))[-1]["content"] == "done"
        await asyncio.sleep(2)
    for name, seconds in clocks.items():
        statement = "SELECT extract(epoch FROM clock_skew) FROM agent_sessions_worker WHERE name = %s"
        ((skew,),) = service.rows(statement, name_of(service, name))
        assert abs(float(skew) - seconds) < 8
    service.stop(*clocks)


async def test_a_locked_turn_costs_no_other_turn_its_lease(service: Service) -> None:
    """For longer than a lease lasts, in a worker whose leases are short."""
    await asyncio.to_thread(start_worker, service, "third", CHAOS_LEASE="4")
    i = 0
    while await begin(service, f"locked-{i}", "/tokens 400 20") != "third":
        i += 1
    with locked(
        service,
        "SELECT FROM agent_sessions_turn WHERE id IN (SELECT t.id FROM agent_sessions_turn t JOIN"
        " agent_sessions_session s ON s.id = session_id WHERE key = %s) FOR UPDATE",
        f"locked-{i}",
    ):
        j = 0
        while await begin(service, f"free-{j}", "/tokens 400 20") != "third":
            j += 1
        await asyncio.sleep(6)
    assert turn(service, f"free-{j}")["attempt"] == 1
    assert "turn_lost" not in service.log_of("third")
    service.stop("third")


async def test_a_worker_that_is_stopped_lets_its_turns_end(service: Service) -> None:
    """It claims none, and hands on a turn that needs another step: no model call is paid for twice."""
    await asyncio.to_thread(start_worker, service, "third", CODELAB_WORKER_GRACE_SECONDS="60")
    long = await on_third(service, "drained", "/tokens 60 20")
    steps = await on_third(service, "handed-on", '/wait 2\n/call calculator {"expr": "6*7"}\n/say done')
    process = service.processes["third"]
    process.send_signal(signal.SIGTERM)
    # It does not wait for the whole grace period, which is 60 s.
    assert await asyncio.to_thread(process.wait, 50) == 0
    del service.processes["third"]
    for key, attempts in ((long, 1), (steps, 2)):
        await asyncio.to_thread(wait_until, lambda key=key: turn(service, key)["status"] == "completed", key)
        assert (turn(service, key)["attempt"], turn(service, key)["lost_leases"]) == (attempts, 0)
        calls = service.rows(
            "SELECT outcome FROM agent_sessions_modelcall JOIN agent_sessions_session s ON s.id = session_id"
            " WHERE key = %s",
            key,
        )
        assert calls == [("ok",)] * attempts


async def test_a_second_signal_ends_the_wait(service: Service) -> None:
    await asyncio.to_thread(start_worker, service, "third", CODELAB_WORKER_GRACE_SECONDS="60")
    key = await on_third(service, "twice", "/wait 30\n/say done")
    process = service.processes["third"]
    process.send_signal(signal.SIGTERM)
    await asyncio.sleep(1)
    assert turn(service, key)["attempt"] == 1
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 50) == 0
    del service.processes["third"]
    seconds = await asyncio.to_thread(wait_until, lambda: turn(service, key)["attempt"] == 2)
    assert seconds < MAX_RECOVERY_SECONDS
    assert turn(service, key)["lost_leases"] == 0, "its lease was lost, so it was not given back"
    async with service.connect(f"/ws/{key}") as client:
        await client.send({"type": "cancel"})


async def on_third(service: Service, name: str, message: str) -> str:
    """Begin a turn that the third worker runs; return its session."""
    i = 0
    while await begin(service, f"{name}-{i}", message) != "third":
        i += 1
    return f"{name}-{i}"
