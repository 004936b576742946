"""What the Python client promises, against a running service: nothing is lost or doubled, whatever is cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from codelab_client import (
    APPROVE,
    Approval,
    Client,
    CodelabError,
    Decision,
    Event,
    Result,
    ServerUnreachable,
    Session,
    SessionClosed,
    SignInRequired,
    SyncClient,
    Tokens,
    Tools,
    TurnFailed,
)
from tests.clients_python.proxy import Proxy
from tests.live.service import DEMO_PASSWORD, Service

pytestmark = pytest.mark.live


@pytest.fixture
async def alice(service: Service) -> AsyncIterator[Client]:
    async with Client(service.url) as client:
        yield client


async def read_until(session: Session, kind: str) -> list[Event]:
    seen = []
    async for event in session.events():
        seen.append(event)
        if event.kind == kind:
            break
    return seen


def words_of(events: list[Event]) -> str:
    frames = [event.frame for event in events]
    return "".join(frame["payload"]["text"] for frame in frames if frame["kind"] == "text_delta")


async def test_a_message_is_answered(alice: Client) -> None:
    async with alice.session("py-hello") as session:
        answer = await session.ask("/say Hello there.")
        assert answer.text == "Hello there."
        assert answer.events[-1].kind == "turn_completed"
        assert answer.output_tokens > 0
    assert [message["content"] for message in await alice.history("py-hello")][-1] == "Hello there."
    assert "py-hello" in [session["session_id"] for session in await alice.sessions()]
    await alice.delete_session("py-hello")
    with pytest.raises(CodelabError, match=r".") as caught:
        await alice.history("py-hello")
    assert (caught.value.code, caught.value.status) == ("session_not_found", 404)


async def test_events_come_once_and_in_order_whatever_is_cut(service: Service) -> None:
    async with Proxy(service.url, cuts=6, most_bytes=4000) as proxy, Client(proxy.url) as client:
        async with client.session("py-cuts", after=0) as session:
            for number in range(3):
                message = await session.send(f"/tokens {200 + number} 500", message_id=f"m{number}")
                assert message.turn_id
            events: list[Event] = []
            async for event in session.events():
                events.append(event)
                if sum(one.kind == "turn_completed" for one in events) == 3:
                    break
        assert proxy.cuts_left <= 0, "the test cuts"
    assert [event.first for event in events] == [1, *(event.number + 1 for event in events[:-1])]
    assert words_of(events) == "".join(f"t{i} " for n in range(3) for i in range(200 + n))
    assert [event.kind for event in events].count("turn_queued") == 3


async def test_tools_run_once_and_approvals_are_asked(service: Service) -> None:
    ran: list[Any] = []
    asked: list[Approval] = []

    async def approve(approval: Approval) -> Decision:
        asked.append(approval)
        return APPROVE if approval.arguments["path"] != "no.txt" else Decision("reject", feedback="Not this one.")

    tools = Tools(approve=approve)

    @tools.tool
    def read_file(
        path: str, start_line: int | None = None, end_line: int | None = None, encoding: str = "utf-8"
    ) -> Any:
        ran.append(("read", path))
        if path == "gone.txt":
            raise FileNotFoundError("gone.txt does not exist")
        return {"success": True, "content": "x", "lines_read": 1}

    @tools.tool
    async def write_file(path: str, content: str, **more: Any) -> Result:
        ran.append(("write", path))
        return Result({"success": True})

    script = (
        '/call read_file {"path": "a.txt"}\n/call read_file {"path": "gone.txt"}\n'
        '/call write_file {"path": "b.txt", "content": "y"}\n'
        '/call write_file {"path": "no.txt", "content": "y"}\n/say Done.'
    )
    async with (
        Proxy(service.url, cuts=6, most_bytes=6000) as proxy,
        Client(proxy.url) as client,
        client.session("py-tools", tools=tools, client_id="py") as session,
    ):
        answer = await session.ask(script)
    assert answer.text == "Done."
    assert sorted(ran) == [("read", "a.txt"), ("read", "gone.txt"), ("write", "b.txt")]
    assert sorted(one.arguments["path"] for one in asked) == ["b.txt", "no.txt"]
    told = [event.payload["content"] for event in answer.events if event.payload.get("role") == "tool"]
    assert [text for text in told if "gone.txt does not exist" in text and text.startswith("Error: ")]
    assert [text for text in told if "Not this one." in text]


async def test_plans_and_open_questions_are_asked_on_coming_back(alice: Client) -> None:
    answered: list[str] = []
    thinking = asyncio.Event()

    async def approve(approval: Approval) -> Decision:
        answered.append(approval.tool)
        return APPROVE

    async def think(approval: Approval) -> Decision:
        answered.append("thinking")
        thinking.set()
        await asyncio.sleep(60)
        return APPROVE

    def toolbox(answer: Any) -> Tools:
        tools = Tools(approve=answer)

        @tools.tool
        def write_file(path: str, content: str) -> bool:
            return True

        return tools

    call = '/call write_file {\\"path\\": \\"a\\", \\"content\\": \\"b\\"}\\n/say Written.'
    plan = f'{{"goal": "One", "subtasks": [{{"id": "a", "agent": "coder", "description": "{call}"}}]}}'
    async with alice.session("py-plan", tools=toolbox(think), plans=True) as session:
        await session.send(f"/say A plan.\n/call create_plan {plan}", agent="orchestrator")
        await asyncio.wait_for(thinking.wait(), 60)
    async with alice.session("py-plan", tools=toolbox(approve), plans=True, client_id="py-plan") as session:
        events = await read_until(session, "turn_completed")
    assert events[0].kind == "snapshot"
    assert answered == ["thinking", "create_plan", "write_file"]


async def test_a_person_is_asked_one_question_at_a_time(alice: Client) -> None:
    asking = asked = most = 0

    async def approve(_: Approval) -> Decision:
        nonlocal asking, asked, most
        asking, asked = asking + 1, asked + 1
        most = max(most, asking)
        await asyncio.sleep(0.3)
        asking -= 1
        return APPROVE

    tools = Tools(approve=approve)

    @tools.tool
    def write_file(path: str, content: str) -> bool:
        return True

    calls = "\n".join(f'/call write_file {{"path": "{name}", "content": ""}}' for name in "ab")
    async with alice.session("py-one-by-one", tools=tools) as session:
        await session.ask(f"{calls}\n/say Written.")
    assert (asked, most) == (2, 1)


async def test_a_result_that_the_server_cannot_take_is_an_error_for_the_model(alice: Client) -> None:
    tools = Tools()

    @tools.tool
    def read_file(path: str) -> Result:
        return Result(parts=[{"type": "image", "image_id": path}])

    missing = "01a20881-7af1-7752-a312-7b3f5ac923e3"
    async with alice.session("py-bad-parts", tools=tools) as session:
        for path in ("no id", missing):
            answer = await session.ask(f'/call read_file {{"path": "{path}"}}\n/say Well.')
            assert answer.text == "Well."
    told = [one["content"] for one in await alice.history("py-bad-parts") if one["role"] == "tool"]
    assert all("cannot take its result" in text for text in told)
    assert len(told) == 2


async def test_a_stopped_and_a_failed_turn_are_errors(alice: Client) -> None:
    async with alice.session("py-stop") as session:

        async def stop() -> None:
            async for event in session.events():
                if event.kind == "text_delta":
                    await session.cancel(event.turn_id)
                    return

        stopping = asyncio.create_task(stop())
        with pytest.raises(TurnFailed, match="stopped") as caught:
            await session.ask("/tokens 500 20")
        await stopping
        assert caught.value.code == "cancelled"
        with pytest.raises(CodelabError) as nothing:
            await session.cancel()
        assert nothing.value.code == "nothing_to_cancel"
        with pytest.raises(TurnFailed) as failed:
            await session.ask("/fail rate_limit")
        assert failed.value.code.startswith("model_")


async def test_a_question_that_was_answered_before_has_its_answer(alice: Client) -> None:
    async with alice.session("py-again") as session:
        first = await session.ask("/tokens 3", message_id="once")
    async with alice.session("py-again") as session, asyncio.timeout(60):
        seen: list[int] = []
        again = await session.ask("/tokens 3", message_id="once", on_event=lambda event: seen.append(event.number))
        assert (again.text, again.turn_id) == (first.text, first.turn_id)
        assert seen == sorted(set(seen))
        with pytest.raises(TurnFailed):
            await session.ask("/fail rate_limit", message_id="bad")
    async with alice.session("py-again") as session, asyncio.timeout(60):
        with pytest.raises(TurnFailed):
            await session.ask("/fail rate_limit", message_id="bad")


async def test_a_message_that_steers_is_answered_whatever_turn_reads_it(alice: Client) -> None:
    async with alice.session("py-steer") as session:
        first = asyncio.create_task(session.ask("/tokens 40 40"))
        async for event in session.events():
            if event.kind == "text_delta":
                break
        # The only step of that turn runs already, so the message gets a turn of its own.
        answer = await session.ask("/say Steered.", when="steer")
        assert answer.text == "Steered."
        assert (await first).text.split()[-1] == "t39"
        assert answer.turn_id != (await first).turn_id


async def test_a_tool_ends_with_its_turn(alice: Client) -> None:
    tools = Tools()
    began, ended = asyncio.Event(), asyncio.Event()

    @tools.tool
    async def read_file(path: str) -> str:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return path

    async with alice.session("py-tool-stop", tools=tools) as session:
        asking = asyncio.create_task(session.ask('/call read_file {"path": "a"}'))
        await asyncio.wait_for(began.wait(), 60)
        await session.cancel()
        await asyncio.wait_for(ended.wait(), 60)
        with pytest.raises(TurnFailed, match="stopped"):
            await asking


async def test_what_cannot_be_sent_is_said_at_once(alice: Client) -> None:
    async with alice.session("py-refused") as session:
        for text, code in (
            ("x" * 300_000, "frame_too_large"),
            ("x" * 100_001, "invalid_field"),
            (" ", "empty_message"),
        ):
            with pytest.raises(CodelabError) as caught:
                await session.send(text)
            assert caught.value.code == code
        assert (await session.ask("/say " + "ы" * 90_000)).text == "ы" * 90_000
        # Half of a surrogate pair is replaced: it is not text.
        assert (await session.ask("/say a\ud800b")).text == "a?b"
        first = await session.send("/say once", message_id="the-same")
        again = await session.send("/say once", message_id="the-same")
        assert (again.message_id, again.repeated) == (first.message_id, True)


async def test_tokens_are_refreshed_and_kept(service: Service) -> None:
    saved: list[Tokens] = []
    async with Client(service.url, save=saved.append) as client:
        with pytest.raises(SignInRequired):
            await client.sign_in("demo", "wrong")
        await client.sign_in("demo", DEMO_PASSWORD)
        assert (await client.sessions()) is not None
        (first,) = saved
        # As after a night: the access token has ended.
        client.credentials.tokens = Tokens(first.access, first.refresh, 0.0)
        async with client.session("py-refreshed") as session:
            assert (await session.ask("/say Fresh.")).text == "Fresh."
        assert len(saved) == 2
        assert saved[1].access != first.access
    async with Client(service.url, token="clk_nonsense") as stranger:
        with pytest.raises(SignInRequired):
            await stranger.sessions()
        with pytest.raises(SignInRequired):
            async with stranger.session("py-stranger"):
                pass


async def test_an_end_reaches_every_reader(alice: Client) -> None:
    async with alice.session("py-ends") as session:
        await session.ask("/say Here.")
        await alice.delete_session("py-ends")
        with pytest.raises(SessionClosed) as caught:
            async for _ in session.events():
                pass
        assert caught.value.code == "session_deleted"
        with pytest.raises(SessionClosed):
            await session.send("Still there?")


async def test_a_server_that_is_not_there_is_an_error() -> None:
    async with Client("http://127.0.0.1:9") as client:
        with pytest.raises(ServerUnreachable):
            await client.sessions()


async def test_a_hello_that_is_refused_is_an_error(alice: Client) -> None:
    with pytest.raises(SessionClosed) as caught:
        async with alice.session("py-bad-hello", tools=["x" * 200]):
            pass
    assert caught.value.code in ("invalid_field", "invalid_tools")


def test_programs_without_a_loop_have_the_same(service: Service) -> None:
    tools = Tools()

    @tools.tool
    def read_file(path: str, **more: Any) -> str:
        return path

    seen: list[str] = []
    with SyncClient(service.url) as client:
        answer = client.ask(
            "py-sync", '/call read_file {"path": "a"}\n/say Read.', tools=tools, on_event=lambda e: seen.append(e.kind)
        )
        assert answer.text == "Read."
        assert "tool_call_requested" in seen
        assert json.loads(client.history("py-sync")[-2]["content"]) == "a"
