from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User

from sessions.database import in_thread
from sessions.events import feed, hub, log
from sessions.events.feed import Feed
from sessions.events.hub import Hub, publish_events
from sessions.events.log import LoggedEvent
from sessions.models import EventKind, Session
from sessions.turns import inbox
from sessions.turns.deletion import delete_rows, delete_session
from sessions.turns.sessions import open_session

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def _layer() -> AsyncIterator[None]:
    """The layer's connections belong to the loop of one test."""
    yield
    layer: Any = get_channel_layer()
    await layer.flush()


type Publish = Callable[[Iterable[LoggedEvent]], Awaitable[None]]


async def publish_elsewhere(events: Iterable[LoggedEvent]) -> None:
    """Publish events as another process does."""
    await Hub().publish(events)


@pytest.fixture(params=[publish_events, publish_elsewhere], ids=["here", "elsewhere"])
def publish(request: pytest.FixtureRequest) -> Publish:
    """Publish events, in this process or in another one."""
    publish: Publish = request.param
    return publish


def accept(session: Session, content: str = "x") -> list[LoggedEvent]:
    return inbox.accept_message(session.pk, content).events


@asynccontextmanager
async def following(
    session: Session, after: int = 0, writable: asyncio.Event | None = None
) -> AsyncIterator[tuple[Feed, list[int]]]:
    """Follow a session in the background; add the numbers of its events to the list."""
    it, numbers = Feed(session.pk, after, writable), list[int]()

    async def collect() -> None:
        async for event in it:
            numbers.append(event.number)

    task = asyncio.create_task(collect())
    await asyncio.sleep(0.3)
    try:
        yield it, numbers
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(numbers: list[int], last: int, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not numbers or numbers[-1] < last:  # noqa: ASYNC110 (a list has no event to wait for)
            await asyncio.sleep(0.01)


async def test_missed_events_come_before_new_ones(session: Session, publish: Publish) -> None:
    await in_thread(accept)(session)
    async with following(session, after=1) as (_, numbers):
        await publish(await in_thread(accept)(session))
        await until(numbers, 5)
    assert numbers == [2, 3, 4, 5]


async def test_events_that_the_layer_lost_are_read_from_the_log(session: Session, publish: Publish) -> None:
    async with following(session) as (_, numbers):
        await in_thread(accept)(session)
        await publish(await in_thread(accept)(session))
        await until(numbers, 5)
    assert numbers == [1, 2, 3, 4, 5]


async def test_repeated_and_reordered_events_arrive_once_and_in_order(session: Session, publish: Publish) -> None:
    async with following(session) as (_, numbers):
        first, second = await in_thread(accept)(session), await in_thread(accept)(session)
        for events in (second, first, first, second, first[:1], second[-1:]):
            await publish(events)
        await until(numbers, 5)
        await asyncio.sleep(0.2)
    assert numbers == [1, 2, 3, 4, 5]


async def test_a_gap_in_a_message_of_the_layer_is_filled_from_the_log(session: Session, publish: Publish) -> None:
    async with following(session) as (_, numbers):
        events = [event for _ in range(3) for event in await in_thread(accept)(session)]
        # Two commits of a worker in one message. A web process committed between them.
        await publish([*events[:3], *events[5:]])
        await until(numbers, 7)
        await asyncio.sleep(0.2)
    assert numbers == [1, 2, 3, 4, 5, 6, 7]


async def test_what_this_process_commits_arrives_once_without_the_layer_and_without_the_log(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(session) as (it, numbers):
        reads: list[int] = []
        monkeypatch.setattr(it, "_read", lambda: reads.append(it.after))
        events = await in_thread(accept)(session)
        layer: Any = get_channel_layer()
        send, sent = type(layer._get_layer()).group_send, asyncio.Event()

        async def send_late(self: Any, group: str, message: Any) -> None:
            await until(numbers, 3)
            await send(self, group, message)
            sent.set()

        monkeypatch.setattr(type(layer._get_layer()), "group_send", send_late)
        await publish_events(events)
        await sent.wait()
        await publish_elsewhere(await in_thread(accept)(session))
        await until(numbers, 5)
    assert (numbers, reads) == ([1, 2, 3, 4, 5], [])


async def test_a_session_with_an_open_turn_is_polled_when_the_layer_delivers_nothing(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "ACTIVE_POLL_SECONDS", 0.1)
    monkeypatch.setattr(hub, "POLL_INTERVAL_SECONDS", 0.1)
    async with following(session) as (it, numbers):
        await in_thread(accept)(session)
        it.refresh()
        await until(numbers, 3)
        await in_thread(accept)(session)
        await until(numbers, 5)
    assert numbers == [1, 2, 3, 4, 5]


async def test_many_missed_events_are_read_without_a_pause(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log.since, "__defaults__", (10,))
    for _ in range(20):
        await in_thread(accept)(session)
    async with following(session) as (_, numbers):
        await until(numbers, 41, seconds=1.5)
    assert numbers == list(range(1, 42))


async def test_large_events_come_in_several_pages_without_a_pause(session: Session) -> None:
    for _ in range(10):
        await in_thread(accept)(session, "ж" * 100_000)
    page = await in_thread(log.since)(session.pk, 0)
    assert page.more
    # 200 KB each in UTF-8, and small ones between them.
    assert [event.kind for event in page].count(EventKind.MESSAGE_ADDED) == 2
    async with following(session) as (_, numbers):
        await until(numbers, 21, seconds=1.5)
    assert numbers == list(range(1, 22))
    assert not (await in_thread(log.since)(session.pk, 19)).more


async def test_a_paused_reader_has_a_bounded_buffer_and_misses_nothing(session: Session, publish: Publish) -> None:
    writable = asyncio.Event()
    async with following(session, writable=writable) as (it, numbers):
        for _ in range(10):
            await publish(await in_thread(accept)(session, "x" * 50_000))
        await asyncio.sleep(0.2)
        assert numbers == []
        assert sum(len(events) for events in it._batches) * 50_000 <= feed.MAX_BUFFER_CHARACTERS
        writable.set()
        await until(numbers, 21)
        writable.clear()
        await publish(await in_thread(accept)(session))
        await asyncio.sleep(0.2)
        assert numbers[-1] == 21
        writable.set()
        await until(numbers, 23)
    assert numbers == list(range(1, 24))


async def test_events_of_another_session_never_arrive(session: Session, publish: Publish, bob: User) -> None:
    other = await in_thread(open_session)(bob.pk, "feed")
    async with following(session) as (_, numbers):
        await publish(await in_thread(accept)(other))
        await asyncio.sleep(0.3)
    assert numbers == []


async def test_leaving_ends_the_subscription(session: Session) -> None:
    before = len(asyncio.all_tasks())
    async with aclosing(aiter(Feed(session.pk, 0))) as events:
        await in_thread(accept)(session)
        event = await anext(events)
        assert event.kind == EventKind.AGENT_SWITCHED
    await asyncio.sleep(0.1)
    # The layer keeps one task that reads from Redis.
    assert len(asyncio.all_tasks()) <= before + 1


async def test_a_feed_ends_with_its_session_when_the_deletion_was_not_published(session: Session) -> None:
    await in_thread(accept)(session)
    it = Feed(session.pk, 0)
    kinds = []
    async with asyncio.timeout(60), aclosing(aiter(it)) as events:
        async for event in events:
            kinds.append(event.kind)
            if event.kind == EventKind.TURN_QUEUED:
                # Its events are deleted with the log, and none is published.
                await in_thread(delete_session)(session.pk)
                await in_thread(delete_rows)(session.pk, math.inf)
    assert kinds[-2:] == [EventKind.TURN_QUEUED, EventKind.SESSION_DELETED]


async def test_an_odd_message_on_the_layer_makes_no_feed_deaf(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that only the layer can bring what follows.
    monkeypatch.setattr(hub, "MIN_POLL_INTERVAL_SECONDS", 30.0)
    odd: list[dict[str, Any]] = [
        {"type": "session.events"},
        {"type": "session.events", "events": 1},
        {"type": "session.events", "events": [["no id", []]]},
        {"type": "session.events", "events": [[session.pk.hex, [[1, "turn_queued"]]]]},
        {"type": "session.events", "events": [[session.pk.hex, [["one", "turn_queued", {}]]]]},
        {"type": "of a later version"},
    ]
    layer: Any = get_channel_layer()
    async with following(session) as (_, numbers):
        for message in odd:
            await layer.group_send("sessions", message)
        events = await in_thread(accept)(session)
        await publish_elsewhere(events)
        await until(numbers, events[-1].number)


async def test_feeds_read_what_a_message_that_was_skipped_may_have_carried(session: Session) -> None:
    """During an update workers may send messages in a form that this process does not know."""
    layer: Any = get_channel_layer()
    async with following(session) as (_, numbers):
        events = await in_thread(accept)(session)
        await layer.group_send("sessions", {"type": "of a later version"})
        await until(numbers, events[-1].number, seconds=hub.ACTIVE_POLL_SECONDS / 2)
