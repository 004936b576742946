"""Tasks of turns as an event loop sends them, and whether Redis answers."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from celery import current_app
from celery.signals import after_task_publish, before_task_publish
from django.conf import settings
from django_structlog.celery.receivers import CeleryReceiver
from redis import Redis
from structlog.contextvars import bound_contextvars
from structlog.testing import capture_logs

from sessions import broker
from sessions.api import commands
from sessions.errors import BrokerUnavailable
from sessions.results import Change
from tests.ports import free_port

#: What differs from message to message.
OWN = ("id", "root_id", "correlation_id", "delivery_tag", "body", "argsrepr")


@pytest.fixture
def queue() -> Iterator[Redis]:
    """The Redis of the tests, in which no worker takes tasks."""
    with Redis.from_url(settings.REDIS_URL) as client:
        client.delete("turns")
        yield client
        client.delete("turns")


def messages(queue: Redis) -> list[Any]:
    """Return the messages in the order in which workers take them."""
    return [json.loads(message) for message in reversed(queue.lrange("turns", 0, -1))]


def turn_of(message: Any) -> uuid.UUID:
    return uuid.UUID(message["headers"]["argsrepr"][2:-3])


async def test_a_message_is_the_one_that_kombu_sends(queue: Redis) -> None:
    # The processes do so in their start.
    receiver = CeleryReceiver()
    receiver.connect_signals()
    heard: list[str] = []

    def hear(headers: Any, **_: Any) -> None:
        heard.append(headers["id"])

    before_task_publish.connect(hear)
    after_task_publish.connect(hear)
    first, second, third = (uuid.uuid4() for _ in range(3))
    try:
        with bound_contextvars(request_id="asked", session_id="s"):
            broker.enqueue_turn(first)
            await broker.enqueue_turn_soon(second)
        # A copy of the one before, of which nothing may be left.
        with bound_contextvars(request_id="again"):
            await broker.enqueue_turn_soon(third)
    finally:
        for signal in (before_task_publish, after_task_publish):
            signal.disconnect(hear)
    sent = of_kombu, ours, copy = messages(queue)
    assert [turn_of(message) for message in sent] == [first, second, third]
    assert len({message["properties"]["delivery_tag"] for message in sent}) == 3
    contexts = [message["headers"].pop("__django_structlog__") for message in sent]
    assert {"request_id": "asked", "session_id": "s"}.items() <= contexts[0].items() == contexts[1].items()
    assert contexts[2]["request_id"] == "again"
    assert "session_id" not in contexts[2]
    assert heard == [message["headers"]["id"] for message in sent for _ in range(2)]
    for message in sent:
        assert message["headers"]["id"] == message["headers"]["root_id"] == message["properties"]["correlation_id"]
        (turn_id,), *_ = json.loads(b64decode(message["body"]))
        assert turn_id == str(turn_of(message))
        for part in (message, message["headers"], message["properties"]):
            for name in OWN:
                part.pop(name, None)
    assert ours == of_kombu == copy


async def test_a_burst_goes_in_order_with_two_commands(queue: Redis) -> None:
    turns = [uuid.uuid4() for _ in range(20)]
    monitor: Any = queue.monitor()  # type: ignore[no-untyped-call]
    with monitor:
        await asyncio.gather(*map(broker.enqueue_turn_soon, turns))
        queue.echo("end")
        database = queue.connection_pool.connection_kwargs["db"]
        commands = itertools.takewhile(lambda each: "end" not in each["command"], monitor.listen())
        sent = [each for each in commands if each["db"] == database and each["command"].startswith("LPUSH")]
    assert len(sent) == 2
    assert [turn_of(message) for message in messages(queue)] == turns


async def test_without_redis_a_task_is_lost_with_a_line_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    monkeypatch.setattr(settings, "REDIS_URL", url)
    monkeypatch.setattr(current_app.conf, "broker_url", url)
    turns = [uuid.uuid4() for _ in range(2)]
    with capture_logs() as lines:
        await asyncio.gather(*map(broker.enqueue_turn_soon, turns))
        with pytest.raises(BrokerUnavailable):
            await broker.require_broker()
    assert {line["turn_id"] for line in lines if line["event"] == "task_not_sent"} == set(map(str, turns))


async def test_a_task_is_on_its_way_before_its_change_is_published(queue: Redis) -> None:
    turn_id, heard = uuid.uuid4(), list[str]()

    def hear(headers: Any, **_: Any) -> None:
        heard.append(headers["argsrepr"])

    after_task_publish.connect(hear)
    try:
        commands.announce(Change(ready=turn_id))
        assert heard == [repr((str(turn_id),))]
    finally:
        after_task_publish.disconnect(hear)
    assert await asyncio.to_thread(queue.blpop, ["turns"], 60)
