"""A lazy session has no row before its first message, and every socket that waits for it sees all of its events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User

from sessions.api.commands import announce
from sessions.api.websocket.consumers import SessionConsumer
from sessions.database import in_thread
from sessions.events import log, reads
from sessions.events.newcomers import Newcomers
from sessions.models import Session
from sessions.protocol.codes import EVENTS_SUBPROTOCOL
from sessions.results import Change
from sessions.turns import deletion, inbox
from sessions.turns.sessions import open_session
from tests.sessions.api.websocket.test_bounds import Caller
from tests.sessions.calls import read_call
from tests.sessions.story import request

pytestmark = pytest.mark.django_db(transaction=True)

type Frame = dict[str, Any]


@pytest.fixture(autouse=True)
async def _layer() -> AsyncIterator[None]:
    yield
    layer: Any = get_channel_layer()
    await layer.flush()


TOOL = {"name": "deploy", "description": "Deploys.", "parameters": {"type": "object"}, "kind": "other"}


class Socket:
    """A client of the session `new`."""

    def __init__(self, user: User, *, events: bool = True, consumer: type[SessionConsumer] = SessionConsumer) -> None:
        protocols = [EVENTS_SUBPROTOCOL] if events else None
        self.socket = WebsocketCommunicator(consumer.as_asgi(), "/ws/new", subprotocols=protocols)
        scope: Any = self.socket.scope
        scope |= {"caller": Caller(user), "url_route": {"kwargs": {"key": "new"}}}

    async def open(self) -> Socket:
        assert (await self.socket.connect(60))[0]
        return self

    async def send(self, **frame: Any) -> None:
        await self.socket.send_to(json.dumps(frame))

    async def receive(self) -> Frame:
        return dict(json.loads(await self.socket.receive_from(timeout=60)))

    async def until(self, kind: str) -> list[Frame]:
        """Return the frames up to the first one of this type, or event of this kind."""
        frames: list[Frame] = []
        while not frames or kind not in (frames[-1]["type"], frames[-1].get("kind")):
            frames.append(await self.receive())
        return frames

    async def close(self) -> None:
        await self.socket.disconnect(60)


async def count() -> int:
    return await in_thread(Session.every.count)()


async def say_elsewhere(user: User, text: str) -> None:
    """Send a message as another client does, by REST."""
    session = await in_thread(open_session)(user.pk, "new")
    announce(await in_thread(inbox.accept_message)(session.pk, text))


def numbers(frames: list[Frame]) -> list[int]:
    return [frame["number"] for frame in frames if frame["type"] == "event"]


async def test_opening_a_session_leaves_no_row_and_its_first_message_makes_it(alice: User) -> None:
    page = await Socket(alice).open()
    workspace = {"name": "shop"}
    hello = {"after": 0, "tools": ["read_file", TOOL], "plans": True, "workspace": workspace}
    await page.send(type="hello", lazy=True, **hello, ref="h")
    assert await page.receive() == {"type": "welcome", "mode": "replay", "after": 0, "ref": "h"}
    assert await count() == 0

    await page.send(type="user_message", content="Hello.", client_message_id="m", ref="r")
    frames = await page.until("turn_queued")
    assert numbers(frames) == [1, 2, 3, 4]
    assert next(frame["kind"] for frame in frames if frame["type"] == "event") == "workspace_changed"
    session = await in_thread(Session.objects.get)()
    assert (session.owner_id, session.key, session.title) == (alice.pk, "new", "Hello.")
    assert (session.client_tools, session.client_plans) == (["read_file"], True)
    assert session.tool_definitions
    await page.close()


async def test_a_client_that_does_not_ask_to_wait_opens_its_session(alice: User) -> None:
    editor = await Socket(alice).open()
    assert await count() == 0
    await editor.send(type="hello", tools=["read_file"])
    assert (await editor.receive())["type"] == "welcome"
    assert (await in_thread(Session.objects.get)()).client_tools == ["read_file"]
    await editor.close()


async def test_a_socket_of_the_original_opens_its_session(alice: User) -> None:
    old = await Socket(alice, events=False).open()
    assert await old.socket.receive_nothing(timeout=0.3)
    assert await count() == 1
    await old.close()


async def test_a_window_that_waited_takes_no_call_from_the_one_that_began(alice: User) -> None:
    other, first = await Socket(alice).open(), await Socket(alice).open()
    for window in (other, first):
        await window.send(type="hello", lazy=True, tools=["read_file"], client_id="editor")
        assert (await window.receive())["type"] == "welcome"
    session = await in_thread(open_session)(alice.pk, "new")
    await in_thread(request)(session, read_call("a"))
    announce(Change(events=list(await in_thread(log.since)(session.pk, 0))))
    frames: list[Frame] = []
    for window in (first, other):
        # Either of the two may get it, and both get events.
        while not await window.socket.receive_nothing(timeout=1):
            frames.append(await window.receive())
    assert len([frame for frame in frames if frame["type"] == "tool_call"]) == 1
    await first.close()
    await other.close()


async def test_every_socket_that_waits_gets_what_another_client_begins(alice: User, bob: User) -> None:
    page, snapshot, other = await Socket(alice).open(), await Socket(alice).open(), await Socket(bob).open()
    await page.send(type="hello", lazy=True, after=0, tools=["read_file"])
    await snapshot.send(type="hello", lazy=True, after=7)
    await other.send(type="hello", lazy=True, after=0)
    assert (await page.receive())["mode"] == "replay"
    welcome = await snapshot.receive()
    assert (welcome["mode"], welcome["after"], welcome["snapshot"]["number"]) == ("snapshot", 0, 0)
    assert welcome["snapshot"]["session"]["session_id"] == "new"
    assert (await other.receive())["type"] == "welcome"

    await say_elsewhere(alice, "From elsewhere.")
    for socket in (page, snapshot):
        frames = await socket.until("turn_queued")
        assert numbers(frames) == [1, 2, 3]
        assert frames[1]["payload"]["content"] == "From elsewhere."
    assert (await in_thread(Session.objects.get)()).client_tools == ["read_file"]
    assert await other.socket.receive_nothing(timeout=0.3)
    for socket in (page, snapshot, other):
        await socket.close()


async def test_a_client_of_the_original_waits_and_writes_as_ever(alice: User) -> None:
    first, second = await Socket(alice, events=False).open(), await Socket(alice, events=False).open()
    await first.send(type="user_message", content="/say hi")
    await first.send(type="cancel")
    for socket in (first, second):
        frames = await socket.until("error")
        assert frames[-1]["error_code"] == "cancelled"
    assert await count() == 1
    await first.close()
    await second.close()


async def test_what_cannot_be_used_is_refused_at_once_and_stores_nothing(alice: User) -> None:
    page = await Socket(alice).open()
    await page.send(type="user_message", content="Hello.")
    assert (await page.receive())["error_code"] == "hello_first"
    await page.send(type="hello", lazy=True, tools=[{**TOOL, "name": "read_file"}], ref="h")
    assert (await page.receive())["error_code"] == "invalid_tools"
    await page.send(type="user_message", content="  ")
    assert (await page.receive())["error_code"] == "empty_message"
    assert await count() == 0
    await page.close()


class Raced(SessionConsumer):
    """A socket whose session another client begins at the worst moment of its `hello`."""

    #: Ways to be late: before the client's words are taken, and before they are answered.
    moment = ""

    async def race(self, moment: str) -> None:
        if moment != self.moment:
            return
        type(self).moment = ""
        caller: Any = self.caller
        await say_elsewhere(caller.user, "From elsewhere.")
        # Whether the socket comes to its session now, or has to wait until `hello` is answered.
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self.entered.wait()

    async def connect(self) -> None:
        self.entered = asyncio.Event()
        await super().connect()

    async def enter(self, session: Session, *, is_new: bool) -> None:
        await super().enter(session, is_new=is_new)
        self.entered.set()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        authorize = self.caller.authorize

        async def late(*actions: Any) -> None:
            await authorize(*actions)
            await self.race("taken")

        self.caller.authorize = late  # type: ignore[method-assign]
        await super().receive(text_data, bytes_data)

    async def send(self, *args: Any, **options: Any) -> None:
        if '"welcome"' in str(args):
            await self.race("answered")
        await super().send(*args, **options)


@pytest.mark.parametrize("moment", ["taken", "answered"])
@pytest.mark.parametrize("after", [0, None])
async def test_a_session_that_begins_during_hello_is_followed_from_the_welcome_on(
    alice: User, moment: str, after: int | None
) -> None:
    page = await Socket(alice, consumer=type("Page", (Raced,), {"moment": moment})).open()
    await page.send(type="hello", lazy=True, after=after, tools=["read_file"])
    welcome = await page.receive()
    assert welcome["type"] == "welcome"
    assert welcome["after"] == (3 if after is None and moment == "taken" else 0)
    await page.send(type="user_message", content="Mine.", client_message_id="m")
    seen = [welcome["after"], *numbers(await page.until("turn_queued"))]
    while seen[-1] < 5:
        seen += numbers(await page.until("turn_queued"))
    assert seen == list(range(welcome["after"], 6))
    assert (await in_thread(Session.objects.get)()).client_tools == ["read_file"]
    await page.close()


async def test_a_session_that_is_deleted_at_once_is_waited_for_again(alice: User) -> None:
    class Late(SessionConsumer):
        """The first session is deleted before the socket has told it of its client."""

        deleted = asyncio.Event()

        async def enter(self, session: Session, *, is_new: bool) -> None:
            if not Late.deleted.is_set():
                await in_thread(deletion.delete_session)(session.pk)
                Late.deleted.set()
            await super().enter(session, is_new=is_new)

    page = await Socket(alice, consumer=Late).open()
    await page.send(type="hello", lazy=True, after=0, workspace={"name": "shop"})
    assert (await page.receive())["type"] == "welcome"
    with suppress(Session.DoesNotExist):
        await say_elsewhere(alice, "Deleted.")
    await Late.deleted.wait()
    await say_elsewhere(alice, "Again.")
    frames = await page.until("turn_queued")
    # The workspace of this client comes before or behind them.
    assert numbers(frames) == list(range(1, 1 + len(frames)))
    assert "Again." in [frame["payload"].get("content") for frame in frames]
    await page.close()


async def test_one_more_that_waits_is_looked_for_alone(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = asyncio.Queue[int]()
    loop = asyncio.get_running_loop()
    existing_names = reads.existing_names

    def counted(names: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        loop.call_soon_threadsafe(looks.put_nowait, len(names))
        return existing_names(names)

    monkeypatch.setattr(reads, "existing_names", counted)
    newcomers = Newcomers()
    waiting: list[asyncio.Task[None]] = []
    for number in range(3):
        waiting.append(asyncio.create_task(newcomers.wait(alice.pk, f"key {number}")))
        assert await asyncio.wait_for(looks.get(), 60) == 1
    await in_thread(open_session)(alice.pk, "key 1")
    newcomers.expire()
    await asyncio.wait_for(waiting[1], 60)
    assert await asyncio.wait_for(looks.get(), 60) == 3
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not newcomers
