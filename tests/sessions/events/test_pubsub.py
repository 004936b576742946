"""Listeners of the channel layer outlive whatever arrives: other versions, other programs, errors of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.layers import get_channel_layer
from structlog.testing import capture_logs

from sessions import metrics
from sessions.events.pubsub import WORKERS, TurnStopped, listen, publish
from sessions.models import new_id

ODD: list[dict[str, Any]] = [
    {},
    {"type": "turn.stopped"},
    {"type": "turn.stopped", "turn_id": None},
    {"type": "turn.stopped", "turn_id": ["a"]},
    {"type": "of a later version", "turn_id": str(new_id())},
    {"turn_id": "x" * 100_000},
]


@pytest.fixture
async def layer() -> AsyncIterator[Any]:
    """The layer's connections belong to the loop of one test."""
    layer: Any = get_channel_layer()
    yield layer
    await layer.flush()


@asynccontextmanager
async def listening(handle: Callable[[TurnStopped | None], None]) -> AsyncIterator[None]:
    is_subscribed = asyncio.Event()

    def wrapped(message: TurnStopped | None) -> None:
        is_subscribed.set()
        handle(message)

    task = asyncio.create_task(listen(WORKERS, TurnStopped, wrapped))
    await asyncio.wait_for(is_subscribed.wait(), 60)
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (a list has no event to wait for)
            await asyncio.sleep(0.01)


def skipped() -> float:
    (metric,) = metrics.layer_messages_skipped.collect()
    return sum(
        it.value for it in metric.samples if it.name == "layer_messages_skipped_total" and it.labels["group"] == WORKERS
    )


async def test_odd_messages_are_skipped_and_logged_once(layer: Any) -> None:
    received: list[TurnStopped | None] = []
    turn_id = new_id()
    before = skipped()
    with capture_logs() as logs:
        async with listening(received.append):
            for message in ODD:
                await publish(WORKERS, message)
            # Bytes that no serializer of ours has written.
            shard = layer._get_shard("")
            await shard.publish(layer._get_group_channel_name(WORKERS), b"\xc1 not a message")
            await publish(WORKERS, {"type": "turn.stopped", "turn_id": str(turn_id), "of_a_later_version": 1})
            await until(lambda: received[-1] is not None)
    assert [message for message in received if message] == [TurnStopped(turn_id=turn_id)]
    # Each skipped message may have been one about an event.
    assert received.count(None) == 1 + len(ODD) + 1
    assert skipped() == before + len(ODD) + 1
    assert [line["event"] for line in logs].count("layer_message_skipped") == 1


async def test_a_handler_that_raises_hears_the_next_message(layer: Any) -> None:
    received: list[TurnStopped] = []

    def handle(message: TurnStopped | None) -> None:
        if message:
            received.append(message)
            raise RuntimeError

    async with listening(handle):
        for _ in range(3):
            await publish(WORKERS, {"type": "turn.stopped", "turn_id": str(new_id())})
        await until(lambda: len(received) == 3)


async def test_a_listener_keeps_its_channel_after_an_error(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An abandoned channel would collect unread messages."""
    received: list[TurnStopped | None] = []
    add, failures = type(layer._get_layer()).group_add, [OSError(), OSError()]

    async def fail_first(self: Any, group: str, channel: str) -> None:
        await add(self, group, channel)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(type(layer._get_layer()), "group_add", fail_first)
    monkeypatch.setattr("sessions.events.pubsub.RETRY_DELAY_SECONDS", 0.01)
    async with listening(received.append):
        assert failures == []
        await publish(WORKERS, {"type": "turn.stopped", "turn_id": str(new_id())})
        await until(lambda: received[-1] is not None)
        assert len(layer.groups[layer._get_group_channel_name(WORKERS)]) == 1
        assert len(layer.channels) == 1
